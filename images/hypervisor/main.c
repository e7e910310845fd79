/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Start of the first LP, which loads the root, and of the others, which the root starts. */
#include "abi.h"
#include "bootproto.h"
#include "hv.h"

#define ARGS_MAX 512
#define IDT_ENTRIES 32
#define STUB_SIZE 16
#define GATE_INTERRUPT 0x8e00
#define CODE_SELECTOR 8

struct gate { u16 low, selector, attributes, mid; u32 high, reserved; } PACKED;
extern struct gate hv_idt[IDT_ENTRIES];
extern u8 fault_stubs[], nmi_return[];

struct lp lps[MAX_LPS];
u32 nlps;

void bsp_main(u64 multiboot_info);
void ap_main(u32 index);

/* QEMU passes "FILE ARGS": keep a copy, the original lies in low memory. */
static const char *boot_args(u64 multiboot_info)
{
	static char buf[ARGS_MAX];
	const struct mb_info *m = (const void *)multiboot_info;
	const char *s = m->flags & MB_INFO_CMDLINE ? (const char *)(u64)m->cmdline : "";
	u64 n = strlen(s);

	memcpy(buf, s, n < sizeof buf - 1 ? n : sizeof buf - 1);
	return buf;
}

static void idt_init(void)
{
	for (u32 i = 0; i < IDT_ENTRIES; i++) {
		u64 a = i == EXC_NMI ? (u64)nmi_return : (u64)fault_stubs + STUB_SIZE * i;
		hv_idt[i] = (struct gate){ a, CODE_SELECTOR, GATE_INTERRUPT, a >> 16, a >> 32, 0 };
	}
}

static void lps_init(u64 npt, bool spare)
{
	for (u32 i = 0; i < nlps; i++) {
		lps[i].index = i;
		lps[i].apic_id = i + spare;	/* QEMU without SMT topology */
		lps[i].vmcb = page_alloc();
		synic_init(&lps[i]);
		stimer_init(&lps[i]);
	}
	if (!spare)
		lps[0].apic_id = apic_id();
	lps[0].started = !spare;
	parts[0].state = PT_ACTIVE;
	parts[0].id = ROOT_ID;
	parts[0].npt = npt;
	svm_enable(&lps[0]);
	for (u32 i = 0; i < nlps; i++) {
		vmcb_init(lps[i].vmcb, npt, ASID_ROOT);
		sched_init(&lps[i]);
	}
}

static bool is_word(const char *value, const char *word)
{
	u64 n = strlen(word);

	return !strncmp(value, word, n) && (!value[n] || value[n] == ' ');
}

/* Boot argument "scheduler=". */
static u32 scheduler_of(const char *name)
{
	if (!name || is_word(name, "root"))
		return SCHEDULER_ROOT;
	if (is_word(name, "core"))
		return SCHEDULER_CORE_SMT;
	if (is_word(name, "classic"))
		return SCHEDULER_LP;
	panic("scheduler=%s: must be root, core or classic", name);
}

/* Boot argument "parent=". */
static bool parent_is_l1vh(const char *name)
{
	if (!name || is_word(name, "root"))
		return false;
	if (is_word(name, "l1vh"))
		return true;
	panic("parent=%s: must be root or l1vh", name);
}

static u32 address_bits(void)
{
	u32 r[4];

	cpuid(CPUID_LEAF_ADDRESS, 0, r);
	return r[0] & 0xff;
}

/* Boot argument "die=panic" or "die=tripwire": proves that the host notices. */
static void die_on_purpose(const char *how)
{
	if (!strncmp(how, "tripwire", 8))
		tripwire("asked for by the boot argument");
	panic("asked for by the boot argument");
}

void bsp_main(u64 multiboot_info)
{
	const char *args = boot_args(multiboot_info), *p;
	bool spare = option(args, "spare");

	idt_init();
	host_init(args);
	kprintf("stand-in hypervisor, %#lx-%#lx, args '%s'\n", (u64)hv_start, (u64)hv_end, args);
	nlps = (p = option(args, "cpus")) ? strtou(p, NULL) : 1;
	if (!nlps || nlps > MAX_LPS)
		panic("cpus=%u: must be 1 to %u", nlps, MAX_LPS);
	host_block.lps = nlps;
	if ((p = option(args, "verbose")))
		verbose = strtou(p, NULL);
	l1vh = parent_is_l1vh(option(args, "parent"));
	p = option(args, "scheduler");
	scheduler = scheduler_of(p ? p : l1vh ? "core" : "root");
	fault_boot_args(args);
	stimers_announced = !(p = option(args, "stimer")) || strncmp(p, "off", 3);
	/* who does not schedule by DISPATCH_VP has no use for its flags; an L1VH parent sees copies of the pages */
	vectors_announced = !l1vh && !sched_is_ours() && (!(p = option(args, "vectors")) || strncmp(p, "off", 3));
	time_init();
	msr_init();
	pages_width(address_bits());
	lps_init(root_npt(address_bits()), spare);
	if (option(args, "selftest"))
		selftests();
	linux_load(&lps[0], multiboot_info);
	pages_init();
	host_publish(&parts[0]);
	kprintf("TSC %lu Hz; starting the root partition\n", tsc_hz);
	host_state(STATE_RUNNING);
	if ((p = option(args, "die")))
		die_on_purpose(p);
	if (spare) {		/* leave QEMU's first CPU unused: see tripwire.c */
		start_ap(&lps[0], 0);
		for (;;)
			asm volatile("hlt");	/* GIF is 0 */
	}
	lp_run(&lps[0]);
}

void ap_main(u32 index)
{
	struct lp *lp = &lps[index];
	struct vmcb *v = lp->vmcb;

	svm_enable(lp);
	if (index) {		/* LP 0 (with "spare") starts in the kernel's entry state instead */
		v->cs = (struct seg){ lp->sipi_vector << 8, SEG_CODE, 0xffff, lp->sipi_vector << PAGE_SHIFT };
		v->rip = 0;
	}
	if (verbose)
		kprintf("lp %u: apic %u, root VP starts at %#x\n", index, apic_id(), lp->sipi_vector << PAGE_SHIFT);
	ap_index = AP_TAKEN;
	lp_run(lp);
}
