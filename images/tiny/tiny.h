/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A bare-metal root partition that tests the hypervisor below it. A case is a function in a table; it ends at its first
 * failed check. Numbers and structures of the interface are the stand-in's own (abi.h, wire.h), which abi_check.c
 * compares with Linux.
 */
#ifndef TINY_H
#define TINY_H

#include "abi.h"
#include "cpu.h"
#include "layout.h"
#include "types.h"
#include "wire.h"

/* ---- the table of cases; lab/build/tiny.py reads it from the ELF file ---- */
#define CASE_NAME 80
#define CASE_GROUP 16
struct tiny_case {
	char name[CASE_NAME], group[CASE_GROUP];
	void (*run)(void);
	u8 pad[24];
};
CHECK_SIZE(struct tiny_case, 128);
extern const struct tiny_case cases_start[], cases_end[];

/* A case and its name in words. Groups: "one" and "two" say how many LPs it needs. */
#define CASE(group_, function, name_) \
	static void function(void); \
	static const struct tiny_case case_##function __attribute__((section(".cases"), used, aligned(64))) = \
		{ .name = name_, .group = group_, .run = function }; \
	static void function(void)

/* ---- checks: a failed one ends the case ---- */
void fail(const char *file, u32 line, const char *fmt, ...)
	__attribute__((noreturn, format(printf, 3, 4)));
bool lp_gave_up(void);			/* another LP than ours failed a check */
#define FAIL(...) fail(__FILE__, __LINE__, __VA_ARGS__)
#define EXPECT(got_, want_, what_) do { \
	u64 got__ = (got_), want__ = (want_); \
	if (got__ != want__) \
		FAIL("%s: expected %#lx, got %#lx", what_, want__, got__); \
} while (0)
#define CHECK(condition_, what_) do { if (!(condition_)) FAIL("%s", what_); } while (0)

/* ---- start.c, io.c ---- */
const char *argument(const char *name);		/* value of "name=" on the command line, or NULL */
u64 number(const char *s, u64 otherwise);
void print(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void vprint(const char *fmt, __builtin_va_list);
void *memset(void *, int, u64);
void *memcpy(void *, const void *, u64);
int memcmp(const void *, const void *, u64);
u64 strlen(const char *);
bool same(const char *, const char *);

/* ---- trap.c: exceptions and interrupts ---- */
struct frame {
	u64 rax, rbx, rcx, rdx, rsi, rdi, rbp, r8, r9, r10, r11, r12, r13, r14, r15;
	u64 vector, error, rip, cs, rflags, rsp, ss;
};
struct context { u64 rip, rsp, rbx, rbp, r12, r13, r14, r15, rflags; };
int context_save(struct context *) __attribute__((returns_twice));
void context_restore(struct context *, int) __attribute__((noreturn));
#define NO_FAULT (-1)
#define VECTOR_IGNORE 0xf3		/* Linux's callback vector; also what the stand-in kicks an LP with */
#define VECTOR_TEST 0x51
void traps_init(void);
void pic_timer(u16 ticks);
int caught(void (*)(void *), void *);	/* the vector of the exception that ended it, or NO_FAULT */
u64 fault_error(void);			/* error code of the last one caught on this LP */
int msr_read(u32 msr, u64 *value);
int msr_write(u32 msr, u64 value);
extern volatile u64 interrupts[MAX_CPUS][256];
void user_vmmcall(void);
u64 try_rdmsr(u32), __attribute__((unused)) probe_call(u64 control, u64 in, u64 out, u64 *lost);
void try_wrmsr(u32, u64);
static inline void interrupts_on(void) { asm volatile("sti; nop; nop" ::: "memory"); }
static inline void interrupts_off(void) { asm volatile("cli" ::: "memory"); }

/* ---- smp.c ---- */
u32 this_lp(void);
void start_lp(u32 lp);
void on_lp(u32 lp, void (*)(void *), void *);	/* begin there, do not wait */
bool lp_idle(u32 lp);
void join(u32 lp);
void send_ipi(u32 lp, u32 vector);
void poke_lp(u32 lp);
#define POLLS 2000000u			/* bound of every wait: each poll pauses, which lets the other LP run */
#define WAIT(condition_, what_) do { \
	u32 polls__ = POLLS; \
	while (!(condition_)) { \
		if (!polls__--) \
			FAIL("waited in vain for %s", what_); \
		relax(); \
	} \
} while (0)

