/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hypercalls of a child. It can act on itself only; what it may ask for follows from the partition's features. */
#include "apic_regs.h"
#include "hc.h"
#include "port.h"

#define FAST_BYTES 16
#define FLUSH_ALL_PROCESSORS BIT(0)
#define SIGNAL_FLAG_SHIFT 32
#define BANK_BITS 64
#define REP_BYTES 8

struct call {
	struct lp *lp;
	struct vp *vp;
	u16 code, reps, start, varhead, done;
	const u8 *in;
	u8 *out;
	u32 in_bytes;
};

/* As for the root's calls: another VP can write to the page meanwhile. */
static u64 inputs[MAX_LPS][PAGE / sizeof(u64)];

struct in_flush { u64 space, flags, vps; } PACKED;
struct in_flush_ex { u64 space, flags; struct wire_vp_set set; } PACKED;
struct in_ipi_ex { u32 vector, reserved; struct wire_vp_set set; } PACKED;

/* ---- VP sets, as 64 bits: we have no more VPs than that ---- */
_Static_assert(MAX_VPS <= BANK_BITS, "a VP set is one word");

static u32 ones(u64 word)
{
	u32 n = 0;

	for (; word; word &= word - 1)
		n++;
	return n;
}

static u16 vp_set(const struct call *c, const struct wire_vp_set *set, u64 *vps)
{
	if (set->format == VP_SET_ALL) {
		*vps = ~0ul;
		return ST_OK;
	}
	if (set->format != VP_SET_SPARSE || ones(set->valid_banks) != c->varhead)
		return ST_INVALID_PARAMETER;
	*vps = set->valid_banks & 1 ? set->banks[0] : 0;
	return ST_OK;
}

/* ---- calls ---- */
/* Every run begins with a flush, so it is enough that the others leave their guest once. */
static u16 flush_vps(struct call *c, u64 vps)
{
	struct partition *pt = c->vp->pt;

	for (u32 i = 0; i < MAX_VPS; i++) {
		struct vp *vp = &pt->vp[i];
		int on = vp->used && vps & BIT(i) ? vp->in_guest : 0;

		if (!on)
			continue;
		apic_write_icr(lps[on - 1].apic_id, ICR_ASSERT | KICK_VECTOR);
		while (vp->in_guest == on)
			relax();
	}
	c->done = c->reps;
	return ST_OK;
}

static u16 flush(struct call *c)
{
	const struct in_flush *in = (const void *)c->in;

	return flush_vps(c, in->flags & FLUSH_ALL_PROCESSORS ? ~0ul : in->vps);
}

static u16 flush_ex(struct call *c)
{
	const struct in_flush_ex *in = (const void *)c->in;
	u64 vps;
	u16 st = vp_set(c, &in->set, &vps);

	return st ? st : flush_vps(c, in->flags & FLUSH_ALL_PROCESSORS ? ~0ul : vps);
}

static u16 ipi(struct call *c, u32 vector, u64 vps)
{
	if (vector < SINT_FIRST_VECTOR || vector > VECTOR_MASK)
		return ST_INVALID_PARAMETER;
	for (u32 i = 0; i < MAX_VPS; i++) {
		struct vp *vp = &c->vp->pt->vp[i];

		if (!vp->used || !(vps & BIT(i)))
			continue;
		lapic_raise(vp, vector, false);
		vp_kick(c->lp, vp);
	}
	return ST_OK;
}

static u16 send_ipi(struct call *c)
{
	const struct in_send_ipi *in = (const void *)c->in;

	return ipi(c, in->vector, in->cpus);
}

static u16 send_ipi_ex(struct call *c)
{
	const struct in_ipi_ex *in = (const void *)c->in;
	u64 vps;
	u16 st = vp_set(c, &in->set, &vps);

	return st ? st : ipi(c, in->vector, vps);
}

static u16 post_message(struct call *c)
{
	const struct in_post_message *in = (const void *)c->in;
	struct message m = { .type = in->type, .size = in->size };

	if (in->size > sizeof in->payload || in->type & MSG_HYPERVISOR)
		return ST_INVALID_PARAMETER;
	memcpy(m.payload, in->payload, in->size);
	return port_post(c->lp, c->vp->pt->id, in->connection, &m);
}

static u16 signal_event(struct call *c)
{
	const struct in_signal_event *in = (const void *)c->in;

	return port_signal(c->lp, c->vp->pt->id, in->connection, in->flag);
}

static u16 spin_wait(struct call *c)
{
	(void)c;
	return ST_OK;
}

