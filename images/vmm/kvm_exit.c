/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Exits of KVM in the words of the hypervisor's messages. KVM tells less: no guest virtual address, no
 * instruction bytes, and for a write no instruction pointer (the instruction has been worked off already);
 * those fields stay 0.
 */
#include <errno.h>
#include <string.h>

#include "kvm.h"

/* A frame with memory behind it that does not allow the access, or one without. */
static uint32_t memory_type(uint64_t gpa)
{
	return kvm_has_memory(gpa) ? ABI_MSG_GPA_INTERCEPT : ABI_MSG_UNMAPPED_GPA;
}

static void memory_message(struct abi_message *message, uint64_t gpa, uint8_t access, uint64_t rip)
{
	struct abi_memory_intercept *intercept = (void *)message->payload;

	message->type = memory_type(gpa);
	message->size = sizeof *intercept;
	intercept->gpa = gpa;
	intercept->header.access = access;
	intercept->header.rip = rip;
}

static int port_message(struct abi_message *message, const struct kvm_run *run)
{
	struct abi_port_intercept *intercept = (void *)message->payload;

	message->type = ABI_MSG_IO_PORT;
	message->size = sizeof *intercept;
	intercept->port = run->io.port;
	intercept->info = run->io.size;
	intercept->header.access = run->io.direction == KVM_EXIT_IO_OUT ? ABI_ACCESS_WRITE : ABI_ACCESS_READ;
	return 0;
}

int backend_fault(const struct vcpu *cpu, const struct access *access, struct abi_message *message)
{
	uint8_t kind = access->op == OP_EXECUTE ? ABI_ACCESS_EXECUTE :
		       access->op >= OP_WRITE1 && access->op <= OP_WRITE8 ? ABI_ACCESS_WRITE : ABI_ACCESS_READ;

	memset(message, 0, sizeof *message);
	memory_message(message, access->address, kind, 0);
	((struct abi_intercept *)message->payload)->vp = cpu->index;
	return 0;
}

int kvm_translate(const struct kvm_run *run, uint64_t rip, uint32_t vp, struct abi_message *message)
{
	struct abi_intercept *header = (void *)message->payload;

	memset(message, 0, sizeof *message);
	header->vp = vp;
	switch (run->exit_reason) {
	case KVM_EXIT_MMIO:
		if (run->mmio.is_write)
			memory_message(message, run->mmio.phys_addr, ABI_ACCESS_WRITE, 0);
		else
			memory_message(message, run->mmio.phys_addr, ABI_ACCESS_READ, rip);
		return 0;
	case KVM_EXIT_IO:
		return port_message(message, run);
	case KVM_EXIT_HLT:
		message->type = ABI_MSG_HALT;
		message->size = sizeof *header;
		header->access = ABI_ACCESS_EXECUTE;
		header->rip = rip;
		return 0;
	case KVM_EXIT_SHUTDOWN:
		message->type = ABI_MSG_UNRECOVERABLE;
		message->size = sizeof *header;
		return 0;
	case KVM_EXIT_INTERNAL_ERROR:
		/* Code where no memory is cannot be emulated. The payload maps addresses one to one. */
		if (run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION && !kvm_has_memory(rip)) {
			memory_message(message, rip, ABI_ACCESS_EXECUTE, rip);
			return 0;
		}
		break;
	default:
		break;
	}
	return errno = EPROTO, -1;
}
