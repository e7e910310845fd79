/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdarg.h>

#include "vmm.h"

int fail(struct reply *reply, int error, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(reply->text, sizeof reply->text, format, args);
	va_end(args);
	reply->error = error;
	return -1;
}
