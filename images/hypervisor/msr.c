/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Synthetic MSRs of the root, and the few real ones that must not show SVM. */
#include "abi.h"
#include "apic_regs.h"
#include "hv.h"

#define ICR_DEST_SHIFT 32
#define XAPIC_DEST_SHIFT 56

static u64 guest_os_id, hypercall_msr, tsc_msr, crash[CRASH_PARAMS];

void msr_init(void)
{
	static const u8 code[] = { 0x0f, 0x01, 0xd9, 0xc3 };	/* vmmcall; ret */
	u8 *page = shared_alloc();

	memcpy(page, code, sizeof code);
	hypercall_msr = (u64)page;
	tsc_msr = (u64)tsc_page();
}

static bool msr_read(struct lp *lp, u32 m, u64 *val)
{
	switch (m) {
	case MSR_EFER: *val = lp->vmcb->efer & ~EFER_SVME; break;
	case MSR_VM_CR: *val = VM_CR_SVMDIS; break;
	case SMSR_GUEST_OS_ID: *val = guest_os_id; break;
	case SMSR_HYPERCALL: *val = hypercall_msr; break;
	case SMSR_VP_INDEX: *val = lp->index; break;
	case SMSR_VP_RUNTIME:
	case SMSR_TIME_REF_COUNT: *val = ref_time(); break;
	case SMSR_REFERENCE_TSC: *val = tsc_msr; break;
	case SMSR_TSC_FREQUENCY: *val = tsc_hz; break;
	case SMSR_APIC_FREQUENCY: *val = APIC_TIMER_HZ; break;
	case SMSR_EOI: *val = 0; break;
	case SMSR_ICR: *val = apic_icr(); break;
	case SMSR_TPR: *val = apic_read(APIC_TPR); break;
	case SMSR_VP_ASSIST_PAGE: *val = lp->vp_assist; break;
	case SMSR_SCONTROL: *val = lp->scontrol; break;
	case SMSR_SVERSION: *val = SYNIC_VERSION; break;
	case SMSR_SIEFP: *val = lp->siefp; break;
	case SMSR_SIMP: *val = lp->simp; break;
	case SMSR_EOM: *val = 0; break;
	case SMSR_SIRBP: *val = lp->sirbp; break;
	case SMSR_SINT0 ... SMSR_SINT15: *val = lp->sint[m - SMSR_SINT0]; break;
	case SMSR_CRASH_P0 ... SMSR_CRASH_P4: *val = crash[m - SMSR_CRASH_P0]; break;
	case SMSR_CRASH_CTL: *val = CRASH_NOTIFY | CRASH_NOTIFY_MSG; break;
	case MARK_MSR ... MARK_MSR_LAST:
		LEDGER_EVENT(lp, EV_MARK, 0, m - MARK_MSR);
		*val = 0;
		break;
	default: return false;
	}
	return true;
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

/* The hypervisor owns these pages: the root switches them on and off but cannot move them. */
static void enable(u64 *msr, u64 val) { *msr = (*msr & ~SMSR_ENABLE) | (val & SMSR_ENABLE); }

static bool msr_write(struct lp *lp, u32 m, u64 val)
{
	switch (m) {
	case MSR_EFER: lp->vmcb->efer = (val & ~EFER_LMA) | (lp->vmcb->efer & EFER_LMA) | EFER_SVME; break;
	case MSR_VM_CR: break;
	case MSR_X2APIC_ICR: root_icr(lp, val >> ICR_DEST_SHIFT, val); break;
	case SMSR_GUEST_OS_ID: guest_os_id = val; break;
	case SMSR_HYPERCALL: enable(&hypercall_msr, val); break;
	case SMSR_REFERENCE_TSC: enable(&tsc_msr, val); break;
	case SMSR_EOI: apic_eoi(); break;
	case SMSR_ICR: root_icr(lp, val >> XAPIC_DEST_SHIFT, val); break;
	case SMSR_TPR: apic_write(APIC_TPR, val); break;
	case SMSR_VP_ASSIST_PAGE: enable(&lp->vp_assist, val); break;
	case SMSR_SCONTROL: lp->scontrol = val; break;
	case SMSR_SIEFP: enable(&lp->siefp, val); break;
	case SMSR_SIMP: enable(&lp->simp, val); break;
	case SMSR_EOM: synic_eom(lp); break;
	case SMSR_SIRBP: enable(&lp->sirbp, val); break;
	case SMSR_SINT0 ... SMSR_SINT15: lp->sint[m - SMSR_SINT0] = val; break;
	case SMSR_CRASH_P0 ... SMSR_CRASH_P4: crash[m - SMSR_CRASH_P0] = val; break;
	case SMSR_CRASH_CTL: crash_notify(lp, val); break;
	default: return false;
	}
	return true;
}

static void refuse(struct lp *lp, u32 m, u64 val, bool write)
{
	enum event_code what = write ? EV_MSR_WRITE : EV_MSR_READ;

	if (!probe_expected(what, m)) {
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

	lock(&hv_lock);
	if (!(write ? msr_write(lp, m, val) : msr_read(lp, m, &val))) {
		refuse(lp, m, val, write);
	} else {
		if (!write) {
			v->rax = (u32)val;
			lp->g.rdx = val >> 32;
		}
		v->rip += LEN_MSR;
	}
	unlock(&hv_lock);
}
