/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Local APIC registers and the interrupt command register. */
#ifndef APIC_REGS_H
#define APIC_REGS_H

#define APIC_DEFAULT_BASE 0xfee00000ul
#define APIC_ID 0x20
#define APIC_VERSION 0x30
#define APIC_TPR 0x80
#define APIC_PPR 0xa0
#define APIC_EOI 0xb0
#define APIC_LDR 0xd0
#define APIC_DFR 0xe0
#define APIC_SVR 0xf0
#define APIC_ISR 0x100
#define APIC_TMR 0x180
#define APIC_IRR 0x200
#define APIC_BANK_LAST 0x70		/* offset of the last of eight words */
#define APIC_ESR 0x280
#define APIC_LVT_CMCI 0x2f0
#define APIC_ICR_LOW 0x300
#define APIC_ICR_HIGH 0x310
#define APIC_LVT_TIMER 0x320
#define APIC_LVT_ERROR 0x370
#define APIC_INITIAL_COUNT 0x380
#define APIC_CURRENT_COUNT 0x390
#define APIC_DIVIDE 0x3e0
#define APIC_BANK_STEP 0x10
#define APIC_TIMER_HZ 1000000000ul	/* QEMU's local APIC timer */
#define APIC_SELF_IPI 0x3f0		/* x2APIC only */
#define APIC_VERSION_VALUE 0x50014
#define APIC_ID_SHIFT 24

#define SVR_ENABLE 0x100u
#define SVR_VALID 0x3ffu
#define LVT_MASKED 0x10000u
#define LVT_PERIODIC 0x20000u
#define LVT_DEADLINE 0x40000u
#define LVT_TIMER_MODE (LVT_PERIODIC | LVT_DEADLINE)
#define LVT_VALID_TIMER (VECTOR_MASK | LVT_MASKED | LVT_TIMER_MODE)
#define LVT_VALID_ERROR (VECTOR_MASK | LVT_MASKED)
#define LVT_VALID (VECTOR_MASK | LVT_MASKED | 0x700u)	/* with delivery mode */
#define LVT_VALID_LINT (LVT_VALID | 0xa000u)		/* and polarity, trigger mode */
#define DIVIDE_MASK 0xbu
#define DFR_FIXED 0x0fffffffu
#define DFR_FLAT 0xf0000000u
#define LDR_MASK 0xff000000u
#define VECTOR_MASK 0xffu
#define ESR_SEND_VECTOR 0x20u
#define ESR_RECEIVE_VECTOR 0x40u
#define ESR_ILLEGAL_REGISTER 0x80u

#define ICR_MODE_SHIFT 8
#define ICR_MODE_MASK 7u
#define ICR_LOGICAL 0x800u
#define ICR_PENDING 0x1000u
#define ICR_ASSERT 0x4000u
#define ICR_TRIGGER_LEVEL 0x8000u
#define ICR_SHORTHAND_SHIFT 18
#define ICR_SHORTHAND_MASK 3u
#define ICR_VALID_X2 0x000ccfffu
#define SHORTHAND_NONE 0
#define SHORTHAND_SELF 1
#define SHORTHAND_ALL 2
#define SHORTHAND_OTHERS 3
#define DEST_BROADCAST 0xffu
#define DEST_BROADCAST_X2 0xffffffffu

/* x2APIC: MSR of a register, logical ids of 16 APICs a cluster */
#define X2APIC_FIRST 0x800u
#define X2APIC_LAST 0x8ffu
#define X2APIC_OFFSET(msr) (((msr) - X2APIC_FIRST) << 4)
#define X2APIC_LDR(id) (((id) >> 4) << 16 | 1u << ((id) & 15))

#define MSI_ADDRESS 0xfee00000u
#define MSI_DEST_SHIFT 12
#define RTE_LEVEL BIT(15)
#define RTE_DEST_SHIFT 24

#endif
