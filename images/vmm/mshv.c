/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The back end of mshv-vmm: a partition and its VPs through /dev/mshv. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "backend.h"

const struct backend backend = {
	.program = "mshv-vmm", .run = "MSHV_RUN_VP", .create_vp = "MSHV_CREATE_VP", .set_memory = "MSHV_SET_GUEST_MEMORY",
};

_Static_assert(sizeof(struct abi_message) == ABI_MESSAGE_MAX, "a message fills what MSHV_RUN_VP returns");

/* What of Hyper-V the child sees; it must be said before the partition is initialized. */
static int set_features(int partition, uint64_t features)
{
	struct { uint64_t partition; uint32_t code, pad; uint64_t value; } input = {
		.code = ABI_PROPERTY_SYNTHETIC_FEATURES, .value = features,
	};
	struct abi_hypercall call = { .code = ABI_CALL_SET_PROPERTY, .in_size = sizeof input, .in = (uintptr_t)&input };

	return features ? ioctl(partition, ABI_HYPERCALL, &call) : 0;
}

int backend_create(uint64_t flags, uint64_t features, struct reply *reply)
{
	struct abi_create_partition create = { .flags = flags };
	int device = open("/dev/mshv", O_RDWR | O_CLOEXEC);

	if (device < 0)
		return fail(reply, errno, "open /dev/mshv");
	int partition = ioctl(device, ABI_CREATE_PARTITION, &create);
	int error = errno;
	close(device);
	if (partition < 0)
		return fail(reply, error, "MSHV_CREATE_PARTITION");
	bool set = !set_features(partition, features);
	if (!set || ioctl(partition, ABI_INITIALIZE)) {
		error = errno;
		close(partition);
		return fail(reply, error, set ? "MSHV_INITIALIZE_PARTITION" : "setting the synthetic features");
	}
	return partition;
}

int backend_memory(int partition, uint32_t slot, const struct abi_memory *memory)
{
	(void)slot;			/* the driver knows its regions by their frames */
	return ioctl(partition, ABI_SET_MEMORY, memory);
}

int backend_vp(int partition, struct vcpu *cpu)
{
	struct abi_create_vp create = { .index = cpu->index };

	cpu->fd = ioctl(partition, ABI_CREATE_VP, &create);
	return cpu->fd < 0 ? -1 : 0;
}

int backend_ioeventfd(int partition, const struct abi_ioeventfd *io)
{
	return ioctl(partition, ABI_IOEVENTFD, io);
}

int backend_irqfd(int partition, const struct abi_irqfd *irq)
{
	return ioctl(partition, ABI_IRQFD, irq);
}

int backend_routes(int partition, const struct abi_routes *routes)
{
	return ioctl(partition, ABI_ROUTES, routes);
}

void backend_vp_close(struct vcpu *cpu)
{
	if (cpu->fd >= 0)
		close(cpu->fd);
	cpu->fd = -1;
}

int backend_run(struct vcpu *cpu, struct abi_message *message)
{
	struct abi_run run = { 0 };

	if (ioctl(cpu->fd, ABI_RUN, &run))
		return -1;
	memcpy(message, run.message, sizeof *message);
	return 0;
}

int backend_fault(const struct vcpu *cpu, const struct access *access, struct abi_message *message)
{
	(void)cpu;
	(void)access;
	(void)message;
	return -1;
}
