/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The child partition: creation, RAM, memory regions, destruction in a chosen order. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backend.h"
#include "vmm.h"

#define MAX_RAM_PAGES		(1ull << 18)
#define MAX_PEEK		(64u << 10)
#define PAGE_TABLE_ENTRIES	512
#define PTE_PRESENT		(1ull << 0)
#define PTE_WRITABLE		(1ull << 1)
#define PTE_LARGE		(1ull << 7)
#define GIB			(1ull << 30)
#define NO_MAP			UINT64_MAX

struct region {
	bool used;
	struct abi_memory memory;
	uint64_t map;			/* id, or NO_MAP when the host mapping is gone */
	uint64_t first;			/* page of the map */
	char kind[8];			/* of the map */
};

static struct {
	int fd;				/* 0: no partition */
	uint32_t vps;
	struct vp *vp[MAX_VPS];
	uint8_t *ram;
	uint64_t ram_pages;
	struct region region[MAX_REGIONS];
} partition;

uint8_t *partition_ram(void)
{
	return partition.ram;
}

struct vp *partition_vp(uint64_t index, struct reply *reply)
{
	if (!partition.fd)
		return fail(reply, ENOENT, "there is no partition; create one first"), NULL;
	if (index >= partition.vps)
		return fail(reply, ENOENT, "no VP %lu; the partition has %u", index, partition.vps), NULL;
	return partition.vp[index];
}

void partition_size(uint32_t *vps, uint64_t *ram_pages)
{
	*vps = partition.vps;
	*ram_pages = partition.fd ? partition.ram_pages : 0;
}

void map_gone(uint64_t id)
{
	for (size_t i = 0; i < MAX_REGIONS; i++)
		if (partition.region[i].map == id)
			partition.region[i].map = NO_MAP;
}

static void fill_ram(uint8_t *ram)
{
	uint64_t *pml4 = (void *)(ram + LAYOUT_PML4), *pdpt = (void *)(ram + LAYOUT_PDPT);

	pml4[0] = LAYOUT_PDPT | PTE_PRESENT | PTE_WRITABLE;
	for (uint64_t i = 0; i < PAGE_TABLE_ENTRIES; i++)
		pdpt[i] = i * GIB | PTE_PRESENT | PTE_WRITABLE | PTE_LARGE;
	memcpy(ram + LAYOUT_CODE, payload_image, (size_t)(payload_image_end - payload_image));
}

#define RAM_SLOT		0u		/* regions follow */

static int set_memory(uint64_t region, const struct abi_memory *memory)
{
	return backend_memory(partition.fd, RAM_SLOT + 1 + (uint32_t)region, memory);
}

