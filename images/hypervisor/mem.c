/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hypervisor-private pages, pages shared with the root, checked access to root memory. See pages.c for who owns what. */
#include "hv.h"

#define HEAP_RESERVE (64 * PAGE)	/* kept from pages_try_alloc: stacks and save areas of LPs that start later */

static u64 heap_used, shared_used;

void *pages_alloc(u64 n)
{
	u8 *p = heap_start + heap_used;

	heap_used += n * PAGE;
	if (heap_start + heap_used > heap_end)
		panic("hypervisor heap exhausted");
	return memset(p, 0, n * PAGE);
}

void *page_alloc(void) { return pages_alloc(1); }

/* NULL instead of a panic when the heap runs low. */
void *pages_try_alloc(u64 n)
{
	u64 left = heap_end - heap_start - heap_used;

	return left < HEAP_RESERVE || (left - HEAP_RESERVE) / PAGE < n ? NULL : pages_alloc(n);
}

void *shared_alloc(void)
{
	u8 *p = shared_start + shared_used;

	shared_used += PAGE;
	if (shared_start + shared_used > shared_end)
		panic("shared pages exhausted");
	return memset(p, 0, PAGE);
}

/* Does [pfn, pfn + pages) touch memory that the root must not reach? Only the page for starting LPs is not counted. */
bool spa_is_hidden(u64 pfn, u64 pages)
{
	return pfn < (u64)hv_end / PAGE && pfn + pages > (u64)shared_end / PAGE;
}

/* Does it touch anything of the stand-in, also what the root sees? No child may ever reach that. */
bool spa_is_ours(u64 pfn, u64 pages)
{
	u64 start = AP_TRAMPOLINE / PAGE;

	return (pfn < (u64)hv_end / PAGE && pfn + pages > (u64)hv_start / PAGE) || (pfn <= start && pfn + pages > start);
}

void *root_ptr(u64 gpa, u64 len)
{
	if (!len || PAGE_BASE(gpa) != PAGE_BASE(gpa + len - 1))
		return NULL;
	return page_is_roots(gpa / PAGE) ? (void *)gpa : NULL;
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

		if (!page_is_roots(table / PAGE))
			return NULL;
		entry = ((u64 *)table)[gva >> shift & (PTES - 1)];
		if (!(entry & PTE_P))
			return NULL;
		if (level == 1 || (entry & PTE_PS && level < 4)) {
			u64 gpa = (entry & PTE_ADDR & ~mask) | (gva & mask);
			return page_is_roots(gpa / PAGE) ? (const void *)gpa : NULL;
		}
		table = entry & PTE_ADDR;
	}
	return NULL;
}
