// SPDX-License-Identifier: GPL-2.0-or-later
// child-io bar BDF INDEX          accesses to a BAR, asked for in lines (bar.c)
// child-io factorial BDF N        edu computes N!
// child-io msi BDF COUNT          edu raises COUNT message-signalled interrupts, caught by VFIO
// child-io dma BDF BYTES          edu copies BYTES of the child's memory into itself and out again
// child-io beat ADDRESS SECONDS   heartbeats of timers, disk and network to ADDRESS; 1 if one stops (beat.c)
#include "child_io.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXIT_USAGE 2

void die(const char *what, ...)
{
	int error = errno;
	va_list list;

	va_start(list, what);
	fputs("child-io: ", stderr);
	vfprintf(stderr, what, list);
	va_end(list);
	fprintf(stderr, ": %s\n", strerror(error));
	exit(EXIT_FAILURE);
}

static unsigned long number(const char *text)
{
	char *end;
	unsigned long value = strtoul(text, &end, 0);

	if (*text == 0 || *end != 0) {
		fprintf(stderr, "child-io: not a number: %s\n", text);
		exit(EXIT_USAGE);
	}
	return value;
}

int main(int argc, char **argv)
{
	if (argc == 4) {
		const char *verb = argv[1], *bdf = argv[2];
		unsigned long value = number(argv[3]);

		if (strcmp(verb, "bar") == 0)
			return bar_serve(bdf, value);
		if (strcmp(verb, "factorial") == 0)
			return edu_factorial(bdf, value);
		if (strcmp(verb, "msi") == 0)
			return edu_msi(bdf, value);
		if (strcmp(verb, "dma") == 0)
			return edu_dma(bdf, value);
		if (strcmp(verb, "beat") == 0)
			return beat_all(bdf, value);
	}
	fputs("usage: child-io bar|factorial|msi|dma BDF NUMBER, or beat ADDRESS SECONDS\n", stderr);
	return EXIT_USAGE;
}
