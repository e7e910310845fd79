// SPDX-License-Identifier: GPL-2.0-or-later
// QEMU's edu device (QEMU docs/specs/edu.rst), used from inside a child. Its interrupt arrives through VFIO without
// an IOMMU; for DMA the child tells the device guest physical addresses, as any driver without an IOMMU would.
#include "child_io.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define EDU_FACTORIAL 0x08
#define EDU_STATUS 0x20
#define EDU_STATUS_COMPUTING 0x01
#define EDU_IRQ_STATUS 0x24
#define EDU_IRQ_RAISE 0x60
#define EDU_IRQ_ACK 0x64
#define EDU_DMA_SOURCE 0x80
#define EDU_DMA_TARGET 0x88
#define EDU_DMA_COUNT 0x90
#define EDU_DMA_COMMAND 0x98
#define EDU_DMA_RUN 0x01
#define EDU_DMA_FROM_DEVICE 0x02
#define EDU_BUFFER 0x40000
#define EDU_BUFFER_BYTES 4095	/* the last byte cannot be reached: QEMU 7.2 ends with "DMA range ... out of bounds" */

#define SECOND 1000
#define PATIENCE (10 * SECOND)	/* ms: the whole stack is emulated */
#define POLL_STEP 5		/* ms */
#define PFN_MASK ((1ULL << 55) - 1)
#define PFN_PRESENT (1ULL << 63)

static struct bar registers;

static uint32_t get(unsigned int offset)
{
	return *(volatile uint32_t *)(registers.at + offset);
}

static void put(unsigned int offset, uint32_t value)
{
	*(volatile uint32_t *)(registers.at + offset) = value;
}

static void put64(unsigned int offset, uint64_t value)
{
	*(volatile uint64_t *)(registers.at + offset) = value;
}

static uint64_t get64(unsigned int offset)
{
	return *(volatile uint64_t *)(registers.at + offset);
}

static long milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * SECOND + now.tv_nsec / 1000000;
}

int edu_factorial(const char *bdf, uint32_t of)
{
	long end;

	bar_map(&registers, bdf, 0);
	put(EDU_FACTORIAL, of);
	for (end = milliseconds() + PATIENCE; get(EDU_STATUS) & EDU_STATUS_COMPUTING;) {
		if (milliseconds() > end) {
			fprintf(stderr, "child-io: edu still computes, status 0x%x\n", get(EDU_STATUS));
			return 1;
		}
		poll(NULL, 0, POLL_STEP);
	}
	printf("%u\n", get(EDU_FACTORIAL));
	return 0;
}

/* The device through VFIO without an IOMMU, which the child's init has allowed. */
static int vfio_open(const char *bdf)
{
	char path[128], link[128];
	int container, group, device;
	ssize_t length;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", bdf);
	length = readlink(path, link, sizeof(link) - 1);
	if (length < 0)
		die("%s (is the device bound to vfio-pci?)", path);
	link[length] = 0;
	snprintf(path, sizeof(path), "/dev/vfio/noiommu-%s", strrchr(link, '/') + 1);
	container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	group = open(path, O_RDWR | O_CLOEXEC);
	if (container < 0 || group < 0)
		die("%s", group < 0 ? path : "/dev/vfio/vfio");
	if (ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) < 0)
		die("VFIO_GROUP_SET_CONTAINER");
	if (ioctl(container, VFIO_SET_IOMMU, VFIO_NOIOMMU_IOMMU) < 0)
		die("VFIO_SET_IOMMU");
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf);
	if (device < 0)
		die("VFIO_GROUP_GET_DEVICE_FD %s", bdf);
	return device;
}

/* A device sends messages and does DMA only as a bus master. */
static void bus_master(int device)
{
	struct vfio_region_info config = { .argsz = sizeof(config), .index = VFIO_PCI_CONFIG_REGION_INDEX };
	uint16_t command;

	if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &config) < 0)
		die("VFIO_DEVICE_GET_REGION_INFO");
	if (pread(device, &command, sizeof(command), config.offset + PCI_COMMAND) != sizeof(command))
		die("reading PCI_COMMAND");
	command |= PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	if (pwrite(device, &command, sizeof(command), config.offset + PCI_COMMAND) != sizeof(command))
		die("writing PCI_COMMAND");
}

static void vfio_registers(int device)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = VFIO_PCI_BAR0_REGION_INDEX };

	if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info) < 0)
		die("VFIO_DEVICE_GET_REGION_INFO");
	registers.bytes = info.size;
	registers.at = mmap(NULL, info.size, PROT_READ | PROT_WRITE, MAP_SHARED, device, info.offset);
	if (registers.at == MAP_FAILED)
		die("mapping BAR0");
}

