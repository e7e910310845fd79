/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Ports and connections between partitions (TLFS 11): messages, event flags, and doorbells, which turn a child's
 * write to a guest physical address into an entry of the root's event ring. Ports of the root are modelled; what
 * sends through them may be the root or a child.
 */
#include "hv.h"
#include "port.h"

static lock_t port_lock;		/* inside hv_lock, outside a SynIC's; also taken alone, by a running child's LP */
static struct port ports[MAX_PORTS];
static struct connection connections[MAX_CONNECTIONS];

static struct port *port_find(u64 partition, u32 id)
{
	for (u32 i = 0; i < MAX_PORTS; i++)
		if (ports[i].type && ports[i].partition == partition && ports[i].id == id)
			return &ports[i];
	return NULL;
}

static struct connection *connection_find(u64 partition, u32 id)
{
	for (u32 i = 0; i < MAX_CONNECTIONS; i++)
		if (connections[i].type && connections[i].partition == partition && connections[i].id == id)
			return &connections[i];
	return NULL;
}

/* ---- life ---- */
static u16 check_port(const struct port *p)
{
	if (!p->id || p->id & ~ID_MASK)
		return ST_INVALID_PORT_ID;
	if (p->type != PORT_MESSAGE && p->type != PORT_EVENT && p->type != PORT_DOORBELL)
		return ST_INVALID_PARAMETER;	/* monitored notification pages are not offered */
	if (p->sint >= SYNIC_SINTS || p->sint == SINT_INTERCEPT)
		return ST_INVALID_PARAMETER;
	if (p->vp != ANY_VP && p->vp >= nlps)
		return ST_INVALID_VP_INDEX;
	if (p->type == PORT_EVENT && (!p->flag_count || p->first_flag + p->flag_count > EVENT_FLAGS))
		return ST_INVALID_PARAMETER;
	return ST_OK;
}

static u16 create(const struct port *p)
{
	for (u32 i = 0; i < MAX_PORTS; i++)
		if (!ports[i].type) {
			ports[i] = *p;
			return ST_OK;
		}
	return ST_INSUFFICIENT_MEMORY;
}

u16 port_create(const struct port *p)
{
	u16 st = check_port(p);

	if (st)
		return st;
	lock(&port_lock);
	st = port_find(p->partition, p->id) ? ST_INVALID_PORT_ID : create(p);
	unlock(&port_lock);
	return st;
}

/* Connections to it stay, and lead nowhere. */
u16 port_delete(u64 partition, u32 id)
{
	struct port *p;

	lock(&port_lock);
	p = port_find(partition, id);
	if (p)
		p->type = PORT_FREE;
	unlock(&port_lock);
	return p ? ST_OK : ST_INVALID_PORT_ID;
}

static u16 check_connection(const struct connection *c)
{
	const struct port *p = port_find(c->port_partition, c->port);

	if (!c->id || c->id & ~ID_MASK || connection_find(c->partition, c->id))
		return ST_INVALID_CONNECTION_ID;
	if (!p)
		return ST_INVALID_PORT_ID;
	if (p->sender != c->partition)
		return ST_ACCESS_DENIED;
	if (p->type != c->type)
		return ST_INVALID_PARAMETER;
	if (c->type == PORT_DOORBELL &&
	    ((c->flags & DOORBELL_SIZE_MASK) > DOORBELL_SIZE_QWORD || c->flags & ~DOORBELL_KNOWN))
		return ST_INVALID_PARAMETER;
	return ST_OK;
}

static u16 connect(const struct connection *c)
{
	for (u32 i = 0; i < MAX_CONNECTIONS; i++)
		if (!connections[i].type) {
			connections[i] = *c;
			return ST_OK;
		}
	return ST_INSUFFICIENT_MEMORY;
}

u16 port_connect(const struct connection *c)
{
	u16 st;

	lock(&port_lock);
	st = check_connection(c);
	if (!st)
		st = connect(c);
	unlock(&port_lock);
	return st;
}

u16 port_disconnect(u64 partition, u32 id)
{
	struct connection *c;

	lock(&port_lock);
	c = connection_find(partition, id);
	if (c)
		c->type = PORT_FREE;
	unlock(&port_lock);
	return c ? ST_OK : ST_INVALID_CONNECTION_ID;
}

/* A partition goes away: nothing sends from it or to it any more. */
void port_forget(u64 partition)
{
	lock(&port_lock);
	for (u32 i = 0; i < MAX_CONNECTIONS; i++)
		if (connections[i].partition == partition)
			connections[i].type = PORT_FREE;
	for (u32 i = 0; i < MAX_PORTS; i++)
		if (ports[i].partition == partition)
			ports[i].type = PORT_FREE;
	unlock(&port_lock);
}

