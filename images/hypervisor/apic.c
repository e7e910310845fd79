/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The physical local APIC: shared with the root, which owns it. Start of the other LPs. */
#include "apic_regs.h"
#include "abi.h"
#include "hv.h"

#define AP_STACK_PAGES 8
#define INIT_DELAY_US 200
#define START_POLL_US 10
#define START_POLLS 100000

static bool x2apic(void) { return rdmsr(MSR_APIC_BASE) & APIC_BASE_X2; }
static volatile u32 *reg(u32 offset) { return (volatile u32 *)(APIC_DEFAULT_BASE + offset); }

u32 apic_read(u32 offset) { return x2apic() ? rdmsr(MSR_X2APIC + offset / 16) : *reg(offset); }

void apic_write(u32 offset, u32 value)
{
	if (x2apic())
		wrmsr(MSR_X2APIC + offset / 16, value);
	else
		*reg(offset) = value;
}

u32 apic_id(void) { return x2apic() ? rdmsr(MSR_X2APIC_ID) : apic_read(APIC_ID) >> APIC_ID_SHIFT; }

void apic_write_icr(u32 dest, u32 low)
{
	if (x2apic()) {
		wrmsr(MSR_X2APIC_ICR, (u64)dest << 32 | low);
		return;
	}
	u32 high = apic_read(APIC_ICR_HIGH);	/* the root may be in the middle of its own ICR write */
	apic_write(APIC_ICR_HIGH, dest << APIC_ID_SHIFT);
	apic_write(APIC_ICR_LOW, low);
	apic_write(APIC_ICR_HIGH, high);
}

u64 apic_icr(void)
{
	if (x2apic())
		return rdmsr(MSR_X2APIC_ICR);
	return apic_read(APIC_ICR_LOW) | (u64)apic_read(APIC_ICR_HIGH) << 32;
}

void apic_eoi(void)
{
	if (x2apic())
		wrmsr(MSR_X2APIC_EOI, 0);
	else
		apic_write(APIC_EOI, 0);
}

static void delay_us(u32 us)
{
	u64 t = rdtsc() + tsc_hz / 1000000 * us;

	while (rdtsc() < t)
		relax();
}

void start_ap(struct lp *lp, u8 vector)
{
	if (lp->started)
		return;			/* second SIPI */
	lp->started = true;
	lp->sipi_vector = vector;
	memcpy((void *)AP_TRAMPOLINE, ap_tramp, ap_tramp_end - ap_tramp);
	ap_stack = (u64)pages_alloc(AP_STACK_PAGES) + AP_STACK_PAGES * PAGE;
	ap_index = lp->index;
	apic_write_icr(lp->apic_id, ICR_ASSERT | IPI_INIT << ICR_MODE_SHIFT);
	delay_us(INIT_DELAY_US);
	apic_write_icr(lp->apic_id, ICR_ASSERT | IPI_SIPI << ICR_MODE_SHIFT | AP_TRAMPOLINE / PAGE);
	for (u32 i = 0; i < START_POLLS && ap_index != AP_TAKEN; i++)
		delay_us(START_POLL_US);
	if (ap_index != AP_TAKEN)
		panic("lp %u (apic %u) did not come up: does QEMU have enough -smp?", lp->index, lp->apic_id);
}

/* ICR write by the root through the synthetic MSR or the x2APIC MSR. */
void root_icr(struct lp *lp, u32 dest, u32 low)
{
	u32 mode = low >> ICR_MODE_SHIFT & ICR_MODE_MASK;

	if (mode != IPI_INIT && mode != IPI_SIPI) {
		apic_write_icr(dest, low);
		return;
	}
	if (verbose)
		kprintf("lp %u: %s to apic %u, icr %#x\n", lp->index, mode == IPI_INIT ? "INIT" : "SIPI", dest, low);
	for (u32 i = 1; mode == IPI_SIPI && i < nlps; i++)
		if (lps[i].apic_id == dest)
			start_ap(&lps[i], low);
}
