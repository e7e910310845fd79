/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Serial output, and the string functions the compiler expects. */
#include "tiny.h"

#define COM1 0x3f8
#define LINE_STATUS 5
#define TRANSMIT_EMPTY 0x20

static u8 inb(u16 p) { u8 v; asm volatile("inb %1,%0" : "=a"(v) : "Nd"(p)); return v; }

static void put(char c)
{
	while (!(inb(COM1 + LINE_STATUS) & TRANSMIT_EMPTY))
		relax();
	outb(COM1, c);
}

static void put_number(u64 v, u32 base, bool negative)
{
	char b[24];
	int n = 0;

	do {
		b[n++] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	if (negative)
		put('-');
	while (n)
		put(b[--n]);
}

/* %s %c %u %d %x with l and #: what is used here. */
void vprint(const char *f, __builtin_va_list ap)
{
	for (; *f; f++) {
		bool wide = false, sign = false;

		if (*f != '%') {
			put(*f);
			continue;
		}
		for (f++; *f == '#' || *f == 'l'; f++)
			wide |= *f == 'l', sign |= *f == '#';
		switch (*f) {
		case 's':
			for (const char *s = __builtin_va_arg(ap, const char *); *s; s++)
				put(*s);
			break;
		case 'c': put(__builtin_va_arg(ap, int)); break;
		case 'x':
			if (sign)
				put('0'), put('x');
			put_number(wide ? __builtin_va_arg(ap, u64) : __builtin_va_arg(ap, u32), 16, false);
			break;
		case 'u': put_number(wide ? __builtin_va_arg(ap, u64) : __builtin_va_arg(ap, u32), 10, false); break;
		case 'd': {
			s64 v = wide ? __builtin_va_arg(ap, s64) : __builtin_va_arg(ap, int);
			put_number(v < 0 ? -v : v, 10, v < 0);
			break;
		}
		default: put(*f);
		}
	}
}

void print(const char *fmt, ...)
{
	__builtin_va_list ap;

	__builtin_va_start(ap, fmt);
	vprint(fmt, ap);
	__builtin_va_end(ap);
}

void *memset(void *p, int c, u64 n)
{
	void *d = p;

	asm volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(c) : "memory");
	return p;
}

void *memcpy(void *to, const void *from, u64 n)
{
	void *d = to;

	asm volatile("rep movsb" : "+D"(d), "+S"(from), "+c"(n) :: "memory");
	return to;
}

int memcmp(const void *a, const void *b, u64 n)
{
	const u8 *p = a, *q = b;

	for (; n; n--, p++, q++)
		if (*p != *q)
			return *p - *q;
	return 0;
}

u64 strlen(const char *s)
{
	u64 n = 0;

	while (s[n])
		n++;
	return n;
}

bool same(const char *a, const char *b)
{
	while (*a && *a == *b)
		a++, b++;
	return *a == *b;
}