/* Only itself, and only what is Hyper-V's own: a VP knows its processor registers better. */
static u16 own_register(const struct call *c, u64 partition, u32 vp, u32 name)
{
	u32 class = name >> REG_CLASS_SHIFT;

	if (partition != PARTITION_SELF && partition != c->vp->pt->id)
		return ST_ACCESS_DENIED;
	if (vp != VP_SELF && vp != c->vp->index)
		return ST_ACCESS_DENIED;
	return class >= REG_VP_RUNTIME >> REG_CLASS_SHIFT && class <= REG_STIMER0_CONFIG >> REG_CLASS_SHIFT ?
	       ST_OK : ST_ACCESS_DENIED;
}

static u16 get_registers(struct call *c)
{
	const struct in_get_registers *in = (const void *)c->in;
	struct wire_value *out = (void *)c->out;

	for (c->done = c->start; c->done < c->reps; c->done++) {
		u64 v[2];
		u16 st = own_register(c, in->partition, in->vp, in->name[c->done]);

		if (!st)
			st = vp_get_register(c->vp, in->name[c->done], v);
		if (st)
			return st;
		out[c->done] = (struct wire_value){ v[0], v[1] };
	}
	return ST_OK;
}

static u16 set_registers(struct call *c)
{
	const struct in_set_registers *in = (const void *)c->in;

	for (c->done = c->start; c->done < c->reps; c->done++) {
		const struct wire_register *e = &in->element[c->done];
		u64 v[2] = { e->value.low, e->value.high };
		u16 st = own_register(c, in->partition, in->vp, e->name);

		if (!st)
			st = vp_set_register(c->lp, c->vp, e->name, v);
		if (st)
			return st;
	}
	return ST_OK;
}

#define LOCKED 1			/* runs with hv_lock, out of the guest */
#define REPEATS 2

static const struct child_op {
	u16 code;
	u16 (*run)(struct call *);
	u64 feature;
	u16 in_bytes;
	u8 rep_in, rep_out, flags;
} ops[] = {
	{ HC_FLUSH_VIRTUAL_ADDRESS_SPACE, flush, SYNTH_TLB_FLUSH, sizeof(struct in_flush), 0, 0, LOCKED },
	{ HC_FLUSH_VIRTUAL_ADDRESS_LIST, flush, SYNTH_TLB_FLUSH, sizeof(struct in_flush), REP_BYTES, 0, LOCKED | REPEATS },
	{ HC_FLUSH_VIRTUAL_ADDRESS_SPACE_EX, flush_ex, SYNTH_TLB_FLUSH, sizeof(struct in_flush_ex), 0, 0, LOCKED },
	{ HC_FLUSH_VIRTUAL_ADDRESS_LIST_EX, flush_ex, SYNTH_TLB_FLUSH, sizeof(struct in_flush_ex), REP_BYTES, 0, LOCKED | REPEATS },
	{ HC_NOTIFY_LONG_SPIN_WAIT, spin_wait, 0, 8, 0, 0, 0 },
	{ HC_SEND_IPI, send_ipi, SYNTH_CLUSTER_IPI, sizeof(struct in_send_ipi), 0, 0, 0 },
	{ HC_SEND_IPI_EX, send_ipi_ex, SYNTH_CLUSTER_IPI, sizeof(struct in_ipi_ex), 0, 0, 0 },
	{ HC_GET_VP_REGISTERS, get_registers, 0, sizeof(struct in_get_registers), sizeof(u32), sizeof(struct wire_value),
	  LOCKED | REPEATS },
	{ HC_SET_VP_REGISTERS, set_registers, 0, sizeof(struct in_set_registers), sizeof(struct wire_register), 0,
	  LOCKED | REPEATS },
	{ HC_POST_MESSAGE, post_message, SYNTH_SYNIC, sizeof(struct in_post_message), 0, 0, 0 },
	{ HC_SIGNAL_EVENT, signal_event, SYNTH_SYNIC, sizeof(struct in_signal_event), 0, 0, 0 },
};

static const struct child_op *find(u16 code)
{
	for (u32 i = 0; i < LENGTH(ops); i++)
		if (ops[i].code == code)
			return &ops[i];
	return NULL;
}

/* ---- the frame ---- */
/* Memory of the child within one page: good as long as the VP counts as in its guest, or hv_lock is held. If it is not there, the VMM sees the fault first. */
static u8 *reach(struct vp *vp, u64 gpa, bool writes)
{
	u64 pfn;
	u32 access, need = NPT_R | (writes ? NPT_W : 0);

	if (npt_lookup(vp->pt, gpa / PAGE, &pfn, &access) && (access & need) == need && spa_is_root_ram(pfn))
		return (u8 *)(pfn * PAGE + PAGE_OFFSET(gpa));
	vp->vmcb->exitcode = EXIT_NPF;
	vp->vmcb->info1 = writes ? NPF_WRITE : 0;
	vp->vmcb->info2 = gpa;
	return NULL;
}

