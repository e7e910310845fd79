/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hypercalls about ports and connections, and the two that send through them. */
#include "hc.h"
#include "port.h"

static u64 self(u64 id) { return id == PARTITION_SELF ? ROOT_ID : id; }

void hc_decode_create_port(struct hc *c)
{
	const struct in_create_port *in = c->in;

	hc_word(c, in->partition);
	hc_word(c, in->port);
	hc_word(c, in->connection_partition);
	hc_word(c, in->info.type);
	hc_word(c, in->info.sint);
	hc_word(c, in->info.vp);
}

u16 hc_create_port(struct hc *c)
{
	const struct in_create_port *in = c->in;
	struct port p = { .type = in->info.type, .partition = self(in->partition), .id = in->port,
			  .sender = self(in->connection_partition), .sint = in->info.sint, .vp = in->info.vp };

	if (!hc_partition(c, in->partition) || !pt_find(p.sender))
		return ST_INVALID_PARTITION_ID;
	if (p.partition != ROOT_ID) {	/* a child's SynIC cannot be reached from outside */
		c->flags |= FLAG_UNIMPLEMENTED;
		return ST_ACCESS_DENIED;
	}
	if (p.type == PORT_EVENT) {
		p.first_flag = in->info.rest & EVENT_FIRST_MASK;
		p.flag_count = in->info.rest >> EVENT_COUNT_SHIFT & EVENT_FIRST_MASK;
	}
	return port_create(&p);
}

u16 hc_delete_port(struct hc *c)
{
	const struct in_port *in = c->in;

	return hc_partition(c, in->partition) ? port_delete(self(in->partition), in->port) : ST_INVALID_PARTITION_ID;
}

void hc_decode_connect_port(struct hc *c)
{
	const struct in_connect_port *in = c->in;

	hc_word(c, in->partition);
	hc_word(c, in->connection);
	hc_word(c, in->port_partition);
	hc_word(c, in->port);
	hc_word(c, in->info.type);
	hc_word(c, in->info.gpa);
	hc_word(c, in->info.value);
	hc_word(c, in->info.flags);
}

u16 hc_connect_port(struct hc *c)
{
	const struct in_connect_port *in = c->in;
	struct connection k = { .type = in->info.type, .id = in->connection, .port = in->port,
				.partition = self(in->partition), .port_partition = self(in->port_partition),
				.gpa = in->info.gpa, .value = in->info.value, .flags = in->info.flags };

	if (!hc_partition(c, in->partition) || !pt_find(k.port_partition))
		return ST_INVALID_PARTITION_ID;
	return port_connect(&k);
}

u16 hc_disconnect_port(struct hc *c)
{
	const struct in_port *in = c->in;

	return hc_partition(c, in->partition) ? port_disconnect(self(in->partition), in->port) :
		ST_INVALID_PARTITION_ID;
}

u16 hc_post_message(struct hc *c)
{
	const struct in_post_message *in = c->in;
	struct message m = { .type = in->type, .size = in->size };

	if (!in->type || in->type & MSG_HYPERVISOR || in->size > sizeof in->payload)
		return ST_INVALID_PARAMETER;
	memcpy(m.payload, in->payload, in->size);
	return port_post(c->lp, ROOT_ID, in->connection, &m);
}

u16 hc_signal_event(struct hc *c)
{
	const struct in_signal_event *in = c->in;

	return port_signal(c->lp, ROOT_ID, in->connection, in->flag);
}

u16 hc_ring_empty(struct hc *c)
{
	const struct in_ring_empty *in = c->in;

	if (in->sint >= SYNIC_SINTS)
		return ST_INVALID_PARAMETER;
	port_ring_empty(c->lp, in->sint);
	return ST_OK;
}
