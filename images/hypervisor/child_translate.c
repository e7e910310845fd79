/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A child's own page tables: guest virtual to guest physical with the permissions of each level, and back for a fault. */
#include "abi.h"
#include "hv.h"

#define ADDR32 0xfffff000ul
#define ADDR_PAE 0xffffffe0ul
#define INDEX32 1023
#define LARGE32_SHIFT 22
#define LARGE32_ADDR 0xffc00000ul
#define PDPTE_LEVEL 3
#define PTE_RESERVED_LARGE 0x1fe000ul	/* address bits below 2 MiB except PAT */
#define USER 3				/* CPL */

/* rights: PTE_W and PTE_U that all levels grant, PTE_NX that one sets; met: the walk came to the entry "watch" */
struct walk { u64 gpa, rights, watch; u32 result; bool met; };

static bool read(struct vp *vp, u64 gpa, void *buf, u32 n)
{
	u64 pfn;
	u32 access;

	if (!npt_lookup(vp->pt, gpa / PAGE, &pfn, &access) || !(access & NPT_R) || !spa_is_root_ram(pfn))
		return false;
	memcpy(buf, (void *)(pfn * PAGE + PAGE_OFFSET(gpa)), n);
	return true;
}

static bool entry(struct vp *vp, struct walk *w, u64 gpa, void *e, u32 size)
{
	w->met |= gpa == w->watch;
	if (!read(vp, gpa, e, size)) {
		w->result = TRANSLATE_GPA_UNMAPPED;
		return false;
	}
	if (!(*(const u8 *)e & PTE_P)) {
		w->result = TRANSLATE_NOT_PRESENT;
		return false;
	}
	return true;
}

static void walk32(struct vp *vp, u64 gva, struct walk *w)
{
	struct vmcb *v = vp->vmcb;
	u32 e;

	if (!entry(vp, w, (v->cr3 & ADDR32) + (gva >> LARGE32_SHIFT & INDEX32) * 4, &e, 4))
		return;
	w->rights &= e;
	if (e & PTE_PS && v->cr4 & CR4_PSE) {
		w->gpa = (e & LARGE32_ADDR) | (gva & ~LARGE32_ADDR);
		return;
	}
	if (!entry(vp, w, (e & ADDR32) + (gva >> PAGE_SHIFT & INDEX32) * 4, &e, 4))
		return;
	w->rights &= e;
	w->gpa = (e & ADDR32) | PAGE_OFFSET(gva);
}

static void walk64(struct vp *vp, u64 gva, bool lma, struct walk *w)
{
	struct vmcb *v = vp->vmcb;
	int top = lma ? (v->cr4 & CR4_LA57 ? 5 : 4) : PDPTE_LEVEL;
	u64 table = v->cr3 & (lma ? PTE_ADDR : ADDR_PAE), e, nx = 0;

	for (int level = top; level; level--) {
		u32 shift = PAGE_SHIFT + 9 * (level - 1);
		u64 index = gva >> shift & (level == PDPTE_LEVEL && !lma ? 3 : PTES - 1), mask = (1ul << shift) - 1;
		bool leaf;

		if (!entry(vp, w, table + index * 8, &e, 8))
			return;
		leaf = level == 1 || (e & PTE_PS && level < 4 && (lma || level < PDPTE_LEVEL));
		if ((e & PTE_NX && !(v->efer & EFER_NXE)) || (e & PTE_PS && level >= 4) ||
		    (leaf && level == 2 && e & PTE_RESERVED_LARGE)) {
			w->result = TRANSLATE_INVALID_PAGE_TABLE;
			return;
		}
		if (lma || level < PDPTE_LEVEL)	/* PAE's top level has no rights */
			w->rights &= e | ~(PTE_W | PTE_U);
		nx |= e & PTE_NX;
		if (leaf) {
			w->gpa = (e & PTE_ADDR & ~mask) | (gva & mask);
			w->rights |= nx;
			return;
		}
		table = e & PTE_ADDR;
	}
}

/* May the VP, at the privilege that the flags ask for, do this to a page with these rights? */
static bool allowed(const struct vmcb *v, u64 rights, u32 flags)
{
	bool user = flags & TRANSLATE_USER || (!(flags & TRANSLATE_SUPERVISOR) && v->cpl == USER);

	if (flags & TRANSLATE_PRIVILEGE_EXEMPT)
		user = false;
	if (user && !(rights & PTE_U))
		return false;
	if (flags & TRANSLATE_WRITE && !(rights & PTE_W) && (user || v->cr0 & CR0_WP))
		return false;
	if (flags & TRANSLATE_EXECUTE && (rights & PTE_NX || (!user && rights & PTE_U && v->cr4 & CR4_SMEP)))
		return false;
	if (flags & (TRANSLATE_READ | TRANSLATE_WRITE) && !user && rights & PTE_U && v->cr4 & CR4_SMAP &&
	    !(v->rflags & RFLAGS_AC) && !(flags & TRANSLATE_PRIVILEGE_EXEMPT))
		return false;
	return true;
}

