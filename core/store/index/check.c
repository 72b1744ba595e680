/* SPDX-License-Identifier: MIT */
/*
 * Whether the databases agree with each other: each record can be read, rows and the order of changes are the same set,
 * counters are what the rows give, and nothing belongs to a mailbox that is not there.
 */
#include <endian.h>
#include <stdio.h>
#include "core/store/index/index_private.h"
#include "postern/io.h"
#include "postern/log.h"

struct check {
	struct ps_index_txn *txn;
	void (*fault)(void *arg, const char *sentence);
	void *arg;
	const struct ps_index_box *box; /* the one being looked at */
	struct ps_index_box sums;       /* what its rows give */
	uint64_t keyword_bits;          /* those that have a name */
	uint64_t names;
	uint64_t records; /* of the walk */
};

__attribute__((format(printf, 2, 3))) static void tell(struct check *check, const char *fmt, ...)
{
	char sentence[768];
	int at = check->box ? snprintf(sentence, sizeof sentence, "mailbox %s: ", check->box->name) : 0;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(sentence + at, sizeof sentence - (size_t)at, fmt, ap);
	va_end(ap);
	check->fault(check->arg, sentence);
}

/* A damaged record is told; all else ends the check. */
static int pass_over(struct check *check, int r)
{
	if (r != PS_E_CORRUPT)
		return r;
	tell(check, "%s", ps_last_error());
	return 0;
}

/* ---- rows and changes ---------------------------------------------------------------------------- */

static void check_row(struct check *check, const struct ps_row *row)
{
	struct change_key ck = change_key(check->box->key, row->modseq, row->uid);
	MDB_val value;

	if (row->uid == 0 || row->uid >= check->box->uid_next)
		tell(check, "UID %u, where %u is the next", row->uid, check->box->uid_next);
	if (row->modseq == 0 || row->modseq > check->box->highest_modseq)
		tell(check, "UID %u has modseq %llu, the mailbox %llu", row->uid, (unsigned long long)row->modseq,
		     (unsigned long long)check->box->highest_modseq);
	if (row->flags & ~(uint32_t)PS_FLAG_ALL)
		tell(check, "UID %u has flags 0x%x", row->uid, row->flags);
	if (row->keywords & ~check->keyword_bits)
		tell(check, "UID %u has keywords without a name", row->uid);
	if (index_get(check->txn, DB_CHANGES, index_val(&ck, sizeof ck), &value) < 0)
		tell(check, "UID %u is missing in the order of changes", row->uid);
	index_count_row(&check->sums, row, 1);
}

/* Row by row rather than by ps_index_rows(), which ends at the first damaged one. */
static int check_rows(struct check *check)
{
	struct row_key first = row_key(check->box->key, 0);
	MDB_val key = index_val(&first, sizeof first), value;
	struct ps_bytes locator;
	struct ps_row row;
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(check->txn->txn, check->txn->index->dbi[DB_ROWS], &cursor), r = 0;

	if (rc)
		return index_fail(rc, "cursor");
	rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	while (r == 0 && rc == 0 && key.mv_size >= sizeof first.box &&
	       memcmp(key.mv_data, &first.box, sizeof first.box) == 0) {
		check->records++;
		if ((r = row_decode(key, value, &row, &locator)) == 0)
			check_row(check, &row);
		r = pass_over(check, r);
		rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
	}
	mdb_cursor_close(cursor);
	return r < 0 || rc == 0 || rc == MDB_NOTFOUND ? r : index_fail(rc, "walk");
}

static int check_change(void *arg, const struct change_key *ck, MDB_val value)
{
	struct check *check = arg;
	struct ps_bytes locator;
	struct ps_row row;

	(void)value;
	check->records++;
	if (ps_index_row(check->txn, ck->box, ck->uid, &row, &locator) == 0 && row.modseq == ck->modseq)
		return 0;
	tell(check, "a change of UID %u without its row", ck->uid);
	return 0;
}

static int is_there(void *arg, const struct ps_row *row, struct ps_bytes locator)
{
	struct check *check = arg;

	(void)locator;
	tell(check, "UID %u has vanished and is there", row->uid);
	return 1;
}

static int check_gone(void *arg, const struct change_key *ck, MDB_val value)
{
	struct check *check = arg;
	uint32_t last;
	int r;

	check->records++;
	if (value.mv_size != sizeof last) {
		tell(check, "a vanished record is damaged");
		return 0;
	}
	memcpy(&last, value.mv_data, sizeof last);
	if (last < ck->uid || last >= check->box->uid_next || ck->modseq > check->box->highest_modseq)
		tell(check, "UIDs %u to %u have vanished with modseq %llu", ck->uid, last,
		     (unsigned long long)ck->modseq);
	r = ps_index_rows(check->txn, ck->box, (struct ps_range){ck->uid, last}, is_there, check);
	return r < 0 ? pass_over(check, r) : 0;
}

/* ---- mailboxes ------------------------------------------------------------------------------------- */

static void check_sums(struct check *check)
{
	const struct ps_index_box *is = &check->sums, *says = check->box;

	if (is->messages != says->messages || is->unseen != says->unseen || is->deleted != says->deleted ||
	    is->size != says->size)
		tell(check, "%u messages (%u unseen, %u deleted, %llu octets), where it says %u (%u, %u, %llu)",
		     is->messages, is->unseen, is->deleted, (unsigned long long)is->size, says->messages, says->unseen,
		     says->deleted, (unsigned long long)says->size);
}

