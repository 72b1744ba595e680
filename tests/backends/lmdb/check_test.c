/* SPDX-License-Identifier: MIT */
/* One thing is made wrong in a store that is right, and check() tells that one. */
#include "tests/backends/lmdb/kit.h"

#include <endian.h>

struct chunk_key {
	uint64_t body;
	uint32_t n;
} __attribute__((packed));

#define FIRST (1 | PS_LEDGER_BODY) /* the body of the first message: of three chunks, in two rows */

static MDB_dbi own(const struct ps_ledger_txn *w, enum own_db db)
{
	return ps_index_database(w->index, db);
}

static void put(struct ps_ledger_txn *w, enum own_db db, const void *key, size_t len, MDB_val value)
{
	MDB_val at = val(key, len);

	ck_assert_int_eq(mdb_put(ps_index_lmdb(w->txn), own(w, db), &at, &value, 0), 0);
}

static void del(struct ps_ledger_txn *w, enum own_db db, const void *key, size_t len)
{
	MDB_val at = val(key, len);

	ck_assert_int_eq(mdb_del(ps_index_lmdb(w->txn), own(w, db), &at, NULL), 0);
}

static struct body_record record_of(struct ps_ledger_txn *w)
{
	struct body_record record;

	ck_assert_ok(body_record(w->index, w->txn, FIRST, &record));
	return record;
}

static void change_record(struct ps_ledger_txn *w, const struct body_record *record)
{
	ck_assert_ok(body_put(w, FIRST, record));
}

/* ---- what can be wrong with bodies ------------------------------------------------------------------ */

static void refs(struct ps_ledger_txn *w)
{
	struct body_record record = record_of(w);

	record.refs++;
	change_record(w, &record);
}

static void length(struct ps_ledger_txn *w)
{
	struct body_record record = record_of(w);

	record.length++;
	change_record(w, &record);
}

static void checksum(struct ps_ledger_txn *w)
{
	struct body_record record = record_of(w);

	record.crc ^= 1;
	change_record(w, &record);
}

static void octet(struct ps_ledger_txn *w)
{
	struct chunk_head head;
	struct ps_bytes octets;
	uint8_t copy[CHUNK_PLAIN], *to;

	ck_assert_ok(body_chunk(w->index, w->txn, FIRST, 1, &head, &octets));
	memcpy(copy, octets.ptr, octets.len);
	copy[100] ^= 1;
	ck_assert_ok(body_chunk_put(w, FIRST, 1, &head, octets.len, &to));
	memcpy(to, copy, octets.len);
}

static void chunk_missing(struct ps_ledger_txn *w)
{
	struct chunk_key key = {htobe64(FIRST), htobe32(2)};

	del(w, DB_CHUNKS, &key, sizeof key);
}

static void chunk_short(struct ps_ledger_txn *w)
{
	struct chunk_head head = {.plain = 10};
	uint8_t *to;

	ck_assert_ok(body_chunk_put(w, FIRST, 0, &head, 10, &to));
	memset(to, 'x', 10);
}

static void chunk_lies(struct ps_ledger_txn *w)
{
	struct chunk_head head = {.plain = 11};
	uint8_t *to;

	ck_assert_ok(body_chunk_put(w, FIRST, 0, &head, 10, &to));
	memset(to, 'x', 10);
}

static void chunk_packed(struct ps_ledger_txn *w)
{
	struct chunk_head head = {.plain = CHUNK_PLAIN, .codec = CODEC_ZSTD};
	uint8_t *to;

	ck_assert_ok(body_chunk_put(w, FIRST, 0, &head, 10, &to));
	memset(to, 'x', 10);
}

static void chunk_of_nothing(struct ps_ledger_txn *w)
{
	struct chunk_key key = {htobe64(77 | PS_LEDGER_BODY), 0};

	put(w, DB_CHUNKS, &key, sizeof key, val("12345678x", 9));
}

static void chunk_too_many(struct ps_ledger_txn *w)
{
	struct chunk_key key = {htobe64(FIRST), htobe32(3)};

	put(w, DB_CHUNKS, &key, sizeof key, val("12345678x", 9));
}

static void body_missing(struct ps_ledger_txn *w)
{
	uint64_t key = htobe64(FIRST);

	del(w, DB_BODIES, &key, sizeof key);
}

static void body_record_short(struct ps_ledger_txn *w)
{
	uint64_t key = htobe64(FIRST);

	put(w, DB_BODIES, &key, sizeof key, val("x", 1));
}

