/* SPDX-License-Identifier: MIT */
/*
 * Makes the index say what the directories hold. All names are read into a table by their base; the index's rows are
 * walked once beside it. What both know may have other flags; what only the table knows has arrived, or is known by
 * its P= or its unique part under a name that somebody extended; what only the index knows has gone.
 *
 * readdir() may miss a file that is renamed meanwhile, so nothing counts as gone before the directories were read
 * again: until a reading during which neither directory changed misses it, or PASSES readings in a row do. `new` is read
 * before `cur`, because files move that way.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "backends/maildir/maildir_private.h"
#include "postern/log.h"

enum {
	PASSES = 20,
	BLOCK = 1 << 16
};

struct found {
	struct found *next; /* of the same hash */
	struct msg_where where;
	bool matched;
};

struct table {
	struct ps_pool *pool;
	struct found **slots;
	size_t slot_count;
	struct found **all;
	size_t count, cap;
};

struct missing {
	struct ps_row row;
	struct msg_where where;
	bool back;
};

struct scan {
	struct ps_store *store;
	struct ps_catalogue_txn w;
	struct edit *edit;
	struct table table;
	struct uid_list uids; /* read when first needed */
	bool uids_read, rebuild, incomplete;
	struct missing *missing;
	size_t missing_count, missing_cap;
	struct row_change {
		struct ps_row row;
		struct msg_where where;
	} * changes;
	size_t change_count, change_cap;
	uint64_t modseq;
	struct ps_brought_table brought;
	uint32_t letters;           /* seen in names */
	uint32_t uid_floor;         /* UIDNEXT as the index had it */
	struct missing **by_unique; /* the missing, sorted */
};

static struct msg_name parse(const struct msg_where *where)
{
	struct msg_name name;

	msg_name_parse(ps_bytes_str(where->name), &name);
	return name;
}

/* ---- the table ------------------------------------------------------------------------------- */

static size_t slot_of(const struct table *table, struct ps_bytes base)
{
	return ps_crc32c(0, base.ptr, base.len) & (table->slot_count - 1);
}

static struct found *table_find(const struct table *table, struct ps_bytes base)
{
	struct found *found = table->slots[slot_of(table, base)];

	while (found && !ps_bytes_eq(parse(&found->where).base, base))
		found = found->next;
	return found;
}

static void table_link(struct table *table, struct found *found)
{
	struct found **slot = &table->slots[slot_of(table, parse(&found->where).base)];

	found->next = *slot;
	*slot = found;
}

static void table_grow(struct table *table)
{
	free(table->slots);
	table->slot_count = table->slot_count ? table->slot_count * 4 : 1024;
	table->slots = ps_zalloc(table->slot_count * sizeof(struct found *));
	for (size_t i = 0; i < table->count; i++)
		table_link(table, table->all[i]);
}

static void table_init(struct table *table)
{
	*table = (struct table){.pool = ps_pool_create("scan")};
	table_grow(table);
}

static void table_finish(struct table *table)
{
	ps_pool_destroy(table->pool);
	free(table->slots);
}

/* A base seen twice was renamed while we read: the later name is the newer one. */
static void table_add(struct table *table, enum place place, const char *name)
{
	struct msg_where where = {.place = place};
	struct found *found;

	memcpy(where.name, name, strlen(name) + 1);
	found = table_find(table, parse(&where).base);
	if (found) {
		found->where = where;
		return;
	}
	if (table->count >= table->slot_count)
		table_grow(table);
	found = ps_pool_zalloc(table->pool, sizeof *found);
	found->where = where;
	table->all = ps_pool_grow(table->pool, table->all, table->count, &table->cap, sizeof(struct found *));
	table->all[table->count++] = found;
	table_link(table, found);
}

