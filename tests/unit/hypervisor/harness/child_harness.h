/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Included before everything else: the processor of the harness has a TSC that only moves when told to. */
#ifndef CHILD_HARNESS_H
#define CHILD_HARNESS_H

extern unsigned long lapic_harness_tsc;
extern int lapic_harness_messages;

static inline unsigned long harness_rdtsc(void) { return lapic_harness_tsc; }
#define rdtsc() harness_rdtsc()

#endif