/* ---- call.c: hypercalls ---- */
extern u64 hypercall_page;
struct result { u16 status, done; u64 raw; };
void calls_init(void);
void *call_in(void);			/* zeroed input page of this LP */
void *call_out(void);			/* output page of this LP, as the last call left it */
struct result raw_call(u64 control, u64 in, u64 out);
u16 call(u16 code);			/* input from call_in(), output to call_out() */
struct result call_reps(u16 code, u16 reps, u16 start);
struct result call_header(u16 code, u16 header_words);

/* ---- pages.c: RAM to give away ---- */
u64 page_take(void);			/* a zeroed page's number */
void page_give(u64 pfn);
void page_untake(u64 pfn);		/* free, unless it was deposited meanwhile */
void page_deposited(u64 pfn, u64 partition);
void page_withdrawn(u64 pfn, u64 partition);
u64 pages_deposited(u64 partition);
void page_deposited_elsewhere(u64 pfn, u64 partition);	/* not one of ours to take, but harmless */
void pages_lost(u64 partition);		/* it was deleted: what it had is the root's again */
bool page_is_deposited(u64 pfn);
u64 pages_free(void);
void pages_reset(void);
static inline void *page_at(u64 pfn) { return (void *)(pfn * PAGE); }

/* ---- partition.c: partitions of a case, torn down after it ---- */
#define POOL 96				/* pages deposited into a new partition; WITHDRAW returns at most 512 in a call */
u64 new_partition(u64 flags);		/* created, deposited, initialised */
u64 created_partition(u64 flags, u32 pages);
u16 create_partition(u64 flags, u64 *id);
u16 with_partition(u16 code, u64 id);
struct result deposit(u64 id, u32 pages);
u32 withdraw_all(u64 id);
void tear_down(u64 id);
void forget(u64 id);			/* the case has deleted it */
const char *tear_down_all(void);	/* NULL, or what was not in order */
u16 create_vp(u64 id, u32 vp);
u16 delete_vp(u64 id, u32 vp);
struct result map_pages(u64 id, u64 gfn, u32 flags, const u64 *pfn, u16 reps, u16 start);
u16 map_page(u64 id, u64 gfn, u32 flags, u64 pfn);
struct result unmap_pages(u64 id, u64 gfn, u32 flags, u16 reps, u16 start);
u16 install_intercept(u64 id, u32 type, u32 access, u64 parameter);
#define MAP_RWX (MAP_READABLE | MAP_WRITABLE | MAP_KERNEL_EXECUTABLE | MAP_USER_EXECUTABLE)
#define MAP_RW (MAP_READABLE | MAP_WRITABLE)

/* ---- child.c: a VP with code ---- */
#define CODE_GFN 1ul			/* the code's page, and behind it one for data */
#define DATA_GFN 2ul
struct child { u64 id, code, data; struct message *message; };
extern u8 child_in[], child_halt[], child_read[], child_write[], child_spin[], child_cpuid[], child_msr[], child_exec[],
	child_triple[], child_interrupt[], child_handler[], child_doze[], child_doze_handler[],
	child_takes[], child_takes_first[], child_takes_second[];
u16 set_register(u64 id, u32 vp, u32 name, u64 value);
u16 set_register2(u64 id, u32 vp, u32 name, u64 low, u64 high);
u16 get_register(u64 id, u32 vp, u32 name, struct wire_value *value);
u64 register_of(u64 id, u32 vp, u32 name);
struct message *message_page(u64 id, u32 vp);
struct wire_register_page *register_page(u64 id, u32 vp);
void flat_vp(u64 id, u32 vp, u64 rip);	/* 32-bit flat protected mode, not suspended, at rip */
struct child new_child(u64 flags, const u8 *code);	/* partition with VP 0 in that code */
u16 dispatch_once(u64 id, u32 vp, u32 flags, struct out_dispatch *out);
struct message *run_child(const struct child *, u32 flags);	/* until it sends a message */
struct message *run_vp(u64 id, u32 vp, struct message *, u32 flags);
static inline volatile u32 *data_of(const struct child *c, u32 word)
{
	return (volatile u32 *)page_at(c->data) + word;
}

/* ---- synic.c ---- */
struct message *sint_slot(u32 sint);
void synic_on(u32 sint, u32 vector);
void synic_off(u32 sint);
bool message_wait(struct message *slot, u32 polls);
void message_done(struct message *slot);

/* ---- fuzz.c ---- */
void fuzz(void);

#endif
