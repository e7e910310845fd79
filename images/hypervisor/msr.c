/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Synthetic MSRs of the root, and the few real ones that must not show SVM. */
#include "abi.h"
#include "apic_regs.h"
#include "hv.h"

#define ICR_DEST_SHIFT 32
#define XAPIC_DEST_SHIFT 56
#define TPR_VALUE 0xfful

/* What the root cannot have, each for a reason: #GP is the answer that the interface defines, and no gap. */
static const struct { u32 first, last; const char *why; } absent[] = {
	{ MSR_VM_HSAVE_PA, MSR_VM_HSAVE_PA, "the root has no SVM" },
	{ SMSR_RESET, SMSR_RESET, "reset is not announced" },
	{ SMSR_GUEST_IDLE, SMSR_GUEST_IDLE, "the idle state is not announced" },
	{ SMSR_DEBUG_FIRST, SMSR_DEBUG_LAST, "the debugger is not announced" },
	{ SMSR_REENLIGHTENMENT, SMSR_TSC_EMULATION_STATUS, "the TSC of a root never changes its rate" },
	{ SMSR_TSC_INVARIANT, SMSR_TSC_INVARIANT, "a root has the TSC of the processor" },
	{ SMSR_NESTED_FIRST, SMSR_NESTED_LAST, "there is no hypervisor below this one" },
};

enum outcome { MSR_DONE, MSR_FAULT, MSR_UNKNOWN };

bool stimers_announced;			/* CPUID shows them: see main.c */
static u64 guest_os_id, hypercall_msr, tsc_msr, crash[CRASH_PARAMS];

void msr_init(void)
{
	static const u8 code[] = { 0x0f, 0x01, 0xd9, 0xc3 };	/* vmmcall; ret */
	u8 *page = shared_alloc();

	memcpy(page, code, sizeof code);
	hypercall_msr = (u64)page;
	tsc_msr = (u64)tsc_page();
	overlay_init(&hypercall_msr, false);
	overlay_init(&tsc_msr, false);
}

static bool is_absent(u32 m)
{
	for (u32 i = 0; i < LENGTH(absent); i++)
		if (m >= absent[i].first && m <= absent[i].last)
			return true;
	return false;
}

static enum outcome msr_read(struct lp *lp, u32 m, u64 *val)
{
	switch (m) {
	case MSR_EFER: *val = lp->vmcb->efer & ~EFER_SVME; break;
	case MSR_VM_CR: *val = VM_CR_SVMDIS; break;
	case SMSR_GUEST_OS_ID: *val = guest_os_id; break;
	case SMSR_HYPERCALL: *val = hypercall_msr; break;
	case SMSR_VP_INDEX: *val = lp->index; break;
	case SMSR_VP_RUNTIME: *val = stats_times(lp).root; break;
	case SMSR_TIME_REF_COUNT: *val = ref_time(); break;
	case SMSR_REFERENCE_TSC: *val = tsc_msr; break;
	case SMSR_TSC_FREQUENCY: *val = tsc_hz; break;
	case SMSR_APIC_FREQUENCY: *val = APIC_TIMER_HZ; break;
	case SMSR_EOI: return MSR_FAULT;
	case SMSR_ICR: *val = apic_icr(); break;
	case SMSR_TPR: *val = apic_read(APIC_TPR); break;
	case SMSR_VP_ASSIST_PAGE: *val = lp->vp_assist; break;
	case SMSR_SCONTROL ... SMSR_SINT15: return synic_read(lp, m, val) ? MSR_DONE : MSR_FAULT;
	case SMSR_STIMER0_CONFIG ... SMSR_STIMER3_COUNT:
		if (!stimers_announced)
			return MSR_FAULT;
		*val = stimer_read(lp, m);
		break;
	case SMSR_CRASH_P0 ... SMSR_CRASH_P4: *val = crash[m - SMSR_CRASH_P0]; break;
	case SMSR_CRASH_CTL: *val = CRASH_NOTIFY | CRASH_NOTIFY_MSG; break;
	case MARK_MSR ... MARK_MSR_LAST:
		LEDGER_EVENT(lp, EV_MARK, 0, m - MARK_MSR);
		*val = 0;
		break;
	default: return is_absent(m) ? MSR_FAULT : MSR_UNKNOWN;
	}
	return MSR_DONE;
}

