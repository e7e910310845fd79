/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Synthetic MSRs of a child, each behind the feature that the VMM gave the partition. The VMM reaches the same state by
 * register names.
 */
#include "apic_regs.h"
#include "hv.h"

#define HYPERCALL_LOCKED BIT(1)
#define ICR_DEST_SHIFT 32
#define XAPIC_DEST_SHIFT 56
#define APIC_TIMER_DIVISOR 8		/* lapic_timer.c counts TSC / 8 */

struct rule { u32 first, last; u64 feature; bool lapic, readable, writable; };

static const struct rule rules[] = {
	{ SMSR_GUEST_OS_ID, SMSR_HYPERCALL, SYNTH_HYPERCALL, false, true, true },
	{ SMSR_VP_INDEX, SMSR_VP_INDEX, SYNTH_VP_INDEX, false, true, false },
	{ SMSR_VP_RUNTIME, SMSR_VP_RUNTIME, SYNTH_VP_RUNTIME, false, true, false },
	{ SMSR_TIME_REF_COUNT, SMSR_TIME_REF_COUNT, SYNTH_REFCOUNT, false, true, false },
	{ SMSR_REFERENCE_TSC, SMSR_REFERENCE_TSC, SYNTH_REFERENCE_TSC, false, true, true },
	{ SMSR_TSC_FREQUENCY, SMSR_APIC_FREQUENCY, SYNTH_FREQUENCY, false, true, false },
	{ SMSR_EOI, SMSR_EOI, SYNTH_APIC_MSRS, true, true, true },
	{ SMSR_ICR, SMSR_TPR, SYNTH_APIC_MSRS, true, true, true },
	{ SMSR_VP_ASSIST_PAGE, SMSR_VP_ASSIST_PAGE, SYNTH_APIC_MSRS, false, true, true },
	{ SMSR_SCONTROL, SMSR_SCONTROL, SYNTH_SYNIC, false, true, true },
	{ SMSR_SVERSION, SMSR_SVERSION, SYNTH_SYNIC, false, true, false },
	{ SMSR_SIEFP, SMSR_SIMP, SYNTH_SYNIC, false, true, true },
	{ SMSR_EOM, SMSR_EOM, SYNTH_SYNIC, false, true, true },
	{ SMSR_SIRBP, SMSR_SIRBP, SYNTH_SYNIC, false, true, true },
	{ SMSR_SINT0, SMSR_SINT15, SYNTH_SYNIC, false, true, true },
	{ SMSR_STIMER0_CONFIG, SMSR_STIMER3_COUNT, SYNTH_STIMER, false, true, true },
	{ SMSR_GUEST_IDLE, SMSR_GUEST_IDLE, SYNTH_GUEST_IDLE, true, true, false },
	{ SMSR_CRASH_P0, SMSR_CRASH_CTL, SYNTH_HV1, false, true, true },
};

static const struct rule *rule_of(u32 m)
{
	for (u32 i = 0; i < LENGTH(rules); i++)
		if (m >= rules[i].first && m <= rules[i].last)
			return &rules[i];
	return NULL;
}

/*
 * A VP that holds up others: whoever waits for it to leave its guest, with hv_lock, must not wait for one that wants
 * the lock itself.
 */
void child_leave(struct vp *vp)
{
	__atomic_store_n(&vp->in_guest, 0, __ATOMIC_RELEASE);
	lock(&hv_lock);
}

void child_enter(struct lp *lp, struct vp *vp)
{
	__atomic_store_n(&vp->in_guest, lp->index + 1, __ATOMIC_SEQ_CST);
	unlock(&hv_lock);
}

static bool overlay(struct lp *lp, struct vp *vp, u32 slot, u64 value, u8 *page)
{
	bool ok = true;

	if (value & SMSR_ENABLE && value & ~CHILD_ADDRESS_MASK)
		return false;
	child_leave(vp);
	if (value & SMSR_ENABLE)
		ok = child_overlay(vp->pt, slot, value / PAGE, page);
	else
		child_overlay_off(vp->pt, slot);
	child_enter(lp, vp);
	return ok;
}

static bool write_hypercall(struct lp *lp, struct vp *vp, u64 value)
{
	struct child_hv *hv = &vp->pt->hv;

	if (hv->hypercall & HYPERCALL_LOCKED)
		return false;
	if (!hv->guest_os_id)
		value &= ~SMSR_ENABLE;	/* a guest says who it is first */
	if (!overlay(lp, vp, OVERLAY_HYPERCALL, value, hv->hypercall_page))
		return false;
	hv->hypercall = value;
	return true;
}

static bool write_os_id(struct lp *lp, struct vp *vp, u64 value)
{
	vp->pt->hv.guest_os_id = value;
	return value || write_hypercall(lp, vp, vp->pt->hv.hypercall & ~SMSR_ENABLE);
}

static bool write_tsc(struct lp *lp, struct vp *vp, u64 value)
{
	if (value & SMSR_ENABLE)
		child_tsc_page(vp->pt);
	if (!overlay(lp, vp, OVERLAY_TSC, value, vp->pt->hv.tsc_page))
		return false;
	vp->pt->hv.tsc = value;
	return true;
}