/* And what the second-level map has to say. */
static u32 second_level(struct vp *vp, u64 gpa, u32 flags)
{
	u64 pfn;
	u32 access;

	if (!npt_lookup(vp->pt, gpa / PAGE, &pfn, &access))
		return TRANSLATE_GPA_UNMAPPED;
	if (!(access & NPT_R))
		return TRANSLATE_GPA_NO_READ;
	return flags & TRANSLATE_WRITE && !(access & NPT_W) ? TRANSLATE_GPA_NO_WRITE : TRANSLATE_SUCCESS;
}

static struct walk walk(struct vp *vp, u64 gva, u64 watch)
{
	struct vmcb *v = vp->vmcb;
	bool lma = v->efer & EFER_LMA;
	struct walk w = { .gpa = gva, .rights = PTE_W | PTE_U, .watch = watch };

	if (lma || v->cr4 & CR4_PAE)
		walk64(vp, gva, lma, &w);
	else
		walk32(vp, gva & 0xffffffff, &w);
	return w;
}

u32 child_translate(struct vp *vp, u64 gva, u32 flags, u64 *gpa)
{
	struct walk w = { .gpa = gva };

	if (vp->vmcb->cr0 & CR0_PG) {
		w = walk(vp, gva, NEVER);
		if (!w.result && !allowed(vp->vmcb, w.rights, flags))
			w.result = TRANSLATE_PRIVILEGE;
	}
	*gpa = w.result ? 0 : w.gpa;
	if (!w.result && flags & TRANSLATE_VALIDATE)
		w.result = second_level(vp, w.gpa, flags);
	return w.result;
}

/* Does the way to this address lead over that entry of a table, readable or not? */
static bool walk_meets(struct vp *vp, u64 gva, u64 entry) { return vp->vmcb->cr0 & CR0_PG && walk(vp, gva, entry).met; }

bool gva_to_gpa(struct vp *vp, u64 gva, u64 *gpa) { return child_translate(vp, gva, 0, gpa) == TRANSLATE_SUCCESS; }

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

/* ---- the other way: whose fault was it? SVM does not say which virtual address an access had. ---- */
#define LONGEST_ACCESS 64		/* bytes before the end of a page from which one may reach into the next */

/* Do the child's tables lead from the address to that fault: as what it stands for, or as an entry on the way? */
static bool leads(struct vp *vp, u64 gva, u64 gpa, bool on_the_way)
{
	u64 to;

	return on_the_way ? walk_meets(vp, gva, gpa) : gva_to_gpa(vp, gva, &to) && to == gpa;
}

/* An access near the end of a page may have failed in the next. */
static bool leads_from(struct vp *vp, u64 gva, u64 gpa, bool on_the_way, u64 *found)
{
	*found = gva;
	if (leads(vp, gva, gpa, on_the_way))
		return true;
	*found = PAGE_BASE(gva) + PAGE;
	return PAGE_OFFSET(gva) + LONGEST_ACCESS > PAGE && leads(vp, *found, gpa, on_the_way);
}

/* The virtual address of the access that ended with this nested page fault: the instruction's own, or its operand's. */
bool child_fault_gva(struct vp *vp, u64 *gva)
{
	const struct vmcb *v = vp->vmcb;
	u64 gpa = v->info2, rip = v->rip + v->cs.base, operand;
	bool on_the_way = v->info1 & NPF_WALK, code64 = v->efer & EFER_LMA && v->cs.attributes & SEG_LONG;
	u8 bytes[INSTRUCTION_BYTES];

	if (v->intinfo & EVENT_VALID)		/* the processor delivered something: no instruction asked for it */
		return false;
	if ((on_the_way || v->info1 & NPF_FETCH) && leads_from(vp, code64 ? rip : rip & 0xffffffff, gpa, on_the_way, gva))
		return true;
	return !(v->info1 & NPF_FETCH) && instruction_address(vp, bytes, child_fetch(vp, bytes), &operand) &&
	       leads_from(vp, operand, gpa, on_the_way, gva);
}
