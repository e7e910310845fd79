/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Boot argument "selftest": does this processor run unpaged guests behind a nested table? */
#include "hv.h"

#define GPA 0x1000ul			/* the guest's page 1 is another page of the machine */
#define CODE 0x1000000ul		/* where the kernel comes later: no child may map memory of the stand-in */
#define EXPECTED 0x1234ul
#define POOL_PAGES 8
#define SELFTEST_ASID 2

static void run(const u8 *code, u64 size, const char *what, u64 cr0)
{
	static struct partition t;
	struct gprs g = { 0 };
	struct vmcb *v = page_alloc();
	u8 *page = (u8 *)CODE;

	memset(&t, 0, sizeof t);
	for (int i = 0; i < POOL_PAGES; i++)
		pool_put(&t.pool, page_alloc());
	t.npt = (u64)pool_get(&t.pool);
	npt_map(&t, GPA / PAGE, (u64)page / PAGE, NPT_R | NPT_W | NPT_X, false);
	memcpy(page, code, size);
	vmcb_init(v, t.npt, SELFTEST_ASID);
	v->cs = (struct seg){ 0, SEG_CODE, 0xffff, 0 };
	v->cr0 = cr0;
	if (cr0 & CR0_PE)
		v->cs.attributes = SEG_FLAT_CODE32, v->cs.limit = ~0u;
	v->rip = GPA;
	asm volatile("cli");		/* the PIC timer is pending and would exit first */
	vmrun_guest(v, &g);
	asm volatile("sti");
	if (v->exitcode != EXIT_VMMCALL || v->rax != EXPECTED)
		panic("selftest %s: exit %#lx info %#lx %#lx rip %#lx rax %#lx, expected a VMMCALL with rax %#lx", what,
		      v->exitcode, v->info1, v->info2, v->rip, v->rax, EXPECTED);
	kprintf("selftest %s: ok\n", what);
}

void selftests(void)
{
	static const u8 real[] = { 0xb8, 0x34, 0x12, 0x0f, 0x01, 0xd9 };		/* mov ax, 0x1234; vmmcall */
	static const u8 protected[] = { 0xb8, 0x34, 0x12, 0, 0, 0x0f, 0x01, 0xd9 };
	/* what the guest would execute at the same address if its accesses were not translated */
	static const u8 decoy[] = { 0xb8, 0xad, 0xde, 0x0f, 0x01, 0xd9, 0x0f, 0x01, 0xd9 };

	memcpy((void *)GPA, decoy, sizeof decoy);
	run(real, sizeof real, "real mode", CR0_ET);
	run(protected, sizeof protected, "protected mode, no paging", CR0_ET | CR0_PE);
}
