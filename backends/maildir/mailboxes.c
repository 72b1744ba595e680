/* SPDX-License-Identifier: MIT */
/*
 * The list of mailboxes: what directories there are below the root, told apart by the id in their postern-mailbox. A
 * directory that others renamed keeps its id and so its messages' UIDs; a copy of one gets an identity of its own, and
 * what its file names say of UIDs is not believed, because it names another UIDVALIDITY.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "backends/maildir/adopt.h"
#include "backends/maildir/maildir_private.h"
#include "postern/log.h"

struct dir_entry {
	const char *name;
	char dir[NAME_SIZE];
	struct mailbox_state state;
	bool has_state;
	bool never_had_state;
	bool taken; /* belongs to a mailbox of the index */
	uint64_t key;
};

/* An entry by the id that its directory had: of several with one id, those whose names come first are first. */
struct by_id {
	struct ps_id id;
	struct dir_entry *entry;
};

struct listing {
	struct ps_pool *pool;
	struct dir_entry *entries; /* by name */
	struct by_id *ids;
	size_t count, cap, id_count;
	bool fresh; /* a later change might not show, or a directory not be whole yet */
};

static uint64_t time_of(int dirfd, const char *name)
{
	struct stat st;

	if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return 1;
	return (uint64_t)st.st_mtim.tv_sec * 1000000000 + (uint64_t)st.st_mtim.tv_nsec;
}

/* A time so fresh that a later change might not show is remembered as none. */
static uint64_t settled_time(int dirfd, const char *name)
{
	struct timespec now;
	uint64_t then = time_of(dirfd, name);

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec < then + 50000000 ? 0 : then;
}

/* One that cannot be read is none. */
static bool is_noted(struct ps_index_txn *txn, const char *name, uint64_t then)
{
	uint64_t noted;

	return ps_index_number(txn, name, &noted) == 0 && noted == then;
}

/* Whether the root's time is not the one at which the index agreed with it. */
static bool root_differs(struct ps_store *store, struct ps_index_txn *txn)
{
	int changed = watch_changed(&store->watch);

	if (changed >= 0)
		return changed;
	if (!is_noted(txn, "root_time", layout_time(store, false)))
		return true;
	watch_known(&store->watch);
	return false;
}

bool mailboxes_differ(struct ps_store *store)
{
	struct ps_index *index = ps_catalogue_index(store);
	struct ps_index_txn *txn;
	bool differ = true;

	if (index && ps_index_read(index, &txn) == 0) {
		differ = root_differs(store, txn) ||
			 !is_noted(txn, "subscriptions_time", time_of(store->cat.root_fd, "subscriptions"));
		ps_index_end(txn);
	}
	ps_index_close(index);
	return differ;
}

static int note_time(void *arg, struct ps_index_txn *txn)
{
	struct ps_store *store = arg;
	uint64_t root_time = layout_time(store, true);
	int r;

	if (root_time == 0 || watch_changed(&store->watch) != 0 || is_noted(txn, "root_time", root_time))
		return 0;
	r = ps_index_number_put(txn, "root_time", root_time);
	return r < 0 ? r : 1;
}

void mailboxes_note_time(struct ps_store *store)
{
	if (watch_changed(&store->watch) == 0)
		ps_catalogue_try(store, note_time, store);
}

/* ---- the directories ------------------------------------------------------------------------- */

static bool is_folder(struct ps_store *store, const char *dir)
{
	static const char *const parts[] = {".", "cur", "new"};
	char path[NAME_SIZE + 8];
	struct stat st;

	for (size_t i = 0; i < PS_ARRAY_LEN(parts); i++) {
		snprintf(path, sizeof path, "%s/%s", dir, parts[i]);
		if (fstatat(store->cat.root_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode))
			return false;
	}
	return true;
}

