/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The line protocol: "TAG VERB WORD..." in, "TAG ok WORD..." or "TAG err VERB ERRNO text" out, in
 * order. TAG is any word; it comes back so that a client with several lines in flight cannot lose
 * step. Over stdio, or over a Unix socket that outlives its clients.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "backend.h"
#include "vmm.h"

#define RELAY_BUFFER		65536
#define REPEAT_LINES		160
#define REPEAT_LINE		256
#define STDIN			0
#define STDOUT			1

static bool quitting;

static int hello_verb(struct words *words, struct reply *reply)
{
	uint32_t vps;
	uint64_t ram_pages;

	(void)words;
	partition_size(&vps, &ram_pages);
	fprintf(reply->out, " version=%d pid=%d ring=%d vps=%u ram_pages=%lu", PROTOCOL_VERSION, getpid(),
		RING_COMMANDS, vps, ram_pages);
	return 0;
}

static int quit_verb(struct words *words, struct reply *reply)
{
	(void)words;
	(void)reply;
	quitting = true;
	return 0;
}

static int refused_verb(struct words *, struct reply *);
static int repeat_verb(struct words *, struct reply *);

static const struct {
	const char *name;
	int (*run)(struct words *, struct reply *);
} verbs[] = {
	{ "access", access_verb },	{ "advise", advise_verb },	{ "budget", budget_verb },	{ "calm", calm_verb },
	{ "collect", collect_verb },	{ "create", create_verb },	{ "destroy", destroy_verb },
	{ "event", event_verb },	{ "fill", fill_verb },		{ "fork", fork_verb },
	{ "hello", hello_verb },	{ "host", host_verb },		{ "ioeventfd", ioeventfd_verb },
	{ "irqfd", irqfd_verb },	{ "map", map_verb },		{ "munmap", munmap_verb },
	{ "parallel", parallel_verb },	{ "peek", peek_verb },		{ "poke", poke_verb },
	{ "protect", protect_verb },	{ "quit", quit_verb },		{ "region", region_verb },	{ "regs", registers_verb },
	{ "refused", refused_verb },	{ "repeat", repeat_verb },	{ "request", request_verb },
	{ "routes", routes_verb },	{ "show", show_verb },		{ "storm", storm_verb },	{ "submit", submit_verb },
	{ "toggle", toggle_verb },	{ "unfork", unfork_verb },	{ "urgent", urgent_verb },	{ "vfio", vfio_verb },
};

static int run_verb(const char *name, struct words *words, struct reply *reply)
{
	for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
		if (strcmp(name, verbs[i].name))
			continue;
		if (verbs[i].run(words, reply))
			return -1;
		if (words->next)
			return fail(reply, EINVAL, "too many words, from %.40s on", words->next);
		return 0;
	}
	return fail(reply, ENOSYS, "unknown verb");
}

/* refused ERRNO VERB WORD...: the request must fail in that way */
static int refused_verb(struct words *words, struct reply *reply)
{
	const char *name, *verb;

	if (word_text(words, reply, "name of an error", &name) || word_text(words, reply, "verb", &verb))
		return -1;
	if (!run_verb(verb, words, reply))
		return fail(reply, EEXIST, "%.40s was not refused", verb);
	if (strcmp(name, strerrorname_np(reply->error)))
		return -1;
	words->next = NULL;		/* it may not have read all of its words */
	reply->error = 0;
	return 0;
}

static int repeat_once(const char *const *lines, size_t count, struct reply *reply)
{
	for (size_t i = 0; i < count; i++) {
		char line[REPEAT_LINE], *text = NULL;
		struct words words;
		size_t size;

		strcpy(line, lines[i]);
		words_start(&words, line);
		struct reply inner = { .out = open_memstream(&text, &size) };
		if (!inner.out)
			return fail(reply, ENOMEM, "reply");
		const char *verb = word_take(&words);
		if (verb)
			run_verb(verb, &words, &inner);
		fclose(inner.out);
		/* An access that the kernel did not resolve is a result, but no round. */
		bool intercepted = !inner.error && strstr(text, " !");
		free(text);
		if (inner.error)
			return fail(reply, inner.error, "%.40s: %.160s", lines[i], inner.text);
		if (intercepted)
			return fail(reply, EIO, "%.80s: intercepted", lines[i]);
	}
	return 0;
}

