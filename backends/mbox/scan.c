/* SPDX-License-Identifier: MIT */
/*
 * Makes index and file agree. When a file has only grown, and what we keep at its start is untouched, just what is behind the
 * old end is read. Otherwise the whole file is walked: of messages of ours only the heads, as these say how long they are.
 *
 * A message is the one that the index knows when its X-Postern field was made in this mailbox and its length is right,
 * wherever other programs left the fields. All others are new: they get UIDs, and fields, in place where they are the last
 * ones, else by writing the file anew. So after a scan all heads are as head_render() makes them.
 */
#include "config.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include "backends/mbox/mbox_private.h"
#include "postern/log.h"

struct known {
	struct ps_row row;
	struct locator loc;
	bool found;
};

/* A message in the file. */
struct found {
	uint32_t uid; /* 0: to be given */
	uint32_t flags;
	struct locator loc;
	const char *keywords;
	struct ps_bytes from;
	struct mark mark;
	int64_t date;
	struct piece *pieces;
	size_t piece_count;
	bool in_order; /* its fields stand as we write them */
	bool ours;     /* it was stored in this mailbox */
	bool unquoted; /* a Content-Length says so */
};

struct scan {
	struct ps_store *store;
	struct write w;
	struct edit *edit;
	struct ps_mboxfile *file;
	uint64_t size;
	struct known *known;
	size_t known_count, known_cap;
	struct found *found;
	size_t count, cap;
	uint32_t file_validity, file_last, prev_uid, uid_floor;
	struct ps_brought_table brought;
	uint64_t modseq, dead, last_end;
	struct ps_staged **staged; /* others' messages that had to be converted */
	size_t staged_count, staged_cap;
	bool rebuild, tail, first;
};

static uint64_t scan_modseq(struct scan *scan)
{
	if (scan->modseq == 0)
		scan->modseq = ++scan->w.t.modseq;
	return scan->modseq;
}

/* Of a message that was added, changed or removed. */
static uint64_t modseq_of(struct scan *scan, uint32_t uid)
{
	uint64_t brought = ps_brought_modseq(&scan->brought, uid);

	return brought ? brought : scan_modseq(scan);
}

/* ---- one message ------------------------------------------------------------------------------------- */

static uint64_t hidden(const struct fields *fields)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < fields->gap_count; i++)
		sum += fields->gaps[i].len;
	return sum;
}

/* Whether the message ends where its X-Postern field says: 1. */
static int ends_as_marked(struct scan *scan, const struct ps_mboxfile_head *head, const struct fields *fields,
			  uint64_t *ret_end, uint64_t *ret_next)
{
	uint64_t end = head->fields + hidden(fields) + fields->mark.length;
	int r = ps_mboxfile_ends(scan->file, end + (fields->mark.form & FORM_NO_EOL ? 1 : 0), ret_next);

	if (r == 1)
		*ret_end = end;
	return r;
}

static int find_end(struct scan *scan, const struct ps_mboxfile_head *head, struct fields *fields, uint64_t *ret_end,
		    uint64_t *ret_next, bool *ret_unquoted)
{
	uint64_t rest = scan->size - head->fields;
	int r = 0;

	*ret_unquoted = false;
	if (fields->mark.known && fields->mark.length <= rest) {
		r = ends_as_marked(scan, head, fields, ret_end, ret_next);
		if (r == 0 && fields->lines.len > 0) {
			struct fields without = *fields;

			fields_hide_lines(&without);
			if ((r = ends_as_marked(scan, head, &without, ret_end, ret_next)) == 1)
				*fields = without;
		}
		if (r != 0)
			return r < 0 ? r : 0;
	}
	fields->mark = (struct mark){0};
	if (fields->has_content_length && fields->content_length <= rest) {
		*ret_end = head->body + fields->content_length;
		if ((r = ps_mboxfile_ends(scan->file, *ret_end, ret_next)) != 0) {
			*ret_unquoted = r == 1;
			return r < 0 ? r : 0;
		}
	}
	r = ps_mboxfile_find_end(scan->file, head->body, ret_end, ret_next);
	if (r == 0 && *ret_end < head->body)
		*ret_end = head->body;
	return r;
}

static struct known *find_known(struct scan *scan, uint32_t uid)
{
	size_t low = 0, high = scan->known_count;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (scan->known[mid].row.uid == uid)
			return &scan->known[mid];
		if (scan->known[mid].row.uid < uid)
			low = mid + 1;
		else
			high = mid;
	}
	return NULL;
}

