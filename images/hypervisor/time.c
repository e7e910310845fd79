/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Time: TSC frequency from the ACPI PM timer, the 10 MHz reference counter, the reference TSC page. */
#include "hv.h"

#define PM_TIMER_PORT 0x608		/* SeaBIOS puts q35's PM block at 0x600 */
#define PM_TIMER_HZ 3579545ul
#define PM_TIMER_MASK 0xffffffu
#define CALIBRATION (PM_TIMER_HZ / 50)	/* 20 ms */
#define SAMPLES 16
#define REF_HZ 10000000ul
#define YEARS 1000000000ul		/* in seconds: no overflow below that */

u64 tsc_hz;
static u64 tsc0, scale;			/* reference time = (TSC - tsc0) * scale >> 64 */

/* The tightest of several readings, so that a preempted QEMU does not spoil the pair. */
static u32 pm_sample(u64 *tsc)
{
	u64 best = ~0ul;
	u32 pm = 0;

	*tsc = 0;

	for (u32 i = 0; i < SAMPLES; i++) {
		u64 a = rdtsc();
		u32 t = inl(PM_TIMER_PORT) & PM_TIMER_MASK;
		u64 b = rdtsc();
		if (b - a < best)
			best = b - a, pm = t, *tsc = a + (b - a) / 2;
	}
	return pm;
}

static u64 calibrate(void)
{
	u64 t0, t1;
	u32 p0 = pm_sample(&t0), p1;

	while (((inl(PM_TIMER_PORT) - p0) & PM_TIMER_MASK) < CALIBRATION)
		relax();
	p1 = pm_sample(&t1);
	return (t1 - t0) * PM_TIMER_HZ / ((p1 - p0) & PM_TIMER_MASK);
}

/* So many TSC ticks in units of the reference time. */
u64 ref_units(u64 ticks) { return (unsigned __int128)ticks * scale >> 64; }
u64 ref_time(void) { return ref_units(rdtsc() - tsc0); }

/* What a reference TSC page must say so that a TSC that is ahead by so much gives our reference time. */
u64 ref_scale(void) { return scale; }
s64 ref_offset(u64 ahead) { return -(s64)((__int128)(s64)(tsc0 + ahead) * (__int128)scale >> 64); }

/* When the reference time has reached this value; TIMER_NEVER if that is too far away. */
u64 ref_to_tsc(u64 ref)
{
	u64 seconds = ref / REF_HZ, rest = ref % REF_HZ;

	return seconds > YEARS ? TIMER_NEVER : tsc0 + seconds * tsc_hz + rest * tsc_hz / REF_HZ + 1;
}

void time_init(void)
{
	u64 high, rest;

	tsc_hz = host_block.tsc_hz = calibrate();
	tsc0 = rdtsc();
	/* (10^7 << 64) / tsc_hz in two 32-bit steps: there is no 128-bit division here */
	high = (REF_HZ << 32) / tsc_hz;
	rest = (REF_HZ << 32) % tsc_hz;
	scale = high << 32 | (rest << 32) / tsc_hz;
}

void *tsc_page(void)
{
	struct wire_tsc_page *p = shared_alloc();

	p->scale = scale;
	p->offset = -(s64)((unsigned __int128)tsc0 * scale >> 64);
	p->sequence = 1;
	return p;
}
