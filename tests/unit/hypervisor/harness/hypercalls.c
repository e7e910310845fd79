/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The stand-in's hypercalls in a process: all its files but those that need the machine, "RAM" a file mapped at its own
 * offset. Usage: hypercalls RAMFILE, then lines on standard input, one answer line each:
 *   c CONTROL OUTBYTES INPUTHEX   a hypercall of the root: status, repetitions done, ledger flags, output, or "held"
 *   o CONTROL OUTBYTES INPUTHEX   the same, its output in the page that the input is in
 *   p PFN                         state, visible, lost, owner, maps, what the root may do
 *   t SLOT                        a partition: id, state, pages free and deposited, root of its nested table
 *   s RSP RFLAGS                  the root's stack and flags at its next calls
 *   b OFFSET BYTES                bytes of the host block
 *   w OFFSET HEX                  bytes into the host block
 *   l                             the parent is an L1VH partition from now on
 *   k                             is every page in exactly one place? "ok" or what is wrong
 */
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "hc.h"

#define OWN 0x10000000ul		/* the stand-in's memory, which the linker places as in hv.ld */
#define OWN_SIZE 0x2600000ul
#define ARENA 0x20000000ul		/* the root's RAM; its first two pages carry input and output */
#define ARENA_SIZE 0x4000000ul
#define ADDRESS_BITS 40
#define LINE 16384
#define VMMCALL_AT OWN			/* where the root calls from: its hypercall page */
#define TICKS 1000000000ul		/* of our clock in a second, or so */

struct lp lps[MAX_LPS];
u32 nlps = 1, verbose;
static struct vmcb vmcb;
static u32 seen[(ARENA_SIZE / PAGE)], used[MAX_PARTS];

void kprintf(const char *f, ...) { (void)f; }
const char *option(const char *args, const char *name) { (void)args, (void)name; return NULL; }
void apic_write_icr(u32 dest, u32 low) { (void)dest, (void)low; abort(); }

void panic(const char *f, ...)
{
	va_list a;

	va_start(a, f);
	printf("panic: ");
	vprintf(f, a);
	printf("\n");
	exit(1);
}

static void map(int fd, u64 at, u64 size)
{
	void *p = mmap((void *)at, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED_NOREPLACE, fd, at);

	if (p != (void *)at)
		panic("cannot map %#lx", at);
}

static void call(char *s, u64 output)
{
	struct lp *lp = &lps[0];
	u64 control = strtoul(s, &s, 16), out = strtoul(s, &s, 10);
	u8 *in = (u8 *)ARENA;
	struct host_record *r;

	memset(in, 0, 2 * PAGE);
	for (s += strspn(s, " "); s[0] && s[0] != '\n'; s += 2)
		sscanf(s, "%2hhx", in++);
	lp->vmcb = &vmcb;
	vmcb.rip = VMMCALL_AT;
	lp->g.rcx = control;
	lp->g.rdx = control & CTL_FAST ? *(u64 *)ARENA : ARENA;
	lp->g.r8 = control & CTL_FAST ? *(u64 *)(ARENA + 8) : output;
	if (hypercall(lp)) {
		printf("held\n");
		return;
	}
	r = (struct host_record *)ledger_start + (host_block.ledger.head - 1) % LEDGER_CAPACITY;
	printf("%lu %lu %u ", vmcb.rax & 0xffff, vmcb.rax >> RESULT_DONE_SHIFT & CTL_REPS_MASK, r->flags);
	for (u64 i = 0; i < out; i++)
		printf("%02x", ((u8 *)output)[i]);
	printf("\n");
}

static void block_bytes(char *s, bool write)
{
	u8 *at = (u8 *)&host_block + strtoul(s, &s, 16);

	s += strspn(s, " ");
	if (!write) {
		for (u64 n = strtoul(s, NULL, 10); n; n--)
			printf("%02x", *at++);
	} else {
		for (; s[0] && s[0] != '\n'; s += 2)
			sscanf(s, "%2hhx", at++);
		printf("-");
	}
	printf("\n");
}

static void count_table(struct partition *pt, u64 *table, int level)
{
	used[pt - parts]++;
	for (u64 i = 0; i < PTES; i++) {
		u64 e = table[i], first = ((e & PTE_ADDR) - ARENA) / PAGE, pages = level == 2 ? LARGE_PAGES : 1;
		if (!(e & PTE_P))
			continue;
		if (level > 1 && !(e & PTE_PS)) {
			count_table(pt, (u64 *)(e & PTE_ADDR), level - 1);
			continue;
		}
		for (u64 p = first; p < first + pages && first < LENGTH(seen); p++)
			seen[p]++;
	}
}

