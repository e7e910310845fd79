/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Load a bzImage (first multiboot module) and an initrd (second) as the root partition. */
#include "bootproto.h"
#include "hv.h"

#define LOW 0x10000ul			/* boot_params; then command line, GDT, page tables, one page or more each */
#define CMDLINE (LOW + 0x1000)
#define CMDLINE_MAX 2048
#define GDT (LOW + 0x3000)
#define TABLES (LOW + 0x4000)
#define STACK (LOW + 0xfff0)
#define LOW_SIZE 0x10000
#define KERNEL 0x1000000ul
#define KERNEL_END 0x10000000ul		/* the stand-in begins here */
#define MMAP_MAX 2048
#define MODULES 2
#define GDT_CODE64 0x00af9b000000fffful
#define GDT_DATA 0x00cf93000000fffful
#define GDT_LIMIT 31
#define TRAMPOLINE_FIRST 0x8000ul	/* AP_TRAMPOLINE: needed whenever the root starts a CPU */
#define TRAMPOLINE_END 0x9000ul

static struct boot_params *bp = (struct boot_params *)LOW;

static void e820_add(u64 base, u64 end, u32 type)
{
	if (base >= end || bp->e820_entries == E820_MAX)
		return;
	bp->e820[bp->e820_entries++] = (struct e820_entry){ base, end - base, type };
	if (verbose)
		kprintf("e820 %#010lx-%#010lx type %u\n", base, end, type);
	if (type == E820_RAM)
		mem_note_ram(base, end - base);
}

/* RAM, without what the stand-in keeps for itself. */
static void e820_ram(u64 base, u64 end)
{
	const u64 holes[][2] = { { TRAMPOLINE_FIRST, TRAMPOLINE_END }, { (u64)hv_start, (u64)hv_end } };

	for (u32 i = 0; i < LENGTH(holes); i++) {
		u64 lo = holes[i][0], hi = holes[i][1];
		if (base < hi && end > lo) {
			e820_add(base, lo, E820_RAM);
			e820_add(lo, hi, E820_RESERVED);
			base = hi;
		}
	}
	e820_add(base, end, E820_RAM);
}

static void memory_map(const u8 *mmap, u32 length)
{
	const struct mb_mmap *m;

	for (u32 o = 0; o < length; o += m->size + MB_MMAP_SIZE_FIELD) {
		m = (const void *)(mmap + o);
		if (m->type == E820_RAM)
			e820_ram(m->base, m->base + m->length);
		else
			e820_add(m->base, m->base + m->length, m->type);
	}
}

/* The 64-bit boot protocol: identity page tables for 4 GiB, flat segments, rsi at boot_params. */
static void enter_state(struct lp *lp)
{
	u64 *gdt = (u64 *)GDT, *pml4 = (u64 *)TABLES, *pdpt = pml4 + PTES;
	struct seg data = { BOOT_DS, SEG_FLAT_DATA, ~0u, 0 };
	struct vmcb *v = lp->vmcb;

	gdt[BOOT_CS / 8] = GDT_CODE64;
	gdt[BOOT_DS / 8] = GDT_DATA;
	pml4[0] = (u64)pdpt | PTE_P | PTE_W;
	for (u64 g = 0; g < 4; g++) {
		u64 *pd = pdpt + PTES * (1 + g);
		pdpt[g] = (u64)pd | PTE_P | PTE_W;
		for (u64 m = 0; m < PTES; m++)
			pd[m] = g << 30 | m << 21 | PTE_P | PTE_W | PTE_PS;
	}
	v->cs = (struct seg){ BOOT_CS, SEG_FLAT_CODE64, ~0u, 0 };
	v->ds = v->es = v->ss = v->fs = v->gs = data;
	v->gdtr = (struct seg){ 0, 0, GDT_LIMIT, (u64)gdt };
	v->cr0 = CR0_PG | CR0_NE | CR0_ET | CR0_PE;
	v->cr4 = CR4_PAE;
	v->cr3 = (u64)pml4;
	v->efer = EFER_SVME | EFER_LME | EFER_LMA;
	v->rip = KERNEL + ENTRY_64;
	v->rflags = RFLAGS_FIXED;
	v->rsp = STACK;
	lp->g.rsi = LOW;
}

void linux_load(struct lp *lp, u64 multiboot_info)
{
	/* the multiboot tables lie in low memory that is about to be overwritten: copy first */
	struct mb_info mb = *(struct mb_info *)multiboot_info;
	struct mb_mod mod[MODULES] = { 0 };
	static u8 mmap[MMAP_MAX];
	static char cmdline[CMDLINE_MAX];
	u32 mmap_len = mb.mmap_len < sizeof mmap ? mb.mmap_len : sizeof mmap;

	if (mb.nmods < 1)
		panic("no kernel: QEMU's -initrd must name it as the first multiboot module");
	memcpy(mod, (void *)(u64)mb.mods, (mb.nmods > 1 ? MODULES : 1) * sizeof mod[0]);
	memcpy(mmap, (void *)(u64)mb.mmap, mmap_len);
	const char *cl = (const char *)(u64)mod[0].string;
	while (*cl && *cl != ' ')	/* QEMU puts the file name first */
		cl++;
	if (strlen(cl) >= CMDLINE_MAX)
		panic("kernel command line longer than %u bytes", CMDLINE_MAX - 1);
	memcpy(cmdline, cl, strlen(cl) + 1);

	u8 *image = (u8 *)(u64)mod[0].start;
	const struct boot_params *ip = (void *)image;
	u32 size = mod[0].end - mod[0].start;
	if (size < sizeof *ip || ip->magic != SETUP_MAGIC)
		panic("multiboot module 0 at %#x, %u bytes, is not a bzImage", mod[0].start, size);
	u32 setup = ((ip->setup_sects ? ip->setup_sects : SETUP_SECTS_DEFAULT) + 1) * SECTOR;
	if (KERNEL + size > KERNEL_END)
		panic("kernel of %u bytes does not fit below the hypervisor", size);

	memset(bp, 0, LOW_SIZE);
	memcpy((u8 *)bp + SETUP_HEADER, image + SETUP_HEADER, SETUP_JUMP_END + ip->jump_offset - SETUP_HEADER);
	bp->vid_mode = VID_MODE_NORMAL;
	bp->type_of_loader = LOADER_UNDEFINED;
	bp->ramdisk_image = mod[1].start;
	bp->ramdisk_size = mod[1].end - mod[1].start;
	bp->cmd_line_ptr = CMDLINE;
	memcpy((void *)CMDLINE, cmdline, strlen(cmdline) + 1);
	memory_map(mmap, mmap_len);
	kprintf("kernel %u bytes at %#x, initrd %#x-%#x, cmdline '%s'\n", size, mod[0].start, mod[1].start,
		mod[1].end, cmdline);
	memcpy((void *)KERNEL, image + setup, size - setup);
	enter_state(lp);
}
