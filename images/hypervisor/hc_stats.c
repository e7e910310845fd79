/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Statistics pages: from the parent's pool, or where an L1VH parent wants them; one for each object and area, shared by
 * all who map it.
 */
#include "hc.h"

#define MAX_STATS 640			/* two areas of everything there can be */
#define AREA_SHIFT 56			/* the area is the last byte of every identity */

struct stats_entry { u32 type, refs; u64 id[2]; struct stats_page page; };
static struct stats_entry entries[MAX_STATS];

void hc_decode_stats(struct hc *c)
{
	const struct in_stats_page *in = c->in;

	hc_word(c, in->type);
	hc_word(c, in->id[0]);
	hc_word(c, in->id[1]);
}

static u32 area_of(const u64 id[2]) { return id[1] >> AREA_SHIFT & 0xff; }

/* The identity, with "self" resolved. */
static void identity(const struct in_stats_page *in, u64 id[2])
{
	id[0] = in->type & STATS_OF_PARTITION && in->id[0] == PARTITION_SELF ? ROOT_ID : in->id[0];
	id[1] = in->id[1];
}

static struct stats_entry *find(u32 type, const u64 id[2])
{
	for (u32 i = 0; i < MAX_STATS; i++) {
		struct stats_entry *s = &entries[i];
		if (s->refs && s->type == type && s->id[0] == id[0] && s->id[1] == id[1])
			return s;
	}
	return NULL;
}

static struct stats_entry *unused(void)
{
	for (u32 i = 0; i < MAX_STATS; i++)
		if (!entries[i].refs)
			return &entries[i];
	return NULL;
}

/* An L1VH parent sees neither the machine nor what its own parent counts about it. */
static u16 check(u32 type, const u64 id[2])
{
	bool machine = type == STATS_HYPERVISOR || type == STATS_LP;

	if (!machine && type != STATS_PARTITION && type != STATS_VP)
		return ST_INVALID_PARAMETER;
	if (area_of(id) >= STATS_AREAS || (machine && area_of(id)))
		return ST_INVALID_PARAMETER;
	if (l1vh && (machine || (id[0] == ROOT_ID && area_of(id))))
		return ST_ACCESS_DENIED;
	return ST_OK;
}

/* Their page counts as mapped, so that it cannot be deposited: "dispatch blocked" is written without hv_lock. */
static u64 *theirs(u64 *at) { return pages_share(&parts[0], (u64)at / PAGE, 1) ? NULL : memset(at, 0, PAGE); }

static void give_back(struct stats_entry *s)
{
	if (s->page.theirs)
		pages_unshare((u64)s->page.page / PAGE, 1);
	else
		pool_put_visible(&parts[0].pool, s->page.page);
}

static u16 map(struct hc *c, u64 *at, u64 **shown)
{
	const struct in_stats_page *in = c->in;
	u32 type = in->type;
	struct stats_entry *s;
	u64 id[2];
	u16 st;

	identity(in, id);
	c->pt = &parts[0];		/* whose pool pays */
	st = check(type, id);
	if (st)
		return st;
	s = find(type, id);
	if (s && (at || !stats_attach(type, id, area_of(id), &s->page)))	/* attach: a VP may have come back */
		return ST_INVALID_PARAMETER;	/* it cannot be in two places, or is gone */
	if (!s) {
		s = unused();
		if (!s)
			return ST_NO_RESOURCES;
		s->type = type;
		memcpy(s->id, id, sizeof s->id);
		s->page.theirs = at;
		s->page.page = at ? theirs(at) : pool_get_visible(&parts[0].pool);
		if (!s->page.page)
			return at ? ST_INVALID_PARAMETER : ST_INSUFFICIENT_MEMORY;
		if (!stats_attach(type, id, area_of(id), &s->page)) {
			give_back(s);
			return ST_INVALID_PARAMETER;
		}
		if (at)
			memset(at, 0, PAGE);
		stats_show(c->lp);
	}
	s->refs++;
	*shown = s->page.page;
	return ST_OK;
}

u16 hc_map_stats(struct hc *c)
{
	struct out_map_page *out = c->out;
	u64 *page;
	u16 st = map(c, NULL, &page);

	if (!st)
		out->pfn = (u64)page / PAGE;
	return st;
}

/* The parent names the page: only one that was told that it can (VMM capabilities). */
u16 hc_map_stats2(struct hc *c)
{
	const struct in_map_stats2 *in = c->in;
	u64 pfn = in->location, *at, *page;

	if (!l1vh)
		return ST_ACCESS_DENIED;
	at = pfn >> (64 - PAGE_SHIFT) ? NULL : root_ptr(pfn * PAGE, PAGE);
	if (!at)
		return ST_INVALID_PARAMETER;
	return map(c, at, &page);
}

u16 hc_unmap_stats(struct hc *c)
{
	const struct in_stats_page *in = c->in;
	struct stats_entry *s;
	u64 id[2];

	identity(in, id);
	c->pt = &parts[0];
	s = find(in->type, id);
	if (!s)
		return ST_INVALID_PARAMETER;
	if (--s->refs)
		return ST_OK;
	stats_attach(s->type, s->id, area_of(s->id), NULL);
	give_back(s);
	return ST_OK;
}