static int build(uint64_t vps, uint64_t flags, uint64_t features, struct reply *reply)
{
	int file = backend_create(flags, features, reply);

	if (file < 0)
		return -1;
	partition.fd = file;
	partition.ram = mmap(NULL, partition.ram_pages * ABI_PAGE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (partition.ram == MAP_FAILED) {
		partition.ram = NULL;
		return fail(reply, errno, "%lu pages of RAM for the child", partition.ram_pages);
	}
	fill_ram(partition.ram);
	struct abi_memory ram = {
		.size = partition.ram_pages * ABI_PAGE,
		.host = (uintptr_t)partition.ram,
		.flags = ABI_MEMORY_WRITABLE | ABI_MEMORY_EXECUTABLE,
	};
	if (backend_memory(partition.fd, RAM_SLOT, &ram))
		return fail(reply, errno, "%s of the child's RAM", backend.set_memory);
	for (uint32_t i = 0; i < vps; i++) {
		partition.vp[i] = vp_open(partition.fd, i, partition.ram, reply);
		if (!partition.vp[i])
			return -1;
		partition.vps++;
	}
	return 0;
}

enum order { TIDY, VPS_FIRST, PARTITION_FIRST };

static void delete_region(uint64_t id)
{
	partition.region[id].memory.flags = ABI_MEMORY_UNMAP;
	set_memory(id, &partition.region[id].memory);
	partition.region[id].used = false;
}

static void destroy(enum order order)
{
	bool ram_free = true;

	if (order == PARTITION_FIRST)
		close(partition.fd);
	for (uint64_t i = 0; order == TIDY && i < MAX_REGIONS; i++)
		if (partition.region[i].used)
			delete_region(i);
	for (uint32_t i = 0; i < partition.vps; i++)
		ram_free &= vp_free(partition.vp[i]);
	if (order != PARTITION_FIRST)
		close(partition.fd);
	if (partition.ram && ram_free)
		munmap(partition.ram, partition.ram_pages * ABI_PAGE);
	memset(&partition, 0, sizeof partition);
}

int partition_file(struct reply *reply)
{
	return partition.fd ? partition.fd : fail(reply, ENOENT, "there is no partition; create one first");
}

/* create VPS RAM-PAGES [lapic] [x2apic] [hyperv FEATURES] -> VPS RAM-PAGES */
int create_verb(struct words *words, struct reply *reply)
{
	uint64_t vps, pages, flags = 0, features = 0;

	if (word_number(words, reply, "number of VPs", &vps) || word_number(words, reply, "RAM pages", &pages))
		return -1;
	if (words->next && !strcmp(words->next, "lapic")) {
		word_take(words);
		flags |= ABI_PARTITION_LAPIC;
	}
	if (words->next && !strcmp(words->next, "x2apic")) {
		word_take(words);
		flags |= ABI_PARTITION_X2APIC;
	}
	if (words->next && !strcmp(words->next, "hyperv")) {
		word_take(words);
		if (word_number(words, reply, "synthetic features", &features))
			return -1;
	}
	uint64_t need = (LAYOUT_VP_AREA + vps * LAYOUT_VP_AREA_SIZE) / ABI_PAGE;
	if (partition.fd)
		return fail(reply, EEXIST, "there is a partition already; destroy it first");
	if (!vps || vps > MAX_VPS)
		return fail(reply, EINVAL, "1 to %d VPs, not %lu", MAX_VPS, vps);
	if (pages < need || pages > MAX_RAM_PAGES)
		return fail(reply, EINVAL, "%lu VPs need %lu to %llu RAM pages, not %lu", vps, need, MAX_RAM_PAGES,
			    pages);
	partition.ram_pages = pages;
	if (build(vps, flags, features, reply)) {
		if (partition.fd)
			destroy(VPS_FIRST);
		return -1;
	}
	fprintf(reply->out, " %lu %lu", vps, pages);
	return 0;
}

/* destroy tidy|vps|partition: what goes first (tidy: the regions, one by one) */
int destroy_verb(struct words *words, struct reply *reply)
{
	static const char *const names[] = { [TIDY] = "tidy", [VPS_FIRST] = "vps", [PARTITION_FIRST] = "partition" };
	const char *name;

	if (word_text(words, reply, "order", &name))
		return -1;
	if (!partition.fd)
		return fail(reply, ENOENT, "there is no partition to destroy");
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (!strcmp(name, names[i]))
			return destroy((enum order)i), 0;
	return fail(reply, EINVAL, "order is tidy, vps or partition, not %.20s", name);
}

static int region_add(struct words *words, struct reply *reply)
{
	uint64_t gfn, pages, id, first, slot;
	const char *flags;

	if (word_number(words, reply, "gfn", &gfn) || word_number(words, reply, "pages", &pages) ||
	    word_number(words, reply, "map", &id) || word_number(words, reply, "first page", &first) ||
	    word_text(words, reply, "flags", &flags))
		return -1;
	struct map *map = map_find(id);
	if (!map)
		return fail(reply, ENOENT, "no map %lu", id);
	if (flags[strspn(flags, "rwxo")])
		return fail(reply, EINVAL, "flags are made of r, w, x and o, not %.20s", flags);
	/* o: over the end of the mapping, on purpose; the kernel has to refuse or to stop there */
	if (!pages || first >= map->pages || (pages > map->pages - first && !strchr(flags, 'o')))
		return fail(reply, EINVAL, "pages %lu+%lu lie outside of map %lu of %lu pages", first, pages, id,
			    map->pages);
	for (slot = 0; slot < MAX_REGIONS && partition.region[slot].used; slot++)
		;
	if (slot == MAX_REGIONS)
		return fail(reply, ENOSPC, "%d regions exist already", MAX_REGIONS);
	struct abi_memory memory = {
		.size = pages * ABI_PAGE,
		.gfn = gfn,
		.host = (uintptr_t)map->base + first * ABI_PAGE,
		.flags = (uint8_t)((strchr(flags, 'w') ? ABI_MEMORY_WRITABLE : 0) |
				   (strchr(flags, 'x') ? ABI_MEMORY_EXECUTABLE : 0)),
	};
	if (set_memory(slot, &memory))
		return fail(reply, errno, "%s of %lu pages at gfn %#lx", backend.set_memory, pages, gfn);
	partition.region[slot] = (struct region){ .used = true, .memory = memory, .map = id, .first = first };
	memcpy(partition.region[slot].kind, map->kind, sizeof map->kind);
	fprintf(reply->out, " %lu", slot);
	return 0;
}

static int region_delete(struct words *words, struct reply *reply)
{
	uint64_t id;

	if (word_number(words, reply, "region", &id))
		return -1;
	struct region *region = id < MAX_REGIONS ? &partition.region[id] : NULL;
	if (!region || !region->used)
		return fail(reply, ENOENT, "no region %lu", id);
	struct abi_memory memory = region->memory;
	uint64_t pages = memory.size / ABI_PAGE;
	if (words->next && word_number(words, reply, "pages", &pages))
		return -1;
	memory.size = pages * ABI_PAGE;
	memory.flags = ABI_MEMORY_UNMAP;
	if (set_memory(id, &memory))
		return fail(reply, errno, "%s unmapping gfn %#lx", backend.set_memory, memory.gfn);
	region->used = false;
	return 0;
}

/* region live: all there is in the partition, its RAM too, with the pages behind it */
static int region_live(struct reply *reply)
{
	live_show(reply->out, &(struct live){
		.pages = partition.ram_pages, .writable = true, .executable = true, .kind = "ram",
		.host = partition.ram,
	});
	for (uint64_t i = 0; i < MAX_REGIONS; i++) {
		const struct region *region = &partition.region[i];

		if (!region->used)
			continue;
		const struct map *map = region->map == NO_MAP ? NULL : map_find(region->map);
		live_show(reply->out, &(struct live){
			.gfn = region->memory.gfn, .pages = region->memory.size / ABI_PAGE,
			.writable = region->memory.flags & ABI_MEMORY_WRITABLE && (!map || map->writable),
			.executable = region->memory.flags & ABI_MEMORY_EXECUTABLE, .kind = region->kind, .map = map,
			.first = region->first, .host = map ? (const uint8_t *)region->memory.host : NULL,
		});
	}
	return 0;
}

/* region add GFN PAGES MAP FIRST rwxo -> ID | del ID [PAGES] | list -> ID:GFN:PAGES:MAP:FIRST:rwx ... | live (see live.c) */
int region_verb(struct words *words, struct reply *reply)
{
	const char *what;

	if (word_text(words, reply, "add, del, list or live", &what))
		return -1;
	if (!partition.fd)
		return fail(reply, ENOENT, "there is no partition; create one first");
	if (!strcmp(what, "add"))
		return region_add(words, reply);
	if (!strcmp(what, "del"))
		return region_delete(words, reply);
	if (!strcmp(what, "live"))
		return region_live(reply);
	if (strcmp(what, "list"))
		return fail(reply, EINVAL, "region add, del, list or live, not %.20s", what);
	for (uint64_t i = 0; i < MAX_REGIONS; i++) {
		const struct region *region = &partition.region[i];

		if (region->used)	/* MAP is -1 when the host mapping is gone */
			fprintf(reply->out, " %lu:%#lx:%llu:%ld:%lu:r%s%s", i, region->memory.gfn,
				region->memory.size / ABI_PAGE, (int64_t)region->map, region->first,
				region->memory.flags & ABI_MEMORY_WRITABLE ? "w" : "",
				region->memory.flags & ABI_MEMORY_EXECUTABLE ? "x" : "");
	}
	return 0;
}

static int ram_range(struct words *words, struct reply *reply, uint64_t *gpa)
{
	if (word_number(words, reply, "gpa", gpa))
		return -1;
	if (!partition.fd)
		return fail(reply, ENOENT, "there is no partition; create one first");
	if (*gpa >= partition.ram_pages * ABI_PAGE)
		return fail(reply, ERANGE, "gpa %#lx lies outside of the child's RAM", *gpa);
	return 0;
}

/* peek GPA BYTES -> hex, from the child's RAM as the VMM sees it */
int peek_verb(struct words *words, struct reply *reply)
{
	uint64_t gpa, size;

	if (ram_range(words, reply, &gpa) || word_number(words, reply, "bytes", &size))
		return -1;
	if (!size || size > MAX_PEEK || size > partition.ram_pages * ABI_PAGE - gpa)
		return fail(reply, ERANGE, "%lu bytes at gpa %#lx", size, gpa);
	fputc(' ', reply->out);
	for (uint64_t i = 0; i < size; i++)
		fprintf(reply->out, "%02x", partition.ram[gpa + i]);
	return 0;
}

/* poke GPA HEX */
int poke_verb(struct words *words, struct reply *reply)
{
	uint64_t gpa;
	const char *hex;

	if (ram_range(words, reply, &gpa) || word_text(words, reply, "bytes in hex", &hex))
		return -1;
	size_t size = strlen(hex) / 2;
	if (strlen(hex) % 2 || hex[strspn(hex, "0123456789abcdef")])
		return fail(reply, EINVAL, "not bytes in lower-case hex: %.40s", hex);
	if (size > partition.ram_pages * ABI_PAGE - gpa)
		return fail(reply, ERANGE, "%zu bytes at gpa %#lx", size, gpa);
	for (size_t i = 0; i < size; i++) {
		char byte[3] = { hex[2 * i], hex[2 * i + 1], 0 };

		partition.ram[gpa + i] = (uint8_t)strtoul(byte, NULL, 16);
	}
	return 0;
}
