/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The root's nested table: identity, without the hypervisor's own memory and the pages that the root gave away. Large
 * pages are split when the first page inside is given away and stay split; tables come from the heap.
 */
#include "apic_regs.h"
#include "hv.h"

#define SMALL_GIB 4ul			/* mapped with 2 MiB pages from the start, so that a hole can be left */
#define GIB_SHIFT 30
#define LARGE_SHIFT 21
#define TERA_HALF_SHIFT 39		/* what one entry of the top level covers */
#define TOPS_MAX 16ul			/* 8 TiB */
#define RW (PTE_P | PTE_W | PTE_U)
#define ICR_NMI 0x400u

static u64 *top;
static u64 generation;			/* grows with each entry that allows less than before */

static u64 *directory_of_gib(u64 base)
{
	u64 *pd = page_alloc();

	for (u64 m = 0; m < PTES; m++) {
		u64 a = base | m << LARGE_SHIFT;
		if (!spa_is_hidden(a / PAGE, LARGE_PAGES))
			pd[m] = a | RW | PTE_PS;
	}
	return pd;
}

u64 root_npt(u32 width)
{
	u64 tops = width > TERA_HALF_SHIFT ? 1ul << (width - TERA_HALF_SHIFT) : 1;

	top = page_alloc();
	for (u64 t = 0; t < tops && t < TOPS_MAX; t++) {
		u64 *pdpt = page_alloc();
		top[t] = (u64)pdpt | RW;
		for (u64 g = 0; g < PTES; g++) {
			u64 a = t << TERA_HALF_SHIFT | g << GIB_SHIFT;
			pdpt[g] = t || g >= SMALL_GIB ? a | RW | PTE_PS : (u64)directory_of_gib(a) | RW;
		}
	}
	root_npt_set(AP_TRAMPOLINE / PAGE, 0);
	return (u64)top;
}

/* A leaf becomes a table of leaves one level down that map the same. */
static bool split(u64 *e, u64 step)
{
	u64 *n = pages_try_alloc(1), old = *e;
	u64 flags = step == PAGE ? old & ~(PTE_PS | PTE_ADDR) : old & ~PTE_ADDR;

	if (!n)
		return false;
	for (u64 i = 0; i < PTES; i++)
		n[i] = ((old & PTE_ADDR) + i * step) | flags;
	__atomic_store_n(e, (u64)n | RW, __ATOMIC_RELEASE);
	return true;
}

static u64 *leaf(u64 pfn, bool small)
{
	u64 a = pfn * PAGE, *e = &top[a >> TERA_HALF_SHIFT & (PTES - 1)];

	for (u32 shift = GIB_SHIFT; *e & PTE_P; shift -= 9) {
		e = (u64 *)(*e & PTE_ADDR) + (a >> shift & (PTES - 1));
		if (shift == PAGE_SHIFT)
			return e;
		if (*e & PTE_PS && !small)
			return e;
		if (*e & PTE_PS && !split(e, 1ul << (shift - 9)))
			return NULL;
	}
	return e;
}

/* What the root may do to a page now. */
u32 root_npt_access(u64 pfn)
{
	u64 *e = pfn * PAGE >> (TERA_HALF_SHIFT + 9) ? NULL : leaf(pfn, false);

	return !e || !(*e & PTE_P) ? 0 : NPT_R | (*e & PTE_W ? NPT_W : 0) | (*e & PTE_NX ? 0 : NPT_X);
}

/* Change what the root may do to one page of its RAM. False if there is no page for a table. */
bool root_npt_set(u64 pfn, u32 access)
{
	u64 *e = leaf(pfn, true), new = pfn * PAGE | PTE_P | PTE_U | (access & NPT_W ? PTE_W : 0) |
					(access & NPT_X ? 0 : PTE_NX);

	if (!e)
		return false;
	__atomic_store_n(e, access & NPT_R ? new : 0, __ATOMIC_RELEASE);
	__atomic_add_fetch(&generation, 1, __ATOMIC_SEQ_CST);
	return true;
}

/*
 * ---- old translations ----
 * An LP says that it is about to run the root before it looks at the generation; root_shootdown() changes the generation
 * before it looks who runs the root. So either the LP flushes on this entry, or it gets an NMI, whose exit flushes. The
 * root's interrupts are not intercepted, its NMIs are: nothing else forces an LP out.
 */
void root_enter(struct lp *lp)
{
	u64 now;

	__atomic_store_n(&lp->in_root, 1, __ATOMIC_SEQ_CST);
	now = __atomic_load_n(&generation, __ATOMIC_SEQ_CST);
	if (lp->generation != now)
		lp->vmcb->tlb_ctl = TLB_FLUSH_ALL;
	__atomic_store_n(&lp->generation, now, __ATOMIC_SEQ_CST);
}

void root_leave(struct lp *lp) { __atomic_store_n(&lp->in_root, 0, __ATOMIC_SEQ_CST); }

static bool stale(const struct lp *lp)
{
	return __atomic_load_n(&lp->in_root, __ATOMIC_SEQ_CST) &&
	       __atomic_load_n(&lp->generation, __ATOMIC_SEQ_CST) != generation;
}

/* Wait until no LP uses what the root's table allowed before. Called with hv_lock: one at a time. */
void root_shootdown(void)
{
	for (u32 i = 0; i < nlps; i++)
		if (stale(&lps[i])) {
			__atomic_store_n(&lps[i].nmi_asked, 1, __ATOMIC_SEQ_CST);
			apic_write_icr(lps[i].apic_id, ICR_ASSERT | ICR_NMI);
		}
	for (u32 i = 0; i < nlps; i++)
		while (stale(&lps[i]))
			relax();
}

/* An NMI arrived while the root ran: ours is done with by the exit, the root's own is handed on. */
void root_nmi(struct lp *lp)
{
	u32 asked;

	lock(&hv_lock);		/* root_shootdown() says that it asks, then asks: not between the two */
	take_nmi();
	asked = __atomic_exchange_n(&lp->nmi_asked, 0, __ATOMIC_SEQ_CST);
	unlock(&hv_lock);
	if (asked)
		return;
	if (lp->vmcb->eventinj & EVENT_VALID)	/* another event is to be delivered again first */
		apic_write_icr(lp->apic_id, ICR_ASSERT | ICR_NMI);
	else
		lp->vmcb->eventinj = EXC_NMI | EVENT_TYPE_NMI << EVENT_TYPE_SHIFT | EVENT_VALID;
}
