/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Integer types and the few macros everything needs. Also compiles in user space (layout and ABI tests). */
#ifndef TYPES_H
#define TYPES_H

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;
typedef long s64;
typedef _Bool bool;
#define true 1
#define false 0
#ifndef NULL
#define NULL ((void *)0)
#endif

#define PACKED __attribute__((packed))
#define PAGE_SHIFT 12
#define PAGE 4096ul
#define PAGE_OFFSET(a) ((a) & (PAGE - 1))
#define PAGE_BASE(a) ((a) & ~(PAGE - 1))
#define LARGE_PAGES 512ul		/* 4 KiB pages in a 2 MiB page */
#define BIT(n) (1ul << (n))
#define LENGTH(a) (sizeof(a) / sizeof(*(a)))
#define OFFSET(t, m) __builtin_offsetof(t, m)
#define CHECK_SIZE(t, n) _Static_assert(sizeof(t) == (n), "size of " #t)
#define CHECK_OFFSET(t, m, o) _Static_assert(OFFSET(t, m) == (o), "offset of " #t "." #m)

#endif
