/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Counted twice: one.json without arguments, two.json with one (gcov --json-format -b, gcc 12). */
#include <stdlib.h>

static int pick(int n)
{
	if (n > 1)
		return 10;
	return 20;
}

static int never(void)
{
	return 5;
}

int main(int argc, char **argv)
{
	int (*volatile f)(void) = never;

	if (argc > 3)
		return f();
	return pick(argc) == 0;
}