/* ---- sending ---- */
static struct lp *target(struct lp *lp, const struct port *p) { return p->vp == ANY_VP ? lp : &lps[p->vp]; }

/* The port behind a connection of this partition and type. */
static u16 resolve(u64 partition, u32 id, u32 type, struct port **port)
{
	const struct connection *c = connection_find(partition, id);

	*port = c && c->type == type ? port_find(c->port_partition, c->port) : NULL;
	return *port ? ST_OK : ST_INVALID_CONNECTION_ID;
}

u16 port_post(struct lp *lp, u64 partition, u32 id, const struct message *m)
{
	struct message copy = *m;
	struct port *p;
	u16 st;

	lock(&port_lock);
	st = resolve(partition, id, PORT_MESSAGE, &p);
	if (!st) {
		copy.sender = p->id;
		st = synic_post(target(lp, p), p->sint, &copy);
	}
	unlock(&port_lock);
	return st;
}

u16 port_signal(struct lp *lp, u64 partition, u32 id, u32 flag)
{
	struct port *p;
	u16 st;

	lock(&port_lock);
	st = resolve(partition, id, PORT_EVENT, &p);
	if (!st && flag >= p->flag_count)
		st = ST_INVALID_PARAMETER;
	if (!st)
		st = synic_signal(target(lp, p), p->sint, p->first_flag + flag);
	unlock(&port_lock);
	return st;
}

/* ---- doorbells ---- */
static void ring(struct lp *lp, struct port *p)
{
	struct lp *to = target(lp, p);

	p->waiting = !synic_ring(to, p->sint, p->id);
	p->waiting_lp = to->index;
}

static bool rings(const struct connection *c, u64 gpa, u32 size, u64 value)
{
	u32 wanted = c->flags & DOORBELL_SIZE_MASK;
	u64 mask = size < sizeof(u64) ? BIT(size * 8) - 1 : ~0ul;

	if (c->gpa != gpa || (wanted && 1u << (wanted - 1) != size))
		return false;
	return c->flags & DOORBELL_ANY_VALUE || (value & mask) == (c->value & mask);
}

/* Does anything listen on the page? Cheap, because every intercept of a child asks. */
static bool on_page(const struct vp *vp, u64 gpa)
{
	for (u32 i = 0; i < MAX_CONNECTIONS; i++)
		if (connections[i].type == PORT_DOORBELL && connections[i].partition == vp->pt->id &&
		    connections[i].gpa / PAGE == gpa / PAGE)
			return true;
	return false;
}

/* A child writes where nothing is mapped: true if a doorbell took it, so that there is nothing to intercept. */
bool doorbell_write(struct lp *lp, struct vp *vp, u64 gpa, u32 size, u64 value)
{
	bool taken = false;

	lock(&port_lock);
	for (u32 i = 0; i < MAX_CONNECTIONS; i++) {
		struct connection *c = &connections[i];
		struct port *p;

		if (c->type != PORT_DOORBELL || c->partition != vp->pt->id || !rings(c, gpa, size, value))
			continue;
		p = port_find(c->port_partition, c->port);
		if (!p)
			continue;
		ring(lp, p);
		taken = true;
		LEDGER_EVENT(lp, EV_DOORBELL, 0, vp->pt->id, vp->index, gpa, size, value, p->id);
	}
	unlock(&port_lock);
	return taken;
}

/* A child's nested page fault: true if a doorbell took the access, whose instruction is then done. */
bool doorbell(struct lp *lp, struct vp *vp)
{
	struct vmcb *v = vp->vmcb;
	u8 bytes[INSTRUCTION_BYTES];
	struct store s;

	if (!(v->info1 & NPF_WRITE) || !on_page(vp, v->info2) ||
	    !store_decode(vp, bytes, child_fetch(vp, bytes), &s) || !doorbell_write(lp, vp, v->info2, s.size, s.value))
		return false;
	v->rip += s.length;
	v->shadow = 0;
	return true;
}

/* The root has emptied a ring that was full: put in what had to wait. */
void port_ring_empty(struct lp *lp, u32 sint)
{
	lock(&port_lock);
	for (u32 i = 0; i < MAX_PORTS; i++) {
		struct port *p = &ports[i];

		if (p->type == PORT_DOORBELL && p->waiting && p->waiting_lp == lp->index && p->sint == sint)
			p->waiting = !synic_ring(lp, sint, p->id);
	}
	unlock(&port_lock);
}
