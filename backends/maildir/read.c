/* SPDX-License-Identifier: MIT */
/*
 * Reading: one transaction of the index, which is one moment of the store, and the message files.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "backends/maildir/maildir_private.h"

struct ps_read {
	struct ps_store *store;
	struct ps_index *index;
	struct ps_index_txn *txn;
	struct ps_pool *pool;
};

int maildir_read_begin(struct ps_store *store, struct ps_read **ret_read)
{
	struct ps_read *read;
	struct ps_index *index = store_index(store);
	struct ps_index_txn *txn;
	int r;

	if (!index)
		return ps_fail(PS_E_STORAGE, "the index is not there");
	if ((r = ps_index_read(index, &txn)) < 0) {
		ps_index_close(index);
		return r;
	}
	read = ps_zalloc(sizeof *read);
	*read = (struct ps_read){store, index, txn, ps_pool_create("read")};
	*ret_read = read;
	return 0;
}

void maildir_read_end(struct ps_read *read)
{
	ps_index_end(read->txn);
	ps_index_close(read->index);
	ps_pool_destroy(read->pool);
	free(read);
}

/* ---- mailboxes ------------------------------------------------------------------------------- */

static struct ps_bytes subscriptions(struct ps_read *read)
{
	struct ps_bytes names;

	return ps_index_meta(read->txn, "subscriptions", &names) == 0 ? names : ps_bytes("", 0);
}

static struct ps_mailbox_info info_of(struct ps_read *read, const struct ps_index_box *box)
{
	uint32_t subscribed = subscriptions_has(subscriptions(read), box->name) ? PS_MBOX_SUBSCRIBED : 0;