/*
 * A UID is believed that we gave, while nobody put the message there again after it was expunged; and one that another
 * program gave under our UIDVALIDITY, above all that we gave.
 */
static uint32_t believed_uid(struct scan *scan, const struct fields *fields)
{
	const struct mark *mark = &fields->mark;

	if (mark->ours && mark->uid_validity == scan->edit->e.box.uid_validity && mark->uid > scan->prev_uid &&
	    mark->uid < UINT32_MAX && (scan->rebuild || mark->uid >= scan->uid_floor || find_known(scan, mark->uid)))
		return mark->uid;
	if (!mark->known && fields->has_uid && scan->file_validity == scan->edit->e.box.uid_validity &&
	    fields->uid > scan->prev_uid && fields->uid <= scan->file_last && fields->uid >= scan->uid_floor &&
	    fields->uid < UINT32_MAX)
		return fields->uid;
	return 0;
}

/* What is the message's, without the fields that are not. */
static void make_pieces(struct scan *scan, const struct ps_mboxfile_head *head, const struct fields *fields,
			uint64_t end, struct found *found)
{
	uint64_t at = head->fields;

	found->pieces = PS_NEWV(scan->w.t.pool, struct piece, fields->gap_count + 1);
	found->loc.length = 0;
	for (size_t i = 0; i <= fields->gap_count; i++) {
		uint64_t until = i < fields->gap_count ? head->fields + fields->gaps[i].at : end;

		if (until > at) {
			found->pieces[found->piece_count++] = (struct piece){at, until - at};
			found->loc.length += until - at;
		}
		if (i < fields->gap_count)
			at = until + fields->gaps[i].len;
	}
}

static struct ps_bytes keep_from_line(struct scan *scan, struct ps_bytes from)
{
	uint8_t *line = ps_pool_alloc(scan->w.t.pool, from.len + 1);

	memcpy(line, from.ptr, from.len);
	line[from.len] = '\n';
	return ps_bytes(line, from.len + 1);
}

static void add_found(struct scan *scan, const struct ps_mboxfile_head *head, const struct fields *fields, uint64_t end,
		      bool unquoted)
{
	struct found found = {.uid = believed_uid(scan, fields),
			      .flags = fields_flags(fields),
			      .mark = fields->mark,
			      .date = head->date,
			      .unquoted = unquoted};

	found.ours = found.uid > 0 && fields->mark.ours;
	found.in_order = found.ours && fields->in_order && head->from.len + 1 == head->fields - head->start;
	found.keywords = ps_pool_strndup(scan->w.t.pool, (const char *)fields->keywords.ptr, fields->keywords.len);
	found.loc = (struct locator){.at = head->start,
				     .head = (uint32_t)(head->fields - head->start + fields->top),
				     .from = (uint16_t)(head->fields - head->start),
				     .length = fields->mark.length,
				     .form = (uint16_t)fields->mark.form};
	if (!found.in_order) {
		found.from = keep_from_line(scan, head->from);
		make_pieces(scan, head, fields, end, &found);
	}
	if (found.uid > 0)
		scan->prev_uid = found.uid;
	scan->found = ps_pool_grow(scan->w.t.pool, scan->found, scan->count, &scan->cap, sizeof *scan->found);
	scan->found[scan->count++] = found;
}

/* The first message may be none, or carry what is about the mailbox. */
static bool is_pseudo(struct scan *scan, const struct fields *fields)
{
	if (!scan->first)
		return false;
	scan->first = false;
	if (!fields->has_base)
		return false;
	if (base_parse(fields->base, &scan->file_validity, &scan->file_last) &&
	    scan->file_validity == scan->edit->e.box.uid_validity && scan->file_last >= scan->edit->e.box.uid_next &&
	    scan->file_last < UINT32_MAX - 1)
		scan->edit->e.box.uid_next = scan->file_last + 1;
	return fields->has_imap;
}

