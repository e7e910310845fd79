/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Mappings in the VMM's own address space: VFIO BARs, /dev/mem, files, anonymous memory. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vmm.h"

static struct map maps[MAX_MAPS];
static sigjmp_buf host_fault;
static volatile sig_atomic_t in_host_access;

struct map *map_find(uint64_t id)
{
	return id < MAX_MAPS && maps[id].used ? &maps[id] : NULL;
}

#define GUARD_PAGES		64ull

struct source {
	int fd;
	bool close_fd;
	uint64_t offset;		/* for mmap */
	uint64_t size;			/* bytes that exist; UINT64_MAX if unknown */
	int flags;			/* MAP_* */
	const char *bdf;		/* vfio */
	uint64_t bar;
};

static int open_source(const char *kind, struct words *words, struct reply *reply, struct source *source)
{
	const char *name;
	uint64_t number;

	*source = (struct source){ .fd = -1, .size = UINT64_MAX, .flags = MAP_SHARED };
	if (!strcmp(kind, "anon")) {
		source->flags = MAP_PRIVATE | MAP_ANONYMOUS;
		return 0;
	}
	if (!strcmp(kind, "vfio")) {
		if (word_text(words, reply, "device", &name) || word_number(words, reply, "BAR", &number))
			return -1;
		source->bdf = name;
		source->bar = number;
		source->fd = vfio_bar(name, number, reply, &source->offset, &source->size);
		return source->fd < 0 ? -1 : 0;
	}
	if (!strcmp(kind, "devmem")) {
		if (word_number(words, reply, "physical address", &source->offset))
			return -1;
		if (source->offset % ABI_PAGE)
			return fail(reply, EINVAL, "physical address %#lx is not page aligned", source->offset);
		name = "/dev/mem";
	} else if (!strcmp(kind, "file")) {
		if (word_text(words, reply, "file", &name))
			return -1;
	} else {
		return fail(reply, EINVAL, "unknown kind of mapping %.20s; known: anon, devmem, file, vfio", kind);
	}
	source->fd = open(name, O_RDWR | O_SYNC | O_CLOEXEC);
	if (source->fd < 0)
		return fail(reply, errno, "open %.100s", name);
	source->close_fd = true;
	struct stat status;
	if (!strcmp(kind, "file") && !fstat(source->fd, &status) && S_ISREG(status.st_mode))
		source->size = (uint64_t)status.st_size;
	return 0;
}

/* at MAP PAGE: in place of that page of a mapping and of those behind it, also if it is unmapped already */
static int place(struct words *words, struct reply *reply, uint64_t pages, void **address)
{
	uint64_t id, page;

	if (strcmp(word_take(words), "at"))
		return fail(reply, EINVAL, "only \"at MAP PAGE\" can follow the mode");
	if (word_number(words, reply, "map", &id) || word_number(words, reply, "page", &page))
		return -1;
	if (id >= MAX_MAPS || !maps[id].base)
		return fail(reply, ENOENT, "there was no map %lu", id);
	if (page > maps[id].pages || pages > maps[id].pages - page)
		return fail(reply, EINVAL, "pages %lu+%lu lie outside of map %lu of %lu pages", page, pages, id,
			    maps[id].pages);
	*address = maps[id].base + page * ABI_PAGE;
	return 0;
}