static bool write_page(struct lp *lp, struct vp *vp, enum synic_page n, u64 value)
{
	if (!overlay(lp, vp, OVERLAY_VP + vp->index * SYNIC_PAGES + n, value, vp->synic.page[n]))
		return false;
	vp->synic.msr[n] = value;
	child_synic_scan(vp);
	return true;
}

static void write_icr(struct lp *lp, struct vp *vp, u64 value)
{
	vp->apic.icr_hi = value >> ICR_DEST_SHIFT;	/* laid out as the APIC's own register, in either mode */
	lapic_command(lp, vp, value);
}

static bool write_crash(struct lp *lp, struct vp *vp, u32 n, u64 value)
{
	u64 *c = vp->pt->hv.crash;

	c[n] = value;
	if (n == CHILD_CRASH_WORDS - 1)
		LEDGER_EVENT(lp, EV_CHILD_CRASH, 0, value, vp->pt->id, c[0], c[1], c[2], c[3], c[4]);
	return true;
}

static bool write(struct lp *lp, struct vp *vp, u32 m, u64 value)
{
	switch (m) {
	case SMSR_GUEST_OS_ID: return write_os_id(lp, vp, value);
	case SMSR_HYPERCALL: return write_hypercall(lp, vp, value);
	case SMSR_REFERENCE_TSC: return write_tsc(lp, vp, value);
	case SMSR_EOI: lapic_eoi(lp, vp); break;
	case SMSR_ICR: write_icr(lp, vp, value); break;
	case SMSR_TPR:
		if (value & ~0xfful)
			return false;
		lapic_set_tpr(vp, value);
		break;
	case SMSR_VP_ASSIST_PAGE: return write_page(lp, vp, SYNIC_ASSIST, value);
	case SMSR_SCONTROL:
		vp->synic.scontrol = value;
		child_synic_scan(vp);
		break;
	case SMSR_SIEFP: return write_page(lp, vp, SYNIC_SIEFP, value);
	case SMSR_SIMP: return write_page(lp, vp, SYNIC_SIMP, value);
	case SMSR_EOM: child_eom(vp); break;
	case SMSR_SIRBP: vp->synic.sirbp = value; break;
	case SMSR_SINT0 ... SMSR_SINT15: return child_sint_write(vp, m - SMSR_SINT0, value);
	case SMSR_STIMER0_CONFIG ... SMSR_STIMER3_COUNT: return child_stimer_write(vp, m - SMSR_STIMER0_CONFIG, value);
	case SMSR_CRASH_P0 ... SMSR_CRASH_CTL: return write_crash(lp, vp, m - SMSR_CRASH_P0, value);
	}
	return true;
}

static u64 read(struct vp *vp, u32 m)
{
	const struct child_hv *hv = &vp->pt->hv;

	switch (m) {
	case SMSR_GUEST_OS_ID: return hv->guest_os_id;
	case SMSR_HYPERCALL: return hv->hypercall;
	case SMSR_VP_INDEX: return vp->index;
	case SMSR_VP_RUNTIME: return ref_units(vp->count[VS_RUN_TIME]);
	case SMSR_TIME_REF_COUNT: return child_ref_time(vp->pt);
	case SMSR_REFERENCE_TSC: return hv->tsc;
	case SMSR_TSC_FREQUENCY: return tsc_hz;
	case SMSR_APIC_FREQUENCY: return tsc_hz / APIC_TIMER_DIVISOR;
	case SMSR_ICR: return vp->apic.icr_lo | (u64)vp->apic.icr_hi << ICR_DEST_SHIFT;
	case SMSR_TPR: return lapic_tpr(vp);
	case SMSR_VP_ASSIST_PAGE: return vp->synic.msr[SYNIC_ASSIST];
	case SMSR_SCONTROL: return vp->synic.scontrol;
	case SMSR_SVERSION: return SYNIC_VERSION;
	case SMSR_SIEFP: return vp->synic.msr[SYNIC_SIEFP];
	case SMSR_SIMP: return vp->synic.msr[SYNIC_SIMP];
	case SMSR_SIRBP: return vp->synic.sirbp;
	case SMSR_SINT0 ... SMSR_SINT15: return vp->synic.sint[m - SMSR_SINT0];
	case SMSR_STIMER0_CONFIG ... SMSR_STIMER3_COUNT: return child_stimer_read(vp, m - SMSR_STIMER0_CONFIG);
	case SMSR_GUEST_IDLE: vp->halted = vp->idle = true; return 0;
	case SMSR_CRASH_P0 ... SMSR_CRASH_P4: return hv->crash[m - SMSR_CRASH_P0];
	case SMSR_CRASH_CTL: return CRASH_NOTIFY | CRASH_NOTIFY_MSG;
	}
	return 0;
}

/* Called on the VP's own LP, between its runs, without the lock. */
enum child_msr_result child_synthetic_msr(struct lp *lp, struct vp *vp, bool writes, u32 m, u64 *value)
{
	const struct rule *r = rule_of(m);

