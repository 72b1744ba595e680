/* SPDX-License-Identifier: MIT */
/*
 * The list of mailboxes: what files of messages there are below the root, told apart by the id in their pseudo message. A file that
 * others renamed keeps its id and so its messages' UIDs; a copy of one gets an identity of its own, and its messages new UIDs, as
 * their fields were made with the other's id.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "backends/mbox/mbox_private.h"
#include "postern/log.h"

struct entry {
	const char *name, *path;
	struct stat st;
	bool unchanged; /* since the index was made to agree with it; it was not opened */
	bool has_pseudo;
	struct pseudo pseudo;
	uint32_t validity; /* that another program gave; 0: none */
	bool taken;        /* belongs to a mailbox of the index */
	uint64_t key;
};

struct listing {
	struct ps_store *store;
	struct write *w;
	struct ps_pool *pool;
	struct entry *entries;
	size_t count, cap;
};

bool mailboxes_differ(struct ps_store *store)
{
	struct ps_index *index = ps_catalogue_index(store);
	struct ps_index_txn *txn;
	bool differ = true;
	uint64_t tree;

	if (index && ps_index_read(index, &txn) == 0) {
		differ = ps_index_number(txn, "tree", &tree) < 0 || tree != tree_state(store);
		ps_index_end(txn);
	}
	ps_index_close(index);
	return differ;
}

/* ---- the files --------------------------------------------------------------------------------- */

/* UIDVALIDITY as another program keeps it: in a first message that is none, or in a field of the first one. */
static uint32_t others_validity(struct ps_mboxfile *file)
{
	static const struct ps_id none;
	struct ps_mboxfile_head head;
	uint32_t validity = 0, last;
	struct fields fields;

	if (ps_mboxfile_head(file, 0, &head) != 1)
		return 0;
	fields_parse(head.header, &none, &fields);
	return fields.has_base && base_parse(fields.base, &validity, &last) ? validity : 0;
}

/* 1: it is a mailbox; 0: something else, which is left alone. */
static int identify(struct entry *entry, int fd)
{
	struct ps_mboxfile *file = ps_mboxfile_create(fd, (uint64_t)entry->st.st_size);
	struct ps_mboxfile_head head;
	struct ps_bytes octets;
	int r = ps_mboxfile_peek(file, 0, PSEUDO_MAX, &octets);

	if (r == 0 && octets.len > 0) {
		entry->has_pseudo = pseudo_parse(octets, &entry->pseudo);
		if (!entry->has_pseudo)
			entry->validity = others_validity(file);
		r = ps_mboxfile_head(file, 0, &head);
	}
	ps_mboxfile_destroy(file);
	return r == PS_E_SYNTAX ? 0 : r < 0 ? r : 1;
}

static int look_into(struct listing *list, struct entry *entry)
{
	PS_CLEANUP(ps_closep) int fd =
		ps_io.open(list->store->cat.root_fd, entry->path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);

	if (fd < 0)
		return errno == ENOENT || errno == EACCES || errno == ELOOP ? 0 : ps_fail_errno("open %s", entry->path);
	if (fstat(fd, &entry->st) < 0 || !S_ISREG(entry->st.st_mode))
		return 0;
	return identify(entry, fd);
}

static int add_entry(void *arg, const char *path, const struct stat *st)
{
	struct listing *list = arg;
	struct ps_buf name = {0};
	struct ps_index_box box;
	struct entry entry = {.st = *st};
	int r = 1;

	if (name_of_path(list->store, path, &name)) {
		entry.name = ps_pool_strdup(list->pool, ps_buf_cstr(&name));
		entry.path = ps_pool_strdup(list->pool, path);
		entry.unchanged = ps_index_box_find(list->w->t.txn, entry.name, &box) == 0 && box_is_as(&box, st);
		if (!entry.unchanged)
			r = look_into(list, &entry);
		if (r > 0) {
			list->entries = ps_pool_grow(list->pool, list->entries, list->count, &list->cap, sizeof entry);
			list->entries[list->count++] = entry;
		}
	}
	ps_buf_finish(&name);
	return r < 0 ? r : 0;
}

/* ---- INBOX ----------------------------------------------------------------------------------------- */

