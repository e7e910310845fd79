/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The synthetic interrupt controller of a VP of the root: registers, queued messages, places in the event rings. */
#ifndef SYNIC_H
#define SYNIC_H

#include "abi.h"
#include "cpu.h"
#include "wire.h"

#define SYNIC_MESSAGES 48		/* that wait for a slot, of all SINTs together */
#define SYNIC_NONE 0xff

struct synic_queued { struct message m; u8 next; };

struct synic {
	lock_t lock;			/* a leaf: taken with and without hv_lock */
	struct synic_queued pool[SYNIC_MESSAGES];
	u8 free, first[SYNIC_SINTS], last[SYNIC_SINTS];
	u16 rings;			/* bit n: the ring of SINT n has been used */
	u16 notices;			/* bit n: SINT 0 has to say that SINT n, which is an intercept, was raised */
	u8 ring_head[SYNIC_SINTS];
	u64 auto_irr[4];		/* vectors of SINTs with auto-EOI: given to the VP without its APIC */
	u16 auto_offered;		/* SYNIC_OFFERED | vector while VMRUN may deliver it */
};
#define SYNIC_OFFERED 0x100

#endif
