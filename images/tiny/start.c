/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Start, arguments, and the run of the cases. Arguments: "group=one", "only=NAME WITH UNDERSCORES", "stop" (after the
 * first failure), "cpus=2", or "fuzz" with those of fuzz.c. Output, a line each:
 *
 *	TINY START cpus N
 *	case NAME: ok            or        case NAME: FAIL file:line: what, expected and got
 *	TINY END ok N failed M
 */
#include "tiny.h"

#define CMD_LINE_PTR 0x228
#define PML4_ENTRY 0
#define USER_PAGES_OF(a) ((a) >> 21 & 511)

static const char *arguments;
static struct context end_of_case;
static bool failed;
void tiny_main(const u8 *boot_params);
void case_fault(const struct frame *);

const char *argument(const char *name)
{
	u64 n = strlen(name);

	for (const char *s = arguments; *s; s++) {
		if ((s == arguments || s[-1] == ' ') && !memcmp(s, name, n) &&
		    (!s[n] || s[n] == '=' || s[n] == ' '))
			return s[n] == '=' ? s + n + 1 : "";
	}
	return NULL;
}

u64 number(const char *s, u64 otherwise)
{
	u64 v = 0, base = 10;

	if (!s || !*s)
		return otherwise;
	if (s[0] == '0' && s[1] == 'x')
		base = 16, s += 2;
	for (;; s++) {
		u32 d = *s >= '0' && *s <= '9' ? *s - '0' : *s >= 'a' && *s <= 'f' ? *s - 'a' + 10 : 99;
		if (d >= base)
			return v;
		v = v * base + d;
	}
}

/* Only LP 0 runs cases; another LP's failure waits for it. */
static const char *other_file;
static u32 other_line;

bool lp_gave_up(void) { return __atomic_load_n(&other_file, __ATOMIC_SEQ_CST); }

void fail(const char *file, u32 line, const char *fmt, ...)
{
	__builtin_va_list ap;

	if (this_lp()) {
		other_file = file;
		other_line = line;
		for (;;)
			relax();
	}
	if (!failed) {
		__builtin_va_start(ap, fmt);
		print("FAIL %s:%u: ", file, line);
		vprint(fmt, ap);
		__builtin_va_end(ap);
		if (other_file)
			print(" (LP 1 gave up at %s:%u)", other_file, other_line);
		print("\n");
	}
	failed = true;
	context_restore(&end_of_case, 1);
}

void case_fault(const struct frame *f)
{
	FAIL("exception %lu, error %#lx, at %#lx", f->vector, f->error, f->rip);
}

/* True when it passed; the partitions of the case are gone after it. */
static bool run_case(const struct tiny_case *c)
{
	failed = false;
	print("case %s: ", c->name);
	if (!context_save(&end_of_case))
		c->run();
	interrupts_off();
	if (!context_save(&end_of_case))
		tear_down_all();
	if (!failed)
		print("ok\n");
	return !failed;
}

static bool starts_with(const char *s, const char *word)
{
	u64 n = strlen(word);

	return s && !memcmp(s, word, n) && (!s[n] || s[n] == ' ');
}

/* "only=" has the case's name with underscores for blanks. */
static bool chosen(const struct tiny_case *c)
{
	const char *group = argument("group"), *only = argument("only");
	char name[CASE_NAME];

	if (group && !starts_with(group, c->group))
		return false;
	memcpy(name, c->name, sizeof name);
	for (char *s = name; *s; s++)
		*s = *s == ' ' ? '_' : *s;
	return !only || starts_with(only, name);
}

static void run_cases(void)
{
	u32 ok = 0, bad = 0;

	for (const struct tiny_case *c = cases_start; c < cases_end; c++) {
		if (!chosen(c))
			continue;
		*(run_case(c) ? &ok : &bad) += 1;
		if (bad && argument("stop"))
			break;
	}
	print("TINY END ok %u failed %u\n", ok, bad);
}

/* The boot protocol's page tables are for the supervisor only; the one test of user mode needs our 2 MiB for users. */
static void user_pages(void)
{
	u64 *pml4, *pdpt, *pd;

	asm volatile("mov %%cr3,%0" : "=r"(pml4));
	pdpt = (u64 *)(pml4[PML4_ENTRY] & PTE_ADDR);
	pd = (u64 *)(pdpt[0] & PTE_ADDR);
	pml4[PML4_ENTRY] |= PTE_U;
	pdpt[0] |= PTE_U;
	for (u64 a = 0x1000000; a < 0x1400000; a += 0x200000)
		pd[USER_PAGES_OF(a)] |= PTE_U;
	asm volatile("mov %0,%%cr3" :: "r"(pml4) : "memory");
}

void tiny_main(const u8 *boot_params)
{
	u32 cpus;

	arguments = (const char *)(u64)*(const u32 *)(boot_params + CMD_LINE_PTR);
	cpus = number(argument("cpus"), 1);
	start_lp(0);
	traps_init();
	user_pages();
	calls_init();
	print("TINY START cpus %u\n", cpus);
	for (u32 i = 1; i < cpus && i < MAX_CPUS; i++)
		start_lp(i);
	if (argument("fuzz"))
		fuzz();
	run_cases();
	for (;;)
		asm volatile("cli; hlt");
}