/* It is made when it is not there, with the identity it had if the index knows. */
static int make_inbox(struct listing *list)
{
	struct ps_store *store = list->store;
	struct pseudo pseudo = {.id = ps_catalogue_new_id()};
	const char *aside = aside_name(list->pool);
	struct ps_index_box box;
	struct ps_buf text = {0};
	int r = ps_index_box_find(list->w->t.txn, "INBOX", &box);

	if (r == 0) {
		pseudo.id = box.id;
		pseudo.last_uid = box.uid_next - 1;
		pseudo.special_uses = box.attributes & PS_MBOX_SPECIAL_USES;
	}
	if ((r == 0 || r == PS_E_NOTFOUND))
		r = ps_catalogue_uid_validity(&list->w->t, r == 0 ? box.uid_validity : 0, &pseudo.uid_validity);
	if (r < 0 || (r = tree_make_parents(store, store->inbox)) < 0)
		return r;
	pseudo_render(&pseudo, NULL, &text);
	r = text.failed ? PS_E_LIMIT : ps_io_replace(store->cat.aside_fd, aside, ps_buf_view(&text));
	ps_buf_finish(&text);
	if (r == 0 && ps_io.rename(store->cat.aside_fd, aside, store->cat.root_fd, store->inbox, RENAME_NOREPLACE) < 0)
		r = ps_fail_errno("create %s", store->inbox);
	if (r < 0) {
		ps_io.unlink(store->cat.aside_fd, aside, 0);
		return r == PS_E_EXISTS ? ps_fail(PS_E_STORAGE, "%s is no mailbox", store->inbox) : r;
	}
	return ps_io_sync_dir(store->cat.root_fd, store->inbox);
}

static bool has_inbox(const struct listing *list)
{
	for (size_t i = 0; i < list->count; i++)
		if (strcmp(list->entries[i].name, "INBOX") == 0)
			return true;
	return false;
}

static int list_files(struct listing *list)
{
	int r = tree_walk(list->store, add_entry, list);

	if (r < 0 || has_inbox(list) || (r = make_inbox(list)) < 0)
		return r;
	list->count = 0;
	return tree_walk(list->store, add_entry, list);
}

/* ---- comparing ------------------------------------------------------------------------------------ */

static bool same_id(const struct ps_id *a, const struct ps_id *b)
{
	return memcmp(a, b, sizeof *a) == 0;
}

/* The entry that has a mailbox's id: under its own name rather than another, and under its own name too when the file lost its
 * pseudo message. */
static struct entry *entry_of(struct listing *list, const struct ps_index_box *box)
{
	struct entry *other = NULL;

	for (size_t i = 0; i < list->count; i++) {
		struct entry *entry = &list->entries[i];
		bool named = strcmp(entry->name, box->name) == 0;

		if (entry->taken)
			continue;
		if (named && (entry->unchanged || !entry->has_pseudo || same_id(&entry->pseudo.id, &box->id)))
			return entry;
		if (!entry->unchanged && entry->has_pseudo && same_id(&entry->pseudo.id, &box->id) &&
		    entry->pseudo.uid_validity == box->uid_validity)
			other = entry;
	}
	return other;
}

static int match_box(struct listing *list, struct ps_index_box *box)
{
	struct entry *entry = entry_of(list, box);

	if (!entry)
		return ps_index_box_remove(list->w->t.txn, box->key);
	entry->taken = true;
	entry->key = box->key;
	if (strcmp(box->name, entry->name) == 0)
		return 0;
	memcpy(box->name, entry->name, strlen(entry->name) + 1);
	return ps_index_box_put(list->w->t.txn, box);
}

static bool id_is_used(const struct listing *list, const struct entry *entry)
{
	struct ps_index_box box;

	for (size_t i = 0; i < list->count; i++) {
		const struct entry *other = &list->entries[i];

		if (other == entry)
			return false;
		if (other->has_pseudo && same_id(&other->pseudo.id, &entry->pseudo.id))
			return true;
	}
	return ps_index_box(list->w->t.txn, ps_catalogue_key(&entry->pseudo.id), &box) == 0;
}

