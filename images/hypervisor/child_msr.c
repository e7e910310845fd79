/* SPDX-License-Identifier: GPL-2.0-or-later */
/* MSRs of a child. Those that are neither modelled nor plain storage are unknown: what then happens the VMM decides. */
#include "abi.h"
#include "apic_regs.h"
#include "hv.h"

#define STORED_MSR BIT(32)		/* key space of MSRs among the stored registers */
#define MTRR_DEF_KNOWN 0xcfful
#define MTRR_BASE_LOW 0xfful
#define MTRR_MASK_LOW BIT(11)

/* Registers without effect here that operating systems read back. */
static bool plain_storage(u32 m)
{
	switch (m) {
	case MSR_DEBUGCTL:
	case MSR_SYSCFG:
	case MSR_HWCR:
	case MSR_DE_CFG:
	case MSR_LS_CFG:
	case MSR_IC_CFG:
	case MSR_TOP_MEM:
	case MSR_TOP_MEM2:
	case MSR_NB_CFG: return true;
	}
	return false;
}

/* Registers of which a processor like ours has nothing: read 0, cannot be written. */
static bool reads_zero(u32 m)
{
	switch (m) {
	case MSR_PLATFORM_ID:
	case MSR_PATCH_LEVEL:
	case MSR_MCG_CAP:
	case MSR_INT_PENDING:
	case MSR_MMCONF_BASE:
	case MSR_OSVW_LENGTH:
	case MSR_OSVW_STATUS: return true;
	}
	return false;
}

static bool pat_valid(u64 val)
{
	for (u32 i = 0; i < 8; i++) {
		u32 type = val >> 8 * i & 0xff;

		if (type > 7 || type == 2 || type == 3)
			return false;
	}
	return true;
}

static bool canonical(u64 a) { return (u64)((s64)(a << 16) >> 16) == a; }

/* MTRRs share their storage with the registers that the VMM sets. 0: no such MTRR. */
static u32 mtrr_register(u32 m)
{
	switch (m) {
	case MSR_MTRR_DEF: return REG_MTRR_DEF;
	case MSR_MTRR_PHYS ... MSR_MTRR_PHYS + 2 * MTRR_VARIABLE - 1:
		return (m & 1 ? REG_MTRR_MASK0 : REG_MTRR_BASE0) + (m - MSR_MTRR_PHYS) / 2;
	case MSR_MTRR_FIX64K: return REG_MTRR_FIX64K;
	case MSR_MTRR_FIX16K ... MSR_MTRR_FIX16K + 1: return REG_MTRR_FIX64K + 1 + (m - MSR_MTRR_FIX16K);
	case MSR_MTRR_FIX4K ... MSR_MTRR_FIX4K + 7: return REG_MTRR_FIX64K + 3 + (m - MSR_MTRR_FIX4K);
	}
	return 0;
}

static bool mtrr_valid(u32 m, u64 val)
{
	if (m == MSR_MTRR_DEF)
		return !(val & ~MTRR_DEF_KNOWN);
	if (m >= MSR_MTRR_PHYS && m < MSR_MTRR_PHYS + 2 * MTRR_VARIABLE)
		return !(val & ~(CHILD_ADDRESS_MASK & ~(PAGE - 1)) & ~(m & 1 ? MTRR_MASK_LOW : MTRR_BASE_LOW));
	return true;
}

static enum child_msr_result word(u64 *p, bool write, u64 *value, bool valid)
{
	if (write && !valid)
		return CHILD_MSR_FAULT;
	if (write)
		*p = *value;
	else
		*value = *p;
	return CHILD_MSR_DONE;
}

static enum child_msr_result stored(struct vp *vp, u64 key, bool write, u64 *value, bool valid)
{
	u64 *p = vp_stored(vp, key, write), zero = 0;

	return word(p ? p : &zero, write, value, valid);
}

static enum child_msr_result done(bool ok) { return ok ? CHILD_MSR_DONE : CHILD_MSR_FAULT; }

static enum child_msr_result tsc(struct vp *vp, bool write, u64 *value)
{
	if (write)
		child_set_tsc(vp, *value);
	else
		*value = rdtsc() + vp->vmcb->tsc_offset;
	return CHILD_MSR_DONE;
}

static enum child_msr_result deadline(struct vp *vp, bool write, u64 *value)
{
	if (!vp_has_lapic(vp))
		return CHILD_MSR_UNKNOWN;
	lapic_timer_poll(vp);
	if (write)
		lapic_timer_deadline(vp, *value);
	else
		*value = vp->apic.deadline;
	return CHILD_MSR_DONE;
}

static enum child_msr_result base(struct vp *vp, bool write, u64 *value)
{
	if (write)
		return done(lapic_base_write(vp, *value));
	*value = vp->apic_base;
	return CHILD_MSR_DONE;
}

/* "value" goes in for a write and comes out of a read. */
enum child_msr_result child_msr(struct lp *lp, struct vp *vp, bool write, u32 m, u64 *value)
{
	struct vmcb *v = vp->vmcb;

	switch (m) {
	case MSR_EFER:
		if (write)
			return done(efer_write(v, *value));
		*value = v->efer & ~EFER_SVME;
		return CHILD_MSR_DONE;
	case MSR_APIC_BASE: return base(vp, write, value);
	case MSR_SYSENTER_CS: return word(&v->sysenter_cs, write, value, true);
	case MSR_SYSENTER_ESP: return word(&v->sysenter_esp, write, value, canonical(*value));
	case MSR_SYSENTER_EIP: return word(&v->sysenter_eip, write, value, canonical(*value));
	case MSR_PAT: return word(&v->gpat, write, value, pat_valid(*value));
	case MSR_TSC: return tsc(vp, write, value);
	case MSR_TSC_AUX: return word(&vp->tsc_aux, write, value, !(*value >> 32));
	case MSR_TSC_DEADLINE: return deadline(vp, write, value);
	case MSR_MTRR_CAP:
		if (write)
			return CHILD_MSR_FAULT;
		*value = MTRR_CAP_DEFAULT;
		return CHILD_MSR_DONE;
	case MSR_VM_CR:
		*value = VM_CR_SVMDIS;
		return done(!write);
	case MSR_VM_HSAVE_PA: return CHILD_MSR_FAULT;	/* SVM is hidden */
	case X2APIC_FIRST ... X2APIC_LAST:
		if (!vp_has_lapic(vp))
			return CHILD_MSR_UNKNOWN;
		return done(write ? lapic_msr_write(lp, vp, m, *value) : lapic_msr_read(vp, m, value));
	case SMSR_FIRST ... SMSR_LAST: return child_synthetic_msr(lp, vp, write, m, value);
	}
	if (mtrr_register(m))
		return stored(vp, mtrr_register(m), write, value, mtrr_valid(m, *value));
	if (plain_storage(m))
		return stored(vp, STORED_MSR | m, write, value, true);
	if (!reads_zero(m))
		return CHILD_MSR_UNKNOWN;
	*value = 0;
	return done(!write || m == MSR_PATCH_LEVEL);	/* Linux writes 0 there before CPUID on some processors */
}
