/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Events that the VMM gives a VP before its next run, or finds there after an exit: the pending interruption (what was
 * being delivered when the VP left its guest) and the pending event (what is to be delivered at the next instruction).
 */
#include "abi.h"
#include "hv.h"

#define PENDING_VALID 1ul		/* both registers begin alike: valid : 1, type : 3 */
#define PENDING_TYPE_SHIFT 1
#define PENDING_TYPE_MASK 7u
#define INTERRUPTION_HAS_ERROR BIT(4)
#define EVENT_HAS_ERROR BIT(8)
#define PENDING_VECTOR_SHIFT 16
#define PENDING_VECTOR_MASK 0xfful
#define PENDING_ERROR_SHIFT 32
#define EVENT_EXTERNAL_VECTOR_SHIFT 8
#define EVENT_TYPE_FAULT 0u		/* exception */
#define EVENT_TYPE_EXTERNAL 5u		/* external interrupt, as a PIC gives it */

/* The VMCB's types have the numbers of the register's: interrupt 0, NMI 2, exception 3, software interrupt 4. */
u64 vp_get_interruption(const struct vp *vp)
{
	u64 e = vp->vmcb->eventinj;

	if (vp->pending_interruption & PENDING_VALID || !(e & EVENT_VALID))
		return vp->pending_interruption;
	return PENDING_VALID | (e >> EVENT_TYPE_SHIFT & PENDING_TYPE_MASK) << PENDING_TYPE_SHIFT |
	       (e & EVENT_ERROR_CODE ? INTERRUPTION_HAS_ERROR | e >> EVENT_ERROR_SHIFT << PENDING_ERROR_SHIFT : 0) |
	       (e & PENDING_VECTOR_MASK) << PENDING_VECTOR_SHIFT;
}

void vp_set_interruption(struct vp *vp, u64 value)
{
	vp->vmcb->eventinj = 0;
	vp->pending_interruption = value;
}

/* Types that we cannot deliver are refused. */
u16 vp_set_event(struct vp *vp, const u64 value[2])
{
	u32 type = value[0] >> PENDING_TYPE_SHIFT & PENDING_TYPE_MASK;

	if (value[0] & PENDING_VALID && type != EVENT_TYPE_FAULT && type != EVENT_TYPE_EXTERNAL)
		return ST_INVALID_REGISTER_VALUE;
	vp->pending_event[0] = value[0];
	vp->pending_event[1] = value[1];
	return ST_OK;
}

static void fault(struct vp *vp, u64 event)
{
	u32 vector = event >> PENDING_VECTOR_SHIFT & PENDING_VECTOR_MASK;

	vp->pending_interruption = PENDING_VALID | EVENT_TYPE_EXCEPTION << PENDING_TYPE_SHIFT |
				   (event & EVENT_HAS_ERROR ? INTERRUPTION_HAS_ERROR : 0) |
				   (u64)vector << PENDING_VECTOR_SHIFT | event >> PENDING_ERROR_SHIFT << PENDING_ERROR_SHIFT;
	if (vector == EXC_PF)
		vp->vmcb->cr2 = vp->pending_event[1];
}

/* Before a run: an interruption that is under way goes first. */
void vp_pending_event(struct vp *vp)
{
	u64 e = vp->pending_event[0];

	if (!(e & PENDING_VALID) || vp->pending_interruption & PENDING_VALID || vp->vmcb->eventinj & EVENT_VALID)
		return;
	if ((e >> PENDING_TYPE_SHIFT & PENDING_TYPE_MASK) == EVENT_TYPE_FAULT)
		fault(vp, e);
	else
		vp->extint = OFFER_EXTINT | (e >> EVENT_EXTERNAL_VECTOR_SHIFT & PENDING_VECTOR_MASK);
	vp->pending_event[0] = vp->pending_event[1] = 0;
}

/* Before a run: into the VMCB. */
void vp_inject_pending(struct vp *vp)
{
	u64 p;

	vp_pending_event(vp);
	p = vp->pending_interruption;
	if (!(p & PENDING_VALID))
		return;
	vp->vmcb->eventinj = (p >> PENDING_VECTOR_SHIFT & PENDING_VECTOR_MASK) |
			     (p >> PENDING_TYPE_SHIFT & PENDING_TYPE_MASK) << EVENT_TYPE_SHIFT |
			     (p & INTERRUPTION_HAS_ERROR ? EVENT_ERROR_CODE : 0) | EVENT_VALID |
			     p >> PENDING_ERROR_SHIFT << EVENT_ERROR_SHIFT;
	vp->pending_interruption = 0;
}