static int new_box(struct listing *list, struct entry *entry)
{
	struct ps_index_box box = {.attributes = PS_MBOX_EXISTS, .uid_next = 1};
	struct ps_index_box used;
	int r;

	if (entry->has_pseudo && !id_is_used(list, entry) &&
	    ps_index_box(list->w->t.txn, ps_catalogue_key(&entry->pseudo.id), &used) == PS_E_NOTFOUND) {
		box.id = entry->pseudo.id;
		box.attributes |= entry->pseudo.special_uses;
		box.uid_next = entry->pseudo.last_uid < UINT32_MAX ? entry->pseudo.last_uid + 1 : UINT32_MAX;
		r = ps_catalogue_uid_validity(&list->w->t, entry->pseudo.uid_validity, &box.uid_validity);
	} else {
		box.id = ps_catalogue_new_id();
		r = ps_catalogue_uid_validity(&list->w->t, entry->has_pseudo ? 0 : entry->validity, &box.uid_validity);
	}
	if (r < 0)
		return r;
	box.key = entry->key = ps_catalogue_key(&box.id);
	box.highest_modseq = box.vanished_since = ++list->w->t.modseq;
	memcpy(box.name, entry->name, strlen(entry->name) + 1);
	return ps_index_box_put(list->w->t.txn, &box);
}

struct box_list {
	struct ps_pool *pool;
	struct ps_index_box *boxes;
	size_t count, cap;
};

static int add_box(void *arg, const struct ps_index_box *box)
{
	struct box_list *list = arg;

	list->boxes = ps_pool_grow(list->pool, list->boxes, list->count, &list->cap, sizeof *list->boxes);
	list->boxes[list->count++] = *box;
	return 0;
}

/* Those under their own names first: a file that took another's place must not be taken for it. */
static int update_boxes(struct listing *list)
{
	struct box_list known = {.pool = list->pool};
	int r = ps_index_boxes(list->w->t.txn, add_box, &known);

	for (size_t i = 0; i < known.count && r == 0; i++)
		r = match_box(list, &known.boxes[i]);
	for (size_t i = 0; i < list->count && r == 0; i++)
		if (!list->entries[i].taken)
			r = new_box(list, &list->entries[i]);
	return r;
}

static int update_subscriptions(struct listing *list)
{
	struct ps_buf names = {0};
	int r = subscriptions_read(list->store, &names);

	if (r == 0)
		r = ps_indexed_subscriptions_put(list->w->t.txn, ps_buf_view(&names));
	ps_buf_finish(&names);
	return r;
}

/* ---- both -------------------------------------------------------------------------------------------- */

static int sync_list(struct listing *list)
{
	int r = list_files(list);

	if (r == 0)
		r = update_boxes(list);
	if (r == 0)
		r = update_subscriptions(list);
	return r == 0 ? ps_index_number_put(list->w->t.txn, "tree", tree_state(list->store)) : r;
}

static int sync_once(struct listing *list)
{
	struct write w;
	int r = write_begin(list->store, &w);

	if (r < 0)
		return r;
	list->w = &w;
	if ((r = sync_list(list)) == 0)
		return write_run(&w);
	write_abort(&w);
	return r;
}

/* One mailbox that cannot be had keeps nobody from the others. */
static int scan_new(struct listing *list, const struct entry *entry, bool rebuild)
{
	int r = scan_mailbox(list->store, entry->key, rebuild);

	if (r != PS_E_BUSY && r != PS_E_GONE && r != PS_E_ACCESS && !ps_no_room(r))
		return r;
	ps_log(PS_LOG_WARNING, "mbox_not_read", "user", list->store->cat.user, "file", entry->path, "error",
	       ps_last_error(), NULL);
	return 0;
}

int mailboxes_sync(struct ps_store *store, bool rebuild)
{
	struct listing list = {.store = store, .pool = ps_pool_create("mailboxes")};
	int r;

	while ((r = sync_once(&list)) == PS_E_AGAIN) {
		if ((r = ps_catalogue_grow_index(store)) < 0)
			break;
		list.count = 0;
	}
	for (size_t i = 0; r == 0 && i < list.count; i++)
		if (!list.entries[i].taken)
			r = scan_new(&list, &list.entries[i], rebuild);
	ps_pool_destroy(list.pool);
	return r;
}
