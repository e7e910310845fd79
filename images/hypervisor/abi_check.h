/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How abi_check.c compares: ours on the left, the kernel's on the right. */
#ifndef ABI_CHECK_H
#define ABI_CHECK_H

#define SAME(ours, theirs) _Static_assert((u64)(ours) == (u64)(theirs), #ours " is not " #theirs)
#define SAME32(ours, theirs) _Static_assert((u32)(ours) == (u32)(theirs), #ours " is not " #theirs)
#define SIZE(ours, theirs) \
	_Static_assert(sizeof(struct ours) == sizeof(theirs), "size of " #ours " is not that of " #theirs)
#define AT(ours, field, theirs, their_field) \
	_Static_assert(__builtin_offsetof(struct ours, field) == __builtin_offsetof(theirs, their_field), \
		       "offset of " #ours "." #field " is not that of " #theirs "." #their_field)
/* Bit-fields are no constant expressions: the call below survives only if the values differ. */
#define BITS(ours, type, word, field) BITS_(#ours, ours, type, word, field, __LINE__)
#define BITS_(name, ours, type, word, field, line) BITS__(name, ours, type, word, field, line)
#define BITS__(name, ours, type, word, field, line) \
	void bits_##line(void) \
	{ \
		extern void bad_##line(void) __attribute__((error(name " is not " #type "." #field))); \
		if ((u64)(ours) != (u64)((type){ .field = 1 }).word) \
			bad_##line(); \
	}

#endif
