/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mshv-vmm --kmsg FROM: the kernel log's records from sequence number FROM on, as /dev/kmsg gives
 * them, then "next SEQUENCE LOST". Busybox has no reader that stops at the end of /dev/kmsg.
 *
 * mshv-vmm --kmsg -: the same for each line of the input, which is a FROM. What was read already is not
 * read again: a record costs a system call, and a log has hundreds.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm.h"

#define RECORD_MAX		8192
#define NUMBER_MAX		32

struct log {
	int fd;
	uint64_t next;		/* behind the last record that was read */
	bool first;		/* none was */
};

/* "priority,sequence,time,flags;text" */
static bool sequence_of(const char *record, uint64_t *sequence)
{
	const char *comma = strchr(record, ',');

	return comma && sscanf(comma + 1, "%" SCNu64, sequence) == 1;
}

static void show_from(struct log *log, uint64_t from)
{
	static char record[RECORD_MAX + 1];
	uint64_t sequence, lost = 0;

	if (from < log->next) {
		lseek(log->fd, 0, SEEK_SET);
		log->next = 0;
		log->first = true;
	}
	for (;;) {
		ssize_t n = read(log->fd, record, RECORD_MAX);

		if (n < 0 && errno == EPIPE)	/* overwritten while we read: the next read goes on behind the gap */
			continue;
		if (n <= 0)
			break;
		record[n] = 0;
		if (!sequence_of(record, &sequence))
			continue;
		if (sequence > (log->first ? from : log->next) && sequence > from)
			lost += sequence - (log->first || log->next < from ? from : log->next);
		log->first = false;
		log->next = sequence + 1;
		if (sequence >= from)
			fputs(record, stdout);
	}
	printf("next %" PRIu64 " %" PRIu64 "\n", log->next, lost);
	fflush(stdout);
}

int show_kmsg(const char *from)
{
	struct log log = { .first = true };
	char line[NUMBER_MAX];

	log.fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	if (log.fd < 0) {
		fprintf(stderr, "mshv-vmm: /dev/kmsg: %s\n", strerror(errno));
		return 1;
	}
	if (strcmp(from, "-"))
		show_from(&log, strtoull(from, NULL, 0));
	else
		while (fgets(line, sizeof(line), stdin))
			show_from(&log, strtoull(line, NULL, 0));
	close(log.fd);
	return 0;
}
