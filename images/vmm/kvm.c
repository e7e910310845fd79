/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The back end of kvm-vmm: a partition is a VM of /dev/kvm, a region a memory slot, a VP a vCPU. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "kvm.h"

#define MAX_CPUID_ENTRIES	256
#define MAX_SLOTS		(MAX_REGIONS + 1)

const struct backend backend = {
	.program = "kvm-vmm", .run = "KVM_RUN", .create_vp = "KVM_CREATE_VCPU",
	.set_memory = "KVM_SET_USER_MEMORY_REGION",
};

static int kvm = -1;			/* /dev/kvm, opened once */
static size_t run_size;			/* of the area that KVM shares for each vCPU */
static bool has_apic;			/* KVM models the local APICs of the partition */
static struct slot {
	uint64_t gpa, size;
} slots[MAX_SLOTS];

bool kvm_has_memory(uint64_t gpa)
{
	for (size_t i = 0; i < MAX_SLOTS; i++)
		if (gpa - slots[i].gpa < slots[i].size)
			return true;
	return false;
}

int backend_create(uint64_t flags, uint64_t features, struct reply *reply)
{
	if (flags & ~ABI_PARTITION_LAPIC || features)
		return fail(reply, EOPNOTSUPP, "a partition with flags %#lx, Hyper-V features %#lx", flags, features);
	if (kvm < 0)
		kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (kvm < 0)
		return fail(reply, errno, "open /dev/kvm");
	int version = ioctl(kvm, KVM_GET_API_VERSION, 0), size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (version != KVM_API_VERSION || size < (int)sizeof(struct kvm_run))
		return fail(reply, ENOSYS, "/dev/kvm speaks version %d, this program %d", version, KVM_API_VERSION);
	run_size = (size_t)size;
	int partition = ioctl(kvm, KVM_CREATE_VM, 0);
	if (partition < 0)
		return fail(reply, errno, "KVM_CREATE_VM");
	has_apic = flags & ABI_PARTITION_LAPIC;
	if (has_apic && ioctl(partition, KVM_CREATE_IRQCHIP, 0)) {
		int error = errno;

		close(partition);
		return fail(reply, error, "KVM_CREATE_IRQCHIP");
	}
	for (size_t i = 0; i < MAX_SLOTS; i++)
		slots[i] = (struct slot){ 0 };
	return partition;
}

/* With MSHV a region is removed by a flag, with KVM by a size of 0. */
int backend_memory(int partition, uint32_t slot, const struct abi_memory *memory)
{
	bool remove = memory->flags & ABI_MEMORY_UNMAP;
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.flags = remove || (memory->flags & ABI_MEMORY_WRITABLE) ? 0 : KVM_MEM_READONLY,
		.guest_phys_addr = memory->gfn * ABI_PAGE,
		.memory_size = remove ? 0 : memory->size,
		.userspace_addr = memory->host,
	};

	if (slot >= MAX_SLOTS)
		return errno = EINVAL, -1;
	if (ioctl(partition, KVM_SET_USER_MEMORY_REGION, &region))
		return -1;
	slots[slot] = remove ? (struct slot){ 0 } : (struct slot){ region.guest_phys_addr, region.memory_size };
	return 0;
}

/* Without CPUID the vCPU has no long mode and no 1 GiB pages. */
static int set_cpuid(int fd)
{
	struct kvm_cpuid2 *list = calloc(1, sizeof *list + MAX_CPUID_ENTRIES * sizeof *list->entries);
	int result = -1;

	if (!list)
		return errno = ENOMEM, -1;
	list->nent = MAX_CPUID_ENTRIES;
	if (!ioctl(kvm, KVM_GET_SUPPORTED_CPUID, list))
		result = ioctl(fd, KVM_SET_CPUID2, list);
	int error = errno;
	free(list);
	errno = error;
	return result;
}

int backend_vp(int partition, struct vcpu *cpu)
{
	cpu->shared = NULL;
	cpu->fd = ioctl(partition, KVM_CREATE_VCPU, (unsigned long)cpu->index);
	if (cpu->fd < 0)
		return -1;
	void *shared = mmap(NULL, run_size, PROT_READ | PROT_WRITE, MAP_SHARED, cpu->fd, 0);
	if (shared != MAP_FAILED)
		cpu->shared = shared;
	/* With local APICs all vCPUs but the first wait to be started, which nobody here does. */
	struct kvm_mp_state started = { KVM_MP_STATE_RUNNABLE };
	if (!cpu->shared || set_cpuid(cpu->fd) || (has_apic && ioctl(cpu->fd, KVM_SET_MP_STATE, &started))) {
		int error = errno;

		backend_vp_close(cpu);
		errno = error;
		return -1;
	}
	return 0;
}

void backend_vp_close(struct vcpu *cpu)
{
	if (cpu->shared)
		munmap(cpu->shared, run_size);
	if (cpu->fd >= 0)
		close(cpu->fd);
	cpu->shared = NULL;
	cpu->fd = -1;
}

/*
 * KVM completes a port or MMIO access when the vCPU runs again, and would then overwrite the registers that
 * we set for the next access. Let it complete without entering the guest; an access that crosses a page has
 * a second part.
 */
static void complete_access(struct vcpu *cpu)
{
	struct kvm_run *run = cpu->shared;
	int again;

	run->immediate_exit = 1;
	do
		again = ioctl(cpu->fd, KVM_RUN, 0);
	while (!again && (run->exit_reason == KVM_EXIT_MMIO || run->exit_reason == KVM_EXIT_IO));
	run->immediate_exit = 0;
}

int backend_run(struct vcpu *cpu, struct abi_message *message)
{
	struct kvm_run *run = cpu->shared;
	struct kvm_regs registers;

	if (ioctl(cpu->fd, KVM_RUN, 0) || ioctl(cpu->fd, KVM_GET_REGS, &registers))
		return -1;
	int result = kvm_translate(run, registers.rip, cpu->index, message);
	int error = errno;
	if (run->exit_reason == KVM_EXIT_MMIO || run->exit_reason == KVM_EXIT_IO)
		complete_access(cpu);
	errno = error;
	return result;
}