static const char *check(void)
{
	static char free_in[LENGTH(seen)];
	u32 in_use[MAX_PARTS + PAGE_ORPHAN] = { 0 };

	memset(seen, 0, sizeof seen);
	memset(used, 0, sizeof used);
	memset(free_in, 0, sizeof free_in);
	for (u32 i = 0; i < MAX_PARTS; i++) {
		struct partition *pt = &parts[i];
		u32 n = 0;

		if (pt->state == PT_FREE)
			continue;
		if (i && pt->npt)
			count_table(pt, (u64 *)pt->npt, 4);
		for (u64 *p = (u64 *)pt->pool.head; p; p = (u64 *)*p, n++) {
			if (free_in[((u64)p - ARENA) / PAGE])
				return "a page is in two pools";
			free_in[((u64)p - ARENA) / PAGE] = i + 1;
		}
		if (n != pt->pool.nfree)
			return "a pool's list and its counter differ";
	}
	for (u64 i = 2; i < LENGTH(seen); i++) {
		struct page *p = page_of(ARENA / PAGE + i);
		u32 access = root_npt_access(ARENA / PAGE + i);

		if (p->maps != seen[i])
			return "a page's uses and the mappings of it differ";
		if (!!free_in[i] != (p->state == PAGE_FREE) || (free_in[i] && free_in[i] != (int)p->owner + 1))
			return "a page's state and the pools differ";
		if (p->state != PAGE_ROOT && (p->maps || (access && !p->visible)))
			return "a deposited page is within reach of a guest";
		if (p->state == PAGE_ROOT && access != ((p->lost & 1 ? 0 : NPT_R) | (p->lost ? 0 : NPT_W) | (p->lost & 1 ? 0 : NPT_X)))
			return "the root's table and the page map differ";
		in_use[p->owner] += p->state == PAGE_USED;
	}
	for (u32 i = 1; i < MAX_PARTS; i++) {
		u32 vps = 0;

		for (u32 v = 0; v < MAX_VPS; v++)
			vps += parts[i].vp[v].used;
		if (parts[i].state == PT_FREE)
			vps = 0, parts[i].pool = (struct pool){ 0 };
		if (in_use[i] != parts[i].pool.ntotal - parts[i].pool.nfree)
			return "a partition's pages in use and its counters differ";
		if (vps ? (in_use[i] - used[i]) % vps : in_use[i] != used[i])
			return "a partition's pages in use are not its tables and VPs";
	}
	return NULL;
}

int main(int argc, char **argv)
{
	int fd = argc > 1 ? open(argv[1], O_RDWR) : -1;
	static char line[LINE];

	if (fd < 0)
		return 2;
	map(fd, OWN, OWN_SIZE);
	map(fd, ARENA, ARENA_SIZE);
	setvbuf(stdout, NULL, _IOLBF, 0);
	host_init("");
	mem_note_ram(ARENA, ARENA_SIZE);
	pages_width(ADDRESS_BITS);
	lps[0].started = true;
	tsc_hz = TICKS;
	parts[0].state = PT_ACTIVE;
	parts[0].id = ROOT_ID;
	parts[0].npt = root_npt(ADDRESS_BITS);
	pages_init();
	printf("%lx\n", parts[0].npt);
	while (fgets(line, sizeof line, stdin)) {
		if (line[0] == 'c' || line[0] == 'o') {
			call(line + 1, line[0] == 'c' ? ARENA + PAGE : ARENA);
		} else if (line[0] == 's') {
			char *rest;
			vmcb.rsp = strtoul(line + 1, &rest, 16);
			vmcb.rflags = strtoul(rest, NULL, 16);
			printf("-\n");
		} else if (line[0] == 'b' || line[0] == 'w') {
			block_bytes(line + 1, line[0] == 'w');
		} else if (line[0] == 'l') {
			l1vh = true;
			printf("-\n");
		} else if (line[0] == 'p') {
			u64 pfn = strtoul(line + 1, NULL, 16);
			struct page none = { 0 }, *p = page_of(pfn) ? page_of(pfn) : &none;
			printf("%u %u %u %u %u %u\n", p->state, p->visible, p->lost, p->owner, p->maps, root_npt_access(pfn));
		} else if (line[0] == 't') {
			struct partition *t = &parts[strtoul(line + 1, NULL, 10)];
			printf("%lu %u %u %u %lx\n", t->id, t->state, t->pool.nfree, t->pool.ntotal, t->npt);
		} else if (line[0] == 'k') {
			const char *bad = check();
			printf("%s\n", bad ? bad : "ok");
		}
	}
	return 0;
}
