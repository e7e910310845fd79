/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Two LPs: what one does to partitions whose VPs run on the other. */
#include "tiny.h"

#define OTHER 1
#define TARGET_GFN 0x10ul
#define TARGET (TARGET_GFN * PAGE)
#define REG_RBX (REG_RAX + 3)
#define ROUNDS 20
#define OLD_WORD 0x01d01d01u
#define NEW_WORD 0x4e34e34eu
enum { COUNT, COPY };			/* words of the data page that child_spin writes */

/* ---- work for the other LP ---- */
struct runner {
	struct child child;
	volatile bool stop;
	volatile u32 dispatches, interrupted;
	volatile u16 status;
	struct message *volatile message;
};

/* Dispatch VP 0 until it sends a message, is refused, or we are told to stop. */
static void keep_running(void *p)
{
	struct runner *r = p;
	struct out_dispatch out;

	while (!r->stop && !r->message && !r->status) {
		r->status = dispatch_once(r->child.id, 0, 0, &out);
		r->dispatches++;
		r->interrupted += !r->status && out.event == DISPATCH_EVENT_NONE;
		if (!r->status && out.event == DISPATCH_EVENT_INTERCEPT)
			r->message = r->child.message;
		interrupts_on();
		interrupts_off();
		relax();
	}
}

static struct runner runner;

static volatile u32 *word(u32 n) { return data_of(&runner.child, n); }

/* A child that reads TARGET and counts, running on the other LP. */
static void start_spinning(u64 pfn)
{
	u32 seen;

	memset(&runner, 0, sizeof runner);
	runner.child = new_child(0, child_spin);
	EXPECT(map_page(runner.child.id, TARGET_GFN, MAP_RW, pfn), ST_OK, "map the target");
	EXPECT(set_register(runner.child.id, 0, REG_RBX, TARGET), ST_OK, "set rbx");
	on_lp(OTHER, keep_running, &runner);
	seen = *word(COUNT);
	WAIT(*word(COUNT) > seen + 2, "the child to run");
}

static void stop_spinning(void)
{
	runner.stop = true;
	send_ipi(OTHER, VECTOR_IGNORE);
	join(OTHER);
}

/* ---- cases ---- */
static void read_index(void *p) { *(u64 *)p = rdmsr(SMSR_VP_INDEX); }

CASE("two", index, "each LP has its own VP index")
{
	u64 other = ~0ul;

	on_lp(OTHER, read_index, &other);
	join(OTHER);
	EXPECT(rdmsr(SMSR_VP_INDEX), 0, "index on LP 0");
	EXPECT(other, OTHER, "index on LP 1");
}

static void take_interrupts(void *stop)
{
	while (!*(volatile bool *)stop) {
		interrupts_on();
		interrupts_off();
		relax();
	}
}

CASE("two", ipi, "an interrupt sent through the ICR MSR arrives at the other LP, once")
{
	u64 before = interrupts[OTHER][VECTOR_TEST], mine = interrupts[0][VECTOR_TEST];
	volatile bool stop = false;

	on_lp(OTHER, take_interrupts, (void *)&stop);
	for (u32 i = 1; i <= ROUNDS; i++) {
		send_ipi(OTHER, VECTOR_TEST);
		WAIT(interrupts[OTHER][VECTOR_TEST] == before + i, "the interrupt");
	}
	stop = true;
	join(OTHER);
	interrupts_on();
	interrupts_off();
	EXPECT(interrupts[OTHER][VECTOR_TEST], before + ROUNDS, "interrupts on LP 1");
	EXPECT(interrupts[0][VECTOR_TEST], mine, "interrupts on LP 0");
}

CASE("two", send_ipi_call, "SEND_IPI reaches the LPs of its mask and no other")
{
	u64 before = interrupts[OTHER][VECTOR_TEST], mine = interrupts[0][VECTOR_TEST];
	struct in_send_ipi *in = call_in();
	volatile bool stop = false;

	on_lp(OTHER, take_interrupts, (void *)&stop);
	in->vector = VECTOR_TEST;
	in->cpus = BIT(OTHER);
	EXPECT(call(HC_SEND_IPI), ST_OK, "SEND_IPI");
	WAIT(interrupts[OTHER][VECTOR_TEST] == before + 1, "the interrupt");
	in->cpus = BIT(0);
	EXPECT(call(HC_SEND_IPI), ST_OK, "SEND_IPI to ourselves");
	interrupts_on();
	WAIT(interrupts[0][VECTOR_TEST] == mine + 1, "our own interrupt");
	interrupts_off();
	stop = true;
	join(OTHER);
	EXPECT(interrupts[OTHER][VECTOR_TEST], before + 1, "interrupts on LP 1");
}

