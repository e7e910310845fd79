/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a child's VP has beyond processor registers: its local APIC, SynIC, synthetic timers, CPUID results, overlays. */
#ifndef CHILD_H
#define CHILD_H

#include "abi.h"
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
bool lapic_may_wake(const struct vp *);
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

/* ---- SynIC and synthetic timers of a child's VP; its pages are ours and lie over the guest's (see child_overlay.c) ---- */
#define CHILD_STIMERS 4
#define CHILD_MESSAGES 15		/* that wait for a slot */
enum synic_page { SYNIC_SIMP, SYNIC_SIEFP, SYNIC_ASSIST, SYNIC_PAGES };

struct child_queue { struct message m[CHILD_MESSAGES]; u8 sint[CHILD_MESSAGES]; u32 used; };

struct child_stimer {
	u64 config, count, next;	/* next: in the partition's reference time */
	u64 expired;			/* time of the message that waits for its slot, 0 for none */
};

struct child_synic {
	volatile int lock;		/* a leaf */
	u64 scontrol, sirbp, sint[SYNIC_SINTS], msr[SYNIC_PAGES];
	u8 *page[SYNIC_PAGES];
	struct child_queue *queue;
	struct child_stimer timer[CHILD_STIMERS];
};

/* ---- overlays: pages of ours at a guest frame, as long as the guest wants them there ---- */
enum { OVERLAY_HYPERCALL, OVERLAY_TSC, OVERLAY_VP };	/* then SYNIC_PAGES for each VP */
#define OVERLAYS(vps) (OVERLAY_VP + (vps) * SYNIC_PAGES)

struct guest_overlay {
	bool used, laid;
	u64 gfn;
	u8 *page;
	u64 below;			/* the leaf of what the VMM mapped there, while we are laid over it */
};

#define CHILD_CRASH_WORDS 6		/* P0 to P4, control */

struct child_hv {			/* of a partition */
	u64 guest_os_id, hypercall, tsc, crash[CHILD_CRASH_WORDS];
	u8 *hypercall_page, *tsc_page;
	u64 ref_start, frozen;		/* our reference time when the partition's was 0; when it was stopped, or 0 */
};

/* child_features.c */
bool child_feature(const struct partition *, u64 bit);
u64 child_property(const struct partition *, u32 code);
void child_hypervisor_leaf(const struct partition *, u32 leaf, u32 r[4]);

/* child_timer.c, child_stimer.c */
bool child_timers_due(const struct vp *);
void child_timers_poll(struct vp *);
void child_timers_arm(struct lp *, struct vp *);
bool child_timers_need_polling(const struct lp *, struct vp *);
void child_set_tsc(struct vp *, u64 value);
u64 child_ref_time(const struct partition *);
void child_freeze(struct partition *, bool freeze);
void child_stimers_poll(struct vp *);
u64 child_stimers_next(const struct vp *);
void child_stimers_retry(struct vp *);
u64 child_stimer_read(struct vp *, u32 n);
bool child_stimer_write(struct vp *, u32 n, u64 value);
void child_stimer_set(struct vp *, u32 n, u64 value);

/* child_synic.c, child_overlay.c, child_synthetic.c, child_hypercall.c */
u32 child_vp_pages(const struct partition *);
void child_vp_init(struct vp *);
void child_vp_free(struct vp *);
void child_partition_free(struct partition *);
bool child_auto_eoi(const struct vp *, u32 vector);
u16 child_post(struct vp *, u32 sint, const struct message *);
bool child_slot_post(struct vp *, u32 sint, const struct message *);
u16 child_signal(struct vp *, u32 sint, u32 flag, bool *newly);
void child_eom(struct vp *);
bool child_sint_write(struct vp *, u32 sint, u64 value);
void child_synic_scan(struct vp *);
bool child_overlay(struct partition *, u32 slot, u64 gfn, u8 *page);
void child_overlay_off(struct partition *, u32 slot);
bool child_overlay_at(const struct partition *, u64 gfn);
void child_overlays_lift(struct partition *, u64 gfn, u64 pages);
void child_overlays_lay(struct partition *, u64 gfn, u64 pages);
void child_tsc_page(struct partition *);
bool child_synthetic_get(struct vp *, u32 reg, u64 *value);
bool child_synthetic_set(struct lp *, struct vp *, u32 reg, u64 value, bool *known);
void child_leave(struct vp *);
void child_enter(struct lp *, struct vp *);

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
bool child_fault_gva(struct vp *, u64 *gva);

#endif
