/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mapping, unmapping and looking at guest frames; a child tells what it sees. */
#include "tiny.h"

#define GFN 0x10ul
#define LARGE_GFN 0x400ul
#define OURS_PFN 0x10300ul
#define OURS_LARGE_PFN 0x10200ul
#define GFN_END (1ul << 36)
#define REG_RBX (REG_RAX + 3)
#define LARGE_PFN (LARGE_START / PAGE)
#define MARK(n) (0xabcd0000u + (n))

/* What the child reads at gpa: true and the word, or false and the message in c->message. */
static bool child_reads(const struct child *c, u64 gpa, u32 *word)
{
	u32 flags = c->message->type ? DISPATCH_CLEAR_INTERCEPT : 0;

	EXPECT(set_register(c->id, 0, REG_RBX, gpa), ST_OK, "set rbx");
	EXPECT(set_register(c->id, 0, REG_RIP, CODE_GFN * PAGE), ST_OK, "set rip");
	run_child(c, flags);
	*word = *data_of(c, 0);
	return c->message->type == MSG_HALT;
}

static u32 read_ok(const struct child *c, u64 gpa)
{
	u32 word;

	if (!child_reads(c, gpa, &word))
		FAIL("the child cannot read %#lx: message %#x", gpa, c->message->type);
	return word;
}

static void read_fails(const struct child *c, u64 gpa, u32 type)
{
	struct wire_memory_message *m = (void *)c->message->payload;
	u32 word;

	if (child_reads(c, gpa, &word))
		FAIL("the child reads %#x at %#lx, which must fail", word, gpa);
	EXPECT(c->message->type, type, "message");
	EXPECT(m->gpa, gpa, "address in the message");
	EXPECT(m->header.access, INTERCEPT_READ, "access in the message");
}

static u64 marked_page(u32 n)
{
	u64 page = page_take();

	*(u32 *)page_at(page) = MARK(n);
	return page;
}

CASE("one", map_unmap, "a mapped page is read, an unmapped one is an unmapped-GPA intercept")
{
	struct child c = new_child(0, child_read);

	read_fails(&c, GFN * PAGE, MSG_UNMAPPED_GPA);
	EXPECT(map_page(c.id, GFN, MAP_RW, marked_page(1)), ST_OK, "MAP_GPA_PAGES");
	EXPECT(read_ok(&c, GFN * PAGE), MARK(1), "word");
	EXPECT(unmap_pages(c.id, GFN, 0, 1, 0).status, ST_OK, "UNMAP_GPA_PAGES");
	read_fails(&c, GFN * PAGE, MSG_UNMAPPED_GPA);
	EXPECT(unmap_pages(c.id, GFN, 0, 1, 0).status, ST_OK, "unmap what is not mapped");
}

CASE("one", remap, "mapping a mapped frame succeeds and the child sees the new page")
{
	struct child c = new_child(0, child_read);

	for (u32 i = 0; i < 4; i++) {
		EXPECT(map_page(c.id, GFN, MAP_RW, marked_page(i)), ST_OK, "MAP_GPA_PAGES");
		EXPECT(read_ok(&c, GFN * PAGE), MARK(i), "word");
	}
}

CASE("one", reps, "repetitions map consecutive frames to the pages listed, from the start on")
{
	struct child c = new_child(0, child_read);
	u64 page[4];
	struct result r;

	for (u32 i = 0; i < 4; i++)
		page[i] = marked_page(i);
	r = map_pages(c.id, GFN, MAP_RW, page, 4, 1);
	EXPECT(r.status, ST_OK, "MAP_GPA_PAGES");
	EXPECT(r.done, 4, "repetitions done");
	read_fails(&c, GFN * PAGE, MSG_UNMAPPED_GPA);
	for (u32 i = 1; i < 4; i++)
		EXPECT(read_ok(&c, (GFN + i) * PAGE), MARK(i), "word");
	read_fails(&c, (GFN + 4) * PAGE, MSG_UNMAPPED_GPA);
	r = unmap_pages(c.id, GFN, 0, 4, 2);
	EXPECT(r.status, ST_OK, "UNMAP_GPA_PAGES");
	EXPECT(r.done, 4, "repetitions done");
	EXPECT(read_ok(&c, (GFN + 1) * PAGE), MARK(1), "word before the start");
	read_fails(&c, (GFN + 2) * PAGE, MSG_UNMAPPED_GPA);
	read_fails(&c, (GFN + 3) * PAGE, MSG_UNMAPPED_GPA);
}

