/* SPDX-License-Identifier: GPL-2.0-or-later */
/* SynIC of a child. */
#include "abi.h"
#include "hv.h"

enum child_msr_result child_synthetic_msr(struct lp *lp, struct vp *vp, bool write, u32 m, u64 *value)
{
	(void)lp, (void)vp, (void)write, (void)m, (void)value;
	return CHILD_MSR_UNKNOWN;
}
bool child_auto_eoi(const struct vp *vp, u32 vector) { (void)vp, (void)vector; return false; }
bool child_overlay_at(const struct partition *pt, u64 gfn) { (void)pt, (void)gfn; return false; }
enum child_action child_vmmcall(struct lp *lp, struct vp *vp)
{
	(void)lp;
	inject_exception(vp->vmcb, EXC_UD, false, 0);
	return CHILD_RESUME;
}
