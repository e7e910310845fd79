/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A child's store to a doorbell: which bytes would be written? Only plain stores are understood (MOV and MOVNTI);
 * what does more than store goes to the VMM like any other access.
 */
#include "abi.h"
#include "hv.h"

#define OP_STORE8 0x88			/* mov r/m8, r8 */
#define OP_STORE 0x89			/* mov r/m, r */
#define OP_STORE_A8 0xa2		/* mov moffs8, al */
#define OP_STORE_A 0xa3			/* mov moffs, eax */
#define OP_STORE_IMM8 0xc6		/* mov r/m8, imm8 */
#define OP_STORE_IMM 0xc7		/* mov r/m, imm */
#define OP2_MOVNTI 0xc3			/* movnti m, r */
#define FIRST_HIGH_BYTE 4		/* without REX, byte registers 4 to 7 are ah, ch, dh, bh */
#define REG_RAX_INDEX 0

static u64 byte_register(const struct vp *vp, u32 reg, bool rex)
{
	if (!rex && reg >= FIRST_HIGH_BYTE)
		return instruction_register(vp, reg - FIRST_HIGH_BYTE) >> 8;
	return instruction_register(vp, reg);
}

/* The instruction at rip: true if it is a store, with its length, and the size and value that it stores. */
bool store_decode(const struct vp *vp, const u8 *bytes, u32 n, struct store *s)
{
	struct instruction i = instruction_begin(vp, bytes, n);
	u8 op = i.op;
	int reg = REG_RAX_INDEX;

	if (i.repeats_or_locks)
		return false;
	s->size = i.rex & REX_W ? 8 : i.o16 ? 2 : 4;
	if (i.two_bytes) {
		if (op != OP2_MOVNTI || i.o16)
			return false;
		op = OP_STORE;
	}
	if (op == OP_STORE8 || op == OP_STORE_A8 || op == OP_STORE_IMM8)
		s->size = 1;
	switch (op) {
	case OP_STORE8:
	case OP_STORE:
		reg = instruction_operand(&i, vp);
		if (reg < 0)
			return false;
		reg |= i.rex & REX_R ? 8 : 0;
		s->value = s->size == 1 ? byte_register(vp, reg, i.rex) : instruction_register(vp, reg);
		break;
	case OP_STORE_A8:
	case OP_STORE_A:
		instruction_value(&i, i.address_size);
		s->value = vp->vmcb->rax;
		break;
	case OP_STORE_IMM8:
	case OP_STORE_IMM:
		if (instruction_operand(&i, vp) != 0)	/* the field is a part of the opcode */
			return false;
		s->value = instruction_value(&i, s->size == 8 ? 4 : s->size);
		if (s->size == 8)
			s->value = (u64)(s64)(int)s->value;
		break;
	default:
		return false;
	}
	s->length = i.taken;
	if (s->size < 8)
		s->value &= BIT(s->size * 8) - 1;
	return !i.short_of;
}