static int read_place(struct table *table, const struct ps_folder *folder, enum place place)
{
	struct dirent *entry;
	DIR *dir;
	int r = open_listing(folder_fd(folder, place), &dir);

	if (r < 0)
		return r;
	while ((errno = 0, entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.' && (entry->d_type == DT_REG || entry->d_type == DT_UNKNOWN))
			table_add(table, place, entry->d_name);
	if (errno != 0)
		r = ps_fail_errno("list %s", folder->dir);
	closedir(dir);
	return r;
}

static int read_both(struct table *table, const struct ps_folder *folder)
{
	int r = read_place(table, folder, PLACE_NEW);

	return r == 0 ? read_place(table, folder, PLACE_CUR) : r;
}

/* ---- what the index knows -------------------------------------------------------------------- */

static uint64_t scan_modseq(struct scan *scan)
{
	if (scan->modseq == 0)
		scan->modseq = ++scan->w.modseq;
	return scan->modseq;
}

/* Of a message that was added, changed or removed. */
static uint64_t modseq_of(struct scan *scan, uint32_t uid)
{
	uint64_t brought = ps_brought_modseq(&scan->brought, uid);

	return brought ? brought : scan_modseq(scan);
}

static uint64_t letters_to_keywords(const struct scan *scan, uint32_t letters)
{
	return letters & ps_keyword_table_known(&scan->edit->e.keywords);
}

static void note_change(struct scan *scan, const struct ps_row *row, const struct msg_where *where)
{
	scan->changes = ps_pool_grow(scan->table.pool, scan->changes, scan->change_count, &scan->change_cap,
				     sizeof *scan->changes);
	scan->changes[scan->change_count].row = *row;
	scan->changes[scan->change_count++].where = *where;
}

/* A row whose file is there: takes over its flags and place. */
static void match(struct scan *scan, const struct ps_row *old, const struct msg_where *was, struct found *found)
{
	struct msg_name name = parse(&found->where);
	struct ps_row row = *old;
	uint32_t letters;

	found->matched = true;
	row.flags = msg_name_flags(&name, &letters);
	scan->letters |= letters;
	row.keywords = (old->keywords & ~LETTERS_MASK) | letters_to_keywords(scan, letters);
	if (row.flags != old->flags || row.keywords != old->keywords || ps_brought_modseq(&scan->brought, old->uid))
		row.modseq = modseq_of(scan, old->uid);
	else if (was->place == found->where.place && strcmp(was->name, found->where.name) == 0)
		return;
	note_change(scan, &row, &found->where);
}

static int compare_row(void *arg, const struct ps_row *row, struct ps_bytes locator)
{
	struct scan *scan = arg;
	struct msg_where where;
	struct found *found;
	int r = where_decode(locator, &where);

	if (r < 0)
		return r;
	found = table_find(&scan->table, parse(&where).base);
	if (found && !found->matched) {
		match(scan, row, &where, found);
		return 0;
	}
	scan->missing = ps_pool_grow(scan->table.pool, scan->missing, scan->missing_count, &scan->missing_cap,
				     sizeof *scan->missing);
	scan->missing[scan->missing_count++] = (struct missing){.row = *row, .where = where};
	return 0;
}

/* ---- what seems to be missing ---------------------------------------------------------------- */

static bool find_missing(struct scan *scan, const struct table *again)
{
	bool all = true;

	for (size_t i = 0; i < scan->missing_count; i++) {
		struct missing *missing = &scan->missing[i];
		struct found *found = missing->back ? NULL : table_find(again, parse(&missing->where).base);

		if (found) {
			missing->back = true;
			table_add(&scan->table, found->where.place, found->where.name);
			match(scan, &missing->row, &missing->where,
			      table_find(&scan->table, parse(&found->where).base));
		}
		all = all && missing->back;
	}
	return all;
}

static void dir_times(const struct ps_folder *folder, struct timespec times[2])
{
	struct stat st;

	for (int i = 0; i < 2; i++) {
		times[i] = (struct timespec){0};
		if (fstat(i ? folder->new_fd : folder->cur_fd, &st) == 0)
			times[i] = st.st_mtim;
	}
}

static int confirm_missing(struct scan *scan)
{
	const struct ps_folder *folder = scan->edit->folder;

	for (int pass = 1; pass < PASSES && scan->missing_count > 0; pass++) {
		struct timespec before[2], after[2];
		struct table again;
		bool all;
		int r;

		table_init(&again);
		dir_times(folder, before);
		r = read_both(&again, folder);
		dir_times(folder, after);
		all = r == 0 && find_missing(scan, &again);
		/* What is only in this table has arrived since: it is found by the next scan. */
		scan->incomplete = scan->incomplete || again.count > scan->table.count;
		table_finish(&again);
		if (r < 0)
			return r;
		if (all || memcmp(before, after, sizeof before) == 0)
			break;
	}
	return 0;
}

/* ---- what is new ------------------------------------------------------------------------------ */

static int compare_bytes(struct ps_bytes a, struct ps_bytes b)
{
	int order = memcmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);

	return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int by_unique(const void *a, const void *b)
{
	return compare_bytes(parse(&(*(struct missing *const *)a)->where).unique,
			     parse(&(*(struct missing *const *)b)->where).unique);
}

static void sort_missing(struct scan *scan)
{
	scan->by_unique = ps_pool_alloc(scan->table.pool, (scan->missing_count + 1) * sizeof(struct missing *));
	for (size_t i = 0; i < scan->missing_count; i++)
		scan->by_unique[i] = &scan->missing[i];
	if (scan->missing_count > 1)
		qsort(scan->by_unique, scan->missing_count, sizeof(struct missing *), by_unique);
}

static struct missing *missing_by_unique(struct scan *scan, struct ps_bytes unique)
{
	size_t low = 0, high = scan->missing_count;

	while (low < high) {
		size_t mid = (low + high) / 2;
		int order = compare_bytes(parse(&scan->by_unique[mid]->where).unique, unique);

		if (order == 0)
			return scan->by_unique[mid];
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

/* They were found in the order of their UIDs. */
static struct missing *missing_by_uid(struct scan *scan, uint32_t uid)
{
	size_t low = 0, high = scan->missing_count;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (scan->missing[mid].row.uid == uid)
			return &scan->missing[mid];
		if (scan->missing[mid].row.uid < uid)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

/* Somebody extended the name: isync adds U=, Dovecot S= and W=. */
static struct missing *known_as_other(struct scan *scan, const struct msg_name *name)
{
	struct missing *missing = NULL;

	if (scan->missing_count == 0)
		return NULL;
	if (name->has_uid && name->uid_validity == scan->edit->e.box.uid_validity)
		missing = missing_by_uid(scan, name->uid);
	if (!missing)
		missing = missing_by_unique(scan, name->unique);
	return missing && !missing->back ? missing : NULL;
}

static int need_uids(struct scan *scan)
{
	int r = 0;

	if (!scan->uids_read) {
		r = uidlist_read(scan->edit->folder->dir_fd, &scan->uids);
		scan->uids_read = r == 0;
	}
	return r;
}

static bool uid_is_free(struct scan *scan, uint32_t uid)
{
	struct ps_bytes locator;
	struct ps_row row;

	return uid > 0 && uid < UINT32_MAX &&
	       ps_index_row(scan->w.txn, scan->edit->e.box.key, uid, &row, &locator) == PS_E_NOTFOUND;
}

/*
 * P= is believed in the mailbox it names, for a UID that was reserved, once. With an index that knows the mailbox only
 * above what it gave out: such a file is from a process that died before it told anybody; below it, the message of that
 * UID was expunged, and this is a copy that somebody put back.
 */
static bool believes_name(struct scan *scan, const struct msg_name *name)
{
	return name->has_uid && name->has_wire && name->uid_validity == scan->edit->e.box.uid_validity &&
	       name->uid < scan->edit->state.uid_reserved && (scan->rebuild || name->uid >= scan->uid_floor) &&
	       uid_is_free(scan, name->uid);
}

/* A file in `new` with other names, not ours, may be changed through them: take its octets, not the file. */
static int copy_octets(struct scan *scan, int from, const struct msg_where *where)
{
	PS_CLEANUP(ps_closep) int to = -1;
	PS_CLEANUP(ps_freep) uint8_t *block = ps_malloc(BLOCK);
	int dirfd = folder_fd(scan->edit->folder, where->place), r = 0;
	char tmp[NAME_SIZE];
	off_t at = 0;
	ssize_t n;

	unique_name(scan->store->host, ps_catalogue_now(), tmp);
	to = ps_io.open(scan->store->tmp_fd, tmp, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (to < 0)
		return ps_fail_errno("create %s", tmp);
	while (r == 0 && (n = ps_io.pread(from, block, BLOCK, at)) != 0) {
		r = n < 0 ? ps_fail_errno("read %s", where->name) : ps_io_write_all(to, ps_bytes(block, (size_t)n));
		at += n;
	}
	if (r == 0 && ps_io.fdatasync(to) < 0)
		r = ps_fail_errno("sync %s", tmp);
	if (r == 0 && ps_io.rename(scan->store->tmp_fd, tmp, dirfd, where->name, 0) < 0)
		r = ps_fail_errno("rename %s", tmp);
	if (r < 0)
		ps_io.unlink(scan->store->tmp_fd, tmp, 0);
	return r < 0 ? r : ps_io_sync_dir(dirfd, where->name);
}

/* Opens a file that arrived; 1: it is not there any more, or is no message. */
static int open_found(struct scan *scan, const struct msg_where *where, int *ret_fd, struct stat *ret_st)
{
	int fd = ps_io.open(folder_fd(scan->edit->folder, where->place), where->name, O_RDONLY | O_NONBLOCK, 0);
	int r;

	if (fd < 0) {
		scan->incomplete = scan->incomplete || errno == ENOENT;
		if (errno == ENOENT || errno == ELOOP || errno == EACCES)
			return 1;
		return ps_fail_errno("open %s", where->name);
	}
	if (fstat(fd, ret_st) < 0 || !S_ISREG(ret_st->st_mode)) {
		close(fd);
		return 1;
	}
	if (ret_st->st_nlink > 1 && ret_st->st_uid != geteuid()) {
		r = copy_octets(scan, fd, where);
		close(fd);
		return r < 0 ? r : open_found(scan, where, ret_fd, ret_st);
	}
	*ret_fd = fd;
	return 0;
}

static int put_new(struct scan *scan, struct ps_row *row, const struct msg_where *where, struct ps_bytes cache)
{
	struct edit *edit = scan->edit;
	struct msg_name name = parse(where);
	uint8_t locator[NAME_SIZE + 1];
	uint32_t letters;
	int r;

	row->flags = msg_name_flags(&name, &letters);
	scan->letters |= letters;
	row->keywords |= letters_to_keywords(scan, letters);
	row->email_id = msg_name_email_id(&name);
	row->modseq = modseq_of(scan, row->uid);
	if ((r = ps_index_row_put(scan->w.txn, &edit->e.box, row, where_encode(where, locator))) < 0)
		return r;
	if (row->uid >= edit->e.box.uid_next)
		edit->e.box.uid_next = row->uid + 1;
	return cache.len > 0 ? ps_index_cache_put(scan->w.txn, edit->e.box.key, row->uid, cache) : 0;
}

/* Ours: the name says it all; the file is not opened. */
static int add_by_name(struct scan *scan, const struct msg_where *where, const struct msg_name *name)
{
	struct uid_record *rec;
	struct ps_row row = {.uid = name->uid, .size = name->wire, .save_date = name->time};
	int r = need_uids(scan);

	if (r < 0)
		return r;
	row.internal_date = name->has_date ? name->date : name->time;
	rec = uidlist_find(&scan->uids, name->base);
	row.keywords = rec && rec->has_keywords ? rec->keywords & ps_keyword_table_known(&scan->edit->e.keywords) : 0;
	if (name->has_token && name->time > ps_catalogue_now() - PS_TOKEN_SECONDS &&
	    (r = token_put(&scan->w, &name->token, name->time, true)) < 0)
		return r;
	return put_new(scan, &row, where, ps_bytes(NULL, 0));
}

/* Known to the UID list of a mailbox whose index is gone. */
static int add_by_record(struct scan *scan, const struct msg_where *where, const struct uid_record *rec)
{
	struct ps_row row = {.uid = rec->uid, .size = rec->wire, .save_date = rec->save_date};
	struct stat st;

	if (rec->has_keywords)
		row.keywords = rec->keywords & ps_keyword_table_known(&scan->edit->e.keywords);
	if (fstatat(folder_fd(scan->edit->folder, where->place), where->name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		scan->incomplete = true;
		return 0;
	}
	row.internal_date = st.st_mtim.tv_sec;
	return put_new(scan, &row, where, ps_bytes(NULL, 0));
}

/* Delivered by others: read it once, give it a UID and note that. `rec`: what the list knows already, or NULL. */
static int add_arrived(struct scan *scan, const struct msg_where *where, const struct msg_name *name,
		       const struct uid_record *rec)
{
	PS_CLEANUP(ps_closep) int fd = -1;
	struct edit *edit = scan->edit;
	struct ps_derive *derive;
	struct ps_bytes cache;
	struct ps_row row = {.uid = rec && rec->has_uid ? rec->uid : edit->e.box.uid_next};
	struct stat st;
	int r = open_found(scan, where, &fd, &st);

	if (r != 0)
		return r < 0 ? r : 0;
	if (row.uid == UINT32_MAX)
		return ps_fail(PS_E_LIMIT, "no UIDs are left in %s", edit->e.box.name);
	if ((r = ps_derive_fd(fd, &derive, &row.size, &cache)) < 0)
		return r;
	row.internal_date = st.st_mtim.tv_sec;
	row.save_date = name->time > 0 ? name->time : st.st_mtim.tv_sec;
	if (rec && rec->has_keywords)
		row.keywords = rec->keywords & ps_keyword_table_known(&edit->e.keywords);
	uidlist_line_uid(&edit->uid_lines, name->base, row.uid, row.size, row.save_date);
	r = put_new(scan, &row, where, cache);
	ps_derive_destroy(derive);
	return r;
}

static int add_found(struct scan *scan, struct found *found)
{
	struct msg_name name = parse(&found->where);
	struct uid_record *rec = NULL;
	int r;

	if (believes_name(scan, &name))
		return add_by_name(scan, &found->where, &name);
	if (scan->rebuild) {
		if ((r = need_uids(scan)) < 0)
			return r;
		rec = uidlist_find(&scan->uids, name.base);
	}
	if (rec && rec->has_uid && (rec->uid >= scan->edit->state.uid_reserved || !uid_is_free(scan, rec->uid)))
		rec = NULL;
	/* A size of 0: adopted, and not read yet. */
	if (rec && rec->has_uid && rec->wire > 0)
		return add_by_record(scan, &found->where, rec);
	return add_arrived(scan, &found->where, &name, rec);
}

/* UIDs are given in the order of arrival, as far as names tell it. Those that bring a UID come first. */
static int by_arrival(const void *a, const void *b)
{
	const struct found *x = *(struct found *const *)a, *y = *(struct found *const *)b;
	int64_t at = parse(&x->where).time, bt = parse(&y->where).time;

	if (at != bt)
		return at < bt ? -1 : 1;
	return strcmp(x->where.name, y->where.name);
}

static int add_new(struct scan *scan)
{
	struct found **fresh = ps_pool_alloc(scan->table.pool, scan->table.count * sizeof(struct found *));
	size_t count = 0;
	int r = 0;

	sort_missing(scan);
	for (size_t i = 0; i < scan->table.count; i++) {
		struct found *found = scan->table.all[i];
		struct msg_name name = parse(&found->where);
		struct missing *missing = found->matched ? NULL : known_as_other(scan, &name);

		if (missing) {
			missing->back = true;
			match(scan, &missing->row, &missing->where, found);
			if (!name.has_uid) /* its UID was noted under the old base */
				uidlist_line_uid(&scan->edit->uid_lines, name.base, missing->row.uid, missing->row.size,
						 missing->row.save_date);
		} else if (!found->matched) {
			fresh[count++] = found;
		}
	}
	if (count > 1)
		qsort(fresh, count, sizeof(struct found *), by_arrival);
	for (int believed = 1; believed >= 0; believed--) {
		for (size_t i = 0; i < count && r == 0; i++) {
			struct msg_name name = parse(&fresh[i]->where);

			if (fresh[i]->matched || (believed && !believes_name(scan, &name)))
				continue;
			fresh[i]->matched = true;
			r = add_found(scan, fresh[i]);
		}
	}
	return r;
}

/* ---- all of it -------------------------------------------------------------------------------- */

static int apply(struct scan *scan)
{
	struct ps_index_txn *txn = scan->w.txn;
	struct ps_index_box *box = &scan->edit->e.box;
	uint8_t locator[NAME_SIZE + 1];
	bool gone = false;
	int r = 0;

	for (size_t i = 0; i < scan->change_count && r == 0; i++)
		r = ps_index_row_put(txn, box, &scan->changes[i].row, where_encode(&scan->changes[i].where, locator));
	for (size_t i = 0; i < scan->missing_count && r == 0; i++) {
		if (scan->missing[i].back)
			continue;
		r = ps_index_row_vanish(txn, box, scan->missing[i].row.uid, modseq_of(scan, scan->missing[i].row.uid));
		gone = true;
	}
	if (r == 0 && gone && (r = tokens_to_file(&scan->w)) < 0 && ps_no_room(r))
		r = 0; /* the index still knows */
	return r;
}

static bool same_keywords(const struct ps_keyword_table *a, const struct ps_keyword_table *b)
{
	for (int bit = 0; bit < PS_KEYWORDS_MAX; bit++)
		if (strcmp(a->names[bit] ? a->names[bit] : "", b->names[bit] ? b->names[bit] : "") != 0)
			return false;
	return true;
}

/* What the file says counts: somebody may have died between it and the index. What it lost the index still knows. */
static int scan_keywords(struct scan *scan)
{
	struct ps_keyword_table *known = &scan->edit->e.keywords, table;
	int r = keywords_read(scan->edit->folder->dir_fd, &table);

	if (r == PS_E_NOTFOUND || r == PS_E_CORRUPT) {
		known->changed = ps_keyword_table_known(known) != 0;
		if (known->changed || r == PS_E_CORRUPT)
			ps_log(PS_LOG_WARNING, "maildir_keywords_lost", "mailbox", scan->edit->e.box.name, NULL);
		return 0;
	}
	if (r < 0)
		return r;
	if (same_keywords(known, &table)) {
		ps_keyword_table_finish(&table);
		return 0;
	}
	ps_keyword_table_finish(known);
	*known = table;
	return ps_keyword_table_save(scan->w.txn, scan->edit->e.box.key, known);
}

static int scan_steps(struct scan *scan, uint64_t times[2])
{
	struct ps_range all = {1, UINT32_MAX};
	struct ps_folder *folder = scan->edit->folder;
	int r;

	scan->uid_floor = scan->edit->e.box.uid_next;
	ps_brought_find(ps_buf_view(&scan->store->cat.brought), &scan->edit->e.box, scan->table.pool, &scan->w.modseq,
			&scan->brought);
	watch_attach(folder);
	watch_clean(&folder->watch);
	if ((r = folder_times(folder, times)) < 0 || (r = scan_keywords(scan)) < 0 ||
	    (r = read_both(&scan->table, folder)) < 0)
		return r;
	if ((r = ps_index_rows(scan->w.txn, scan->edit->e.box.key, all, compare_row, scan)) < 0 ||
	    (r = confirm_missing(scan)) < 0 || (r = add_new(scan)) < 0)
		return r;
	return apply(scan);
}

static void scan_finish(struct scan *scan)
{
	table_finish(&scan->table);
	if (scan->uids_read)
		uidlist_finish(&scan->uids);
}

/* What a list that lost its index has to say, in few lines. */
static int shorten_uidlist(struct scan *scan)
{
	struct ps_buf lines = {0};
	int r = 0;

	if (!scan->uids_read || scan->uids.lines < 2 * scan->uids.count + 256)
		return 0;
	for (size_t i = 0; i < scan->uids.slot_count; i++) {
		for (struct uid_record *rec = scan->uids.slots[i]; rec; rec = rec->next) {
			struct ps_bytes base = ps_bytes(rec->base, rec->base_len);

			if (!table_find(&scan->table, base))
				continue;
			if (rec->has_uid)
				uidlist_line_uid(&lines, base, rec->uid, rec->wire, rec->save_date);
			if (rec->has_keywords)
				uidlist_line_keywords(&lines, base, rec->keywords);
		}
	}
	r = uidlist_replace(scan->edit->folder->dir_fd, ps_buf_view(&lines));
	ps_buf_finish(&lines);
	return r;
}

static int scan_once(struct scan *scan, uint64_t key)
{
	uint64_t times[2];
	int r = write_edit(&scan->w, key, &scan->edit);

	if (r == 0) {
		scan->rebuild = scan->rebuild || scan->edit->e.box.priv[BOX_ADOPTED];
		r = scan_steps(scan, times);
	}
	if (r == 0)
		r = shorten_uidlist(scan);
	if (r == 0)
		r = write_reserve(&scan->w);
	if (r < 0)
		return r;
	scan->edit->e.box.priv[BOX_TIME_CUR] = scan->incomplete ? 0 : times[0];
	scan->edit->e.box.priv[BOX_TIME_NEW] = scan->incomplete ? 0 : times[1];
	scan->edit->e.box.priv[BOX_LETTERS] |= scan->letters & ~ps_keyword_table_known(&scan->edit->e.keywords);
	scan->edit->e.box.priv[BOX_ADOPTED] = scan->edit->e.box.priv[BOX_ADOPTED] && scan->incomplete;
	if (scan->rebuild)
		scan->edit->e.box.vanished_since = scan->edit->e.box.highest_modseq;
	if (scan->incomplete)
		watch_dirty(&scan->edit->folder->watch);
	return 0;
}

int scan_mailbox(struct ps_store *store, uint64_t key, bool rebuild)
{
	struct ps_index *index;
	int r;

	do {
		struct scan scan = {.store = store, .rebuild = rebuild};

		if ((r = ps_catalogue_txn_begin(store, &scan.w)) < 0)
			return r;
		index = ps_index_ref(scan.w.index);
		table_init(&scan.table);
		if ((r = scan_once(&scan, key)) == 0)
			r = ps_catalogue_txn_put(&scan.w);
		if (r < 0 && scan.edit)
			watch_dirty(&scan.edit->folder->watch);
		scan_finish(&scan);
		ps_catalogue_txn_end(&scan.w);
		if (r == PS_E_AGAIN && ps_index_grow(index) < 0)
			r = PS_E_STORAGE;
		ps_index_close(index);
	} while (r == PS_E_AGAIN);
	return r;
}

struct keys {
	struct ps_pool *pool;
	uint64_t *keys;
	size_t count, cap;
};

static int add_key(void *arg, const struct ps_index_box *box)
{
	struct keys *keys = arg;

	keys->keys = ps_pool_grow(keys->pool, keys->keys, keys->count, &keys->cap, sizeof *keys->keys);
	keys->keys[keys->count++] = box->key;
	return 0;
}

int scan_all(struct ps_store *store)
{
	struct keys keys = {.pool = ps_pool_create("scan")};
	struct ps_index *index = ps_catalogue_index(store);
	struct ps_index_txn *txn;
	int r = ps_index_read(index, &txn);

	if (r == 0) {
		r = ps_index_boxes(txn, add_key, &keys);
		ps_index_end(txn);
	}
	for (size_t i = 0; i < keys.count && r == 0; i++)
		r = scan_mailbox(store, keys.keys[i], false);
	ps_index_close(index);
	ps_pool_destroy(keys.pool);
	return r;
}