CASE("one", own_memory, "the hypervisor's memory cannot be mapped; what came before it is")
{
	struct child c = new_child(0, child_read);
	u64 page[3] = { marked_page(0), OURS_PFN, marked_page(2) };
	struct result r = map_pages(c.id, GFN, MAP_RW, page, 3, 0);

	EXPECT(r.status, ST_ACCESS_DENIED, "status");
	EXPECT(r.done, 1, "repetitions done");
	EXPECT(read_ok(&c, GFN * PAGE), MARK(0), "word");
	read_fails(&c, (GFN + 1) * PAGE, MSG_UNMAPPED_GPA);
	read_fails(&c, (GFN + 2) * PAGE, MSG_UNMAPPED_GPA);
	EXPECT(map_page(c.id, LARGE_GFN, MAP_RW | MAP_LARGE_PAGE, OURS_LARGE_PFN), ST_ACCESS_DENIED, "large page");
	read_fails(&c, LARGE_GFN * PAGE, MSG_UNMAPPED_GPA);
}

CASE("one", access, "a page is used as it was mapped, read-only or without access")
{
	struct child c = new_child(0, child_write);
	struct wire_memory_message *m = (void *)c.message->payload;
	u64 page = marked_page(0);

	EXPECT(map_page(c.id, GFN, MAP_READABLE, page), ST_OK, "map read-only");
	EXPECT(set_register(c.id, 0, REG_RBX, GFN * PAGE), ST_OK, "set rbx");
	EXPECT(set_register(c.id, 0, REG_RAX, MARK(9)), ST_OK, "set rax");
	EXPECT(run_child(&c, 0)->type, MSG_GPA_INTERCEPT, "message of a write to a read-only page");
	EXPECT(m->header.access, INTERCEPT_WRITE, "access");
	EXPECT(*(u32 *)page_at(page), MARK(0), "the page");
	EXPECT(map_page(c.id, GFN, MAP_RW, page), ST_OK, "map writable");
	EXPECT(run_child(&c, DISPATCH_CLEAR_INTERCEPT)->type, MSG_HALT, "message after the write");
	EXPECT(*(u32 *)page_at(page), MARK(9), "the page");
	EXPECT(map_page(c.id, GFN, MAP_NO_ACCESS, page), ST_OK, "map without access");
	EXPECT(run_child(&c, DISPATCH_CLEAR_INTERCEPT)->type, MSG_GPA_INTERCEPT, "message of a page without access");
}

CASE("one", execute, "code is not fetched from a page that is not executable")
{
	struct child c = new_child(0, child_exec);
	struct wire_memory_message *m = (void *)c.message->payload;
	u64 page = page_take();

	memcpy(page_at(page), child_halt, 64);
	EXPECT(map_page(c.id, GFN, MAP_RW, page), ST_OK, "map without execute");
	EXPECT(set_register(c.id, 0, REG_RBX, GFN * PAGE), ST_OK, "set rbx");
	EXPECT(run_child(&c, 0)->type, MSG_GPA_INTERCEPT, "message");
	EXPECT(m->header.access, INTERCEPT_EXECUTE, "access");
	EXPECT(m->gpa, GFN * PAGE, "address");
	EXPECT(map_page(c.id, GFN, MAP_RWX, page), ST_OK, "map with execute");
	EXPECT(run_child(&c, DISPATCH_CLEAR_INTERCEPT)->type, MSG_HALT, "message");
}