static int map_source(const char *kind, struct words *words, struct reply *reply, const struct source *source)
{
	uint64_t first, pages, id;
	const char *mode;

	if (word_number(words, reply, "first page", &first) || word_number(words, reply, "pages", &pages) ||
	    word_text(words, reply, "mode", &mode))
		return -1;
	bool guard = strlen(mode) > 2 && !strcmp(mode + 2, "-guard");
	if ((strncmp(mode, "ro", 2) && strncmp(mode, "rw", 2)) || (mode[2] && !guard))
		return fail(reply, EINVAL, "mode is ro or rw, or that with -guard, not %.20s", mode);
	uint64_t have = source->size / ABI_PAGE;
	if (!pages && source->size != UINT64_MAX && first < have)
		pages = have - first;
	if (!pages || first >= have || pages > have - first)
		return fail(reply, EINVAL, "pages %lu+%lu lie outside of the %s mapping of %lu pages", first, pages,
			    kind, have);
	for (id = 0; id < MAX_MAPS && maps[id].used; id++)
		;
	if (id == MAX_MAPS)
		return fail(reply, ENOSPC, "%d mappings exist already", MAX_MAPS);
	int flags = source->flags;
	void *room = NULL;
	if (words->next && place(words, reply, pages, &room))
		return -1;
	if (room)
		flags |= MAP_FIXED;
	if (guard && !room) {
		room = mmap(NULL, (pages + GUARD_PAGES) * ABI_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (room == MAP_FAILED)
			return fail(reply, errno, "room for %lu pages and a guard", pages);
		flags |= MAP_FIXED;
	}
	void *base = mmap(room, pages * ABI_PAGE, PROT_READ | (mode[1] == 'w' ? PROT_WRITE : 0), flags, source->fd,
			  (off_t)(source->offset + first * ABI_PAGE));
	if (base == MAP_FAILED)
		return fail(reply, errno, "mmap of %lu pages (%s)", pages, kind);	/* the guard may stay */
	maps[id] = (struct map){
		.used = true, .base = base, .pages = pages, .bar = source->bar, .writable = mode[1] == 'w',
		.first = first + (strcmp(kind, "devmem") ? 0 : source->offset / ABI_PAGE),
	};
	if (source->bdf)
		snprintf(maps[id].bdf, sizeof maps[id].bdf, "%s", source->bdf);
	snprintf(maps[id].kind, sizeof maps[id].kind, "%s", kind);
	fprintf(reply->out, " %lu %lu %#lx", id, pages, (uintptr_t)base);
	return 0;
}

/*
 * map vfio BDF BAR | devmem PHYS | file PATH | anon, then FIRST PAGES ro|rw[-guard] [at MAP PAGE] -> ID PAGES HOST
 * With a guard nothing else of ours comes to lie behind the mapping, where a region that is too long ends.
 */
int map_verb(struct words *words, struct reply *reply)
{
	struct source source;
	const char *kind;

	if (word_text(words, reply, "kind of mapping", &kind) || open_source(kind, words, reply, &source))
		return -1;
	int result = map_source(kind, words, reply, &source);
	if (source.close_fd)
		close(source.fd);
	return result;
}

/* munmap MAP: regions made of it stay, which is the point of some tests */
int munmap_verb(struct words *words, struct reply *reply)
{
	uint64_t id;

	if (word_number(words, reply, "map", &id))
		return -1;
	struct map *map = map_find(id);
	if (!map)
		return fail(reply, ENOENT, "no map %lu", id);
	if (munmap(map->base, map->pages * ABI_PAGE))
		return fail(reply, errno, "munmap of map %lu", id);
	map->used = false;
	map_gone(id);
	return 0;
}

static void on_fault(int signal)
{
	if (in_host_access)
		siglongjmp(host_fault, signal);
	_exit(128 + signal);
}

static void host_read(volatile uint8_t *at, uint64_t width, uint64_t *value)
{
	switch (width) {
	case 1: *value = *at; break;
	case 2: *value = *(volatile uint16_t *)at; break;
	case 4: *value = *(volatile uint32_t *)at; break;
	default: *value = *(volatile uint64_t *)at;
	}
}

static void host_write(volatile uint8_t *at, uint64_t width, uint64_t value)
{
	switch (width) {
	case 1: *at = (uint8_t)value; break;
	case 2: *(volatile uint16_t *)at = (uint16_t)value; break;
	case 4: *(volatile uint32_t *)at = (uint32_t)value; break;
	default: *(volatile uint64_t *)at = value;
	}
}

/* host read|write MAP OFFSET WIDTH [VALUE]: the root's own access through the mapping */
int host_verb(struct words *words, struct reply *reply)
{
	const char *what;
	uint64_t id, offset, width, value = 0;

	if (word_text(words, reply, "read or write", &what) || word_number(words, reply, "map", &id) ||
	    word_number(words, reply, "offset", &offset) || word_number(words, reply, "width", &width))
		return -1;
	bool write = !strcmp(what, "write");
	if (!write && strcmp(what, "read"))
		return fail(reply, EINVAL, "host read or host write, not %.20s", what);
	if (write && word_number(words, reply, "value", &value))
		return -1;
	struct map *map = map_find(id);
	if (!map)
		return fail(reply, ENOENT, "no map %lu", id);
	if ((width != 1 && width != 2 && width != 4 && width != 8) || offset % width ||
	    offset >= map->pages * ABI_PAGE)
		return fail(reply, EINVAL, "width %lu at offset %#lx of a map of %lu pages", width, offset, map->pages);
	struct sigaction action = { .sa_handler = on_fault };
	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGSEGV, &action, NULL);
	if (sigsetjmp(host_fault, 1)) {
		in_host_access = 0;
		return fail(reply, EFAULT, "host %s at offset %#lx of map %lu faults", what, offset, id);
	}
	in_host_access = 1;
	if (write)
		host_write(map->base + offset, width, value);
	else
		host_read(map->base + offset, width, &value);
	in_host_access = 0;
	if (!write)
		fprintf(reply->out, " %#lx", value);
	return 0;
}

struct map *map_range(struct words *words, struct reply *reply, uint64_t *first, uint64_t *pages)
{
	uint64_t id;

	if (word_number(words, reply, "map", &id) || word_number(words, reply, "first page", first) ||
	    word_number(words, reply, "pages", pages))
		return NULL;
	struct map *map = map_find(id);
	if (!map)
		return fail(reply, ENOENT, "no map %lu", id), NULL;
	if (*first > map->pages || *pages > map->pages - *first)
		return fail(reply, EINVAL, "pages %lu+%lu lie outside of map %lu", *first, *pages, id), NULL;
	return map;
}

/* fill MAP FIRST PAGES VALUE: each 8-byte word */
int fill_verb(struct words *words, struct reply *reply)
{
	uint64_t first, pages, value;
	struct map *map = map_range(words, reply, &first, &pages);

	if (!map || word_number(words, reply, "value", &value))
		return -1;
	volatile uint64_t *at = (void *)(map->base + first * ABI_PAGE);
	for (uint64_t i = 0; i < pages * (ABI_PAGE / sizeof *at); i++)
		at[i] = value;
	return 0;
}

/* protect MAP FIRST PAGES none|ro|rw: mprotect, which also makes one mapping two or three */
int protect_verb(struct words *words, struct reply *reply)
{
	static const struct { const char *name; int protection; } modes[] = {
		{ "none", PROT_NONE }, { "ro", PROT_READ }, { "rw", PROT_READ | PROT_WRITE },
	};
	uint64_t first, pages;
	const char *mode;
	struct map *map = map_range(words, reply, &first, &pages);

	if (!map || word_text(words, reply, "mode", &mode))
		return -1;
	for (size_t i = 0; i < sizeof modes / sizeof *modes; i++)
		if (!strcmp(mode, modes[i].name))
			return mprotect(map->base + first * ABI_PAGE, pages * ABI_PAGE, modes[i].protection) ?
				fail(reply, errno, "mprotect of %lu pages", pages) : 0;
	return fail(reply, EINVAL, "mode is none, ro or rw, not %.20s", mode);
}
