/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * VFIO devices: container and group, without an IOMMU (noiommu-N) or with one (type 1). Binding the
 * device to vfio-pci is the caller's business.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vmm.h"

struct device {
	char bdf[16];
	int container, group, fd;
};

static struct device devices[MAX_DEVICES];

/* The device file of the group, and whether an IOMMU stands behind it. */
static int open_group(const char *bdf, struct reply *reply, bool *iommu)
{
	char link[64], target[PATH_MAX], path[64];

	snprintf(link, sizeof link, "/sys/bus/pci/devices/%s/iommu_group", bdf);
	ssize_t n = readlink(link, target, sizeof target - 1);
	if (n < 0)
		return fail(reply, errno, "%s has no IOMMU group; bind it to vfio-pci first", bdf);
	target[n] = 0;
	const char *number = basename(target);
	for (int real = 0; real < 2; real++) {
		snprintf(path, sizeof path, "/dev/vfio/%s%.20s", real ? "" : "noiommu-", number);
		int fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd >= 0) {
			*iommu = real;
			return fd;
		}
		if (errno != ENOENT)
			break;
	}
	return fail(reply, errno, "open %s", path);
}

static int attach(struct device *device, struct reply *reply)
{
	bool iommu;

	device->group = open_group(device->bdf, reply, &iommu);
	if (device->group < 0)
		return -1;
	device->container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	if (device->container < 0)
		return fail(reply, errno, "open /dev/vfio/vfio");
	if (ioctl(device->group, VFIO_GROUP_SET_CONTAINER, &device->container))
		return fail(reply, errno, "VFIO_GROUP_SET_CONTAINER for %s", device->bdf);
	if (ioctl(device->container, VFIO_SET_IOMMU, iommu ? VFIO_TYPE1v2_IOMMU : VFIO_NOIOMMU_IOMMU))
		return fail(reply, errno, "VFIO_SET_IOMMU for %s", device->bdf);
	device->fd = ioctl(device->group, VFIO_GROUP_GET_DEVICE_FD, device->bdf);
	if (device->fd < 0)
		return fail(reply, errno, "VFIO_GROUP_GET_DEVICE_FD for %s", device->bdf);
	return 0;
}

static int set_memory(struct device *device, bool on, struct reply *reply)
{
	struct vfio_region_info config = { .argsz = sizeof config, .index = VFIO_PCI_CONFIG_REGION_INDEX };
	uint16_t command;

	if (ioctl(device->fd, VFIO_DEVICE_GET_REGION_INFO, &config))
		return fail(reply, errno, "config space of %s", device->bdf);
	off_t at = (off_t)config.offset + PCI_COMMAND;
	if (pread(device->fd, &command, sizeof command, at) != sizeof command)
		return fail(reply, errno, "reading the command register of %s", device->bdf);
	command = on ? command | PCI_COMMAND_MEMORY : command & ~PCI_COMMAND_MEMORY;
	if (pwrite(device->fd, &command, sizeof command, at) != sizeof command)
		return fail(reply, errno, "writing the command register of %s", device->bdf);
	return 0;
}

static void detach(struct device *device)
{
	int *files[] = { &device->fd, &device->group, &device->container };

	for (size_t i = 0; i < sizeof files / sizeof *files; i++)
		if (*files[i] >= 0)
			close(*files[i]);
	device->bdf[0] = 0;
}

static struct device *device_get(const char *bdf, struct reply *reply)
{
	struct device *empty = NULL;

	for (size_t i = 0; i < MAX_DEVICES; i++) {
		if (!strcmp(devices[i].bdf, bdf))
			return &devices[i];
		if (!empty && !devices[i].bdf[0])
			empty = &devices[i];
	}
	if (strlen(bdf) >= sizeof empty->bdf || strchr(bdf, '/'))
		return fail(reply, EINVAL, "not a PCI address: %.40s", bdf), NULL;
	if (!empty)
		return fail(reply, ENOSPC, "%d devices are open already", MAX_DEVICES), NULL;
	*empty = (struct device){ .container = -1, .group = -1, .fd = -1 };
	strcpy(empty->bdf, bdf);
	if (attach(empty, reply) || set_memory(empty, true, reply)) {
		detach(empty);
		return NULL;
	}
	return empty;
}

int vfio_bar(const char *bdf, uint64_t bar, struct reply *reply, uint64_t *offset, uint64_t *size)
{
	struct vfio_region_info info = { .argsz = sizeof info, .index = (uint32_t)bar };

	if (bar > VFIO_PCI_BAR5_REGION_INDEX)
		return fail(reply, EINVAL, "no such BAR: %lu", bar);
	struct device *device = device_get(bdf, reply);
	if (!device)
		return -1;
	if (ioctl(device->fd, VFIO_DEVICE_GET_REGION_INFO, &info))
		return fail(reply, errno, "BAR %lu of %s", bar, bdf);
	if (!info.size || !(info.flags & VFIO_REGION_INFO_FLAG_MMAP))
		return fail(reply, ENODEV, "BAR %lu of %s cannot be mapped (size %#llx, flags %#x)", bar, bdf,
			    (unsigned long long)info.size, info.flags);
	*offset = info.offset;
	*size = info.size;
	return device->fd;
}

/* Have an event signalled when the kernel wants the device back. */
static int request_event(struct device *device, int event, struct reply *reply)
{
	struct {
		struct vfio_irq_set set;
		int32_t event;
	} request = {
		.set = { .argsz = sizeof request, .flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
			 .index = VFIO_PCI_REQ_IRQ_INDEX, .count = 1 },
		.event = event,
	};

	if (ioctl(device->fd, VFIO_DEVICE_SET_IRQS, &request))
		return fail(reply, errno, "the release request of %s", device->bdf);
	return 0;
}

/*
 * vfio BDF on|off|reset|close|request EVENT: memory decoding, function reset, giving the device back, being told
 * that it has to be given back
 */
int vfio_verb(struct words *words, struct reply *reply)
{
	static const char known[] = "on, off, reset, close or request";
	const char *bdf, *what;
	int event;

	if (word_text(words, reply, "device", &bdf) || word_text(words, reply, known, &what))
		return -1;
	struct device *device = device_get(bdf, reply);
	if (!device)
		return -1;
	if (!strcmp(what, "on") || !strcmp(what, "off"))
		return set_memory(device, what[1] == 'n', reply);
	if (!strcmp(what, "close"))
		return detach(device), 0;
	if (!strcmp(what, "request"))
		return take_event(words, reply, &event) ? -1 : request_event(device, event, reply);
	if (strcmp(what, "reset"))
		return fail(reply, EINVAL, "vfio %s, not %.20s", known, what);
	return ioctl(device->fd, VFIO_DEVICE_RESET) ? fail(reply, errno, "VFIO_DEVICE_RESET of %s", bdf) : 0;
}