/* Mark the first word of every page of the large frame. */
static void mark_large(void)
{
	for (u32 i = 0; i < LARGE_PAGES; i++)
		*(u32 *)page_at(LARGE_PFN + i) = MARK(i);
}

CASE("one", large, "a large page maps 512 frames and is unmapped whole")
{
	struct child c = new_child(0, child_read);
	static const u32 probe[] = { 0, 1, 255, 256, 511 };

	mark_large();
	EXPECT(map_page(c.id, LARGE_GFN, MAP_RW | MAP_LARGE_PAGE, LARGE_PFN), ST_OK, "map large");
	for (u32 i = 0; i < LENGTH(probe); i++)
		EXPECT(read_ok(&c, (LARGE_GFN + probe[i]) * PAGE), MARK(probe[i]), "word");
	read_fails(&c, (LARGE_GFN + LARGE_PAGES) * PAGE, MSG_UNMAPPED_GPA);
	EXPECT(unmap_pages(c.id, LARGE_GFN, UNMAP_LARGE_PAGE, 1, 0).status, ST_OK, "unmap large");
	for (u32 i = 0; i < LENGTH(probe); i++)
		read_fails(&c, (LARGE_GFN + probe[i]) * PAGE, MSG_UNMAPPED_GPA);
}

CASE("one", hole, "a hole in a large page leaves the rest, a large unmap leaves nothing")
{
	struct child c = new_child(0, child_read);

	mark_large();
	EXPECT(map_page(c.id, LARGE_GFN, MAP_RW | MAP_LARGE_PAGE, LARGE_PFN), ST_OK, "map large");
	EXPECT(unmap_pages(c.id, LARGE_GFN + 7, 0, 1, 0).status, ST_OK, "unmap one");
	read_fails(&c, (LARGE_GFN + 7) * PAGE, MSG_UNMAPPED_GPA);
	EXPECT(read_ok(&c, (LARGE_GFN + 6) * PAGE), MARK(6), "word before the hole");
	EXPECT(read_ok(&c, (LARGE_GFN + 8) * PAGE), MARK(8), "word behind the hole");
	EXPECT(map_page(c.id, LARGE_GFN + 7, MAP_RW, marked_page(1000)), ST_OK, "map into the hole");
	EXPECT(read_ok(&c, (LARGE_GFN + 7) * PAGE), MARK(1000), "word in the hole");
	EXPECT(unmap_pages(c.id, LARGE_GFN, UNMAP_LARGE_PAGE, 1, 0).status, ST_OK, "unmap large");
	for (u32 i = 0; i < LARGE_PAGES; i += 73)
		read_fails(&c, (LARGE_GFN + i) * PAGE, MSG_UNMAPPED_GPA);
	read_fails(&c, (LARGE_GFN + 7) * PAGE, MSG_UNMAPPED_GPA);
}

CASE("one", bad_range, "misaligned large pages and frames beyond the address width are refused")
{
	struct child c = new_child(0, child_read);
	u64 page[2] = { marked_page(0), marked_page(1) };
	struct result r;

	EXPECT(map_page(c.id, LARGE_GFN + 1, MAP_RW | MAP_LARGE_PAGE, LARGE_PFN), ST_INVALID_PARAMETER, "odd GFN");
	EXPECT(map_page(c.id, LARGE_GFN, MAP_RW | MAP_LARGE_PAGE, LARGE_PFN + 1), ST_INVALID_PARAMETER, "odd SPA");
	EXPECT(unmap_pages(c.id, LARGE_GFN + 1, UNMAP_LARGE_PAGE, 1, 0).status, ST_INVALID_PARAMETER, "odd unmap");
	r = map_pages(c.id, GFN_END - 1, MAP_RW, page, 2, 0);
	EXPECT(r.status, ST_INVALID_PARAMETER, "beyond the width");
	EXPECT(r.done, 1, "repetitions done before that");
	CHECK(map_page(c.id, ~0ul, MAP_RW, page[0]) != ST_OK, "the last frame of all was mapped");
	r = map_pages(c.id, ~0ul, MAP_RW, page, 2, 0);
	CHECK(r.status != ST_OK && !r.done, "a range that wraps was mapped");
	CHECK(unmap_pages(c.id, ~0ul, 0, 2, 0).status != ST_OK, "a range that wraps was unmapped");
	CHECK(map_page(c.id, GFN, MAP_RW, 1ul << 52) != ST_OK, "a page beyond all memory was mapped");
	CHECK(map_page(c.id, LARGE_GFN, MAP_RW | MAP_LARGE_PAGE, ~0ul & ~(LARGE_PAGES - 1)) != ST_OK,
	      "the last large page of all was mapped");
}

