/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Feeds exits of KVM to kvm_exit.c and prints the messages that come out: NAME TYPE GPA ACCESS RIP PORT. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "kvm.h"

#define MEMORY_END	0x100000ull	/* one slot, from 0 on */
#define RIP		0x4080ull

bool kvm_has_memory(uint64_t gpa)
{
	return gpa < MEMORY_END;
}

static void show(const char *name, int result, const struct abi_message *message)
{
	const struct abi_memory_intercept *memory = (const void *)message->payload;
	const struct abi_port_intercept *port = (const void *)message->payload;
	bool is_memory = message->type == ABI_MSG_UNMAPPED_GPA || message->type == ABI_MSG_GPA_INTERCEPT;

	if (result)
		printf("%s error %s\n", name, strerrorname_np(errno));
	else
		printf("%s %#x %#lx %u %#lx %#x\n", name, message->type, is_memory ? memory->gpa : 0ul,
		       memory->header.access, memory->header.rip,
		       message->type == ABI_MSG_IO_PORT ? port->port : 0u);
}

static void translate(const char *name, struct kvm_run run, uint64_t rip)
{
	struct abi_message message;

	show(name, kvm_translate(&run, rip, 0, &message), &message);
}

static void fault(const char *name, uint32_t op)
{
	const struct vcpu cpu = { .index = 1 };
	const struct access access = { .op = op, .address = 0x8000 };
	struct abi_message message;

	show(name, backend_fault(&cpu, &access, &message), &message);
}

int main(void)
{
	translate("read-nowhere", (struct kvm_run){ .exit_reason = KVM_EXIT_MMIO, .mmio.phys_addr = 0x200000 }, RIP);
	translate("write-nowhere",
		  (struct kvm_run){ .exit_reason = KVM_EXIT_MMIO, .mmio = { .phys_addr = 0x200000, .is_write = 1 } }, RIP);
	translate("write-read-only",
		  (struct kvm_run){ .exit_reason = KVM_EXIT_MMIO, .mmio = { .phys_addr = 0x8000, .is_write = 1 } }, RIP);
	translate("port-out",
		  (struct kvm_run){ .exit_reason = KVM_EXIT_IO, .io = { .direction = KVM_EXIT_IO_OUT, .port = PORT_DONE } },
		  RIP);
	translate("halt", (struct kvm_run){ .exit_reason = KVM_EXIT_HLT }, RIP);
	translate("triple-fault", (struct kvm_run){ .exit_reason = KVM_EXIT_SHUTDOWN }, RIP);
	translate("execute-nowhere",
		  (struct kvm_run){ .exit_reason = KVM_EXIT_INTERNAL_ERROR,
				    .internal.suberror = KVM_INTERNAL_ERROR_EMULATION }, 0x200000);
	translate("emulation-in-ram",
		  (struct kvm_run){ .exit_reason = KVM_EXIT_INTERNAL_ERROR,
				    .internal.suberror = KVM_INTERNAL_ERROR_EMULATION }, RIP);
	translate("unknown", (struct kvm_run){ .exit_reason = KVM_EXIT_DEBUG }, RIP);
	fault("fault-read", OP_READ8);
	fault("fault-write", OP_WRITE1);
	fault("fault-execute", OP_EXECUTE);
	return 0;
}