static int msi_eventfd(int device)
{
	char room[sizeof(struct vfio_irq_set) + sizeof(int32_t)];
	struct vfio_irq_set *set = (void *)room;
	int32_t event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (event < 0)
		die("eventfd");
	*set = (struct vfio_irq_set){
		.argsz = sizeof(room),
		.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
		.index = VFIO_PCI_MSI_IRQ_INDEX,
		.count = 1,
	};
	memcpy(set->data, &event, sizeof(event));
	if (ioctl(device, VFIO_DEVICE_SET_IRQS, set) < 0)
		die("VFIO_DEVICE_SET_IRQS for MSI");
	return event;
}

int edu_msi(const char *bdf, unsigned int count)
{
	int device = vfio_open(bdf), event;
	unsigned int arrived = 0;
	long started;

	bus_master(device);
	vfio_registers(device);
	event = msi_eventfd(device);
	started = milliseconds();
	for (unsigned int i = 0; i < count; i++) {
		struct pollfd wait = { .fd = event, .events = POLLIN };
		uint32_t cause = 1U << i % 31, status;
		uint64_t events = 0;

		put(EDU_IRQ_RAISE, cause);
		if (poll(&wait, 1, PATIENCE) != 1) {
			fprintf(stderr, "child-io: interrupt %u of %u did not arrive, cause 0x%x, status 0x%x\n",
				i + 1, count, cause, get(EDU_IRQ_STATUS));
			return 1;
		}
		if (read(event, &events, sizeof(events)) != sizeof(events))
			die("reading the eventfd");
		status = get(EDU_IRQ_STATUS);
		if (events != 1 || status != cause) {
			fprintf(stderr, "child-io: interrupt %u: %llu events, status 0x%x, expected 0x%x\n", i + 1,
				(unsigned long long)events, status, cause);
			return 1;
		}
		put(EDU_IRQ_ACK, cause);
		arrived += events;
	}
	printf("raised=%u arrived=%u ms=%ld\n", count, arrived, milliseconds() - started);
	return 0;
}

/* Guest physical address of a locked page of ours. */
static uint64_t physical(const void *at)
{
	uint64_t entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || pread(fd, &entry, sizeof(entry), (uintptr_t)at / PAGE_BYTES * sizeof(entry)) != sizeof(entry))
		die("/proc/self/pagemap");
	close(fd);
	if (!(entry & PFN_PRESENT) || !(entry & PFN_MASK)) {
		errno = EFAULT;
		die("a locked page has no page frame");
	}
	return (entry & PFN_MASK) * PAGE_BYTES;
}

static int dma(uint64_t source, uint64_t target, uint32_t bytes, uint64_t command)
{
	long end = milliseconds() + PATIENCE;

	put64(EDU_DMA_SOURCE, source);
	put64(EDU_DMA_TARGET, target);
	put64(EDU_DMA_COUNT, bytes);
	put64(EDU_DMA_COMMAND, command | EDU_DMA_RUN);
	while (get64(EDU_DMA_COMMAND) & EDU_DMA_RUN) {
		if (milliseconds() > end) {
			fprintf(stderr, "child-io: the transfer does not end\n");
			return -1;
		}
		poll(NULL, 0, POLL_STEP);
	}
	return 0;
}

int edu_dma(const char *bdf, uint32_t bytes)
{
	uint8_t *pages = mmap(NULL, 2 * PAGE_BYTES, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED | MAP_POPULATE, -1, 0);
	uint8_t *from = pages, *to = pages + PAGE_BYTES;
	int device = vfio_open(bdf);

	if (pages == MAP_FAILED)
		die("two locked pages");
	if (bytes == 0 || bytes > EDU_BUFFER_BYTES) {
		fprintf(stderr, "child-io: edu transfers 1 to %u bytes\n", EDU_BUFFER_BYTES);
		return 2;
	}
	bus_master(device);
	vfio_registers(device);
	srand(time(NULL));
	for (uint32_t i = 0; i < bytes; i++)
		from[i] = rand();
	if (dma(physical(from), EDU_BUFFER, bytes, 0) < 0 ||
	    dma(EDU_BUFFER, physical(to), bytes, EDU_DMA_FROM_DEVICE) < 0)
		return 1;
	for (uint32_t i = 0; i < bytes; i++) {
		if (to[i] != from[i]) {
			fprintf(stderr, "child-io: byte %u is 0x%02x after the transfers, it was 0x%02x (GPA 0x%llx to 0x%llx)\n",
				i, to[i], from[i], (unsigned long long)physical(from), (unsigned long long)physical(to));
			return 1;
		}
	}
	printf("bytes=%u from=0x%llx to=0x%llx\n", bytes, (unsigned long long)physical(from),
	       (unsigned long long)physical(to));
	return 0;
}
