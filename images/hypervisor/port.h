/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Ports, where something arrives, and connections, through which a partition sends to a port. */
#ifndef PORT_H
#define PORT_H

#include "hv.h"

#define MAX_PORTS 128
#define MAX_CONNECTIONS 128
#define ID_MASK 0xffffffu
#define ANY_VP 0xffffffffu

struct port {
	u32 type;			/* PORT_*, PORT_FREE for a free entry */
	u64 partition;			/* whose port it is */
	u64 sender;			/* the partition that may connect to it */
	u32 id, sint, vp;
	u32 first_flag, flag_count;	/* of an event port */
	bool waiting;			/* the ring was full when the doorbell rang */
	u32 waiting_lp;
};

struct connection {
	u32 type, id, port;
	u64 partition, port_partition;
	u64 gpa, value, flags;		/* of a doorbell */
};

u16 port_create(const struct port *);
u16 port_delete(u64 partition, u32 id);
u16 port_connect(const struct connection *);
u16 port_disconnect(u64 partition, u32 id);
void port_forget(u64 partition);
u16 port_post(struct lp *, u64 partition, u32 connection, const struct message *);
u16 port_signal(struct lp *, u64 partition, u32 connection, u32 flag);
void port_ring_empty(struct lp *, u32 sint);

#endif