static void buried_alive(struct ps_ledger_txn *w)
{
	ck_assert_ok(ps_ledger_bury(w, FIRST));
}

static void grave_of_nothing(struct ps_ledger_txn *w)
{
	ck_assert_ok(ps_ledger_bury(w, 77 | PS_LEDGER_BODY));
}

static void dead_and_not_buried(struct ps_ledger_txn *w)
{
	struct body_record record = {0};

	ck_assert_ok(body_put(w, 99 | PS_LEDGER_BODY, &record));
}

/* ---- and with rows and mailboxes -------------------------------------------------------------------- */

static void counter(struct ps_ledger_txn *w)
{
	struct ps_index_box box;

	ck_assert_ok(ps_index_box_find(w->txn, "INBOX", &box));
	box.unseen++;
	ck_assert_ok(ps_index_box_put(w->txn, &box));
}

static void uid_next(struct ps_ledger_txn *w)
{
	struct ps_index_box box;

	ck_assert_ok(ps_index_box_find(w->txn, "INBOX", &box));
	box.uid_next = 2;
	ck_assert_ok(ps_index_box_put(w->txn, &box));
}

static void modseq_of_store(struct ps_ledger_txn *w)
{
	ck_assert_ok(ps_index_number_put(w->txn, "modseq", 1));
}

/* Changes the row of UID 2, and stores the mailbox as that makes it. */
static void change_row(struct ps_ledger_txn *w, void (*change)(struct ps_row *row), struct ps_bytes other_locator)
{
	struct ps_bytes locator;
	struct ps_index_box box;
	struct ps_row row;
	uint8_t copy[16];

	ck_assert_ok(ps_index_box_find(w->txn, "INBOX", &box));
	ck_assert_ok(ps_index_row(w->txn, box.key, 2, &row, &locator));
	memcpy(copy, locator.ptr, locator.len);
	locator = other_locator.len ? other_locator : ps_bytes(copy, locator.len);
	if (change)
		change(&row);
	ck_assert_ok(ps_index_row_put(w->txn, &box, &row, locator));
	ck_assert_ok(ps_index_box_put(w->txn, &box));
}

static void other_size(struct ps_row *row)
{
	row->size++;
}

static void nameless_keyword(struct ps_row *row)
{
	row->keywords = 1;
}

static void unknown_flag(struct ps_row *row)
{
	row->flags = 1 << 20;
}

static void row_size(struct ps_ledger_txn *w)
{
	change_row(w, other_size, ps_bytes("", 0));
}

static void row_keyword(struct ps_ledger_txn *w)
{
	change_row(w, nameless_keyword, ps_bytes("", 0));
}

static void row_flag(struct ps_ledger_txn *w)
{
	change_row(w, unknown_flag, ps_bytes("", 0));
}

static void row_locator(struct ps_ledger_txn *w)
{
	change_row(w, NULL, ps_bytes("abc", 3));
}

/* Octets of the index's own databases. */
static MDB_dbi dbi_of(struct ps_ledger_txn *w, const char *name)
{
	MDB_dbi dbi;

	ck_assert_int_eq(mdb_dbi_open(ps_index_lmdb(w->txn), name, 0, &dbi), 0);
	return dbi;
}

static void damage_last(struct ps_ledger_txn *w, const char *name, bool remove)
{
	uint8_t copy[1024];
	MDB_cursor *cursor;
	MDB_val key, value;

	ck_assert_int_eq(mdb_cursor_open(ps_index_lmdb(w->txn), dbi_of(w, name), &cursor), 0);
	ck_assert_int_eq(mdb_cursor_get(cursor, &key, &value, MDB_LAST), 0);
	if (remove) {
		ck_assert_int_eq(mdb_cursor_del(cursor, 0), 0);
	} else {
		memcpy(copy, value.mv_data, value.mv_size);
		copy[value.mv_size / 2] ^= 1;
		value.mv_data = copy;
		ck_assert_int_eq(mdb_cursor_put(cursor, &key, &value, MDB_CURRENT), 0);
	}
	mdb_cursor_close(cursor);
}

static void row_octet(struct ps_ledger_txn *w)
{
	damage_last(w, "rows", false);
}

static void row_missing(struct ps_ledger_txn *w)
{
	damage_last(w, "rows", true);
}

static void change_missing(struct ps_ledger_txn *w)
{
	damage_last(w, "changes", true);
}

