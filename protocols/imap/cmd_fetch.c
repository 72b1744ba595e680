/* SPDX-License-Identifier: MIT */
#include <string.h>
#include "postern/error.h"
#include "postern/log.h"
#include "protocols/imap/commands.h"
#include "protocols/imap/fetch_body.h"
#include "protocols/imap/object_id.h"

enum {
	SEEN_BATCH = 64
}; /* messages that get their \Seen in one commit, before they are sent */

struct fetch {
	struct imap_fetch what;
	struct imap_walk walk;
	struct imap_sections sections;
	bool in_message;                  /* its sections are being sent */
	bool first;                       /* nothing but sections is in its response */
	bool gone;                        /* of some messages, only what is in memory was there to tell */
	bool unknown_encoding;            /* of some, a part cannot be decoded */
	int err;                          /* what else hindered one */
	uint32_t seen_until;              /* up to this UID, \Seen is set already */
	struct ps_range seen[SEEN_BATCH]; /* what got it last, one message each */
	size_t seen_count;
	/* Of a slice. */
	struct ps_reader *reader;
	/* The flags printed last: most messages have the same as the one before. */
	struct ps_buf flags;
	uint32_t flags_system;
	uint64_t flags_keywords;
	bool flags_recent;
};

/* No transaction of the store is kept while we wait or change something. */
static void close_reader(struct fetch *fetch)
{
	if (fetch->reader)
		ps_reader_close(fetch->reader);
	fetch->reader = NULL;
}

static void finish(struct imap_cmd *cmd)
{
	struct fetch *fetch = cmd->state;

	imap_sections_finish(&fetch->sections);
	ps_buf_finish(&fetch->flags);
	close_reader(fetch);
}

/* ---- \Seen ------------------------------------------------------------------------------------ */

/* Finds the next messages of the walk that lack \Seen. */
static void look_ahead(struct imap_cmd *cmd)
{
	struct fetch *fetch = cmd->state;
	struct imap_walk ahead = fetch->walk;
	const struct ps_row *row;
	uint32_t seq;

	fetch->seen_count = 0;
	for (int i = 0; i < SEEN_BATCH && (row = imap_walk_next(cmd->imap, &ahead, &seq)); i++) {
		fetch->seen_until = row->uid;
		if (!(row->flags & PS_FLAG_SEEN))
			fetch->seen[fetch->seen_count++] = (struct ps_range){row->uid, row->uid};
	}
}

/*
 * Sets \Seen before the messages are sent, so that the FLAGS told are those that are stored. They are told in the
 * message's own response: there are clients (curl) that take the first FETCH response for the one with the body. Where
 * it fails (a full disk), the messages are sent all the same.
 */
static void set_seen(struct imap_cmd *cmd)
{
	struct fetch *fetch = cmd->state;
	struct ps_set uids = {fetch->seen, 0};
	struct ps_op_result result = {0};
	int r;

	look_ahead(cmd);
	uids.count = fetch->seen_count;
	if (uids.count == 0)
		return;
	close_reader(fetch);
	r = ps_view_change_flags(cmd->imap->view, &uids,
				 &(struct ps_flag_change){PS_FLAGS_ADD, PS_FLAG_SEEN, NULL, UINT64_MAX}, cmd->pool,
				 &result);
	if (r < 0) {
		ps_logf(PS_LOG_WARNING, "seen_not_set", ps_session_sid(cmd->imap->session), "%s: %s", ps_err_name(r),
			ps_last_error());
		fetch->seen_count = 0;
		return;
	}
	if (result.modseq)
		ps_view_known(cmd->imap->view, uids.ranges, uids.count, result.modseq);
	imap_sync(cmd, 0); /* takes it into the view's rows */
}

static bool got_seen(const struct fetch *fetch, uint32_t uid)
{
	for (size_t i = 0; i < fetch->seen_count; i++)
		if (fetch->seen[i].first == uid)
			return true;
	return false;
}

/* ---- one message ------------------------------------------------------------------------------ */

static void put_flags(struct imap_cmd *cmd, struct ps_buf *out, const struct ps_row *row)
{
	struct fetch *fetch = cmd->state;
	bool recent = ps_view_is_recent(cmd->imap->view, row->uid);

	if (fetch->flags.len == 0 || fetch->flags_system != row->flags || fetch->flags_keywords != row->keywords ||
	    fetch->flags_recent != recent) {
		ps_buf_reset(&fetch->flags);
		imap_put_flags(cmd->imap, &fetch->flags, row->flags, row->keywords, recent);
		fetch->flags_system = row->flags;
		fetch->flags_keywords = row->keywords;
		fetch->flags_recent = recent;
	}
	ps_buf_bytes(out, ps_buf_view(&fetch->flags));
}