static int check_keywords(struct check *check)
{
	struct ps_bytes names;
	unsigned bit = 0;
	int r = ps_index_keywords(check->txn, check->box->key, &names);

	check->keyword_bits = 0;
	if (r < 0)
		return pass_over(check, r);
	for (size_t at = 0; at < names.len; at += strlen((const char *)names.ptr + at) + 1, bit++)
		if (bit < PS_KEYWORDS_MAX && names.ptr[at] != '\0')
			check->keyword_bits |= UINT64_C(1) << bit;
	if (bit > PS_KEYWORDS_MAX)
		tell(check, "%u keywords", bit);
	return 0;
}

static int check_content(struct check *check)
{
	uint64_t key = check->box->key, rows;
	int r;

	check->sums = (struct ps_index_box){0};
	check->records = 0;
	if ((r = check_keywords(check)) < 0 || (r = check_rows(check)) < 0)
		return r;
	check_sums(check);
	rows = check->records;
	check->records = 0;
	if ((r = index_walk_since(check->txn, DB_CHANGES, key, 0, check_change, check)) < 0)
		return r;
	if (check->records != rows)
		tell(check, "%llu rows and %llu changes", (unsigned long long)rows, (unsigned long long)check->records);
	check->records = 0;
	if ((r = index_walk_since(check->txn, DB_VANISHED, key, 0, check_gone, check)) < 0)
		return r;
	if (check->records != check->box->vanished_count)
		tell(check, "%llu records of what vanished, where it says %u", (unsigned long long)check->records,
		     check->box->vanished_count);
	return 0;
}

static int check_box(void *arg, const struct ps_index_box *box)
{
	struct check *check = arg;
	struct ps_index_box named;
	int r;

	check->box = box;
	check->names++;
	if (box->uid_validity == 0 || box->uid_next == 0 || box->highest_modseq == 0)
		tell(check, "UIDVALIDITY %u, UIDNEXT %u, HIGHESTMODSEQ %llu", box->uid_validity, box->uid_next,
		     (unsigned long long)box->highest_modseq);
	r = ps_index_box_find(check->txn, box->name, &named);
	if (r == PS_E_NOTFOUND || (r == 0 && named.key != box->key))
		tell(check, "its name does not lead to it");
	else if (r < 0 && (r = pass_over(check, r)) < 0)
		return r;
	r = check_content(check);
	check->box = NULL;
	return r;
}

/* ---- what belongs to no mailbox ---------------------------------------------------------------------- */

static int check_owners(struct check *check, enum index_db db, const char *what)
{
	struct ps_index_box box;
	uint64_t be = 0;
	MDB_cursor *cursor;
	MDB_val key, value;
	int rc = mdb_cursor_open(check->txn->txn, check->txn->index->dbi[db], &cursor), r = 0;

	if (rc)
		return index_fail(rc, "cursor");
	while (r == 0) {
		key = index_val(&be, sizeof be);
		if ((rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE)) != 0 || key.mv_size < sizeof be)
			break;
		memcpy(&be, key.mv_data, sizeof be);
		r = ps_index_box(check->txn, be64toh(be), &box);
		if (r == PS_E_NOTFOUND) {
			tell(check, "%s of a mailbox that is not there", what);
			r = 0;
		}
		r = pass_over(check, r);
		be = htobe64(be64toh(be) + 1);
	}
	mdb_cursor_close(cursor);
	return r < 0 || rc == 0 || rc == MDB_NOTFOUND ? r : index_fail(rc, "walk");
}

/* What the check above does not look at: that it can be read. */
static int read_all(struct ps_index_txn *txn, enum index_db db)
{
	MDB_cursor *cursor;
	MDB_val key, value;
	uint32_t crc = 0;
	int rc = mdb_cursor_open(txn->txn, txn->index->dbi[db], &cursor);

	if (rc)
		return index_fail(rc, "cursor");
	while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT)) == 0)
		crc = ps_crc32c(crc, value.mv_data, value.mv_size);
	mdb_cursor_close(cursor);
	return rc == MDB_NOTFOUND ? 0 : index_fail(rc, "walk");
}

static void count_fault(void *arg, const char *sentence)
{
	ps_log(PS_LOG_WARNING, "index_fault", "fault", sentence, NULL);
	(*(unsigned *)arg)++;
}

bool index_is_sound(struct ps_index_txn *txn)
{
	static const enum index_db others[] = {DB_META, DB_CACHE, DB_TOKENS, DB_TOKEN_TIMES};
	unsigned faults = 0;
	int r = ps_index_check(txn, count_fault, &faults);

	for (size_t i = 0; r == 0 && i < PS_ARRAY_LEN(others); i++)
		r = read_all(txn, others[i]);
	return r == 0 && faults == 0;
}

int ps_index_check(struct ps_index_txn *txn, void (*fault)(void *arg, const char *sentence), void *arg)
{
	static const struct {
		enum index_db db;
		const char *what;
	} owned[] = {
		{DB_ROWS, "rows"}, {DB_CHANGES, "changes"}, {DB_VANISHED, "what vanished"}, {DB_KEYWORDS, "keywords"}};
	struct check check = {.txn = txn, .fault = fault, .arg = arg};
	MDB_stat stat;
	int r = pass_over(&check, ps_index_boxes(txn, check_box, &check));

	check.box = NULL;
	if (r == 0 && mdb_stat(txn->txn, txn->index->dbi[DB_NAMES], &stat) == 0 && stat.ms_entries != check.names)
		tell(&check, "%zu names of %llu mailboxes", stat.ms_entries, (unsigned long long)check.names);
	for (size_t i = 0; r == 0 && i < PS_ARRAY_LEN(owned); i++)
		r = check_owners(&check, owned[i].db, owned[i].what);
	return r;
}
