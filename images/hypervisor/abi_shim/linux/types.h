/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Just enough of the kernel's environment for include/hyperv to compile in abi_check.c. */
#ifndef SHIM_TYPES_H
#define SHIM_TYPES_H

#include "../../types.h"

typedef unsigned long ulong;

#define CONFIG_X86 1
#define CONFIG_X86_64 1
#define IS_ENABLED(option) (option)	/* used in #if only: an undefined option is 0 */

#define __packed __attribute__((packed))
#define __aligned(n) __attribute__((aligned(n)))
#define static_assert(...) _Static_assert(__VA_ARGS__, "")
#define offsetof(type, member) __builtin_offsetof(type, member)
#define DECLARE_FLEX_ARRAY(type, name) struct { struct { } empty_##name; type name[]; }
#define __TRAILING_OVERLAP(type, name, fam, attrs, members) \
	union { type name; struct { unsigned char offset_to_##fam[offsetof(type, fam)]; members } attrs; }

#endif
