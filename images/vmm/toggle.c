/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A thread that takes the right to write from pages of a host mapping and gives it back, over and over. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "vmm.h"

static struct {
	bool running;
	pthread_t thread;
	atomic_bool stop;
	uint8_t *at;
	size_t size;
	uint64_t times;
	int error;
} toggle;

static void *toggle_pages(void *unused)
{
	(void)unused;
	for (bool last = false; !last;) {
		last = atomic_load(&toggle.stop);
		if (mprotect(toggle.at, toggle.size, PROT_READ) ||
		    mprotect(toggle.at, toggle.size, PROT_READ | PROT_WRITE)) {
			toggle.error = errno;
			break;
		}
		toggle.times++;
	}
	return NULL;
}

static int toggle_on(struct words *words, struct reply *reply)
{
	uint64_t first, pages;
	struct map *map = map_range(words, reply, &first, &pages);

	if (!map)
		return -1;
	if (toggle.running)
		return fail(reply, EBUSY, "pages are toggled already");
	memset(&toggle, 0, sizeof toggle);
	toggle.at = map->base + first * ABI_PAGE;
	toggle.size = pages * ABI_PAGE;
	int error = pthread_create(&toggle.thread, NULL, toggle_pages, NULL);
	if (error)
		return fail(reply, error, "a thread that toggles pages");
	toggle.running = true;
	return 0;
}

static int toggle_off(struct reply *reply)
{
	if (!toggle.running)
		return fail(reply, ENOENT, "no pages are toggled");
	atomic_store(&toggle.stop, true);
	pthread_join(toggle.thread, NULL);
	toggle.running = false;
	if (toggle.error)
		return fail(reply, toggle.error, "mprotect after %lu times", toggle.times);
	fprintf(reply->out, " %lu", toggle.times);
	return 0;
}

/* toggle on MAP FIRST PAGES | toggle off -> TIMES; the last time has begun after this was asked for */
int toggle_verb(struct words *words, struct reply *reply)
{
	const char *what;

	if (word_text(words, reply, "on or off", &what))
		return -1;
	if (!strcmp(what, "on"))
		return toggle_on(words, reply);
	if (!strcmp(what, "off"))
		return toggle_off(reply);
	return fail(reply, EINVAL, "toggle on or off, not %.20s", what);
}
