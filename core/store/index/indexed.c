/* SPDX-License-Identifier: MIT */
/* One transaction of the index is one moment of the store. */
#include <stdlib.h>
#include <string.h>
#include "core/store/index/index_private.h"
#include "core/store/index/read.h"
#include "postern/store.h"

int ps_indexed_begin(struct ps_index *index, struct ps_read **ret_read)
{
	struct ps_index_txn *txn;
	int r = ps_index_read(index, &txn);

	if (r < 0) {
		ps_index_close(index);
		return r;
	}
	*ret_read = ps_zalloc(sizeof **ret_read);
	**ret_read = (struct ps_read){.index = index, .txn = txn, .pool = ps_pool_create("read")};
	return 0;
}

void ps_indexed_end(struct ps_read *read)
{
	ps_index_end(read->txn);
	ps_index_close(read->index);
	ps_pool_destroy(read->pool);
	free(read);
}

/* ---- subscriptions --------------------------------------------------------------------------- */

struct ps_bytes ps_indexed_subscriptions(struct ps_index_txn *txn)
{
	struct ps_bytes names;

	return ps_index_meta(txn, "subscriptions", &names) == 0 ? names : ps_bytes("", 0);
}

int ps_indexed_subscriptions_put(struct ps_index_txn *txn, struct ps_bytes names)
{
	return ps_index_meta_put(txn, "subscriptions", names);
}

bool ps_indexed_is_subscribed(struct ps_bytes names, const char *name)
{
	while (names.len > 0) {
		const char *one = (const char *)names.ptr;

		if (strcmp(one, name) == 0)
			return true;
		names = ps_bytes_skip(names, strlen(one) + 1);
	}
	return false;
}

/* ---- mailboxes ------------------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

enum {
	SORT_FROM = 8 /* who asks for more of them, asks for many */
};

static void sort_subscriptions(struct ps_read *read)
{
	struct ps_bytes names = ps_indexed_subscriptions(read->txn);
	size_t cap = 0;

	if (read->subscribed)
		return;
	for (; names.len > 0; names = ps_bytes_skip(names, strlen((const char *)names.ptr) + 1)) {
		read->subscribed = ps_pool_grow(read->pool, read->subscribed, read->subscribed_count, &cap,
						sizeof *read->subscribed);
		read->subscribed[read->subscribed_count++] = (const char *)names.ptr;
	}
	if (read->subscribed_count > 1)
		qsort(read->subscribed, read->subscribed_count, sizeof *read->subscribed, compare_names);
}

/* A durable index has names by themselves; another copies what the backend's file says, whole. */
static bool is_subscribed(struct ps_read *read, const char *name)
{
	if (read->index->durable)
		return ps_index_is_subscribed(read->txn, name);
	if (++read->subscribed_asked > SORT_FROM)
		sort_subscriptions(read);
	if (read->subscribed)
		return bsearch(&name, read->subscribed, read->subscribed_count, sizeof name, compare_names) != NULL;
	return ps_indexed_is_subscribed(ps_indexed_subscriptions(read->txn), name);
}

static struct ps_mailbox_info info_of(struct ps_read *read, const struct ps_index_box *box)
{
	bool subscribed = is_subscribed(read, box->name);

	return (struct ps_mailbox_info){
		.name = box->name,
		.id = box->id,
		.attributes = box->attributes | PS_MBOX_EXISTS | (subscribed ? PS_MBOX_SUBSCRIBED : 0),
		.uid_validity = box->uid_validity,
		.uid_next = box->uid_next,
		.highest_modseq = box->highest_modseq,
		.vanished_since = box->vanished_since,
		.messages = box->messages,
		.unseen = box->unseen,
		.deleted = box->deleted,
		.size = box->size,
	};
}

struct list {
	struct ps_read *read;
	ps_mailbox_fn fn;
	void *arg;
};

static int list_box(void *arg, const struct ps_index_box *box)
{
	struct list *list = arg;
	struct ps_mailbox_info info = info_of(list->read, box);

	return list->fn(list->arg, &info);
}

/* One that is only subscribed. */
static int list_name(void *arg, const char *name)
{
	struct ps_mailbox_info info = {.name = name, .attributes = PS_MBOX_SUBSCRIBED};
	struct list *list = arg;
	struct ps_index_box box;
	int r = ps_index_box_find(list->read->txn, name, &box);

	return r == PS_E_NOTFOUND ? list->fn(list->arg, &info) : r;
}

/* Those only subscribed; `top` as in index_walk_names(). */
static int list_names(struct list *list, const char *top)
{
	struct ps_bytes names = ps_indexed_subscriptions(list->read->txn);
	int r = 0;

	if (list->read->index->durable)
		return index_walk_names(list->read->txn, DB_SUBSCRIPTIONS, top, list_name, list);
	for (; names.len > 0 && r == 0; names = ps_bytes_skip(names, strlen((const char *)names.ptr) + 1))
		if (!top || ps_mailbox_name_is_below((const char *)names.ptr, top))
			r = list_name(list, (const char *)names.ptr);
	return r;
}

