/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The binary interface of /dev/mshv and of the hypervisor messages that it hands out, in our own
 * words: Debian 12 ships no <linux/mshv.h>. abi_check.c proves every line against a kernel tree.
 * Facts from: Linux include/uapi/linux/mshv.h, include/hyperv/; Microsoft TLFS.
 */
#ifndef HVLAB_MSHV_ABI_H
#define HVLAB_MSHV_ABI_H

#include <stdint.h>
#include <sys/ioctl.h>

#define ABI_PACKED		__attribute__((packed))
#define ABI_PAGE		4096ull
#define ABI_MESSAGE_MAX		256
#define ABI_MAGIC		0xb8

struct abi_create_partition {
	uint64_t flags;
	uint64_t isolation;
};

struct abi_create_vp {
	uint32_t index;
};

#define ABI_MEMORY_WRITABLE	0x1u
#define ABI_MEMORY_EXECUTABLE	0x2u
#define ABI_MEMORY_UNMAP	0x4u

struct abi_memory {
	uint64_t size;			/* bytes, whole pages */
	uint64_t gfn;
	uint64_t host;			/* address in the VMM */
	uint8_t flags;			/* ABI_MEMORY_* */
	uint8_t zero[7];
};

struct abi_hypercall {
	uint16_t code;
	uint16_t reps;
	uint16_t in_size;
	uint16_t out_size;
	uint16_t status;		/* out: HV_STATUS_* */
	uint8_t zero[6];
	uint64_t in;
	uint64_t out;
};

struct abi_run {
	uint8_t message[ABI_MESSAGE_MAX];
};

#define ABI_IRQFD_DEASSIGN	0x1u
#define ABI_IRQFD_RESAMPLE	0x2u

struct abi_irqfd {
	int32_t fd;
	int32_t resample_fd;
	uint32_t gsi;
	uint32_t flags;			/* ABI_IRQFD_* */
};

#define ABI_IOEVENTFD_VALUE	0x1u
#define ABI_IOEVENTFD_DEASSIGN	0x4u

struct abi_ioeventfd {
	uint64_t value;
	uint64_t gpa;
	uint32_t bytes;			/* 0: any width */
	int32_t fd;
	uint32_t flags;			/* ABI_IOEVENTFD_* */
	uint8_t zero[4];
};

struct abi_route {
	uint32_t gsi;
	uint32_t address_low;
	uint32_t address_high;
	uint32_t data;
};

struct abi_routes {
	uint32_t count;
	uint32_t zero;
	struct abi_route route[];
};

#define ABI_PARTITION_LAPIC	0x1ull
#define ABI_PARTITION_X2APIC	0x2ull

#define ABI_CREATE_PARTITION	_IOW(ABI_MAGIC, 0x00, struct abi_create_partition)	/* /dev/mshv */
#define ABI_INITIALIZE		_IO(ABI_MAGIC, 0x00)					/* partition */
#define ABI_CREATE_VP		_IOW(ABI_MAGIC, 0x01, struct abi_create_vp)		/* partition */
#define ABI_SET_MEMORY		_IOW(ABI_MAGIC, 0x02, struct abi_memory)		/* partition */
#define ABI_IRQFD		_IOW(ABI_MAGIC, 0x03, struct abi_irqfd)			/* partition */
#define ABI_IOEVENTFD		_IOW(ABI_MAGIC, 0x04, struct abi_ioeventfd)		/* partition */
#define ABI_ROUTES		_IOW(ABI_MAGIC, 0x05, struct abi_routes)		/* partition */
#define ABI_HYPERCALL		_IOWR(ABI_MAGIC, 0x07, struct abi_hypercall)		/* partition, VP */
#define ABI_RUN			_IOR(ABI_MAGIC, 0x00, struct abi_run)			/* VP */

/* Hypercalls that the driver passes through. */
#define ABI_CALL_GET_REGISTERS	0x0050
#define ABI_CALL_SET_REGISTERS	0x0051
#define ABI_CALL_SET_PROPERTY	0x0045
#define ABI_PROPERTY_SYNTHETIC_FEATURES 0x00010001u

