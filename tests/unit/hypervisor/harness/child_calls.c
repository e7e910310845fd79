/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A child's local APIC, MSRs, CPUID and page tables in a process. Reads a script of lines "VERB NUMBER..." (numbers in
 * hexadecimal) and prints one line for each. "RAM" is a zeroed arena at its own address; the partition has two VPs.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "abi.h"
#include "apic_regs.h"
#include "child_harness.h"
#include "hv.h"

#define ARENA 0x20000000ul
#define ARENA_SIZE 0x400000ul
#define POOL_PAGES 256
#define VPS 3
#define SS_IN_PAGE 2			/* es cs ss ds fs gs */

static struct lp lp;
static struct partition *pt;
static u64 kicks;

void vp_kick(struct lp *l, struct vp *vp) { (void)l, kicks |= BIT(vp->index); }
void vp_signal_root(struct lp *l, struct vp *vp) { (void)l, (void)vp; }
void vp_publish_blocked(struct vp *vp, bool b) { (void)vp, (void)b; }

static void setup(u64 flags, u64 features)
{
	u64 id;

	lapic_harness_tsc = 1000000;
	if (pt_create(flags, &id))
		exit(3);
	pt = pt_find(id);
	for (u32 i = 0; i < POOL_PAGES; i++)
		pool_put(&pt->pool, (void *)(ARENA + 0x200000 + i * PAGE));
	if (pt_initialize(pt))
		exit(4);
	if (features) {
		pt->property[0][0] = PROP_SYNTHETIC_PROC_FEATURES;
		pt->property[0][1] = features;
		pt->nproperties = 1;
	}
	for (u32 i = 0; i < VPS; i++) {
		struct vp *vp = &pt->vp[i];

		vp->used = true;
		vp->index = i;
		vp->pt = pt;
		vp->vmcb = pool_get(&pt->pool);
		vp->fpu = pool_get(&pt->pool);
		vp->regs_page = pool_get(&pt->pool);
		vp->apic_base = APIC_DEFAULT_BASE | APIC_BASE_ENABLE | (i ? 0 : APIC_BASE_BSP);
		vp->vmcb->efer = EFER_SVME;
		lapic_reset(vp);
		child_vp_init(vp);
	}
}

static u64 a[6];

/* ---- verbs: VP first, unless said otherwise ---- */
static enum child_action vmmcall(struct vp *vp)
{
	vp->vmcb->efer |= EFER_LMA;
	vp->vmcb->cs.attributes = SEG_LONG;
	vp->vmcb->cpl = a[4];
	vp->vmcb->rax = 0x77;
	vp->vmcb->rip = 0;
	vp->vmcb->exitcode = EXIT_VMMCALL;
	vp->g.rcx = a[1], vp->g.rdx = a[2], vp->g.r8 = a[3];
	return child_vmmcall(&lp, vp);
}

static void *calls(void *vp)
{
	vmmcall(vp);
	return NULL;
}

