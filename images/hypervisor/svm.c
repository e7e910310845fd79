/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SVM enablement, permission bitmaps, VMCB defaults. */
#include "hv.h"

#define MSRPM_PAGES 2
#define IOPM_PAGES 3
#define MSRPM_LOW_END 0x2000u		/* first range: MSRs 0..0x1fff */
#define MSRPM_AMD 0xc0010000u		/* third range */
#define MSRPM_EXT_BYTES 0x800
#define MSRPM_AMD_BYTES 0x1000
#define MSRPM_RANGE_MASK 0x1fffu
#define CPUID_SVM_NP BIT(0)
#define CPUID_SVM_NRIPS BIT(3)
#define DR6_DEFAULT 0xffff0ff0ul
#define DR7_DEFAULT 0x400ul
#define SEG_LIMIT_REAL 0xffffu
#define RESET_CS 0xf000
#define RESET_CS_BASE 0xffff0000ul
#define RESET_RIP 0xfff0

u64 xcr0_max;
static u8 *root_msrpm, *child_msrpm, *root_iopm, *child_iopm;

static void msr_intercept(u8 *map, u32 msr, bool r, bool w)
{
	u32 base = msr < MSRPM_LOW_END ? 0 : msr >= MSRPM_AMD ? MSRPM_AMD_BYTES : MSRPM_EXT_BYTES;
	u32 n = msr & MSRPM_RANGE_MASK;
	u8 *b = map + base + n / 4;

	*b &= ~(3 << (n & 3) * 2);
	*b |= (r | w << 1) << (n & 3) * 2;
}

static void maps_init(void)
{
	/* State that the VMCB or the world switch carries needs no exit in the child. */
	static const u32 pass[] = { MSR_FS_BASE, MSR_GS_BASE, MSR_KERNEL_GS_BASE, MSR_STAR, MSR_LSTAR, MSR_CSTAR,
				    MSR_SFMASK, MSR_SYSENTER_CS, MSR_SYSENTER_ESP, MSR_SYSENTER_EIP, MSR_TSC };

	root_msrpm = pages_alloc(MSRPM_PAGES);
	child_msrpm = pages_alloc(MSRPM_PAGES);
	root_iopm = pages_alloc(IOPM_PAGES);
	child_iopm = pages_alloc(IOPM_PAGES);
	memset(child_msrpm, 0xff, MSRPM_PAGES * PAGE);
	memset(child_iopm, 0xff, IOPM_PAGES * PAGE);
	/* Outside the three ranges of the bitmap (so all synthetic MSRs) every access exits. */
	msr_intercept(root_msrpm, MSR_EFER, true, true);	/* hide SVME */
	msr_intercept(root_msrpm, MSR_VM_CR, true, true);
	msr_intercept(root_msrpm, MSR_VM_HSAVE_PA, true, true);
	msr_intercept(root_msrpm, MSR_X2APIC_ICR, false, true);	/* INIT, SIPI */
	root_iopm[MARK_PORT / 8] |= 1 << MARK_PORT % 8;
	for (u32 i = 0; i < LENGTH(pass); i++)
		msr_intercept(child_msrpm, pass[i], false, pass[i] == MSR_TSC);
}