static int walk(struct scan *scan, uint64_t at)
{
	struct ps_mboxfile_head head;
	struct fields fields;
	uint64_t end, next;
	bool unquoted;
	int r;

	while ((r = ps_mboxfile_head(scan->file, at, &head)) == 1) {
		fields_parse(head.header, &scan->edit->e.box.id, &fields);
		/* The header is in a buffer that is used again. */
		fields.keywords = ps_bytes(ps_pool_memdup(scan->w.t.pool, fields.keywords.ptr, fields.keywords.len),
					   fields.keywords.len);
		if ((r = find_end(scan, &head, &fields, &end, &next, &unquoted)) < 0)
			break;
		if (!is_pseudo(scan, &fields)) {
			if (fields.mark.ours && (fields.mark.form & FORM_DEAD))
				scan->dead += next - head.start;
			else
				add_found(scan, &head, &fields, end, unquoted);
		}
		at = next;
		touch_locks(scan->store);
	}
	return r == PS_E_SYNTAX ? ps_fail(PS_E_STORAGE, "%s is no mailbox: %s", scan->edit->at, ps_last_error()) : r;
}

/* ---- rows --------------------------------------------------------------------------------------------- */

static int collect(void *arg, const struct ps_row *row, struct ps_bytes locator)
{
	struct scan *scan = arg;
	struct known *known;

	scan->known =
		ps_pool_grow(scan->w.t.pool, scan->known, scan->known_count, &scan->known_cap, sizeof *scan->known);
	known = &scan->known[scan->known_count++];
	*known = (struct known){.row = *row};
	return locator_decode(locator, &known->loc);
}

/* The bits of keywords by name; what there is no room for is left out. */
static uint64_t keyword_mask(struct scan *scan, const char *names)
{
	uint64_t mask = 0;

	while (*names) {
		size_t len = strcspn(names, " \t,");
		const char *name = ps_pool_strndup(scan->w.t.pool, names, len);
		int bit = len > 0 ? ps_keyword_table_find(&scan->edit->e.keywords, name) : -1;

		if (bit < 0 && len > 0 && ps_keyword_lawful(ps_bytes_str(name)))
			bit = ps_keyword_table_add(&scan->edit->e.keywords, name, 0);
		if (bit >= 0)
			mask |= UINT64_C(1) << bit;
		names += len;
		names += strspn(names, " \t,");
	}
	return mask;
}

static int put_content(struct scan *scan, struct ps_row *row, struct found *found)
{
	struct source source = {.fd = scan->edit->lock->fd, .pieces = found->pieces, .count = found->piece_count};
	int r = ps_index_row_put(scan->w.t.txn, &scan->edit->e.box, row, locator_encode(&found->loc));

	return r == 0 ? edit_add(&scan->w, scan->edit, row, &found->loc, found->from, &source) : r;
}

/* A message whose UID is kept. */
static int take_ours(struct scan *scan, struct found *found)
{
	struct known *known = find_known(scan, found->uid);
	struct edit *edit = scan->edit;
	struct ps_row row = {.uid = found->uid,
			     .size = found->mark.size,
			     .internal_date = found->mark.internal_date,
			     .save_date = found->mark.save_date,
			     .email_id = found->mark.email_id};

	if (known) {
		row = known->row;
		known->found = true;
	}
	row.flags = found->flags;
	row.keywords = keyword_mask(scan, found->keywords);
	if (!known || row.flags != known->row.flags || row.keywords != known->row.keywords ||
	    ps_brought_modseq(&scan->brought, row.uid))
		row.modseq = modseq_of(scan, row.uid);
	if (row.uid >= edit->e.box.uid_next)
		edit->e.box.uid_next = row.uid + 1;
	if (!found->in_order) {
		edit->rewrite = true;
		return put_content(scan, &row, found);
	}
	if (known && row.modseq == known->row.modseq && memcmp(&found->loc, &known->loc, sizeof known->loc) == 0)
		return 0;
	return ps_index_row_put(scan->w.t.txn, &edit->e.box, &row, locator_encode(&found->loc));
}

/* ---- what is new ---------------------------------------------------------------------------------------- */

/* What a pass over a message's octets finds out. */
struct look {
	struct restore restore;
	struct ps_derive *derive;
	struct ps_buf out;
	uint64_t in_len, out_len;
	uint8_t last;
	bool line_start, any_from; /* a line begins with "From ", or would after '>'s */
	unsigned matched;
};

static void watch_lines(struct look *look, struct ps_bytes octets)
{
	for (size_t i = 0; i < octets.len; i++) {
		uint8_t c = octets.ptr[i];

		if (look->line_start && (look->matched > 0 || c != '>')) {
			if (c == (uint8_t) "From "[look->matched]) {
				look->any_from = look->any_from || ++look->matched == 5;
				look->line_start = look->matched < 5;
			} else {
				look->line_start = false;
			}
		}
		if (c == '\n') {
			look->line_start = true;
			look->matched = 0;
		}
	}
}

