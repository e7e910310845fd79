/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The root partition's exit loop. */
#include "hv.h"

lock_t hv_lock;

/* The one port of the root that exits is MARK_PORT. */
static void port_access(struct lp *lp, struct vmcb *v)
{
	if (!(v->info1 & IOIO_IN))
		LEDGER_EVENT(lp, EV_MARK, 0, v->rax & 0xff);
	v->rip = v->info2;
}

static void own_memory_touched(struct lp *lp, struct vmcb *v)
{
	kprintf("lp %u: root touched %#lx (err %#lx) at rip %#lx: #GP\n", lp->index, v->info2, v->info1, v->rip);
	LEDGER_EVENT(lp, EV_ROOT_FAULT, 0, v->info2, v->info1);
	inject_exception(v, EXC_GP, true, 0);
}

/*
 * A CPU inside a guest cannot be restored from a snapshot: QEMU refuses to load it. So the host asks for all LPs to
 * wait here before it stops the machine. Interrupts stay pending; a restored CPU comes back with GIF set, hence clgi.
 */
static void park(struct lp *lp)
{
	struct host_control *c = &host_block.control;

	asm volatile("cli" ::: "memory");
	__atomic_or_fetch(&c->parked, BIT(lp->index), __ATOMIC_SEQ_CST);
	while (__atomic_load_n(&c->park, __ATOMIC_ACQUIRE))
		asm volatile("pause");
	__atomic_and_fetch(&c->parked, ~BIT(lp->index), __ATOMIC_SEQ_CST);
	asm volatile("clgi; sti" ::: "memory");
}

void lp_run(struct lp *lp)
{
	struct vmcb *v = lp->vmcb;
	bool held;

	lp->time.start = rdtsc();
	asm volatile("vmload %0" :: "a"(v) : "memory");
	for (;;) {
		if (__atomic_load_n(&host_block.control.park, __ATOMIC_ACQUIRE))
			park(lp);
		synic_enter(lp);
		stats_enter(lp);
		root_enter(lp);
		vmrun_guest(v, &lp->g);
		root_leave(lp);
		stats_leave(lp, &lp->time.root);
		synic_left(lp);
		v->tlb_ctl = 0;
		v->eventinj = 0;
		note_exit(lp, v, 0);
		timers_run(lp);
		if (v->intinfo & EVENT_VALID)	/* exit while delivering an event: redeliver */
			v->eventinj = v->intinfo;
		switch (v->exitcode) {
		case EXIT_CPUID:
			root_cpuid(lp);
			v->rip += LEN_CPUID;
			break;
		case EXIT_MSR:
			root_msr(lp, v->info1 & MSR_EXIT_WRITE);
			break;
		case EXIT_VMMCALL:
			if (v->cpl) {
				inject_exception(v, EXC_UD, false, 0);
				break;
			}
			lock(&hv_lock);
			held = hypercall(lp);
			unlock(&hv_lock);
			if (held)
				relax();
			break;
		case EXIT_HLT:
			if (lost_shadow(v, &lp->shadow_rip))
				v->rip += LEN_HLT;
			else if (sched_is_ours())
				sched_root_halts(lp);
			if (!sched_is_ours())
				v->int_misc1 &= ~MISC1_HLT;
			break;
		case EXIT_VINTR:
			sched_root_yields(lp);
			break;
		case EXIT_IOIO:
			port_access(lp, v);
			break;
		case EXIT_NPF:
			own_memory_touched(lp, v);
			break;
		case EXIT_NMI:
			root_nmi(lp);
			if (note_shadow(v, &lp->shadow_rip))
				v->int_misc1 |= MISC1_HLT;
			break;
		case EXIT_VMRUN:
		case EXIT_VMLOAD ... EXIT_SKINIT:
		case EXIT_INVLPGA:
			inject_exception(v, EXC_UD, false, 0);
			break;
		case EXIT_SHUTDOWN:
			panic("lp %u: triple fault of the root, rip %#lx cr3 %#lx rsp %#lx", lp->index, v->rip, v->cr3, v->rsp);
		default:
			panic("lp %u: root exit %#lx info %#lx %#lx rip %#lx cr3 %#lx rsp %#lx", lp->index, v->exitcode,
			      v->info1, v->info2, v->rip, v->cr3, v->rsp);
		}
		stats_root_exit(lp);
		if (sched_is_ours())
			sched_root_exit(lp);
	}
}
