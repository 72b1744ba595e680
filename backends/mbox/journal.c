/* SPDX-License-Identifier: MIT */
/*
 * Changes of files. Before any is made, CONTROL_DIR/journal says how all are undone, and is synced; when all are made and synced, it
 * says DONE, and is synced: that is the moment from which they are there. A change that fails half-way, and one whose
 * process died, is undone the same way, unless the index has it: it may have been read there. Nothing is undone in a file that is not what the journal speaks of: somebody else wrote it
 * since, and then a message half-written stays, rather than to take away what is theirs.
 *
 * The journal's file has its room from the beginning, so that expunging works on a full disk.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "backends/mbox/mbox_private.h"
#include "postern/log.h"

enum {
	ARMED = 0x324d5241,
	DONE = 0x454e4f44, /* but the index may not know yet what the batch brought for it */
	EMPTY = 0,
	JOURNAL_ROOM = 1 << 16,
	JOURNAL_MAX = 1 << 28,
	DISK_BLOCK = 512 /* what a disk writes whole */
};

struct journal_head {
	uint32_t state;
	uint32_t crc;
	uint64_t len;
};

int journal_open(struct ps_store *store)
{
	PS_CLEANUP(ps_freep) uint8_t *room = NULL;
	struct stat st;

	store->journal_fd = ps_io.open(store->cat.control_fd, "journal", O_RDWR | O_CREAT, 0600);
	if (store->journal_fd < 0)
		return ps_fail_errno("open the journal");
	if (fstat(store->journal_fd, &st) < 0)
		return ps_fail_errno("stat the journal");
	if (st.st_size >= JOURNAL_ROOM)
		return 0;
	/* Behind what is there: that may be a journal. */
	room = ps_zalloc(JOURNAL_ROOM);
	return ps_io_pwrite_all(store->journal_fd, ps_bytes(room, (size_t)(JOURNAL_ROOM - st.st_size)), st.st_size);
}

struct step *steps_add(struct write *w, enum step_kind kind, const char *path, const char *to)
{
	struct step *step;

	w->steps = ps_pool_grow(w->t.pool, w->steps, w->step_count, &w->step_cap, sizeof *step);
	step = &w->steps[w->step_count++];
	*step = (struct step){
		.kind = kind, .path = ps_pool_strdup(w->t.pool, path), .to = ps_pool_strdup(w->t.pool, to), .fd = -1};
	return step;
}

/* ---- the record ------------------------------------------------------------------------------------ */

static void put_bytes(struct ps_buf *out, struct ps_bytes octets)
{
	uint64_t len = octets.len;

	ps_buf_append(out, &len, sizeof len);
	ps_buf_bytes(out, octets);
}

static void put_step(struct ps_buf *out, const struct step *step)
{
	uint64_t numbers[] = {(uint64_t)step->kind, step->offset, step->old_size, step->new_size};

	ps_buf_append(out, numbers, sizeof numbers);
	put_bytes(out, ps_bytes_str(step->path));
	put_bytes(out, ps_bytes_str(step->to ? step->to : ""));
	put_bytes(out, ps_bytes_str(step->kept ? step->kept : ""));
	put_bytes(out, step->old);
	put_bytes(out, step->heads);
	put_bytes(out, step->first);
}

static bool take(struct ps_bytes *in, void *to, size_t len)
{
	if (in->len < len)
		return false;
	memcpy(to, in->ptr, len);
	*in = ps_bytes_skip(*in, len);
	return true;
}

static bool take_bytes(struct ps_bytes *in, struct ps_bytes *ret)
{
	uint64_t len;

	if (!take(in, &len, sizeof len) || in->len < len)
		return false;
	*ret = ps_bytes(in->ptr, (size_t)len);
	*in = ps_bytes_skip(*in, (size_t)len);
	return true;
}

