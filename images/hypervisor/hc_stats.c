/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Statistics pages: taken from the root's pool, one for each object and area, shared by all who map them. */
#include "hc.h"

#define MAX_STATS 64
#define AREA_SHIFT 56			/* the area is the last byte of every identity */

struct stats_entry { u32 type; u64 id[2]; u64 *page; u32 refs; };
static struct stats_entry entries[MAX_STATS];

void hc_decode_stats(struct hc *c)
{
	const struct in_stats_page *in = c->in;

	hc_word(c, in->type);
	hc_word(c, in->id[0]);
	hc_word(c, in->id[1]);
}

static struct stats_entry *find(const struct in_stats_page *in)
{
	for (u32 i = 0; i < MAX_STATS; i++) {
		struct stats_entry *s = &entries[i];
		if (s->page && s->type == in->type && s->id[0] == in->id[0] && s->id[1] == in->id[1])
			return s;
	}
	return NULL;
}

static u16 add(const struct in_stats_page *in, struct stats_entry **out)
{
	for (u32 i = 0; i < MAX_STATS; i++) {
		struct stats_entry *s = &entries[i];
		if (s->page)
			continue;
		s->page = pool_get(&parts[0].pool);
		if (!s->page)
			return ST_INSUFFICIENT_MEMORY;
		s->type = in->type;
		s->id[0] = in->id[0];
		s->id[1] = in->id[1];
		s->refs = 0;
		*out = s;
		return ST_OK;
	}
	return ST_NO_RESOURCES;
}

/* A child VP publishes "dispatch thread blocked" in its page. */
static void attach(const struct stats_entry *s, u64 *page)
{
	u32 area = s->id[1] >> AREA_SHIFT & 0xff;
	struct partition *pt;
	struct vp *vp;

	if (s->type == STATS_HYPERVISOR && page)
		page[STATS_LOGICAL_PROCESSORS] = nlps;
	if (s->type != STATS_VP || area >= STATS_AREAS)
		return;
	pt = pt_find(s->id[0]);
	vp = pt && pt->id != ROOT_ID ? vp_find(pt, (u32)s->id[1]) : NULL;
	if (vp)
		vp->stats[area] = page;
}

u16 hc_map_stats(struct hc *c)
{
	const struct in_stats_page *in = c->in;
	struct out_map_page *out = c->out;
	struct stats_entry *s = find(in);
	u16 st = s ? ST_OK : add(in, &s);

	c->pt = &parts[0];		/* whose pool pays */
	if (st)
		return st;
	s->refs++;
	attach(s, s->page);
	out->pfn = (u64)s->page / PAGE;
	return ST_OK;
}

u16 hc_unmap_stats(struct hc *c)
{
	struct stats_entry *s = find(c->in);

	c->pt = &parts[0];
	if (!s)
		return ST_INVALID_PARAMETER;
	if (--s->refs)
		return ST_OK;
	attach(s, NULL);
	pool_put(&parts[0].pool, s->page);
	s->page = NULL;
	return ST_OK;
}
