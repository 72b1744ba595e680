/* SPDX-License-Identifier: MIT */
/*
 * How a mailbox's file is changed. Heads of messages are overwritten where they are, new messages come behind the last: the
 * rest of the file is not touched. When messages are removed, or a head needs more room than it has, the file is written anew aside
 * and takes the old one's place; whoever reads the old one goes on doing so. When there is no room for that, removed messages
 * are marked, and given back to the file system where it can make holes; the next rewriting leaves them out.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include "backends/mbox/mbox_private.h"

enum {
	BLOCK = 1 << 20,
	OLD_TAIL_MAX = 8 << 20 /* of others' new messages, kept in the journal while ours take their place */
};

/* ---- changes ---------------------------------------------------------------------------------------- */

static size_t position(const struct edit *edit, uint32_t uid)
{
	size_t low = 0, high = edit->count;

	if (high > 0 && edit->changes[high - 1].uid < uid)
		return high;
	while (low < high) {
		size_t mid = (low + high) / 2;

		if (edit->changes[mid].uid < uid)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct change *edit_find_change(const struct edit *edit, uint32_t uid)
{
	size_t at = position(edit, uid);

	return at < edit->count && edit->changes[at].uid == uid ? &edit->changes[at] : NULL;
}

struct change *edit_change(struct write *w, struct edit *edit, uint32_t uid)
{
	size_t at = position(edit, uid);

	edit->touched = true;
	if (at < edit->count && edit->changes[at].uid == uid)
		return &edit->changes[at];
	edit->changes = ps_pool_grow(w->t.pool, edit->changes, edit->count, &edit->cap, sizeof *edit->changes);
	memmove(&edit->changes[at + 1], &edit->changes[at], (edit->count - at) * sizeof *edit->changes);
	edit->changes[at] = (struct change){.uid = uid};
	edit->count++;
	return &edit->changes[at];
}

static int read_exactly(int fd, void *to, size_t len, uint64_t at)
{
	size_t got = 0;

	while (got < len) {
		ssize_t n = ps_io.pread(fd, (uint8_t *)to + got, len - got, (off_t)(at + got));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? ps_fail_errno("read a mailbox")
				     : ps_fail(PS_E_STORAGE, "a mailbox is too short");
		got += (size_t)n;
	}
	return 0;
}

static struct ps_bytes keep(struct write *w, const struct ps_buf *buf)
{
	return ps_bytes(ps_pool_memdup(w->t.pool, buf->ptr, buf->len), buf->len);
}

static struct head head_of(struct edit *edit, const struct ps_row *row, const struct locator *loc, struct ps_bytes from)
{
	return (struct head){.from = from,
			     .mailbox = &edit->e.box.id,
			     .uid_validity = edit->e.box.uid_validity,
			     .row = row,
			     .keywords = &edit->e.keywords,
			     .form = loc->form,
			     .length = loc->length};
}

/* The "From " line a message has. */
static int from_of(struct write *w, struct edit *edit, const struct locator *loc, const struct change *change,
		   struct ps_bytes *ret_from)
{
	uint8_t *from;
	int r;

	if (change && change->head.len > 0) {
		*ret_from = ps_bytes(change->head.ptr, loc->from);
		return 0;
	}
	from = ps_pool_alloc(w->t.pool, loc->from);
	if ((r = read_exactly(edit->lock->fd, from, loc->from, loc->at)) == 0)
		*ret_from = ps_bytes(from, loc->from);
	return r;
}

int edit_rehead(struct write *w, struct edit *edit, const struct ps_row *row, const struct locator *loc)
{
	struct change *change = edit_change(w, edit, row->uid);
	bool is_free = change->has_content || edit->rewrite;
	struct ps_buf out = {0};
	struct ps_bytes from = {0};
	struct head head;
	int r = from_of(w, edit, loc, change, &from);

	if (r < 0)
		return r;
	head = head_of(edit, row, loc, from);
	r = head_render(&head, is_free ? 0 : loc->head, &out);
	if (r == PS_E_LIMIT && !is_free) {
		edit->rewrite = true;
		r = head_render(&head, 0, &out);
	}
	if (r == 0) {
		if (change->head.len == 0)
			change->was = *loc;
		change->head = keep(w, &out);
		change->loc = *loc;
		change->loc.head = (uint32_t)out.len;
	}
	ps_buf_finish(&out);
	return r;
}

void edit_remove(struct write *w, struct edit *edit, const struct ps_row *row, const struct locator *loc)
{
	struct change *change = edit_find_change(edit, row->uid);

	edit->touched = true;
	if (change) {
		memmove(change, change + 1, (size_t)(edit->changes + edit->count - change - 1) * sizeof *change);
		edit->count--;
	}
	edit->removals = ps_pool_grow(w->t.pool, edit->removals, edit->removal_count, &edit->removal_cap,
				      sizeof *edit->removals);
	edit->removals[edit->removal_count++] = (struct removal){*row, *loc};
	edit->rewrite = edit->rewrite || !w->mark_dead;
}

int edit_add(struct write *w, struct edit *edit, const struct ps_row *row, const struct locator *form,
	     struct ps_bytes from, const struct source *source)
{
	struct change *change = edit_change(w, edit, row->uid);
	struct head head = head_of(edit, row, form, from);
	struct ps_buf out = {0};
	int r = head_render(&head, 0, &out);

	if (r == 0) {
		change->has_content = true;
		change->head = keep(w, &out);
		change->source = *source;
		change->loc = *form;
		change->loc.at = 0;
		change->loc.from = (uint16_t)from.len;
		change->loc.head = (uint32_t)out.len;
	}
	ps_buf_finish(&out);
	return r;
}

/* ---- octets -------------------------------------------------------------------------------------------- */

static int read_pieces(int fd, const struct piece *pieces, size_t count, int (*fn)(void *, struct ps_bytes), void *arg)
{
	PS_CLEANUP(ps_freep) uint8_t *block = NULL;
	int r = 0;

	for (size_t i = 0; i < count && r == 0; i++) {
		uint64_t at = pieces[i].at, end = at + pieces[i].len;

		while (at < end && r == 0) {
			size_t n = end - at < BLOCK ? (size_t)(end - at) : BLOCK;

			if (!block)
				block = ps_malloc(BLOCK);
			if ((r = read_exactly(fd, block, n, at)) == 0)
				r = fn(arg, ps_bytes(block, n));
			at += n;
		}
	}
	return r;
}

static int read_staged(struct ps_staged *staged, int (*fn)(void *, struct ps_bytes), void *arg)
{
	PS_CLEANUP(ps_closep) int fd = -1;
	struct piece all = {0, staged->disk_size};

	if (!*staged->name)
		return staged->out.len > 0 ? fn(arg, ps_buf_view(&staged->out)) : 0;
	fd = ps_io.open(staged->store->cat.aside_fd, staged->name, O_RDONLY, 0);
	return fd < 0 ? ps_fail_errno("open a staged message") : read_pieces(fd, &all, 1, fn, arg);
}

int source_read(const struct source *source, int (*fn)(void *arg, struct ps_bytes octets), void *arg)
{
	return source->fd < 0 ? read_staged(source->staged, fn, arg)
			      : read_pieces(source->fd, source->pieces, source->count, fn, arg);
}

/* Small writes are gathered. */
struct out {
	struct ps_store *store;
	int fd;
	uint64_t at;
	struct ps_buf buf;
};

static int out_flush(struct out *out)
{
	int r = out->buf.failed ? ps_fail(PS_E_LIMIT, "no memory to write a mailbox")
				: ps_io_pwrite_all(out->fd, ps_buf_view(&out->buf), (off_t)out->at);

	out->at += out->buf.len;
	ps_buf_reset(&out->buf);
	touch_locks(out->store);
	return r;
}

static int out_put(void *arg, struct ps_bytes octets)
{
	struct out *out = arg;

	ps_buf_bytes(&out->buf, octets);
	return out->buf.len >= BLOCK || out->buf.failed ? out_flush(out) : 0;
}

static int out_message(struct out *out, const struct change *change)
{
	int r = out_put(out, change->head);

	if (r == 0)
		r = source_read(&change->source, out_put, out);
	return r == 0 ? out_put(out, ps_bytes("\n\n", change->loc.form & FORM_NO_EOL ? 2 : 1)) : r;
}

int edit_write_tail(struct write *w, const struct edit *edit, int fd, uint64_t at)
{
	struct out out = {.store = w->t.store, .fd = fd, .at = at};
	int r = 0;

	for (size_t i = 0; i < edit->count && r == 0; i++)
		if (edit->changes[i].has_content)
			r = out_message(&out, &edit->changes[i]);
	if (r == 0)
		r = out_flush(&out);
	ps_buf_finish(&out.buf);
	return r;
}

/* ---- the pseudo message --------------------------------------------------------------------------------- */

static void render_pseudo(const struct edit *edit, struct ps_buf *out)
{
	struct pseudo pseudo = {.id = edit->e.box.id,
				.uid_validity = edit->e.box.uid_validity,
				.last_uid = edit->e.box.uid_next - 1,
				.special_uses = edit->e.box.attributes & PS_MBOX_SPECIAL_USES};

	pseudo_render(&pseudo, &edit->e.keywords, out);
}

static struct step *write_step(struct write *w, struct edit *edit, uint64_t offset)
{
	struct step *step = steps_add(w, STEP_WRITE, edit->at, NULL);
	struct stat st;

	step->fd = edit->lock->fd;
	step->offset = offset;
	if (fstat(step->fd, &st) == 0)
		step->old_size = step->new_size = (uint64_t)st.st_size;
	return step;
}

static int overwrite(struct write *w, struct edit *edit, uint64_t offset, struct ps_bytes data)
{
	struct step *step = write_step(w, edit, offset);
	uint8_t *old = ps_pool_alloc(w->t.pool, data.len);
	int r = read_exactly(edit->lock->fd, old, data.len, offset);

	step->data = data;
	step->old = ps_bytes(old, data.len);
	if (r == 0 && memcmp(old, data.ptr, data.len) == 0)
		w->step_count--;
	return r;
}

static int overwrite_pseudo(struct write *w, struct edit *edit)
{
	struct ps_buf out = {0};
	int r = 0;

	if (!edit->pseudo_changed && !edit->e.keywords.changed &&
	    edit->e.box.priv[BOX_LAST] == edit->e.box.uid_next - 1)
		return 0;
	render_pseudo(edit, &out);
	if (out.len != edit->e.box.priv[BOX_PSEUDO])
		r = ps_fail(PS_E_INTERNAL, "a pseudo message of another length");
	else
		r = overwrite(w, edit, 0, keep(w, &out));
	ps_buf_finish(&out);
	return r;
}

/* ---- in place -------------------------------------------------------------------------------------------- */

static int put_place(struct write *w, struct edit *edit, uint32_t uid, const struct locator *loc)
{
	struct ps_bytes octets;
	struct ps_row row;
	int r = ps_index_row(w->t.txn, edit->e.box.key, uid, &row, &octets);

	return r == 0 ? ps_index_row_put(w->t.txn, &edit->e.box, &row, locator_encode(loc)) : r;
}

static int keep_old_tail(struct write *w, struct edit *edit, struct step *step)
{
	size_t len = (size_t)(step->old_size - edit->base);
	uint8_t *old = ps_pool_alloc(w->t.pool, len);
	int r = read_exactly(edit->lock->fd, old, len, edit->base);

	step->old = ps_bytes(old, len);
	return r;
}

static int lay_tail(struct write *w, struct edit *edit)
{
	struct ps_buf heads = {0};
	struct ps_bytes first = {0};
	uint64_t at = edit->base;
	struct step *step = NULL;
	int r = 0;

	for (size_t i = 0; i < edit->count && r == 0; i++) {
		struct change *change = &edit->changes[i];

		if (!change->has_content)
			continue;
		change->loc.at = at;
		if (heads.len == 0)
			first = ps_bytes(change->head.ptr, change->head.len < FIRST_MAX ? change->head.len : FIRST_MAX);
		ps_buf_append(&heads, &at, sizeof at);
		at = locator_end(&change->loc);
		r = put_place(w, edit, change->uid, &change->loc);
	}
	if (r == 0 && heads.len > 0) {
		step = write_step(w, edit, edit->base);
		step->tail = edit;
		step->new_size = at;
		step->heads = keep(w, &heads);
		step->first = first;
		if (step->old_size > edit->base)
			r = keep_old_tail(w, edit, step);
	}
	ps_buf_finish(&heads);
	return r;
}

static int lay_in_place(struct write *w, struct edit *edit)
{
	int r = overwrite_pseudo(w, edit);

	for (size_t i = 0; i < edit->count && r == 0; i++)
		if (!edit->changes[i].has_content)
			r = overwrite(w, edit, edit->changes[i].loc.at, edit->changes[i].head);
	return r == 0 ? lay_tail(w, edit) : r;
}

/* ---- anew ------------------------------------------------------------------------------------------------- */

struct placed {
	struct ps_row row;
	struct locator loc;
	struct change *change;
};

struct anew {
	struct write *w;
	struct edit *edit;
	struct placed *rows;
	size_t count, cap;
	struct out out;
	uint64_t at, from, until; /* where the next goes; what is to be copied of the old file */
};

static int collect(void *arg, const struct ps_row *row, struct ps_bytes locator)
{
	struct anew *a = arg;
	struct placed *p;

	a->rows = ps_pool_grow(a->w->t.pool, a->rows, a->count, &a->cap, sizeof *a->rows);
	p = &a->rows[a->count++];
	p->row = *row;
	p->change = edit_find_change(a->edit, row->uid);
	return locator_decode(locator, &p->loc);
}

static int copy_pending(struct anew *a)
{
	struct piece piece = {a->from, a->until - a->from};
	int r = piece.len > 0 ? read_pieces(a->edit->lock->fd, &piece, 1, out_put, &a->out) : 0;

	a->from = a->until = 0;
	return r;
}

/* Octets of the old file; neighbours go together. */
static int copy_old(struct anew *a, uint64_t at, uint64_t len)
{
	int r = 0;

	if (at != a->until) {
		r = copy_pending(a);
		a->from = at;
	}
	a->until = at + len;
	return r;
}

static int place_one(struct anew *a, struct placed *p)
{
	struct locator old = p->loc, loc = p->change ? p->change->loc : p->loc;
	int r;

	loc.at = a->at;
	a->at = locator_end(&loc);
	if (!p->change) {
		r = copy_old(a, old.at, a->at - loc.at);
	} else if ((r = copy_pending(a)) == 0) {
		if (p->change->has_content)
			r = out_message(&a->out, p->change);
		else if ((r = out_put(&a->out, p->change->head)) == 0)
			r = copy_old(a, p->change->was.at + p->change->was.head, a->at - loc.at - loc.head);
		p->change->loc = loc;
	}
	if (r == 0 && (p->change || loc.at != old.at))
		r = ps_index_row_put(a->w->t.txn, &a->edit->e.box, &p->row, locator_encode(&loc));
	return r;
}

static int write_anew(struct anew *a)
{
	struct edit *edit = a->edit;
	struct ps_buf pseudo = {0};
	int r;

	render_pseudo(edit, &pseudo);
	edit->e.box.priv[BOX_PSEUDO] = a->at = pseudo.len;
	r = out_put(&a->out, ps_buf_view(&pseudo));
	ps_buf_finish(&pseudo);
	for (size_t i = 0; i < a->count && r == 0; i++)
		r = place_one(a, &a->rows[i]);
	if (r == 0)
		r = copy_pending(a);
	if (r == 0)
		r = out_flush(&a->out);
	if (r == 0 && ps_io.fdatasync(a->out.fd) < 0)
		r = ps_fail_errno("sync a mailbox");
	edit->new_size = a->at;
	return r;
}

/* The new file belongs to whom the old one did, as far as we may say so. */
static void take_over_owner(int from, int to)
{
	struct stat st;

	if (fstat(from, &st) < 0 || fchmod(to, st.st_mode & 0777) < 0)
		return;
	if (fchown(to, (uid_t)-1, st.st_gid) < 0)
		return;
}

static int lay_anew(struct write *w, struct edit *edit)
{
	struct anew a = {.w = w, .edit = edit, .out.store = w->t.store};
	struct step *step;
	int r = 0;

	if (!edit->aside)
		edit->aside = aside_name(w->t.pool);
	a.out.fd = ps_io.open(w->t.store->cat.aside_fd, edit->aside, O_RDWR | O_CREAT | O_EXCL, 0600);
	if (a.out.fd < 0)
		return ps_fail_errno("create a mailbox's file");
	edit->new_fd = a.out.fd;
	if (edit->folder) {
		take_over_owner(edit->lock->fd, a.out.fd);
		r = ps_index_rows(w->t.txn, edit->e.box.key, (struct ps_range){1, UINT32_MAX}, collect, &a);
	}
	if (r == 0)
		r = write_anew(&a);
	ps_buf_finish(&a.out.buf);
	if (r < 0) {
		ps_io.unlink(w->t.store->cat.aside_fd, edit->aside, 0);
		return r;
	}
	edit->e.box.priv[BOX_DEAD] = 0;
	if (!edit->folder)
		return 0; /* its step is among those of names */
	step = steps_add(w, STEP_REPLACE, ps_pool_printf(w->t.pool, ASIDE_DIR "/%s", edit->aside), edit->at);
	step->kept = aside_name(w->t.pool);
	return 0;
}

/* ---- without room ------------------------------------------------------------------------------------------ */

static int mark_one(struct write *w, struct edit *edit, const struct removal *removal)
{
	struct locator dead = removal->loc;
	struct ps_buf out = {0};
	struct ps_bytes from = {0};
	struct head head;
	int r = from_of(w, edit, &removal->loc, NULL, &from);

	if (r < 0)
		return r;
	dead.form |= FORM_DEAD;
	head = head_of(edit, &removal->row, &dead, from);
	head.row = &removal->row;
	r = head_render(&head, dead.head, &out);
	if (r == 0)
		r = overwrite(w, edit, dead.at, keep(w, &out));
	edit->e.box.priv[BOX_DEAD] += locator_end(&dead) - dead.at;
	ps_buf_finish(&out);
	return r;
}

static int lay_dead(struct write *w, struct edit *edit)
{
	int r = 0;

	edit->mark_dead = true;
	for (size_t i = 0; i < edit->removal_count && r == 0; i++)
		r = mark_one(w, edit, &edit->removals[i]);
	return r == 0 ? lay_in_place(w, edit) : r;
}

/* Removing must work where nothing can be written anew. */
static bool may_mark(const struct write *w, const struct edit *edit)
{
	for (size_t i = 0; i < edit->count; i++)
		if (edit->changes[i].has_content)
			return false;
	return w->mark_dead && edit->removal_count > 0 && !edit->rewrite;
}

int edit_layout(struct write *w, struct edit *edit)
{
	struct stat st;

	if (!edit->folder)
		return lay_anew(w, edit);
	if (edit->e.removed || !(edit->touched || edit->pseudo_changed || edit->e.keywords.changed))
		return 0;
	if (fstat(edit->lock->fd, &st) < 0)
		return ps_fail_errno("stat %s", edit->at);
	if ((uint64_t)st.st_size > edit->base + OLD_TAIL_MAX || edit->e.box.priv[BOX_PSEUDO] == 0)
		edit->rewrite = true;
	if (may_mark(w, edit))
		return lay_dead(w, edit);
	return edit->rewrite || edit->removal_count > 0 ? lay_anew(w, edit) : lay_in_place(w, edit);
}
