/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the host reads and writes in the stand-in's memory while it runs. The symbol host_block is found in the ELF
 * file; everything else by the addresses in it. Addresses are system physical. lab/hypervisor/layout.py mirrors this
 * file and a unit test compares the two.
 */
#ifndef HOST_H
#define HOST_H

#include "types.h"

#define HOST_MAGIC 0x314b4c4256484c48ul	/* "HLHVBLK1" */
#define HOST_VERSION 2

enum host_state { STATE_BOOTING, STATE_RUNNING, STATE_PANICKED, STATE_TRIPWIRE, STATE_OFF };

/* ---- ledger ---- */
enum record_kind { KIND_HYPERCALL = 1, KIND_INTERCEPT, KIND_DISPATCH, KIND_EVENT };

#define FLAG_FAST 1
#define FLAG_UNIMPLEMENTED 2
#define FLAG_IGNORED 4
#define FLAG_INJECTED 8

/* Codes of KIND_EVENT; the first word says which MSR, register, property, ... */
enum event_code {
	EV_MSR_READ = 1,	/* MSR, rip */
	EV_MSR_WRITE,		/* MSR, value */
	EV_REGISTER_GET,	/* name, partition, VP */
	EV_REGISTER_SET,	/* name, partition, VP, value */
	EV_PROPERTY_GET,	/* code, partition */
	EV_PROPERTY_SET,	/* code, partition, value */
	EV_SYSTEM_PROPERTY,	/* id */
	EV_ROOT_FAULT,		/* GPA, error code: the root touched memory that is not its own */
	EV_MESSAGE_DROPPED,	/* message type, SINT */
	EV_ROOT_CRASH,		/* control, P0..P4 */
	EV_MARK,		/* value: the root marked this place in the ledger */
	EV_POWER_OFF,
	EV_STATE_TYPE,		/* VP state type, partition, VP */
	EV_INTERCEPT_TYPE,	/* intercept type, access, parameter */
	EV_DOORBELL,		/* partition, VP, GPA, size, value, port: a write that no VMM gets to see */
	EV_PAGE_VECTORS,	/* partition, VP, count and vectors: interrupts taken from the register page */
	EV_HOLD_BEGIN,		/* code, partition, slot, generation, interrupts on: a call is held from here on */
	EV_HOLD_END,		/* code, slot, generation, re-entries, TSC ticks, expired */
	EV_CHILD_MSR = 32,	/* MSR, partition, VP, write, value, ignored: a child's access to an MSR that we do not have */
	EV_CHILD_CRASH,		/* control, partition, P0..P4: a child told the hypervisor that it panics */
	EV_CHILD_INTERRUPT,	/* delivery mode, partition, VP, vector: one that we do not have, SMI for example */
};

#define RECORD_WORDS 8
#define RECORD_FRAMES 4
#define LEDGER_CAPACITY 0x20000		/* records, a power of two */

struct host_record {
	u64 seq;		/* 1, 2, ...: written last; 0 while the record is being written */
	u64 tsc;
	u64 partition;		/* caller; for an intercept the child */
	u32 vp;
	u16 lp;
	u8 kind, flags;
	u32 code;
	u16 status, words;
	u16 rep_start, rep_count, rep_done, frames;
	u64 rip, ret;
	u64 frame[RECORD_FRAMES];	/* text addresses further up the caller's stack, innermost first */
	u64 word[RECORD_WORDS];
};
CHECK_SIZE(struct host_record, 160);

struct host_ledger {
	u64 address;		/* of the ring */
	u64 head;		/* records begun so far; the newest has this sequence number */
	u32 record_size, capacity;
};

/* ---- partitions ---- */
#define HOST_PARTITIONS 16

struct host_partition {
	u64 id;			/* 0: free entry */
	u64 flags, slat_root;
	u32 state;		/* enum pt_state */
	u32 pool_free, pool_total, pad;
	u64 vps;		/* bit n: VP n exists */
};
CHECK_SIZE(struct host_partition, 48);

/* ---- control: written by the host ---- */
#define HOST_FAULTS 16
#define HOST_HOLDS 16
#define HOST_ANY_PARTITION 0
#define FAULT_COMPLETE_NONE 0xffffffffu

/* Which calls a slot is about. It is free while "active" is 0; the host fills the rest first and sets that last. */
struct host_call {
	u32 active, code;
	u64 partition;		/* target of the call, or HOST_ANY_PARTITION */
	u64 gfn_first, gfn_last;	/* only if the call's GFNs overlap; 0..~0 for any */
};
CHECK_SIZE(struct host_call, 32);

struct host_fault {
	struct host_call call;
	u32 skip, count;	/* let so many matching calls pass, then hit so many; both count down */
	u32 status, complete;	/* status to return; repetitions to perform first, or FAULT_COMPLETE_NONE */
	u32 hits, pad;
};
CHECK_SIZE(struct host_fault, 56);

/*
 * A held call does not complete until the host names its generation in "release", or its budget is over. Calls that
 * match while a slot holds one pass it by. The host writes all up to "release", we the rest, "state" last.
 */
#define HOLD_LONGEST 60u		/* seconds, whatever the budget */
enum hold_state { HOLD_ARMED, HOLD_HELD, HOLD_RELEASED, HOLD_EXPIRED };

struct host_hold {
	struct host_call call;
	u64 budget;		/* TSC ticks */
	u32 skip, count;	/* let so many matching calls pass, then hold so many; both count down */
	u32 release;		/* the generation that may go on */
	u32 state;		/* enum hold_state: of the newest generation */
	u32 generation;		/* calls held so far: the number of the newest */
	u32 expired;		/* calls that went on because their budget was over */
	u32 lp, interrupts_on;	/* where the call was last seen, and whether the root takes interrupts there meanwhile */
	u64 reentries;		/* times that the held call has come again */
	u64 begun;		/* TSC */
	u64 rip, rsp, control, input, output;	/* of the held call: by these it is known again */
};
CHECK_SIZE(struct host_hold, 128);

struct host_control {
	u32 ledger_on;		/* hypercalls, intercepts, events */
	u32 dispatch_on;	/* results of DISPATCH_VP as well */
	struct host_fault fault[HOST_FAULTS];
	struct host_hold hold[HOST_HOLDS];
	u32 park;		/* keep every LP in the stand-in while this is not 0 (snapshots) */
	u32 parked;		/* bit n: LP n is kept; written by the stand-in */
};

#define HOST_TEXT 2048
#define HOST_LPS 8

struct host_block {
	u64 magic;
	u32 version, size;
	u32 state, lps;
	u64 tsc_hz;
	u64 first, end;			/* memory of the stand-in: [first, end) */
	u64 shared_first, shared_end;	/* the part of it that the root sees */
	struct host_ledger ledger;
	u32 partition_seq, partitions;	/* odd while the table changes; number of entries */
	struct host_partition partition[HOST_PARTITIONS];
	struct host_control control;
	u64 exits[HOST_LPS], hypercalls;	/* since start */
	u32 text_length, pad;
	char text[HOST_TEXT];		/* panic message, 0-terminated */
};

#endif
