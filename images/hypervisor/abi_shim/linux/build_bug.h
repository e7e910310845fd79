/* SPDX-License-Identifier: GPL-2.0-or-later */
/* static_assert is in types.h. */
#include <linux/types.h>
