/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A child's accesses to its local APIC page: the instruction decoder. */
#include "apic_regs.h"
#include "hv.h"

#define REGISTER_MASK 0xff0

/* ---- decoder: the MOV forms that operating systems use on the APIC page, and XCHG (Linux on old APICs) ---- */
#define OP_LOAD_A 0xa1			/* mov eax, moffs */
#define OP_STORE_A 0xa3			/* mov moffs, eax */
#define OP_STORE 0x89			/* mov r/m, r */
#define OP_LOAD 0x8b			/* mov r, r/m */
#define OP_XCHG 0x87			/* xchg r/m, r */
#define OP_STORE_IMM 0xc7		/* mov r/m, imm32 */
#define PREFIX_ADDRESS 0x67
#define REX_MASK 0xf0
#define REX 0x40
#define REX_R 4
#define MOD_REGISTER 3
#define RM_SIB 4
#define RM_DISP32 5
#define RM_DISP16 6
#define REG_IMMEDIATE (-1)

struct decoded { bool read, write; int reg; u32 immediate, length; };

static bool is_prefix(u8 b)
{
	return b == 0x66 || b == 0xf0 || b == 0x2e || b == 0x3e || b == 0x26 || b == 0x64 || b == 0x65 || b == 0x36;
}

/* Bytes of displacement that follow mod/rm (and SIB). */
static u32 displacement(u8 mod, u8 rm, u8 sib, bool a32)
{
	if (!a32)
		return mod == 1 ? 1 : mod == 2 || (mod == 0 && rm == RM_DISP16) ? 2 : 0;
	if (mod == 0)
		return rm == RM_DISP32 || (rm == RM_SIB && (sib & 7) == RM_DISP32) ? 4 : 0;
	return mod == 1 ? 1 : 4;
}

static bool decode(const u8 *b, u32 n, bool code64, bool code32, struct decoded *d)
{
	bool a32 = code32 || code64;
	u32 i = 0, rex = 0;
	u8 op, m, mod, rm, sib = 0;

	for (; i < n; i++) {
		if (b[i] == PREFIX_ADDRESS)
			a32 = !a32 || code64;
		else if (code64 && (b[i] & REX_MASK) == REX)
			rex = b[i];
		else if (!is_prefix(b[i]))
			break;
	}
	if (i + 2 > n)
		return false;
	op = b[i++];
	*d = (struct decoded){ .read = op == OP_LOAD || op == OP_LOAD_A || op == OP_XCHG,
			       .write = op != OP_LOAD && op != OP_LOAD_A };
	if (op == OP_LOAD_A || op == OP_STORE_A) {
		d->length = i + (code64 && a32 ? 8 : a32 ? 4 : 2);
		return true;
	}
	if (op != OP_STORE && op != OP_LOAD && op != OP_XCHG && op != OP_STORE_IMM)
		return false;
	m = b[i++];
	mod = m >> 6;
	rm = m & 7;
	d->reg = (m >> 3 & 7) | (rex & REX_R) << 1;
	if (mod == MOD_REGISTER)
		return false;
	if (a32 && rm == RM_SIB) {
		if (i >= n)
			return false;
		sib = b[i++];
	}
	i += displacement(mod, rm, sib, a32);
	if (op == OP_STORE_IMM) {
		if (i + 4 > n)
			return false;
		memcpy(&d->immediate, b + i, 4);
		d->reg = REG_IMMEDIATE;
		i += 4;
	}
	d->length = i;
	return i <= n;
}

/* Nested page fault on the APIC page; true if handled. */
bool lapic_mmio(struct lp *lp, struct vp *vp, u64 gpa, const u8 *bytes, u32 n)
{
	struct vmcb *v = vp->vmcb;
	bool code64 = v->efer & EFER_LMA && v->cs.attributes & SEG_LONG;
	u32 offset = gpa & REGISTER_MASK, store;
	struct decoded d;
	u64 *r;

	if (!decode(bytes, n, code64, v->cs.attributes & SEG_DB, &d)) {
		kprintf("vp %u: cannot decode APIC access at rip %#lx, %u bytes: %02x %02x %02x %02x %02x\n", vp->index,
			v->rip, n, bytes[0], bytes[1], bytes[2], bytes[3], bytes[4]);
		return false;
	}
	r = d.reg == 0 ? &v->rax : d.reg == 4 ? &v->rsp : d.reg > 0 ? &vp->g.rax + d.reg : NULL;
	store = r ? (u32)*r : d.immediate;
	if (d.read) {
		u32 value;

		if (!lapic_read(vp, offset, &value))
			lapic_error(vp, ESR_ILLEGAL_REGISTER);
		*r = value;
	}
	if (d.write && !lapic_write(lp, vp, offset, store))
		lapic_error(vp, ESR_ILLEGAL_REGISTER);
	v->rip += d.length;
	v->shadow = 0;
	return true;
}
