/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A hypercall being processed, and the handlers, one file a family. */
#ifndef HC_H
#define HC_H

#include "abi.h"
#include "hv.h"

struct hc {
	struct lp *lp;
	u16 code, reps, start, varhead;
	bool fast;
	void *in, *out;			/* in points at two registers for a fast call */
	u16 done;			/* repetitions completed, counted from 0 */
	u8 flags;			/* FLAG_* for the ledger */
	u64 partition, gfn, pages;	/* what the call is about, for faults and holds */
	struct partition *pt;		/* target, once found: its entry for the host is refreshed */
	u32 words;
	u64 word[RECORD_WORDS];		/* decoded input, for the ledger */
};

#define OP_REP 1			/* repeats: must have a count, others must not */
#define OP_PUBLISH 4			/* changes what the host sees of the target partition */
#define OP_NO_PARTITION 8		/* the input does not begin with a partition */
#define OP_HEADER 16			/* takes a variable header */
#define OP_ROOT_ONLY 32			/* an L1VH parent may not */
#define OP_FINALIZED 64			/* also for a partition that is finalized */

struct op {
	u16 (*run)(struct hc *);
	void (*decode)(struct hc *);	/* fills words; NULL: the words of the fixed input */
	u16 in_size, out_size;		/* fixed parts */
	u8 flags, rep_in, rep_out;	/* rep_*: bytes per repetition; all must stay inside one page */
};

#define HC_TABLE (HC_MAP_STATS_PAGE2 + 1)
extern const struct op hypercall_table[HC_TABLE];

static inline void hc_word(struct hc *c, u64 w)
{
	if (c->words < RECORD_WORDS)
		c->word[c->words++] = w;
}

struct partition *hc_partition(struct hc *, u64 id);
u16 hc_vp(struct hc *, u64 id, u32 index, struct vp **vp);

/* hc_system.c */
u16 hc_get_partition_id(struct hc *);
u16 hc_get_system_property(struct hc *);
u16 hc_set_system_property(struct hc *);
u16 hc_enter_sleep_state(struct hc *);
u16 hc_lp_run_time(struct hc *);
u16 hc_add_lp(struct hc *);
u16 hc_notify_event(struct hc *);
/* hc_interrupt.c */
u16 hc_map_device_interrupt(struct hc *);
u16 hc_unmap_device_interrupt(struct hc *);
u16 hc_retarget_interrupt(struct hc *);
u16 hc_send_ipi(struct hc *);
u16 hc_send_ipi_ex(struct hc *);
u16 hc_vp_index_from_apic_id(struct hc *);
u16 hc_assert_interrupt(struct hc *);
u16 hc_clear_interrupt(struct hc *);
void hc_decode_map_interrupt(struct hc *);
/* hc_memory.c */
u16 hc_deposit(struct hc *);
u16 hc_withdraw(struct hc *);
u16 hc_map_gpa(struct hc *);
u16 hc_unmap_gpa(struct hc *);
u16 hc_access_states(struct hc *);
void hc_decode_deposit(struct hc *);
void hc_decode_map_gpa(struct hc *);
void hc_decode_unmap_gpa(struct hc *);
void hc_decode_access_states(struct hc *);
/* hc_host_access.c */
u16 hc_host_access(struct hc *);
void hc_decode_host_access(struct hc *);
/* hc_partition.c */
u16 hc_create_partition(struct hc *);
u16 hc_initialize_partition(struct hc *);
u16 hc_finalize_partition(struct hc *);
u16 hc_delete_partition(struct hc *);
void hc_decode_create(struct hc *);
/* hc_property.c */
u16 hc_get_property(struct hc *);
u16 hc_set_property(struct hc *);
u16 hc_get_property_ex(struct hc *);
/* hc_vp.c */
u16 hc_create_vp(struct hc *);
u16 hc_delete_vp(struct hc *);
u16 hc_get_registers(struct hc *);
u16 hc_set_registers(struct hc *);
u16 hc_vp_state(struct hc *);
u16 hc_map_state_page(struct hc *);
u16 hc_unmap_state_page(struct hc *);
u16 hc_dispatch(struct hc *);
void hc_decode_vp(struct hc *);
void hc_decode_get_registers(struct hc *);
void hc_decode_set_registers(struct hc *);
void hc_decode_state_page(struct hc *);
void hc_decode_dispatch(struct hc *);
/* child_intercept.c */
u16 hc_install_intercept(struct hc *);
u16 hc_intercept_result(struct hc *);
u16 hc_cpuid_values(struct hc *);
u16 hc_translate(struct hc *);
void hc_decode_intercept(struct hc *);
void hc_decode_intercept_result(struct hc *);
/* child_direct.c */
u16 child_timer_state(struct hc *, struct vp *);
u16 hc_signal_direct(struct hc *);
u16 hc_post_direct(struct hc *);
void hc_decode_direct(struct hc *);
/* hc_stats.c */
u16 hc_map_stats(struct hc *);
u16 hc_map_stats2(struct hc *);
u16 hc_unmap_stats(struct hc *);
void hc_decode_stats(struct hc *);
/* hc_port.c */
u16 hc_create_port(struct hc *);
u16 hc_delete_port(struct hc *);
u16 hc_connect_port(struct hc *);
u16 hc_disconnect_port(struct hc *);
u16 hc_post_message(struct hc *);
u16 hc_signal_event(struct hc *);
u16 hc_ring_empty(struct hc *);
void hc_decode_create_port(struct hc *);
void hc_decode_connect_port(struct hc *);
/* hold.c */
enum hold_turn { HOLD_NONE, HOLD_WAITS, HOLD_ENDS };
enum hold_turn hold_turn(struct lp *);	/* is the call that this LP makes one that comes again? */
bool hold_begin(const struct hc *);
/* hypercall.c */
bool hc_still_there(const struct hc *);

#endif