static void vanished_missing(struct ps_ledger_txn *w)
{
	damage_last(w, "vanished", true);
}

static void name_missing(struct ps_ledger_txn *w)
{
	damage_last(w, "names", true);
}

static void box_octet(struct ps_ledger_txn *w)
{
	damage_last(w, "boxes", false);
}

static const struct {
	const char *name;
	void (*plant)(struct ps_ledger_txn *w);
	const char *sentence; /* part of what is told first */
} faults[] = {
	{"refs", refs, "2 rows have it, where it says 3"},
	{"length", length, "where a row says"},
	{"checksum", checksum, "not those that were stored"},
	{"octet", octet, "not those that were stored"},
	{"chunk missing", chunk_missing, "lacks chunk 2"},
	{"chunk short", chunk_short, "chunk 0 has 10 octets"},
	{"chunk lies", chunk_lies, "says that it has 11 octets"},
	{"chunk packed", chunk_packed, "compressed"},
	{"chunk of nothing", chunk_of_nothing, "a chunk of message 77, which is not there"},
	{"chunk too many", chunk_too_many, "a chunk of message 1, which is not there"},
	{"body missing", body_missing, "a row has message 1, which is not there"},
	{"body record short", body_record_short, "has 1 octets"},
	{"buried alive", buried_alive, "is in the graves"},
	{"grave of nothing", grave_of_nothing, "the grave of message 77"},
	{"dead and not buried", dead_and_not_buried, "is not in the graves"},
	{"counter", counter, "2 unseen"},
	{"uid_next", uid_next, "where 2 is the next"},
	{"modseq of the store", modseq_of_store, "the highest modseq is 1"},
	{"size of a row", row_size, "where a row says"},
	{"keyword of a row", row_keyword, "keywords without a name"},
	{"flag of a row", row_flag, "has flags 0x100000"},
	{"locator of a row", row_locator, "where its body is"},
	{"octet of a row", row_octet, "is damaged"},
	{"row missing", row_missing, "where it says"},
	{"change missing", change_missing, "missing in the order of changes"},
	{"vanished missing", vanished_missing, "records of what vanished"},
	{"name missing", name_missing, "its name does not lead to it"},
	{"octet of a mailbox", box_octet, "damaged"},
};

/* INBOX with UIDs 1 and 2, which share a body of three chunks; UID 3 has vanished. */
static void setup(void)
{
	struct ps_range one = {1, 1};

	kit_setup();
	kit_append(kit_octets(3 * CHUNK_PLAIN - 7, 1));
	ck_assert_ok(kit_do(
		&(struct ps_op){
			.kind = PS_OP_COPY, .mbox = kit.inbox, .target = kit.inbox, .uids = &one, .uid_count = 1},
		NULL));
	kit_append(kit_text(100));
	kit_expunge(3, 3);
	kit_nudge();
}

START_TEST(each_fault_is_told)
{
	const char *first;
	struct ps_ledger_txn *txn;

	kit_sound();
	ck_assert_ok(ps_ledger_txn_begin(kit.store->ledger, &txn));
	faults[_i].plant(txn);
	txn->changed = true;
	ck_assert_ok(ps_ledger_txn_commit(txn));
	ck_assert_msg(kit_faults(&first) > 0, "%s is not told", faults[_i].name);
	ck_assert_msg(strstr(first, faults[_i].sentence), "%s: %s", faults[_i].name, first);
}
END_TEST

START_TEST(what_a_compaction_left_is_told)
{
	const char *first;

	kit_shell("touch mail-compact.tmp");
	ck_assert_uint_eq(kit_faults(&first), 1);
	ck_assert_ptr_nonnull(strstr(first, "mail-compact.tmp"));
}
END_TEST

START_TEST(a_message_being_staged_is_no_fault)
{
	struct ps_staged *staged;

	ck_assert_ok(kit_stage(kit_octets(LARGE, 1), &staged));
	kit_sound();
	be->stage_drop(staged);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("lmdb_check");
	TCase *tc = tcase_create("check");

	tcase_add_checked_fixture(tc, setup, kit_teardown);
	tcase_add_loop_test(tc, each_fault_is_told, 0, PS_ARRAY_LEN(faults));
	tcase_add_test(tc, what_a_compaction_left_is_told);
	tcase_add_test(tc, a_message_being_staged_is_no_fault);
	suite_add_tcase(s, tc);
	return unit_main(s);
}