int ps_indexed_list(struct ps_read *read, ps_mailbox_fn fn, void *arg)
{
	struct list list = {read, fn, arg};
	int r = ps_index_boxes(read->txn, list_box, &list);

	return r == 0 ? list_names(&list, NULL) : r;
}

static int list_found(void *arg, const char *name)
{
	const struct list *list = arg;
	struct ps_index_box box;
	int r = ps_index_box_find(list->read->txn, name, &box);

	return r < 0 ? r : list_box(arg, &box);
}

int ps_indexed_list_below(struct ps_read *read, const char *top, ps_mailbox_fn fn, void *arg)
{
	struct list list = {read, fn, arg};
	int r = index_walk_names(read->txn, DB_NAMES, top, list_found, &list);

	return r == 0 ? list_names(&list, top) : r;
}

static uint64_t key_of(const struct ps_mbox *mbox)
{
	return *(const uint64_t *)(const void *)mbox;
}

static int find_box(struct ps_read *read, const struct ps_mbox *mbox, struct ps_index_box *ret_box)
{
	int r = ps_index_box(read->txn, key_of(mbox), ret_box);

	return r == PS_E_NOTFOUND ? ps_fail(PS_E_GONE, "the mailbox was deleted") : r;
}

int ps_indexed_info(struct ps_read *read, struct ps_mbox *mbox, struct ps_mailbox_info *ret_info)
{
	struct ps_index_box box;
	int r = find_box(read, mbox, &box);

	if (r < 0)
		return r;
	*ret_info = info_of(read, &box);
	ret_info->name = ps_pool_strdup(read->pool, box.name);
	return 0;
}

int ps_indexed_keywords(struct ps_read *read, struct ps_mbox *mbox, const char *const **ret_names, size_t *ret_count)
{
	const char **names = PS_NEWV(read->pool, const char *, PS_KEYWORDS_MAX);
	struct ps_index_box box;
	struct ps_bytes octets;
	size_t count = 0;
	int r = find_box(read, mbox, &box);

	if (r < 0 || (r = ps_index_keywords(read->txn, box.key, &octets)) < 0)
		return r;
	while (octets.len > 0 && count < PS_KEYWORDS_MAX) {
		names[count] = ps_pool_strdup(read->pool, (const char *)octets.ptr);
		octets = ps_bytes_skip(octets, strlen(names[count++]) + 1);
	}
	*ret_names = names;
	*ret_count = count;
	return 0;
}

/* ---- rows ------------------------------------------------------------------------------------ */

struct row_walk {
	ps_row_fn fn;
	void *arg;
};

static int give_row(void *arg, const struct ps_row *row, struct ps_bytes locator)
{
	struct row_walk *walk = arg;

	(void)locator;
	return walk->fn(walk->arg, row);
}

int ps_indexed_scan(struct ps_read *read, struct ps_mbox *mbox, struct ps_range uids, uint64_t changed_since,
		    ps_row_fn fn, void *arg)
{
	struct row_walk walk = {fn, arg};
	struct ps_index_box box;
	int r = find_box(read, mbox, &box);

	if (r < 0)
		return r;
	if (changed_since == 0)
		return ps_index_rows(read->txn, box.key, uids, give_row, &walk);
	return ps_index_changed(read->txn, box.key, uids, changed_since, give_row, &walk);
}

int ps_indexed_vanished(struct ps_read *read, struct ps_mbox *mbox, uint64_t since, ps_range_fn fn, void *arg)
{
	struct ps_index_box box;
	int r = find_box(read, mbox, &box);

	return r < 0 ? r : ps_index_vanished(read->txn, box.key, since, fn, arg);
}

/* ---- caches ---------------------------------------------------------------------------------- */

int ps_indexed_cache(struct ps_read *read, struct ps_mbox *mbox, uint32_t uid, struct ps_bytes *ret_cache)
{
	int r = ps_index_cache(read->txn, key_of(mbox), uid, ret_cache);

	return r == PS_E_CORRUPT ? ps_fail(PS_E_NOTFOUND, "the cache of UID %u is damaged", uid) : r;
}

int ps_indexed_cache_keep(struct ps_index_txn *txn, const struct ps_mbox *mbox, uint32_t uid, struct ps_bytes cache)
{
	struct ps_bytes locator;
	struct ps_row row;
	int r = ps_index_row(txn, key_of(mbox), uid, &row, &locator);

	if (r == PS_E_NOTFOUND)
		return ps_fail(PS_E_GONE, "UID %u was expunged", uid);
	return r == 0 ? ps_index_cache_put(txn, key_of(mbox), uid, cache) : r;
}
