/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Processor: control register bits, MSRs, CPUID bits, exceptions, and the instructions C has no words for. */
#ifndef CPU_H
#define CPU_H

#include "types.h"

#define CR0_PE BIT(0)
#define CR0_ET BIT(4)
#define CR0_NE BIT(5)
#define CR0_AM_SHIFT 18
#define CR0_PG BIT(31)
#define CR4_PSE BIT(4)
#define CR4_PAE BIT(5)
#define CR4_LA57 BIT(12)
#define CR4_OSXSAVE BIT(18)
#define EFER_LME BIT(8)
#define EFER_LMA BIT(10)
#define EFER_SVME BIT(12)
#define RFLAGS_FIXED BIT(1)
#define RFLAGS_IF BIT(9)

/* Page table entries, the same in guest and nested tables */
#define PTE_P BIT(0)
#define PTE_W BIT(1)
#define PTE_U BIT(2)
#define PTE_A BIT(5)
#define PTE_D BIT(6)
#define PTE_PS BIT(7)
#define PTE_NX BIT(63)
#define PTE_ADDR 0x000ffffffffff000ul
#define PTES 512ul

#define MSR_TSC 0x10
#define MSR_APIC_BASE 0x1b
#define MSR_MTRR_CAP 0xfe
#define MSR_SYSENTER_CS 0x174
#define MSR_SYSENTER_ESP 0x175
#define MSR_SYSENTER_EIP 0x176
#define MSR_PAT 0x277
#define MSR_X2APIC 0x800			/* + register offset / 16 */
#define MSR_X2APIC_ID 0x802
#define MSR_X2APIC_EOI 0x80b
#define MSR_X2APIC_ICR 0x830
#define MSR_EFER 0xc0000080
#define MSR_STAR 0xc0000081
#define MSR_LSTAR 0xc0000082
#define MSR_CSTAR 0xc0000083
#define MSR_SFMASK 0xc0000084
#define MSR_FS_BASE 0xc0000100
#define MSR_GS_BASE 0xc0000101
#define MSR_KERNEL_GS_BASE 0xc0000102
#define MSR_VM_CR 0xc0010114
#define MSR_VM_HSAVE_PA 0xc0010117
#define VM_CR_SVMDIS BIT(4)
#define APIC_BASE_BSP BIT(8)
#define APIC_BASE_X2 BIT(10)
#define APIC_BASE_ENABLE BIT(11)
#define MTRR_CAP_DEFAULT 0x508ul	/* 8 variable, fixed, write combining */
#define PAT_DEFAULT 0x0007040600070406ul

#define CPUID_1_ECX_X2APIC BIT(21)
#define CPUID_1_ECX_XSAVE BIT(26)
#define CPUID_1_ECX_OSXSAVE BIT(27)
#define CPUID_1_ECX_HYPERVISOR BIT(31)
#define CPUID_1_EBX_APIC_SHIFT 24
#define CPUID_EXT_ECX_SVM BIT(2)
#define CPUID_LEAF_TOPOLOGY 0xb
#define CPUID_LEAF_XSAVE 0xd
#define CPUID_LEAF_EXT 0x80000001
#define CPUID_LEAF_SVM 0x8000000a
#define CPUID_LEAF_AMD_TOPOLOGY 0x8000001e

#define EXC_UD 6
#define EXC_GP 13

/* XSAVE image, legacy part and header */
#define XSAVE_FCW 0
#define XSAVE_FIP 16
#define XSAVE_MXCSR 24
#define XSAVE_ST0 32
#define XSAVE_XMM0 160
#define XSAVE_HEADER 512
#define XSAVE_HEADER_SIZE 64
#define XSAVE_USED 0x400		/* x87, SSE, AVX: what we carry */
#define XCR0_X87 BIT(0)
#define XCR0_SSE BIT(1)
#define FCW_DEFAULT 0x37f
#define MXCSR_DEFAULT 0x1f80
#define MXCSR_VALID 0xffffu

static inline void outb(u16 p, u8 v) { asm volatile("outb %0,%1" :: "a"(v), "Nd"(p)); }
static inline void outw(u16 p, u16 v) { asm volatile("outw %0,%1" :: "a"(v), "Nd"(p)); }
static inline u32 inl(u16 p) { u32 v; asm volatile("inl %1,%0" : "=a"(v) : "Nd"(p)); return v; }

static inline u64 rdmsr(u32 m)
{
	u32 a, d;
	asm volatile("rdmsr" : "=a"(a), "=d"(d) : "c"(m) : "memory");
	return a | (u64)d << 32;
}

static inline void wrmsr(u32 m, u64 v)
{
	asm volatile("wrmsr" :: "c"(m), "a"((u32)v), "d"((u32)(v >> 32)) : "memory");
}

static inline u64 rdtsc(void)
{
	u32 a, d;
	asm volatile("rdtsc" : "=a"(a), "=d"(d));
	return a | (u64)d << 32;
}

static inline void cpuid(u32 leaf, u32 sub, u32 r[4])
{
	asm volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(sub));
}

static inline u64 rdcr4(void) { u64 v; asm volatile("mov %%cr4,%0" : "=r"(v)); return v; }
static inline void wrcr4(u64 v) { asm volatile("mov %0,%%cr4" :: "r"(v) : "memory"); }

static inline void xsetbv0(u64 v)
{
	asm volatile("xsetbv" :: "c"(0), "a"((u32)v), "d"((u32)(v >> 32)));
}

static inline u64 xgetbv0(void)
{
	u32 a, d;
	asm volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	return a | (u64)d << 32;
}

static inline void relax(void) { __builtin_ia32_pause(); }

typedef volatile int lock_t;
static inline void lock(lock_t *l)
{
	while (__atomic_exchange_n(l, 1, __ATOMIC_ACQUIRE))
		while (*l)
			relax();
}
static inline void unlock(lock_t *l) { __atomic_store_n(l, 0, __ATOMIC_RELEASE); }

#endif
