/* SPDX-License-Identifier: MIT */
/* The mailboxes that a batch changes, and its modseq; and what it does to bodies. */
#include "core/store/ledger/ledger_private.h"

void draft_init(struct draft *draft, struct ps_ledger_txn *txn, const struct ps_batch *batch)
{
	*draft = (struct draft){
		.txn = txn,
		.index = txn->txn,
		.bodies = &txn_of(txn)->ledger->bodies,
		.batch = batch,
		.pool = ps_pool_create("batch"),
	};
}

void draft_finish(struct draft *draft)
{
	ps_pool_destroy(draft->pool);
}

static int load_box(struct draft *draft, uint64_t key, struct draft_box **ret_box)
{
	struct draft_box *box = draft->boxes;
	struct ps_index_box found;
	int r;

	while (box && (box->deleted || box->box.key != key))
		box = box->next;
	if (!box) {
		if ((r = ps_index_box(draft->index, key, &found)) < 0)
			return r;
		box = PS_NEW(draft->pool, struct draft_box);
		box->box = box->was = found;
		box->next = draft->boxes;
		draft->boxes = box;
	}
	*ret_box = box;
	return 0;
}

int draft_box(struct draft *draft, const struct ps_mbox *mbox, struct draft_box **ret_box)
{
	int r = load_box(draft, mbox->key, ret_box);

	return r == PS_E_NOTFOUND ? ps_fail(PS_E_GONE, "the mailbox was deleted") : r;
}

/* Names are written at once (mailboxes.c), so the index knows them. */
int draft_find(struct draft *draft, const char *name, struct draft_box **ret_box)
{
	struct ps_index_box found;
	int r = ps_index_box_find(draft->index, name, &found);

	if (r == PS_E_NOTFOUND)
		return ps_fail(PS_E_NOTFOUND, "mailbox %s does not exist", name);
	return r == 0 ? load_box(draft, found.key, ret_box) : r;
}

int draft_modseq(struct draft *draft, uint64_t *ret_modseq)
{
	uint64_t last, modseq = draft->batch->modseq;
	int r;

	if (draft->modseq == 0) {
		if ((r = ps_index_number(draft->index, "modseq", &last)) < 0)
			return r;
		modseq = modseq > last ? modseq : last + 1;
		if ((r = ps_index_number_put(draft->index, "modseq", modseq)) < 0)
			return r;
		draft->modseq = modseq;
		draft->txn->changed = true;
	}
	*ret_modseq = draft->modseq;
	return 0;
}

int draft_note(struct draft *draft, struct draft_box *box, uint64_t *ret_modseq)
{
	uint64_t modseq;
	int r = draft_modseq(draft, &modseq);

	if (r < 0)
		return r;
	if (modseq > box->box.highest_modseq)
		box->box.highest_modseq = modseq;
	*ret_modseq = modseq;
	return 0;
}

/* ---- keywords ------------------------------------------------------------------------------------ */

int draft_load_keywords(struct draft *draft, struct draft_box *box)
{
	struct ps_bytes octets;
	int r = box->have_keywords ? 0 : ps_index_keywords(draft->index, box->box.key, &octets);

	if (r < 0 || box->have_keywords)
		return r;
	for (size_t at = 0; at < octets.len && box->keyword_count < PS_KEYWORDS_MAX;) {
		const char *name = ps_pool_strdup(draft->pool, (const char *)octets.ptr + at);

		box->keywords[box->keyword_count++] = name;
		at += strlen(name) + 1;
	}
	box->have_keywords = true;
	return 0;
}

static int used_bits(void *arg, const struct ps_row *row, struct ps_bytes locator)
{
	(void)locator;
	*(uint64_t *)arg |= row->keywords;
	return 0;
}

/* A keyword that no message has gives up its place when the table is full. */
static int free_bits(struct draft *draft, struct draft_box *box, uint64_t keep)
{
	uint64_t used = keep;
	int r = ps_index_rows(draft->index, box->box.key, (struct ps_range){1, UINT32_MAX}, used_bits, &used);

	for (size_t i = 0; r == 0 && i < box->keyword_count; i++)
		if (!(used & (UINT64_C(1) << i)))
			box->keywords[i] = "";
	return r;
}

static int free_place(const struct draft_box *box)
{
	for (size_t i = 0; i < box->keyword_count; i++)
		if (*box->keywords[i] == '\0')
			return (int)i;
	return box->keyword_count < PS_KEYWORDS_MAX ? (int)box->keyword_count : -1;
}

static int add_keyword(struct draft *draft, struct draft_box *box, const char *name, uint64_t keep, int *ret_bit)
{
	int bit = free_place(box), r;

	if (bit < 0 && (r = free_bits(draft, box, keep)) < 0)
		return r;
	if (bit < 0 && (bit = free_place(box)) < 0)
		return ps_fail(PS_E_LIMIT, "mailbox %s has %d keywords already", box->box.name, PS_KEYWORDS_MAX);
	box->keywords[bit] = ps_pool_strdup(draft->pool, name);
	box->keyword_count += (size_t)bit == box->keyword_count;
	box->keywords_changed = draft->txn->changed = true;
	*ret_bit = bit;
	return 0;
}

int draft_keywords(struct draft *draft, struct draft_box *box, const char *const *names, bool add, uint64_t *ret_mask)
{
	uint64_t mask = 0;
	int r = names && *names ? draft_load_keywords(draft, box) : 0;

	for (; r == 0 && names && *names; names++) {
		int bit = ps_keyword_bit(box->keywords, box->keyword_count, *names);

		if (bit < 0 && !add)
			continue;
		if (bit < 0 && (r = add_keyword(draft, box, *names, mask, &bit)) < 0)
			return r;
		mask |= UINT64_C(1) << bit;
	}
	if (r == 0)
		*ret_mask = mask;
	return r;
}

static int put_keywords(struct draft *draft, const struct draft_box *box)
{
	struct ps_buf octets = {0};
	int r;

	for (size_t i = 0; i < box->keyword_count; i++)
		ps_buf_append(&octets, box->keywords[i], strlen(box->keywords[i]) + 1);
	r = ps_index_keywords_put(draft->index, box->box.key, ps_buf_view(&octets));
	ps_buf_finish(&octets);
	return r;
}

int draft_write(struct draft *draft)
{
	int r = 0;

	for (struct draft_box *box = draft->boxes; box && r == 0; box = box->next) {
		if (box->deleted)
			continue;
		/* What changes nothing writes nothing, and LMDB does not sync a transaction without changes. */
		if (memcmp(&box->box, &box->was, sizeof box->box) != 0)
			r = ps_index_box_put(draft->index, &box->box);
		if (r == 0 && box->keywords_changed)
			r = put_keywords(draft, box);
	}
	return r;
}

/* ---- bodies -------------------------------------------------------------------------------------- */

int draft_drop_body(struct draft *draft, uint64_t body)
{
	return draft->bodies->drop ? draft->bodies->drop(draft->txn, body) : ps_ledger_bury(draft->txn, body);
}