struct abi_register_call {		/* input header of both; the driver fills in the partition */
	uint64_t partition;
	uint32_t vp;
	uint8_t vtl;
	uint8_t zero[3];
};

struct abi_segment {
	uint64_t base;
	uint32_t limit;
	uint16_t selector;
	uint16_t attributes;
} ABI_PACKED;

struct abi_table {			/* GDTR, IDTR */
	uint16_t pad[3];
	uint16_t limit;
	uint64_t base;
} ABI_PACKED;

union abi_value {
	uint64_t word[2];
	struct abi_segment segment;
	struct abi_table table;
};

struct abi_register {
	uint32_t name;
	uint32_t zero;
	uint64_t zero2;
	union abi_value value;
};

#define ABI_REG_ACTIVITY	0x00000004u	/* a VP with a local APIC waits for SIPI, or is halted */
#define ABI_REG_PENDING_EVENT	0x00010002u	/* an interruption that was being delivered */
#define ABI_REG_RAX		0x00020000u
#define ABI_REG_RBX		0x00020003u
#define ABI_REG_RSP		0x00020004u
#define ABI_REG_RBP		0x00020005u
#define ABI_REG_RDI		0x00020007u
#define ABI_REG_RIP		0x00020010u
#define ABI_REG_RFLAGS		0x00020011u
#define ABI_REG_CR0		0x00040000u
#define ABI_REG_CR2		0x00040001u
#define ABI_REG_CR3		0x00040002u
#define ABI_REG_CR4		0x00040003u
#define ABI_REG_ES		0x00060000u
#define ABI_REG_CS		0x00060001u
#define ABI_REG_SS		0x00060002u
#define ABI_REG_DS		0x00060003u
#define ABI_REG_FS		0x00060004u
#define ABI_REG_GS		0x00060005u
#define ABI_REG_LDTR		0x00060006u
#define ABI_REG_TR		0x00060007u
#define ABI_REG_IDTR		0x00070000u
#define ABI_REG_GDTR		0x00070001u
#define ABI_REG_EFER		0x00080001u

/* Message types. */
#define ABI_MSG_UNMAPPED_GPA	0x80000000u
#define ABI_MSG_GPA_INTERCEPT	0x80000001u
#define ABI_MSG_UNRECOVERABLE	0x80000021u
#define ABI_MSG_IO_PORT		0x80010000u
#define ABI_MSG_HALT		0x80010007u

struct abi_message {
	uint32_t type;
	uint8_t size;			/* of the payload */
	uint8_t flags;
	uint8_t zero[2];
	uint64_t sender;
	uint8_t payload[240];
} ABI_PACKED;

#define ABI_ACCESS_READ		0
#define ABI_ACCESS_WRITE	1
#define ABI_ACCESS_EXECUTE	2

struct abi_intercept {			/* starts every intercept payload */
	uint32_t vp;
	uint8_t length_cr8;		/* instruction length in bits 0-3 */
	uint8_t access;
	uint16_t state;
	struct abi_segment cs;
	uint64_t rip;
	uint64_t rflags;
} ABI_PACKED;

#define ABI_INSTRUCTION_MAX	16

struct abi_memory_intercept {
	struct abi_intercept header;
	uint32_t cache_type;
	uint8_t instruction_size;
	uint8_t info;			/* bit 0: gva valid, bit 1: gva and gpa belong together */
	uint8_t tpr;
	uint8_t zero;
	uint64_t gva;
	uint64_t gpa;
	uint8_t instruction[ABI_INSTRUCTION_MAX];
} ABI_PACKED;

struct abi_port_intercept {
	struct abi_intercept header;
	uint16_t port;
	uint8_t info;			/* size in bits 0-2 */
	uint8_t instruction_size;
	uint32_t zero;
	uint64_t rax;
} ABI_PACKED;

#endif