/* The name of the next item, with the blank ahead of it that the first one does not get. */
static void put_name(struct ps_buf *out, bool *first, const char *name, size_t len)
{
	ps_buf_append(out, name + *first, len - *first);
	*first = false;
}

#define PUT_NAME(out, first, name) put_name((out), (first), (name), sizeof(name) - 1)

static void put_row(struct imap_cmd *cmd, struct ps_buf *out, unsigned items, const struct ps_row *row, bool *first)
{
	if (items & IMAP_FETCH_UID) {
		PUT_NAME(out, first, " UID ");
		ps_buf_u64(out, row->uid);
	}
	if (items & IMAP_FETCH_FLAGS) {
		PUT_NAME(out, first, " FLAGS ");
		put_flags(cmd, out, row);
	}
	if (items & IMAP_FETCH_DATE) {
		PUT_NAME(out, first, " INTERNALDATE \"");
		ps_imap_date_format(out, row->internal_date);
		ps_buf_char(out, '"');
	}
	if (items & IMAP_FETCH_SIZE) {
		PUT_NAME(out, first, " RFC822.SIZE ");
		ps_buf_u64(out, row->size);
	}
	if (items & IMAP_FETCH_MODSEQ) {
		PUT_NAME(out, first, " MODSEQ (");
		ps_buf_u64(out, row->modseq);
		ps_buf_char(out, ')');
	}
}

/* RFC 8474 and RFC 8514. We keep no threads. */
static void put_identity(struct ps_buf *out, unsigned items, const struct ps_row *row, bool *first)
{
	if (items & IMAP_FETCH_EMAILID) {
		PUT_NAME(out, first, " EMAILID (");
		imap_put_object_id(out, IMAP_EMAIL_ID, &row->email_id);
		ps_buf_char(out, ')');
	}
	if (items & IMAP_FETCH_THREADID)
		PUT_NAME(out, first, " THREADID NIL");
	if (!(items & IMAP_FETCH_SAVEDATE))
		return;
	if (!row->save_date) {
		PUT_NAME(out, first, " SAVEDATE NIL");
		return;
	}
	PUT_NAME(out, first, " SAVEDATE \"");
	ps_imap_date_format(out, row->save_date);
	ps_buf_char(out, '"');
}

static void put_cached(const struct imap *imap, struct ps_buf *out, unsigned items, const struct ps_cache *cache,
		       bool *first)
{
	if (items & IMAP_FETCH_ENVELOPE) {
		PUT_NAME(out, first, " ENVELOPE ");
		ps_buf_bytes(out, ps_cache_envelope(cache));
	}
	if (items & IMAP_FETCH_BODY) {
		PUT_NAME(out, first, " BODY ");
		ps_cache_body(cache, out);
	}
	if (items & IMAP_FETCH_STRUCTURE) {
		PUT_NAME(out, first, " BODYSTRUCTURE ");
		ps_buf_bytes(out, ps_cache_bodystructure(cache));
	}
	if (items & IMAP_FETCH_PREVIEW) {
		PUT_NAME(out, first, " PREVIEW ");
		imap_put_text(imap, out, ps_cache_preview(cache));
	}
}

/*
 * Gets all that may fail before the response begins. What another session has expunged has rows yet, and no more
 * (RFC 2180 section 4.1): the items that need more are taken out of *items.
 */
static void prepare(struct imap_cmd *cmd, uint32_t uid, unsigned *items, struct ps_cache *cache)
{
	struct fetch *fetch = cmd->state;
	bool lazy = fetch->what.lazy && (*items & IMAP_FETCH_CACHED) == IMAP_FETCH_PREVIEW && !fetch->what.sections;
	int r = 0;

	if (!fetch->reader)
		r = ps_reader_open(cmd->imap->view, &fetch->reader);
	if (r == 0)
		r = lazy ? ps_reader_cache_kept(fetch->reader, uid, cache) : ps_reader_cache(fetch->reader, uid, cache);
	if (lazy && r == PS_E_NOTFOUND) {
		*items ^= IMAP_FETCH_PREVIEW | IMAP_FETCH_NO_PREVIEW;
		return;
	}
	if (r == 0 && fetch->what.sections)
		r = imap_sections_find(&fetch->sections, cmd->imap->view, uid, cache);
	if (r == 0)
		return;
	*items &= ~(unsigned)IMAP_FETCH_CACHED;
	if (r == PS_E_GONE || r == PS_E_UNSUPPORTED) {
		fetch->gone |= r == PS_E_GONE;
		fetch->unknown_encoding |= r == PS_E_UNSUPPORTED;
		return;
	}
	ps_logf(PS_LOG_ERROR, "fetch_failed", ps_session_sid(cmd->imap->session), "uid %u: %s: %s", uid, ps_err_name(r),
		ps_last_error());
	fetch->err = r;
}

