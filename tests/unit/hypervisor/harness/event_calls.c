/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SynIC, ports, timers and the store decoder of the stand-in in a process. One command a line, numbers in hex, one
 * line of answer each. Two LPs; their APICs are an array of registers whose timer counts the harness's TSC at 1 GHz.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apic_regs.h"
#include "port.h"

#define TSC_HZ 2000000000ul
#define PM_HZ 3579545ul
#define READ_COST 100
#define LIFE_SECONDS 60

unsigned long harness_tsc = 1000;
struct lp lps[MAX_LPS];
struct partition parts[MAX_PARTS];
struct host_block host_block;
u32 nlps = 2;
lock_t hv_lock;
static u32 apic[MAX_LPS][0x400];
static u64 counting_since[MAX_LPS];
static u32 current;			/* LP that executes */
static char sent[4096];
static u32 tail[MAX_LPS][SYNIC_SINTS];	/* the root's place in each ring */

unsigned int harness_pm_timer(void)
{
	harness_tsc += READ_COST;
	return (unsigned __int128)harness_tsc * PM_HZ / TSC_HZ;
}

void kprintf(const char *f, ...) { (void)f; }
void *shared_alloc(void) { return memset(aligned_alloc(PAGE, PAGE), 0, PAGE); }
void ledger_event(struct lp *lp, enum event_code c, u32 f, u32 n, const u64 *w) { (void)lp, (void)c, (void)f, (void)n, (void)w; }
void overlay_init(u64 *msr, bool provided) { (void)msr, (void)provided; }
bool overlay_write(u64 *msr, u64 val) { *msr = (*msr & ~SMSR_ENABLE) | (val & SMSR_ENABLE); return true; }
u32 child_fetch(struct vp *vp, u8 *bytes) { (void)vp, (void)bytes; return 0; }

/* ---- the APIC ---- */
static u32 divisor(u32 lp) { return apic[lp][APIC_DIVIDE] == 0xa ? 128 : 1; }

static u32 count(u32 lp)
{
	u64 passed = (harness_tsc - counting_since[lp]) * (APIC_TIMER_HZ / 1000000) / (TSC_HZ / 1000000) / divisor(lp);
	u32 initial = apic[lp][APIC_INITIAL_COUNT];

	return passed < initial ? initial - passed : 0;
}

u32 apic_read(u32 offset) { return offset == APIC_CURRENT_COUNT ? count(current) : apic[current][offset]; }

void apic_write(u32 offset, u32 value)
{
	apic[current][offset] = value;
	if (offset == APIC_INITIAL_COUNT)
		counting_since[current] = harness_tsc;
}

void apic_write_icr(u32 dest, u32 low)
{
	sprintf(sent + strlen(sent), " %x:%x", dest, low & VECTOR_MASK);
}

/* Time passes; the APIC timer of the executing LP sets its bit in the request register. */
static void pass(u64 tsc)
{
	bool was = apic[current][APIC_INITIAL_COUNT] && count(current);
	u32 v = apic[current][APIC_LVT_TIMER] & VECTOR_MASK;

	harness_tsc += tsc;
	if (was && !count(current) && !(apic[current][APIC_LVT_TIMER] & LVT_MASKED))
		apic[current][APIC_IRR + v / 32 * APIC_BANK_STEP] |= 1u << v % 32;
}

/* ---- the root's side of a ring, as Linux's driver reads it ---- */
static u32 take_port(struct lp *lp, u32 sint)
{
	struct wire_event_ring *ring = (struct wire_event_ring *)PAGE_BASE(lp->sirbp) + sint;
	u32 *place = &ring->data[tail[lp->index][sint]], port = *place;

	if (!port && ring->full) {
		ring->full = 0;
		port_ring_empty(lp, sint);
		port = *place;
	}
	if (!port) {
		ring->masked = 0;
		return 0;
	}
	ring->masked = 1;
	*place = 0;
	tail[lp->index][sint] = (tail[lp->index][sint] + 1) % EVENT_RING_PORTS;
	return port;
}