CASE("two", unmap_running, "a page unmapped while the child runs cannot be read once the call returned")
{
	for (u32 i = 0; i < ROUNDS; i++) {
		u32 after;

		start_spinning(page_take());
		EXPECT(unmap_pages(runner.child.id, TARGET_GFN, 0, 1, 0).status, ST_OK, "UNMAP_GPA_PAGES");
		after = *word(COUNT);
		WAIT(runner.message, "the intercept");
		join(OTHER);
		/* it may have read before and counted after the call, once */
		CHECK(*word(COUNT) <= after + 1, "the child went on reading the page that was unmapped");
		EXPECT(runner.message->type, MSG_UNMAPPED_GPA, "message");
		EXPECT(((struct wire_memory_message *)runner.message->payload)->gpa, TARGET, "address");
		tear_down_all();
	}
}

CASE("two", protect_running, "a page that loses its access while the child runs cannot be read any more")
{
	u64 page = page_take();
	u32 after;

	start_spinning(page);
	EXPECT(map_page(runner.child.id, TARGET_GFN, MAP_NO_ACCESS, page), ST_OK, "map without access");
	after = *word(COUNT);
	WAIT(runner.message, "the intercept");
	join(OTHER);
	CHECK(*word(COUNT) <= after + 1, "the child went on reading the page");
	EXPECT(runner.message->type, MSG_GPA_INTERCEPT, "message");
}

CASE("two", remap_running, "a page that is remapped while the child runs shows the new page at once")
{
	u64 old = page_take(), new = page_take();

	*(u32 *)page_at(old) = OLD_WORD;
	*(u32 *)page_at(new) = NEW_WORD;
	start_spinning(old);
	EXPECT(*word(COPY), OLD_WORD, "what the child reads first");
	for (u32 i = 0; i < ROUNDS; i++) {
		u32 want = i & 1 ? OLD_WORD : NEW_WORD, seen;

		EXPECT(map_page(runner.child.id, TARGET_GFN, MAP_RW, i & 1 ? old : new), ST_OK, "remap");
		seen = *word(COUNT);
		WAIT(*word(COUNT) > seen + 1, "the child to run on");
		EXPECT(*word(COPY), want, "what the child reads after the remap");
	}
	stop_spinning();
}

CASE("two", dirty_running, "clearing the dirty bit of a page that a running child writes to sets it again")
{
	struct in_access_states *in;

	start_spinning(page_take());
	for (u32 i = 0; i < ROUNDS; i++) {
		u32 seen;

		in = call_in();
		in->partition = runner.child.id;
		in->gfn = DATA_GFN;
		in->flags = ACCESS_CLEAR_DIRTY;
		EXPECT(call_reps(HC_GET_GPA_PAGES_ACCESS_STATES, 1, 0).status, ST_OK, "clear dirty");
		CHECK(*(u8 *)call_out() & ACCESS_DIRTY, "the page that the child writes to was not dirty");
		seen = *word(COUNT);
		WAIT(*word(COUNT) > seen + 1, "the child to write");
	}
	stop_spinning();
}

CASE("two", interrupt_ends, "an interrupt of the root ends DISPATCH_VP and is taken")
{
	u64 before;
	u32 seen;

	start_spinning(page_take());
	before = interrupts[OTHER][VECTOR_TEST];
	seen = runner.interrupted;
	send_ipi(OTHER, VECTOR_TEST);
	WAIT(interrupts[OTHER][VECTOR_TEST] == before + 1, "the interrupt");
	CHECK(runner.interrupted > seen, "DISPATCH_VP did not return for it");
	stop_spinning();
}

CASE("two", dispatch_twice, "a VP that runs on one LP cannot be dispatched on another")
{
	struct out_dispatch out;

	start_spinning(page_take());
	EXPECT(dispatch_once(runner.child.id, 0, 0, &out), ST_INVALID_VP_STATE, "second DISPATCH_VP");
	stop_spinning();
	EXPECT(runner.status, ST_OK, "first DISPATCH_VP");
}

/* Refused, or done so that nothing runs on: both are in order, a VP that goes on without memory is not. */
CASE("two", delete_running, "deleting a VP that runs is refused, or stops it")
{
	u16 st;

	start_spinning(page_take());
	st = delete_vp(runner.child.id, 0);
	if (st == ST_OK) {
		u32 seen = *word(COUNT);

		WAIT(runner.status, "the other LP to hear of it");
		EXPECT(*word(COUNT), seen, "turns of the child after it was deleted");
	}
	stop_spinning();
	EXPECT(with_partition(HC_FINALIZE_PARTITION, runner.child.id), ST_OK, "FINALIZE_PARTITION");
	EXPECT(withdraw_all(runner.child.id), POOL, "pages withdrawn");
}

CASE("two", finalise_running, "a partition whose VP runs is not finalised under it")
{
	u16 st;

	start_spinning(page_take());
	st = with_partition(HC_FINALIZE_PARTITION, runner.child.id);
	if (st == ST_OK) {
		u32 seen = *word(COUNT);

		WAIT(runner.status, "the other LP to hear of it");
		EXPECT(*word(COUNT), seen, "turns of the child after its partition was finalised");
	}
	stop_spinning();
	if (st)
		EXPECT(with_partition(HC_FINALIZE_PARTITION, runner.child.id), ST_OK, "FINALIZE_PARTITION");
	EXPECT(withdraw_all(runner.child.id), POOL, "pages withdrawn");
}
