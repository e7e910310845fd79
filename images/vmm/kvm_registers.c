/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VP registers under /dev/kvm, by their names of /dev/mshv: the twin of registers.c. */
#include <errno.h>
#include <sys/ioctl.h>

#include "kvm.h"

#define TYPE_CODE		0xb	/* execute, read, accessed */
#define TYPE_DATA		0x3	/* read, write, accessed */
#define TYPE_LDT		0x2
#define TYPE_TSS_BUSY		0xb

int registers_point(const struct vcpu *cpu, const struct payload_registers *at)
{
	struct kvm_regs registers;

	if (ioctl(cpu->fd, KVM_GET_REGS, &registers))
		return -1;
	registers.rip = at->rip;
	registers.rsp = at->rsp;
	registers.rbx = at->rbx;
	registers.rbp = at->rbp;
	return ioctl(cpu->fd, KVM_SET_REGS, &registers);
}

static uint64_t value_of(uint32_t name, const struct kvm_regs *general, const struct kvm_sregs *special)
{
	switch (name) {
	case ABI_REG_RAX: return general->rax;
	case ABI_REG_RBX: return general->rbx;
	case ABI_REG_RBP: return general->rbp;
	case ABI_REG_RSP: return general->rsp;
	case ABI_REG_RDI: return general->rdi;
	case ABI_REG_RIP: return general->rip;
	case ABI_REG_RFLAGS: return general->rflags;
	case ABI_REG_CR0: return special->cr0;
	case ABI_REG_CR2: return special->cr2;
	case ABI_REG_CR3: return special->cr3;
	case ABI_REG_CR4: return special->cr4;
	default: return special->efer;
	}
}

int registers_get(const struct vcpu *cpu, const uint32_t *names, union abi_value *values, uint16_t count)
{
	struct kvm_regs general;
	struct kvm_sregs special;

	if (ioctl(cpu->fd, KVM_GET_REGS, &general) || ioctl(cpu->fd, KVM_GET_SREGS, &special))
		return -1;
	for (uint16_t i = 0; i < count; i++)
		values[i] = (union abi_value){ .word = { value_of(names[i], &general, &special) } };
	return 0;
}

int registers_long_mode(const struct vcpu *cpu)
{
	static const struct kvm_segment data = {
		.limit = 0xffffffff, .selector = 0x10, .type = TYPE_DATA, .present = 1, .db = 1, .s = 1, .g = 1,
	};
	const struct kvm_regs general = { .rflags = RFLAGS_FIXED };
	struct kvm_sregs special;

	if (ioctl(cpu->fd, KVM_SET_REGS, &general) || ioctl(cpu->fd, KVM_GET_SREGS, &special))
		return -1;
	special.cr0 = LONG_MODE_CR0;
	special.cr3 = LAYOUT_PML4;
	special.cr4 = LONG_MODE_CR4;
	special.efer = LONG_MODE_EFER;
	special.ds = special.es = special.fs = special.gs = special.ss = data;
	special.cs = (struct kvm_segment){
		.limit = 0xffffffff, .selector = 0x08, .type = TYPE_CODE, .present = 1, .l = 1, .s = 1, .g = 1,
	};
	special.ldt = (struct kvm_segment){ .type = TYPE_LDT, .unusable = 1 };
	special.tr = (struct kvm_segment){ .limit = 0x67, .selector = 0x18, .type = TYPE_TSS_BUSY, .present = 1 };
	special.gdt = special.idt = (struct kvm_dtable){ 0 };	/* empty: any exception is a triple fault */
	return ioctl(cpu->fd, KVM_SET_SREGS, &special);
}