/* ---- commands ---- */
static u64 number(void) { char *w = strtok(NULL, " \n"); return w ? strtoul(w, NULL, 16) : 0; }

static void msr(struct lp *lp, bool write)
{
	u32 m = number();
	u64 v = number();
	bool stimer = m >= SMSR_STIMER0_CONFIG && m <= SMSR_STIMER3_COUNT;

	if (write)
		printf("%s\n", (stimer ? stimer_write(lp, m, v) : synic_write(lp, m, v)) ? "ok" : "fault");
	else if (stimer)
		printf("%lx\n", stimer_read(lp, m));
	else if (synic_read(lp, m, &v))
		printf("%lx\n", v);
	else
		puts("fault");
}

static void slot(struct lp *lp, u32 sint)
{
	const struct message *m = (struct message *)PAGE_BASE(lp->simp) + sint;

	printf("%x %x %lx\n", m->type, m->flags, m->payload[0]);
}

static void decode(u32 bits, bool address)
{
	static struct vmcb v;
	static struct vp vp = { .vmcb = &v };
	u8 bytes[INSTRUCTION_BYTES];
	struct store s = { 0 };
	u32 n = 0;
	u64 gva;

	v = (struct vmcb){ .rax = 0x1122334455667788, .rsp = 0x4444, .efer = bits == 64 ? EFER_LMA : 0 };
	v.cs.attributes = bits == 64 ? SEG_LONG : bits == 32 ? SEG_DB : 0;
	for (u32 i = 0; i < 16; i++)
		(&vp.g.rax)[i] = 0xaabbcc00 + i * 0x1010101ul;
	for (char *w; (w = strtok(NULL, " \n"));)
		bytes[n++] = strtoul(w, NULL, 16);
	v.rip = 0x7000;
	v.ss.base = 0x100000, v.ds.base = 0x200000, v.fs.base = 0x300000;
	if (address && instruction_address(&vp, bytes, n, &gva))
		printf("%lx\n", gva);
	else if (!address && store_decode(&vp, bytes, n, &s))
		printf("%u %u %lx\n", s.size, s.length, s.value);
	else
		puts("no");
}

static void port_command(const char *verb)
{
	u64 n[8];

	for (u32 i = 0; i < LENGTH(n); i++)
		n[i] = number();
	if (!strcmp(verb, "port")) {
		struct port p = { .type = n[0], .partition = ROOT_ID, .id = n[1], .sender = n[2], .sint = n[3],
				  .vp = n[4], .first_flag = n[5], .flag_count = n[6] };
		printf("%x\n", port_create(&p));
	} else if (!strcmp(verb, "connect")) {
		struct connection c = { .type = n[0], .id = n[1], .partition = n[2], .port_partition = ROOT_ID,
					.port = n[3], .gpa = n[4], .value = n[5], .flags = n[6] };
		printf("%x\n", port_connect(&c));
	} else if (!strcmp(verb, "unport")) {
		printf("%x\n", port_delete(ROOT_ID, n[0]));
	} else if (!strcmp(verb, "disconnect")) {
		printf("%x\n", port_disconnect(n[0], n[1]));
	} else if (!strcmp(verb, "forget")) {
		port_forget(n[0]);
		puts("ok");
	} else if (!strcmp(verb, "send")) {
		struct message m = { .type = n[2], .size = 8, .payload = { n[3] } };
		printf("%x\n", port_post(&lps[current], n[0], n[1], &m));
	} else if (!strcmp(verb, "signal")) {
		printf("%x\n", port_signal(&lps[current], n[0], n[1], n[2]));
	} else {
		struct partition pt = { .id = n[0] };
		struct vp vp = { .pt = &pt };
		printf("%d\n", doorbell_write(&lps[current], &vp, n[1], n[2], n[3]));
	}
}

static bool is_port_command(const char *verb)
{
	static const char *const verbs[] = { "port", "connect", "unport", "disconnect", "forget", "send", "signal", "bell" };

	for (u32 i = 0; i < LENGTH(verbs); i++)
		if (!strcmp(verb, verbs[i]))
			return true;
	return false;
}

