/* SPDX-License-Identifier: MIT */
/*
 * Changes of flags of many messages are renames, of which a thousand take longer than all else a server does with them. So they are
 * written to postern-control/later and synced, as steps (intent.c), and that is when they have happened; the index gets the
 * new flags beside the names that the files still have; the names follow when nobody waits: in settle(), some seconds later, and before
 * whoever takes the lock does anything else to files or looks at them. What comes meanwhile of the same kind is appended, and of
 * a message's changes only the last is made: flags that are set and taken back meanwhile cost no rename.
 *
 * The file is a row of records, each with its length and checksum: one that was cut short was never acknowledged. It is emptied when the
 * names are durable and the index knows them. Whoever finds it after a crash does the renames, before anything is read from names.
 *
 * What other programs did to a file meanwhile is kept: each step says under which name the file was known, so theirs is the
 * difference between that name and the present one, and ours is the step (name_after()). A file that is gone is gone.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "backends/maildir/maildir_private.h"
#include "postern/log.h"

enum {
	FILE_MAX = 1 << 24 /* 100,000 names or more; with more than that, who changes them does it at once */
};

struct head {
	uint32_t crc;
	uint32_t len;
};

/* The data of a step. */
struct mark {
	uint64_t key; /* of the mailbox */
	uint32_t uid;
	uint32_t spare;
};

static struct mark mark_of(const struct step *step)
{
	struct mark mark = {0};

	if (step->data.len == sizeof mark)
		memcpy(&mark, step->data.ptr, sizeof mark);
	return mark;
}

void later_mark(const struct steps *steps, struct step *step, uint64_t key, uint32_t uid)
{
	struct mark mark = {.key = key, .uid = uid};

	step->data = ps_bytes(ps_pool_memdup(steps->pool, &mark, sizeof mark), sizeof mark);
}

/* Within cur and new of mailboxes, of messages that are marked. */
static bool are_ours(const struct steps *steps)
{
	for (size_t i = 0; i < steps->count; i++) {
		const struct step *step = &steps->steps[i];

		if (step->kind != STEP_RENAME || step->data.len != sizeof(struct mark) ||
		    !steps_has_messages(steps, step->from_dir) || !steps_has_messages(steps, step->to_dir))
			return false;
	}
	return true;
}

bool later_suits(const struct steps *steps)
{
	return steps->count > steps->store->rename_at_once && are_ours(steps);
}

/* ---- the file ------------------------------------------------------------------------------------ */

static int open_file(const struct ps_store *store, int flags)
{
	return ps_io.open(store->cat.control_fd, LATER_FILE, O_RDWR | flags, 0600);
}

static off_t size_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 ? st.st_size : -1;
}

bool later_is_long(struct ps_store *store)
{
	struct stat st;

	return store->cat.left &&
	       (fstatat(store->cat.control_fd, LATER_FILE, &st, AT_SYMLINK_NOFOLLOW) < 0 || st.st_size > FILE_MAX / 2);
}

static int format(const struct steps *steps, struct ps_buf *out)
{
	struct head head = {0};

	ps_buf_append(out, &head, sizeof head);
	steps_put(out, steps);
	if (out->failed || out->len > FILE_MAX)
		return ps_fail(PS_E_LIMIT, "a batch of %zu changes of flags", steps->count);
	head.len = (uint32_t)(out->len - sizeof head);
	head.crc = ps_crc32c(0, out->ptr + sizeof head, head.len);
	memcpy(out->ptr, &head, sizeof head);
	return 0;
}

