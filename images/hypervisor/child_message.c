/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Intercept messages: what the root learns about an exit of its child. Called with hv_lock, the VP out of the guest. */
#include "abi.h"
#include "hv.h"

#define IO_SIZE_MASK 7
#define IO_STRING_BIT 3
#define IO_REP_BIT 4
#define EXCEPTION_ERROR_VALID 1
#define EXCEPTIONS_WITH_ERROR 0x20227d00u	/* #DF #TS #NP #SS #GP #PF #AC #CP #VC: bits 8 10-14 17 21 29 */

static void *begin(struct vp *vp, u32 type, u32 size, u32 access, u32 length)
{
	struct message *m = vp->msg_page;
	struct wire_intercept *h = (void *)m->payload;
	struct vmcb *v = vp->vmcb;

	memset(m, 0, sizeof *m);
	m->type = type;
	m->size = size;
	m->sender = vp->pt->id;
	h->vp = vp->index;
	h->length_cr8 = length | (v->vintr & VINTR_TPR_MASK) << 4;
	h->access = access;
	h->execution_state = (v->cpl & 3) | (v->cr0 & CR0_PE) << STATE_CR0_PE_SHIFT |
			     (v->cr0 >> CR0_AM_SHIFT & 1) << STATE_CR0_AM_SHIFT |
			     !!(v->efer & EFER_LMA) << STATE_EFER_LMA_SHIFT |
			     (v->shadow & SHADOW_INTERRUPT) << STATE_SHADOW_SHIFT;
	h->cs = segment_to_wire(&v->cs);
	h->rip = v->rip;
	h->rflags = v->rflags;
	return h;
}

/* The mapping may have appeared while this VP waited for the lock: then the access is simply tried again. */
static bool allowed_now(struct vp *vp, u64 gpa, u64 error, bool *known)
{
	u64 pfn;
	u32 access, need = error & NPF_FETCH ? NPT_X : error & NPF_WRITE ? NPT_W : NPT_R;

	*known = npt_lookup(vp->pt, gpa / PAGE, &pfn, &access);
	return *known && access & NPT_R && access & need && !(error & NPF_RESERVED);
}

/*
 * A frame the root maps without access gives GPA_INTERCEPT, one it never mapped UNMAPPED_GPA. The GPA belongs to the
 * GVA unless it is that of an entry in the child's tables, on the way there.
 */
static bool memory(struct vp *vp, u64 word[2])
{
	u64 gpa = vp->vmcb->info2, error = vp->vmcb->info1, gva;
	u32 access = error & NPF_FETCH ? INTERCEPT_EXECUTE : error & NPF_WRITE ? INTERCEPT_WRITE : INTERCEPT_READ;
	struct wire_memory_message *m;
	bool known;

	if (allowed_now(vp, gpa, error, &known))
		return false;
	m = begin(vp, known ? MSG_GPA_INTERCEPT : MSG_UNMAPPED_GPA, sizeof *m, access, 0);
	m->gpa = gpa;
	if (child_fault_gva(vp, &gva)) {
		m->gva = gva;
		m->access_info = MEMORY_GVA_VALID | (error & NPF_WALK ? 0 : MEMORY_GVA_GPA_VALID);
	}
	m->byte_count = access == INTERCEPT_EXECUTE ? 0 : child_fetch(vp, m->bytes);
	word[0] = gpa;
	word[1] = access;
	return true;
}

static void io_port(struct vp *vp, u64 word[2])
{
	struct vmcb *v = vp->vmcb;
	u32 access = v->info1 & IOIO_IN ? INTERCEPT_READ : INTERCEPT_WRITE;
	struct wire_io_message *m = begin(vp, MSG_IO_PORT, sizeof *m, access, v->info2 - v->rip);

	m->port = v->info1 >> IOIO_PORT_SHIFT;
	m->access_info = (v->info1 >> IOIO_SIZE_SHIFT & IO_SIZE_MASK) | (v->info1 >> IOIO_STRING_SHIFT & 1) << IO_STRING_BIT |
			 (v->info1 >> IOIO_REP_SHIFT & 1) << IO_REP_BIT;
	m->rax = v->rax;
	m->rcx = vp->g.rcx;
	m->rsi = vp->g.rsi;
	m->rdi = vp->g.rdi;
	m->ds = segment_to_wire(&v->ds);
	m->es = segment_to_wire(&v->es);
	m->byte_count = child_fetch(vp, m->bytes);
	word[0] = m->port;
	word[1] = access;
}

static void msr(struct vp *vp, u64 word[2])
{
	struct vmcb *v = vp->vmcb;
	u32 access = v->info1 & MSR_EXIT_WRITE ? INTERCEPT_WRITE : INTERCEPT_READ;
	struct wire_msr_message *m = begin(vp, MSG_MSR, sizeof *m, access, LEN_MSR);

	m->msr = vp->g.rcx;
	m->rax = v->rax;
	m->rdx = vp->g.rdx;
	word[0] = m->msr;
	word[1] = access;
}

