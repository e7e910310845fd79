/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Pages that the root gives away: it loses them at once and on every LP, sees some for a while, and gets them back. */
#include "tiny.h"

#define OTHER 1
#define ROUNDS 20
#define OURS_START 0x10200000ul
#define TRAMPOLINE_OF_LPS 0x8000ul
#define MARK 0x5ec2e7u

static void read_word(void *page) { (void)*(volatile u64 *)page; }
static void write_word(void *page) { *(volatile u64 *)page = MARK; }
static int reading(u64 pfn) { return caught(read_word, page_at(pfn)); }
static int writing(u64 pfn) { return caught(write_word, page_at(pfn)); }

static u64 empty_partition(void)
{
	u64 id;

	EXPECT(create_partition(0, &id), ST_OK, "CREATE_PARTITION");
	return id;
}

static u16 give(u64 partition, u64 pfn)
{
	struct in_deposit *in = call_in();
	u16 st;

	in->partition = partition;
	in->pfn[0] = pfn;
	st = call_reps(HC_DEPOSIT_MEMORY, 1, 0).status;
	if (!st)
		page_deposited(pfn, partition);
	return st;
}

static struct result host_access(u16 code, u32 flags, u32 access, u64 partition, u64 pfn)
{
	struct in_host_access *in = call_in();

	*in = (struct in_host_access){ .access = access, .flags = flags, .partition = partition };
	in->pfn[0] = pfn;
	return call_reps(code, 1, 0);
}

CASE("one", given_away, "a page that was given away faults for reads and writes, and comes back zeroed")
{
	u64 id = empty_partition(), page = page_take();

	EXPECT(writing(page), NO_FAULT, "write before");
	EXPECT(give(id, page), ST_OK, "DEPOSIT_MEMORY");
	EXPECT(reading(page), EXC_GP, "read of a page that was given away");
	EXPECT(writing(page), EXC_GP, "write to a page that was given away");
	EXPECT(reading(page + 1), NO_FAULT, "read of the page after it");
	EXPECT(give(id, page), ST_OPERATION_DENIED, "give it away again");
	EXPECT(withdraw_all(id), 1, "pages withdrawn");
	EXPECT(reading(page), NO_FAULT, "read of a page that came back");
	EXPECT(*(u64 *)page_at(page), 0, "word in a page that came back");
}

CASE("one", own_memory, "the stand-in's own memory faults, and so does the page that starts LPs")
{
	EXPECT(caught(read_word, (void *)OURS_START), EXC_GP, "read of the heap");
	EXPECT(caught(write_word, (void *)OURS_START), EXC_GP, "write to the heap");
	EXPECT(caught(read_word, (void *)TRAMPOLINE_OF_LPS), EXC_GP, "read of the start-up code");
}

CASE("one", calls_in_lost_pages, "a call whose input or output page was given away is refused")
{
	u64 id = empty_partition(), page = page_take(), control = HC_INITIALIZE_PARTITION;

	EXPECT(give(id, page), ST_OK, "DEPOSIT_MEMORY");
	EXPECT(raw_call(control, page * PAGE, 0).status, ST_INVALID_ALIGNMENT, "input");
	EXPECT(raw_call(HC_GET_PARTITION_ID, 0, page * PAGE).status, ST_INVALID_ALIGNMENT, "output");
	EXPECT(withdraw_all(id), 1, "pages withdrawn");
}

CASE("one", shared_page, "a page that a child reaches cannot be given away; unmapped, it can")
{
	u64 id = new_partition(0), page = page_take();

	EXPECT(map_page(id, 16, MAP_RW, page), ST_OK, "MAP_GPA_PAGES");
	EXPECT(give(id, page), ST_OPERATION_DENIED, "give away what is mapped");
	EXPECT(unmap_pages(id, 16, 0, 1, 0).status, ST_OK, "UNMAP_GPA_PAGES");
	EXPECT(give(id, page), ST_OK, "give away what is not mapped");
	EXPECT(map_page(id, 16, MAP_RW, page), ST_ACCESS_DENIED, "map what was given away");
}

static struct result state_page(u16 code, u64 id, u16 type)
{
	struct in_map_state_page *in = call_in();	/* UNMAP_VP_STATE_PAGE begins alike */

	in->partition = id;
	in->type = type;
	return (struct result){ .status = call(code) };
}

