/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One hypercall of the root: check the frame, decode, ask holds and fault plan, run, write the ledger. */
#include "hc.h"

#define FAST_INPUT 16			/* bytes in rdx and r8 */

/* A call's input is read once: the root can write to its page, or give it away, while the call is under way. */
static u64 inputs[MAX_LPS][PAGE / sizeof(u64)];

struct partition *hc_partition(struct hc *c, u64 id)
{
	c->pt = pt_find(id == PARTITION_SELF ? ROOT_ID : id);
	return c->pt;
}

u16 hc_vp(struct hc *c, u64 id, u32 index, struct vp **vp)
{
	struct partition *pt = hc_partition(c, id);

	if (!pt)
		return ST_INVALID_PARTITION_ID;
	*vp = vp_find(pt, index);
	return *vp ? ST_OK : ST_INVALID_VP_INDEX;
}

/* For a call that has dropped hv_lock: is its output page still the root's? It may have given it away meanwhile. */
bool hc_still_there(const struct hc *c) { return !c->out || root_ptr((u64)c->out, 1); }

static void decode_raw(struct hc *c, u32 bytes)
{
	const u64 *in = c->in;

	for (u32 i = 0; i < bytes / sizeof(u64); i++)
		hc_word(c, in[i]);
	if (bytes % sizeof(u64) >= sizeof(u32))
		hc_word(c, *(const u32 *)&in[bytes / sizeof(u64)]);
}

static u16 check_frame(struct hc *c, const struct op *op, u64 in_gpa, u64 out_gpa)
{
	if (!!(op->flags & OP_REP) != !!c->reps || (c->reps ? c->start >= c->reps : c->start))
		return ST_INVALID_INPUT;
	if (c->varhead && !(op->flags & OP_HEADER))
		return ST_INVALID_INPUT;
	if (c->fast && (op->in_size > FAST_INPUT || op->out_size || op->flags & OP_REP))
		return ST_INVALID_INPUT;
	if (!c->fast) {
		u64 in_bytes = op->in_size + 8ul * c->varhead + (u64)c->reps * op->rep_in;
		u64 out_bytes = op->out_size + (u64)c->reps * op->rep_out;

		if ((in_bytes && in_gpa & 7) || (out_bytes && out_gpa & 7))
			return ST_INVALID_ALIGNMENT;
		if (PAGE_OFFSET(in_gpa) + in_bytes > PAGE || PAGE_OFFSET(out_gpa) + out_bytes > PAGE)
			return ST_INVALID_ALIGNMENT;
		c->in = in_bytes ? root_ptr(in_gpa, in_bytes) : NULL;
		c->out = out_bytes ? root_ptr(out_gpa, out_bytes) : NULL;
		if ((in_bytes && !c->in) || (out_bytes && !c->out))
			return ST_INVALID_ALIGNMENT;
		if (c->in)
			c->in = memcpy(inputs[c->lp->index], c->in, in_bytes);
	}
	return ST_OK;
}

/* Run the call as the fault plan wants it: not at all, or only its first repetitions. */
static u16 run_faulted(struct hc *c, const struct op *op, const struct host_fault *f)
{
	c->flags |= FLAG_INJECTED;
	if (op->flags & OP_REP && f->complete != FAULT_COMPLETE_NONE && f->complete) {
		u16 all = c->reps, st;

		c->reps = c->start + f->complete < all ? c->start + f->complete : all;
		st = op->run(c);
		c->reps = all;
		if (st)
			return st;
	}
	return f->status;
}

/* TLFS: a finalized partition can be drained and deleted; every other call with its number fails. */
static bool too_late(const struct hc *c, const struct op *op)
{
	const struct partition *pt = op->flags & (OP_NO_PARTITION | OP_FINALIZED) ? NULL : pt_find(c->partition);

	return pt && pt->state == PT_FINALIZED;
}

