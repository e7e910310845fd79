/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The stand-in's own memory hypercalls and nested tables in a process: "RAM" is a file mapped at its own offset.
 * Usage: memory_calls RAMFILE POOLPAGES CALL..., a call being "map:GFN:FLAGS:PFN:REPS:START" or
 * "unmap:GFN:FLAGS:REPS". Prints the table's root, then status, repetitions done and pool pages free for each call.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "hc.h"

#define ARENA 0x20000000ul		/* behind the stand-in's own memory, which the linker places as in hv.ld */
#define ARENA_SIZE 0x200000ul

struct lp lps[MAX_LPS];
void apic_write_icr(u32 dest, u32 low) { (void)dest, (void)low; abort(); }
void port_forget(u64 partition) { (void)partition; }
u16 vp_delete(struct partition *pt, u32 index) { (void)pt, (void)index; abort(); }
struct partition *hc_partition(struct hc *c, u64 id) { return c->pt = pt_find(id); }
void kprintf(const char *f, ...) { (void)f; }
void panic(const char *f, ...) { (void)f; abort(); }

static void map(struct hc *c, struct in_map_gpa *in, char *s)
{
	in->gfn = strtoul(s, &s, 16);
	in->flags = strtoul(s + 1, &s, 16);
	u64 pfn = strtoul(s + 1, &s, 16), step = in->flags & MAP_LARGE_PAGE ? LARGE_PAGES : 1;
	c->reps = strtoul(s + 1, &s, 16);
	c->start = strtoul(s + 1, &s, 16);
	for (u32 i = 0; i < c->reps; i++)
		in->pfn[i] = pfn + i * step;
	hc_decode_map_gpa(c);
}

int main(int argc, char **argv)
{
	int fd = open(argv[1], O_RDWR);
	u8 *arena = mmap((void *)ARENA, ARENA_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, ARENA);
	struct partition *pt = &parts[1];
	u64 id;

	if (argc < 3 || fd < 0 || arena != (void *)ARENA)
		return 2;
	if (pt_create(0, &id))
		return 3;
	for (u32 i = 0; i < strtoul(argv[2], NULL, 0); i++)
		pool_put(&pt->pool, arena + i * PAGE);
	if (pt_initialize(pt))
		return 4;
	printf("%lx\n", pt->npt);
	for (int i = 3; i < argc; i++) {
		static u8 page[4096] __attribute__((aligned(4096)));
		struct hc c = { .in = page };
		char *s = argv[i];
		u16 st;

		*(u64 *)page = id;
		if (s[0] == 'm') {
			map(&c, (void *)page, s + 4);
			st = hc_map_gpa(&c);
		} else {
			struct in_unmap_gpa *in = (void *)page;
			in->gfn = strtoul(s + 6, &s, 16);
			in->flags = strtoul(s + 1, &s, 16);
			c.reps = strtoul(s + 1, &s, 16);
			hc_decode_unmap_gpa(&c);
			st = hc_unmap_gpa(&c);
		}
		printf("%u %u %u\n", st, c.done, pt->pool.nfree);
	}
	return 0;
}
