/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A child's instruction: its prefixes and opcode, and the address of its memory operand. Instructions that use more
 * than one, or none that mod/rm names, are not known here.
 */
#include "abi.h"
#include "hv.h"

#define OP_TWO_BYTES 0x0f
#define PREFIX_ES 0x26
#define PREFIX_CS 0x2e
#define PREFIX_SS 0x36
#define PREFIX_DS 0x3e
#define PREFIX_FS 0x64
#define PREFIX_GS 0x65
#define PREFIX_OPERAND 0x66
#define PREFIX_ADDRESS 0x67
#define PREFIX_LOCK 0xf0
#define PREFIX_REPNE 0xf2
#define PREFIX_REP 0xf3
#define REX_FIRST 0x40
#define REX_LAST 0x4f
#define REX_X 2
#define REX_B 1
#define MOD_REGISTER 3
#define RM_SIB 4
#define RM_DISP32 5
#define RM_DISP16 6
#define NO_INDEX 4
#define REG_RAX_INDEX 0
#define REG_RBX_INDEX 3
#define REG_RSP_INDEX 4
#define REG_RBP_INDEX 5
#define REG_RSI_INDEX 6
#define REG_RDI_INDEX 7

enum { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_DEFAULT };	/* as the VMCB has them */

/* ---- bytes ---- */
static u8 take(struct instruction *i)
{
	if (i->taken < i->n)
		return i->bytes[i->taken++];
	i->short_of = true;
	return 0;
}

u64 instruction_value(struct instruction *i, u32 bytes)
{
	u64 v = 0;

	for (u32 n = 0; n < bytes; n++)
		v |= (u64)take(i) << n * 8;
	return v;
}

static u64 displacement(struct instruction *i, u32 bytes)
{
	u64 v = instruction_value(i, bytes);

	return bytes == 1 ? (u64)(s64)(signed char)v : bytes == 2 ? (u64)(s64)(short)v : (u64)(s64)(int)v;
}

u64 instruction_register(const struct vp *vp, u32 reg)
{
	const struct vmcb *v = vp->vmcb;

	return reg == REG_RAX_INDEX ? v->rax : reg == REG_RSP_INDEX ? v->rsp : (&vp->g.rax)[reg];
}

/* ---- prefixes and opcode ---- */
static bool prefix(struct instruction *i, u8 b)
{
	switch (b) {
	case PREFIX_OPERAND: i->o16 = !i->code16; break;
	case PREFIX_ADDRESS: i->address_size = i->code64 || i->code16 ? 4 : 2; break;
	case PREFIX_ES: i->segment = SEG_ES; break;
	case PREFIX_CS: i->segment = SEG_CS; break;
	case PREFIX_SS: i->segment = SEG_SS; break;
	case PREFIX_DS: i->segment = SEG_DS; break;
	case PREFIX_FS: i->segment = SEG_FS; break;
	case PREFIX_GS: i->segment = SEG_GS; break;
	case PREFIX_LOCK:
	case PREFIX_REPNE:
	case PREFIX_REP: i->repeats_or_locks = true; break;
	default: return false;
	}
	return true;
}

struct instruction instruction_begin(const struct vp *vp, const u8 *bytes, u32 n)
{
	const struct vmcb *v = vp->vmcb;
	struct instruction i = { .bytes = bytes, .n = n, .segment = SEG_DEFAULT };

	i.code64 = v->efer & EFER_LMA && v->cs.attributes & SEG_LONG;
	i.code16 = !i.code64 && !(v->cs.attributes & SEG_DB);
	i.o16 = i.code16;
	i.address_size = i.code64 ? 8 : i.code16 ? 2 : 4;
	do
		i.op = take(&i);
	while (!i.short_of && prefix(&i, i.op));
	if (i.code64 && i.op >= REX_FIRST && i.op <= REX_LAST) {
		i.rex = i.op;
		i.op = take(&i);
	}
	if (i.op == OP_TWO_BYTES) {
		i.two_bytes = true;
		i.op = take(&i);
	}
	return i;
}

/* ---- mod/rm ---- */
static void operand16(struct instruction *i, const struct vp *vp, u8 mod, u8 rm)
{
	static const struct { u8 base, index; } form[] = {
		{ REG_RBX_INDEX, REG_RSI_INDEX }, { REG_RBX_INDEX, REG_RDI_INDEX }, { REG_RBP_INDEX, REG_RSI_INDEX },
		{ REG_RBP_INDEX, REG_RDI_INDEX }, { REG_RSI_INDEX, 0 }, { REG_RDI_INDEX, 0 }, { REG_RBP_INDEX, 0 },
		{ REG_RBX_INDEX, 0 },
	};
	bool direct = !mod && rm == RM_DISP16;

	if (!direct) {
		i->offset = instruction_register(vp, form[rm].base);
		i->offset += form[rm].index ? instruction_register(vp, form[rm].index) : 0;
		i->on_stack = form[rm].base == REG_RBP_INDEX;
	}
	if (mod || direct)
		i->offset += displacement(i, mod == 1 ? 1 : 2);
}

