/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hypercalls about interrupts: of devices of the root, between its CPUs, into children. */
#include "apic_regs.h"
#include "hc.h"

void hc_decode_map_interrupt(struct hc *c)
{
	const struct in_map_interrupt *in = c->in;

	hc_word(c, in->partition);
	hc_word(c, in->device);
	hc_word(c, in->vector);
	hc_word(c, in->trigger);
	hc_word(c, in->target_flags);
}

/* There is no interrupt remapping: the logical interrupt is the physical one. */
u16 hc_map_device_interrupt(struct hc *c)
{
	const struct in_map_interrupt *in = c->in;
	struct out_map_interrupt *out = c->out;
	u64 bank = c->varhead ? in->targets.banks[0] : 0;
	u32 vp = 0, vector = in->vector & VECTOR_MASK;

	if (in->target_flags & TARGET_PROCESSOR_SET) {
		if (in->targets.format != VP_SET_SPARSE || !(in->targets.valid_banks & 1) || !bank)
			return ST_INVALID_PARAMETER;
		vp = __builtin_ctzl(bank);
	}
	if (vp >= nlps)
		return ST_INVALID_VP_INDEX;
	memset(out, 0, sizeof *out);
	if (in->device >> DEVICE_TYPE_SHIFT == DEVICE_TYPE_IOAPIC) {
		out->entry.source = INTERRUPT_SOURCE_IOAPIC;
		out->entry.low = vector | (in->trigger ? RTE_LEVEL : 0);
		out->entry.high = lps[vp].apic_id << RTE_DEST_SHIFT;
	} else {
		out->entry.source = INTERRUPT_SOURCE_MSI;
		out->entry.low = MSI_ADDRESS | lps[vp].apic_id << MSI_DEST_SHIFT;
		out->entry.high = vector;
	}
	hc_word(c, vp);
	return ST_OK;
}

/* Nothing was allocated, so nothing is released. */
u16 hc_unmap_device_interrupt(struct hc *c)
{
	(void)c;
	return ST_OK;
}

u16 hc_send_ipi(struct hc *c)
{
	const struct in_send_ipi *in = c->in;

	for (u32 i = 0; i < nlps; i++)
		if (in->cpus & BIT(i) && lps[i].started)
			apic_write_icr(lps[i].apic_id, ICR_ASSERT | (in->vector & VECTOR_MASK));
	return ST_OK;
}

u16 hc_vp_index_from_apic_id(struct hc *c)
{
	const struct in_apic_ids *in = c->in;
	u32 *out = c->out;

	for (; c->done < c->reps; c->done++) {
		u32 i = 0, id = in->apic_id[c->done];
		while (i < nlps && lps[i].apic_id != id)
			i++;
		if (i == nlps)
			return ST_INVALID_PARAMETER;
		out[c->done] = i;
	}
	return ST_OK;
}

u16 hc_assert_interrupt(struct hc *c)
{
	const struct in_assert_interrupt *in = c->in;
	struct partition *pt = hc_partition(c, in->partition);

	if (!pt || pt->id == ROOT_ID)
		return ST_INVALID_PARTITION_ID;
	lapic_deliver(c->lp, pt, &(struct lapic_request){
		.dest = in->destination, .logical = in->control & ASSERT_LOGICAL, .mode = in->type,
		.vector = in->vector & VECTOR_MASK, .level = in->control & ASSERT_LEVEL });
	return ST_OK;
}