/* Behind what the file has. What is left of a record that failed would hide those behind it. */
static int append(struct ps_store *store, int fd, struct ps_bytes record, bool relaxed)
{
	off_t at = store->cat.left ? size_of(fd) : 0;
	int r = at < 0 ? ps_fail_errno("stat the file of flags") : 0;

	if (r == 0)
		r = ps_io_pwrite_all(fd, record, at);
	if (r == 0 && !relaxed && ps_io.fdatasync(fd) < 0)
		r = ps_fail_errno("sync the file of flags");
	if (r == 0 && !relaxed && !store->cat.left)
		r = ps_io_sync_dir(store->cat.control_fd, "the file of flags");
	if (r < 0 && at >= 0 && (ps_io.truncate(fd, at) < 0 || ps_io.fdatasync(fd) < 0))
		store->cat.pending = true;
	return r;
}

int later_add(struct steps *steps)
{
	struct ps_store *store = steps->store;
	PS_CLEANUP(ps_closep) int fd = open_file(store, O_CREAT);
	PS_CLEANUP(ps_buf_finish) struct ps_buf record = {0};
	int r;

	if (fd < 0)
		return ps_fail_errno("open the file of flags");
	if ((r = format(steps, &record)) < 0 || (r = ps_catalogue_unsettled(store)) < 0 ||
	    (r = intent_retire(steps)) < 0)
		return r;
	return append(store, fd, ps_buf_view(&record), steps->relaxed);
}

int later_recovered(struct ps_store *store)
{
	PS_CLEANUP(ps_closep) int fd = open_file(store, 0);

	if (fd < 0)
		return errno == ENOENT ? 0 : ps_fail_errno("open the file of flags");
	if (size_of(fd) > 0 && (ps_io.truncate(fd, 0) < 0 || ps_io.fdatasync(fd) < 0))
		return ps_fail_errno("empty the file of flags");
	return 0;
}

/* ---- reading it ---------------------------------------------------------------------------------- */

static bool take_record(struct ps_bytes *text, struct steps *steps)
{
	struct head head;

	if (text->len < sizeof head)
		return false;
	memcpy(&head, text->ptr, sizeof head);
	*text = ps_bytes_skip(*text, sizeof head);
	if (head.len == 0 || head.len > text->len || head.crc != ps_crc32c(0, text->ptr, head.len))
		return false;
	if (!steps_take(ps_bytes(text->ptr, head.len), steps) || !are_ours(steps))
		return false;
	*text = ps_bytes_skip(*text, head.len);
	return true;
}

/* By message, then in the order in which they were written. */
static int by_message(const void *a, const void *b)
{
	const struct step *const *x = a, *const *y = b;
	struct mark p = mark_of(*x), q = mark_of(*y);

	if (p.key != q.key)
		return p.key < q.key ? -1 : 1;
	if (p.uid != q.uid)
		return p.uid < q.uid ? -1 : 1;
	return (*x > *y) - (*x < *y);
}

static bool changes_nothing(const struct step *step)
{
	return step->kind != STEP_RENAME || (step->from_dir == step->to_dir && strcmp(step->from, step->to) == 0);
}

/* Of each message the last one is left, where it changes the name. */
static void drop_superseded(struct steps *steps)
{
	struct step **sorted = ps_pool_alloc(steps->pool, (steps->count + 1) * sizeof(struct step *));
	size_t kept = 0;

	for (size_t i = 0; i < steps->count; i++)
		sorted[i] = &steps->steps[i];
	if (steps->count > 1)
		qsort(sorted, steps->count, sizeof(struct step *), by_message);
	for (size_t i = 0; i + 1 < steps->count; i++) {
		struct mark p = mark_of(sorted[i]), q = mark_of(sorted[i + 1]);

		if (p.key == q.key && p.uid == q.uid)
			sorted[i]->kind = STEP_BROUGHT; /* nothing */
	}
	for (size_t i = 0; i < steps->count; i++)
		if (!changes_nothing(&steps->steps[i]))
			steps->steps[kept++] = steps->steps[i];
	steps->count = kept;
}

