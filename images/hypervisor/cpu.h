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
#define CR4_SMEP BIT(20)
#define CR4_SMAP BIT(21)
#define CR0_WP BIT(16)
#define RFLAGS_AC BIT(18)
#define CHILD_ADDRESS_MASK 0xfffffffffful	/* 40 bits: what PROP_PHYSICAL_ADDRESS_WIDTH says */
#define EFER_LME BIT(8)
#define EFER_LMA BIT(10)
#define EFER_NXE BIT(11)
#define EFER_SVME BIT(12)
#define RFLAGS_FIXED BIT(1)
#define RFLAGS_IF BIT(9)

/* Page table entries, the same in guest and nested tables */
#define PTE_P BIT(0)
#define PTE_W BIT(1)
#define PTE_U BIT(2)
#define PTE_PWT BIT(3)
#define PTE_PCD BIT(4)
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
#define MSR_PLATFORM_ID 0x17
#define MSR_PATCH_LEVEL 0x8b
#define MSR_MCG_CAP 0x179
#define MSR_DEBUGCTL 0x1d9
#define MSR_MTRR_PHYS 0x200
#define MSR_MTRR_FIX64K 0x250
#define MSR_MTRR_FIX16K 0x258
#define MSR_MTRR_FIX4K 0x268
#define MSR_MTRR_DEF 0x2ff
#define MTRR_VARIABLE 8
#define MSR_TSC_DEADLINE 0x6e0
#define MSR_SYSCFG 0xc0010010
#define MSR_HWCR 0xc0010015
#define MSR_TOP_MEM 0xc001001a
#define MSR_TOP_MEM2 0xc001001d
#define MSR_NB_CFG 0xc001001f
#define MSR_INT_PENDING 0xc0010055
#define MSR_MMCONF_BASE 0xc0010058
#define MSR_OSVW_LENGTH 0xc0010140
#define MSR_OSVW_STATUS 0xc0010141
#define MSR_LS_CFG 0xc0011020
#define MSR_IC_CFG 0xc0011021
#define MSR_DE_CFG 0xc0011029
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
#define MSR_TSC_AUX 0xc0000103
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
#define CPUID_1_ECX_DEADLINE BIT(24)
#define CPUID_1_EDX_APIC BIT(9)
#define CPUID_1_EBX_APIC_SHIFT 24
#define CPUID_1_EBX_APIC_REST 0x00ffffffu
#define CPUID_EXT_ECX_SVM BIT(2)
#define CPUID_LEAF_TOPOLOGY 0xb
#define CPUID_LEAF_XSAVE 0xd
#define CPUID_LEAF_EXT 0x80000001
#define CPUID_LEAF_ADDRESS 0x80000008	/* eax: bits of a physical address, in its low byte */
#define CPUID_LEAF_SVM 0x8000000a
#define CPUID_LEAF_AMD_TOPOLOGY 0x8000001e

#define EXC_NMI 2
#define EXC_UD 6
#define EXC_GP 13
#define EXC_PF 14
#define EXC_LAST 32			/* vectors from here on are interrupts */

/* XSAVE image, legacy part and header */
#define XSAVE_FCW 0
#define XSAVE_FIP 16
#define XSAVE_MXCSR 24
#define XSAVE_ST0 32
#define XSAVE_XMM0 160
#define XSAVE_XMM_SIZE 256
#define XSAVE_HEADER 512
#define XSAVE_HEADER_SIZE 64
#define XSAVE_USED 0x400		/* x87, SSE, AVX: what we carry */
#define XCR0_X87 BIT(0)
#define XCR0_SSE BIT(1)
#define XCR0_AVX BIT(2)
#define XCR0_BND (BIT(3) | BIT(4))
#define XCR0_AVX512 (BIT(5) | BIT(6) | BIT(7))
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

#ifndef rdtsc			/* tests have a clock of their own */
static inline u64 rdtsc(void)
{
	u32 a, d;
	asm volatile("rdtsc" : "=a"(a), "=d"(d));
	return a | (u64)d << 32;
}
#endif

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

/* XSETBV faults on anything else: what the processor has, and no part without what it builds on. */
static inline bool xcr0_valid(u64 v, u64 max)
{
	if (v & ~max || !(v & XCR0_X87) || (v & XCR0_AVX && !(v & XCR0_SSE)))
		return false;
	if ((v & XCR0_BND && ~v & XCR0_BND) || (v & XCR0_AVX512 && ~v & (XCR0_AVX512 | XCR0_AVX)))
		return false;
	return true;
}

static inline u64 xgetbv0(void)
{
	u32 a, d;
	asm volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
	return a | (u64)d << 32;
}

/* Let a pending NMI arrive: GIF is 0 in all of the stand-in, and the NMI handler only returns. */
static inline void take_nmi(void) { asm volatile("cli; stgi; nop; nop; clgi; sti" ::: "memory"); }
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