	if (!r || !vp->synic.queue)	/* none without Hyper-V: see child_vp_init() */
		return CHILD_MSR_UNKNOWN;
	if (!child_feature(vp->pt, r->feature) || !(writes ? r->writable : r->readable) || (r->lapic && !lapic_on(vp)))
		return CHILD_MSR_FAULT;
	if (writes)
		return write(lp, vp, m, *value) ? CHILD_MSR_DONE : CHILD_MSR_FAULT;
	*value = read(vp, m);
	return CHILD_MSR_DONE;
}

/* ---- the VMM's names for them ---- */
static u32 msr_of(u32 name)
{
	switch (name) {
	case REG_HYPERCALL: return SMSR_HYPERCALL;
	case REG_GUEST_OS_ID: return SMSR_GUEST_OS_ID;
	case REG_VP_INDEX: return SMSR_VP_INDEX;
	case REG_TIME_REF_COUNT: return SMSR_TIME_REF_COUNT;
	case REG_REFERENCE_TSC: return SMSR_REFERENCE_TSC;
	case REG_VP_ASSIST_PAGE: return SMSR_VP_ASSIST_PAGE;
	case REG_SINT0 ... REG_SINT0 + SYNIC_SINTS - 1: return SMSR_SINT0 + name - REG_SINT0;
	case REG_SCONTROL: return SMSR_SCONTROL;
	case REG_SVERSION: return SMSR_SVERSION;
	case REG_SIEFP: return SMSR_SIEFP;
	case REG_SIMP: return SMSR_SIMP;
	case REG_EOM: return SMSR_EOM;
	case REG_SIRBP: return SMSR_SIRBP;
	case REG_STIMER0_CONFIG ... REG_STIMER3_COUNT: return SMSR_STIMER0_CONFIG + name - REG_STIMER0_CONFIG;
	case REG_CRASH_P0 ... REG_CRASH_CTL: return SMSR_CRASH_P0 + name - REG_CRASH_P0;
	}
	return 0;
}

bool child_synthetic_get(struct vp *vp, u32 name, u64 *value)
{
	u32 m = msr_of(name);

	if (!m && name != REG_GUEST_OS_ID)
		return false;
	*value = vp->synic.queue || m == SMSR_VP_INDEX || m == SMSR_TIME_REF_COUNT || m == SMSR_SVERSION ? read(vp, m) : 0;
	return true;
}

static bool set_overlay(struct vp *vp, u32 slot, u64 *msr, u64 value, u8 *page)
{
	if (value & SMSR_ENABLE && (value & ~CHILD_ADDRESS_MASK || !child_overlay(vp->pt, slot, value / PAGE, page)))
		return false;
	if (!(value & SMSR_ENABLE))
		child_overlay_off(vp->pt, slot);
	*msr = value;
	return true;
}

/* With hv_lock, the VP being out of its guest. A partition without Hyper-V takes only zeros. */
bool child_synthetic_set(struct lp *lp, struct vp *vp, u32 name, u64 value, bool *known)
{
	u32 m = msr_of(name), slot = OVERLAY_VP + vp->index * SYNIC_PAGES;
	struct child_hv *hv = &vp->pt->hv;

	*known = m || name == REG_GUEST_OS_ID;
	if (!*known || m == SMSR_VP_INDEX || m == SMSR_TIME_REF_COUNT || m == SMSR_SVERSION || m == SMSR_EOM)
		return true;
	if (!vp->synic.queue)
		return !value || (m >= SMSR_SINT0 && m <= SMSR_SINT15);
	switch (m) {
	case SMSR_GUEST_OS_ID: hv->guest_os_id = value; return true;
	case SMSR_HYPERCALL: return set_overlay(vp, OVERLAY_HYPERCALL, &hv->hypercall, value, hv->hypercall_page);
	case SMSR_REFERENCE_TSC:
		child_tsc_page(vp->pt);
		return set_overlay(vp, OVERLAY_TSC, &hv->tsc, value, hv->tsc_page);
	case SMSR_VP_ASSIST_PAGE:
		return set_overlay(vp, slot + SYNIC_ASSIST, &vp->synic.msr[SYNIC_ASSIST], value, vp->synic.page[SYNIC_ASSIST]);
	case SMSR_SIEFP:
		return set_overlay(vp, slot + SYNIC_SIEFP, &vp->synic.msr[SYNIC_SIEFP], value, vp->synic.page[SYNIC_SIEFP]);
	case SMSR_SIMP:
		return set_overlay(vp, slot + SYNIC_SIMP, &vp->synic.msr[SYNIC_SIMP], value, vp->synic.page[SYNIC_SIMP]);
	case SMSR_STIMER0_CONFIG ... SMSR_STIMER3_COUNT:
		child_stimer_set(vp, m - SMSR_STIMER0_CONFIG, value);
		return true;
	case SMSR_CRASH_P0 ... SMSR_CRASH_CTL:
		hv->crash[m - SMSR_CRASH_P0] = value;
		return true;
	}
	return write(lp, vp, m, value);
}
