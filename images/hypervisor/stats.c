/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What we count, and where it stands in the statistics pages. Counters live with their object; pages are written with
 * hv_lock held, at the end of each run of a child and, for what belongs to the parent, at a hypercall or about once a
 * millisecond at some other exit. Nothing is ever read from a page: its reader can write to it.
 */
#include "abi.h"
#include "hv.h"

#define SHOWS_PER_SECOND 1000

static const u16 vp_counter[VS_COUNT] = {
	[VS_RUN_TIME] = STATS_VP_TOTAL_RUN_TIME, [VS_HYPERVISOR_TIME] = STATS_VP_HYPERVISOR_RUN_TIME,
	[VS_HYPERCALLS] = STATS_VP_HYPERCALLS, [VS_IO] = STATS_VP_IO_INSTRUCTIONS, [VS_HLT] = STATS_VP_HLT_INSTRUCTIONS,
	[VS_CPUID] = STATS_VP_CPUID_INSTRUCTIONS, [VS_MSR] = STATS_VP_MSR_ACCESSES, [VS_OTHER] = STATS_VP_OTHER_INTERCEPTS,
	[VS_INTERRUPTS] = STATS_VP_EXTERNAL_INTERRUPTS, [VS_PAGE_FAULTS] = STATS_VP_NESTED_PAGE_FAULTS,
	[VS_IO_MESSAGES] = STATS_VP_IO_MESSAGES, [VS_MEMORY_MESSAGES] = STATS_VP_MEMORY_MESSAGES,
	[VS_OTHER_MESSAGES] = STATS_VP_OTHER_MESSAGES, [VS_MIGRATIONS] = STATS_VP_LP_MIGRATIONS,
	[VS_DISPATCHES] = STATS_VP_LP_DISPATCHES,
};

static struct stats_page *hypervisor_page;

/* An L1VH parent chose the page itself, and may have given up its own access to it since. */
void stats_store(const struct stats_page *s, u32 counter, u64 value)
{
	u64 *page = !s ? NULL : s->theirs ? root_ptr((u64)s->page, PAGE) : s->page;

	if (page)
		page[counter] = value;
}

/* ---- where the time of an LP goes: around each VMRUN ---- */
void stats_enter(struct lp *lp) { lp->time.entered = rdtsc(); }

u64 stats_leave(struct lp *lp, u64 *spent)
{
	u64 ticks = rdtsc() - lp->time.entered;

	*spent += ticks;
	lp->time.entered = 0;
	return ticks;
}

/* ---- counting ---- */
/* Why a child came out. */
void stats_count_exit(struct vp *vp)
{
	enum vp_stat n = VS_OTHER;

	switch (vp->vmcb->exitcode) {
	case EXIT_INTR:
	case EXIT_NMI: n = VS_INTERRUPTS; break;
	case EXIT_IOIO: n = VS_IO; break;
	case EXIT_HLT: n = VS_HLT; break;
	case EXIT_CPUID: n = VS_CPUID; break;
	case EXIT_MSR: n = VS_MSR; break;
	case EXIT_NPF: n = VS_PAGE_FAULTS; break;
	case EXIT_VMMCALL: n = VS_HYPERCALLS; break;
	}
	vp->count[n]++;
}

void stats_count_message(struct vp *vp)
{
	u32 type = vp->msg_page->type;

	vp->count[type == MSG_IO_PORT ? VS_IO_MESSAGES :
		  type == MSG_UNMAPPED_GPA || type == MSG_GPA_INTERCEPT ? VS_MEMORY_MESSAGES : VS_OTHER_MESSAGES]++;
}

/* A run of so many TSC ticks on this LP has ended; in its guest the VP was for some of them. */
void stats_count_run(struct lp *lp, struct vp *vp, u64 ticks, u64 in_guest)
{
	if (vp->last_lp && vp->last_lp != lp->index + 1)
		vp->count[VS_MIGRATIONS]++;
	vp->last_lp = lp->index + 1;
	vp->count[VS_DISPATCHES]++;
	vp->count[VS_RUN_TIME] += in_guest;
	vp->count[VS_HYPERVISOR_TIME] += ticks - in_guest;
	lp->switches++;
}

/* ---- times, in units of 100 ns ---- */
/* What is neither a guest nor idle is ours. Read from other LPs too: they may be in a guest just now. */
struct lp_times stats_times(const struct lp *lp)
{
	const struct lp_time *t = &lp->time;
	u64 now = rdtsc(), entered = t->entered, used = t->root + t->child + t->idle;
	u64 idle = t->idle + (t->idles && entered ? now - entered : 0);
	u64 all = now - t->start, until = (entered ? entered : now) - t->start;

	if (!t->start)
		return (struct lp_times){ 0 };
	return (struct lp_times){ .root = ref_units(t->root), .run = ref_units(idle < all ? all - idle : 0),
				  .hypervisor = ref_units(used < until ? until - used : 0) };
}

/* ---- showing ---- */
static void show_counts(const struct stats_page *s, const u64 *count)
{
	if (!s)
		return;
	for (u32 i = 0; i < VS_COUNT; i++)
		stats_store(s, vp_counter[i], i <= VS_HYPERVISOR_TIME ? ref_units(count[i]) : count[i]);
}