/* A folder that cannot be opened for a reason that may pass is not taken for gone. */
static int add_entry(struct ps_store *store, struct listing *list, const char *dir)
{
	struct ps_buf name = {0};
	struct dir_entry *entry;
	int fds[3], r = 0;
	bool shown = name_of_dir(store->tree, dir, &name);

	if (shown && (r = open_folder_dirs(store, dir, fds)) < 0) {
		shown = false;
		r = r == PS_E_ACCESS || !is_folder(store, dir) ? 0 : r;
	}
	if (!shown) {
		ps_buf_finish(&name);
		return r;
	}
	list->entries = ps_pool_grow(list->pool, list->entries, list->count, &list->cap, sizeof *entry);
	entry = &list->entries[list->count++];
	*entry = (struct dir_entry){.name = ps_pool_strdup(list->pool, ps_buf_cstr(&name))};
	ps_buf_finish(&name);
	memcpy(entry->dir, dir, strlen(dir) + 1);
	r = ps_state_read(fds[0], MAILBOX_STATE, &entry->state, sizeof entry->state);
	entry->has_state = r == 0;
	entry->never_had_state = r == PS_E_NOTFOUND;
	for (int i = 0; i < 3; i++)
		ps_closep(&fds[i]);
	return r == 0 || r == PS_E_NOTFOUND || r == PS_E_CORRUPT ? 0 : r;
}

struct lister {
	struct ps_store *store;
	struct listing *list;
	bool renamed; /* a directory: readdir() may show it twice, or not at all */
};

static int list_one(void *arg, const char *dir)
{
	struct lister *lister = arg;
	int r = adopt_folder(lister->store, dir);

	lister->renamed |= r == 1;
	return r == 0 ? add_entry(lister->store, lister->list, dir) : r < 0 ? r : 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct dir_entry *)a)->name, ((const struct dir_entry *)b)->name);
}

static int compare_ids(const void *a, const void *b)
{
	const struct by_id *x = a, *y = b;
	int order = memcmp(&x->id, &y->id, sizeof x->id);

	return order != 0 ? order : x->entry < y->entry ? -1 : x->entry > y->entry;
}

static void sort_listing(struct listing *list)
{
	if (list->count == 0)
		return;
	qsort(list->entries, list->count, sizeof *list->entries, by_name);
	list->ids = ps_pool_alloc(list->pool, list->count * sizeof *list->ids);
	for (size_t i = 0; i < list->count; i++)
		if (list->entries[i].has_state)
			list->ids[list->id_count++] =
				(struct by_id){.id = list->entries[i].state.id, .entry = &list->entries[i]};
	if (list->id_count > 1)
		qsort(list->ids, list->id_count, sizeof *list->ids, compare_ids);
}

