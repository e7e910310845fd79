/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every exit is noted. Under multi-threaded TCG an XRSTOR on another CPU can undo the nested-paging bit of QEMU's
 * first CPU just as an exit changes it; a VMCB then receives the hypervisor's own registers. Such a run proves nothing
 * about the kernel, so it stops here, with a text of its own.
 */
#include "hv.h"

static bool ours(u64 address) { return address >= (u64)heap_start && address < (u64)hv_end; }

void note_exit(struct lp *lp, const struct vmcb *v, u32 who)
{
	u32 n = lp->notes++ % EXIT_RING;

	host_block.exits[lp->index]++;
	lp->note[n] = (struct exit_note){ v->exitcode, v->rip, v->rsp, v->info1, v->intinfo, who };
	if (!ours(v->rip) || !ours(v->rsp) || v->cr3 != (u64)hv_pml4)
		return;
	for (u32 i = lp->notes > EXIT_RING ? lp->notes - EXIT_RING : 0; i < lp->notes; i++) {
		const struct exit_note *e = &lp->note[i % EXIT_RING];
		kprintf("exit %u: who %u code %#lx rip %#lx rsp %#lx info1 %#lx intinfo %#lx\n", i, e->who, e->code,
			e->rip, e->rsp, e->info1, e->intinfo);
	}
	tripwire("lp %u: hypervisor state in the VMCB of %s", lp->index, who ? "a child" : "the root");
}
