// SPDX-License-Identifier: GPL-2.0-or-later
// Accesses to a BAR through sysfs. A line "TAG WORD..." asks for accesses, "TAG ok RESULT..." answers.
// Words: r4:OFFSET, w4:OFFSET=VALUE, hexadecimal. Results: the value, "w", or "!SIGNAL" for an access that faulted.
#include "child_io.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static sigjmp_buf escape;

static void on_fault(int signal)
{
	siglongjmp(escape, signal);
}

void bar_map(struct bar *bar, const char *bdf, unsigned int index)
{
	char path[128];
	struct stat status;
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/resource%u", bdf, index);
	fd = open(path, O_RDWR | O_SYNC | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &status) < 0)
		die("%s", path);
	bar->bytes = status.st_size;
	bar->at = mmap(NULL, bar->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (bar->at == MAP_FAILED)
		die("mapping %s", path);
	close(fd);
}

static bool inside(const struct bar *bar, uint64_t offset, unsigned int width)
{
	return offset <= bar->bytes && width <= bar->bytes - offset;
}

/* One machine access of exactly the width: a compiler may split or merge anything that is not volatile. */
int bar_read(const struct bar *bar, uint64_t offset, unsigned int width, uint64_t *value)
{
	volatile uint8_t *at = bar->at + offset;

	if (!inside(bar, offset, width))
		return -1;
	switch (width) {
	case 1:
		*value = *at;
		return 0;
	case 2:
		*value = *(volatile uint16_t *)at;
		return 0;
	case 4:
		*value = *(volatile uint32_t *)at;
		return 0;
	case 8:
		*value = *(volatile uint64_t *)at;
		return 0;
	}
	return -1;
}

int bar_write(const struct bar *bar, uint64_t offset, unsigned int width, uint64_t value)
{
	volatile uint8_t *at = bar->at + offset;

	if (!inside(bar, offset, width))
		return -1;
	switch (width) {
	case 1:
		*at = value;
		return 0;
	case 2:
		*(volatile uint16_t *)at = value;
		return 0;
	case 4:
		*(volatile uint32_t *)at = value;
		return 0;
	case 8:
		*(volatile uint64_t *)at = value;
		return 0;
	}
	return -1;
}

static void one(const struct bar *bar, const char *word)
{
	unsigned int width;
	unsigned long long offset, value = 0;
	uint64_t seen = 0;
	int caught, done;

	caught = sigsetjmp(escape, 1);
	if (caught) {
		printf(" !%s", caught == SIGBUS ? "SIGBUS" : "SIGSEGV");
		return;
	}
	if (sscanf(word, "r%u:%llx", &width, &offset) == 2) {
		done = bar_read(bar, offset, width, &seen);
		if (done == 0)
			printf(" %llx", (unsigned long long)seen);
	} else if (sscanf(word, "w%u:%llx=%llx", &width, &offset, &value) == 3) {
		done = bar_write(bar, offset, width, value);
		if (done == 0)
			printf(" w");
	} else {
		done = -1;
	}
	if (done < 0)
		printf(" !EINVAL");
}

int bar_serve(const char *bdf, unsigned int index)
{
	struct sigaction action = { .sa_handler = on_fault };
	struct bar bar;
	char *line = NULL;
	size_t room = 0;

	bar_map(&bar, bdf, index);
	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
	printf("ready %zx\n", bar.bytes);
	fflush(stdout);
	while (getline(&line, &room, stdin) > 0) {
		char *rest, *word = strtok_r(line, " \n", &rest);

		if (!word)
			continue;
		printf("%s ok", word);
		while ((word = strtok_r(NULL, " \n", &rest)))
			one(&bar, word);
		printf("\n");
		fflush(stdout);
	}
	return 0;
}