static bool take_step(struct ps_bytes *in, struct ps_pool *pool, struct step *ret_step)
{
	uint64_t numbers[4];
	struct ps_bytes path, to, kept;
	struct step step = {.fd = -1};

	if (!take(in, numbers, sizeof numbers) || !take_bytes(in, &path) || !take_bytes(in, &to) ||
	    !take_bytes(in, &kept) || !take_bytes(in, &step.old) || !take_bytes(in, &step.heads) ||
	    !take_bytes(in, &step.first) || step.first.len > FIRST_MAX)
		return false;
	step.kind = (enum step_kind)numbers[0];
	step.offset = numbers[1];
	step.old_size = numbers[2];
	step.new_size = numbers[3];
	step.path = ps_pool_strndup(pool, (const char *)path.ptr, path.len);
	step.to = ps_pool_strndup(pool, (const char *)to.ptr, to.len);
	step.kept = ps_pool_strndup(pool, (const char *)kept.ptr, kept.len);
	*ret_step = step;
	return numbers[0] <= STEP_INDEX;
}

static int put_state(int fd, uint32_t state)
{
	if (ps_io.pwrite(fd, &state, sizeof state, 0) != (ssize_t)sizeof state)
		return ps_fail_errno("write the journal");
	return ps_io.fdatasync(fd) < 0 ? ps_fail_errno("sync the journal") : 0;
}

static int set_state(struct ps_store *store, uint32_t state)
{
	return put_state(store->journal_fd, state);
}

/* Where the index has it already, a change should not have to be undone, with UIDs that nobody gets, because this once did
 * not work. A sync that failed says nothing when it is made again: written is anew, and by another descriptor. */
static int say_done(struct ps_store *store)
{
	PS_CLEANUP(ps_closep) int fd = -1;

	if (set_state(store, DONE) == 0)
		return 0;
	fd = ps_io.open(store->cat.control_fd, "journal", O_RDWR, 0);
	return fd < 0 ? ps_fail_errno("open the journal") : put_state(fd, DONE);
}

static int arm(struct write *w)
{
	struct step index = {.kind = STEP_INDEX,
			     .path = "",
			     .offset = ps_index_txn_id(w->t.txn),
			     .old = w->brought ? ps_buf_view(w->brought) : ps_bytes(NULL, 0)};
	struct journal_head head = {.state = ARMED};
	struct ps_store *store = w->t.store;
	struct ps_buf text = {0};
	int r;

	ps_buf_append(&text, &head, sizeof head);
	for (size_t i = 0; i < w->step_count; i++)
		put_step(&text, &w->steps[i]);
	put_step(&text, &index);
	if (text.failed) {
		ps_buf_finish(&text);
		return ps_fail(PS_E_LIMIT, "no memory for the journal");
	}
	head.len = text.len - sizeof head;
	head.crc = ps_crc32c(0, text.ptr + sizeof head, (size_t)head.len);
	memcpy(text.ptr, &head, sizeof head);
	r = ps_io_pwrite_all(store->journal_fd, ps_buf_view(&text), 0);
	if (r == 0 && ps_io.fdatasync(store->journal_fd) < 0)
		r = ps_fail_errno("sync the journal");
	/* Half a record is none, by its checksum; a whole one would undo what comes after. */
	if (r < 0 && set_state(store, EMPTY) < 0)
		store->cat.pending = true;
	if (r == 0 && text.len > JOURNAL_ROOM)
		store->cat.pending = false;
	ps_buf_finish(&text);
	return r;
}

/* ---- doing -------------------------------------------------------------------------------------------- */

static int do_write(struct write *w, const struct step *step)
{
	int r = step->tail ? edit_write_tail(w, step->tail, step->fd, step->offset)
			   : ps_io_pwrite_all(step->fd, step->data, (off_t)step->offset);

	if (r == 0 && step->new_size < step->old_size && ps_io.truncate(step->fd, (off_t)step->new_size) < 0)
		r = ps_fail_errno("cut %s", step->path);
	return r;
}

