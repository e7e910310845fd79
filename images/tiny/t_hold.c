/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hypercalls that the host holds (hold.c of the stand-in). The cases ask the host by marks in the ledger, which
 * lab/validate/tiny_holds.py answers: it holds the next GET_PARTITION_ID, or lets it go. That a call is held it says by
 * failing one GET_SYSTEM_PROPERTY: nobody could tell it from an LP that the host's scheduler has stopped inside a call.
 */
#include "tiny.h"

#define OTHER 1
#define MARK 0x4f000000u		/* + one of the requests */
enum { HOLD = 0x40, HOLD_WITHOUT_INTERRUPTS, HOLD_BRIEFLY, RELEASE };
#define ROUNDS 20
#define ROOT 1
#define BRIEFLY_MS 200			/* the host's budget for HOLD_BRIEFLY */
#define PATIENCE_MS 6000		/* for the host to hold a call */
#define SAYS_HELD ST_NO_RESOURCES	/* the host's word that a call is held, or was for HOLD_BRIEFLY */
#define REF_PER_MS 10000u		/* the reference counter has units of 100 ns */

static volatile u32 begun, ended;	/* calls of LP 0; it is inside of one while they differ */

static u64 ms(void) { return rdmsr(SMSR_TIME_REF_COUNT) / REF_PER_MS; }
static void ask(u32 what) { rdmsr(MARK + what); }

static void one_call(void)
{
	struct out_partition *out = call_out();
	u16 st;

	out->partition = 0;
	begun++;
	st = call(HC_GET_PARTITION_ID);
	ended = begun;
	EXPECT(st, ST_OK, "GET_PARTITION_ID");
	EXPECT(out->partition, ROOT, "the partition");
}

/* ---- the other LP ---- */
struct onlooker {
	bool interrupt;			/* LP 0 is to take an interrupt in each round */
	volatile u32 interrupts, rounds;	/* taken by LP 0; rounds while one call was held */
};
static struct onlooker onlooker;

static u16 property_call(void)
{
	struct in_get_system_property *in = call_in();

	in->id = SYS_SCHEDULER_TYPE;
	return call(HC_GET_SYSTEM_PROPERTY);
}

static void other_call(void) { EXPECT(property_call(), ST_OK, "GET_SYSTEM_PROPERTY on the other LP"); }

/* Wait for the host to say that a call is held; which one, or 0 if it does not say so. */
static u32 held_call(void)
{
	u64 end = ms() + PATIENCE_MS;

	while (ms() < end)
		if (property_call() == SAYS_HELD)
			return begun;
	return 0;
}

/* What can be done while LP 0 is inside of one and the same call? Then the host is asked to let it go. */
static void look_on(void *p)
{
	struct onlooker *o = p;
	u32 same = held_call();

	while (same && o->rounds < ROUNDS && ended != same) {
		u64 before = interrupts[0][VECTOR_TEST];

		other_call();
		if (o->interrupt) {
			send_ipi(0, VECTOR_TEST);
			while (interrupts[0][VECTOR_TEST] == before && ended != same)
				relax();
			o->interrupts += interrupts[0][VECTOR_TEST] != before;
		}
		o->rounds += ended != same;
	}
	if (!o->interrupt) {
		send_ipi(0, VECTOR_TEST);
		other_call();
	}
	ask(RELEASE);
}

/* Call and call again until one was held, looked on at, and let go. */
static void calls_while_looked_on(bool interrupt)
{
	onlooker = (struct onlooker){ .interrupt = interrupt };
	on_lp(OTHER, look_on, &onlooker);
	while (!lp_idle(OTHER) && !lp_gave_up())
		one_call();
	join(OTHER);
	EXPECT(onlooker.rounds, ROUNDS, "rounds of the other LP while one call was held");
}

/* ---- cases ---- */
CASE("hold", held, "a held call keeps nobody else from calling, and its LP from no interrupt")
{
	u64 before = interrupts[0][VECTOR_TEST];

	ask(HOLD);
	interrupts_on();
	calls_while_looked_on(true);
	EXPECT(onlooker.interrupts, ROUNDS, "interrupts taken while the call was held");
	EXPECT(interrupts[0][VECTOR_TEST], before + ROUNDS, "interrupts");
	interrupts_off();
	one_call();
}

CASE("hold", held_deaf, "a call held with interrupts off keeps its LP from them, and nobody from calling")
{
	u64 before = interrupts[0][VECTOR_TEST];

	ask(HOLD_WITHOUT_INTERRUPTS);
	calls_while_looked_on(false);
	EXPECT(interrupts[0][VECTOR_TEST], before, "interrupts taken while they were off");
	interrupts_on();
	WAIT(interrupts[0][VECTOR_TEST] == before + 1, "the interrupt");
	interrupts_off();
}

CASE("hold", expires, "a call that nobody releases goes on when its time is over")
{
	u64 end = ms() + PATIENCE_MS, longest = 0;

	ask(HOLD_BRIEFLY);
	do {
		u64 start = ms();

		one_call();
		longest = ms() - start > longest ? ms() - start : longest;
	} while (property_call() != SAYS_HELD && ms() < end);
	CHECK(longest >= BRIEFLY_MS - 1, "no call was held");
	one_call();
}

static void keep_calling(void *stop)
{
	while (!*(volatile bool *)stop)
		one_call();
}

CASE("hold", children_run, "while a call is held, the other LP makes a child and runs it")
{
	volatile bool stop = false;
	struct child c;
	u32 same;

	ask(HOLD_WITHOUT_INTERRUPTS);
	on_lp(OTHER, keep_calling, (void *)&stop);
	same = held_call();
	CHECK(same && ended != same, "no call of the other LP was held");
	c = new_child(0, child_halt);
	EXPECT(run_child(&c, 0)->type, MSG_HALT, "message");
	CHECK(begun == same && ended != same, "the call did not stay held");
	stop = true;
	ask(RELEASE);
	join(OTHER);
	EXPECT(ended, same, "calls");
}
