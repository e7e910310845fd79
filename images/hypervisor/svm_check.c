/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * May VMRUN take this VMCB? The root sets a child's registers to what it likes. Under TCG a VMRUN that refuses a VMCB
 * writes the hypervisor's own registers into it, so what would be refused is not tried (APM volume 2, 15.5.1, and what
 * QEMU's helper looks at beyond that).
 */
#include "hv.h"

#define CR0_NW BIT(29)
#define CR0_CD BIT(30)
#define CR4_ALWAYS 0x7fful		/* VME to OSXMMEXCPT: every processor with long mode has these */
#define CR4_UMIP BIT(11)
#define CR4_FSGSBASE BIT(16)
#define CR4_PCIDE BIT(17)
#define CR4_SMEP BIT(20)
#define CR4_SMAP BIT(21)
#define CR4_PKE BIT(22)
#define EFER_VALID 0x5d01ul		/* SCE LME LMA NXE SVME FFXSR */
#define LEAF_FEATURES7 7
#define LEAF_ADDRESS_SIZE 0x80000008
#define CPUID_1_ECX_PCID BIT(17)
#define EVENT_TYPE_MASK 7u
#define EVENT_VECTOR_MASK 0xffu
#define EVENT_INTR 0
#define EVENT_NMI 2
#define EVENT_SOFTWARE 4
#define EXCEPTIONS 32u
#define VECTOR_NMI 2

static u64 cr4_valid, cr3_reserved;

void vmcb_check_init(void)
{
	u32 l1[4], l7[4], size[4];

	cpuid(1, 0, l1);
	cpuid(LEAF_FEATURES7, 0, l7);
	cpuid(LEAF_ADDRESS_SIZE, 0, size);
	cr4_valid = CR4_ALWAYS | (l7[2] & BIT(2) ? CR4_UMIP : 0) | (l7[1] & BIT(0) ? CR4_FSGSBASE : 0) |
		    (l1[2] & CPUID_1_ECX_PCID ? CR4_PCIDE : 0) | (l1[2] & CPUID_1_ECX_XSAVE ? CR4_OSXSAVE : 0) |
		    (l7[1] & BIT(7) ? CR4_SMEP : 0) | (l7[1] & BIT(20) ? CR4_SMAP : 0) | (l7[2] & BIT(3) ? CR4_PKE : 0);
	cr3_reserved = ~0ul << (size[0] & 0xff);
}

static bool event_valid(u64 event)
{
	u32 type = event >> EVENT_TYPE_SHIFT & EVENT_TYPE_MASK, vector = event & EVENT_VECTOR_MASK;

	if (!(event & EVENT_VALID))
		return true;
	if (type == EVENT_TYPE_EXCEPTION)
		return vector < EXCEPTIONS && vector != VECTOR_NMI;
	return type == EVENT_INTR || type == EVENT_NMI || type == EVENT_SOFTWARE;
}

/* A guest writes EFER. False is #GP. LMA follows from paging, and SVME is not the guest's. */
bool efer_write(struct vmcb *v, u64 val)
{
	if (val & ~(EFER_VALID & ~EFER_SVME) || (v->cr0 & CR0_PG && (val ^ v->efer) & EFER_LME))
		return false;
	v->efer = (val & ~EFER_LMA) | (v->efer & EFER_LMA) | EFER_SVME;
	return true;
}

bool vmcb_valid(const struct vmcb *v)
{
	bool paging = v->cr0 & CR0_PG;

	if (v->cr0 >> 32 || (v->cr0 & CR0_NW && !(v->cr0 & CR0_CD)) || (paging && !(v->cr0 & CR0_PE)))
		return false;
	if (v->cr3 & cr3_reserved || v->cr4 & ~cr4_valid || v->dr6 >> 32 || v->dr7 >> 32)
		return false;
	if (v->efer & ~EFER_VALID || (v->efer & EFER_LMA && !(paging && v->efer & EFER_LME)))
		return false;
	if (v->efer & EFER_LME && paging &&
	    (!(v->cr4 & CR4_PAE) || (v->cs.attributes & SEG_LONG && v->cs.attributes & SEG_DB)))
		return false;
	return event_valid(v->eventinj);
}