static void operand32(struct instruction *i, const struct vp *vp, u8 mod, u8 rm)
{
	u32 base = rm;
	u8 sib;

	if (rm == RM_SIB) {
		u32 index;

		sib = take(i);
		base = sib & 7;
		index = (sib >> 3 & 7) | (i->rex & REX_X ? 8 : 0);
		if (index != NO_INDEX)
			i->offset = instruction_register(vp, index) << (sib >> 6);
	} else if (!mod && rm == RM_DISP32) {
		i->relative = i->code64;
	}
	if (mod || base != RM_DISP32) {
		base |= i->rex & REX_B ? 8 : 0;
		i->on_stack = base == REG_RSP_INDEX || base == REG_RBP_INDEX;
		i->offset += instruction_register(vp, base);
		if (mod)
			i->offset += displacement(i, mod == 1 ? 1 : 4);
	} else {
		i->offset += displacement(i, 4);
	}
}

/* Take mod/rm, SIB and displacement: the register field, or -1 if the operand is no memory. */
int instruction_operand(struct instruction *i, const struct vp *vp)
{
	u8 m = take(i), mod = m >> 6, rm = m & 7;

	if (mod == MOD_REGISTER)
		return -1;
	i->offset = 0;
	if (i->address_size == 2)
		operand16(i, vp, mod, rm);
	else
		operand32(i, vp, mod, rm);
	return m >> 3 & 7;
}

/* ---- which instructions access their operand, and what follows it ---- */
static bool accesses(const struct instruction *i)
{
	if (i->two_bytes)
		switch (i->op) {
		case 0x10: case 0x11: case 0x28: case 0x29: case 0x2b:	/* moves of SSE */
		case 0x6e: case 0x6f: case 0x7e: case 0x7f: case 0xd6: case 0xe7:
		case 0xb0: case 0xb1: case 0xc0: case 0xc1: case 0xc7:	/* CMPXCHG, XADD, CMPXCHG8B */
		case 0xb6: case 0xb7: case 0xbe: case 0xbf: case 0xc3:	/* MOVZX, MOVSX, MOVNTI */
			return true;
		default: return false;
		}
	if (i->op < 0x40)						/* arithmetic with a register */
		return (i->op & 7) < 4;
	switch (i->op) {
	case 0x63: case 0x69: case 0x6b: case 0x80: case 0x81: case 0x83:	/* MOVSXD, IMUL, arithmetic with a constant */
	case 0x84 ... 0x8c: case 0x8e: case 0xc6: case 0xc7:		/* TEST, XCHG, MOV */
	case 0xc0: case 0xc1: case 0xd0 ... 0xd3: case 0xd8 ... 0xdf:	/* shifts, x87 */
	case 0xf6: case 0xf7: case 0xfe: case 0xff: return true;
	default: return false;
	}
}

static u32 immediate(const struct instruction *i, int reg)
{
	u32 wide = i->o16 && !(i->rex & REX_W) ? 2 : 4;

	if (i->two_bytes)
		return 0;
	switch (i->op) {
	case 0x69: case 0x81: case 0xc7: return wide;
	case 0x6b: case 0x80: case 0x83: case 0xc0: case 0xc1: case 0xc6: return 1;
	case 0xf6: return reg < 2;					/* TEST; the others of its group have none */
	case 0xf7: return reg < 2 ? wide : 0;
	default: return 0;
	}
}

/* The linear address of the operand. */
static u64 linear(const struct instruction *i, const struct vp *vp)
{
	u32 segment = i->segment != SEG_DEFAULT ? i->segment : i->on_stack ? SEG_SS : SEG_DS;
	u64 offset = i->offset + (i->relative ? vp->vmcb->rip + i->taken : 0);

	if (i->address_size < 8)
		offset &= BIT(i->address_size * 8) - 1;
	if (i->code64)
		return offset + (segment >= SEG_FS ? (&vp->vmcb->es)[segment].base : 0);
	return (offset + (&vp->vmcb->es)[segment].base) & 0xffffffff;
}

/* The address that the instruction reads or writes, if it is one of those above. */
bool instruction_address(const struct vp *vp, const u8 *bytes, u32 n, u64 *gva)
{
	struct instruction i = instruction_begin(vp, bytes, n);

	if (!i.two_bytes && i.op >= OP_MOFFS_FIRST && i.op <= OP_MOFFS_LAST) {
		i.offset = instruction_value(&i, i.address_size);
	} else {
		int reg = accesses(&i) ? instruction_operand(&i, vp) : -1;

		if (reg < 0)
			return false;
		instruction_value(&i, immediate(&i, reg));
	}
	*gva = linear(&i, vp);
	return !i.short_of;
}
