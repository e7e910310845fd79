/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Draft calls about ports and connections: so few ids and types that a call often meets what another has made. */
#include "fuzz.h"

#define IDS 6
#define ROOT 1
#define DOORBELL_FRAMES 4
#define SIZES 5				/* any, 1, 2, 4, 8 bytes */
#define PAYLOADS 260			/* longer than a message can be, at times */

static u32 id(void) { return one_in(12) ? interesting() : 1 + below(IDS); }
static u64 owner(void) { return one_in(10) ? some_id() : one_in(2) ? ROOT : PARTITION_SELF; }
static u64 sender(void) { return one_in(2) ? ROOT : some_id(); }

/* Mostly a matter of the id, so that port and connection agree. */
static u32 type(u32 port)
{
	static const u32 types[] = { PORT_MESSAGE, PORT_EVENT, PORT_DOORBELL };

	return one_in(12) ? interesting() : types[port % LENGTH(types)];
}

void draft_create_port(struct fuzz_draft *d)
{
	struct in_create_port *in = (void *)d->input;

	memset(in, 0, sizeof *in);
	in->partition = owner();
	in->port = id();
	in->connection_partition = sender();
	in->info.type = type(in->port);
	in->info.sint = one_in(12) ? interesting() : 1 + below(SYNIC_SINTS - 1);
	in->info.vp = some_vp();
	in->info.rest = one_in(4) ? interesting() : below(8) | (1 + below(8)) << EVENT_COUNT_SHIFT;
}

void draft_connect_port(struct fuzz_draft *d)
{
	struct in_connect_port *in = (void *)d->input;

	memset(in, 0, sizeof *in);
	in->partition = sender();
	in->connection = id();
	in->port_partition = owner();
	in->port = id();
	in->info.type = type(in->port);
	in->info.gpa = one_in(8) ? interesting() : below(DOORBELL_FRAMES) * PAGE;
	in->info.value = interesting();
	in->info.flags = one_in(12) ? interesting() : below(SIZES);
}

/* DELETE_PORT and DISCONNECT_PORT */
void draft_port(struct fuzz_draft *d)
{
	struct in_port *in = (void *)d->input;

	in->partition = one_in(3) ? some_id() : owner();
	in->port = id();
	in->reserved = 0;
}

void draft_post_message(struct fuzz_draft *d)
{
	struct in_post_message *in = (void *)d->input;

	in->connection = id();
	in->reserved = 0;
	in->type = one_in(8) ? interesting() : 1 + below(16);
	in->size = below(PAYLOADS);
}

void draft_signal_event(struct fuzz_draft *d)
{
	struct in_signal_event *in = (void *)d->input;

	in->connection = id();
	in->flag = below(16);
	in->reserved = 0;
}
