/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Hypercalls that the host holds (hold.c of the stand-in). The cases ask the host by marks in the ledger, which
 * lab/validate/tiny_holds.py answers: it holds the next GET_PARTITION_ID of LP 0, or lets it go.
 */
#include "tiny.h"

#define OTHER 1
#define MARK 0x4f000000u		/* + one of the requests */
enum { HOLD = 0x40, HOLD_WITHOUT_INTERRUPTS, HOLD_BRIEFLY, RELEASE };
#define ROUNDS 20
#define ROOT 1
#define BRIEFLY_MS 200			/* the host's budget for HOLD_BRIEFLY */
#define PATIENCE_MS 6000		/* for the host to hold a call */
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
	volatile u32 calls, interrupts, rounds;	/* made, taken by LP 0; rounds without a pause */
};
static struct onlooker onlooker;

static void other_call(void)
{
	struct in_get_system_property *in = call_in();

	in->id = SYS_SCHEDULER_TYPE;
	EXPECT(call(HC_GET_SYSTEM_PROPERTY), ST_OK, "GET_SYSTEM_PROPERTY on the other LP");
}

/* What can be done while LP 0 is inside of one and the same call? Then the host is asked to let it go. */
static void look_on(void *p)
{
	struct onlooker *o = p;
	u64 end = ms() + PATIENCE_MS;
	u32 same = 0;

	while (o->rounds < ROUNDS && ms() < end) {
		u32 now = begun;
		u64 before = interrupts[0][VECTOR_TEST];

		if (ended == now) {
			relax();
			continue;
		}
		if (now != same)
			o->rounds = 0;
		same = now;
		other_call();
		o->calls++;
		if (o->interrupt) {
			send_ipi(0, VECTOR_TEST);
			while (interrupts[0][VECTOR_TEST] == before && ended != now)
				relax();
			o->interrupts += interrupts[0][VECTOR_TEST] != before;
		}
		o->rounds += ended != now;
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
	CHECK(onlooker.calls >= ROUNDS, "the other LP made no calls");
	CHECK(interrupts[0][VECTOR_TEST] >= before + ROUNDS, "interrupts were lost");
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
	u64 end = ms() + PATIENCE_MS, start;
	bool held = false;

	ask(HOLD_BRIEFLY);
	while (!held && (start = ms()) < end) {
		one_call();
		held = ms() - start >= BRIEFLY_MS - 1;
	}
	CHECK(held, "no call was held");
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
	u64 end = ms() + PATIENCE_MS;
	u32 same = 0, rounds = 0;

	ask(HOLD_WITHOUT_INTERRUPTS);
	on_lp(OTHER, keep_calling, (void *)&stop);
	while (rounds < ROUNDS && ms() < end) {
		u32 now = begun;

		other_call();
		rounds = now == same && ended != now ? rounds + 1 : 0;
		same = now;
	}
	EXPECT(rounds, ROUNDS, "rounds while one call of the other LP was held");
	c = new_child(0, child_halt);
	EXPECT(run_child(&c, 0)->type, MSG_HALT, "message");
	CHECK(begun == same && ended != same, "the call did not stay held");
	stop = true;
	ask(RELEASE);
	join(OTHER);
	EXPECT(ended, same, "calls");
}
