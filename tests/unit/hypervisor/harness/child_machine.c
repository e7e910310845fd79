/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the stand-in's other files would give a child, for harness/child_calls.c. */
#include <stdlib.h>

#include "hc.h"
#include "port.h"

unsigned long lapic_harness_tsc;
int lapic_harness_messages;
struct lp lps[MAX_LPS];
struct host_block host_block;
lock_t hv_lock;
u64 xcr0_max = XCR0_X87 | XCR0_SSE, tsc_hz = 1000000000;
u32 nlps = 1;

void kprintf(const char *f, ...) { (void)f; }
void panic(const char *f, ...) { (void)f; abort(); }
void apic_write_icr(u32 dest, u32 low) { (void)dest, (void)low; }

u16 synic_post(struct lp *lp, u32 sint, const struct message *m)
{
	(void)lp, (void)sint, (void)m;
	lapic_harness_messages++;
	return ST_OK;
}

void ledger_event(struct lp *lp, enum event_code c, u32 f, u32 n, const u64 *w) { (void)lp, (void)c, (void)f, (void)n, (void)w; }
void inject_exception(struct vmcb *v, u32 vector, bool has, u32 e) { (void)v, (void)vector, (void)has, (void)e; }
void vmcb_init(struct vmcb *v, u64 ncr3, u32 asid) { v->ncr3 = ncr3, v->asid = asid, v->efer = EFER_SVME; }
void timer_arm(struct lp *lp, struct timer *t, u64 at) { t->lp = lp, t->at = at; }
void timer_cancel(struct timer *t) { t->lp = NULL; }
bool timer_live(const struct lp *lp) { (void)lp; return true; }
/* 1 GHz, so that 100 TSC ticks are one unit of the reference time */
u64 ref_time(void) { return lapic_harness_tsc / 100; }
u64 ref_units(u64 ticks) { return ticks / 100; }
u64 ref_scale(void) { return ~0ul / 100 + 1; }
s64 ref_offset(u64 ahead) { return -(s64)(ahead / 100); }
u64 ref_to_tsc(u64 ref) { return ref * 100; }
u16 port_post(struct lp *lp, u64 p, u32 id, const struct message *m)
{
	(void)lp, (void)p, (void)m;
	return id == 7 ? ST_OK : ST_INVALID_CONNECTION_ID;
}
u16 port_signal(struct lp *lp, u64 p, u32 id, u32 flag)
{
	(void)lp, (void)p, (void)flag;
	return id == 7 ? ST_OK : ST_INVALID_CONNECTION_ID;
}
bool ledger_on(enum record_kind k) { (void)k; return false; }
void ledger_write(struct lp *lp, struct host_record *r) { (void)lp, (void)r; }
bool page_is_roots(u64 pfn) { return spa_is_root_ram(pfn); }	/* there is no page map */
u32 apic_id(void) { return 0; }
u32 scheduler;
bool sched_is_ours(void) { return false; }
const struct op hypercall_table[HC_TABLE] = { [HC_CREATE_PARTITION] = { hc_cpuid_values } };
