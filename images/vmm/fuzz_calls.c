/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * mshv-fuzz SEED CALLS: random hypercalls through the driver's passthrough, from the root's user space. The driver
 * passes a few codes on, with the partition's own id in front; the rest of the input is ours. Prints what came of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mshv_abi.h"

#define VPS 2
#define WORDS (ABI_PAGE / sizeof(uint64_t))
#define ERRNOS 256
#define STATUSES 256
#define ROUND 1000			/* calls between two partitions */

static const uint16_t passed_on[] = { 0x44, 0x101, 0x45, 0x4d, 0x50, 0x51, 0x52, 0x56, 0x91, 0x94, 0xc9, 0xc0, 0xc1, 0xf4 };
static const uint32_t names[] = { 0, 1, 3, 4, 0x10002, 0x10004, 0x20000, 0x20010, 0x30000, 0x40000, 0x50000, 0x60000,
				  0x70000, 0x80000, 0x90000, 0xa0000, 0xb0000 };
static uint64_t state, input[WORDS], output[WORDS];
static unsigned long errors[ERRNOS], statuses[STATUSES];

static uint64_t rnd(void)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (state * 0x2545f4914f6cdd1dull) >> 13;
}

static uint64_t below(uint64_t n) { return rnd() % n; }

static uint64_t interesting(void)
{
	switch (below(4)) {
	case 0: return below(16);
	case 1: return 1ull << below(64);
	case 2: return rnd() << below(14);
	}
	return ~0ull >> below(64);
}

static int partition(int vp[VPS])
{
	struct abi_create_partition create = { .flags = ABI_PARTITION_LAPIC };
	int device = open("/dev/mshv", O_RDWR), fd = device < 0 ? -1 : ioctl(device, ABI_CREATE_PARTITION, &create);

	if (fd < 0 || ioctl(fd, ABI_INITIALIZE)) {
		perror("create a partition");
		exit(1);
	}
	close(device);
	for (uint32_t i = 0; i < VPS; i++) {
		struct abi_create_vp one = { .index = i };
		vp[i] = ioctl(fd, ABI_CREATE_VP, &one);
		if (vp[i] < 0) {
			perror("create a VP");
			exit(1);
		}
	}
	return fd;
}

static void draft(struct abi_hypercall *call)
{
	uint32_t *w = (uint32_t *)input;

	call->code = below(30) ? passed_on[below(sizeof passed_on / sizeof *passed_on)] : interesting();
	call->reps = below(3) ? below(below(8) ? 4 : 600) : 0;
	call->in_size = below(8) ? 8 * (1 + below(below(4) ? 16 : WORDS)) : interesting();
	call->out_size = below(8) ? 8 * (1 + below(WORDS)) : interesting();
	call->in = below(40) ? (uintptr_t)input : interesting();
	call->out = below(6) ? (uintptr_t)output : 0;
	call->status = !below(60);
	for (uint32_t i = 1; i < 16; i++)
		input[i] = below(3) ? below(3) : interesting();
	if (call->code == ABI_CALL_GET_REGISTERS || call->code == ABI_CALL_SET_REGISTERS)
		for (uint32_t i = 4; i < 64; i += call->code == ABI_CALL_SET_REGISTERS ? 8 : 1)
			w[i] = names[below(sizeof names / sizeof *names)] + below(8);
}

int main(int argc, char **argv)
{
	unsigned long calls = argc == 3 ? strtoul(argv[2], NULL, 0) : 0, good = 0;
	int vp[VPS], fd = -1;

	if (!calls) {
		fprintf(stderr, "usage: %s SEED CALLS\n", argv[0]);
		return 2;
	}
	state = strtoull(argv[1], NULL, 0) * 0x9e3779b97f4a7c15ull + 1;
	for (unsigned long n = 0; n < calls; n++) {
		struct abi_hypercall call = { 0 };

		if (n % ROUND == 0) {
			if (fd >= 0) {
				close(vp[0]);
				close(vp[1]);
				close(fd);
			}
			fd = partition(vp);
		}
		draft(&call);
		if (!ioctl(below(2) ? fd : vp[below(VPS)], ABI_HYPERCALL, &call))
			good++;
		else
			errors[errno % ERRNOS]++;
		statuses[call.status % STATUSES]++;
	}
	printf("calls %lu succeeded %lu\n", calls, good);
	for (unsigned int i = 0; i < STATUSES; i++)
		if (statuses[i])
			printf("status %#x %lu\n", i, statuses[i]);
	for (int i = 0; i < ERRNOS; i++)
		if (errors[i])
			printf("errno %s %lu\n", strerror(i), errors[i]);
	return 0;
}