static void decode(struct hc *c, const struct op *op)
{
	if (op->decode)
		op->decode(c);
	else
		decode_raw(c, op->in_size);
	if (!(op->flags & OP_NO_PARTITION) && op->in_size >= sizeof(u64))
		c->partition = *(const u64 *)c->in;
	if (c->partition == PARTITION_SELF)
		c->partition = ROOT_ID;
}

static u16 run(struct hc *c, const struct op *op)
{
	const struct host_fault *f;

	if (op->flags & OP_ROOT_ONLY && l1vh)
		return ST_ACCESS_DENIED;
	if (too_late(c, op))
		return ST_INVALID_PARTITION_STATE;
	f = fault_find(c->code, c->partition, c->gfn, c->pages);
	return f ? run_faulted(c, op, f) : op->run(c);
}

static void record(struct hc *c, u16 status, struct host_record *r)
{
	bool dispatched = c->code == HC_DISPATCH_VP && status == ST_OK;

	r->kind = dispatched ? KIND_DISPATCH : KIND_HYPERCALL;
	if (!ledger_on(r->kind))
		return;
	r->code = c->code;
	r->flags = c->flags | (c->fast ? FLAG_FAST : 0);
	r->status = status;
	r->rep_start = c->start;
	r->rep_count = c->reps;
	r->rep_done = c->done;
	r->words = c->words;
	memcpy(r->word, c->word, sizeof r->word);
	ledger_write(c->lp, r);
}

bool hypercall(struct lp *lp)
{
	struct vmcb *v = lp->vmcb;
	u64 ctl = lp->g.rcx, fast_input[2] = { lp->g.rdx, lp->g.r8 };
	struct hc c = { .lp = lp, .code = ctl & CTL_CODE_MASK, .fast = ctl & CTL_FAST, .in = fast_input,
			.varhead = ctl >> CTL_VARHEAD_SHIFT & CTL_VARHEAD_MASK,
			.reps = ctl >> CTL_REPS_SHIFT & CTL_REPS_MASK, .start = ctl >> CTL_START_SHIFT & CTL_REPS_MASK };
	const struct op *op = c.code < HC_TABLE && hypercall_table[c.code].run ? &hypercall_table[c.code] : NULL;
	struct host_record r = { .kind = KIND_HYPERCALL };
	enum hold_turn turn = hold_turn(lp);
	u16 st = ST_INVALID_CODE;

	if (turn == HOLD_WAITS)
		return true;
	c.done = c.start;
	/* before the call: a dispatch lets other calls of this LP's stack come and go */
	if (ledger_on(c.code == HC_DISPATCH_VP ? KIND_DISPATCH : KIND_HYPERCALL))
		ledger_caller(lp, &r);
	if (op) {
		st = ctl & CTL_RESERVED ? ST_INVALID_INPUT : check_frame(&c, op, lp->g.rdx, lp->g.r8);
		if (!st) {
			decode(&c, op);
			if (turn == HOLD_NONE && hold_begin(&c))
				return true;
		}
	}
	host_block.hypercalls++;
	lp->hypercalls++;
	v->rip += LEN_VMMCALL;
	if (op) {
		if (st)
			c.done = 0;	/* the start of a refused frame means nothing */
		else
			st = run(&c, op);
	} else {
		kprintf("lp %u: unknown hypercall %#x, control %#lx\n", lp->index, c.code, ctl);
		c.flags = FLAG_UNIMPLEMENTED;
		c.in = c.fast ? fast_input : root_ptr(lp->g.rdx, sizeof c.word);
		if (c.in)
			decode_raw(&c, c.fast ? sizeof fast_input : sizeof c.word);
	}
	v->rax = st | (u64)(op && op->flags & OP_REP ? c.done : 0) << RESULT_DONE_SHIFT;
	if (op && op->flags & OP_PUBLISH && c.pt) {
		host_publish(c.pt);
		stats_show_partition(c.pt);
	}
	stats_show(lp);
	if (verbose > 1 || (verbose && st))
		kprintf("lp %u: hypercall %#x reps %u+%u -> %#x done %u\n", lp->index, c.code, c.start, c.reps, st, c.done);
	record(&c, st, &r);
	return false;
}
