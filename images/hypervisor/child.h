/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a child's VP has beyond processor registers: its local APIC, SynIC, synthetic timers, CPUID results, overlays. */
#ifndef CHILD_H
#define CHILD_H

#include "types.h"
#include "wire.h"

struct lp;
struct vp;
struct partition;

#define NEVER (~0ul)

/* ---- local APIC ---- */
struct lapic {
	u32 id, ldr, dfr, svr, tpr, esr, errors, icr_lo, icr_hi, lvt[7], init, div;
	u32 isr[8], tmr[8], irr[8];
	u64 start;			/* TSC at which the running count began */
	u64 deadline;			/* TSC-deadline mode: in the VP's TSC, 0 is off */
	bool armed;
};

#define OFFER_APIC 0x200u
#define OFFER_EXTINT 0x100u
#define SIPI_VALID 0x100u
enum { LVT_CMCI, LVT_TIMER, LVT_THERMAL, LVT_PERF, LVT_LINT0, LVT_LINT1, LVT_ERROR };

struct lapic_request {			/* an interrupt on its way */
	u32 dest;
	bool logical, x2;		/* x2: "dest" is 32 bits wide, as an x2APIC sends it */
	u32 mode, vector;
	bool level;
};

/* lapic.c */
void lapic_reset(struct vp *);
bool lapic_x2(const struct vp *);
bool lapic_on(const struct vp *);
u32 lapic_tpr(const struct vp *);
void lapic_set_tpr(struct vp *, u32 tpr);
u32 lapic_ppr(const struct vp *);
int lapic_pending(struct vp *);
bool lapic_wakes(struct vp *);
void lapic_inject(struct vp *);
void lapic_sync(struct vp *);
void lapic_raise(struct vp *, u32 vector, bool level);
void lapic_lvt(struct vp *, u32 which);
void lapic_error(struct vp *, u32 bits);
void lapic_eoi(struct lp *, struct vp *);
/* lapic_send.c */
bool lapic_deliver(struct lp *, struct partition *, const struct lapic_request *);
void lapic_command(struct lp *, struct vp *, u32 icr_low);
/* lapic_timer.c */
void lapic_timer_poll(struct vp *);
void lapic_timer_set(struct vp *, u32 initial);
void lapic_timer_resume(struct vp *, u32 counter);
void lapic_timer_mode(struct vp *, u32 lvt);
void lapic_timer_divide(struct vp *, u32 divide);
void lapic_timer_deadline(struct vp *, u64 tsc);
u32 lapic_timer_count(struct vp *);
u64 lapic_timer_next(const struct vp *);
/* lapic_regs.c */
bool lapic_read(struct vp *, u32 offset, u32 *value);
bool lapic_write(struct lp *, struct vp *, u32 offset, u32 value);
/* lapic_mmio.c, lapic_msr.c, lapic_state.c */
bool lapic_mmio(struct lp *, struct vp *, u64 gpa, const u8 *bytes, u32 n);
bool lapic_msr_read(struct vp *, u32 msr, u64 *value);
bool lapic_msr_write(struct lp *, struct vp *, u32 msr, u64 value);
bool lapic_base_valid(const struct vp *, u64 value);
bool lapic_base_write(struct vp *, u64 value);
void lapic_state(struct vp *, struct wire_lapic *, bool store);

/* ---- CPUID results that the VMM registered: pages of the pool, linked ---- */
struct cpuid_result { u32 leaf, subleaf, flags, value[4], mask[4]; };
#define RESULT_SUBLEAF 1u		/* for this subleaf only */
#define RESULT_MSR 2u			/* not CPUID: "leaf" is an MSR, value[0] what to do */
#define RESULTS_PER_PAGE ((PAGE - 16) / sizeof(struct cpuid_result))
struct cpuid_page { u64 next; u32 used, pad; struct cpuid_result result[RESULTS_PER_PAGE]; };

/* child_features.c */
bool child_feature(const struct partition *, u64 bit);
u64 child_property(const struct partition *, u32 code);
void child_hypervisor_leaf(const struct partition *, u32 leaf, u32 r[4]);

/* child_timer.c */
void child_timers_poll(struct vp *);
void child_timers_arm(struct lp *, struct vp *);
bool child_timers_need_polling(const struct lp *, struct vp *);
void child_set_tsc(struct vp *, u64 value);

/* child_synic.c, child_overlay.c */
bool child_auto_eoi(const struct vp *, u32 vector);
bool child_overlay_at(const struct partition *, u64 gfn);

/* child_cpuid.c, child_msr.c, child_intercept.c, child_translate.c */
void child_cpuid(struct vp *, u32 r[4]);
void child_cpuid_of(struct vp *, u32 leaf, u32 sub, u32 r[4]);
u16 child_result_register(struct vp *, const struct cpuid_result *);
const struct cpuid_result *child_result_find(const struct vp *, u32 leaf, u32 subleaf, bool msr);
void child_results_free(struct vp *);
enum child_msr_result { CHILD_MSR_DONE, CHILD_MSR_FAULT, CHILD_MSR_UNKNOWN };
enum child_msr_result child_msr(struct lp *, struct vp *, bool write, u32 msr, u64 *value);
enum child_msr_result child_synthetic_msr(struct lp *, struct vp *, bool write, u32 msr, u64 *value);
bool child_wants(const struct vp *, u32 type, u32 access, u64 parameter);
void child_intercepts_apply(struct vp *);
u32 child_translate(struct vp *, u64 gva, u32 flags, u64 *gpa);

#endif