static int feed(struct look *look)
{
	ps_derive_feed(look->derive, ps_buf_view(&look->out));
	look->out_len += look->out.len;
	ps_buf_reset(&look->out);
	return 0;
}

static int look_at(void *arg, struct ps_bytes octets)
{
	struct look *look = arg;
	int r;

	watch_lines(look, octets);
	look->in_len += octets.len;
	look->last = octets.ptr[octets.len - 1];
	r = restore_feed(&look->restore, octets, &look->out);
	return r < 0 ? r : feed(look);
}

/* Octets with bare LFs, staged as what they stand for. */
struct restage {
	struct ps_staged *staged;
	bool after_cr;
};

static int stage_piece(void *arg, struct ps_bytes octets)
{
	struct restage *s = arg;
	int r = 0;

	while (octets.len > 0 && r == 0) {
		ptrdiff_t lf = ps_bytes_find(octets, '\n');
		size_t n = lf < 0 ? octets.len : (size_t)lf;

		if (n > 0) {
			s->after_cr = octets.ptr[n - 1] == '\r';
			r = stage_write(s->staged, ps_bytes(octets.ptr, n));
		}
		if (r == 0 && lf >= 0)
			r = stage_write(s->staged, s->after_cr ? ps_bytes("\n", 1) : ps_bytes("\r\n", 2));
		s->after_cr = lf < 0 && s->after_cr;
		octets = ps_bytes_skip(octets, lf < 0 ? n : n + 1);
	}
	return r;
}

static int restage(struct scan *scan, struct found *found, struct source *source)
{
	struct restage s = {0};
	int r = stage_begin(scan->store, 0, &s.staged);

	if (r < 0)
		return r;
	scan->staged =
		ps_pool_grow(scan->w.t.pool, scan->staged, scan->staged_count, &scan->staged_cap, sizeof s.staged);
	scan->staged[scan->staged_count++] = s.staged;
	r = source_read(source, stage_piece, &s);
	if (r == 0)
		r = stage_finish(s.staged);
	*source = (struct source){.fd = -1, .staged = s.staged};
	found->loc.length = s.staged->disk_size;
	found->loc.form = (uint16_t)s.staged->form;
	return r;
}

static int finish_look(struct scan *scan, struct look *look, struct found *found, struct source *source)
{
	int r = restore_finish(&look->restore, &look->out);

	if (r < 0)
		return r;
	feed(look);
	if (found->mark.known)
		return 0;
	/* In others' mail a line end that is missing is that of the file's last line. */
	found->loc.form = look->in_len != look->out_len ? FORM_QUOTED : 0;
	if (look->in_len > 0 && look->last != '\n')
		found->loc.form |= FORM_NO_EOL;
	return found->unquoted && look->any_from ? restage(scan, found, source) : 0;
}

static int put_new(struct scan *scan, struct ps_row *row, struct found *found, const struct source *source,
		   struct ps_bytes cache)
{
	struct edit *edit = scan->edit;
	int r = ps_index_row_put(scan->w.t.txn, &edit->e.box, row, locator_encode(&found->loc));

	if (r == 0)
		r = edit_add(&scan->w, edit, row, &found->loc, found->from, source);
	return r == 0 ? ps_index_cache_put(scan->w.t.txn, edit->e.box.key, row->uid, cache) : r;
}

static int take_new(struct scan *scan, struct found *found)
{
	struct edit *edit = scan->edit;
	struct source source = {.fd = edit->lock->fd, .pieces = found->pieces, .count = found->piece_count};
	struct look look = {.derive = ps_derive_create(), .line_start = true};
	struct ps_row row = {.uid = found->uid > 0 ? found->uid : edit->e.box.uid_next,
			     .flags = found->flags,
			     .internal_date = found->mark.known ? found->mark.internal_date : found->date,
			     .save_date = ps_catalogue_now(),
			     .email_id = found->mark.ours ? found->mark.email_id : ps_catalogue_new_id()};
	struct ps_bytes cache;
	int r = row.uid < UINT32_MAX ? 0 : ps_fail(PS_E_LIMIT, "no UIDs are left in %s", edit->e.box.name);

	restore_init(&look.restore, found->mark.known ? found->mark.form : found->unquoted ? 0 : FORM_QUOTED);
	if (r == 0)
		r = source_read(&source, look_at, &look);
	if (r == 0)
		r = finish_look(scan, &look, found, &source);
	else
		restore_finish(&look.restore, &look.out);
	if (r == 0) {
		ps_derive_finish(look.derive, &row.size, &cache);
		row.keywords = keyword_mask(scan, found->keywords);
		row.modseq = scan_modseq(scan);
		found->loc.form &= (uint16_t)~FORM_DEAD;
		if (row.uid >= edit->e.box.uid_next)
			edit->e.box.uid_next = row.uid + 1;
		r = put_new(scan, &row, found, &source, cache);
	}
	ps_buf_finish(&look.out);
	ps_derive_destroy(look.derive);
	return r;
}

