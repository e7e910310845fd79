/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hypervisor-private pages, pages shared with the root, checked access to root memory. */
#include "hv.h"

#define MAX_RAM 32

static u64 heap_used, shared_used;
static struct { u64 base, end; } ram[MAX_RAM];
static u32 nram;

void *pages_alloc(u32 n)
{
	u8 *p = heap_start + heap_used;

	heap_used += n * PAGE;
	if (heap_start + heap_used > heap_end)
		panic("hypervisor heap exhausted");
	return memset(p, 0, n * PAGE);
}

void *page_alloc(void) { return pages_alloc(1); }

void *shared_alloc(void)
{
	u8 *p = shared_start + shared_used;

	shared_used += PAGE;
	if (shared_start + shared_used > shared_end)
		panic("shared pages exhausted");
	return memset(p, 0, PAGE);
}

void mem_note_ram(u64 base, u64 len)
{
	if (nram < MAX_RAM)
		ram[nram].base = base, ram[nram++].end = base + len;
}

bool spa_is_root_ram(u64 pfn)
{
	u64 a = pfn * PAGE;

	if (pfn >> (64 - PAGE_SHIFT))
		return false;
	for (u32 i = 0; i < nram; i++)
		if (a >= ram[i].base && a < ram[i].end && ram[i].end - a >= PAGE)
			return true;
	return false;
}

/* Does [pfn, pfn + pages) touch memory that the root must not reach? */
bool spa_is_private(u64 pfn, u64 pages)
{
	return pfn < (u64)hv_end / PAGE && pfn + pages > (u64)shared_end / PAGE;
}

void *root_ptr(u64 gpa, u64 len)
{
	if (!len || PAGE_BASE(gpa) != PAGE_BASE(gpa + len - 1))
		return NULL;
	return spa_is_root_ram(gpa / PAGE) ? (void *)gpa : NULL;
}

/* Where a root virtual address (long mode) lies, NULL if not in RAM; GPA equals SPA in the root. */
const void *root_virtual(const struct vmcb *v, u64 gva)
{
	u64 table = v->cr3 & PTE_ADDR;

	if (!(v->efer & EFER_LMA))
		return NULL;
	for (int level = v->cr4 & CR4_LA57 ? 5 : 4; level; level--) {
		u32 shift = PAGE_SHIFT + 9 * (level - 1);
		u64 entry, mask = (1ul << shift) - 1;

		if (!spa_is_root_ram(table / PAGE))
			return NULL;
		entry = ((u64 *)table)[gva >> shift & (PTES - 1)];
		if (!(entry & PTE_P))
			return NULL;
		if (level == 1 || (entry & PTE_PS && level < 4)) {
			u64 gpa = (entry & PTE_ADDR & ~mask) | (gva & mask);
			return spa_is_root_ram(gpa / PAGE) ? (const void *)gpa : NULL;
		}
		table = entry & PTE_ADDR;
	}
	return NULL;
}
