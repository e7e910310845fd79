/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Multiboot 1 and the Linux x86 boot protocol (Documentation/arch/x86/boot.rst). */
#ifndef BOOTPROTO_H
#define BOOTPROTO_H

#include "types.h"

#define MB_INFO_CMDLINE 4

struct mb_info { u32 flags, mem_lo, mem_hi, bootdev, cmdline, nmods, mods, syms[4], mmap_len, mmap; } PACKED;
struct mb_mod { u32 start, end, string, reserved; } PACKED;
struct mb_mmap { u32 size; u64 base, length; u32 type; } PACKED;
#define MB_MMAP_SIZE_FIELD 4		/* "size" does not count itself */

#define E820_RAM 1
#define E820_RESERVED 2
#define E820_MAX 128
struct e820_entry { u64 base, length; u32 type; } PACKED;
CHECK_SIZE(struct e820_entry, 20);

/* The parts of boot_params that we write; offsets as in boot.rst */
struct boot_params {
	u8 reserved0[0x1e8];
	u8 e820_entries;
	u8 reserved1[0x1f1 - 0x1e9];
	u8 setup_sects;			/* the setup header starts here */
	u8 reserved2[0x1fa - 0x1f2];
	u16 vid_mode;
	u8 reserved3[0x201 - 0x1fc];
	u8 jump_offset;			/* operand of the short jump at 0x200: where the header ends */
	u32 magic;
	u8 reserved4[0x210 - 0x206];
	u8 type_of_loader;
	u8 reserved5[0x218 - 0x211];
	u32 ramdisk_image, ramdisk_size;
	u8 reserved6[0x228 - 0x220];
	u32 cmd_line_ptr;
	u8 reserved7[0x2d0 - 0x22c];
	struct e820_entry e820[E820_MAX];
	u8 reserved8[0x1000 - 0x2d0 - 20 * E820_MAX];
} PACKED;
CHECK_SIZE(struct boot_params, 4096);
CHECK_OFFSET(struct boot_params, magic, 0x202);
CHECK_OFFSET(struct boot_params, cmd_line_ptr, 0x228);
CHECK_OFFSET(struct boot_params, e820, 0x2d0);

#define SETUP_HEADER 0x1f1
#define SETUP_JUMP_END 0x202
#define SETUP_MAGIC 0x53726448		/* "HdrS" */
#define SETUP_SECTS_DEFAULT 4
#define SECTOR 512
#define LOADER_UNDEFINED 0xff
#define VID_MODE_NORMAL 0xffff
#define ENTRY_64 0x200			/* 64-bit entry point, from the start of the kernel */
#define BOOT_CS 0x10
#define BOOT_DS 0x18

#endif