static u8 states(u64 id, u64 gfn, u64 flags)
{
	struct in_access_states *in = call_in();

	in->partition = id;
	in->gfn = gfn;
	in->flags = flags;
	EXPECT(call_reps(HC_GET_GPA_PAGES_ACCESS_STATES, 1, 0).status, ST_OK, "GET_GPA_PAGES_ACCESS_STATES");
	return *(u8 *)call_out();
}

CASE("one", access_states, "access states tell what the child did, and are set and cleared")
{
	struct child c = new_child(0, child_read);

	EXPECT(map_page(c.id, GFN, MAP_RW, marked_page(0)), ST_OK, "MAP_GPA_PAGES");
	EXPECT(states(c.id, GFN, 0), 0, "before any access");
	read_ok(&c, GFN * PAGE);
	EXPECT(states(c.id, GFN, 0), ACCESS_ACCESSED, "after a read");
	EXPECT(states(c.id, DATA_GFN, 0), ACCESS_ACCESSED | ACCESS_DIRTY, "the page that the child wrote");
	EXPECT(states(c.id, DATA_GFN, ACCESS_CLEAR_DIRTY), ACCESS_ACCESSED | ACCESS_DIRTY, "before it is cleared");
	EXPECT(states(c.id, DATA_GFN, 0), ACCESS_ACCESSED, "dirty cleared");
	EXPECT(states(c.id, DATA_GFN, ACCESS_CLEAR_ACCESSED), ACCESS_ACCESSED, "before accessed is cleared");
	EXPECT(states(c.id, DATA_GFN, 0), 0, "both cleared");
	read_ok(&c, GFN * PAGE);
	EXPECT(states(c.id, DATA_GFN, 0), ACCESS_ACCESSED | ACCESS_DIRTY, "written again");
	EXPECT(states(c.id, GFN, ACCESS_SET_DIRTY), ACCESS_ACCESSED, "before dirty is set");
	EXPECT(states(c.id, GFN, 0), ACCESS_ACCESSED | ACCESS_DIRTY, "dirty set");
	EXPECT(states(c.id, GFN + 1, 0), 0, "a frame that is not mapped");
}

CASE("one", pool_empty, "without memory for a table mapping stops there and tells how far it came")
{
	u64 id = created_partition(0, 4), page[4];
	struct result r;

	for (u32 i = 0; i < 4; i++)
		page[i] = page_take();
	EXPECT(with_partition(HC_INITIALIZE_PARTITION, id), ST_OK, "INITIALIZE_PARTITION");
	/* the root of the tables and one page for each level below it */
	r = map_pages(id, LARGE_PAGES - 2, MAP_RW, page, 4, 0);
	EXPECT(r.status, ST_INSUFFICIENT_MEMORY, "status");
	EXPECT(r.done, 2, "repetitions done");
	EXPECT(deposit(id, 1).status, ST_OK, "DEPOSIT_MEMORY");
	r = map_pages(id, LARGE_PAGES - 2, MAP_RW, page, 4, r.done);
	EXPECT(r.status, ST_OK, "status of the rest");
	EXPECT(r.done, 4, "repetitions done");
}