static int do_replace(struct write *w, const struct step *step)
{
	struct ps_store *store = w->t.store;

	if (ps_io.link(store->cat.root_fd, step->to, store->cat.aside_fd, step->kept) < 0 && errno != ENOENT)
		return ps_fail_errno("keep %s", step->to);
	return ps_io.rename(store->cat.root_fd, step->path, store->cat.root_fd, step->to, 0) < 0
		       ? ps_fail_errno("replace %s", step->to)
		       : 0;
}

static int do_rename(struct write *w, const struct step *step)
{
	if (ps_io.rename(w->t.store->cat.root_fd, step->path, w->t.store->cat.root_fd, step->to, RENAME_NOREPLACE) < 0)
		return ps_fail_errno("rename %s", step->path);
	return 0;
}

static int do_step(struct write *w, const struct step *step)
{
	static int (*const kinds[])(struct write *, const struct step *) = {
		[STEP_WRITE] = do_write, [STEP_REPLACE] = do_replace, [STEP_RENAME] = do_rename};

	return kinds[step->kind](w, step);
}

/* ---- undoing ------------------------------------------------------------------------------------------ */

static bool is_ours(struct ps_bytes heads, uint64_t at)
{
	for (size_t i = 0; i + sizeof at <= heads.len; i += sizeof at)
		if (memcmp(heads.ptr + i, &at, sizeof at) == 0)
			return true;
	return false;
}

/* Whether what lies at `offset` begins as this step wrote it, as far as it came. A power cut may leave some blocks of it as they were: of what was
 * not there, zeros. */
static bool begins_as_ours(const struct step *step, int fd, uint64_t size)
{
	uint8_t now[FIRST_MAX], old[FIRST_MAX] = {0};
	size_t len = step->first.len < size - step->offset ? step->first.len : (size_t)(size - step->offset), n;

	if (step->old.len > 0)
		memcpy(old, step->old.ptr, step->old.len < len ? step->old.len : len);
	if (ps_io.pread(fd, now, len, (off_t)step->offset) != (ssize_t)len)
		return false;
	for (size_t at = 0; at < len; at += n) {
		n = DISK_BLOCK - (step->offset + at) % DISK_BLOCK;
		n = n < len - at ? n : len - at;
		if (memcmp(now + at, step->first.ptr + at, n) != 0 && memcmp(now + at, old + at, n) != 0)
			return false;
	}
	return true;
}

static bool is_strange_line(const struct step *step, struct ps_bytes octets, uint64_t at)
{
	struct ps_bytes sender;
	ptrdiff_t lf = ps_bytes_find(octets, '\n');
	int64_t date;

	if (lf >= 0)
		octets.len = (size_t)lf + 1;
	return !is_ours(step->heads, at) && (lf < 0 || ps_from_line_parse(octets, &sender, &date) == 1);
}

/* Whether somebody's message begins behind zeros that a power cut left, and so not on a line of its own. */
static bool is_behind_zeros(const struct step *step, int fd, uint64_t size)
{
	static const char mark[] = "\0From ";
	enum {
		LEN = sizeof mark - 1
	};
	uint8_t window[16384];
	ssize_t n;

	for (uint64_t from = step->offset; from < size; from += (size_t)n - LEN + 1) {
		const uint8_t *hit = window;

		n = ps_io.pread(fd, window, sizeof window, (off_t)from);
		if (n < LEN)
			break;
		while ((hit = memmem(hit, (size_t)(window + n - hit), mark, LEN)) != NULL) {
			hit++;
			if (is_strange_line(step, ps_bytes(hit, (size_t)(window + n - hit)),
					    from + (uint64_t)(hit - window)))
				return true;
		}
	}
	return false;
}

