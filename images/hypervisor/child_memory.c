/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Reading a child's memory: page walk gva -> gpa through the second-level map, instruction bytes. */
#include "hv.h"

#define ADDR32 0xfffff000ul
#define ADDR_PAE 0xffffffe0ul
#define INDEX32 1023
#define LARGE32_SHIFT 22
#define LARGE32_ADDR 0xffc00000ul

static bool read(struct vp *vp, u64 gpa, void *buf, u32 n)
{
	u64 pfn;
	u32 access;

	if (!npt_lookup(vp->pt, gpa / PAGE, &pfn, &access) || !(access & NPT_R) || !spa_is_root_ram(pfn))
		return false;
	memcpy(buf, (void *)(pfn * PAGE + PAGE_OFFSET(gpa)), n);
	return true;
}

static bool walk32(struct vp *vp, u64 gva, u64 *gpa)
{
	struct vmcb *v = vp->vmcb;
	u32 e;

	if (!read(vp, (v->cr3 & ADDR32) + (gva >> LARGE32_SHIFT & INDEX32) * 4, &e, 4) || !(e & PTE_P))
		return false;
	if (e & PTE_PS && v->cr4 & CR4_PSE) {
		*gpa = (e & LARGE32_ADDR) | (gva & ~LARGE32_ADDR);
		return true;
	}
	if (!read(vp, (e & ADDR32) + (gva >> PAGE_SHIFT & INDEX32) * 4, &e, 4) || !(e & PTE_P))
		return false;
	*gpa = (e & ADDR32) | PAGE_OFFSET(gva);
	return true;
}

static bool walk64(struct vp *vp, u64 gva, bool lma, u64 *gpa)
{
	u64 table = vp->vmcb->cr3 & (lma ? PTE_ADDR : ADDR_PAE), e;

	for (int level = lma ? 4 : 3; level; level--) {
		u32 shift = PAGE_SHIFT + 9 * (level - 1);
		u64 index = gva >> shift & (level == 3 && !lma ? 3 : PTES - 1);

		if (!read(vp, table + index * 8, &e, 8) || !(e & PTE_P))
			return false;
		if (level == 1 || (e & PTE_PS && level < 4)) {
			u64 mask = (1ul << shift) - 1;
			*gpa = (e & PTE_ADDR & ~mask) | (gva & mask);
			return true;
		}
		table = e & PTE_ADDR;
	}
	return false;
}

bool gva_to_gpa(struct vp *vp, u64 gva, u64 *gpa)
{
	struct vmcb *v = vp->vmcb;
	bool lma = v->efer & EFER_LMA;

	*gpa = gva;
	if (!(v->cr0 & CR0_PG))
		return true;
	return lma || v->cr4 & CR4_PAE ? walk64(vp, gva, lma, gpa) : walk32(vp, gva & 0xffffffff, gpa);
}

/* Instruction bytes at rip; how many could be read. */
u32 child_fetch(struct vp *vp, u8 *bytes)
{
	struct vmcb *v = vp->vmcb;
	u64 linear = v->rip + v->cs.base, gpa;
	u32 n = 0;

	if (!(v->efer & EFER_LMA && v->cs.attributes & SEG_LONG))
		linear &= 0xffffffff;
	while (n < INSTRUCTION_BYTES && gva_to_gpa(vp, linear + n, &gpa)) {
		u32 chunk = PAGE - PAGE_OFFSET(gpa);

		chunk = chunk < INSTRUCTION_BYTES - n ? chunk : INSTRUCTION_BYTES - n;
		if (!read(vp, gpa, bytes + n, chunk))
			break;
		n += chunk;
	}
	return n;
}