static u16 check(const struct call *c, const struct child_op *op, bool fast, u64 in, u64 out, u64 out_bytes)
{
	if (!!(op->flags & REPEATS) != !!c->reps || c->start > c->reps)
		return ST_INVALID_INPUT;
	if (fast)
		return c->in_bytes > FAST_BYTES || out_bytes ? ST_INVALID_INPUT : ST_OK;
	if (in & 7 || (out_bytes && out & 7))
		return ST_INVALID_ALIGNMENT;
	if (PAGE_OFFSET(in) + c->in_bytes > PAGE || PAGE_OFFSET(out) + out_bytes > PAGE)
		return ST_INVALID_INPUT;
	return ST_OK;
}

static bool fetch(struct call *c, u64 in, u64 out, u64 out_bytes)
{
	const u8 *p = reach(c->vp, in, false);

	c->out = p && out_bytes ? reach(c->vp, out, true) : NULL;
	if (!p || (out_bytes && !c->out))
		return false;
	c->in = memcpy(inputs[c->lp->index], p, c->in_bytes);
	return true;
}

/* Input and output are looked up behind child_leave(): until the lock is ours, what they lie in may be given away. */
static bool run(struct call *c, const struct child_op *op, bool fast, u64 out_bytes, u16 *st)
{
	bool there;

	if (op->flags & LOCKED)
		child_leave(c->vp);
	there = fast || fetch(c, c->vp->g.rdx, c->vp->g.r8, out_bytes);
	if (there)
		*st = op->run(c);
	if (op->flags & LOCKED)
		child_enter(c->lp, c->vp);
	return there;
}

/* Refusals only: the good ones are too many, and the child's own affair. */
static void note(struct call *c, u64 control, u16 st)
{
	struct host_record r = { .kind = KIND_HYPERCALL, .partition = c->vp->pt->id, .vp = c->vp->index, .code = c->code,
				 .status = st, .words = 1, .word = { control }, .rip = c->vp->vmcb->rip };

	if (st && ledger_on(KIND_HYPERCALL))
		ledger_write(c->lp, &r);
}

static u16 unknown(const struct call *c)
{
	return c->code < HC_TABLE && hypercall_table[c->code].run ? ST_ACCESS_DENIED : ST_INVALID_CODE;
}

enum child_action child_vmmcall(struct lp *lp, struct vp *vp)
{
	struct vmcb *v = vp->vmcb;
	u64 ctl = vp->g.rcx, fast_in[2] = { vp->g.rdx, vp->g.r8 }, out_bytes;
	struct call c = { .lp = lp, .vp = vp, .code = ctl & CTL_CODE_MASK, .in = (u8 *)fast_in,
			  .varhead = ctl >> CTL_VARHEAD_SHIFT & CTL_VARHEAD_MASK,
			  .reps = ctl >> CTL_REPS_SHIFT & CTL_REPS_MASK, .start = ctl >> CTL_START_SHIFT & CTL_REPS_MASK };
	const struct child_op *op = find(c.code);
	u16 st;

	if (child_wants(vp, INTERCEPT_HYPERCALL, INTERCEPT_EXECUTE, 0))
		return CHILD_MESSAGE;
	if (v->cpl || !(v->efer & EFER_LMA && v->cs.attributes & SEG_LONG) || !(vp->pt->hv.hypercall & SMSR_ENABLE)) {
		inject_exception(v, EXC_UD, false, 0);
		return CHILD_RESUME;
	}
	c.done = c.start;
	if (!op || !child_feature(vp->pt, op->feature)) {
		st = op ? ST_ACCESS_DENIED : unknown(&c);
	} else {
		c.in_bytes = op->in_bytes + 8 * c.varhead + c.reps * op->rep_in;
		out_bytes = c.reps * op->rep_out;
		st = check(&c, op, ctl & CTL_FAST, vp->g.rdx, vp->g.r8, out_bytes);
		if (!st && !run(&c, op, ctl & CTL_FAST, out_bytes, &st))
			return CHILD_MESSAGE;
	}
	note(&c, ctl, st);
	v->rax = st | (u64)(op && op->flags & REPEATS ? c.done : 0) << RESULT_DONE_SHIFT;
	v->rip += LEN_VMMCALL;
	return CHILD_RESUME;
}