/* 1: there was something in the file. What comes behind a record that is none was never acknowledged. */
static int load(struct ps_store *store, struct steps *steps)
{
	size_t whole = 0;
	PS_CLEANUP(ps_buf_finish) struct ps_buf text = {0};
	struct ps_bytes rest;
	int r = ps_io_read_file(store->cat.control_fd, LATER_FILE, 2 * (size_t)FILE_MAX, &text);

	if (r < 0)
		return r == PS_E_NOTFOUND ? 0 : r;
	rest = ps_buf_view(&text);
	while (take_record(&rest, steps))
		whole = steps->count;
	steps->count = whole;
	drop_superseded(steps);
	return text.len > 0;
}

/* ---- mailboxes that others moved -------------------------------------------------------------------- */

struct search {
	struct ps_store *store;
	uint64_t key;
	char dir[NAME_SIZE];
};

static int has_key(void *arg, const char *dir)
{
	struct search *search = arg;
	struct mailbox_state state;
	PS_CLEANUP(ps_closep) int fd = -1;

	if (ps_io_open_dir(search->store->cat.root_fd, dir, &fd) < 0 ||
	    ps_state_read(fd, MAILBOX_STATE, &state, sizeof state) < 0 || ps_catalogue_key(&state.id) != search->key)
		return 0;
	snprintf(search->dir, sizeof search->dir, "%s", dir);
	return 1;
}

/* `path` is that of the mailbox's cur or new: where the mailbox lies by now. */
static const char *find_path(struct steps *steps, const char *path, uint64_t key)
{
	struct search search = {.store = steps->store, .key = key};
	size_t len = strlen(path);
	char *dir = ps_pool_strdup(steps->pool, len > 4 ? path : "./");

	if (len < 3)
		return path;
	dir[len > 4 ? len - 4 : 1] = '\0';
	if (has_key(&search, dir) || layout_walk(steps->store, has_key, &search) != 1)
		return path;
	if (strcmp(search.dir, ".") == 0)
		return ps_pool_strdup(steps->pool, path + len - 3);
	return ps_pool_printf(steps->pool, "%s/%s", search.dir, path + len - 3);
}

/* The files of the mailboxes that the steps are about, and what becomes of them. */
struct box {
	uint64_t key;
	struct ps_folder *folder; /* NULL: the index does not know it, or it is not there */
	bool elsewhere;           /* others had been there */
};

struct names {
	struct steps steps;
	struct box *boxes;
	size_t box_count, box_cap;
	bool *plain; /* of the steps: done as it was written */
};

static struct box *box_of(struct names *names, uint64_t key)
{
	for (size_t i = 0; i < names->box_count; i++)
		if (names->boxes[i].key == key)
			return &names->boxes[i];
	names->boxes =
		ps_pool_grow(names->steps.pool, names->boxes, names->box_count, &names->box_cap, sizeof *names->boxes);
	names->boxes[names->box_count] = (struct box){.key = key};
	return &names->boxes[names->box_count++];
}

static void meet_dir(struct names *names, uint32_t n, struct box *box)
{
	struct step_dir *dir = &names->steps.dirs[n];

	if (dir->seen)
		return;
	dir->seen = true;
	dir->path = find_path(&names->steps, dir->path, box->key);
	dir->folder = box->folder;
	dir->watch = box->folder ? &box->folder->watch : NULL;
	dir->place = strcmp(dir->path + strlen(dir->path) - 3, "new") == 0 ? PLACE_NEW : PLACE_CUR;
}

/* As load(). `indexed`: the index is there to ask. */
static int names_init(struct names *names, struct ps_store *store, bool indexed)
{
	struct ps_index_box found;
	size_t before = 0;
	int r;

	*names = (struct names){0};
	steps_init(&names->steps, store, ps_pool_create("later"));
	names->steps.recovering = true;
	if ((r = load(store, &names->steps)) < 0)
		return r;
	names->plain = ps_pool_zalloc(names->steps.pool, names->steps.count + 1);
	for (size_t i = 0; i < names->steps.count; i++) {
		const struct step *step = &names->steps.steps[i];
		struct box *box = box_of(names, mark_of(step).key);

		if (names->box_count > before && indexed && ps_catalogue_box(store, box->key, NULL, &found) == 0 &&
		    folder_get(store, &found, &box->folder) < 0)
			box->folder = NULL;
		before = names->box_count;
		meet_dir(names, step->from_dir, box);
		meet_dir(names, step->to_dir, box);
	}
	return r;
}

