/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What differs between the VMMs: mshv.c and registers.c drive /dev/mshv, kvm.c and kvm_registers.c
 * drive /dev/kvm. Everything else is shared, so that both answer the same line protocol. The words are
 * those of /dev/mshv; KVM's exits are translated into them.
 */
#ifndef HVLAB_BACKEND_H
#define HVLAB_BACKEND_H

#include "vmm.h"

/* Names for messages: of the program and of the requests that can fail. */
extern const struct backend {
	const char *program, *run, *create_vp, *set_memory;
} backend;

struct vcpu {
	int fd;
	uint32_t index;
	void *shared;			/* of the back end */
};

/* A new partition without memory: its file, or -1 with the failure noted. */
int backend_create(uint64_t flags, uint64_t features, struct reply *);	/* ABI_PARTITION_*; of Hyper-V, for the child */
/* As MSHV_SET_GUEST_MEMORY. "slot" tells the regions of a partition apart: 0 the RAM, then the others. */
int backend_memory(int partition, uint32_t slot, const struct abi_memory *);
/* Create the VP "index" names: fills in the rest. */
int backend_vp(int partition, struct vcpu *);
/* As MSHV_IOEVENTFD, MSHV_IRQFD and MSHV_SET_MSI_ROUTING; -1 with errno. */
int backend_ioeventfd(int partition, const struct abi_ioeventfd *);
int backend_irqfd(int partition, const struct abi_irqfd *);
int backend_routes(int partition, const struct abi_routes *);
void backend_vp_close(struct vcpu *);
/* Run until something must be handled here: a message, or -1 with errno (EINTR after a signal). */
int backend_run(struct vcpu *, struct abi_message *);

/*
 * backend_run failed with EFAULT while this access was under way. With KVM that is how a page that the host
 * does not provide (any more) shows: the message of that access. -1 where EFAULT means something else.
 */
int backend_fault(const struct vcpu *, const struct access *, struct abi_message *);

struct payload_registers {
	uint64_t rip, rsp, rbx, rbp;
};
int registers_point(const struct vcpu *, const struct payload_registers *);
int registers_get(const struct vcpu *, const uint32_t *names, union abi_value *, uint16_t count);
/* Long mode, flat segments, page tables at LAYOUT_PML4. */
int registers_long_mode(const struct vcpu *);

/* Control registers of that mode. */
#define CR0_PE			(1ull << 0)
#define CR0_MP			(1ull << 1)
#define CR0_ET			(1ull << 4)
#define CR0_NE			(1ull << 5)
#define CR0_WP			(1ull << 16)
#define CR0_PG			(1ull << 31)
#define CR4_PAE			(1ull << 5)
#define EFER_LME		(1ull << 8)
#define EFER_LMA		(1ull << 10)
#define LONG_MODE_CR0		(CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG)
#define LONG_MODE_CR4		CR4_PAE
#define LONG_MODE_EFER		(EFER_LME | EFER_LMA)
#define RFLAGS_FIXED		0x2ull

#endif
