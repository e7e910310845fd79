/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Things that Linux asks for and expects to be refused. A refusal of these is not a gap in the stand-in: it is not
 * marked unimplemented in the ledger.
 */
#include "abi.h"
#include "hv.h"

struct probe { enum event_code what; u64 first, last; const char *why; };

static const struct probe probes[] = {
	{ EV_SYSTEM_PROPERTY, SYS_CRASHDUMP_AREA, SYS_CRASHDUMP_AREA, "hv_crash.c: no crash dump area is normal" },
	{ EV_PROPERTY_GET, PROP_INTEGRATED_SCHEDULER, PROP_INTEGRATED_SCHEDULER,
	  "mshv_root: only asked where the VMM capabilities announce it" },
};

bool probe_expected(enum event_code what, u64 number)
{
	for (u32 i = 0; i < LENGTH(probes); i++)
		if (probes[i].what == what && number >= probes[i].first && number <= probes[i].last)
			return true;
	return false;
}