/* The root panics; its message is at P3, P4 bytes long. */
static void crash_notify(struct lp *lp, u64 ctl)
{
	const char *s = ctl & CRASH_NOTIFY_MSG && crash[4] <= PAGE ? root_ptr(crash[3], crash[4]) : NULL;

	kprintf("root crash notify %#lx: P0 %#lx P1 %#lx P2 %#lx P3 %#lx P4 %#lx\n", ctl, crash[0], crash[1], crash[2],
		crash[3], crash[4]);
	if (s) {
		kprintf("---- root panic message\n");
		for (u64 i = 0; i < crash[4]; i++)
			kprintf("%c", s[i]);
		kprintf("\n---- end\n");
	}
	LEDGER_EVENT(lp, EV_ROOT_CRASH, 0, ctl, crash[0], crash[1], crash[2], crash[3], crash[4]);
}

static enum outcome msr_write(struct lp *lp, u32 m, u64 val)
{
	switch (m) {
	case MSR_EFER: return efer_write(lp->vmcb, val) ? MSR_DONE : MSR_FAULT;
	case MSR_VM_CR: break;
	case MSR_X2APIC_ICR: root_icr(lp, val >> ICR_DEST_SHIFT, val); break;
	case SMSR_GUEST_OS_ID:
		guest_os_id = val;
		if (!val)		/* a hypercall page needs a guest that has said what it is */
			overlay_write(&hypercall_msr, hypercall_msr & ~SMSR_ENABLE);
		break;
	case SMSR_HYPERCALL:
		return !guest_os_id || overlay_write(&hypercall_msr, val) ? MSR_DONE : MSR_FAULT;
	case SMSR_REFERENCE_TSC: return overlay_write(&tsc_msr, val) ? MSR_DONE : MSR_FAULT;
	case SMSR_EOI: apic_eoi(); break;
	case SMSR_ICR: root_icr(lp, val >> XAPIC_DEST_SHIFT, val); break;
	case SMSR_TPR:
		if (val & ~TPR_VALUE)
			return MSR_FAULT;
		apic_write(APIC_TPR, val);
		break;
	case SMSR_VP_ASSIST_PAGE: return overlay_write(&lp->vp_assist, val) ? MSR_DONE : MSR_FAULT;
	case SMSR_SCONTROL ... SMSR_SINT15: return synic_write(lp, m, val) ? MSR_DONE : MSR_FAULT;
	case SMSR_STIMER0_CONFIG ... SMSR_STIMER3_COUNT:
		return stimers_announced && stimer_write(lp, m, val) ? MSR_DONE : MSR_FAULT;
	case SMSR_CRASH_P0 ... SMSR_CRASH_P4: crash[m - SMSR_CRASH_P0] = val; break;
	case SMSR_CRASH_CTL: crash_notify(lp, val); break;
	case SMSR_VP_INDEX:
	case SMSR_VP_RUNTIME:
	case SMSR_TIME_REF_COUNT:
	case SMSR_TSC_FREQUENCY:
	case SMSR_APIC_FREQUENCY:
		return MSR_FAULT;	/* read-only */
	default: return is_absent(m) ? MSR_FAULT : MSR_UNKNOWN;
	}
	return MSR_DONE;
}

static void refuse(struct lp *lp, u32 m, u64 val, bool write, bool known)
{
	enum event_code what = write ? EV_MSR_WRITE : EV_MSR_READ;

	if (!known) {
		if (verbose || (m >= SMSR_FIRST && m <= SMSR_LAST))
			kprintf("lp %u: %s of MSR %#x at rip %#lx: #GP\n", lp->index, write ? "write" : "read", m,
				lp->vmcb->rip);
		LEDGER_EVENT(lp, what, FLAG_UNIMPLEMENTED, m, write ? val : 0);
	} else {
		LEDGER_EVENT(lp, what, 0, m, write ? val : 0);
	}
	inject_exception(lp->vmcb, EXC_GP, true, 0);
}

void root_msr(struct lp *lp, bool write)
{
	struct vmcb *v = lp->vmcb;
	u32 m = lp->g.rcx;
	u64 val = (u32)v->rax | lp->g.rdx << 32;

	enum outcome done;

	lock(&hv_lock);
	done = write ? msr_write(lp, m, val) : msr_read(lp, m, &val);
	if (done != MSR_DONE) {
		refuse(lp, m, val, write, done == MSR_FAULT);
	} else {
		if (!write) {
			v->rax = (u32)val;
			lp->g.rdx = val >> 32;
		}
		v->rip += LEN_MSR;
	}
	unlock(&hv_lock);
}