CASE("one", state_pages_seen, "state pages are seen while they are mapped, and fault before and after")
{
	u64 id = new_partition(0), page[2];

	EXPECT(create_vp(id, 0), ST_OK, "CREATE_VP");
	for (u16 type = STATE_PAGE_REGISTERS; type <= STATE_PAGE_MESSAGE; type++) {
		EXPECT(state_page(HC_UNMAP_VP_STATE_PAGE, id, type).status, ST_INVALID_PARAMETER, "unmap first");
		EXPECT(state_page(HC_MAP_VP_STATE_PAGE, id, type).status, ST_OK, "MAP_VP_STATE_PAGE");
		page[type] = ((struct out_map_page *)call_out())->pfn;
		EXPECT(reading(page[type]), NO_FAULT, "read of a mapped state page");
	}
	CHECK(page[0] != page[1], "one page for both");
	EXPECT(state_page(HC_UNMAP_VP_STATE_PAGE, id, STATE_PAGE_MESSAGE).status, ST_OK, "UNMAP_VP_STATE_PAGE");
	EXPECT(reading(page[1]), EXC_GP, "read of an unmapped state page");
	EXPECT(writing(page[0]), NO_FAULT, "write to the page that is still mapped");
	EXPECT(with_partition(HC_FINALIZE_PARTITION, id), ST_OK, "FINALIZE_PARTITION");
	EXPECT(reading(page[0]), EXC_GP, "read of a state page of a finalized partition");
}

CASE("one", released, "released pages fault, or can only be read, until access is acquired")
{
	u64 id = new_partition(0), page = page_take();

	EXPECT(host_access(HC_RELEASE_SPARSE_SPA_PAGE_HOST_ACCESS, 0, MAP_READABLE, 0, page).status, ST_OK, "keep reading");
	EXPECT(reading(page), NO_FAULT, "read of a read-only page");
	EXPECT(writing(page), EXC_GP, "write to a read-only page");
	EXPECT(host_access(HC_RELEASE_SPARSE_SPA_PAGE_HOST_ACCESS, HOST_MAKE_EXCLUSIVE, 0, id, page).status, ST_OK, "release");
	EXPECT(reading(page), EXC_GP, "read of a released page");
	EXPECT(map_page(id, 16, MAP_RW, page), ST_OK, "map it into its partition");
	EXPECT(host_access(HC_ACQUIRE_SPARSE_SPA_PAGE_HOST_ACCESS, HOST_MAKE_SHARED, MAP_RW, 0, page).status, ST_OK, "acquire");
	EXPECT(writing(page), NO_FAULT, "write to an acquired page");
}

/* ---- the other LP has the old translation in its TLB and does not exit by itself ---- */
struct reader { void *page; volatile u64 reads; volatile int vector; };

static void read_on(void *p)
{
	struct reader *r = p;

	for (;;) {
		(void)*(volatile u64 *)r->page;
		r->reads++;
	}
}

static void keep_reading(void *p)
{
	struct reader *r = p;

	r->vector = caught(read_on, r);
}

CASE("two", other_lp_loses_it, "a page given away faults on an LP that reads it all the time")
{
	static struct reader r;

	for (u32 i = 0; i < ROUNDS; i++) {
		u64 id = empty_partition(), page = page_take(), after;

		r = (struct reader){ .page = page_at(page), .vector = NO_FAULT };
		on_lp(OTHER, keep_reading, &r);
		WAIT(r.reads > 100, "the other LP to read");
		EXPECT(give(id, page), ST_OK, "DEPOSIT_MEMORY");
		after = r.reads;
		join(OTHER);
		EXPECT(r.vector, EXC_GP, "what ended the reading");
		CHECK(r.reads <= after + 1, "the other LP went on reading a page that was given away");
		EXPECT(withdraw_all(id), 1, "pages withdrawn");
		EXPECT(with_partition(HC_DELETE_PARTITION, id), ST_OK, "DELETE_PARTITION");
		forget(id);
	}
}

static void halt_once(void *p)
{
	*(volatile bool *)p = true;
	asm volatile("sti; hlt; cli" ::: "memory");
}

CASE("two", halted_lp, "a page is given away while another LP is halted")
{
	u64 id = empty_partition(), page = page_take();
	volatile bool there = false;

	on_lp(OTHER, halt_once, (void *)&there);
	WAIT(there, "the other LP to halt");
	EXPECT(give(id, page), ST_OK, "DEPOSIT_MEMORY");
	EXPECT(reading(page), EXC_GP, "read of a page that was given away");
	send_ipi(OTHER, VECTOR_IGNORE);
	join(OTHER);
	EXPECT(withdraw_all(id), 1, "pages withdrawn");
}
