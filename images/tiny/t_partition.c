/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Life of a partition and its deposited memory. */
#include "tiny.h"

#define NO_SUCH 0x7777ul
#define ROOT 1ul
#define OURS_PFN 0x10300ul
#define APIC_PFN 0xfee00ul
#define ALL_PARTITIONS 15

CASE("one", own_id, "the root's id is told and SELF means it")
{
	struct out_partition *out = call_out();
	struct in_get_property *in;
	u64 by_id;

	call_in();
	EXPECT(call(HC_GET_PARTITION_ID), ST_OK, "GET_PARTITION_ID");
	EXPECT(out->partition, ROOT, "id");
	in = call_in();
	in->partition = ROOT;
	in->code = PROP_PHYSICAL_ADDRESS_WIDTH;
	EXPECT(call(HC_GET_PARTITION_PROPERTY), ST_OK, "property by id");
	by_id = out->partition;
	in->partition = PARTITION_SELF;
	EXPECT(call(HC_GET_PARTITION_PROPERTY), ST_OK, "property of SELF");
	EXPECT(out->partition, by_id, "the same property");
}

CASE("one", life, "a partition is created, initialised, finalised, deleted, in this order only")
{
	u64 id, page = page_take();

	EXPECT(create_partition(0, &id), ST_OK, "CREATE_PARTITION");
	EXPECT(map_page(id, 0, MAP_RW, page), ST_INVALID_PARTITION_STATE, "map before initialise");
	EXPECT(create_vp(id, 0), ST_INVALID_PARTITION_STATE, "CREATE_VP before initialise");
	EXPECT(with_partition(HC_FINALIZE_PARTITION, id), ST_INVALID_PARTITION_STATE, "finalise before initialise");
	EXPECT(with_partition(HC_INITIALIZE_PARTITION, id), ST_INSUFFICIENT_MEMORY, "initialise without memory");
	EXPECT(deposit(id, 8).status, ST_OK, "DEPOSIT_MEMORY");
	EXPECT(with_partition(HC_INITIALIZE_PARTITION, id), ST_OK, "initialise");
	EXPECT(with_partition(HC_INITIALIZE_PARTITION, id), ST_INVALID_PARTITION_STATE, "initialise twice");
	EXPECT(with_partition(HC_DELETE_PARTITION, id), ST_INVALID_PARTITION_STATE, "delete before finalise");
	EXPECT(with_partition(HC_FINALIZE_PARTITION, id), ST_OK, "finalise");
	EXPECT(with_partition(HC_FINALIZE_PARTITION, id), ST_INVALID_PARTITION_STATE, "finalise twice");
	EXPECT(with_partition(HC_INITIALIZE_PARTITION, id), ST_INVALID_PARTITION_STATE, "initialise after finalise");
	EXPECT(map_page(id, 0, MAP_RW, page), ST_INVALID_PARTITION_STATE, "map after finalise");
	EXPECT(create_vp(id, 0), ST_INVALID_PARTITION_STATE, "CREATE_VP after finalise");
	EXPECT(withdraw_all(id), 8, "pages withdrawn");
	EXPECT(with_partition(HC_DELETE_PARTITION, id), ST_OK, "delete");
	forget(id);
	EXPECT(with_partition(HC_DELETE_PARTITION, id), ST_INVALID_PARTITION_ID, "delete twice");
	EXPECT(with_partition(HC_INITIALIZE_PARTITION, id), ST_INVALID_PARTITION_ID, "initialise after delete");
}

CASE("one", new_ids, "a deleted partition's id is not used again")
{
	u64 first = new_partition(0), second;

	tear_down(first);
	second = new_partition(0);
	CHECK(second != first, "the new partition has the id of the old one");
}

CASE("one", unknown_id, "every call about a partition refuses an unknown id")
{
	struct out_dispatch out;
	struct wire_value v;
	u64 page = page_take();

	EXPECT(with_partition(HC_INITIALIZE_PARTITION, NO_SUCH), ST_INVALID_PARTITION_ID, "INITIALIZE_PARTITION");
	EXPECT(with_partition(HC_FINALIZE_PARTITION, NO_SUCH), ST_INVALID_PARTITION_ID, "FINALIZE_PARTITION");
	EXPECT(with_partition(HC_DELETE_PARTITION, NO_SUCH), ST_INVALID_PARTITION_ID, "DELETE_PARTITION");
	EXPECT(deposit(NO_SUCH, 1).status, ST_INVALID_PARTITION_ID, "DEPOSIT_MEMORY");
	((struct in_partition *)call_in())->partition = NO_SUCH;
	EXPECT(call_reps(HC_WITHDRAW_MEMORY, 1, 0).status, ST_INVALID_PARTITION_ID, "WITHDRAW_MEMORY");
	EXPECT(map_page(NO_SUCH, 0, MAP_RW, page), ST_INVALID_PARTITION_ID, "MAP_GPA_PAGES");
	EXPECT(unmap_pages(NO_SUCH, 0, 0, 1, 0).status, ST_INVALID_PARTITION_ID, "UNMAP_GPA_PAGES");
	EXPECT(create_vp(NO_SUCH, 0), ST_INVALID_PARTITION_ID, "CREATE_VP");
	EXPECT(delete_vp(NO_SUCH, 0), ST_INVALID_PARTITION_ID, "DELETE_VP");
	EXPECT(set_register(NO_SUCH, 0, REG_RAX, 0), ST_INVALID_PARTITION_ID, "SET_VP_REGISTERS");
	EXPECT(get_register(NO_SUCH, 0, REG_RAX, &v), ST_INVALID_PARTITION_ID, "GET_VP_REGISTERS");
	EXPECT(dispatch_once(NO_SUCH, 0, 0, &out), ST_INVALID_PARTITION_ID, "DISPATCH_VP");
	EXPECT(install_intercept(NO_SUCH, INTERCEPT_CPUID, 4, 0), ST_INVALID_PARTITION_ID, "INSTALL_INTERCEPT");
}

