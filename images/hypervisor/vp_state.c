/* SPDX-License-Identifier: GPL-2.0-or-later */
/* State images of a VP (GET/SET_VP_STATE) and the register page shared with the VMM. */
#include "abi.h"
#include "hv.h"

#define XSAVE_XCOMP_BV 1		/* second word of the XSAVE header */

/* A component that the header leaves out is in its initial state: write that out, so that single registers can be set. */
static void fpu_complete(u8 *f, u64 present)
{
	if (!(present & XCR0_X87)) {
		memset(f, 0, XSAVE_MXCSR);
		memset(f + XSAVE_ST0, 0, XSAVE_XMM0 - XSAVE_ST0);
		*(u16 *)(f + XSAVE_FCW) = FCW_DEFAULT;
	}
	if (!(present & XCR0_SSE))
		memset(f + XSAVE_XMM0, 0, XSAVE_XMM_SIZE);
}

/* XRSTOR in the hypervisor must never fault on what the root supplied. */
void fpu_sanitise(struct vp *vp)
{
	u64 *header = (u64 *)(vp->fpu + XSAVE_HEADER);

	if (xcr0_max)			/* else the image is one of FXSAVE, without a header */
		fpu_complete(vp->fpu, header[0]);
	header[0] = (header[0] & xcr0_max) | XCR0_X87 | XCR0_SSE;
	memset(header + 1, 0, XSAVE_HEADER_SIZE - 8);
	*(u32 *)(vp->fpu + XSAVE_MXCSR) &= MXCSR_VALID;
}

/* A partition without Hyper-V has none: it reads 0 and keeps nothing. */
static u16 synic_page(u8 *ours, void *theirs, bool set)
{
	if (ours)
		memcpy(set ? (void *)ours : theirs, set ? theirs : (void *)ours, PAGE);
	else if (!set)
		memset(theirs, 0, PAGE);
	return ST_OK;
}

u16 vp_state(struct vp *vp, u32 type, const u64 *pfns, u32 n, bool set)
{
	void *page = n && !(pfns[0] >> (64 - PAGE_SHIFT)) ? root_ptr(pfns[0] * PAGE, PAGE) : NULL;

	if (type & VP_STATE_PFN && !page)
		return ST_INVALID_PARAMETER;
	switch (type) {
	case VP_STATE_LAPIC:
		lapic_state(vp, page, set);
		return ST_OK;
	case VP_STATE_XSAVE:	/* the root speaks the compacted format; x87, SSE and AVX lie at the same offsets */
		if (set) {
			memcpy(vp->fpu, page, XSAVE_USED);
			fpu_sanitise(vp);
		} else {
			memcpy(page, vp->fpu, XSAVE_USED);
			((u64 *)((u8 *)page + XSAVE_HEADER))[XSAVE_XCOMP_BV] = XSTATE_COMPACTED | xcr0_max;
		}
		return ST_OK;
	case VP_STATE_SIM: return synic_page(vp->synic.page[SYNIC_SIMP], page, set);
	case VP_STATE_SIEF: return synic_page(vp->synic.page[SYNIC_SIEFP], page, set);
	}
	return ST_INVALID_PARAMETER;
}

/* Before the root sees an intercept: fill the page. */
void registers_page_out(struct vp *vp)
{
	struct wire_register_page *r = vp->regs_page;
	struct vmcb *v = vp->vmcb;

	memcpy(r->gpr, &vp->g, sizeof vp->g);
	r->gpr[REG_RAX - REG_RAX] = v->rax;
	r->gpr[REG_RSP - REG_RAX] = v->rsp;
	r->rip = v->rip;
	r->rflags = v->rflags;
	memcpy(r->xmm, vp->fpu + XSAVE_XMM0, sizeof r->xmm);
	for (u32 i = 0; i < LENGTH(r->segment); i++)
		r->segment[i] = segment_to_wire(&v->es + i);
	r->cr0 = v->cr0;
	r->cr3 = v->cr3;
	r->cr4 = v->cr4;
	r->cr8 = v->vintr & VINTR_TPR_MASK;
	r->efer = v->efer & ~EFER_SVME;
	r->dr7 = v->dr7;
	r->xfem = vp->xcr0;
	r->interrupt_state = (v->shadow & SHADOW_INTERRUPT) | (vp->nmi_masked ? INTERRUPT_STATE_NMI_MASKED : 0);
	r->dirty = 0;
	r->valid = 1;
}

/* What the VMM marked dirty takes effect. */
static void take_dirty(struct vp *vp)
{
	struct wire_register_page *r = vp->regs_page;
	struct vmcb *v = vp->vmcb;
	u32 dirty = r->dirty;		/* the VMM can still write to the page: each field is read once */

	if (dirty & CLASS_GENERAL) {
		memcpy(&vp->g, r->gpr, sizeof vp->g);
		v->rax = vp->g.rax;
		v->rsp = vp->g.rsp;
	}
	if (dirty & CLASS_IP)
		v->rip = r->rip;
	if (dirty & CLASS_XMM)
		memcpy(vp->fpu + XSAVE_XMM0, r->xmm, sizeof r->xmm);
	if (dirty & CLASS_SEGMENT) {
		for (u32 i = 0; i < LENGTH(r->segment); i++)
			*(&v->es + i) = segment_from_wire(&r->segment[i]);
		vp_cpl_from_ss(vp);
	}
	if (dirty & CLASS_FLAGS)
		v->rflags = r->rflags | RFLAGS_FIXED;
	r->dirty = 0;
}

/*
 * A VMM may write to the page and make register calls as well: what it does last counts. So before a call the page's
 * changes take effect, and after one that sets registers the page shows them.
 */
void registers_page_sync(struct vp *vp)
{
	overlay_state_in(vp);
	if (vp->regs_page->valid)
		take_dirty(vp);
}

void registers_page_refresh(struct vp *vp)
{
	if (vp->regs_page->valid)
		registers_page_out(vp);
	overlay_state_out(vp);
}

/* Before the VP runs again. */
void registers_page_in(struct vp *vp)
{
	registers_page_sync(vp);
	vp->regs_page->valid = 0;
}
