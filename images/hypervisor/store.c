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
#define OP_TWO_BYTES 0x0f
#define OP2_MOVNTI 0xc3			/* movnti m, r */
#define PREFIX_OPERAND 0x66
#define PREFIX_ADDRESS 0x67
#define REX_FIRST 0x40
#define REX_LAST 0x4f
#define REX_W 8
#define REX_R 4
#define MOD_REGISTER 3
#define RM_SIB 4
#define RM_DISP32 5
#define RM_DISP16 6
#define FIRST_HIGH_BYTE 4		/* without REX, byte registers 4 to 7 are ah, ch, dh, bh */
#define REG_RAX_INDEX 0
#define REG_RSP_INDEX 4

struct cursor { const u8 *b; u32 n, i; bool short_of; };

static u8 take(struct cursor *c)
{
	if (c->i < c->n)
		return c->b[c->i++];
	c->short_of = true;
	return 0;
}

static u64 take_value(struct cursor *c, u32 bytes)
{
	u64 v = 0;

	for (u32 i = 0; i < bytes; i++)
		v |= (u64)take(c) << i * 8;
	return v;
}

/* Walk over mod/rm, SIB and displacement; the register field, or -1 if the operand is no memory. */
static int memory_operand(struct cursor *c, bool a16)
{
	u8 m = take(c), mod = m >> 6, rm = m & 7, sib = 0;

	if (mod == MOD_REGISTER)
		return -1;
	if (a16) {
		take_value(c, mod == 1 ? 1 : mod == 2 || (!mod && rm == RM_DISP16) ? 2 : 0);
		return m >> 3 & 7;
	}
	if (rm == RM_SIB)
		sib = take(c) & 7;
	if (mod)
		take_value(c, mod == 1 ? 1 : 4);
	else if (rm == RM_DISP32 || (rm == RM_SIB && sib == RM_DISP32))
		take_value(c, 4);
	return m >> 3 & 7;
}

static u64 register_value(const struct vp *vp, u32 reg)
{
	const struct vmcb *v = vp->vmcb;

	return reg == REG_RAX_INDEX ? v->rax : reg == REG_RSP_INDEX ? v->rsp : (&vp->g.rax)[reg];
}

static u64 byte_register(const struct vp *vp, u32 reg, bool rex)
{
	if (!rex && reg >= FIRST_HIGH_BYTE)
		return register_value(vp, reg - FIRST_HIGH_BYTE) >> 8;
	return register_value(vp, reg);
}

/* The instruction at rip: true if it is a store, with its length, and the size and value that it stores. */
bool store_decode(const struct vp *vp, const u8 *bytes, u32 n, struct store *s)
{
	const struct vmcb *v = vp->vmcb;
	bool code64 = v->efer & EFER_LMA && v->cs.attributes & SEG_LONG, code16 = !code64 && !(v->cs.attributes & SEG_DB);
	struct cursor c = { .b = bytes, .n = n };
	bool o16 = code16, a16 = code16, a32 = false;
	u8 op, rex = 0;
	int reg = REG_RAX_INDEX;

	for (op = take(&c);; op = take(&c)) {
		if (op == PREFIX_OPERAND)
			o16 = !code16;
		else if (op == PREFIX_ADDRESS)
			a16 = !code64 && !code16, a32 = true;
		else if (op != 0x26 && op != 0x2e && op != 0x36 && op != 0x3e && op != 0x64 && op != 0x65)
			break;
	}
	if (code64 && op >= REX_FIRST && op <= REX_LAST) {
		rex = op;
		op = take(&c);
	}
	s->size = rex & REX_W ? 8 : o16 ? 2 : 4;
	if (op == OP_TWO_BYTES && take(&c) == OP2_MOVNTI && !o16)
		op = OP_STORE;
	if (op == OP_STORE8 || op == OP_STORE_A8 || op == OP_STORE_IMM8)
		s->size = 1;
	switch (op) {
	case OP_STORE8:
	case OP_STORE:
		reg = memory_operand(&c, a16);
		if (reg < 0)
			return false;
		reg |= rex & REX_R ? 8 : 0;
		s->value = s->size == 1 ? byte_register(vp, reg, rex) : register_value(vp, reg);
		break;
	case OP_STORE_A8:
	case OP_STORE_A:
		take_value(&c, code64 ? (a32 ? 4 : 8) : a16 ? 2 : 4);
		s->value = v->rax;
		break;
	case OP_STORE_IMM8:
	case OP_STORE_IMM:
		if (memory_operand(&c, a16) != 0)	/* the field is a part of the opcode */
			return false;
		s->value = take_value(&c, s->size == 8 ? 4 : s->size);
		if (s->size == 8)
			s->value = (u64)(s64)(int)s->value;
		break;
	default:
		return false;
	}
	s->length = c.i;
	if (s->size < 8)
		s->value &= BIT(s->size * 8) - 1;
	return !c.short_of;
}
