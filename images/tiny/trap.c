/* SPDX-License-Identifier: GPL-2.0-or-later */
/* IDT and TSS; exceptions that a case waits for, and those that end it. */
#include "tiny.h"

#define STUB_SIZE 16
#define VECTORS 256
#define EXCEPTIONS 32
#define GATE_INTERRUPT 0x8e00
#define TSS_AVAILABLE 0x89ul
#define PIC_MASTER_MASK 0x21
#define PIC_SLAVE_MASK 0xa1
#define PIC_MASTER 0x20
#define PIC_ICW1 0x11			/* edge, cascade, ICW4 follows */
#define PIC_ICW4 1
#define PIC_EOI 0x20
#define PIC_TIMER_ONLY 0xfe
#define PIT_CHANNEL0 0x40
#define PIT_COMMAND 0x43
#define PIT_RATE 0x34
#define VECTOR_PIC 0x40
#define APIC_EOI_REGISTER ((volatile u32 *)0xfee000b0ul)

struct gate { u16 low, selector, attributes, mid; u32 high, reserved; } PACKED;
struct tss { u32 reserved0; u64 rsp[3]; u8 rest[0x68 - 28]; } PACKED;
struct table { u16 limit; u64 base; } PACKED;

extern u8 stubs[], gdt[], stacks[];
static struct gate idt[VECTORS];
static struct tss tss[MAX_CPUS];
static u8 user_trap_stack[MAX_CPUS][PAGE] __attribute__((aligned(16)));
static struct context *catching[MAX_CPUS];
static u64 last_error[MAX_CPUS];
volatile u64 interrupts[MAX_CPUS][VECTORS];
extern void case_fault(const struct frame *);
void on_trap(struct frame *);

void traps_init(void)
{
	u32 lp = this_lp();
	struct table g = { GDT_SIZE - 1, (u64)gdt }, i = { sizeof idt - 1, (u64)idt };
	u64 *d = (u64 *)(gdt + SEL_TSS) + 2 * lp, base = (u64)&tss[lp];
	u16 selector = SEL_TSS + 16 * lp;

	for (u32 n = 0; n < VECTORS; n++) {
		u64 a = (u64)stubs + STUB_SIZE * n;
		idt[n] = (struct gate){ a, SEL_CODE, GATE_INTERRUPT, a >> 16, a >> 32, 0 };
	}
	outb(PIC_MASTER_MASK, 0xff);	/* the firmware left its timer on, at the vector of #DF */
	outb(PIC_SLAVE_MASK, 0xff);
	tss[lp].rsp[0] = (u64)user_trap_stack[lp] + PAGE;
	d[0] = (sizeof(struct tss) - 1) | (base & 0xffffff) << 16 | TSS_AVAILABLE << 40 | (base >> 24 & 0xff) << 56;
	d[1] = base >> 32;
	asm volatile("lgdt %0; lidt %1; ltr %2" :: "m"(g), "m"(i), "r"(selector) : "memory");
}

/* An interrupt every so many ticks of 1.19 MHz, through the PIC; 0 for none. */
void pic_timer(u16 ticks)
{
	outb(PIC_MASTER, PIC_ICW1);
	outb(PIC_MASTER_MASK, VECTOR_PIC);
	outb(PIC_MASTER_MASK, 1 << 2);
	outb(PIC_MASTER_MASK, PIC_ICW4);
	outb(PIC_MASTER_MASK, ticks ? PIC_TIMER_ONLY : 0xff);
	outb(PIT_COMMAND, PIT_RATE);
	outb(PIT_CHANNEL0, ticks);
	outb(PIT_CHANNEL0, ticks >> 8);
}

void on_trap(struct frame *f)
{
	u32 lp = this_lp();

	if (f->vector >= EXCEPTIONS) {
		interrupts[lp][f->vector]++;
		if (f->vector == VECTOR_PIC)
			outb(PIC_MASTER, PIC_EOI);
		else
			*APIC_EOI_REGISTER = 0;
		return;
	}
	last_error[lp] = f->error;
	if (catching[lp])
		context_restore(catching[lp], (int)f->vector + 1);
	case_fault(f);
}

int caught(void (*run)(void *), void *arg)
{
	struct context here;
	u32 lp = this_lp();
	int vector = context_save(&here);

	if (!vector) {
		catching[lp] = &here;
		run(arg);
	}
	catching[lp] = NULL;
	return vector ? vector - 1 : NO_FAULT;
}

u64 fault_error(void) { return last_error[this_lp()]; }

struct msr_access { u32 msr; u64 value; };
static void do_read(void *p) { struct msr_access *m = p; m->value = try_rdmsr(m->msr); }
static void do_write(void *p) { struct msr_access *m = p; try_wrmsr(m->msr, m->value); }

int msr_read(u32 msr, u64 *value)
{
	struct msr_access m = { msr, 0 };
	int vector = caught(do_read, &m);

	*value = m.value;
	return vector;
}

int msr_write(u32 msr, u64 value)
{
	struct msr_access m = { msr, value };

	return caught(do_write, &m);
}
