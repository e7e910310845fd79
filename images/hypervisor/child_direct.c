/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a VMM does to the SynIC of its child: messages, event flags, the state of the timers. */
#include "hc.h"

/* The two calls begin alike; the SINT lies in different places. */
void hc_decode_direct(struct hc *c)
{
	const struct in_signal_direct *signal = c->in;
	const struct in_post_direct *post = c->in;

	hc_word(c, signal->partition);
	hc_word(c, signal->vp);
	if (c->code == HC_SIGNAL_EVENT_DIRECT) {
		hc_word(c, signal->sint);
		hc_word(c, signal->flag);
	} else {
		hc_word(c, post->sint);
		hc_word(c, post->message.type);
	}
}

static u16 target(struct hc *c, u64 partition, u32 index, u32 sint, struct vp **vp)
{
	u16 st = hc_vp(c, partition, index, vp);

	if (st)
		return st;
	if (sint >= SYNIC_SINTS)
		return ST_INVALID_PARAMETER;
	return (*vp)->synic.queue ? ST_OK : ST_INVALID_SYNIC_STATE;
}

u16 hc_signal_direct(struct hc *c)
{
	const struct in_signal_direct *in = c->in;
	struct out_signal_direct *out = c->out, result = { 0 };
	struct vp *vp;
	bool newly = false;
	u16 st = target(c, in->partition, in->vp, in->sint, &vp);

	if (!st)
		st = child_signal(vp, in->sint, in->flag, &newly);
	if (!st)
		vp_kick(c->lp, vp);
	result.newly = newly;
	*out = result;
	return st;
}

u16 hc_post_direct(struct hc *c)
{
	const struct in_post_direct *in = c->in;
	struct message m = in->message;
	struct vp *vp;
	u16 st = target(c, in->partition, in->vp, in->sint, &vp);

	if (st)
		return st;
	if (!m.type || m.size > sizeof m.payload)
		return ST_INVALID_PARAMETER;
	st = child_post(vp, in->sint, &m);
	if (!st)
		vp_kick(c->lp, vp);
	return st;
}

/* ---- timers in GET/SET_VP_STATE: not in pages but behind the input, or in the output ---- */
u16 child_timer_state(struct hc *c, struct vp *vp)
{
	const struct in_vp_state *in = c->in;
	struct out_vp_state *s = c->code == HC_SET_VP_STATE ? (void *)in->pfn : c->out;

	if (c->code == HC_SET_VP_STATE && c->varhead < sizeof *s / sizeof(u64))
		return ST_INVALID_PARAMETER;
	if (c->code == HC_GET_VP_STATE)
		memset(s, 0, sizeof *s);
	for (u32 i = 0; i < CHILD_STIMERS; i++) {
		struct child_stimer *t = &vp->synic.timer[i];
		struct wire_stimer *w = &s->timer[i];

		if (c->code == HC_GET_VP_STATE) {
			*w = (struct wire_stimer){ .undelivered = !!t->expired, .config = t->config, .count = t->count,
						   .adjustment = t->next, .undelivered_expiration = t->expired };
			continue;
		}
		child_stimer_set(vp, 2 * i, w->config);
		child_stimer_set(vp, 2 * i + 1, w->count);
		if (w->adjustment)
			t->next = w->adjustment;
		t->expired = w->undelivered & 1 ? w->undelivered_expiration : 0;
	}
	return ST_OK;
}
