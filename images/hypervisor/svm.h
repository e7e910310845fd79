/* SPDX-License-Identifier: GPL-2.0-or-later */
/* AMD SVM: the VMCB and its bits (AMD64 APM volume 2, appendices B and C). */
#ifndef SVM_H
#define SVM_H

#include "types.h"

struct seg { u16 selector, attributes; u32 limit; u64 base; } PACKED;

struct vmcb {
	u32 int_cr, int_dr, int_exc, int_misc1, int_misc2;
	u8 reserved0[0x40 - 0x14];
	u64 iopm, msrpm, tsc_offset;
	u32 asid;
	u8 tlb_ctl, reserved1[3];
	u64 vintr;
	u64 shadow;
	u64 exitcode, info1, info2, intinfo;
	u64 np_enable;
	u8 reserved2[0xa8 - 0x98];
	u64 eventinj, ncr3;
	u64 lbr, clean, nrip;
	u8 insn_len, insn[15];
	u8 reserved3[0x400 - 0xe0];
	struct seg es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
	u8 reserved4[0x4cb - 0x4a0];
	u8 cpl;
	u32 reserved5;
	u64 efer;
	u8 reserved6[0x548 - 0x4d8];
	u64 cr4, cr3, cr0, dr7, dr6, rflags, rip;
	u8 reserved7[0x5d8 - 0x580];
	u64 rsp;
	u8 reserved8[0x5f8 - 0x5e0];
	u64 rax, star, lstar, cstar, sfmask, kernel_gs_base;
	u64 sysenter_cs, sysenter_esp, sysenter_eip, cr2;
	u8 reserved9[0x668 - 0x648];
	u64 gpat;
	u8 reserved10[0x1000 - 0x670];
} PACKED;
CHECK_SIZE(struct vmcb, 0x1000);
CHECK_OFFSET(struct vmcb, asid, 0x58);
CHECK_OFFSET(struct vmcb, vintr, 0x60);
CHECK_OFFSET(struct vmcb, exitcode, 0x70);
CHECK_OFFSET(struct vmcb, np_enable, 0x90);
CHECK_OFFSET(struct vmcb, eventinj, 0xa8);
CHECK_OFFSET(struct vmcb, es, 0x400);
CHECK_OFFSET(struct vmcb, cpl, 0x4cb);
CHECK_OFFSET(struct vmcb, efer, 0x4d0);
CHECK_OFFSET(struct vmcb, cr4, 0x548);
CHECK_OFFSET(struct vmcb, rip, 0x578);
CHECK_OFFSET(struct vmcb, rsp, 0x5d8);
CHECK_OFFSET(struct vmcb, rax, 0x5f8);
CHECK_OFFSET(struct vmcb, cr2, 0x640);
CHECK_OFFSET(struct vmcb, gpat, 0x668);

/* General registers the VMCB does not hold (rax and rsp slots unused), in Hyper-V's order; boot.S knows the offsets. */
struct gprs { u64 rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15; };
CHECK_OFFSET(struct gprs, rsi, 0x30);
CHECK_OFFSET(struct gprs, r15, 0x78);

#define EXIT_INTR 0x60
#define EXIT_NMI 0x61
#define EXIT_VINTR 0x64
#define EXIT_CPUID 0x72
#define EXIT_EXCEPTION 0x40		/* + vector */
#define EXIT_IRET 0x74
#define EXIT_HLT 0x78
#define EXIT_INVLPGA 0x7a
#define EXIT_IOIO 0x7b
#define EXIT_MSR 0x7c
#define EXIT_SHUTDOWN 0x7f
#define EXIT_VMRUN 0x80
#define EXIT_VMMCALL 0x81
#define EXIT_VMLOAD 0x82
#define EXIT_SKINIT 0x86
#define EXIT_XSETBV 0x8d
#define EXIT_NPF 0x400
#define EXIT_INVALID 0xffffffffu		/* as TCG has it: 32 bits of -1 */

#define MISC1_INTR BIT(0)
#define MISC1_NMI BIT(1)
#define MISC1_INIT BIT(3)
#define MISC1_VINTR BIT(4)
#define MISC1_CPUID BIT(18)
#define MISC1_IRET BIT(20)
#define MISC1_HLT BIT(24)
#define MISC1_INVLPGA BIT(26)
#define MISC1_IOIO BIT(27)
#define MISC1_MSR BIT(28)
#define MISC1_SHUTDOWN BIT(31)
#define MISC2_SVM 0x7fu			/* VMRUN VMMCALL VMLOAD VMSAVE STGI CLGI SKINIT */
#define MISC2_XSETBV BIT(13)

#define TLB_FLUSH_ALL 1
#define NP_ENABLE 1
#define VINTR_TPR_MASK 15ul
#define VINTR_IRQ BIT(8)
#define VINTR_PRIORITY_SHIFT 16
#define VINTR_PRIORITY_MASK (15ul << 16)
#define VINTR_IGNORE_TPR BIT(20)
#define VINTR_MASKING BIT(24)
#define VINTR_VECTOR_SHIFT 32
#define VINTR_VECTOR_MASK (0xfful << VINTR_VECTOR_SHIFT)
#define SHADOW_INTERRUPT 1ul

#define EVENT_VALID BIT(31)
#define EVENT_ERROR_CODE BIT(11)
#define EVENT_TYPE_SHIFT 8
#define EVENT_TYPE_NMI 2ul
#define EVENT_TYPE_EXCEPTION 3ul
#define EVENT_ERROR_SHIFT 32

#define NPF_PRESENT BIT(0)
#define NPF_WRITE BIT(1)
#define NPF_RESERVED BIT(3)
#define NPF_FETCH BIT(4)
#define NPF_WALK BIT(33)			/* not the access itself: an entry of the guest's own tables */

#define IOIO_IN BIT(0)
#define IOIO_STRING_SHIFT 2
#define IOIO_REP_SHIFT 3
#define IOIO_SIZE_SHIFT 4
#define IOIO_PORT_SHIFT 16
#define MSR_EXIT_WRITE 1ul

#define SEG_P_DPL_DATA 0x93
#define SEG_CODE 0x9b
#define SEG_LDT 0x82
#define SEG_TSS 0x8b
#define SEG_LONG 0x200
#define SEG_DB 0x400
#define SEG_FLAT_DATA 0xc93		/* G, D */
#define SEG_FLAT_CODE32 0xc9b
#define SEG_FLAT_CODE64 0xa9b

#define ASID_ROOT 1

/* No NRIPS under TCG: lengths of the instructions that exit */
#define LEN_CPUID 2
#define LEN_MSR 2
#define LEN_VMMCALL 3
#define LEN_HLT 1
#define LEN_XSETBV 3

#endif