static void run(const char *verb)
{
	struct vp *vp = &pt->vp[a[0] % VPS];
	u64 value = a[2];
	u32 low = 0, r[4];

	if (!strcmp(verb, "read")) {
		bool ok = lapic_read(vp, a[1], &low);
		printf("%d %x\n", ok, low);
	} else if (!strcmp(verb, "write")) {
		printf("%d\n", lapic_write(&lp, vp, a[1], a[2]));
	} else if (!strcmp(verb, "rdmsr")) {
		enum child_msr_result st = child_msr(&lp, vp, false, a[1], &value);
		printf("%d %lx\n", st, value);
	} else if (!strcmp(verb, "wrmsr")) {
		printf("%d\n", child_msr(&lp, vp, true, a[1], &value));
	} else if (!strcmp(verb, "pending")) {
		printf("%d\n", lapic_pending(vp));
	} else if (!strcmp(verb, "ppr")) {
		printf("%x\n", lapic_ppr(vp));
	} else if (!strcmp(verb, "cr8")) {		/* as the child does it, without an exit */
		vp->vmcb->vintr = (vp->vmcb->vintr & ~VINTR_TPR_MASK) | a[1];
		puts("-");
	} else if (!strcmp(verb, "offer")) {
		lapic_inject(vp);
		printf("%lx %lx\n", vp->vmcb->vintr >> 8 & 0xffffffffff, vp->vmcb->eventinj);
	} else if (!strcmp(verb, "taken")) {		/* the CPU took what was offered */
		vp->vmcb->vintr &= ~VINTR_IRQ;
		vp->vmcb->eventinj = 0;
		lapic_sync(vp);
		puts("-");
	} else if (!strcmp(verb, "left")) {		/* an exit without that; rip, then what was under way */
		vp->vmcb->rip = a[1];
		vp->vmcb->intinfo = a[2];
		vp->vmcb->eventinj = 0;
		lapic_sync(vp);
		printf("%lx\n", vp->vmcb->intinfo);
	} else if (!strcmp(verb, "iret")) {
		vp->nmi_iret = true;
		vp->nmi_iret_rip = vp->vmcb->rip;
		puts("-");
	} else if (!strcmp(verb, "tsc")) {		/* time passes */
		lapic_harness_tsc += a[0];
		puts("-");
	} else if (!strcmp(verb, "next")) {
		u64 at = lapic_timer_next(vp);
		printf("%lx\n", at == NEVER ? at : at - lapic_harness_tsc);
	} else if (!strcmp(verb, "send")) {		/* dest logical x2 mode vector level */
		kicks = 0;
		bool any = lapic_deliver(&lp, pt, &(struct lapic_request){ a[0], a[1], a[2], a[3], a[4], a[5] });
		printf("%d %lx\n", any, kicks);
	} else if (!strcmp(verb, "irr")) {
		for (u32 i = 0; i < 256; i++)
			if (vp->apic.irr[i / 32] >> i % 32 & 1)
				printf("%x ", i);
		puts("");
	} else if (!strcmp(verb, "isr")) {
		for (u32 i = 0; i < 256; i++)
			if (vp->apic.isr[i / 32] >> i % 32 & 1)
				printf("%x ", i);
		puts("");
	} else if (!strcmp(verb, "state")) {		/* wait_sipi, init pending, nmi pending, nmi masked, cs base */
		vp_init_pending(vp);
		printf("%d %d %d %lx\n", vp->wait_sipi, vp->nmi_pending, vp->nmi_masked, vp->vmcb->cs.base);
	} else if (!strcmp(verb, "eoimessage")) {
		printf("%d\n", lapic_harness_messages);
	} else if (!strcmp(verb, "roundtrip")) {	/* save, scramble, load, save: equal? */
		static u8 first[PAGE], second[PAGE];

		lapic_state(vp, (void *)first, false);
		lapic_reset(vp);
		lapic_state(vp, (void *)first, true);
		lapic_state(vp, (void *)second, false);
		printf("%d\n", memcmp(first, second, PAGE));
	} else if (!strcmp(verb, "cpuid")) {		/* VP leaf subleaf */
		child_cpuid_of(vp, a[1], a[2], r);
		printf("%x %x %x %x\n", r[0], r[1], r[2], r[3]);
	} else if (!strcmp(verb, "result")) {		/* VP leaf subleaf flags register value|mask<<32 */
		struct cpuid_result o = { .leaf = a[1], .subleaf = a[2], .flags = a[3] };

		o.value[a[4]] = a[5];
		o.mask[a[4]] = a[5] >> 32;
		printf("%d\n", child_result_register(vp, &o));
	} else if (!strcmp(verb, "property")) {		/* code value */
		pt->property[pt->nproperties][0] = a[0];
		pt->property[pt->nproperties++][1] = a[1];
		puts("-");
	} else if (!strcmp(verb, "poke")) {		/* address value, 8 bytes */
		*(u64 *)(ARENA + a[0]) = a[1];
		puts("-");
	} else if (!strcmp(verb, "map")) {		/* gfn page-of-arena access */
		printf("%d\n", npt_map(pt, a[0], ARENA / PAGE + a[1], a[2], false));
	} else if (!strcmp(verb, "control")) {		/* VP cr0 cr3 cr4 efer cpl */
		vp->vmcb->cr0 = a[1], vp->vmcb->cr3 = a[2], vp->vmcb->cr4 = a[3];
		vp->vmcb->efer = a[4] | EFER_SVME, vp->vmcb->cpl = a[5];
		puts("-");
	} else if (!strcmp(verb, "translate")) {	/* VP gva flags */
		u64 gpa;
		u32 st = child_translate(vp, a[1], a[2], &gpa);
		printf("%u %lx\n", st, gpa);
	} else if (!strcmp(verb, "fault")) {		/* VP info1 info2 rip rdi intinfo: the GVA of a nested page fault */
		u64 gva;
		vp->vmcb->info1 = a[1], vp->vmcb->info2 = a[2], vp->vmcb->rip = a[3], vp->g.rdi = a[4];
		vp->vmcb->intinfo = a[5], vp->vmcb->cs.attributes = SEG_LONG;
		if (child_fault_gva(vp, &gva))
			printf("%lx\n", gva);
		else
			puts("none");
	} else if (!strcmp(verb, "post")) {		/* VP sint type */
		struct message m = { .type = a[2], .size = 8, .payload = { 0x55 } };
		printf("%x\n", child_post(vp, a[1], &m));
	} else if (!strcmp(verb, "signal")) {		/* VP sint flag */
		bool newly;
		u16 st = child_signal(vp, a[1], a[2], &newly);
		printf("%x %d\n", st, newly);
	} else if (!strcmp(verb, "page")) {		/* VP which offset */
		printf("%lx\n", *(u64 *)(vp->synic.page[a[1]] + a[2]));
	} else if (!strcmp(verb, "free")) {		/* the guest frees a slot: VP sint */
		*(u32 *)(vp->synic.page[SYNIC_SIMP] + a[1] * 256) = 0;
		puts("-");
	} else if (!strcmp(verb, "slat")) {		/* gfn: which of our pages lies there, or the page of the arena */
		u64 pfn;
		u32 access;
		if (!npt_lookup(pt, a[0], &pfn, &access))
			puts("none");
		else if (pfn == (u64)pt->hv.hypercall_page / PAGE || pfn == (u64)pt->hv.tsc_page / PAGE)
			printf("%s %x\n", pfn == (u64)pt->hv.tsc_page / PAGE ? "tsc" : "hypercall", access);
		else if (pfn == (u64)pt->vp[0].synic.page[SYNIC_SIMP] / PAGE)
			printf("simp %x\n", access);
		else
			printf("%lx %x\n", pfn - ARENA / PAGE, access);
	} else if (!strcmp(verb, "remap")) {		/* as "map", as the VMM's hypercall does it */
		child_overlays_lift(pt, a[0], 1);
		u16 st = npt_map(pt, a[0], ARENA / PAGE + a[1], a[2], false);
		child_overlays_lay(pt, a[0], 1);
		printf("%x\n", st);
	} else if (!strcmp(verb, "vmmcall")) {		/* VP control rdx r8 cpl */
		enum child_action what = vmmcall(vp);
		printf("%d %lx %lx %lx\n", what, vp->vmcb->rax, vp->vmcb->rip, vp->vmcb->exitcode);
	} else if (!strcmp(verb, "late")) {		/* the same; gfn: unmapped while the call waits for hv_lock */
		u64 *taken = (u64 *)(ARENA + a[5] * PAGE);
		pthread_t other;

		vp->in_guest = 1;
		lock(&hv_lock);
		pthread_create(&other, NULL, calls, vp);
		while (vp->in_guest)
			relax();
		npt_unmap(pt, a[5], false);
		memset(taken, 0, PAGE);			/* it is somebody else's now */
		unlock(&hv_lock);
		pthread_join(other, NULL);
		for (u32 i = 1; i < PTES; i++)
			taken[0] |= taken[i];
		printf("%lx %lx\n", vp->vmcb->exitcode, taken[0]);
	} else if (!strcmp(verb, "ask")) {		/* VP: a list of one register, its index, in page 5 of the arena */
		*(struct in_get_registers *)(ARENA + 5 * PAGE) =
			(struct in_get_registers){ .partition = PARTITION_SELF, .vp = vp->index };
		((struct in_get_registers *)(ARENA + 5 * PAGE))->name[0] = REG_VP_INDEX;
		puts("-");
	} else if (!strcmp(verb, "setreg")) {
		u64 v[2] = { a[2], a[3] };
		printf("%x\n", vp_set_register(&lp, vp, a[1], v));
	} else if (!strcmp(verb, "getreg")) {
		u64 v[2];
		u16 st = vp_get_register(vp, a[1], v);
		printf("%x %lx %lx\n", st, v[0], v[1]);
	} else if (!strcmp(verb, "event")) {		/* what the next run begins with */
		vp_pending_event(vp);
		printf("%lx %lx %x\n", vp->pending_interruption, vp->vmcb->cr2, vp->extint);
	} else if (!strcmp(verb, "freeze")) {
		child_freeze(pt, a[0]);
		puts("-");
	} else if (!strcmp(verb, "pool")) {		/* everything given back? pages free */
		for (u32 i = 0; i < VPS; i++)
			child_vp_free(&pt->vp[i]);
		child_partition_free(pt);
		printf("%u\n", pt->pool.nfree);
	} else if (!strcmp(verb, "regpage")) {		/* the VMM writes rip into the register page */
		registers_page_out(vp);
		vp->regs_page->rip = a[1];
		vp->regs_page->dirty |= CLASS_IP;
		puts("-");
	} else if (!strcmp(verb, "xsave")) {		/* VP components: set an image that says it has these; xmm0, FCW, header */
		u8 *image = (u8 *)(ARENA + 8 * PAGE);
		u64 pfn = ARENA / PAGE + 8;

		memset(image, 0x55, XSAVE_HEADER);
		memset(image + XSAVE_HEADER, 0, XSAVE_HEADER_SIZE);
		*(u64 *)(image + XSAVE_HEADER) = a[1];
		vp_state(vp, VP_STATE_XSAVE, &pfn, 1, true);
		printf("%lx %x %lx\n", *(u64 *)(vp->fpu + XSAVE_XMM0), *(u16 *)(vp->fpu + XSAVE_FCW),
		       *(u64 *)(vp->fpu + XSAVE_HEADER));
	} else if (!strcmp(verb, "pageseg")) {		/* VP attributes: the VMM writes ss there; the VP's privilege */
		registers_page_out(vp);
		vp->regs_page->segment[SS_IN_PAGE].attributes = a[1];
		vp->regs_page->dirty |= CLASS_SEGMENT;
		registers_page_in(vp);
		printf("%u\n", vp->vmcb->cpl);
	} else if (!strcmp(verb, "parentpage")) {	/* VP: an L1VH parent has the register page in page 9 of the arena */
		vp->state_at[STATE_PAGE_REGISTERS] = ARENA + 9 * PAGE;
		vp->msg_page = (void *)(ARENA + 10 * PAGE);
		registers_page_out(vp);
		overlay_state_out(vp);
		puts("-");
	} else if (!strcmp(verb, "parentrip")) {	/* VP rip: the parent writes rip there; what the VP then has, what it sees */
		struct wire_register_page *r = (void *)(ARENA + 9 * PAGE);
		u64 v[2] = { 0x4242 };

		r->rip = a[1], r->dirty = CLASS_IP;
		registers_page_sync(vp);
		vp_set_register(&lp, vp, REG_RAX, v);
		registers_page_refresh(vp);
		printf("%lx %lx %x\n", vp->vmcb->rip, r->gpr[0], r->dirty);
	} else if (!strcmp(verb, "mmio")) {		/* VP offset rax bytes(big endian, first 8) second 8 -> handled rax length */
		u8 bytes[16];

		for (u32 i = 0; i < 8; i++)
			bytes[i] = a[3] >> (56 - 8 * i), bytes[8 + i] = a[4] >> (56 - 8 * i);
		vp->vmcb->efer |= EFER_LMA;
		vp->vmcb->cs.attributes = SEG_LONG;
		vp->vmcb->rip = 0;
		vp->vmcb->rax = a[2];
		vp->g.rcx = a[2];
		bool ok = lapic_mmio(&lp, vp, APIC_DEFAULT_BASE + a[1], bytes, sizeof bytes);
		printf("%d %lx %lx %lx\n", ok, vp->vmcb->rax, vp->g.rcx, vp->vmcb->rip);
	} else {
		exit(5);
	}
}

int main(int argc, char **argv)
{
	char line[256], verb[32];

	if (argc != 3 || mmap((void *)ARENA, ARENA_SIZE, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) != (void *)ARENA)
		return 2;
	mem_note_ram(ARENA, ARENA_SIZE);
	setup(strtoul(argv[1], NULL, 16), strtoul(argv[2], NULL, 16));
	while (fgets(line, sizeof line, stdin)) {
		memset(a, 0, sizeof a);
		sscanf(line, "%31s %lx %lx %lx %lx %lx %lx", verb, &a[0], &a[1], &a[2], &a[3], &a[4], &a[5]);
		run(verb);
		for (u32 i = 0; i < VPS; i++)
			pt->vp[i].in_guest = 0;	/* nobody runs between two verbs */
	}
	return 0;
}