static void cpuid_message(struct vp *vp, u64 word[2])
{
	struct vmcb *v = vp->vmcb;
	struct wire_cpuid_message *m = begin(vp, MSG_CPUID, sizeof *m, INTERCEPT_EXECUTE, LEN_CPUID);
	u32 r[4];

	child_cpuid(vp, r);
	m->rax = v->rax;
	m->rcx = vp->g.rcx;
	m->rdx = vp->g.rdx;
	m->rbx = vp->g.rbx;
	m->default_rax = r[0];
	m->default_rbx = r[1];
	m->default_rcx = r[2];
	m->default_rdx = r[3];
	word[0] = (u32)v->rax;
	word[1] = INTERCEPT_EXECUTE;
}

static bool has_error_code(u32 vector)
{
	return 1u << vector & EXCEPTIONS_WITH_ERROR;
}

static void exception(struct vp *vp, u64 word[2])
{
	struct vmcb *v = vp->vmcb;
	struct wire_exception_message *m = begin(vp, MSG_EXCEPTION, sizeof *m, INTERCEPT_EXECUTE, 0);

	m->vector = v->exitcode - EXIT_EXCEPTION;
	m->info = has_error_code(m->vector) ? EXCEPTION_ERROR_VALID : 0;
	m->error_code = v->info1;
	m->parameter = m->vector == EXC_PF ? v->info2 : 0;
	m->byte_count = child_fetch(vp, m->bytes);
	m->ds = segment_to_wire(&v->ds);
	m->ss = segment_to_wire(&v->ss);
	memcpy(m->gpr, &vp->g, sizeof m->gpr);
	m->gpr[REG_RAX - REG_RAX] = v->rax;
	m->gpr[REG_RSP - REG_RAX] = v->rsp;
	word[0] = m->vector;
	word[1] = INTERCEPT_EXECUTE;
}

/* The VMM does the call's work and sets the registers. */
static void hypercall_message(struct vp *vp, u64 word[2])
{
	struct vmcb *v = vp->vmcb;
	struct wire_hypercall_message *m = begin(vp, MSG_HYPERCALL, sizeof *m, INTERCEPT_EXECUTE, LEN_VMMCALL);

	m->rax = v->rax;
	m->rbx = vp->g.rbx;
	m->rcx = vp->g.rcx;
	m->rdx = vp->g.rdx;
	m->r8 = vp->g.r8;
	m->rsi = vp->g.rsi;
	m->rdi = vp->g.rdi;
	word[0] = vp->g.rcx;
	word[1] = INTERCEPT_EXECUTE;
}

static void unrecoverable(struct vp *vp, u64 word[2])
{
	struct vmcb *v = vp->vmcb;

	if (v->exitcode != EXIT_SHUTDOWN)
		kprintf("child %lu vp %u: exit %#lx info %#lx %#lx rip %#lx cr0 %#lx cs %#x base %#lx\n", vp->pt->id,
			vp->index, v->exitcode, v->info1, v->info2, v->rip, v->cr0, v->cs.selector, v->cs.base);
	begin(vp, MSG_UNRECOVERABLE_EXCEPTION, sizeof(struct wire_intercept), INTERCEPT_EXECUTE, 0);
	word[0] = v->exitcode;
	word[1] = INTERCEPT_EXECUTE;
}

/* Write the message for the last exit and note it in the ledger. False if the VP can just go on. */
bool child_message(struct lp *lp, struct vp *vp)
{
	struct host_record r = { .kind = KIND_INTERCEPT, .partition = vp->pt->id, .vp = vp->index, .words = 3 };

	switch (vp->vmcb->exitcode) {
	case EXIT_NPF:
		if (!memory(vp, r.word))
			return false;
		break;
	case EXIT_IOIO: io_port(vp, r.word); break;
	case EXIT_MSR: msr(vp, r.word); break;
	case EXIT_CPUID: cpuid_message(vp, r.word); break;
	case EXIT_EXCEPTION ... EXIT_EXCEPTION + EXC_LAST - 1: exception(vp, r.word); break;
	case EXIT_VMMCALL: hypercall_message(vp, r.word); break;
	case EXIT_HLT: begin(vp, MSG_HALT, sizeof(struct wire_intercept), INTERCEPT_EXECUTE, 0); break;
	case EXIT_INVALID: begin(vp, MSG_INVALID_VP_REGISTER_VALUE, sizeof(struct wire_intercept), INTERCEPT_EXECUTE, 0); break;
	default: unrecoverable(vp, r.word);
	}
	if (ledger_on(KIND_INTERCEPT)) {
		r.code = vp->msg_page->type;
		r.word[2] = r.rip = vp->vmcb->rip;
		ledger_write(lp, &r);
	}
	return true;
}