CASE("one", root_stays, "the root partition cannot be finalised, deleted or mapped into")
{
	CHECK(with_partition(HC_FINALIZE_PARTITION, ROOT) != ST_OK, "FINALIZE_PARTITION of the root succeeded");
	CHECK(with_partition(HC_DELETE_PARTITION, ROOT) != ST_OK, "DELETE_PARTITION of the root succeeded");
	CHECK(with_partition(HC_INITIALIZE_PARTITION, ROOT) != ST_OK, "INITIALIZE_PARTITION of the root succeeded");
	CHECK(map_page(ROOT, 0, MAP_RW, page_take()) != ST_OK, "MAP_GPA_PAGES into the root succeeded");
	CHECK(delete_vp(ROOT, 0) != ST_OK, "DELETE_VP of the root succeeded");
}

CASE("one", many, "partitions run out, and a deleted one makes room")
{
	u64 id, last = 0;
	u32 n = 0;

	while (n <= ALL_PARTITIONS && !create_partition(0, &id))
		last = id, n++;
	EXPECT(n, ALL_PARTITIONS, "partitions at a time");
	tear_down(last);
	EXPECT(create_partition(0, &id), ST_OK, "CREATE_PARTITION after a delete");
}

CASE("one", balance, "every deposited page comes back, after it was used for anything")
{
	u64 id = new_partition(0), page = page_take();

	for (u32 vp = 0; vp < 4; vp++)
		EXPECT(create_vp(id, vp), ST_OK, "CREATE_VP");
	for (u64 i = 0; i < 16; i++)
		EXPECT(map_page(id, i << 18, MAP_RW, page), ST_OK, "map far apart");
	EXPECT(delete_vp(id, 2), ST_OK, "DELETE_VP");
	EXPECT(with_partition(HC_FINALIZE_PARTITION, id), ST_OK, "FINALIZE_PARTITION");
	EXPECT(withdraw_all(id), POOL, "pages withdrawn");
}

CASE("one", withdraw_in_use, "pages in use cannot be withdrawn")
{
	u64 id = created_partition(0, 6), before;

	EXPECT(with_partition(HC_INITIALIZE_PARTITION, id), ST_OK, "INITIALIZE_PARTITION");
	EXPECT(create_vp(id, 0), ST_OK, "CREATE_VP");
	before = withdraw_all(id);
	CHECK(before < 6, "all pages came out of a partition that needs some");
	((struct in_partition *)call_in())->partition = id;
	EXPECT(call_reps(HC_WITHDRAW_MEMORY, 1, 0).status, ST_NO_RESOURCES, "withdraw from an empty pool");
	EXPECT(map_page(id, 0, MAP_RW, page_take()), ST_INSUFFICIENT_MEMORY, "map without memory for tables");
	EXPECT(create_vp(id, 1), ST_INSUFFICIENT_MEMORY, "CREATE_VP without memory");
}

CASE("one", withdrawn_zero, "withdrawn pages tell nothing")
{
	u64 id = new_partition(0);
	struct in_partition *in;
	struct out_withdraw *out = call_out();
	struct result r;

	EXPECT(create_vp(id, 0), ST_OK, "CREATE_VP");
	EXPECT(set_register(id, 0, REG_RAX, 0x5ec5ec5ec), ST_OK, "set rax");
	EXPECT(with_partition(HC_FINALIZE_PARTITION, id), ST_OK, "FINALIZE_PARTITION");
	in = call_in();
	in->partition = id;
	r = call_reps(HC_WITHDRAW_MEMORY, POOL, 0);
	EXPECT(r.done, POOL, "pages withdrawn");
	for (u32 i = 0; i < r.done; i++) {
		page_withdrawn(out->pfn[i], id);
		for (u32 w = 0; w < PAGE / 8; w++)
			EXPECT(((u64 *)page_at(out->pfn[i]))[w], 0, "word of a withdrawn page");
	}
}

CASE("one", bad_deposit, "only RAM of the root can be deposited; what came before the bad page counts")
{
	static const u64 bad[] = { OURS_PFN, APIC_PFN, 0x7000000ul, ~0ul, 1ul << 52 };

	for (u32 i = 0; i < LENGTH(bad); i++) {
		u64 id = created_partition(0, 1), page[2] = { page_take(), page_take() };
		struct in_deposit *in = call_in();
		struct result r;

		in->partition = id;
		in->pfn[0] = page[0];
		in->pfn[1] = bad[i];
		in->pfn[2] = page[1];
		r = call_reps(HC_DEPOSIT_MEMORY, 3, 0);
		for (u32 n = 0; n < r.done && n < 2; n++)
			page_deposited(page[n], id);
		CHECK(r.status != ST_OK, "a page that is not the root's RAM was taken");
		EXPECT(r.done, 1, "repetitions done");
		EXPECT(withdraw_all(id), 2, "pages in the partition");
	}
}

CASE("one", rep_start, "repetitions before the start are not done")
{
	u64 id = created_partition(0, 1), page[4];
	struct in_deposit *in;
	struct result r;

	for (u32 i = 0; i < 4; i++)
		page[i] = page_take();
	in = call_in();
	in->partition = id;
	memcpy(in->pfn, page, sizeof page);
	r = call_reps(HC_DEPOSIT_MEMORY, 4, 2);
	EXPECT(r.status, ST_OK, "status");
	EXPECT(r.done, 4, "repetitions done, with those before the start");
	page_deposited(page[2], id);
	page_deposited(page[3], id);
	EXPECT(withdraw_all(id), 3, "pages in the partition");
}
