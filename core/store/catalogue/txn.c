/* SPDX-License-Identifier: MIT */
#include <sys/random.h>
#include <time.h>
#include "core/store/catalogue/catalogue_private.h"

int64_t ps_catalogue_now(void)
{
	return (int64_t)time(NULL);
}

struct ps_id ps_catalogue_new_id(void)
{
	struct ps_id id;
	size_t got = 0;

	while (got < sizeof id.octets) {
		ssize_t n = getrandom(id.octets + got, sizeof id.octets - got, 0);

		got += n > 0 ? (size_t)n : 0;
	}
	return id;
}

bool ps_catalogue_is_none(const struct ps_id *id)
{
	static const struct ps_id none;

	return memcmp(id, &none, sizeof none) == 0;
}

uint64_t ps_catalogue_key(const struct ps_id *id)
{
	uint64_t key;

	memcpy(&key, id->octets, sizeof key);
	return key ? key : 1;
}

void catalogue_note_txn(struct ps_catalogue *cat, uint64_t id, bool began)
{
	pthread_mutex_lock(&cat->mutex);
	if (began && id != cat->own_txn + 1)
		cat->foreign_gen++;
	if (!began)
		cat->own_txn = id;
	pthread_mutex_unlock(&cat->mutex);
}

int ps_catalogue_txn_begin(struct ps_store *store, struct ps_catalogue_txn *ret_txn)
{
	struct ps_catalogue_txn t = {.store = store, .index = ps_catalogue_index(store)};
	int r;

	if (!t.index)
		return ps_fail(PS_E_STORAGE, "the index is not there");
	if ((r = ps_index_write(t.index, &t.txn)) < 0 || (r = ps_index_number(t.txn, "modseq", &t.modseq)) < 0) {
		ps_index_end(t.txn);
		ps_index_close(t.index);
		return r;
	}
	catalogue_note_txn(ps_catalogue_of(store), ps_index_txn_id(t.txn), true);
	t.pool = ps_pool_create(ps_catalogue_of(store)->files->name);
	*ret_txn = t;
	return 0;
}

int ps_catalogue_add_edit(struct ps_catalogue_txn *t, struct ps_edit *edit)
{
	int r = ps_keyword_table_load(t->txn, edit->box.key, &edit->keywords);

	if (r < 0)
		return r;
	edit->next = t->edits;
	t->edits = edit;
	return 0;
}

int ps_catalogue_find_edit(struct ps_catalogue_txn *t, uint64_t key, struct ps_edit **ret_edit)
{
	for (struct ps_edit *edit = t->edits; edit; edit = edit->next)
		if (edit->box.key == key) {
			*ret_edit = edit;
			return edit->removed ? ps_fail(PS_E_GONE, "the mailbox was deleted") : 1;
		}
	return 0;
}

static int put_edits(struct ps_catalogue_txn *t)
{
	int r = ps_index_number_put(t->txn, "modseq", t->modseq);

	for (struct ps_edit *edit = t->edits; edit && r == 0; edit = edit->next) {
		if (edit->removed)
			continue;
		r = ps_index_box_put(t->txn, &edit->box);
		if (r == 0 && edit->keywords.changed)
			r = ps_keyword_table_save(t->txn, edit->box.key, &edit->keywords);
	}
	return r;
}

int ps_catalogue_txn_put(struct ps_catalogue_txn *t)
{
	uint64_t id = ps_index_txn_id(t->txn);
	int r = put_edits(t);

	if (r < 0)
		ps_index_end(t->txn);
	else if ((r = ps_index_commit(t->txn)) == 0)
		catalogue_note_txn(ps_catalogue_of(t->store), id, false);
	t->txn = NULL;
	return r;
}

void ps_catalogue_txn_end(struct ps_catalogue_txn *t)
{
	if (!t->pool)
		return;
	ps_index_end(t->txn);
	for (struct ps_edit *edit = t->edits; edit; edit = edit->next) {
		ps_catalogue_of(t->store)->files->edit_finish(edit);
		ps_keyword_table_finish(&edit->keywords);
	}
	ps_pool_destroy(t->pool);
	ps_index_close(t->index);
	*t = (struct ps_catalogue_txn){0};
}

int ps_catalogue_txn_commit(struct ps_catalogue_txn *t)
{
	int r = ps_catalogue_txn_put(t);

	ps_catalogue_txn_end(t);
	return r;
}

int ps_catalogue_try(struct ps_store *store, int (*fn)(void *arg, struct ps_index_txn *txn), void *arg)
{
	struct ps_catalogue *cat = ps_catalogue_of(store);
	struct ps_index *index = ps_catalogue_index(store);
	struct ps_index_txn *txn;
	uint64_t id;
	int r = index ? ps_index_write_try(index, &txn) : ps_fail(PS_E_STORAGE, "the index is not there");

	if (r == 0) {
		id = ps_index_txn_id(txn);
		if ((r = fn(arg, txn)) <= 0) {
			ps_index_end(txn);
		} else {
			catalogue_note_txn(cat, id, true);
			if ((r = ps_index_commit(txn)) == 0)
				catalogue_note_txn(cat, id, false);
		}
	}
	ps_index_close(index);
	return r;
}
