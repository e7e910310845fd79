/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A child's accesses to its local APIC page: instruction decoder and registers. */
#include "apic_regs.h"
#include "hv.h"

#define REGISTER_MASK 0xff0
#define BANK(offset) ((offset) >> 4 & 7)
#define LVT_INDEX(offset) (((offset) - APIC_ICR_HIGH) >> 4)	/* timer is 1, error 6: see LVT_* */
#define TPR_SHIFT 4

static u32 read(struct vp *vp, u32 o)
{
	struct lapic *a = &vp->apic;

	switch (o) {
	case APIC_ID: return a->id << APIC_ID_SHIFT;
	case APIC_VERSION: return APIC_VERSION_VALUE;
	case APIC_TPR: return (vp->vmcb->vintr & VINTR_TPR_MASK) << TPR_SHIFT;
	case APIC_LDR: return a->ldr;
	case APIC_DFR: return a->dfr;
	case APIC_SVR: return a->svr;
	case APIC_ISR ... APIC_ISR + APIC_BANK_LAST: return a->isr[BANK(o)];
	case APIC_TMR ... APIC_TMR + APIC_BANK_LAST: return a->tmr[BANK(o)];
	case APIC_IRR ... APIC_IRR + APIC_BANK_LAST: return a->irr[BANK(o)];
	case APIC_ESR: return a->esr;
	case APIC_LVT_CMCI: return a->lvt[LVT_CMCI];
	case APIC_ICR_LOW: return a->icr_lo;
	case APIC_ICR_HIGH: return a->icr_hi;
	case APIC_LVT_TIMER ... APIC_LVT_ERROR: return a->lvt[LVT_INDEX(o)];
	case APIC_INITIAL_COUNT: return a->init;
	case APIC_CURRENT_COUNT: return lapic_timer_count(vp);
	case APIC_DIVIDE: return a->div;
	}
	return 0;
}

static void write(struct lp *lp, struct vp *vp, u32 o, u32 v)
{
	struct lapic *a = &vp->apic;
	u64 *vintr = &vp->vmcb->vintr;

	switch (o) {
	case APIC_ID: a->id = v >> APIC_ID_SHIFT; break;
	case APIC_TPR: *vintr = (*vintr & ~VINTR_TPR_MASK) | (v >> TPR_SHIFT & VINTR_TPR_MASK); break;
	case APIC_EOI: lapic_eoi(lp, vp); break;
	case APIC_LDR: a->ldr = v & LDR_MASK; break;
	case APIC_DFR: a->dfr = v | DFR_FIXED; break;
	case APIC_SVR: a->svr = v; break;
	case APIC_ESR: a->esr = 0; break;
	case APIC_LVT_CMCI: a->lvt[LVT_CMCI] = v; break;
	case APIC_ICR_LOW: lapic_command(lp, vp, v); break;
	case APIC_ICR_HIGH: a->icr_hi = v; break;
	case APIC_LVT_TIMER ... APIC_LVT_ERROR: a->lvt[LVT_INDEX(o)] = v; break;
	case APIC_INITIAL_COUNT: lapic_timer_set(vp, v); break;
	case APIC_DIVIDE: a->div = v & DIVIDE_MASK; break;
	}
}

/* ---- decoder: the MOV forms that operating systems use on the APIC page ---- */
#define OP_LOAD_A 0xa1			/* mov eax, moffs */
#define OP_STORE_A 0xa3			/* mov moffs, eax */
#define OP_STORE 0x89			/* mov r/m, r */
#define OP_LOAD 0x8b			/* mov r, r/m */
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

struct decoded { bool write; int reg; u32 immediate, length; };

static bool is_prefix(u8 b)
{
	return b == 0x66 || b == 0x2e || b == 0x3e || b == 0x26 || b == 0x64 || b == 0x65 || b == 0x36;
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
	*d = (struct decoded){ .write = op != OP_LOAD && op != OP_LOAD_A };
	if (op == OP_LOAD_A || op == OP_STORE_A) {
		d->length = i + (code64 && a32 ? 8 : a32 ? 4 : 2);
		return true;
	}
	if (op != OP_STORE && op != OP_LOAD && op != OP_STORE_IMM)
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
	struct decoded d;
	u64 *r;

	if (!decode(bytes, n, code64, v->cs.attributes & SEG_DB, &d)) {
		kprintf("vp %u: cannot decode APIC access at rip %#lx, %u bytes: %02x %02x %02x %02x %02x\n", vp->index,
			v->rip, n, bytes[0], bytes[1], bytes[2], bytes[3], bytes[4]);
		return false;
	}
	r = d.reg == 0 ? &v->rax : d.reg == 4 ? &v->rsp : d.reg > 0 ? &vp->g.rax + d.reg : NULL;
	if (d.write)
		write(lp, vp, gpa & REGISTER_MASK, r ? (u32)*r : d.immediate);
	else
		*r = read(vp, gpa & REGISTER_MASK);
	v->rip += d.length;
	v->shadow = 0;
	return true;
}
