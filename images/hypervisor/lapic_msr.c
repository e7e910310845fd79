/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A child's local APIC through MSRs: APIC_BASE with its transitions, x2APIC registers. False is #GP. */
#include "abi.h"
#include "apic_regs.h"
#include "hv.h"

#define BASE_KNOWN (APIC_BASE_BSP | APIC_BASE_X2 | APIC_BASE_ENABLE)
#define MODE (APIC_BASE_ENABLE | APIC_BASE_X2)
#define TPR_VALID 0xffu
#define ESR_WRITE 0u
#define ICR_DEST_SHIFT 32

/* Bits that may be set at all. */
bool lapic_base_valid(const struct vp *vp, u64 value)
{
	if (value & ~(BASE_KNOWN | (CHILD_ADDRESS_MASK & ~(PAGE - 1))))
		return false;
	if (value & APIC_BASE_X2)
		return value & APIC_BASE_ENABLE && vp->pt->flags & CREATE_X2APIC;
	return true;
}

/* A guest cannot go from x2APIC back to xAPIC, nor from "off" to x2APIC, in one step. */
bool lapic_base_write(struct vp *vp, u64 value)
{
	u64 was = vp->apic_base & MODE, now = value & MODE;

	if (!lapic_base_valid(vp, value))
		return false;
	if ((was == MODE && now == APIC_BASE_ENABLE) || (!was && now == MODE))
		return false;
	vp->apic_base = value;
	if (was != now && (!now || !was))
		lapic_reset(vp);
	if (was != now && now == MODE) {
		vp->apic.id = vp->index;	/* the x2APIC id cannot be written */
		vp->apic.icr_hi = 0;
	}
	return true;
}

/* Reserved bits that a write must not have; ~0 for registers that cannot be written. */
static u64 reserved(u32 offset)
{
	switch (offset) {
	case APIC_TPR: return ~(u64)TPR_VALID;
	case APIC_EOI: return ~0ul;
	case APIC_ESR: return ~(u64)ESR_WRITE;
	case APIC_SVR: return ~(u64)SVR_VALID;
	case APIC_LVT_TIMER: return ~(u64)LVT_VALID_TIMER;
	case APIC_LVT_TIMER + 0x10 ... APIC_LVT_TIMER + 0x20:
	case APIC_LVT_CMCI: return ~(u64)(LVT_VALID | ICR_PENDING);
	case APIC_LVT_TIMER + 0x30 ... APIC_LVT_TIMER + 0x40: return ~(u64)(LVT_VALID_LINT | ICR_PENDING | ICR_ASSERT);
	case APIC_LVT_ERROR: return ~(u64)(LVT_VALID_ERROR | ICR_PENDING);
	case APIC_INITIAL_COUNT: return ~0xfffffffful;
	case APIC_DIVIDE: return ~(u64)DIVIDE_MASK;
	case APIC_SELF_IPI: return ~(u64)VECTOR_MASK;
	}
	return 0;
}

static bool writable(u32 offset)
{
	switch (offset) {
	case APIC_TPR:
	case APIC_EOI:
	case APIC_SVR:
	case APIC_ESR:
	case APIC_LVT_CMCI:
	case APIC_ICR_LOW:
	case APIC_LVT_TIMER ... APIC_LVT_ERROR:
	case APIC_INITIAL_COUNT:
	case APIC_DIVIDE:
	case APIC_SELF_IPI: return true;
	}
	return false;
}

bool lapic_msr_read(struct vp *vp, u32 msr, u64 *value)
{
	u32 offset = X2APIC_OFFSET(msr), low;

	if (!lapic_x2(vp) || offset == APIC_DFR || offset == APIC_ICR_HIGH || offset == APIC_EOI ||
	    offset == APIC_SELF_IPI || !lapic_read(vp, offset, &low))
		return false;
	*value = low;
	if (offset == APIC_ICR_LOW)
		*value |= (u64)vp->apic.icr_hi << ICR_DEST_SHIFT;
	return true;
}

bool lapic_msr_write(struct lp *lp, struct vp *vp, u32 msr, u64 value)
{
	u32 offset = X2APIC_OFFSET(msr);

	if (!lapic_x2(vp) || !writable(offset) || value & reserved(offset))
		return false;
	if (offset == APIC_ICR_LOW) {
		if ((u32)value & ~ICR_VALID_X2)
			return false;
		vp->apic.icr_hi = value >> ICR_DEST_SHIFT;
		lapic_command(lp, vp, value);
	} else if (offset == APIC_SELF_IPI) {
		lapic_raise(vp, value, false);
	} else {
		lapic_write(lp, vp, offset, value);
	}
	return true;
}
