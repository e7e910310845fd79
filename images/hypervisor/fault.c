/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The fault plan: which hypercall of the root fails, how and when. The host writes the slots while the root runs. */
#include "abi.h"
#include "hv.h"

/* Is that call one of those which the slot is about? */
bool call_matches(const struct host_call *m, u16 code, u64 partition, u64 gfn, u64 pages)
{
	if (!__atomic_load_n(&m->active, __ATOMIC_ACQUIRE) || m->code != code)
		return false;
	if (m->partition != HOST_ANY_PARTITION && m->partition != partition)
		return false;
	if (!m->gfn_first && m->gfn_last == ~0ul)
		return true;
	return pages && gfn <= m->gfn_last && gfn + pages - 1 >= m->gfn_first;
}

/* The slot that hits this call, or NULL. Counts skips, hits and what is left. Called with hv_lock. */
struct host_fault *fault_find(u16 code, u64 partition, u64 gfn, u64 pages)
{
	for (u32 i = 0; i < HOST_FAULTS; i++) {
		struct host_fault *f = &host_block.control.fault[i];

		if (!call_matches(&f->call, code, partition, gfn, pages))
			continue;
		if (f->skip) {
			f->skip--;
		} else if (f->count) {
			f->count--;
			f->hits++;
			return f;
		}
	}
	return NULL;
}

/* "inject=CODE:SKIP:COUNT:STATUS[,...]" among the boot arguments: faults for calls made before the host can act. */
void fault_boot_args(const char *args)
{
	const char *s = option(args, "inject");

	for (u32 i = 0; s && i < HOST_FAULTS; i++) {
		struct host_fault *f = &host_block.control.fault[i];

		*f = (struct host_fault){ .call.gfn_last = ~0ul, .count = 1, .status = ST_INSUFFICIENT_MEMORY,
					  .complete = FAULT_COMPLETE_NONE };
		f->call.code = strtou(s, &s);
		if (*s == ':')
			f->skip = strtou(s + 1, &s);
		if (*s == ':')
			f->count = strtou(s + 1, &s);
		if (*s == ':')
			f->status = strtou(s + 1, &s);
		f->call.active = 1;
		kprintf("inject status %#x into hypercall %#x: skip %u, count %u\n", f->status, f->call.code, f->skip,
			f->count);
		s = *s == ',' ? s + 1 : NULL;
	}
}
