/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mshv-vmm --kmsg FROM: the kernel log's records from sequence number FROM on, as /dev/kmsg gives
 * them, then "next SEQUENCE LOST". Busybox has no reader that stops at the end of /dev/kmsg.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm.h"

#define RECORD_MAX		8192

/* "priority,sequence,time,flags;text" */
static bool sequence_of(const char *record, uint64_t *sequence)
{
	const char *comma = strchr(record, ',');

	return comma && sscanf(comma + 1, "%" SCNu64, sequence) == 1;
}

int show_kmsg(const char *from_text)
{
	static char record[RECORD_MAX + 1];
	uint64_t from = strtoull(from_text, NULL, 0), sequence, next = 0, lost = 0;
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	bool first = true;

	if (fd < 0) {
		fprintf(stderr, "mshv-vmm: /dev/kmsg: %s\n", strerror(errno));
		return 1;
	}
	for (;;) {
		ssize_t n = read(fd, record, RECORD_MAX);

		if (n < 0 && errno == EPIPE)	/* overwritten while we read: the next read goes on behind the gap */
			continue;
		if (n <= 0)
			break;
		record[n] = 0;
		if (!sequence_of(record, &sequence))
			continue;
		if (sequence > (first ? from : next) && sequence > from)
			lost += sequence - (first || next < from ? from : next);
		first = false;
		next = sequence + 1;
		if (sequence >= from)
			fputs(record, stdout);
	}
	printf("next %" PRIu64 " %" PRIu64 "\n", next, lost);
	close(fd);
	return 0;
}