static void start_message(struct imap_cmd *cmd, uint32_t seq, const struct ps_row *row)
{
	struct fetch *fetch = cmd->state;
	struct ps_buf *out = imap_output(cmd->imap);
	unsigned items = fetch->what.items;
	struct ps_cache cache;

	if (got_seen(fetch, row->uid))
		items |= IMAP_FETCH_FLAGS | (cmd->imap->enabled & IMAP_TELLS_UID ? IMAP_FETCH_UID : 0);
	if ((items & IMAP_FETCH_FLAGS) && (cmd->imap->enabled & IMAP_CONDSTORE))
		items |= IMAP_FETCH_MODSEQ;
	if ((items & IMAP_FETCH_CACHED) || fetch->what.sections)
		prepare(cmd, row->uid, &items, &cache);
	if (items == 0 && !fetch->sections.at)
		return;
	fetch->first = true;
	ps_buf_append(out, "* ", 2);
	ps_buf_u64(out, seq);
	ps_buf_append(out, " FETCH (", 8);
	put_row(cmd, out, items, row, &fetch->first);
	put_identity(out, items, row, &fetch->first);
	if (items & IMAP_FETCH_CACHED)
		put_cached(cmd->imap, out, items, &cache, &fetch->first);
	if (items & IMAP_FETCH_NO_PREVIEW)
		PUT_NAME(out, &fetch->first, " PREVIEW NIL");
	fetch->in_message = true;
}

/* 1: the message is sent; 0: yield; negative: the literal cannot be completed. */
static int end_message(struct imap_cmd *cmd)
{
	struct fetch *fetch = cmd->state;
	int r = imap_sections_send(&fetch->sections, cmd, fetch->first);

	if (r <= 0)
		return r;
	imap_sections_leave(&fetch->sections);
	ps_buf_append(imap_output(cmd->imap), ")\r\n", 3);
	fetch->in_message = false;
	return 1;
}

/* ---- all of them ------------------------------------------------------------------------------ */

static enum imap_next answer(struct imap_cmd *cmd)
{
	struct fetch *fetch = cmd->state;

	if (fetch->err)
		return imap_no_err(cmd, fetch->err);
	if (fetch->unknown_encoding)
		return imap_no(cmd, "UNKNOWN-CTE", "Some of the parts have a transfer encoding that is not known here");
	if (fetch->gone)
		return imap_no(cmd, "EXPUNGEISSUED", "Some of the messages no longer exist");
	return imap_ok(cmd, "FETCH completed");
}

static enum imap_next break_off(struct imap_cmd *cmd, int err)
{
	/* The client was told a length and waits for it; there is no way to tell it anything else. */
	ps_logf(PS_LOG_ERROR, "fetch_broken_off", ps_session_sid(cmd->imap->session), "%s: %s", ps_err_name(err),
		ps_last_error());
	cmd->imap->closing = true;
	return IMAP_DONE;
}

/* The next message of the walk, with \Seen where it is due; NULL: that was all. */
static const struct ps_row *next_message(struct imap_cmd *cmd, uint32_t *ret_seq)
{
	struct fetch *fetch = cmd->state;
	const struct ps_row *row;
	struct imap_walk here = fetch->walk;

	row = imap_walk_next(cmd->imap, &fetch->walk, ret_seq);
	if (!row || !fetch->what.sets_seen || row->uid <= fetch->seen_until)
		return row;
	fetch->walk = here;
	set_seen(cmd);
	return imap_walk_next(cmd->imap, &fetch->walk, ret_seq);
}

static enum imap_next send_messages(struct imap_cmd *cmd)
{
	struct fetch *fetch = cmd->state;
	const struct ps_row *row;
	uint32_t seq;
	int r;

