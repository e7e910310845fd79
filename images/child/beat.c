// SPDX-License-Identifier: GPL-2.0-or-later
// Heartbeats of everything that has to be woken by an interrupt: a timer on each processor, the disk, the network.
// A wake-up that is lost shows as a beat that does not come; other beats may bring the processor back, so the longest
// pause of each is what counts.
#include "child_io.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/icmp.h>
#include <linux/ip.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_BEATS 10
#define STALL 10000		/* ms without a beat */
#define LOOK 250
#define TIMER_STEP 5
#define DISK_FILE "/var/beat"
#define DISK_CHUNK (64UL << 10)
#define DISK_CHUNKS 64
#define BURST 8
#define ANSWER 2		/* s */
#define PAYLOAD 1200

struct beat {
	char name[16];
	int cpu;
	_Atomic long last, worst, worst_at;	/* ms; last is 0 once it has ended */
	_Atomic unsigned long rounds, lost, late;
};

static struct beat beats[MAX_BEATS];
static long begin, end;
static struct sockaddr_in peer = { .sin_family = AF_INET };

static long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* False: the time is over. */
static bool tick(struct beat *b)
{
	long at = now(), pause = at - b->last;

	if (pause > b->worst) {
		b->worst = pause;
		b->worst_at = b->last - begin;
	}
	b->rounds++;
	b->last = at < end ? at : 0;
	return at < end;
}

static void *timer(void *of)
{
	struct timespec step = { .tv_nsec = TIMER_STEP * 1000000 };
	struct beat *b = of;
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(b->cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		die("processor %d", b->cpu);
	do
		nanosleep(&step, NULL);
	while (tick(b));
	return NULL;
}

/* Past the page cache: each round waits for two requests. */
static void *disk(void *of)
{
	static char written[DISK_CHUNK] __attribute__((aligned(4096))), back[DISK_CHUNK] __attribute__((aligned(4096)));
	struct beat *b = of;
	int fd = open(DISK_FILE, O_RDWR | O_CREAT | O_TRUNC | O_DIRECT | O_CLOEXEC, 0600);

	if (fd < 0)
		die(DISK_FILE);
	do {
		off_t at = b->rounds % DISK_CHUNKS * DISK_CHUNK;

		memset(written, b->rounds, sizeof(written));
		if (pwrite(fd, written, sizeof(written), at) != sizeof(written) ||
		    pread(fd, back, sizeof(back), at) != sizeof(back))
			die(DISK_FILE);
		if (memcmp(written, back, sizeof(back))) {
			fprintf(stderr, "child-io: the disk gives back something else at 0x%lx\n", (unsigned long)at);
			exit(EXIT_FAILURE);
		}
	} while (tick(b));
	unlink(DISK_FILE);
	close(fd);
	return NULL;
}

static uint16_t checksum(const void *from, size_t bytes)
{
	const uint16_t *word = from;
	uint32_t sum = 0;

	for (size_t i = 0; i < bytes / sizeof(*word); i++)
		sum += word[i];
	sum = (sum >> 16) + (sum & 0xffff);
	return ~(sum + (sum >> 16));
}

/*
 * Echo requests to the peer's kernel, several at a time. An answer that is missing is asked for again: if the first one
 * then comes after all, somebody had not been woken; if it never comes, it was lost on the way.
 */
static void *net(void *of)
{
	struct { struct icmphdr head; char load[PAYLOAD]; } request = { .head = { .type = ICMP_ECHO } };
	struct timeval patience = { .tv_sec = ANSWER };
	struct { struct iphdr ip; char rest[2 * PAYLOAD]; } reply;
	struct beat *b = of;
	uint16_t next = 0;
	struct icmp_filter replies = { .data = ~(1U << ICMP_ECHOREPLY) };
	int fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_ICMP);

	if (fd < 0 || setsockopt(fd, SOL_RAW, ICMP_FILTER, &replies, sizeof(replies)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) < 0 || connect(fd, (struct sockaddr *)&peer, sizeof(peer)) < 0)
		die("echo socket");
	do {
		uint16_t first = next;

		for (int missing = BURST; missing;) {
			const struct icmphdr *head;
			ssize_t got;

			while ((uint16_t)(next - first) < BURST) {
				request.head.un.echo.sequence = htons(next++);
				request.head.checksum = 0;
				request.head.checksum = checksum(&request, sizeof(request));
				if (send(fd, &request, sizeof(request), 0) < 0)
					die("sending");
			}
			got = recv(fd, &reply, sizeof(reply), 0);
			if (got < 0 && errno != EAGAIN)
				die("receiving");
			if (got < 0) {
				b->lost += missing;
				first = next;
				missing = BURST;
				continue;
			}
			head = (const void *)((const char *)&reply + reply.ip.ihl * 4);
			if ((uint16_t)(ntohs(head->un.echo.sequence) - first) < BURST) {
				missing--;
			} else {
				b->lost--;
				b->late++;
			}
		}
	} while (tick(b));
	close(fd);
	return NULL;
}

static void start(unsigned int nth, const char *name, int cpu, void *(*run)(void *))
{
	struct beat *b = &beats[nth];
	pthread_t thread;

	snprintf(b->name, sizeof(b->name), cpu < 0 ? "%s" : "%s%d", name, cpu);
	b->cpu = cpu;
	b->last = begin;
	errno = pthread_create(&thread, NULL, run, b);
	if (errno)
		die("thread for %s", name);
}

/* True while one of them goes on. One that is late is told of at once: the end may never come. */
static bool look(unsigned int number, bool *stalled)
{
	bool going = false;

	for (unsigned int i = 0; i < number; i++) {
		long last = beats[i].last, late = now() - last;

		if (!last)
			continue;
		if (late < STALL) {
			going = true;
			continue;
		}
		if (!stalled[i])
			printf("stall %s since %ld ms\n", beats[i].name, last - begin);
		stalled[i] = true;
		fflush(stdout);
		going |= now() < end;
	}
	return going;
}

int beat_all(const char *address, unsigned int seconds)
{
	unsigned int cpus = sysconf(_SC_NPROCESSORS_ONLN), number = 0;
	struct timespec pause = { .tv_nsec = LOOK * 1000000 };
	bool stalled[MAX_BEATS] = { false }, any = false;

	if (inet_pton(AF_INET, address, &peer.sin_addr) != 1 || cpus + 2 > MAX_BEATS) {
		fprintf(stderr, "child-io: %s is no address, or %u processors are too many\n", address, cpus);
		return 2;
	}
	begin = now();
	end = begin + seconds * 1000L;
	for (; number < cpus; number++)
		start(number, "timer", number, timer);
	start(number++, "disk", -1, disk);
	start(number++, "net", -1, net);
	while (look(number, stalled))
		nanosleep(&pause, NULL);
	for (unsigned int i = 0; i < number; i++) {
		printf("%s rounds=%lu worst=%ld at=%ld lost=%lu late=%lu\n", beats[i].name, beats[i].rounds,
		       beats[i].worst, beats[i].worst_at, beats[i].lost, beats[i].late);
		any |= stalled[i] || beats[i].late || beats[i].worst >= STALL;
	}
	return any;
}
