/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hypercalls about the whole machine: identity, system properties, logical processors, power. */
#include "hc.h"

#define ACPI_PM1_CONTROL 0x604		/* SeaBIOS puts q35's PM block at 0x600 */
#define ACPI_SLEEP_ENABLE 0x2000
#define ACPI_SLP_TYP_SHIFT 10

static u8 slp_typ;			/* what the root's ACPI tables say for S5 */

u16 hc_get_partition_id(struct hc *c)
{
	struct out_partition *out = c->out;

	out->partition = ROOT_ID;
	return ST_OK;
}

static u16 unknown(struct hc *c, u32 id)
{
	LEDGER_EVENT(c->lp, EV_SYSTEM_PROPERTY, probe_expected(EV_SYSTEM_PROPERTY, id) ? 0 : FLAG_UNIMPLEMENTED, id);
	return ST_UNKNOWN_PROPERTY;
}

u16 hc_get_system_property(struct hc *c)
{
	const struct in_get_system_property *in = c->in;
	struct out_get_system_property *out = c->out;

	switch (in->id) {
	case SYS_SCHEDULER_TYPE: out->value = scheduler; return ST_OK;
	case SYS_DYNAMIC_PROCESSOR_FEATURE: out->value = 0; return ST_OK;
	}
	return unknown(c, in->id);
}

u16 hc_set_system_property(struct hc *c)
{
	const struct in_set_system_property *in = c->in;

	if (in->id != SYS_SLEEP_STATE)
		return unknown(c, in->id);
	if (in->sleep_state == SLEEP_STATE_S5)
		slp_typ = in->pm1a_slp_typ;
	return ST_OK;
}

u16 hc_enter_sleep_state(struct hc *c)
{
	const struct in_enter_sleep_state *in = c->in;

	if (in->state != SLEEP_STATE_S5)
		return ST_INVALID_PARAMETER;
	power_off(c->lp, slp_typ);
}

void power_off(struct lp *lp, u8 typ)
{
	LEDGER_EVENT(lp, EV_POWER_OFF, 0, typ);
	host_state(STATE_OFF);
	kprintf("root powers off\n");
	outw(ACPI_PM1_CONTROL, ACPI_SLEEP_ENABLE | typ << ACPI_SLP_TYP_SHIFT);
	for (;;)			/* QEMU stops us a little later */
		relax();
}

u16 hc_lp_run_time(struct hc *c)
{
	const struct in_lp_run_time *in = c->in;
	struct out_lp_run_time *out = c->out;
	struct lp_times t;
	u32 lp = in->lp;

	if (lp >= nlps || !lps[lp].started)
		return ST_INVALID_LP_INDEX;
	t = stats_times(&lps[lp]);
	*out = (struct out_lp_run_time){ .global = ref_time(), .local = t.run, .hypervisor = t.hypervisor };
	return ST_OK;
}

/* We kick LPs and start them by this id: one that runs keeps its own, and no two have the same. */
static bool apic_id_free(u32 lp, u32 id)
{
	if (lps[lp].apic_id == id)
		return true;
	if (lps[lp].started || id > MAX_LPS)
		return false;
	for (u32 i = 0; i < nlps; i++)
		if (lps[i].apic_id == id)
			return false;
	return true;
}

u16 hc_add_lp(struct hc *c)
{
	const struct in_add_lp *in = c->in;
	u32 lp = in->lp;

	if (lp >= nlps)
		return ST_INVALID_LP_INDEX;
	if (!apic_id_free(lp, in->apic_id))
		return ST_INVALID_PARAMETER;
	lps[lp].apic_id = in->apic_id;
	memset(c->out, 0, sizeof(struct out_add_lp));
	return ST_OK;
}

u16 hc_notify_event(struct hc *c)
{
	const struct in_notify_event *in = c->in;

	return in->event == EVENT_ALL_LPS_STARTED || in->event == EVENT_ROOT_CRASHDUMP ? ST_OK : ST_INVALID_PARAMETER;
}
