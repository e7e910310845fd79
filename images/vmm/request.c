/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Requests to the driver word by word, also such as no VMM would make, and what its files can be mapped as. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backend.h"
#include "vmm.h"

#define MAX_STRUCT		512u
#define MAX_BUFFERS		4
#define MAX_BUFFER		(1u << 20)
#define URGENT			10		/* real-time priority: before all that shares the CPU by turns */
#define UNTOUCHED		0xa5		/* what a buffer holds where nothing was written */

struct buffer {
	uint64_t at;			/* where in the structure its address goes */
	uint64_t size;
	uint8_t *memory;
};

static int parse_hex(const char *hex, uint8_t *to, size_t room, size_t *size, struct reply *reply)
{
	*size = strlen(hex) / 2;
	if (strlen(hex) % 2 || hex[strspn(hex, "0123456789abcdef")])
		return fail(reply, EINVAL, "not bytes in lower-case hex: %.40s", hex);
	if (*size > room)
		return fail(reply, E2BIG, "%zu bytes where %zu fit", *size, room);
	for (size_t i = 0; i < *size; i++) {
		char byte[3] = { hex[2 * i], hex[2 * i + 1], 0 };

		to[i] = (uint8_t)strtoul(byte, NULL, 16);
	}
	return 0;
}

static void show_hex(FILE *out, const uint8_t *bytes, uint64_t size)
{
	fputc(' ', out);
	for (uint64_t i = 0; i < size; i++)
		fprintf(out, "%02x", bytes[i]);
}

static uint64_t whole_pages(uint64_t size)
{
	return (size + ABI_PAGE - 1) & ~(ABI_PAGE - 1);
}

/* AT:SIZE[:HEX]: memory of SIZE bytes on pages of its own; the page behind them cannot be reached. */
static int buffer_open(char *word, struct buffer *buffer, size_t structure, struct reply *reply)
{
	char *rest = NULL, *at = strtok_r(word, ":", &rest), *size = strtok_r(NULL, ":", &rest);
	const char *hex = strtok_r(NULL, ":", &rest);
	size_t filled;

	buffer->at = at ? strtoull(at, NULL, 0) : structure;
	buffer->size = size ? strtoull(size, NULL, 0) : 0;
	if (buffer->at + sizeof(uint64_t) > structure || !buffer->size || buffer->size > MAX_BUFFER)
		return fail(reply, EINVAL, "a buffer of %lu bytes for offset %lu", buffer->size, buffer->at);
	buffer->memory = mmap(NULL, whole_pages(buffer->size) + ABI_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (buffer->memory == MAP_FAILED)
		return buffer->memory = NULL, fail(reply, errno, "a buffer of %lu bytes", buffer->size);
	if (mprotect(buffer->memory, whole_pages(buffer->size), PROT_READ | PROT_WRITE))
		return fail(reply, errno, "a buffer of %lu bytes", buffer->size);
	memset(buffer->memory, UNTOUCHED, buffer->size);
	return hex ? parse_hex(hex, buffer->memory, buffer->size, &filled, reply) : 0;
}

/* device | partition | VP: a file of the driver's. "own": it was opened here. */
static int take_file(struct words *words, struct reply *reply, bool *own)
{
	uint64_t index;
	*own = false;
	if (strcmp(backend.program, "mshv-vmm"))
		return fail(reply, EOPNOTSUPP, "requests word by word");
	if (words->next && !strcmp(words->next, "partition"))
		return word_take(words), partition_file(reply);
	if (words->next && !strcmp(words->next, "device")) {
		int file = open("/dev/mshv", O_RDWR | O_CLOEXEC);

		*own = file >= 0;
		return word_take(words), file < 0 ? fail(reply, errno, "open /dev/mshv") : file;
	}
	if (word_number(words, reply, "device, partition or VP", &index))
		return -1;
	struct vp *vp = partition_vp(index, reply);
	return vp ? vp_file(vp) : -1;
}

static int ask(int file, struct words *words, struct reply *reply)
{
	uint8_t structure[MAX_STRUCT + 8] = { 0 };
	void *argument = structure;
	struct buffer buffer[MAX_BUFFERS] = { 0 };
	const char *hex;
	uint64_t number;
	size_t size, count = 0;
	int failed = 0;

	if (word_number(words, reply, "number of the request", &number) || word_text(words, reply, "structure", &hex) ||
	    parse_hex(strcmp(hex, "-") && strcmp(hex, "nowhere") ? hex : "", structure, MAX_STRUCT, &size, reply))
		return -1;
	if (!strcmp(hex, "nowhere"))
		argument = (void *)1;
	while (words->next && !failed) {
		if (count == MAX_BUFFERS)
			failed = fail(reply, E2BIG, "more than %d buffers", MAX_BUFFERS);
		else if (!(failed = buffer_open(word_take(words), &buffer[count++], size, reply)))
			memcpy(structure + buffer[count - 1].at, &buffer[count - 1].memory, sizeof(uint64_t));
	}
	if (!failed) {
		int result = ioctl(file, number, argument);

		fprintf(reply->out, " %d %s", result, result < 0 ? strerrorname_np(errno) : "-");
		show_hex(reply->out, structure, size);
		for (size_t i = 0; i < count; i++)
			show_hex(reply->out, buffer[i].memory, buffer[i].size);
	}
	for (size_t i = 0; i < count; i++)
		if (buffer[i].memory)
			munmap(buffer[i].memory, whole_pages(buffer[i].size) + ABI_PAGE);
	return failed;
}

/* request FILE NUMBER STRUCTURE [AT:SIZE[:HEX]]... -> RESULT ERRNO STRUCTURE BUFFER...; - for no structure, no error.
 * The structure "nowhere" lies where nothing can be read. */
int request_verb(struct words *words, struct reply *reply)
{
	bool own;
	int file = take_file(words, reply, &own);

	if (file < 0)
		return -1;
	int failed = ask(file, words, reply);
	if (own)
		close(file);
	return failed;
}

/* show FILE PAGE BYTES -> hex: what a file of the driver's shows where it is mapped */
int show_verb(struct words *words, struct reply *reply)
{
	uint64_t page, size;
	bool own;
	int file = take_file(words, reply, &own);

	if (file < 0)
		return -1;
	if (!word_number(words, reply, "page", &page) && !word_number(words, reply, "bytes", &size)) {
		uint8_t *at = size > ABI_PAGE ? MAP_FAILED :
			mmap(NULL, ABI_PAGE, PROT_READ, MAP_SHARED, file, (off_t)(page * ABI_PAGE));

		if (at == MAP_FAILED) {
			fail(reply, size > ABI_PAGE ? EINVAL : errno, "mapping page %lu", page);
		} else {
			show_hex(reply->out, at, size);
			munmap(at, ABI_PAGE);
		}
	}
	if (own)
		close(file);
	return reply->error ? -1 : 0;
}

/* urgent 0|1: whether requests are worked off before anything else on this CPU, also before the kernel's workers */
int urgent_verb(struct words *words, struct reply *reply)
{
	uint64_t on;

	if (word_number(words, reply, "0 or 1", &on))
		return -1;
	const struct sched_param priority = { .sched_priority = on ? URGENT : 0 };
	return sched_setscheduler(0, on ? SCHED_FIFO : SCHED_OTHER, &priority) ? fail(reply, errno, "priority") : 0;
}
