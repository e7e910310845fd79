/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where things lie in the child's RAM, and the command ring that the VMM and the payload share.
 * Included by assembly and by C. All addresses are guest physical; the child maps them one to one.
 */
#ifndef HVLAB_LAYOUT_H
#define HVLAB_LAYOUT_H

#define LAYOUT_PML4		0x1000
#define LAYOUT_PDPT		0x2000		/* 512 entries of 1 GiB: the child can address 512 GiB */
#define LAYOUT_BARRIER		0x3000		/* 8-byte counter on which VPs meet */
#define LAYOUT_COUNTERS		0x3800		/* 8 bytes for each vector: interrupts taken, of all VPs */
#define LAYOUT_CODE		0x4000
#define LAYOUT_CODE_MAX		0x4000
#define LAYOUT_VP_AREA		0x8000		/* first VP; every VP has its own area */
#define LAYOUT_STACK_SIZE	0x1000		/* at the end of the area; OP_EXECUTE and interrupts push */

#define RING_COMMANDS		2048
#define RING_SIZE		(RING_COMMANDS * COMMAND_SIZE)
#define LAYOUT_VP_AREA_SIZE	(RING_SIZE + LAYOUT_STACK_SIZE)
#define LAYOUT_ADDRESSABLE	(512ull << 30)

#define PORT_DONE		0x10		/* OUT: the ring has been worked off */
#define PORT_BAD_COMMAND	0x11		/* OUT: an operation that the payload does not know */

#define COMMAND_SIZE		32
#define COMMAND_ADDRESS		0
#define COMMAND_VALUE		8
#define COMMAND_OP		16
#define COMMAND_STATUS		20

#define OP_READ1		0
#define OP_READ2		1
#define OP_READ4		2
#define OP_READ8		3
#define OP_WRITE1		4
#define OP_WRITE2		5
#define OP_WRITE4		6
#define OP_WRITE8		7
#define OP_EXECUTE		8		/* call the address; what lies there must return */
#define OP_BARRIER		9		/* add one at the address, wait until it reaches the value */
#define OP_LISTEN		10		/* take interrupts from now on, and count them */
#define OP_POLL			11		/* spin until the word at the address reaches the value */
#define OP_HALT			12		/* the same, halted between interrupts */
#define OP_COUNT		13

#define STATUS_PENDING		0
#define STATUS_DONE		1		/* set by the payload */
#define STATUS_INTERCEPTED	2		/* set by the VMM */

#define PAYLOAD_MAGIC		0x3144414f4c594150	/* "PAYLOAD1" */

#ifndef __ASSEMBLER__
#include <stdint.h>

struct command {
	uint64_t address;
	uint64_t value;
	uint32_t op;
	volatile uint32_t status;
	uint64_t spare;
};
_Static_assert(sizeof(struct command) == COMMAND_SIZE, "command size");
_Static_assert(__builtin_offsetof(struct command, value) == COMMAND_VALUE, "command value");
_Static_assert(__builtin_offsetof(struct command, op) == COMMAND_OP, "command op");
_Static_assert(__builtin_offsetof(struct command, status) == COMMAND_STATUS, "command status");

/* First bytes of the payload image. */
struct payload_header {
	uint64_t magic;
	uint64_t entry;		/* start here with RBX = first command, RBP = end, RSP = stack */
};
#endif

#endif