/* Whether all that lies behind `offset` is what this step wrote, as far as it came. */
static bool nobody_else_wrote(const struct step *step, int fd, uint64_t size)
{
	struct ps_mboxfile *file;
	uint64_t at = step->offset, end;
	bool ours = size <= step->new_size || size <= step->old_size;

	if (step->heads.len == 0)
		return ours;
	if (size < step->offset || !begins_as_ours(step, fd, size))
		return size == step->old_size; /* not begun */
	ours = !is_behind_zeros(step, fd, size);
	file = ps_mboxfile_create(fd, size);
	while (ours && at < size) {
		if (ps_mboxfile_find_end(file, at, &end, &at) < 0)
			break;
		if (at < size)
			ours = is_ours(step->heads, at);
		at++;
	}
	ps_mboxfile_destroy(file);
	return ours;
}

/* What is overwritten in place begins with a "From " line, which stays. */
static bool is_at_its_place(const struct step *step, int fd)
{
	const uint8_t *lf = memchr(step->old.ptr, '\n', step->old.len);
	uint8_t now[1024];
	size_t len = lf ? (size_t)(lf - step->old.ptr) + 1 : step->old.len;

	if (len > sizeof now)
		len = sizeof now;
	return ps_io.pread(fd, now, len, (off_t)step->offset) == (ssize_t)len && memcmp(now, step->old.ptr, len) == 0;
}

static int undo_write_in(const struct step *step, int fd)
{
	struct stat st;
	int r = 0;

	if (fstat(fd, &st) < 0)
		return ps_fail_errno("stat %s", step->path);
	if (step->old_size == step->new_size)
		return is_at_its_place(step, fd) ? ps_io_pwrite_all(fd, step->old, (off_t)step->offset) : 0;
	if (step->old.len > 0)
		r = ps_io_pwrite_all(fd, step->old, (off_t)step->offset);
	if (r == 0 && (uint64_t)st.st_size > step->old_size && ps_io.truncate(fd, (off_t)step->old_size) < 0)
		r = ps_fail_errno("cut %s", step->path);
	return r;
}

static int undo_write(struct ps_store *store, const struct step *step)
{
	PS_CLEANUP(ps_closep) int fd = -1;
	int r;

	if (step->fd >= 0)
		return undo_write_in(step, step->fd);
	fd = ps_io.open(store->cat.root_fd, step->path, O_RDWR | O_NONBLOCK, 0);
	if (fd < 0)
		return errno == ENOENT || errno == ELOOP ? 0 : ps_fail_errno("open %s", step->path);
	r = undo_write_in(step, fd);
	if (r == 0 && ps_io.fdatasync(fd) < 0)
		r = ps_fail_errno("sync %s", step->path);
	return r;
}

