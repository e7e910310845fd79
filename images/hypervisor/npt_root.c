/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The root's nested table: identity, without the hypervisor's own memory. */
#include "hv.h"

#define SMALL_GIB 4ul			/* mapped with 2 MiB pages, so that a hole can be left */
#define GIB_SHIFT 30
#define LARGE_SHIFT 21
#define RW (PTE_P | PTE_W | PTE_U)

u64 root_npt(void)
{
	u64 *pml4 = page_alloc(), *pdpt = page_alloc();

	pml4[0] = (u64)pdpt | RW;
	for (u64 g = 0; g < PTES; g++) {
		if (g >= SMALL_GIB) {
			pdpt[g] = g << GIB_SHIFT | RW | PTE_PS;
			continue;
		}
		u64 *pd = page_alloc();
		pdpt[g] = (u64)pd | RW;
		for (u64 m = 0; m < PTES; m++) {
			u64 a = g << GIB_SHIFT | m << LARGE_SHIFT;
			if (!spa_is_private(a / PAGE, LARGE_PAGES))
				pd[m] = a | RW | PTE_PS;
		}
	}
	return (u64)pml4;
}