/* ---- the whole ------------------------------------------------------------------------------------------ */

static int vanish_missing(struct scan *scan)
{
	int r = 0;

	for (size_t i = 0; i < scan->known_count && r == 0; i++)
		if (!scan->known[i].found)
			r = ps_index_row_vanish(scan->w.t.txn, &scan->edit->e.box, scan->known[i].row.uid,
						modseq_of(scan, scan->known[i].row.uid));
	return r;
}

/* Whether the new ones are the last, so that they can be written over. */
static void find_base(struct scan *scan)
{
	struct edit *edit = scan->edit;
	bool any_new = false;

	for (size_t i = 0; i < scan->count; i++) {
		struct found *found = &scan->found[i];

		if (!found->ours) {
			if (!any_new)
				edit->base = found->loc.at;
			any_new = true;
		} else if (any_new) {
			edit->rewrite = true;
		}
	}
	if (!any_new)
		edit->base = scan->size;
}

static int take_all(struct scan *scan)
{
	int r = 0;

	/* Theirs that bring a UID along come in its order; those without are given higher ones. */
	for (size_t i = 0; i < scan->count && r == 0; i++)
		if (scan->found[i].uid > 0)
			r = scan->found[i].ours ? take_ours(scan, &scan->found[i]) : take_new(scan, &scan->found[i]);
	for (size_t i = 0; i < scan->count && r == 0; i++)
		if (scan->found[i].uid == 0)
			r = take_new(scan, &scan->found[i]);
	return r;
}

/* Only new messages behind the end that we know. */
static bool has_only_grown(struct scan *scan, const struct stat *st, const struct pseudo *pseudo)
{
	const struct ps_index_box *box = &scan->edit->e.box;
	struct ps_mboxfile_head head;

	return !scan->rebuild && box->priv[BOX_INO] == (uint64_t)st->st_ino && box->priv[BOX_SIZE] > 0 &&
	       (uint64_t)st->st_size > box->priv[BOX_SIZE] && pseudo->in_order &&
	       pseudo->size == box->priv[BOX_PSEUDO] && pseudo->last_uid == box->priv[BOX_LAST] &&
	       pseudo->x_last == pseudo->last_uid && pseudo->x_validity == pseudo->uid_validity &&
	       ps_mboxfile_head(scan->file, box->priv[BOX_SIZE], &head) == 1;
}

/* What the start of the file says about the mailbox; ours is what counts. */
static void look_at_pseudo(struct scan *scan, const struct pseudo *pseudo, bool is_there)
{
	struct ps_index_box *box = &scan->edit->e.box;
	bool is_ours = is_there && memcmp(&pseudo->id, &box->id, sizeof box->id) == 0 &&
		       pseudo->uid_validity == box->uid_validity;

	if (is_there) {
		scan->file_validity = pseudo->x_validity;
		scan->file_last = pseudo->x_last;
	}
	if (!is_ours || !pseudo->in_order) {
		scan->edit->rewrite = true;
		return;
	}
	box->priv[BOX_PSEUDO] = pseudo->size;
	scan->edit->pseudo_changed = pseudo->x_validity != box->uid_validity || pseudo->x_last != pseudo->last_uid;
	box->attributes = PS_MBOX_EXISTS | pseudo->special_uses;
	box->priv[BOX_LAST] = pseudo->last_uid;
}

static int scan_whole(struct scan *scan, const struct pseudo *pseudo, bool is_there)
{
	struct edit *edit = scan->edit;
	int r = ps_index_rows(scan->w.t.txn, edit->e.box.key, (struct ps_range){1, UINT32_MAX}, collect, scan);

	if (r < 0)
		return r;
	scan->first = true;
	look_at_pseudo(scan, pseudo, is_there);
	if ((r = walk(scan, 0)) < 0)
		return r;
	edit->e.box.priv[BOX_DEAD] = scan->dead;
	find_base(scan);
	if ((r = take_all(scan)) < 0)
		return r;
	return vanish_missing(scan);
}

