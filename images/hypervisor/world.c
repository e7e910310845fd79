/* SPDX-License-Identifier: GPL-2.0-or-later */
/* World switch: FPU, XCR0, debug registers, and the state that VMLOAD and VMSAVE carry. */
#include "hv.h"

static void fpu_save(u8 *p)
{
	if (xcr0_max)
		asm volatile("xsave64 (%0)" :: "r"(p), "a"(-1), "d"(-1) : "memory");
	else
		asm volatile("fxsave64 (%0)" :: "r"(p) : "memory");
}

static void fpu_load(u8 *p)
{
	if (xcr0_max)
		asm volatile("xrstor64 (%0)" :: "r"(p), "a"(-1), "d"(-1) : "memory");
	else
		asm volatile("fxrstor64 (%0)" :: "r"(p) : "memory");
}

#define DR_SWAP(n, out, in) do { \
	asm volatile("mov %%dr" #n ",%0" : "=r"(out)); \
	asm volatile("mov %0,%%dr" #n :: "r"(in)); } while (0)

static void dr_swap(u64 out[4], const u64 in[4])
{
	DR_SWAP(0, out[0], in[0]);
	DR_SWAP(1, out[1], in[1]);
	DR_SWAP(2, out[2], in[2]);
	DR_SWAP(3, out[3], in[3]);
}

void world_to_child(struct lp *lp, struct vp *vp)
{
	asm volatile("vmsave %0" :: "a"(lp->vmcb) : "memory");
	if (xcr0_max) {
		lp->root_xcr0 = xgetbv0();
		xsetbv0(xcr0_max);
	}
	fpu_save(lp->fpu);
	fpu_load(vp->fpu);
	if (xcr0_max)
		xsetbv0(vp->xcr0);
	dr_swap(lp->root_dr, vp->dr);
	lp->root_tsc_aux = rdmsr(MSR_TSC_AUX);
	wrmsr(MSR_TSC_AUX, vp->tsc_aux);
	asm volatile("vmload %0" :: "a"(vp->vmcb) : "memory");
}

void world_to_root(struct lp *lp, struct vp *vp)
{
	asm volatile("vmsave %0" :: "a"(vp->vmcb) : "memory");
	if (xcr0_max) {
		vp->xcr0 = xgetbv0();	/* TCG does not honour the XSETBV intercept */
		xsetbv0(xcr0_max);
	}
	fpu_save(vp->fpu);
	fpu_load(lp->fpu);
	if (xcr0_max)
		xsetbv0(lp->root_xcr0);
	dr_swap(vp->dr, lp->root_dr);
	wrmsr(MSR_TSC_AUX, lp->root_tsc_aux);
	asm volatile("vmload %0" :: "a"(lp->vmcb) : "memory");
}
