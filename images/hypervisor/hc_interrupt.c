/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Hypercalls about interrupts: of devices of the root, between its CPUs, into children. */
#include "apic_regs.h"
#include "hc.h"

#define MAX_DEVICE_INTERRUPTS 512

void hc_decode_map_interrupt(struct hc *c)
{
	const struct in_map_interrupt *in = c->in;

	hc_word(c, in->partition);
	hc_word(c, in->device);
	hc_word(c, in->vector);
	hc_word(c, in->trigger);
	hc_word(c, in->target_flags);
}

/*
 * ---- what is mapped: a device must not lose an interrupt that it does not have. It may have one several times, when
 * several of its vectors send the same message: Linux gives all that are shut down one vector.
 */
struct mapping { u32 used; u64 device; struct wire_interrupt_entry entry; u32 vector, vp; };
static struct mapping mappings[MAX_DEVICE_INTERRUPTS];

static struct mapping *mapping_find(u64 device, const struct wire_interrupt_entry *e)
{
	for (u32 i = 0; i < MAX_DEVICE_INTERRUPTS; i++) {
		struct mapping *m = &mappings[i];
		if (m->used && m->device == device && m->entry.source == e->source && m->entry.low == e->low &&
		    m->entry.high == e->high)
			return m;
	}
	return NULL;
}

static struct mapping *mapping_new(void)
{
	for (u32 i = 0; i < MAX_DEVICE_INTERRUPTS; i++)
		if (!mappings[i].used)
			return &mappings[i];
	return NULL;
}

/* The one VP of a target: the lowest of the set. */
static u16 target_vp(u32 flags, const struct wire_vp_set *set, u32 banks, u32 *vp)
{
	*vp = 0;
	if (flags & TARGET_PROCESSOR_SET) {
		if (set->format != VP_SET_SPARSE || !(set->valid_banks & 1) || !banks || !set->banks[0])
			return ST_INVALID_PARAMETER;
		*vp = __builtin_ctzl(set->banks[0]);
	}
	return *vp < nlps ? ST_OK : ST_INVALID_VP_INDEX;
}

/* There is no interrupt remapping: the logical interrupt is the physical one. */
static struct wire_interrupt_entry physical(u64 device, u32 vector, bool level, u32 apic)
{
	if (device >> DEVICE_TYPE_SHIFT == DEVICE_TYPE_IOAPIC)
		return (struct wire_interrupt_entry){ .source = INTERRUPT_SOURCE_IOAPIC,
						      .low = vector | (level ? RTE_LEVEL : 0),
						      .high = apic << RTE_DEST_SHIFT };
	return (struct wire_interrupt_entry){ .source = INTERRUPT_SOURCE_MSI,
					      .low = MSI_ADDRESS | apic << MSI_DEST_SHIFT, .high = vector };
}

u16 hc_map_device_interrupt(struct hc *c)
{
	const struct in_map_interrupt *in = c->in;
	struct out_map_interrupt *out = c->out;
	struct mapping *m;
	u32 vp, vector = in->vector & VECTOR_MASK;
	u16 st = target_vp(in->target_flags, &in->targets, c->varhead, &vp);

	if (st)
		return st;
	memset(out, 0, sizeof *out);
	out->entry = physical(in->device, vector, in->trigger, lps[vp].apic_id);
	hc_word(c, vp);
	m = mapping_find(in->device, &out->entry);
	if (!m) {
		m = mapping_new();
		if (!m)
			return ST_NO_RESOURCES;
		*m = (struct mapping){ 0, in->device, out->entry, vector, vp };
	}
	m->used++;
	return ST_OK;
}

u16 hc_unmap_device_interrupt(struct hc *c)
{
	const struct in_unmap_interrupt *in = c->in;
	struct mapping *m = mapping_find(in->device, &in->entry);

	if (!m)
		return ST_INVALID_PARAMETER;
	m->used--;
	return ST_OK;
}

/* A root can neither change the vector nor leave the VPs that it named when it mapped the interrupt. */
u16 hc_retarget_interrupt(struct hc *c)
{
	const struct in_retarget_interrupt *in = c->in;
	const struct mapping *m = mapping_find(in->device, &in->entry);
	u32 vp;
	u16 st = target_vp(in->target_flags, &in->targets, c->varhead, &vp);

	if (st)
		return st;
	return m && m->vector == in->vector && m->vp == vp ? ST_OK : ST_INVALID_PARAMETER;
}

/* ---- between the root's VPs ---- */
static u16 send_ipi(u32 vector, u64 vps)
{
	if (vector < SINT_FIRST_VECTOR || vector > VECTOR_MASK)
		return ST_INVALID_PARAMETER;
	for (u32 i = 0; i < nlps; i++)
		if (vps & BIT(i) && lps[i].started)
			apic_write_icr(lps[i].apic_id, ICR_ASSERT | vector);
	return ST_OK;
}

u16 hc_send_ipi(struct hc *c)
{
	const struct in_send_ipi *in = c->in;

	return send_ipi(in->vector, in->cpus);
}

u16 hc_send_ipi_ex(struct hc *c)
{
	const struct in_send_ipi_ex *in = c->in;
	u32 banks = 0;

	for (u64 b = in->targets.valid_banks; b; b &= b - 1)
		banks++;
	if (in->targets.format == VP_SET_ALL)
		return send_ipi(in->vector, ~0ul);
	if (in->targets.format != VP_SET_SPARSE || banks != c->varhead)
		return ST_INVALID_PARAMETER;
	return send_ipi(in->vector, in->targets.valid_banks & 1 ? in->targets.banks[0] : 0);
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

/* ---- into children ---- */
u16 hc_assert_interrupt(struct hc *c)
{
	const struct in_assert_interrupt *in = c->in;
	struct partition *pt = hc_partition(c, in->partition);

	if (!pt || pt->id == ROOT_ID)
		return ST_INVALID_PARTITION_ID;
	if (pt->state != PT_ACTIVE)
		return ST_INVALID_PARTITION_STATE;
	if (in->type > IPI_EXTINT || in->vector > VECTOR_MASK || in->control & ~(ASSERT_LEVEL | ASSERT_LOGICAL) ||
	    (in->type <= IPI_LOWEST && in->vector < SINT_FIRST_VECTOR))
		return ST_INVALID_PARAMETER;
	lapic_deliver(c->lp, pt, &(struct lapic_request){
		.dest = in->destination, .logical = in->control & ASSERT_LOGICAL, .mode = in->type,
		.vector = in->vector, .level = in->control & ASSERT_LEVEL });
	return ST_OK;
}

/* The interrupt controller that the VMM emulates has nothing for the processor any more: take its ExtINT back. */
u16 hc_clear_interrupt(struct hc *c)
{
	const struct in_partition *in = c->in;
	struct partition *pt = hc_partition(c, in->partition);

	if (!pt || pt->id == ROOT_ID)
		return ST_INVALID_PARTITION_ID;
	if (pt->state != PT_ACTIVE)
		return ST_INVALID_PARTITION_STATE;
	for (u32 i = 0; i < MAX_VPS; i++) {
		struct vp *vp = &pt->vp[i];

		if (!vp->used || !vp->extint)
			continue;
		vp->extint = 0;
		vp_kick(c->lp, vp);	/* out of its guest, where it may be on offer already */
	}
	return ST_OK;
}
