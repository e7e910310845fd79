/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mshv-vmm --drain FILE: for each line on stdin, what a file that is consumed by reading (tracefs's
 * trace_pipe) holds now, then a line "drained". No shell tool reads such a file without waiting for more.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "vmm.h"

#define CHUNK			65536
#define LINE_MAX_SIZE		64

int drain(const char *path)
{
	static char data[CHUNK];
	char line[LINE_MAX_SIZE];
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0) {
		fprintf(stderr, "--drain %s: %s\n", path, strerror(errno));
		return 1;
	}
	while (fgets(line, sizeof line, stdin)) {
		ssize_t n;

		while ((n = read(fd, data, sizeof data)) > 0)
			fwrite(data, 1, (size_t)n, stdout);
		puts("drained");
		fflush(stdout);
	}
	close(fd);
	return 0;
}
