/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Event files: what a child's write to an address signals (ioeventfd), and what interrupts the child (irqfd). */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "backend.h"
#include "vmm.h"

#define MAX_EVENTS		64
#define MAX_ROUTES		32

static int events[MAX_EVENTS];		/* file + 1, 0 for a free place */

int take_event(struct words *words, struct reply *reply, int *file)
{
	uint64_t id;

	if (word_number(words, reply, "event", &id))
		return -1;
	if (id >= MAX_EVENTS || !events[id])
		return fail(reply, ENOENT, "no event %lu", id);
	*file = events[id] - 1;
	return 0;
}

static int event_new(struct reply *reply)
{
	size_t id = 0;

	while (id < MAX_EVENTS && events[id])
		id++;
	if (id == MAX_EVENTS)
		return fail(reply, ENOSPC, "%d events exist already", MAX_EVENTS);
	int file = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (file < 0)
		return fail(reply, errno, "eventfd");
	events[id] = file + 1;
	fprintf(reply->out, " %zu", id);
	return 0;
}

/* How often the event was signalled since it was last read; 0 if it was not, within the time given. */
static int event_read(struct words *words, struct reply *reply)
{
	struct pollfd wait = { .events = POLLIN };
	uint64_t milliseconds, count = 0;

	if (take_event(words, reply, &wait.fd) || word_number(words, reply, "milliseconds", &milliseconds))
		return -1;
	if (poll(&wait, 1, (int)milliseconds) > 0 && read(wait.fd, &count, sizeof count) < 0)
		return fail(reply, errno, "reading an event");
	fprintf(reply->out, " %lu", count);
	return 0;
}

static int event_write(struct words *words, struct reply *reply)
{
	uint64_t one = 1;
	int file;

	if (take_event(words, reply, &file))
		return -1;
	return write(file, &one, sizeof one) == sizeof one ? 0 : fail(reply, errno, "writing an event");
}

/* The signals that the event holds now, of which there must be one or more. */
static int event_take(struct words *words, struct reply *reply)
{
	uint64_t count;
	int file;

	if (take_event(words, reply, &file))
		return -1;
	if (read(file, &count, sizeof count) < 0)
		return fail(reply, errno, "taking the signals of an event");
	fprintf(reply->out, " %lu", count);
	return 0;
}

static int event_close(struct words *words, struct reply *reply)
{
	int file;

	if (take_event(words, reply, &file))
		return -1;
	for (size_t i = 0; i < MAX_EVENTS; i++)
		if (events[i] == file + 1)
			events[i] = 0;
	close(file);
	return 0;
}

/* event new -> ID | read ID MILLISECONDS -> COUNT | take ID -> COUNT | write ID | close ID */
int event_verb(struct words *words, struct reply *reply)
{
	const char *what;

	if (word_text(words, reply, "new, read, take, write or close", &what))
		return -1;
	if (!strcmp(what, "new"))
		return event_new(reply);
	if (!strcmp(what, "read"))
		return event_read(words, reply);
	if (!strcmp(what, "take"))
		return event_take(words, reply);
	if (!strcmp(what, "write"))
		return event_write(words, reply);
	if (!strcmp(what, "close"))
		return event_close(words, reply);
	return fail(reply, EINVAL, "event new, read, take, write or close, not %.20s", what);
}

static int add_or_delete(struct words *words, struct reply *reply, bool *delete)
{
	const char *what;

	if (word_text(words, reply, "add or del", &what))
		return -1;
	if (strcmp(what, "add") && strcmp(what, "del"))
		return fail(reply, EINVAL, "add or del, not %.20s", what);
	*delete = *what == 'd';
	return 0;
}

/* ioeventfd add|del EVENT GPA BYTES [VALUE]: BYTES 0 for any width, no VALUE for any value */
int ioeventfd_verb(struct words *words, struct reply *reply)
{
	struct abi_ioeventfd io = { 0 };
	uint64_t bytes;
	bool delete;
	int partition = partition_file(reply);

	if (partition < 0 || add_or_delete(words, reply, &delete) || take_event(words, reply, &io.fd) ||
	    word_number(words, reply, "gpa", &io.gpa) || word_number(words, reply, "bytes", &bytes))
		return -1;
	io.bytes = (uint32_t)bytes;
	if (words->next) {
		if (word_number(words, reply, "value", &io.value))
			return -1;
		io.flags |= ABI_IOEVENTFD_VALUE;
	}
	io.flags |= delete ? ABI_IOEVENTFD_DEASSIGN : 0;
	if (backend_ioeventfd(partition, &io))
		return fail(reply, errno, "%s ioeventfd of %lu bytes at %#lx", delete ? "removing the" : "an", bytes,
			    io.gpa);
	return 0;
}

/* irqfd add|del EVENT GSI [RESAMPLE-EVENT] */
int irqfd_verb(struct words *words, struct reply *reply)
{
	struct abi_irqfd irq = { 0 };
	uint64_t gsi;
	bool delete;
	int partition = partition_file(reply);

	if (partition < 0 || add_or_delete(words, reply, &delete) || take_event(words, reply, &irq.fd) ||
	    word_number(words, reply, "gsi", &gsi))
		return -1;
	if (words->next) {
		if (take_event(words, reply, &irq.resample_fd))
			return -1;
		irq.flags |= ABI_IRQFD_RESAMPLE;
	}
	irq.gsi = (uint32_t)gsi;
	irq.flags |= delete ? ABI_IRQFD_DEASSIGN : 0;
	if (backend_irqfd(partition, &irq))
		return fail(reply, errno, "%s irqfd of gsi %lu", delete ? "removing the" : "an", gsi);
	return 0;
}

/* routes [GSI ADDRESS DATA]...: the whole table of MSI messages */
int routes_verb(struct words *words, struct reply *reply)
{
	struct {
		struct abi_routes head;
		struct abi_route route[MAX_ROUTES];
	} table = { 0 };
	uint64_t gsi, address, data;
	int partition = partition_file(reply);

	if (partition < 0)
		return -1;
	while (words->next) {
		if (table.head.count == MAX_ROUTES)
			return fail(reply, E2BIG, "more than %d routes", MAX_ROUTES);
		if (word_number(words, reply, "gsi", &gsi) || word_number(words, reply, "address", &address) ||
		    word_number(words, reply, "data", &data))
			return -1;
		table.route[table.head.count++] = (struct abi_route){
			.gsi = (uint32_t)gsi, .address_low = (uint32_t)address, .address_high = (uint32_t)(address >> 32),
			.data = (uint32_t)data,
		};
	}
	if (backend_routes(partition, &table.head))
		return fail(reply, errno, "%u interrupt routes", table.head.count);
	return 0;
}
