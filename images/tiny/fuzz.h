/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The hypercall fuzzer. Everything comes from one seed, so that "seed=S calls=N" does the same again (but for the
 * moments of the timer's interrupts). With two LPs both make calls at once, and nothing comes again exactly; calls that
 * change what we must know (what exists, who has a page) are made one at a time then. The host reads fuzz_block by its
 * symbol: lab/validate/fuzz.py mirrors it.
 */
#ifndef FUZZ_H
#define FUZZ_H

#include "tiny.h"

#define FUZZ_MAGIC 0x315a5a5546594e49ul
#define FUZZ_STATUSES 256
#define FUZZ_CODES 512
#define FUZZ_WORDS 8

struct fuzz_note {			/* an LP's call that is being made; its number from 1 */
	u64 number, control, in, out, word[FUZZ_WORDS];
};
struct fuzz_block {
	u64 magic, seed, planned;
	struct fuzz_note last[MAX_CPUS];
	u64 begun, ended;		/* TSC */
	u64 dispatched, messages, msr_reads, msr_writes, msr_faults;
	u64 status[FUZZ_STATUSES];
	u64 code[FUZZ_CODES];		/* calls of each code; of those that succeeded */
	u64 good[FUZZ_CODES];
};
extern struct fuzz_block fuzz_block;
static inline struct fuzz_note *fuzz_last(void) { return &fuzz_block.last[this_lp()]; }
#define COUNT(counter_) __atomic_fetch_add(&(counter_), 1, __ATOMIC_RELAXED)

struct fuzz_draft {
	u16 code, reps, start, header;
	bool fast;
	u64 in, out, control;
	u8 *input;			/* what "in" points at, for a slow call that is not about bad pointers */
};

/* ---- random numbers ---- */
u64 rnd(void);
static inline u64 below(u64 n) { return rnd() % n; }
static inline bool one_in(u64 n) { return !below(n); }
u64 interesting(void);

/* ---- what exists, as far as we know ---- */
#define FUZZ_PARTITIONS 16
#define FUZZ_ALIVE 4
struct fuzz_partition { u64 id; u32 vps; bool active; };
extern struct fuzz_partition fuzz_pool[FUZZ_PARTITIONS];
u64 some_id(void);
u32 some_vp(void);

/* fuzz_gen.c */
void fuzz_generate(struct fuzz_draft *);
void fuzz_untake(void);
u64 child_frame(void);			/* a page that a child may have */
bool harmless(u64 pfn);			/* the hypervisor may do with that page what it likes */
bool to_be_deposited(u64 pfn);
/* fuzz_port.c */
void draft_create_port(struct fuzz_draft *);
void draft_connect_port(struct fuzz_draft *);
void draft_port(struct fuzz_draft *);
void draft_post_message(struct fuzz_draft *);
void draft_signal_event(struct fuzz_draft *);
/* fuzz_model.c */
bool fuzz_learns(u16 code);		/* from such calls; on two LPs they are made one at a time */
void fuzz_learn(const struct fuzz_draft *, struct result);
void fuzz_set_up(void);			/* a partition with a VP in random code */
void fuzz_reclaim(void);
void fuzz_tear_down(void);
/* fuzz_msr.c */
void fuzz_msr(void);
void sentinels_set(void);
void sentinels_check(void);

#endif
