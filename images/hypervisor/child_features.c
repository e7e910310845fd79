/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What of Hyper-V a child sees. The VMM decides with the partition property "synthetic processor features" before it
 * initializes the partition (QEMU sets it); without it a child sees no hypervisor at all.
 */
#include "abi.h"
#include "hv.h"

u64 child_property(const struct partition *pt, u32 code)
{
	for (u32 i = 0; i < pt->nproperties; i++)
		if (pt->property[i][0] == code)
			return pt->property[i][1];
	return 0;
}

bool child_feature(const struct partition *pt, u64 bits)
{
	return (child_property(pt, PROP_SYNTHETIC_PROC_FEATURES) & bits) == bits;
}

void child_hypervisor_leaf(const struct partition *pt, u32 leaf, u32 r[4])
{
	(void)pt, (void)leaf;
	memset(r, 0, 4 * sizeof *r);
}