static int scan_tail(struct scan *scan)
{
	int r;

	scan->edit->base = scan->edit->e.box.priv[BOX_SIZE];
	scan->prev_uid = scan->edit->e.box.uid_next - 1;
	r = walk(scan, scan->edit->base);
	return r < 0 ? r : take_all(scan);
}

static int scan_edit(struct scan *scan)
{
	struct ps_index_box *box = &scan->edit->e.box;
	struct pseudo pseudo = {0};
	struct ps_bytes octets;
	struct stat st;
	bool is_there;
	int r;

	if (fstat(scan->edit->lock->fd, &st) < 0)
		return ps_fail_errno("stat %s", scan->edit->at);
	if (!scan->rebuild && box_is_as(box, &st))
		return 0;
	scan->edit->touched = true;
	scan->size = (uint64_t)st.st_size;
	scan->uid_floor = scan->rebuild ? 1 : box->uid_next;
	ps_brought_find(ps_buf_view(&scan->store->cat.brought), box, scan->w.t.pool, &scan->w.t.modseq, &scan->brought);
	scan->file = ps_mboxfile_create(scan->edit->lock->fd, scan->size);
	if ((r = ps_mboxfile_peek(scan->file, 0, PSEUDO_MAX, &octets)) == 0) {
		is_there = pseudo_parse(octets, &pseudo);
		scan->tail = is_there && has_only_grown(scan, &st, &pseudo);
		r = scan->tail ? scan_tail(scan) : scan_whole(scan, &pseudo, is_there);
	}
	ps_mboxfile_destroy(scan->file);
	return r;
}

/* Ends the transaction either way. */
static int finish_scan(struct scan *scan, int r)
{
	struct ps_staged **staged = ps_malloc((scan->staged_count + 1) * sizeof *staged);
	size_t count = scan->staged_count;

	if (count > 0)
		memcpy(staged, scan->staged, count * sizeof *staged);
	if (r == 0)
		r = write_run(&scan->w);
	else
		write_abort(&scan->w);
	for (size_t i = 0; i < count; i++)
		stage_drop(staged[i]);
	free(staged);
	return r;
}

static int scan_once(struct ps_store *store, uint64_t key, bool rebuild)
{
	struct scan scan = {.store = store, .rebuild = rebuild};
	int r = write_begin(store, &scan.w);

	if (r < 0)
		return r;
	if ((r = write_edit(&scan.w, key, &scan.edit)) == 0) {
		scan.rebuild = rebuild || scan.edit->e.box.priv[BOX_SIZE] == 0;
		r = scan_edit(&scan);
	}
	return finish_scan(&scan, r);
}

int scan_mailbox(struct ps_store *store, uint64_t key, bool rebuild)
{
	int r;

	while ((r = scan_once(store, key, rebuild)) == PS_E_AGAIN)
		if ((r = ps_catalogue_grow_index(store)) < 0)
			break;
	return r;
}

struct changed {
	struct ps_store *store;
	struct ps_pool *pool;
	uint64_t *keys;
	size_t count, cap;
};

static int note_changed(void *arg, const struct ps_index_box *box)
{
	struct changed *c = arg;
	char path[PATH_SIZE];
	struct stat st;

	if (path_of_name(c->store, box->name, path) == 0 &&
	    fstatat(c->store->cat.root_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && box_is_as(box, &st))
		return 0;
	c->keys = ps_pool_grow(c->pool, c->keys, c->count, &c->cap, sizeof *c->keys);
	c->keys[c->count++] = box->key;
	return 0;
}

int scan_changed(struct ps_store *store)
{
	struct changed c = {.store = store, .pool = ps_pool_create("changed")};
	struct ps_index *index = ps_catalogue_index(store);
	struct ps_index_txn *txn;
	int r = index ? ps_index_read(index, &txn) : ps_fail(PS_E_STORAGE, "the index is not there");

	if (r == 0) {
		r = ps_index_boxes(txn, note_changed, &c);
		ps_index_end(txn);
	}
	ps_index_close(index);
	for (size_t i = 0; i < c.count && r == 0; i++)
		if ((r = scan_mailbox(store, c.keys[i], false)) == PS_E_GONE || r == PS_E_BUSY)
			r = 0;
	ps_pool_destroy(c.pool);
	return r;
}