	return (struct ps_mailbox_info){
		.name = box->name,
		.id = box->id,
		.attributes = box->attributes | PS_MBOX_EXISTS | subscribed,
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

int maildir_list(struct ps_read *read, ps_mailbox_fn fn, void *arg)
{
	struct list list = {read, fn, arg};
	struct ps_bytes names = subscriptions(read);
	struct ps_index_box box;
	int r = ps_index_boxes(read->txn, list_box, &list);

	while (names.len > 0 && r == 0) {
		struct ps_mailbox_info info = {.name = (const char *)names.ptr, .attributes = PS_MBOX_SUBSCRIBED};

		names = ps_bytes_skip(names, strlen(info.name) + 1);
		if (ps_index_box_find(read->txn, info.name, &box) == PS_E_NOTFOUND)
			r = fn(arg, &info);
	}
	return r;
}

static int find_box(struct ps_read *read, struct ps_mbox *mbox, struct ps_index_box *ret_box)
{
	int r = ps_index_box(read->txn, mbox->key, ret_box);

	return r == PS_E_NOTFOUND ? ps_fail(PS_E_GONE, "the mailbox was deleted") : r;
}

int maildir_info(struct ps_read *read, struct ps_mbox *mbox, struct ps_mailbox_info *ret_info)
{
	struct ps_index_box box;
	int r = find_box(read, mbox, &box);

	if (r < 0)
		return r;
	*ret_info = info_of(read, &box);
	ret_info->name = ps_pool_strdup(read->pool, box.name);
	return 0;
}

int maildir_keywords(struct ps_read *read, struct ps_mbox *mbox, const char *const **ret_names, size_t *ret_count)
{
	const char **names = PS_NEWV(read->pool, const char *, PS_KEYWORDS_MAX);
	struct ps_index_box box;
	struct ps_bytes octets;
	size_t count = 0;
	int r = find_box(read, mbox, &box);

	if (r < 0 || (r = ps_index_keywords(read->txn, mbox->key, &octets)) < 0)
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

int maildir_scan(struct ps_read *read, struct ps_mbox *mbox, struct ps_range uids, uint64_t changed_since, ps_row_fn fn,
		 void *arg)
{
	struct row_walk walk = {fn, arg};
	struct ps_index_box box;
	int r = find_box(read, mbox, &box);

	if (r < 0)
		return r;
	if (changed_since == 0)
		return ps_index_rows(read->txn, mbox->key, uids, give_row, &walk);
	return ps_index_changed(read->txn, mbox->key, uids, changed_since, give_row, &walk);
}

int maildir_vanished(struct ps_read *read, struct ps_mbox *mbox, uint64_t since, ps_range_fn fn, void *arg)
{
	struct ps_index_box box;
	int r = find_box(read, mbox, &box);

	return r < 0 ? r : ps_index_vanished(read->txn, mbox->key, since, fn, arg);
}

int maildir_cache(struct ps_read *read, struct ps_mbox *mbox, uint32_t uid, struct ps_bytes *ret_cache)
{
	int r = ps_index_cache(read->txn, mbox->key, uid, ret_cache);

	/* A damaged one is made again like one that is not there. */
	return r == PS_E_CORRUPT ? ps_fail(PS_E_NOTFOUND, "the cache of UID %u is damaged", uid) : r;
}

static int put_cache(struct ps_index_txn *txn, struct ps_mbox *mbox, uint32_t uid, struct ps_bytes cache)
{
	struct ps_bytes locator;
	struct ps_row row;
	int r = ps_index_row(txn, mbox->key, uid, &row, &locator);

	if (r == PS_E_NOTFOUND)
		return ps_fail(PS_E_GONE, "UID %u was expunged", uid);
	return r == 0 ? ps_index_cache_put(txn, mbox->key, uid, cache) : r;
}

/* Reading must not wait for a writer's sync: if one is at work, the cache is made again another time. */
int maildir_cache_put(struct ps_mbox *mbox, uint32_t uid, struct ps_bytes cache)
{
	struct ps_store *store = mbox->store;
	struct ps_index *index = store_index(store);
	struct ps_index_txn *txn;
	uint64_t id;
	int r;

	if (!index)
		return ps_fail(PS_E_STORAGE, "the index is not there");
	r = ps_index_write_try(index, &txn);
	if (r == 0) {
		id = ps_index_txn_id(txn);
		note_txn(store, id, true);
		r = put_cache(txn, mbox, uid, cache);
		if (r < 0)
			ps_index_end(txn);
		else if ((r = ps_index_commit(txn)) == 0)
			note_txn(store, id, false);
	}
	ps_index_close(index);
	return r == PS_E_BUSY || r == PS_E_AGAIN || ps_no_room(r) ? 0 : r;
}

/* ---- bodies ---------------------------------------------------------------------------------- */

static int locate(struct ps_mbox *mbox, uint32_t uid, struct ps_row *ret_row, struct msg_where *ret_where)
{
	struct ps_index *index = store_index(mbox->store);
	struct ps_index_txn *txn;
	struct ps_bytes locator;
	int r;

	if (!index)
		return ps_fail(PS_E_STORAGE, "the index is not there");
	if ((r = ps_index_read(index, &txn)) == 0) {
		r = ps_index_row(txn, mbox->key, uid, ret_row, &locator);
		if (r == 0)
			r = where_decode(locator, ret_where);
		ps_index_end(txn);
	}
	ps_index_close(index);
	return r == PS_E_NOTFOUND ? ps_fail(PS_E_GONE, "UID %u was expunged", uid) : r;
}

/* Somebody renamed it and the index does not know yet, perhaps because a commit is under way: look for its base. */
static bool find_file(struct folder *folder, struct msg_where *where)
{
	static const enum place places[] = {PLACE_NEW, PLACE_CUR};
	struct msg_name want, name;
	struct dirent *entry;
	bool found = false;

	msg_name_parse(ps_bytes_str(where->name), &want);
	for (size_t i = 0; i < PS_ARRAY_LEN(places) && !found; i++) {
		DIR *dir;

		if (open_listing(folder_fd(folder, places[i]), &dir) < 0)
			continue;
		while (!found && (entry = readdir(dir)) != NULL) {
			msg_name_parse(ps_bytes_str(entry->d_name), &name);
			if (!ps_bytes_eq(name.base, want.base))
				continue;
			where->place = places[i];
			memcpy(where->name, entry->d_name, strlen(entry->d_name) + 1);
			found = true;
		}
		closedir(dir);
	}
	return found;
}

static int open_file(struct ps_mbox *mbox, uint32_t uid, const struct msg_where *where, struct ps_row *row,
		     struct ps_body *ret_body)
{
	int fd = ps_io.open(folder_fd(mbox->folder, where->place), where->name, O_RDONLY | O_NONBLOCK, 0);
	struct stat st;

	if (fd < 0 && errno == ELOOP) /* somebody put a link there: the message is gone */
		return ps_fail(PS_E_NOTFOUND, "%s is a symbolic link", where->name);
	if (fd < 0)
		return ps_fail_errno("open %s", where->name);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return ps_fail(PS_E_STORAGE, "the file of UID %u is no plain file", uid);
	}
	*ret_body = (struct ps_body){.fd = fd,
				     .length = (uint64_t)st.st_size,
				     /* Bare LFs would have made it larger on the wire. */
				     .wire_form = (uint64_t)st.st_size == row->size};
	return 0;
}

int maildir_body(struct ps_mbox *mbox, uint32_t uid, struct ps_body *ret_body)
{
	struct msg_where where;
	struct ps_row row;
	int r = PS_E_GONE;

	for (int i = 0; i < 4; i++) {
		if ((r = locate(mbox, uid, &row, &where)) < 0)
			return r;
		r = open_file(mbox, uid, &where, &row, ret_body);
		if (r == PS_E_NOTFOUND && find_file(mbox->folder, &where))
			r = open_file(mbox, uid, &where, &row, ret_body);
		if (r != PS_E_NOTFOUND)
			return r;
	}
	watch_dirty(mbox->folder);
	return ps_fail(PS_E_GONE, "the file of UID %u was removed", uid);
}

void maildir_body_close(struct ps_body *body)
{
	ps_closep(&body->fd);
	body->fd = -1;
}