/* repeat N VERB WORD... / VERB WORD... -> rounds done; the first request that fails ends it */
static int repeat_verb(struct words *words, struct reply *reply)
{
	static char room[REPEAT_LINES][REPEAT_LINE];
	const char *lines[REPEAT_LINES];
	uint64_t rounds, done;
	size_t count = 1;

	if (word_number(words, reply, "rounds", &rounds))
		return -1;
	room[0][0] = 0;
	for (const char *word; (word = word_take(words));) {
		if (!strcmp(word, "/")) {
			if (count == REPEAT_LINES)
				return fail(reply, E2BIG, "more than %d requests", REPEAT_LINES);
			room[count++][0] = 0;
			continue;
		}
		char *line = room[count - 1];
		if (strlen(line) + strlen(word) + 2 > REPEAT_LINE)
			return fail(reply, E2BIG, "a request longer than %d bytes", REPEAT_LINE);
		strcat(strcat(line, *line ? " " : ""), word);
	}
	for (size_t i = 0; i < count; i++) {
		if (!strncmp(room[i], "repeat", strlen("repeat")))
			return fail(reply, EINVAL, "a repeat inside a repeat");
		lines[i] = room[i];
	}
	for (done = 0; done < rounds; done++)
		if (repeat_once(lines, count, reply))
			return -1;
	fprintf(reply->out, " %lu", done);
	return 0;
}

static void answer(char *line, FILE *out)
{
	struct words words;
	struct reply reply = { 0 };
	char *text = NULL;
	size_t size;

	words_start(&words, line);
	const char *tag = word_take(&words), *verb = word_take(&words);
	if (!tag)
		return;
	reply.out = open_memstream(&text, &size);
	if (!reply.out) {
		fprintf(out, "%s err %.40s ENOMEM reply\n", tag, verb ? verb : "-");
		return;
	}
	if (verb)
		run_verb(verb, &words, &reply);
	else
		fail(&reply, EINVAL, "no verb");
	fclose(reply.out);
	if (reply.error)
		fprintf(out, "%s err %.40s %s %s\n", tag, verb ? verb : "-", strerrorname_np(reply.error), reply.text);
	else
		fprintf(out, "%s ok%s\n", tag, text);
	free(text);
}

enum served serve(FILE *in, FILE *out)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t length;

	while (!quitting && (length = getline(&line, &room, in)) > 0) {
		if ((size_t)length > MAX_LINE)
			fprintf(out, "- err - E2BIG a line of %zd bytes\n", length);
		else
			answer(line, out);
		fflush(out);
	}
	free(line);
	return quitting ? SERVED_QUIT : SERVED_EOF;
}

static int unix_socket(const char *path, struct sockaddr_un *address)
{
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof address->sun_path)
		return errno = ENAMETOOLONG, -1;
	strcpy(address->sun_path, path);
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

int serve_socket(const char *path, bool detach)
{
	struct sockaddr_un address;
	int listener = unix_socket(path, &address);

	unlink(path);
	if (listener < 0 || bind(listener, (void *)&address, sizeof address) || listen(listener, 1)) {
		fprintf(stderr, "%s: socket %s: %s\n", backend.program, path, strerror(errno));
		return 1;
	}
	/* Detached only once clients can connect. */
	if (detach && daemon(0, 0)) {
		fprintf(stderr, "%s: cannot detach: %s\n", backend.program, strerror(errno));
		return 1;
	}
	enum served how = SERVED_EOF;
	while (how != SERVED_QUIT) {
		int client = accept(listener, NULL, NULL);
		if (client < 0)
			continue;
		FILE *in = fdopen(client, "r"), *out = fdopen(dup(client), "w");
		if (in && out)
			how = serve(in, out);
		if (in)
			fclose(in);
		if (out)
			fclose(out);
	}
	unlink(path);
	return 0;
}

static bool write_all(int fd, const char *data, ssize_t size)
{
	while (size > 0) {
		ssize_t n = write(fd, data, (size_t)size);

		if (n <= 0)
			return false;
		data += n;
		size -= n;
	}
	return true;
}

/* Copy stdin to the socket and the socket to stdout until either ends. */
int relay(const char *path)
{
	static char buffer[RELAY_BUFFER];
	struct sockaddr_un address;
	int fd = unix_socket(path, &address);

	if (fd < 0 || connect(fd, (void *)&address, sizeof address)) {
		fprintf(stderr, "%s: connect %s: %s\n", backend.program, path, strerror(errno));
		return 1;
	}
	struct pollfd ends[] = { { .fd = STDIN, .events = POLLIN }, { .fd = fd, .events = POLLIN } };
	const int to[] = { fd, STDOUT };
	for (;;) {
		if (poll(ends, 2, -1) < 0)
			return 1;
		for (int i = 0; i < 2; i++) {
			if (!ends[i].revents)
				continue;
			ssize_t n = read(ends[i].fd, buffer, sizeof buffer);
			if (n <= 0 || !write_all(to[i], buffer, n))
				return 0;
		}
	}
}