static void names_finish(struct names *names)
{
	steps_finish(&names->steps);
	for (size_t i = 0; i < names->box_count; i++)
		folder_put(names->boxes[i].folder);
	ps_pool_destroy(names->steps.pool);
}

/* ---- doing it --------------------------------------------------------------------------------------- */

static int rename_all(struct names *names)
{
	int r = 0;

	for (size_t i = 0; i < names->steps.count && r == 0; i++) {
		const struct step *step = &names->steps.steps[i];

		r = steps_redo_one(&names->steps, step);
		names->plain[i] = r == 0 && !names->steps.elsewhere;
		if (names->steps.elsewhere)
			box_of(names, mark_of(step).key)->elsewhere = true;
	}
	if (r == 0)
		r = steps_sync(&names->steps);
	for (size_t i = 0; i < names->box_count; i++)
		if (names->boxes[i].folder)
			watch_settle(&names->boxes[i].folder->watch);
	return r;
}

static int put_row(struct ps_catalogue_txn *w, const struct step *step)
{
	struct mark mark = mark_of(step);
	struct msg_where where;
	struct ps_bytes locator;
	struct edit *edit;
	struct ps_row row;
	uint8_t octets[NAME_SIZE + 1];
	int r = write_edit(w, mark.key, &edit);

	if (r == 0)
		r = ps_index_row(w->txn, mark.key, mark.uid, &row, &locator);
	if (r < 0)
		return r == PS_E_GONE || r == PS_E_NOTFOUND ? 0 : r;
	if (where_decode(locator, &where) < 0 || strcmp(where.name, step->from) != 0)
		return 0;
	where.place = PLACE_CUR;
	snprintf(where.name, sizeof where.name, "%s", step->to);
	return ps_index_row_put(w->txn, &edit->e.box, &row, where_encode(&where, octets));
}

static int put_rows(struct names *names)
{
	struct ps_catalogue_txn w;
	int r = ps_catalogue_txn_begin(names->steps.store, &w);

	if (r < 0)
		return r;
	for (size_t i = 0; i < names->steps.count && r == 0; i++)
		if (names->plain[i])
			r = put_row(&w, &names->steps.steps[i]);
	if (r == 0)
		return ps_catalogue_txn_commit(&w);
	ps_catalogue_txn_end(&w);
	return r;
}

/* Tells the index: of what went as it was written, the name; the rest is looked for. */
static int tell_index(struct names *names)
{
	struct ps_store *store = names->steps.store;
	int r = put_rows(names);

	while (r == PS_E_AGAIN && ps_catalogue_grow_index(store) == 0)
		r = put_rows(names);
	for (size_t i = 0; i < names->box_count && r == 0; i++)
		if (names->boxes[i].elsewhere && (r = scan_mailbox(store, names->boxes[i].key, false)) == PS_E_GONE)
			r = 0;
	return r;
}

int later_settle(struct ps_store *store)
{
	struct names names;
	int r = names_init(&names, store, true);

	if (r >= 0)
		r = rename_all(&names);
	if (r == 0)
		r = tell_index(&names);
	names_finish(&names);
	return r == 0 ? later_recovered(store) : r;
}

int later_recover(struct ps_store *store)
{
	struct names names;
	int any = names_init(&names, store, false), r = any < 0 ? any : rename_all(&names);

	if (r == 0 && any)
		ps_log(PS_LOG_INFO, "maildir_names_recovered", "user", store->cat.user, "names",
		       ps_num((long long)names.steps.count), NULL);
	names_finish(&names);
	return r < 0 ? r : any;
}