/* The first that is not less, of `count` things in order. */
static size_t lower_bound(size_t count, bool (*less)(const struct listing *, size_t, const void *),
			  const struct listing *list, const void *key)
{
	size_t from = 0, to = count;

	while (from < to) {
		size_t middle = from + (to - from) / 2;

		if (less(list, middle, key))
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

static bool name_less(const struct listing *list, size_t i, const void *name)
{
	return strcmp(list->entries[i].name, name) < 0;
}

static bool id_less(const struct listing *list, size_t i, const void *id)
{
	return memcmp(&list->ids[i].id, id, sizeof list->ids[i].id) < 0;
}

/* By name: which of several copies is the mailbox must not depend on the order in which a file system shows them. */
static int list_dirs(struct ps_store *store, struct listing *list)
{
	struct lister lister = {.store = store, .list = list};
	int r;

	do {
		list->count = 0;
		lister.renamed = false;
		r = layout_walk(store, list_one, &lister);
	} while (r == 0 && lister.renamed);
	sort_listing(list);
	return r;
}

/* ---- matching with the index ----------------------------------------------------------------- */

struct box_list {
	struct ps_pool *pool;
	struct ps_index_box *boxes;
	size_t count, cap;
};

static int add_box(void *arg, const struct ps_index_box *box)
{
	struct box_list *list = arg;

	list->boxes = ps_pool_grow(list->pool, list->boxes, list->count, &list->cap, sizeof *box);
	list->boxes[list->count++] = *box;
	return 0;
}

static bool same_id(const struct ps_id *a, const struct ps_id *b)
{
	return memcmp(a, b, sizeof *a) == 0;
}

static bool is_of(const struct dir_entry *entry, const struct ps_index_box *box)
{
	return entry->has_state && same_id(&entry->state.id, &box->id) &&
	       entry->state.uid_validity == box->uid_validity;
}

/* The entry that has a mailbox's id: under its own name rather than another, and under its own name too when the
 * directory lost its state file. */
static struct dir_entry *entry_of(const struct listing *list, const struct ps_index_box *box)
{
	struct dir_entry *other = NULL;

	for (size_t i = lower_bound(list->count, name_less, list, box->name); i < list->count; i++) {
		struct dir_entry *entry = &list->entries[i];

		if (strcmp(entry->name, box->name) != 0)
			break;
		if (!entry->taken && (!entry->has_state || is_of(entry, box)))
			return entry;
	}
	for (size_t i = lower_bound(list->id_count, id_less, list, &box->id); i < list->id_count; i++) {
		if (!same_id(&list->ids[i].id, &box->id))
			break;
		if (!list->ids[i].entry->taken && is_of(list->ids[i].entry, box))
			other = list->ids[i].entry;
	}
	return other;
}

static int match_box(struct ps_catalogue_txn *w, struct listing *list, struct ps_index_box *box)
{
	struct dir_entry *entry = entry_of(list, box);
	uint32_t uses;

	if (!entry)
		return ps_index_box_remove(w->txn, box->key);
	entry->taken = true;
	entry->key = box->key;
	uses = entry->has_state ? entry->state.special_uses : box->attributes & PS_MBOX_SPECIAL_USES;
	if (strcmp(box->name, entry->name) == 0 && (box->attributes & PS_MBOX_SPECIAL_USES) == uses)
		return 0;
	memcpy(box->name, entry->name, strlen(entry->name) + 1);
	box->attributes = PS_MBOX_EXISTS | uses;
	return ps_index_box_put(w->txn, box);
}

static bool id_is_used(const struct listing *list, const struct dir_entry *entry)
{
	for (size_t i = lower_bound(list->id_count, id_less, list, &entry->state.id); i < list->id_count; i++) {
		const struct dir_entry *other = list->ids[i].entry;

		if (!same_id(&list->ids[i].id, &entry->state.id))
			return false;
		/* One that got an identity of its own meanwhile has this one no more. */
		if (other != entry && same_id(&other->state.id, &entry->state.id) && (other->taken || other < entry))
			return true;
	}
	return false;
}

/* A directory without identity, or with that of another, gets one of its own. */
static int give_identity(struct ps_catalogue_txn *w, struct dir_entry *entry)
{
	PS_CLEANUP(ps_closep) int fd = -1;
	int r = ps_io_open_dir(w->store->cat.root_fd, entry->dir, &fd);

	if (r < 0)
		return r;
	entry->state = (struct mailbox_state){
		.id = ps_catalogue_new_id(), .uid_reserved = 1, .special_uses = entry->state.special_uses};
	if (entry->never_had_state) {
		if (strcmp(entry->dir, ".") == 0 && (r = adopt_subscriptions(w->store)) < 0)
			return r;
		r = adopt_mailbox(w, fd, entry->name, &entry->state);
	}
	if (r == 0)
		r = ps_catalogue_uid_validity(w, 0, &entry->state.uid_validity);
	if (r < 0)
		return r;
	entry->has_state = true;
	return ps_state_write(fd, MAILBOX_STATE, &entry->state, sizeof entry->state);
}

static int new_box(struct ps_catalogue_txn *w, const struct listing *list, struct dir_entry *entry)
{
	struct ps_index_box box = {.attributes = PS_MBOX_EXISTS};
	uint32_t seen = 0;
	int r;

	if (entry->has_state && entry->state.uid_validity > 0 && !id_is_used(list, entry))
		r = ps_catalogue_uid_validity(w, entry->state.uid_validity, &seen);
	else
		r = give_identity(w, entry);
	if (r < 0)
		return r;
	box.id = entry->state.id;
	box.key = ps_catalogue_key(&box.id);
	box.uid_validity = entry->state.uid_validity;
	box.uid_next = entry->state.uid_reserved > 0 ? entry->state.uid_reserved : 1;
	box.attributes |= entry->state.special_uses & PS_MBOX_SPECIAL_USES;
	box.priv[BOX_ADOPTED] = (entry->state.flags & MAILBOX_ADOPTED) != 0;
	box.highest_modseq = box.vanished_since = ++w->modseq;
	memcpy(box.name, entry->name, strlen(entry->name) + 1);
	r = ps_index_box_put(w->txn, &box);
	entry->key = box.key;
	return r;
}

static int update_boxes(struct ps_catalogue_txn *w, struct listing *list)
{
	struct box_list known = {.pool = list->pool};
	int r = ps_index_boxes(w->txn, add_box, &known);

	for (size_t i = 0; i < known.count && r == 0; i++)
		r = match_box(w, list, &known.boxes[i]);
	for (size_t i = 0; i < list->count && r == 0; i++)
		if (!list->entries[i].taken)
			r = new_box(w, list, &list->entries[i]);
	return r;
}

/* ---- subscriptions --------------------------------------------------------------------------- */

/*
 * `subscriptions` in the root is Dovecot's: a name a line as the directory has it without its first dot (a tree's have none); or, below the
 * line "V<tab>2" and an empty one, with tabs between components. Lines that are no names of ours are kept.
 */
#define VERSION2 "V\t2\n\n"

static bool line_to_name(struct ps_store *store, struct ps_bytes line, bool version2, struct ps_buf *out)
{
	struct ps_buf dir = {0};
	char separator = store->tree ? '/' : '.';
	bool good;

	if (ps_bytes_caseeq_str(line, "INBOX"))
		return ps_buf_str(out, "INBOX") == 0;
	if (!store->tree)
		ps_buf_char(&dir, '.');
	for (size_t i = 0; i < line.len; i++)
		ps_buf_char(&dir, version2 && line.ptr[i] == '\t' ? separator : (char)line.ptr[i]);
	good = dir.len < NAME_SIZE && strlen(ps_buf_cstr(&dir)) == dir.len &&
	       name_of_dir(store->tree, ps_buf_cstr(&dir), out);
	ps_buf_finish(&dir);
	return good;
}

static struct ps_bytes take_line(struct ps_bytes *text)
{
	ptrdiff_t end = ps_bytes_find(*text, '\n');
	size_t len = end < 0 ? text->len : (size_t)end;
	struct ps_bytes line = ps_bytes(text->ptr, len);

	*text = ps_bytes_skip(*text, end < 0 ? len : len + 1);
	return line;
}

static bool take_version(struct ps_bytes *text)
{
	size_t len = sizeof VERSION2 - 1;

	if (text->len < len || memcmp(text->ptr, VERSION2, len) != 0)
		return false;
	*text = ps_bytes_skip(*text, len);
	return true;
}

static int read_file(struct ps_store *store, struct ps_buf *out)
{
	int r = ps_io_read_file(store->cat.root_fd, "subscriptions", 8 << 20, out);

	return r == PS_E_NOTFOUND ? 0 : r;
}

int subscriptions_read(struct ps_store *store, struct ps_buf *ret_names)
{
	struct ps_buf file = {0}, name = {0};
	struct ps_bytes text;
	bool version2;
	int r = read_file(store, &file);

	text = ps_buf_view(&file);
	version2 = take_version(&text);
	while (r == 0 && text.len > 0) {
		ps_buf_reset(&name);
		if (!line_to_name(store, take_line(&text), version2, &name) ||
		    ps_indexed_is_subscribed(ps_buf_view(ret_names), ps_buf_cstr(&name)))
			continue;
		ps_buf_str(ret_names, ps_buf_cstr(&name));
		ps_buf_char(ret_names, '\0');
	}
	ps_buf_finish(&file);
	ps_buf_finish(&name);
	return r;
}

static int put_name(struct ps_store *store, struct ps_buf *out, const char *name, bool version2)
{
	char dir[NAME_SIZE], separator = store->tree ? '/' : '.';
	int r;

	if (strcmp(name, "INBOX") == 0)
		return ps_buf_str(out, "INBOX\n");
	if ((r = dir_of_name(store->tree, name, dir)) < 0)
		return r;
	for (char *c = dir + !store->tree; *c; c++)
		ps_buf_char(out, version2 && *c == separator ? '\t' : *c);
	return ps_buf_char(out, '\n');
}

int subscriptions_format(struct ps_store *store, struct ps_bytes names, struct ps_buf *out)
{
	struct ps_buf file = {0}, name = {0};
	struct ps_bytes text;
	bool version2;
	int r = read_file(store, &file);

	text = ps_buf_view(&file);
	version2 = take_version(&text);
	if (version2)
		ps_buf_str(out, VERSION2);
	while (r == 0 && text.len > 0) {
		struct ps_bytes line = take_line(&text);

		ps_buf_reset(&name);
		if (line.len > 0 && !line_to_name(store, line, version2, &name)) {
			ps_buf_bytes(out, line);
			ps_buf_char(out, '\n');
		}
	}
	while (r == 0 && names.len > 0) {
		r = put_name(store, out, (const char *)names.ptr, version2);
		names = ps_bytes_skip(names, strlen((const char *)names.ptr) + 1);
	}
	ps_buf_finish(&file);
	ps_buf_finish(&name);
	return r < 0 ? r : out->failed ? PS_E_LIMIT : 0;
}

static int update_subscriptions(struct ps_catalogue_txn *w)
{
	struct ps_buf names = {0};
	int r = subscriptions_read(w->store, &names);

	if (r == 0)
		r = ps_indexed_subscriptions_put(w->txn, ps_buf_view(&names));
	ps_buf_finish(&names);
	return r;
}

/* ---- both ------------------------------------------------------------------------------------ */

static int sync_list(struct ps_catalogue_txn *w, struct listing *list)
{
	uint64_t root_time, subscriptions_time;
	int r;

	watch_clean(&w->store->watch);
	root_time = layout_time(w->store, true);
	subscriptions_time = settled_time(w->store->cat.root_fd, "subscriptions");
	r = list_dirs(w->store, list);
	list->fresh = root_time == 0;
	if (r == 0)
		r = update_boxes(w, list);
	if (r == 0)
		r = update_subscriptions(w);
	if (r == 0)
		r = write_reserve(w);
	if (r == 0)
		r = ps_index_number_put(w->txn, "root_time", root_time);
	if (r == 0)
		r = ps_index_number_put(w->txn, "subscriptions_time", subscriptions_time);
	return r;
}

int mailboxes_sync(struct ps_store *store, bool rebuild)
{
	struct listing list;
	struct ps_catalogue_txn w;
	int r;

	do {
		list = (struct listing){.pool = ps_pool_create("mailboxes")};
		r = ps_catalogue_txn_begin(store, &w);
		if (r == 0) {
			r = sync_list(&w, &list);
			if (r == 0)
				r = ps_catalogue_txn_commit(&w);
			else
				ps_catalogue_txn_end(&w);
		}
		if (r == PS_E_AGAIN) {
			ps_pool_destroy(list.pool);
			list = (struct listing){0};
			if ((r = ps_catalogue_grow_index(store)) == 0)
				r = PS_E_AGAIN;
		}
	} while (r == PS_E_AGAIN);
	if (r < 0 || list.fresh)
		watch_dirty(&store->watch);
	for (size_t i = 0; r == 0 && i < list.count; i++)
		if (!list.entries[i].taken)
			r = scan_mailbox(store, list.entries[i].key, rebuild);
	ps_pool_destroy(list.pool);
	return r;
}
