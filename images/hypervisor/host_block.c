/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The header block that the host finds by symbol: state, partition table, text of the last words. */
#include "hv.h"

struct host_block host_block __attribute__((aligned(4096)));

_Static_assert(sizeof(struct host_block) <= 3 * PAGE, "host_block has outgrown its pages");
_Static_assert(HOST_LPS == MAX_LPS, "one exit counter for each LP");

void host_init(const char *args)
{
	struct host_block *b = &host_block;
	const char *ledger = option(args, "ledger");

	b->version = HOST_VERSION;
	b->size = sizeof *b;
	b->first = (u64)hv_start;
	b->end = (u64)hv_end;
	b->shared_first = (u64)shared_start;
	b->shared_end = (u64)shared_end;
	b->ledger.address = (u64)ledger_start;
	b->ledger.record_size = sizeof(struct host_record);
	b->ledger.capacity = LEDGER_CAPACITY;
	b->partitions = HOST_PARTITIONS;
	b->control.ledger_on = !(ledger && !strncmp(ledger, "off", 3));
	if (ledger_start + sizeof(struct host_record) * LEDGER_CAPACITY > ledger_end)
		panic("the ledger does not fit between %#lx and %#lx", (u64)ledger_start, (u64)ledger_end);
	/* RAM files are fresh, hence zero; one that was used before would show old records as new ones */
	if (((struct host_record *)ledger_start)->seq)
		memset(ledger_start, 0, sizeof(struct host_record) * LEDGER_CAPACITY);
	__atomic_store_n(&b->magic, HOST_MAGIC, __ATOMIC_RELEASE);
}

void host_state(enum host_state s) { __atomic_store_n(&host_block.state, s, __ATOMIC_RELEASE); }

void host_text(char c)
{
	if (host_block.text_length < HOST_TEXT - 1)
		host_block.text[host_block.text_length++] = c;
}

/* Copy what the host may know of a partition into its entry. Called with hv_lock. */
void host_publish(const struct partition *pt)
{
	struct host_partition *e = &host_block.partition[pt - parts];

	__atomic_store_n(&host_block.partition_seq, host_block.partition_seq + 1, __ATOMIC_SEQ_CST);
	e->id = pt->state == PT_FREE ? 0 : pt->id;
	e->flags = pt->flags;
	e->slat_root = pt->npt;
	e->state = pt->state;
	e->pool_free = pt->pool.nfree;
	e->pool_total = pt->pool.ntotal;
	e->vps = 0;
	for (u32 i = 0; i < MAX_VPS; i++)
		e->vps |= pt->vp[i].used ? BIT(i) : 0;
	__atomic_store_n(&host_block.partition_seq, host_block.partition_seq + 1, __ATOMIC_SEQ_CST);
}
