/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Addresses and selectors that assembly and C share. */
#ifndef LAYOUT_H
#define LAYOUT_H

#define STACK_SIZE 0x4000
#define MAX_CPUS 2
#define SEL_CODE 0x10
#define SEL_DATA 0x18
#define SEL_USER_DATA 0x20
#define SEL_USER_CODE 0x28
#define SEL_TSS 0x30
#define GDT_SIZE 0x50
#define TRAMPOLINE 0x20000		/* a page of low RAM that the boot protocol does not use */
#define CR4_PAE_BIT 0x20
#define CR0_LONG 0x80000033		/* PG NE ET MP PE */
#define EFER_NUMBER 0xc0000080
#define EFER_LME_BIT 0x100

/* Free RAM of this guest, in bytes: below the stand-in, above the image */
#define ARENA_START 0x4000000		/* pages handed out one by one */
#define ARENA_END 0x6000000
#define LARGE_START 0x8000000		/* 2 MiB frames for large mappings */
#define LARGE_END 0xa000000

#endif
