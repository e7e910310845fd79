/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The root's own SynIC: message slots. */
#include "tiny.h"

#define DRAIN 64

struct message *sint_slot(u32 sint) { return (struct message *)PAGE_BASE(rdmsr(SMSR_SIMP)) + sint; }

void synic_on(u32 sint, u32 vector)
{
	synic_off(sint);
	wrmsr(SMSR_SIMP, rdmsr(SMSR_SIMP) | SMSR_ENABLE);
	wrmsr(SMSR_SIEFP, rdmsr(SMSR_SIEFP) | SMSR_ENABLE);
	wrmsr(SMSR_SCONTROL, SYNIC_ENABLE);
	wrmsr(SMSR_SINT0 + sint, vector);
}

/* Masked; whatever was queued is thrown away. */
void synic_off(u32 sint)
{
	struct message *slot;

	wrmsr(SMSR_SIMP, rdmsr(SMSR_SIMP) | SMSR_ENABLE);
	wrmsr(SMSR_SCONTROL, SYNIC_ENABLE);
	slot = sint_slot(sint);
	wrmsr(SMSR_SINT0 + sint, VECTOR_IGNORE);
	for (u32 i = 0; i < DRAIN; i++) {
		slot->type = 0;
		wrmsr(SMSR_EOM, 0);
		if (!slot->type)
			break;
	}
	interrupts_on();
	interrupts_off();
	wrmsr(SMSR_SINT0 + sint, SINT_MASKED | VECTOR_IGNORE);
}

bool message_wait(struct message *slot, u32 polls)
{
	while (!__atomic_load_n(&slot->type, __ATOMIC_ACQUIRE)) {
		if (!polls--)
			return false;
		relax();
	}
	return true;
}

void message_done(struct message *slot)
{
	u8 pending;

	__atomic_store_n(&slot->type, 0, __ATOMIC_SEQ_CST);
	pending = slot->flags;
	if (pending & MSG_FLAG_PENDING)
		wrmsr(SMSR_EOM, 0);
}
