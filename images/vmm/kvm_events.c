/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Doorbells and interrupts of a child under KVM. */
#include <errno.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "kvm.h"

#define MAX_ROUTES		4096u

int backend_ioeventfd(int partition, const struct abi_ioeventfd *io)
{
	struct kvm_ioeventfd event = {
		.datamatch = io->value, .addr = io->gpa, .len = io->bytes, .fd = io->fd,
		.flags = (io->flags & ABI_IOEVENTFD_VALUE ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0) |
			 (io->flags & ABI_IOEVENTFD_DEASSIGN ? KVM_IOEVENTFD_FLAG_DEASSIGN : 0),
	};

	return ioctl(partition, KVM_IOEVENTFD, &event);
}

/* KVM knows the end of an interrupt by its I/O APIC's pin; a message has none, so it cannot be resampled. */
int backend_irqfd(int partition, const struct abi_irqfd *irq)
{
	struct kvm_irqfd event = {
		.fd = (uint32_t)irq->fd, .gsi = irq->gsi,
		.flags = irq->flags & ABI_IRQFD_DEASSIGN ? KVM_IRQFD_FLAG_DEASSIGN : 0,
	};

	if (irq->flags & ABI_IRQFD_RESAMPLE)
		return errno = EOPNOTSUPP, -1;
	return ioctl(partition, KVM_IRQFD, &event);
}

int backend_routes(int partition, const struct abi_routes *routes)
{
	struct kvm_irq_routing *table;

	if (routes->count > MAX_ROUTES)
		return errno = E2BIG, -1;
	table = calloc(1, sizeof *table + routes->count * sizeof *table->entries);
	if (!table)
		return errno = ENOMEM, -1;
	table->nr = routes->count;
	for (uint32_t i = 0; i < routes->count; i++)
		table->entries[i] = (struct kvm_irq_routing_entry){
			.gsi = routes->route[i].gsi,
			.type = KVM_IRQ_ROUTING_MSI,
			.u.msi = {
				.address_lo = routes->route[i].address_low,
				.address_hi = routes->route[i].address_high,
				.data = routes->route[i].data,
			},
		};
	int result = ioctl(partition, KVM_SET_GSI_ROUTING, table);
	int error = errno;
	free(table);
	errno = error;
	return result;
}