/* Whether the new file is in its place. 1: it is; 2: and others have written to it since. */
static int is_replaced(struct ps_store *store, const struct step *step)
{
	struct stat now, old;

	if (fstatat(store->cat.root_fd, step->to, &now, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : ps_fail_errno("stat %s", step->to);
	if (fstatat(store->cat.aside_fd, step->kept, &old, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : ps_fail_errno("stat %s", step->kept);
	if (now.st_ino == old.st_ino)
		return 0;
	if ((uint64_t)now.st_size == step->new_size)
		return 1;
	return (uint64_t)now.st_size == step->old_size ? 0 : 2; /* in a copy of all files nothing is the same inode */
}

static int undo_replace(struct ps_store *store, const struct step *step)
{
	int r = is_replaced(store, step);

	if (r <= 0)
		return r;
	if (ps_io.rename(store->cat.aside_fd, step->kept, store->cat.root_fd, step->to, 0) < 0 && errno != ENOENT)
		return ps_fail_errno("put back %s", step->to);
	return 0;
}

static int undo_rename(struct ps_store *store, const struct step *step)
{
	if (ps_io.rename(store->cat.root_fd, step->to, store->cat.root_fd, step->path, RENAME_NOREPLACE) < 0 &&
	    errno != ENOENT && errno != EEXIST)
		return ps_fail_errno("put back %s", step->path);
	return 0;
}

static int undo_nothing(struct ps_store *store, const struct step *step)
{
	(void)store;
	(void)step;
	return 0;
}

static int undo_step(struct ps_store *store, const struct step *step)
{
	static int (*const kinds[])(struct ps_store *, const struct step *) = {[STEP_WRITE] = undo_write,
									       [STEP_REPLACE] = undo_replace,
									       [STEP_RENAME] = undo_rename,
									       [STEP_INDEX] = undo_nothing};

	return kinds[step->kind](store, step);
}

/* ---- syncing ------------------------------------------------------------------------------------------ */

static int sync_parent(struct ps_store *store, const char *path)
{
	PS_CLEANUP(ps_closep) int fd = -1;
	char dir[PATH_SIZE];
	const char *slash = strrchr(path, '/');
	int r;

	if (slash)
		snprintf(dir, sizeof dir, "%.*s", (int)(slash - path), path);
	r = ps_io_open_dir(store->cat.root_fd, slash ? dir : ".", &fd);
	return r < 0 ? r : ps_io_sync_dir(fd, path);
}

static int sync_step(struct ps_store *store, const struct step *step)
{
	int r;

	if (step->kind == STEP_INDEX)
		return 0;
	if (step->kind == STEP_WRITE)
		return step->fd < 0 || ps_io.fdatasync(step->fd) == 0 ? 0 : ps_fail_errno("sync %s", step->path);
	if ((r = sync_parent(store, step->to)) < 0 || step->kind == STEP_REPLACE)
		return r;
	return sync_parent(store, step->path);
}

static bool is_synced_with_next(const struct step *step, const struct step *next)
{
	return step->kind == STEP_WRITE && next->kind == STEP_WRITE && step->fd == next->fd && step->fd >= 0;
}

static int sync_steps(struct ps_store *store, const struct step *steps, size_t count)
{
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++)
		if (i + 1 == count || !is_synced_with_next(&steps[i], &steps[i + 1]))
			r = sync_step(store, &steps[i]);
	return r;
}

static void forget_kept(struct ps_store *store, const struct step *steps, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (steps[i].kind == STEP_REPLACE)
			ps_io.unlink(store->cat.aside_fd, steps[i].kept, 0);
}

/* ---- all of them ---------------------------------------------------------------------------------------- */

/* From the last one begun. The journal is emptied when that is durable. */
static void undo_all(struct ps_store *store, const struct step *steps, size_t begun, bool journal)
{
	PS_CLEANUP(ps_freep) char *why = ps_strdup(ps_last_error());
	int r = 0;

	for (size_t i = begun; i-- > 0 && r == 0;)
		r = undo_step(store, &steps[i]);
	if (r == 0)
		r = sync_steps(store, steps, begun);
	if (r == 0 && journal)
		r = set_state(store, EMPTY);
	if (r < 0) {
		ps_log(PS_LOG_ERROR, "mbox_undo_failed", "user", store->cat.user, "error", ps_last_error(), NULL);
		store->cat.pending = true;
	}
	ps_fail(PS_E_STORAGE, "%s", why);
}

/* One change of a name is whole or absent by itself. */
static bool needs_journal(const struct step *steps, size_t count)
{
	return count > 1 || (count == 1 && steps[0].kind == STEP_WRITE);
}

/* By its size a file is known that nobody has written to since it took the other's place. */
static int know_new_files(struct write *w)
{
	int root = w->t.store->cat.root_fd;
	struct stat st;

	for (size_t i = 0; i < w->step_count; i++) {
		struct step *step = &w->steps[i];

		if (step->kind != STEP_REPLACE)
			continue;
		if (fstatat(root, step->path, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return ps_fail_errno("stat %s", step->path);
		step->new_size = (uint64_t)st.st_size;
		step->old_size = fstatat(root, step->to, &st, AT_SYMLINK_NOFOLLOW) == 0 ? (uint64_t)st.st_size : 0;
	}
	return 0;
}

/* How many append; the order of these, and of the others, stays. */
static size_t appends_first(struct write *w)
{
	size_t count = 0;

	for (size_t i = 0; i < w->step_count; i++) {
		struct step step = w->steps[i];

		if (!step.tail)
			continue;
		memmove(&w->steps[count + 1], &w->steps[count], (i - count) * sizeof step);
		w->steps[count++] = step;
	}
	return count;
}

static int do_and_sync(struct write *w, size_t end, size_t *begun)
{
	size_t from = *begun;
	int r = 0;

	while (*begun < end && r == 0)
		r = do_step(w, &w->steps[(*begun)++]);
	return r == 0 ? sync_steps(w->t.store, w->steps + from, end - from) : r;
}

/* What is moved is on disk where it comes to before it goes where it was: others may write there before this can be undone. */
int steps_do(struct write *w, bool removes)
{
	bool journal = needs_journal(w->steps, w->step_count);
	size_t begun = 0, first = removes ? appends_first(w) : 0;
	int r;

	if (w->step_count == 0)
		return 0;
	if ((r = know_new_files(w)) < 0 || (journal && (r = arm(w)) < 0))
		return r;
	if ((r = do_and_sync(w, first, &begun)) == 0)
		r = do_and_sync(w, w->step_count, &begun);
	if (r < 0)
		undo_all(w->t.store, w->steps, begun, journal);
	return r;
}

void steps_undo(struct write *w)
{
	undo_all(w->t.store, w->steps, w->step_count, needs_journal(w->steps, w->step_count));
}

/* The index has what is now undone: whoever dies meanwhile must leave that to the next all the same. */
static void take_note_back(struct write *w)
{
	struct ps_index_txn *txn;

	if (w->t.txn || ps_index_write(w->t.index, &txn) < 0)
		return;
	if (ps_index_number_put(txn, "journal", 0) == 0)
		ps_index_commit(txn);
	else
		ps_index_end(txn);
}

int steps_end(struct write *w)
{
	int r = needs_journal(w->steps, w->step_count) ? say_done(w->t.store) : 0;

	if (r < 0) {
		take_note_back(w);
		steps_undo(w);
	} else {
		forget_kept(w->t.store, w->steps, w->step_count);
	}
	return r;
}

/* ---- recovery ------------------------------------------------------------------------------------------- */

/* Its state, if the record is whole; else EMPTY. */
static int read_journal(struct ps_store *store, struct ps_buf *out, uint32_t *ret_state)
{
	struct journal_head head;
	ssize_t n = ps_io.pread(store->journal_fd, &head, sizeof head, 0);
	uint8_t *to;

	*ret_state = EMPTY;
	if (n < 0)
		return ps_fail_errno("read the journal");
	if (n < (ssize_t)sizeof head || (head.state != ARMED && head.state != DONE) || head.len > JOURNAL_MAX)
		return 0;
	if (!(to = ps_buf_reserve(out, (size_t)head.len)))
		return PS_E_LIMIT;
	while (out->len < head.len) {
		n = ps_io.pread(store->journal_fd, to + out->len, (size_t)head.len - out->len,
				(off_t)(sizeof head + out->len));
		if (n < 0)
			return ps_fail_errno("read the journal");
		if (n == 0)
			break;
		out->len += (size_t)n;
	}
	if (out->len == head.len && ps_crc32c(0, out->ptr, out->len) == head.crc)
		*ret_state = head.state;
	return 0;
}

int journal_note(struct write *w)
{
	return ps_index_number_put(w->t.txn, "journal", ps_index_txn_id(w->t.txn));
}

/* An index that was made anew knows nothing of a journal, and what it speaks of is undone; one that just now cannot be read may know it. */
static int index_has(struct ps_store *store, uint64_t id, bool *ret_has)
{
	struct ps_index *index;
	struct ps_index_txn *txn;
	uint64_t known = 0;
	bool fresh;
	int r = ps_index_open(store->cat.index_path, &index, &fresh);

	if (r < 0)
		return r;
	if (!fresh && (r = ps_index_read(index, &txn)) == 0) {
		r = ps_index_number(txn, "journal", &known);
		ps_index_end(txn);
	}
	ps_index_close(index);
	*ret_has = known == id;
	return r == PS_E_CORRUPT ? 0 : r;
}

static struct step *take_steps(struct ps_bytes in, struct ps_pool *pool, size_t *ret_count)
{
	struct step *steps = NULL;
	size_t count = 0, cap = 0;

	while (in.len > 0) {
		steps = ps_pool_grow(pool, steps, count, &cap, sizeof *steps);
		if (!take_step(&in, pool, &steps[count]))
			break;
		count++;
	}
	*ret_count = count;
	return steps;
}

/* Others write into mailboxes, not into our own folder. */
static bool only_we_write(const char *path)
{
	return strncmp(path, CONTROL_DIR "/", sizeof CONTROL_DIR) == 0;
}

/* Whether somebody else wrote, after us, where a step wrote. 1: yes. */
static int is_written_over(struct ps_store *store, const struct step *step)
{
	PS_CLEANUP(ps_closep) int fd = -1;
	struct stat st;
	int r;

	if (step->kind == STEP_REPLACE)
		return (r = is_replaced(store, step)) < 0 ? r : r == 2;
	if (step->kind != STEP_WRITE || step->old_size == step->new_size || only_we_write(step->path))
		return 0;
	fd = ps_io.open(store->cat.root_fd, step->path, O_RDONLY | O_NONBLOCK, 0);
	if (fd < 0)
		return errno == ENOENT || errno == ELOOP ? 0 : ps_fail_errno("open %s", step->path);
	if (fstat(fd, &st) < 0)
		return ps_fail_errno("stat %s", step->path);
	return !nobody_else_wrote(step, fd, (uint64_t)st.st_size);
}

/* What would take away others' mail is left as it is, and with it all of the batch: to undo the rest could lose what was moved. */
static int undo_record(struct ps_store *store, const struct step *steps, size_t count)
{
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++)
		if ((r = is_written_over(store, &steps[i])) == 1)
			ps_log(PS_LOG_WARNING, "mbox_not_undone", "file",
			       steps[i].kind == STEP_REPLACE ? steps[i].to : steps[i].path, NULL);
	if (r < 0)
		return r;
	for (size_t i = r == 1 ? 0 : count; i-- > 0 && r == 0;)
		r = undo_step(store, &steps[i]);
	if (r >= 0)
		r = sync_steps(store, steps, count);
	return r == 0 ? set_state(store, EMPTY) : r;
}

static int settle_armed(struct ps_store *store, const struct step *steps, size_t count, const struct step *index)
{
	bool has = false;
	int r = index ? index_has(store, index->offset, &has) : 0;

	if (r < 0)
		return r;
	return has ? say_done(store) : undo_record(store, steps, count);
}

int journal_recover(struct ps_store *store)
{
	struct ps_pool *pool = ps_pool_create("journal");
	struct ps_buf text = {0};
	const struct step *index;
	struct step *steps;
	uint32_t state;
	size_t count;
	int r = read_journal(store, &text, &state);

	if (r == 0 && state != EMPTY) {
		steps = take_steps(ps_buf_view(&text), pool, &count);
		index = count > 0 && steps[count - 1].kind == STEP_INDEX ? &steps[count - 1] : NULL;
		if (state == ARMED)
			r = settle_armed(store, steps, count, index);
		else if (index)
			ps_buf_bytes(&store->cat.brought, index->old);
	}
	ps_buf_finish(&text);
	ps_pool_destroy(pool);
	return r;
}
