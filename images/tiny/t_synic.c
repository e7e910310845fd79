/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The root's SynIC: slots, interrupts, end of message. Resuming a VP is what makes messages here. */
#include "tiny.h"

#define VPS 4

static u64 partition_with_vps(void)
{
	u64 id = new_partition(0);

	for (u32 vp = 0; vp < VPS; vp++)
		EXPECT(create_vp(id, vp), ST_OK, "CREATE_VP");
	return id;
}

static void resume(u64 id, u32 vp)
{
	EXPECT(set_register(id, vp, REG_EXPLICIT_SUSPEND, 0), ST_OK, "resume");
}

static void is_signal(const struct message *m, u64 id, u32 vp)
{
	const struct wire_signal_message *s = (const void *)m->payload;

	EXPECT(m->type, MSG_SCHEDULER_VP_SIGNAL_BITSET, "message");
	EXPECT(s->partition, id, "partition");
	EXPECT(s->bank[0], BIT(vp), "VPs in the message");
}

CASE("one", sint_message, "a message arrives in its SINT's slot with an interrupt of the SINT's vector")
{
	u64 id = partition_with_vps(), before;
	struct message *slot = sint_slot(SINT_INTERCEPT);

	synic_on(SINT_INTERCEPT, VECTOR_TEST);
	before = interrupts[0][VECTOR_TEST];
	EXPECT(slot->type, 0, "slot before the message");
	resume(id, 2);
	CHECK(message_wait(slot, POLLS), "no message");
	is_signal(slot, id, 2);
	EXPECT(slot->flags & MSG_FLAG_PENDING, 0, "another one pending");
	interrupts_on();
	WAIT(interrupts[0][VECTOR_TEST] == before + 1, "the interrupt");
	interrupts_off();
	synic_off(SINT_INTERCEPT);
}

CASE("one", queue, "messages wait for their slot and come in order, one for each end of message")
{
	u64 id = partition_with_vps();
	struct message *slot = sint_slot(SINT_INTERCEPT);

	synic_on(SINT_INTERCEPT, VECTOR_TEST);
	for (u32 vp = 0; vp < VPS; vp++)
		resume(id, vp);
	for (u32 vp = 0; vp < VPS; vp++) {
		CHECK(message_wait(slot, POLLS), "no message");
		is_signal(slot, id, vp);
		EXPECT(slot->flags & MSG_FLAG_PENDING, vp + 1 < VPS ? MSG_FLAG_PENDING : 0, "another one pending");
		message_done(slot);
	}
	EXPECT(slot->type, 0, "slot after the last message");
	synic_off(SINT_INTERCEPT);
}

CASE("one", slot_kept, "end of message with a full slot does not lose what is in it")
{
	u64 id = partition_with_vps();
	struct message *slot = sint_slot(SINT_INTERCEPT);

	synic_on(SINT_INTERCEPT, VECTOR_TEST);
	resume(id, 0);
	resume(id, 1);
	wrmsr(SMSR_EOM, 0);
	is_signal(slot, id, 0);
	message_done(slot);
	is_signal(slot, id, 1);
	synic_off(SINT_INTERCEPT);
}

CASE("one", masked, "a masked SINT raises no interrupt")
{
	u64 id = partition_with_vps(), before;

	synic_off(SINT_INTERCEPT);
	before = interrupts[0][VECTOR_IGNORE];
	resume(id, 0);
	interrupts_on();
	for (u32 i = 0; i < 1000; i++)
		relax();
	interrupts_off();
	EXPECT(interrupts[0][VECTOR_IGNORE], before, "interrupts");
	synic_off(SINT_INTERCEPT);
}

CASE("one", signal_count, "the VP's counter says how many signals were sent for it")
{
	u64 id = partition_with_vps(), before = register_of(id, 1, REG_ROOT_SIGNAL_COUNT);

	resume(id, 1);
	EXPECT(register_of(id, 1, REG_ROOT_SIGNAL_COUNT), before + 1, "signals");
	synic_off(SINT_INTERCEPT);
}

CASE("one", sints, "each SINT register keeps its vector and mask")
{
	for (u32 i = 1; i < SYNIC_SINTS; i++)
		wrmsr(SMSR_SINT0 + i, SINT_MASKED | (0x40 + i));
	for (u32 i = 1; i < SYNIC_SINTS; i++)
		EXPECT(rdmsr(SMSR_SINT0 + i), SINT_MASKED | (0x40 + i), "SINT");
	for (u32 i = 1; i < SYNIC_SINTS; i++)
		wrmsr(SMSR_SINT0 + i, SINT_MASKED);
}