	while (!cmd->imap->closing) {
		if (fetch->in_message) {
			r = end_message(cmd);
			if (r <= 0)
				return r < 0 ? break_off(cmd, r) : IMAP_WAIT;
		}
		if (imap_should_yield(cmd))
			return IMAP_WAIT;
		row = next_message(cmd, &seq);
		if (!row)
			return answer(cmd);
		start_message(cmd, seq, row);
	}
	return IMAP_DONE;
}

/* VANISHED (EARLIER) of the UIDs named, whether they are in the view or not; RFC 7162 section 3.2.6. */
static int tell_vanished(struct imap_cmd *cmd, struct imap_args named, uint64_t since)
{
	struct ps_set known, gone;
	struct ps_bytes text;
	int r;

	if (!cmd->by_uid || !(cmd->imap->enabled & IMAP_QRESYNC))
		return ps_fail(PS_E_SYNTAX, "FETCH: VANISHED is for UID FETCH, after ENABLE QRESYNC");
	if ((r = imap_args_space(&named)) < 0 || (r = imap_args_set(&named, &text)) < 0 ||
	    (r = ps_bytes_eq_str(text, "$") ? imap_resolve(cmd->imap, text, true, cmd->pool, &known)
					    : ps_set_parse(text, UINT32_MAX, cmd->pool, &known)) < 0 ||
	    (r = ps_view_vanished(cmd->imap->view, since, &known, cmd->pool, &gone)) < 0)
		return r;
	imap_put_vanished(cmd->imap, true, gone.ranges, gone.count);
	return 0;
}

/* Leaves those of the UIDs that are at the places asked for, RFC 9394 section 3.3. */
static int take_places(struct imap_cmd *cmd, const struct imap_partial *places, struct ps_set *uids)
{
	struct imap_walk walk = {.uids = *uids};
	struct ps_ranges all = {0}, part = {0};
	const struct ps_row *row;
	uint32_t seq;

	if (!cmd->by_uid)
		return ps_fail(PS_E_SYNTAX, "FETCH: PARTIAL is for UID FETCH");
	while ((row = imap_walk_next(cmd->imap, &walk, &seq)))
		ps_ranges_add(&all, (struct ps_range){row->uid, row->uid});
	imap_partial_take(places, all.ptr, all.count, &part);
	ps_ranges_finish(&all);
	*uids = ps_ranges_to_set(&part, cmd->pool);
	return 0;
}

static int begin(struct imap_cmd *cmd)
{
	struct imap_args args = cmd->args;
	struct ps_set uids;
	struct imap_fetch what;
	struct fetch *fetch;
	int r;

	if ((r = imap_set_arg(cmd, &uids)) < 0 || (r = imap_args_space(&cmd->args)) < 0 ||
	    (r = imap_fetch_parse(&cmd->args, cmd->pool, &what)) < 0)
		return r;
	/* Places are counted before anything else is asked of the messages there: RFC 9394 section 3.4. */
	if (what.partial.first > 0 && (r = take_places(cmd, &what.partial, &uids)) < 0)
		return r;
	if (what.vanished && (r = tell_vanished(cmd, args, what.changed_since)) < 0)
		return r;
	if (cmd->by_uid)
		what.items |= IMAP_FETCH_UID;
	if (cmd->imap->mailbox.read_only)
		what.sets_seen = false;
	if (what.items & IMAP_FETCH_MODSEQ)
		imap_enable_condstore(cmd);
	fetch = PS_NEW(cmd->pool, struct fetch);
	fetch->what = what;
	fetch->walk = (struct imap_walk){.uids = uids, .changed_since = what.changed_since};
	imap_sections_init(&fetch->sections, what.sections, cmd->pool);
	cmd->state = fetch;
	cmd->finish = finish;
	return 0;
}

/* FETCH (RFC 3501, 6.4.5; RFC 7162):  "FETCH" SP sequence-set SP items [SP "(" modifiers ")"] */
static enum imap_next cmd_fetch(struct imap_cmd *cmd)
{
	enum imap_next next;
	struct fetch *fetch;
	int r;

	if (!cmd->state && (r = begin(cmd)) < 0)
		return imap_refuse(cmd, r, "FETCH takes a set of messages and what to fetch of them");
	next = send_messages(cmd);
	fetch = cmd->state;
	close_reader(fetch);
	imap_sections_rest(&fetch->sections);
	return next;
}

const struct imap_command imap_cmd_fetch = {
	.name = "FETCH",
	.states = IMAP_SELECTED,
	.flags = IMAP_UID | IMAP_KEEPS_NUMBERS,
	.run = cmd_fetch,
};
