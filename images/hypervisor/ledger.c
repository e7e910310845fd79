/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The ledger: one ring of fixed-size records that the host reads by mapping RAM. A record is invalid (seq 0) while it
 * is written and becomes valid with its sequence number, so that the host needs no lock and costs the guest nothing.
 */
#include "hv.h"

#define STACK_SEARCH 24			/* words of the caller's stack looked at for return addresses */
#define KERNEL_TEXT 0xffffffff80000000ul	/* kernel image and modules; stacks and the direct map lie below */
#define KERNEL_TEXT_END 0xffffffffff000000ul

bool ledger_on(enum record_kind kind)
{
	return host_block.control.ledger_on && (kind != KIND_DISPATCH || host_block.control.dispatch_on);
}

/* Number the draft, stamp it and put it into the ring. */
void ledger_write(struct lp *lp, struct host_record *draft)
{
	u64 n = __atomic_fetch_add(&host_block.ledger.head, 1, __ATOMIC_SEQ_CST);
	struct host_record *r = (struct host_record *)ledger_start + n % LEDGER_CAPACITY;

	draft->seq = 0;
	draft->tsc = rdtsc();
	draft->lp = lp->index;
	__atomic_store_n(&r->seq, 0, __ATOMIC_SEQ_CST);
	memcpy(r, draft, sizeof *r);
	__atomic_store_n(&r->seq, n + 1, __ATOMIC_RELEASE);
}

/*
 * Who made the hypercall: rip lies in the hypercall page and the first return address in Linux's one wrapper, so the
 * interesting callers are found by looking for text addresses a little further up the stack.
 */
void ledger_caller(const struct lp *lp, struct host_record *r)
{
	const struct vmcb *v = lp->vmcb;
	const u64 *stack = v->rsp & 7 ? NULL : root_virtual(v, v->rsp);
	u64 n = (PAGE - PAGE_OFFSET(v->rsp)) / sizeof(u64);

	r->partition = ROOT_ID;
	r->vp = lp->index;
	r->rip = v->rip;
	if (!stack)
		return;
	r->ret = stack[0];
	/* within this one page: good enough, and one walk instead of many */
	for (u64 i = 1; i < n && i < STACK_SEARCH && r->frames < RECORD_FRAMES; i++)
		if (stack[i] >= KERNEL_TEXT && stack[i] < KERNEL_TEXT_END)
			r->frame[r->frames++] = stack[i];
}

/* Something worth knowing that is neither a hypercall nor an intercept. */
void ledger_event(struct lp *lp, enum event_code code, u32 flags, u32 n, const u64 *words)
{
	struct host_record r = { .kind = KIND_EVENT, .code = code, .flags = flags, .words = n };

	if (!ledger_on(KIND_EVENT))
		return;
	memcpy(r.word, words, n * sizeof *words);
	ledger_caller(lp, &r);
	ledger_write(lp, &r);
}
