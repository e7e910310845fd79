/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VP registers under /dev/mshv, through the hypercalls that the driver passes on. kvm_registers.c is its twin. */
#include <errno.h>
#include <string.h>

#include "backend.h"
#include "vmm.h"

#define MAX_REGISTERS		32


/* Descriptor attributes: type, S, DPL, P in bits 0-7, AVL, L, D, G in bits 12-15. */
#define ATTRIBUTES_CODE64	0xa09b
#define ATTRIBUTES_DATA		0xc093
#define ATTRIBUTES_LDT		0x0082
#define ATTRIBUTES_TSS_BUSY	0x008b

static int registers_set(const struct vcpu *cpu, const struct abi_register *registers, uint16_t count)
{
	struct {
		struct abi_register_call call;
		struct abi_register registers[MAX_REGISTERS];
	} input = { .call.vp = cpu->index };

	if (count > MAX_REGISTERS)
		return errno = EINVAL, -1;
	memcpy(input.registers, registers, count * sizeof *registers);
	struct abi_hypercall call = {
		.code = ABI_CALL_SET_REGISTERS,
		.reps = count,
		.in_size = sizeof input.call + count * sizeof *registers,
		.in = (uintptr_t)&input,
	};
	return ioctl(cpu->fd, ABI_HYPERCALL, &call);
}

int registers_get(const struct vcpu *cpu, const uint32_t *names, union abi_value *values, uint16_t count)
{
	struct {
		struct abi_register_call call;
		uint32_t names[MAX_REGISTERS];
	} input = { .call.vp = cpu->index };

	if (count > MAX_REGISTERS)
		return errno = EINVAL, -1;
	memcpy(input.names, names, count * sizeof *names);
	struct abi_hypercall call = {
		.code = ABI_CALL_GET_REGISTERS,
		.reps = count,
		.in_size = sizeof input.call + count * sizeof *names,
		.out_size = count * sizeof *values,
		.in = (uintptr_t)&input,
		.out = (uintptr_t)values,
	};
	return ioctl(cpu->fd, ABI_HYPERCALL, &call);
}

int registers_point(const struct vcpu *cpu, const struct payload_registers *at)
{
	const struct abi_register list[] = {
		{ .name = ABI_REG_RIP, .value.word = { at->rip } },
		{ .name = ABI_REG_RSP, .value.word = { at->rsp } },
		{ .name = ABI_REG_RBX, .value.word = { at->rbx } },
		{ .name = ABI_REG_RBP, .value.word = { at->rbp } },
	};

	return registers_set(cpu, list, sizeof list / sizeof *list);
}

int registers_long_mode(const struct vcpu *cpu)
{
	static const uint64_t words[][2] = {
		{ ABI_REG_ACTIVITY, 0 },	/* with a local APIC all but the first wait for SIPI */
		{ ABI_REG_PENDING_EVENT, 0 },	/* else a triple fault would be delivered again */
		{ ABI_REG_CR3, LAYOUT_PML4 },
		{ ABI_REG_CR4, LONG_MODE_CR4 },
		{ ABI_REG_EFER, LONG_MODE_EFER },
		{ ABI_REG_CR0, LONG_MODE_CR0 },
		{ ABI_REG_RFLAGS, RFLAGS_FIXED },
	};
	static const struct { uint32_t name; struct abi_segment segment; } segments[] = {
		{ ABI_REG_CS, { 0, 0xffffffff, 0x08, ATTRIBUTES_CODE64 } },
		{ ABI_REG_SS, { 0, 0xffffffff, 0x10, ATTRIBUTES_DATA } },
		{ ABI_REG_DS, { 0, 0xffffffff, 0x10, ATTRIBUTES_DATA } },
		{ ABI_REG_ES, { 0, 0xffffffff, 0x10, ATTRIBUTES_DATA } },
		{ ABI_REG_FS, { 0, 0xffffffff, 0x10, ATTRIBUTES_DATA } },
		{ ABI_REG_GS, { 0, 0xffffffff, 0x10, ATTRIBUTES_DATA } },
		{ ABI_REG_LDTR, { 0, 0, 0, ATTRIBUTES_LDT } },
		{ ABI_REG_TR, { 0, 0x67, 0x18, ATTRIBUTES_TSS_BUSY } },
	};
	static const uint32_t tables[] = { ABI_REG_GDTR, ABI_REG_IDTR };
	struct abi_register list[MAX_REGISTERS] = { 0 };
	uint16_t n = 0;

	for (size_t i = 0; i < sizeof words / sizeof *words; i++, n++) {
		list[n].name = (uint32_t)words[i][0];
		list[n].value.word[0] = words[i][1];
	}
	for (size_t i = 0; i < sizeof segments / sizeof *segments; i++, n++) {
		list[n].name = segments[i].name;
		list[n].value.segment = segments[i].segment;
	}
	for (size_t i = 0; i < sizeof tables / sizeof *tables; i++, n++)
		list[n].name = tables[i];		/* empty: any exception is a triple fault */
	return registers_set(cpu, list, n);
}