void stats_show_vp(const struct vp *vp)
{
	for (u32 i = 0; i < STATS_AREAS; i++)
		show_counts(vp->stats[i], vp->count);
}

void stats_show_partition(const struct partition *pt)
{
	u32 vps = 0, children = 0;

	for (u32 i = 0; i < MAX_VPS; i++)
		vps += pt->id == ROOT_ID ? i < nlps && lps[i].started : pt->vp[i].used;
	for (u32 i = 1; pt->id == ROOT_ID && i < MAX_PARTS; i++)
		children += parts[i].state == PT_ACTIVE;
	for (u32 i = 0; i < STATS_AREAS; i++) {
		const struct stats_page *s = pt->stats[i];

		stats_store(s, STATS_PT_VIRTUAL_PROCESSORS, vps);
		stats_store(s, STATS_PT_DEPOSITED_PAGES, pt->pool.ntotal);
		stats_store(s, STATS_PT_GPA_PAGES, pt->leaves_4k + pt->leaves_2m * LARGE_PAGES);
		stats_store(s, STATS_PT_GPA_MODIFICATIONS, pt->changes);
		stats_store(s, STATS_PT_GPA_PAGES_4K, pt->leaves_4k);
		stats_store(s, STATS_PT_GPA_PAGES_2M, pt->leaves_2m);
		stats_store(s, STATS_PT_PARTITION_ID, pt->id);
		stats_store(s, STATS_PT_ACTIVE_CHILDREN, children);
	}
}

static void show_hypervisor(void)
{
	u32 partitions = 0, vps = 0;

	for (u32 i = 0; i < MAX_PARTS; i++) {
		partitions += parts[i].state != PT_FREE;
		for (u32 n = 0; parts[i].state != PT_FREE && n < MAX_VPS; n++)
			vps += i ? parts[i].vp[n].used : n < nlps && lps[n].started;
	}
	stats_store(hypervisor_page, STATS_HV_LOGICAL_PROCESSORS, nlps);
	stats_store(hypervisor_page, STATS_HV_PARTITIONS, partitions);
	stats_store(hypervisor_page, STATS_HV_VIRTUAL_PROCESSORS, vps);
	stats_store(hypervisor_page, STATS_HV_TOTAL_PAGES, ((u64)hv_end - (u64)hv_start) / PAGE);
}

static void show_lp(struct lp *lp, const struct lp_times *t)
{
	const struct stats_page *s = lp->stats;
	u64 count[VS_COUNT] = { [VS_RUN_TIME] = lp->time.root, [VS_HYPERCALLS] = lp->hypercalls };

	stats_store(s, STATS_LP_GLOBAL_TIME, ref_time());
	stats_store(s, STATS_LP_TOTAL_RUN_TIME, t->run);
	stats_store(s, STATS_LP_HYPERVISOR_RUN_TIME, t->hypervisor);
	stats_store(s, STATS_LP_CONTEXT_SWITCHES, lp->switches);
	stats_store(s, STATS_LP_HALTS, lp->halts);
	stats_store(s, STATS_LP_ROOT_VP_INDEX, lp->index);
	for (u32 i = 0; i < STATS_AREAS; i++)
		show_counts(lp->vp_stats[i], count);
}

/* Everything of the parent's own that changes by itself. With hv_lock, on the LP. */
void stats_show(struct lp *lp)
{
	struct lp_times t;

	lp->shown = rdtsc();
	if (!lp->stats && !lp->vp_stats[0] && !hypervisor_page)
		return;
	t = stats_times(lp);
	show_lp(lp, &t);
	if (hypervisor_page)
		show_hypervisor();
	stats_show_partition(&parts[0]);
}

void stats_root_exit(struct lp *lp)
{
	if (rdtsc() - lp->shown < tsc_hz / SHOWS_PER_SECOND)
		return;
	lock(&hv_lock);
	stats_show(lp);
	unlock(&hv_lock);
}

/* ---- which page shows what; NULL takes it away. False: no such object. ---- */
bool stats_attach(u32 type, const u64 id[2], u32 area, struct stats_page *s)
{
	u32 index = (u32)id[1];
	struct partition *pt = type & STATS_OF_PARTITION ? pt_find(id[0]) : NULL;

	switch (type) {
	case STATS_HYPERVISOR:
		hypervisor_page = s;
		return true;
	case STATS_LP:
		index = (u32)id[0];
		if (index >= nlps || !lps[index].started)
			return false;
		lps[index].stats = s;
		return true;
	case STATS_PARTITION:
		if (!pt)
			return false;
		pt->stats[area] = s;
		stats_show_partition(pt);
		return true;
	case STATS_VP:
		if (pt && pt->id == ROOT_ID && index < nlps && lps[index].started) {
			lps[index].vp_stats[area] = s;
			return true;
		}
		if (!pt || !vp_find(pt, index))
			return false;
		pt->vp[index].stats[area] = s;
		stats_show_vp(&pt->vp[index]);
		return true;
	}
	return false;
}
