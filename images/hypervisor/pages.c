/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Who has each page of the machine's RAM. A page is the root's, or was deposited into a partition's pool; it is never
 * both, and a deposited page is in one pool only. The root gives pages away and gets them back through this file, so
 * that its nested table and this map always agree. Called with hv_lock.
 */
#include "abi.h"
#include "hv.h"

#define MAX_RAM 32
#define MAPS_MAX ((1u << PAGE_MAPS_BITS) - 1)

static struct { u64 base, end; struct page *page; } ram[MAX_RAM];
static u32 nram, address_bits = 40;	/* of a physical address, unless the processor says otherwise */
static u64 exclusive;			/* root pages that are exclusive to a partition */

void mem_note_ram(u64 base, u64 len)
{
	if (nram < MAX_RAM)
		ram[nram].base = base, ram[nram++].end = base + len;
}

void pages_width(u32 bits) { address_bits = bits; }

/* Once all RAM is known: everything belongs to the root, nothing is mapped into a child. */
void pages_init(void)
{
	for (u32 i = 0; i < nram; i++) {
		u64 n = ram[i].end / PAGE - ram[i].base / PAGE;

		ram[i].page = pages_try_alloc((n * sizeof(struct page) + PAGE - 1) / PAGE);
		if (!ram[i].page)
			panic("no room for the page map: %lu MiB of RAM are too much for the heap in hv.ld",
			      (ram[i].end - ram[i].base) >> 20);
	}
}

static int range_of(u64 pfn)
{
	for (u32 i = 0; i < nram; i++)
		if (pfn >= (ram[i].base + PAGE - 1) / PAGE && pfn < ram[i].end / PAGE)
			return i;
	return -1;
}

struct page *page_of(u64 pfn)
{
	int i = range_of(pfn);

	return i < 0 || !ram[i].page ? NULL : &ram[i].page[pfn - ram[i].base / PAGE];
}

bool spa_is_root_ram(u64 pfn) { return range_of(pfn) >= 0; }

/* An address that the machine has: RAM, or something that the host bridge sends to a device. */
bool spa_exists(u64 pfn, u64 pages)
{
	u64 end = 1ul << (address_bits - PAGE_SHIFT);

	return pfn < end && pages <= end - pfn;
}

static bool roots_own(const struct page *p) { return p->state == PAGE_ROOT && !p->lost; }

/* May the hypervisor read and write this page on the root's behalf? */
bool page_is_roots(u64 pfn)
{
	const struct page *p = page_of(pfn);

	return p && roots_own(p);
}

/* ---- children's mappings ---- */
static u16 may_map(const struct page *p, const struct partition *pt)
{
	if (p->state != PAGE_ROOT)
		return ST_ACCESS_DENIED;
	if (p->owner ? p->owner != pt - parts : p->lost)
		return ST_ACCESS_DENIED;
	return p->maps == MAPS_MAX ? ST_NO_RESOURCES : ST_OK;
}

/* Count a mapping of [pfn, pfn + pages) into a child, or say why it must not be. What is no RAM is not counted. */
u16 pages_share(const struct partition *pt, u64 pfn, u64 pages)
{
	if (!spa_exists(pfn, pages))
		return ST_INVALID_PARAMETER;
	if (spa_is_ours(pfn, pages))
		return ST_ACCESS_DENIED;
	for (u64 i = 0; i < pages; i++) {
		struct page *p = page_of(pfn + i);
		u16 st = p ? may_map(p, pt) : ST_OK;

		if (st) {
			pages_unshare(pfn, i);
			return st;
		}
		if (p)
			p->maps++;
	}
	return ST_OK;
}

void pages_unshare(u64 pfn, u64 pages)
{
	for (u64 i = 0; i < pages; i++) {
		struct page *p = page_of(pfn + i);

		if (!p)
			continue;
		if (!p->maps)
			panic("page %#lx: a mapping too many was removed", pfn + i);
		p->maps--;
	}
}

/* ---- deposits: out of the root's table, and back ---- */
/* The caller shoots the root's old translations down before it uses the page. */
u16 page_take(u64 pfn, const struct partition *pt)
{
	struct page *p = page_of(pfn);

	if (!p || !roots_own(p) || p->owner || p->maps)
		return ST_OPERATION_DENIED;
	if (!root_npt_set(pfn, 0))
		return ST_INSUFFICIENT_ROOT_MEMORY;
	p->state = PAGE_USED;
	p->owner = pt - parts;
	return ST_OK;
}

void page_return(u64 pfn)
{
	struct page *p = page_of(pfn);

	p->state = PAGE_ROOT;
	p->owner = 0;
	root_npt_set(pfn, NPT_R | NPT_W | NPT_X);
}

/* A page of a pool goes into use, or becomes free; pages that are not RAM of the root are the stand-in's own. */
void page_state(u64 pfn, enum page_state state)
{
	struct page *p = page_of(pfn);

	if (!p)
		return;
	if (p->state == PAGE_ROOT || p->state == state || p->visible)
		panic("page %#lx: state %u, visible %u, cannot become %u", pfn, p->state, p->visible, state);
	p->state = state;
}

/* Let the root see a page in use (state pages, statistics pages). Its table was split when the page was taken. */
void page_show(u64 pfn)
{
	struct page *p = page_of(pfn);

	if (!p || p->visible)
		return;
	p->visible = true;
	root_npt_set(pfn, NPT_R | NPT_W);
}

bool page_visible(u64 pfn)
{
	const struct page *p = page_of(pfn);

	return p && p->visible;
}

/* True if the root saw the page until now: then a shootdown is due. */
bool page_hide(u64 pfn)
{
	struct page *p = page_of(pfn);

	if (!p || !p->visible)
		return false;
	p->visible = false;
	root_npt_set(pfn, 0);
	return true;
}

/* ---- host access: what the root itself may do to its pages ---- */
u16 page_host_access(u64 pfn, const struct host_access *a)
{
	struct page *p = page_of(pfn);
	u32 has, wants, owner;

	if (!p || p->state != PAGE_ROOT)
		return ST_OPERATION_DENIED;
	if (p->owner && !a->shared && p->owner != a->slot)
		return ST_OPERATION_DENIED;
	has = (NPT_R | NPT_W) & ~p->lost;
	wants = a->acquire ? has | a->access : has & a->access;
	owner = a->shared ? 0 : a->slot ? a->slot : p->owner;
	if (owner && wants & ~has)	/* exclusive: only sharing it gives access back */
		return ST_OPERATION_DENIED;
	if (wants != has && !root_npt_set(pfn, wants ? wants | NPT_X : 0))
		return ST_INSUFFICIENT_ROOT_MEMORY;
	p->lost = (NPT_R | NPT_W) & ~wants;
	exclusive += !!owner - !!p->owner;
	p->owner = owner;
	return ST_OK;
}

/* A partition goes: what was exclusively its own stays out of the root's reach until the root shares it. */
void pages_orphan(const struct partition *pt)
{
	for (u32 i = 0; exclusive && i < nram; i++)
		for (u64 n = 0; n < ram[i].end / PAGE - ram[i].base / PAGE; n++) {
			struct page *p = &ram[i].page[n];
			if (p->state == PAGE_ROOT && p->owner == pt - parts)
				p->owner = PAGE_ORPHAN;
		}
}