void svm_enable(struct lp *lp)
{
	u32 r[4];

	cpuid(CPUID_LEAF_EXT, 0, r);
	if (!(r[2] & CPUID_EXT_ECX_SVM))
		panic("lp %u: the CPU has no SVM; run QEMU with -cpu EPYC,+svm,+npt", lp->index);
	cpuid(CPUID_LEAF_SVM, 0, r);
	if (!(r[3] & CPUID_SVM_NP))
		panic("lp %u: the CPU has no nested paging; run QEMU with -cpu EPYC,+svm,+npt", lp->index);
	if (verbose)
		kprintf("lp %u: SVM rev %u, %u ASIDs, features %#x%s\n", lp->index, r[0] & 0xff, r[1], r[3],
			r[3] & CPUID_SVM_NRIPS ? "" : " (no NRIPS)");
	if (!root_msrpm) {
		maps_init();
		vmcb_check_init();
	}
	cpuid(1, 0, r);
	if (r[2] & CPUID_1_ECX_XSAVE) {
		wrcr4(rdcr4() | CR4_OSXSAVE);
		cpuid(CPUID_LEAF_XSAVE, 0, r);
		xcr0_max = r[0] | (u64)r[3] << 32;
	}
	lp->hsave = page_alloc();
	lp->fpu = page_alloc();
	wrmsr(MSR_VM_HSAVE_PA, (u64)lp->hsave);
	/* All hypervisor code runs with GIF=0 and IF=1, so that VMRUN leaves host IF set. */
	asm volatile("clgi; sti" ::: "memory");
}

/* Power-on state of a VP of the root (asid ASID_ROOT) or of a child. */
void vmcb_init(struct vmcb *v, u64 ncr3, u32 asid)
{
	bool root = asid == ASID_ROOT;

	v->int_misc1 = MISC1_NMI | MISC1_CPUID | MISC1_INVLPGA | MISC1_IOIO | MISC1_MSR | MISC1_SHUTDOWN;
	v->int_misc2 = MISC2_SVM;
	if (!root) {
		v->int_misc1 |= MISC1_INTR | MISC1_INIT | MISC1_HLT;
		v->int_misc2 |= MISC2_XSETBV;
		v->vintr = VINTR_MASKING;
	}
	v->iopm = (u64)(root ? root_iopm : child_iopm);
	v->msrpm = (u64)(root ? root_msrpm : child_msrpm);
	v->asid = asid;
	v->tlb_ctl = TLB_FLUSH_ALL;
	v->np_enable = NP_ENABLE;
	v->ncr3 = ncr3;
	v->gpat = PAT_DEFAULT;
	v->es = v->ss = v->ds = v->fs = v->gs = (struct seg){ 0, SEG_P_DPL_DATA, SEG_LIMIT_REAL, 0 };
	v->cs = (struct seg){ RESET_CS, SEG_CODE, SEG_LIMIT_REAL, RESET_CS_BASE };
	v->gdtr = v->idtr = (struct seg){ 0, 0, SEG_LIMIT_REAL, 0 };
	v->ldtr = (struct seg){ 0, SEG_LDT, SEG_LIMIT_REAL, 0 };
	v->tr = (struct seg){ 0, SEG_TSS, SEG_LIMIT_REAL, 0 };
	v->efer = EFER_SVME;
	v->cr0 = CR0_ET;
	v->dr6 = DR6_DEFAULT;
	v->dr7 = DR7_DEFAULT;
	v->rflags = RFLAGS_FIXED;
	v->rip = RESET_RIP;
}

void inject_exception(struct vmcb *v, u32 vector, bool has_error, u32 error)
{
	v->eventinj = vector | EVENT_TYPE_EXCEPTION << EVENT_TYPE_SHIFT | EVENT_VALID |
		      (has_error ? EVENT_ERROR_CODE | (u64)error << EVENT_ERROR_SHIFT : 0);
}

/*
 * TCG's VMRUN does not bring the interrupt shadow back that its #VMEXIT has saved. A guest that is left between STI and
 * HLT then takes an interrupt before its HLT, returns to the HLT and sleeps over what the interrupt was to tell it. So
 * the place is remembered, and the next HLT there ends at once: a wake-up too many is harmless.
 */
bool note_shadow(const struct vmcb *v, u64 *rip)
{
	if (!(v->shadow & SHADOW_INTERRUPT))
		return false;
	*rip = v->rip;
	return true;
}

bool lost_shadow(const struct vmcb *v, u64 *rip)
{
	bool lost = *rip && *rip == v->rip;

	*rip = 0;
	return lost;
}
