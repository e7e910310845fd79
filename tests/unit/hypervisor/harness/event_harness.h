/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Included before everything else: TSC and PM timer of the harness move only when told to. */
#ifndef EVENT_HARNESS_H
#define EVENT_HARNESS_H

extern unsigned long harness_tsc;
unsigned int harness_pm_timer(void);

#define rdtsc hardware_rdtsc
#define inl hardware_inl
#include "cpu.h"
#undef rdtsc
#undef inl
#define rdtsc() harness_tsc
#define inl(port) ((void)(port), harness_pm_timer())

#endif
