/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Starting the second LP as Linux does, and giving it work. */
#include "tiny.h"

#define APIC_ID_REGISTER ((volatile u32 *)0xfee00020ul)
#define APIC_SVR_REGISTER ((volatile u32 *)0xfee000f0ul)
#define APIC_ENABLED 0x1ffu
#define APIC_ICR_LOW ((volatile u32 *)0xfee00300ul)
#define APIC_ICR_HIGH ((volatile u32 *)0xfee00310ul)
#define ID_SHIFT 24
#define ICR_ASSERT (1ul << 14)
#define ICR_INIT (5ul << 8)
#define ICR_SIPI (6ul << 8)
#define ICR_DEST_SHIFT 56

extern u8 trampoline[], trampoline_end[], trampoline_lp[], trampoline_cr3[], stacks[];
static struct { void (*volatile run)(void *); void *volatile arg; volatile bool ready; } work[MAX_CPUS];
static u32 first_id = ~0u;
void ap_main(u32 lp);

static u32 apic_id(void) { return *APIC_ID_REGISTER >> ID_SHIFT; }

/* By the stack and not by the APIC: this is asked in every trap. */
u32 this_lp(void)
{
	u64 sp = (u64)__builtin_frame_address(0) - (u64)stacks;

	return sp < STACK_SIZE * MAX_CPUS ? sp / STACK_SIZE : apic_id() - first_id;
}

static void apic_on(void)
{
	if (first_id == ~0u)
		first_id = apic_id();
	*APIC_SVR_REGISTER = APIC_ENABLED;
}

void ap_main(u32 lp)
{
	apic_on();
	traps_init();
	work[lp].ready = true;
	for (;;) {
		void (*run)(void *) = work[lp].run;
		if (run) {
			run(work[lp].arg);
			interrupts_off();
			work[lp].run = NULL;
		}
		relax();
	}
}

void start_lp(u32 lp)
{
	if (!lp) {
		apic_on();
		return;
	}
	u64 cr3, dest = (u64)(first_id + lp) << ICR_DEST_SHIFT;

	asm volatile("mov %%cr3,%0" : "=r"(cr3));
	*(u32 *)trampoline_cr3 = cr3;
	*(u32 *)trampoline_lp = lp;
	memcpy((void *)TRAMPOLINE, trampoline, trampoline_end - trampoline);
	wrmsr(SMSR_ICR, dest | ICR_ASSERT | ICR_INIT);
	wrmsr(SMSR_ICR, dest | ICR_ASSERT | ICR_SIPI | TRAMPOLINE / PAGE);
	for (u32 i = 0; i < POLLS && !work[lp].ready; i++)
		relax();
	if (!work[lp].ready)
		print("TINY LP %u does not start\n", lp);
}

void on_lp(u32 lp, void (*run)(void *), void *arg)
{
	work[lp].arg = arg;
	__atomic_store_n(&work[lp].run, run, __ATOMIC_SEQ_CST);
}

bool lp_idle(u32 lp) { return !work[lp].run; }
void join(u32 lp) { WAIT(lp_idle(lp), "the other LP's work to end"); }

/* An interrupt that means nothing, without an exit of ours: it ends a child's run there. */
void poke_lp(u32 lp)
{
	*APIC_ICR_HIGH = (first_id + lp) << ID_SHIFT;
	*APIC_ICR_LOW = ICR_ASSERT | VECTOR_IGNORE;
}

void send_ipi(u32 lp, u32 vector)
{
	wrmsr(SMSR_ICR, (u64)(first_id + lp) << ICR_DEST_SHIFT | ICR_ASSERT | vector);
}
