/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The string helpers we need. memcpy and memset move words: TCG runs one loop iteration per element. */
#include "hv.h"

void *memcpy(void *d, const void *s, u64 n)
{
	void *r = d;
	u64 words = n / 8, rest = n % 8;

	asm volatile("rep movsq" : "+D"(d), "+S"(s), "+c"(words) :: "memory");
	asm volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(rest) :: "memory");
	return r;
}

void *memset(void *d, int c, u64 n)
{
	void *r = d;
	u64 words = n / 8, rest = n % 8, v = (u8)c * 0x0101010101010101ul;

	asm volatile("rep stosq" : "+D"(d), "+c"(words) : "a"(v) : "memory");
	asm volatile("rep stosb" : "+D"(d), "+c"(rest) : "a"(v) : "memory");
	return r;
}

int strncmp(const char *a, const char *b, u64 n)
{
	for (; n; n--, a++, b++)
		if (*a != *b || !*a)
			return (u8)*a - (u8)*b;
	return 0;
}

u64 strlen(const char *s)
{
	u64 n = 0;

	while (s[n])
		n++;
	return n;
}

/* Decimal or 0x hexadecimal number; stops at the first other character. */
u64 strtou(const char *s, const char **end)
{
	u64 v = 0, base = 10;

	if (s[0] == '0' && s[1] == 'x')
		base = 16, s += 2;
	for (;; s++) {
		u32 d = *s >= '0' && *s <= '9' ? *s - '0' : *s >= 'a' && *s <= 'f' ? *s - 'a' + 10 : 99;
		if (d >= base)
			break;
		v = v * base + d;
	}
	if (end)
		*end = s;
	return v;
}

/* "name=value" or the bare word "name" among blank-separated arguments. */
const char *option(const char *args, const char *name)
{
	u64 n = strlen(name);

	while (*args) {
		while (*args == ' ')
			args++;
		if (!strncmp(args, name, n) && (args[n] == '=' || args[n] == ' ' || !args[n]))
			return args + n + (args[n] == '=');
		while (*args && *args != ' ')
			args++;
	}
	return NULL;
}