static void command(const char *verb)
{
	struct lp *lp = &lps[current];

	if (!strcmp(verb, "lp")) {
		current = number();
		puts("ok");
	} else if (!strcmp(verb, "wrmsr") || !strcmp(verb, "rdmsr")) {
		msr(lp, *verb == 'w');
	} else if (!strcmp(verb, "post")) {
		u32 sint = number();
		struct message m = { .type = number() };
		m.payload[0] = number();
		printf("%x\n", synic_post(lp, sint, &m));
	} else if (!strcmp(verb, "slot")) {
		slot(lp, number());
	} else if (!strcmp(verb, "free")) {
		((struct message *)PAGE_BASE(lp->simp))[number()].type = 0;
		puts("ok");
	} else if (!strcmp(verb, "flag")) {
		u32 sint = number(), flag = number();
		printf("%d\n", ((u8 *)PAGE_BASE(lp->siefp))[sint * EVENT_FLAGS_BYTES + flag / 8] >> flag % 8 & 1);
	} else if (!strcmp(verb, "sent")) {
		printf("%s\n", *sent ? sent + 1 : "-");
		*sent = 0;
	} else if (!strcmp(verb, "auto")) {	/* the root's next entry takes what is offered */
		synic_enter(lp);
		printf("%x\n", lp->synic.auto_offered & VECTOR_MASK);
		lp->vmcb->vintr &= ~VINTR_IRQ;
		synic_left(lp);
	} else if (!strcmp(verb, "take")) {
		printf("%x\n", take_port(lp, number()));
	} else if (!strcmp(verb, "pass")) {
		pass(number() * (TSC_HZ / 10000000));	/* in units of 100 ns */
		puts("ok");
	} else if (!strcmp(verb, "run")) {
		timers_run(lp);
		puts("ok");
	} else if (!strcmp(verb, "eoi")) {
		memset(apic[current] + APIC_IRR, 0, 8 * APIC_BANK_STEP * sizeof(u32));
		puts("ok");
	} else if (!strcmp(verb, "apic")) {	/* vector and initial count of the physical timer */
		printf("%x %x\n", apic[current][APIC_LVT_TIMER], apic[current][APIC_INITIAL_COUNT]);
	} else if (!strcmp(verb, "lvt")) {	/* the root sets its APIC timer */
		apic[current][APIC_LVT_TIMER] = number();
		puts("ok");
	} else if (!strcmp(verb, "live")) {
		printf("%d\n", timer_live(lp));
	} else if (!strcmp(verb, "now")) {
		printf("%lx\n", ref_time());
	} else if (!strcmp(verb, "tsc")) {	/* how far the reference time at ref_to_tsc(n) is from n */
		u64 ref = number(), back = harness_tsc;
		harness_tsc = ref_to_tsc(ref);
		printf("%ld\n", (s64)(ref_time() - ref));
		harness_tsc = back;
	} else if (!strcmp(verb, "next")) {
		u64 a = number(), p = number(), now = number();
		printf("%lx\n", stimer_next(a, p, now, number()));
	} else if (!strcmp(verb, "decode") || !strcmp(verb, "address")) {	/* bits, bytes of code */
		decode(strtoul(strtok(NULL, " \n"), NULL, 10), *verb == 'a');
	} else if (is_port_command(verb)) {
		port_command(verb);
	} else {
		printf("unknown %s\n", verb);
	}
}

int main(void)
{
	static struct vmcb vmcb[MAX_LPS];
	char line[512];

	setvbuf(stdout, NULL, _IOLBF, 0);
	alarm(LIFE_SECONDS);
	time_init();
	for (u32 i = 0; i < nlps; i++) {
		lps[i] = (struct lp){ .index = i, .apic_id = i, .started = true, .vmcb = &vmcb[i] };
		apic[i][APIC_LVT_TIMER] = LVT_MASKED;
		synic_init(&lps[i]);
		stimer_init(&lps[i]);
	}
	while (fgets(line, sizeof line, stdin))
		command(strtok(line, " \n"));
	return 0;
}
