/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Log on the QEMU debug console, and the ways to die: every one of them leaves its text in host_block as well. */
#include "hv.h"

#define DEBUG_CONSOLE 0xe9
#define DEBUG_EXIT 0xf4			/* isa-debug-exit, if there is one */
#define DEBUG_EXIT_CODE 0x7f

u32 verbose;
static lock_t log_lock;
static bool dying;

static void put(char c)
{
	outb(DEBUG_CONSOLE, c);
	if (dying)
		host_text(c);
}

static void put_number(u64 v, u32 base, int width, char pad, bool negative)
{
	char b[24];
	int n = 0;

	do {
		b[n++] = "0123456789abcdef"[v % base];
		v /= base;
	} while (v);
	if (negative)
		b[n++] = '-';
	while (n < width && n < (int)sizeof b)
		b[n++] = pad;
	while (n)
		put(b[--n]);
}

static void put_string(const char *s, int width)
{
	int n = 0;

	for (; *s; s++, n++)
		put(*s);
	for (; n < width; n++)
		put(' ');
}

/* %s %c %d %u %x with #, 0, width and l */
static void vprint(const char *f, __builtin_va_list ap)
{
	for (; *f; f++) {
		if (*f != '%') {
			put(*f);
			continue;
		}
		char pad = ' ';
		int width = 0;
		bool l = false, alt = false;
		f++;
		if (*f == '#')
			alt = true, f++;
		if (*f == '0')
			pad = '0', f++;
		while (*f >= '0' && *f <= '9')
			width = width * 10 + *f++ - '0';
		while (*f == 'l')
			l = true, f++;
		if (*f == 's') {
			put_string(__builtin_va_arg(ap, const char *), width);
		} else if (*f == 'c') {
			put(__builtin_va_arg(ap, int));
		} else if (*f == 'd') {
			long v = l ? __builtin_va_arg(ap, long) : __builtin_va_arg(ap, int);
			put_number(v < 0 ? -v : v, 10, width, pad, v < 0);
		} else if (*f == 'u' || *f == 'x') {
			u64 v = l ? __builtin_va_arg(ap, u64) : __builtin_va_arg(ap, u32);
			if (alt)
				put('0'), put('x');
			put_number(v, *f == 'u' ? 10 : 16, width, pad, false);
		} else {
			put(*f);
		}
	}
}

void kprintf(const char *f, ...)
{
	__builtin_va_list ap;

	__builtin_va_start(ap, f);
	lock(&log_lock);
	vprint(f, ap);
	unlock(&log_lock);
	__builtin_va_end(ap);
}

/* The other LPs may hold any lock, also the log's: take none. */
static void __attribute__((noreturn)) die(enum host_state state, const char *what, const char *f, __builtin_va_list ap)
{
	if (!dying) {
		dying = true;
		put_string(what, 0);
		vprint(f, ap);
		dying = false;
		put('\n');
		host_state(state);
		dying = true;
	}
	outb(DEBUG_EXIT, DEBUG_EXIT_CODE);
	for (;;)
		asm volatile("cli; hlt");
}

void panic(const char *f, ...)
{
	__builtin_va_list ap;

	__builtin_va_start(ap, f);
	die(STATE_PANICKED, "HV PANIC: ", f, ap);
}

/* The processor emulation broke its promises: nothing that happened in this run can be trusted. */
void tripwire(const char *f, ...)
{
	__builtin_va_list ap;

	__builtin_va_start(ap, f);
	die(STATE_TRIPWIRE, "HV PANIC: tripwire: ", f, ap);
}

/* Exceptions in the hypervisor are fatal. Frame: vector, error code, rip, cs, rflags, rsp, ss. */
struct fault_frame { u64 vector, error, rip, cs, rflags, rsp, ss; };
void hv_fault(const struct fault_frame *) __attribute__((noreturn));

void hv_fault(const struct fault_frame *f)
{
	u64 cr2;

	asm volatile("mov %%cr2,%0" : "=r"(cr2));
	panic("exception %lu err %#lx rip %#lx rsp %#lx cr2 %#lx", f->vector, f->error, f->rip, f->rsp, cr2);
}
