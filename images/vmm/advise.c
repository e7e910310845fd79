/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the host does to the memory behind a region: huge pages, and single pages that go away. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "vmm.h"

static const struct {
	const char *name;
	int advice;
} advices[] = {
	{ "huge", MADV_HUGEPAGE },
	{ "small", MADV_NOHUGEPAGE },
	{ "drop", MADV_DONTNEED },
};

/* advise huge|small|drop MAP FIRST PAGES: madvise() of pages of a mapping */
int advise_verb(struct words *words, struct reply *reply)
{
	const char *name;
	uint64_t id, first, pages;

	if (word_text(words, reply, "advice", &name) || word_number(words, reply, "map", &id) ||
	    word_number(words, reply, "first page", &first) || word_number(words, reply, "pages", &pages))
		return -1;
	struct map *map = map_find(id);
	if (!map)
		return fail(reply, ENOENT, "no map %lu", id);
	if (!pages || first >= map->pages || pages > map->pages - first)
		return fail(reply, EINVAL, "pages %lu+%lu lie outside of map %lu of %lu pages", first, pages, id,
			    map->pages);
	for (size_t i = 0; i < sizeof advices / sizeof *advices; i++) {
		if (strcmp(name, advices[i].name))
			continue;
		if (madvise(map->base + first * ABI_PAGE, pages * ABI_PAGE, advices[i].advice))
			return fail(reply, errno, "madvise %s of pages %lu+%lu", name, first, pages);
		return 0;
	}
	return fail(reply, EINVAL, "advice is huge, small or drop, not %.20s", name);
}
