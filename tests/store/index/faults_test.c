/* SPDX-License-Identifier: MIT */
/*
 * Each call of LMDB that a function of the index makes fails once: the function says so, and what its transaction had changed is gone with it.
 * Without a fault it does what it is for.
 */
#include <errno.h>
#include <stdio.h>
#include <unistd.h>
#include "core/store/index/index_private.h"
#include "tests/lmdb_calls.h"
#include "tests/unit.h"

enum {
	NOW = 100 * PS_TOKEN_SECONDS,
};

static char folder[64], file[96];
static struct ps_index *ix;
static struct ps_index_box inbox;

static const struct ps_index_how how = {.databases = (const char *const[]){NULL}, .map = 1 << 20};

static struct ps_index_txn *begin(void)
{
	struct ps_index_txn *txn;

	ck_assert_ok(ps_index_write(ix, &txn));
	return txn;
}

static int put_row(struct ps_index_txn *txn, uint32_t uid, uint64_t modseq)
{
	struct ps_row row = {.uid = uid, .modseq = modseq, .size = 10};

	return ps_index_row_put(txn, &inbox, &row, ps_bytes_str("x"));
}

static int put_token(struct ps_index_txn *txn, const char *octets, int64_t time)
{
	return ps_index_token_put(txn, &(struct ps_index_token){.octets = ps_bytes_str(octets), .time = time});
}

/* Rows 1 to 4 of INBOX, 5 to 7 have vanished; of everything else one. */
static void setup(void)
{
	const char *tmp = getenv("TMPDIR");
	struct ps_index_txn *txn;
	bool changed;

	snprintf(folder, sizeof folder, "%s/postern-index-XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(folder));
	snprintf(file, sizeof file, "%s/index", folder);
	ck_assert_ok(ps_index_open_durable(file, &how, &ix));
	inbox = (struct ps_index_box){.uid_validity = 1, .uid_next = 8, .name = "INBOX"};
	txn = begin();
	ck_assert_ok(ps_index_box_put(txn, &inbox));
	for (uint32_t uid = 1; uid <= 7; uid++)
		ck_assert_ok(put_row(txn, uid, uid));
	for (uint32_t uid = 5; uid <= 7; uid++)
		ck_assert_ok(ps_index_row_vanish(txn, &inbox, uid, 8));
	ck_assert_ok(ps_index_cache_put(txn, inbox.key, 1, ps_bytes_str("cache")));
	ck_assert_ok(ps_index_keywords_put(txn, inbox.key, ps_bytes_str("one")));
	ck_assert_ok(put_token(txn, "old", NOW - PS_TOKEN_SECONDS));
	ck_assert_ok(put_token(txn, "new", NOW));
	ck_assert_ok(ps_index_grave_put(txn, 17));
	ck_assert_ok(ps_index_subscribe(txn, "INBOX", true, &changed));
	ck_assert_ok(ps_index_meta_put(txn, "meta", ps_bytes_str("value")));
	ck_assert_ok(ps_index_number_put(txn, "number", 5));
	ck_assert_ok(ps_index_box_put(txn, &inbox));
	ck_assert_ok(ps_index_commit(txn));
}

static void teardown(void)
{
	ps_index_close(ix);
	unit_remove(folder);
}

/* ---- all that is there, as text ---------------------------------------------------------------------- */

static struct ps_buf seen;

static int see_row(void *arg, const struct ps_row *row, struct ps_bytes locator)
{
	(void)arg, (void)locator;
	return ps_buf_printf(&seen, "%u@%llu ", row->uid, (unsigned long long)row->modseq);
}

static int see_range(void *arg, struct ps_range range)
{
	(void)arg;
	return ps_buf_printf(&seen, "-%u:%u ", range.first, range.last);
}

static int see_token(void *arg, const struct ps_index_token *token)
{
	(void)arg;
	return ps_buf_printf(&seen, "%.*s ", (int)token->octets.len, (const char *)token->octets.ptr);
}

static int see_name(void *arg, const char *name)
{
	(void)arg;
	return ps_buf_printf(&seen, "+%s ", name);
}

static int see_box(void *arg, const struct ps_index_box *box)
{
	(void)arg;
	return ps_buf_printf(&seen, "%s %u ", box->name, box->messages);
}

static const struct ps_range all = {1, UINT32_MAX};

static int see_rows(struct ps_index_txn *txn)
{
	return ps_index_rows(txn, inbox.key, all, see_row, NULL);
}
static int see_changes(struct ps_index_txn *txn)
{
	return ps_index_changed(txn, inbox.key, all, 2, see_row, NULL);
}
static int see_vanished(struct ps_index_txn *txn)
{
	return ps_index_vanished(txn, inbox.key, 1, see_range, NULL);
}
static int see_tokens(struct ps_index_txn *txn)
{
	return ps_index_tokens(txn, see_token, NULL);
}
static int see_subscriptions(struct ps_index_txn *txn)
{
	return ps_index_subscriptions(txn, see_name, NULL);
}
static int see_below(struct ps_index_txn *txn)
{
	return index_walk_names(txn, DB_NAMES, "INBOX", see_name, NULL);
}
static int see_boxes(struct ps_index_txn *txn)
{
	return ps_index_boxes(txn, see_box, NULL);
}

static int see_grave(struct ps_index_txn *txn)
{
	uint64_t body;
	int r = ps_index_grave_next(txn, 0, &body);

	return r < 0 ? r : ps_buf_printf(&seen, "grave %llu ", (unsigned long long)body);
}

static int see_cache(struct ps_index_txn *txn)
{
	struct ps_bytes cache;
	int r = ps_index_cache(txn, inbox.key, 1, &cache);

	return r < 0 ? r : ps_buf_printf(&seen, "%.*s ", (int)cache.len, (const char *)cache.ptr);
}

static int see_number(struct ps_index_txn *txn)
{
	uint64_t number;
	int r = ps_index_number(txn, "number", &number);

	return r < 0 ? r : ps_buf_printf(&seen, "#%llu ", (unsigned long long)number);
}

static const char *state(void)
{
	static int (*const looks[])(struct ps_index_txn *) = {see_boxes,    see_rows,   see_changes,
							      see_vanished, see_tokens, see_subscriptions,
							      see_grave,    see_cache,  see_number};
	struct ps_index_txn *txn;
	int r;

	ps_buf_reset(&seen);
	ck_assert_ok(ps_index_read(ix, &txn));
	for (size_t i = 0; i < PS_ARRAY_LEN(looks); i++) {
		r = looks[i](txn);
		ck_assert_int_eq(r == PS_E_NOTFOUND ? 0 : r, 0);
	}
	ps_index_end(txn);
	return ps_buf_cstr(&seen);
}

/* ---- what is tried ------------------------------------------------------------------------------------ */

static int add_row(struct ps_index_txn *txn)
{
	int r = put_row(txn, 8, 11);

	return r < 0 ? r : ps_index_box_put(txn, &inbox);
}
static int change_row(struct ps_index_txn *txn)
{
	return put_row(txn, 2, 12);
}
static int vanish(struct ps_index_txn *txn)
{
	return ps_index_row_vanish(txn, &inbox, 4, 13);
}
static int forget_vanished(struct ps_index_txn *txn)
{
	return ps_index_vanished_forget(txn, &inbox, 14);
}
static int rename_box(struct ps_index_txn *txn)
{
	snprintf(inbox.name, sizeof inbox.name, "Other");
	return ps_index_box_put(txn, &inbox);
}
static int remove_box(struct ps_index_txn *txn)
{
	return ps_index_box_remove(txn, inbox.key);
}
static int put_cache(struct ps_index_txn *txn)
{
	return ps_index_cache_put(txn, inbox.key, 1, ps_bytes_str("another"));
}
static int remove_cache(struct ps_index_txn *txn)
{
	return ps_index_cache_del(txn, inbox.key, 1);
}
static int add_token(struct ps_index_txn *txn) /* the old one is forgotten */
{
	return put_token(txn, "newer", NOW + 1);
}
static int renew_token(struct ps_index_txn *txn)
{
	return put_token(txn, "new", NOW + 2);
}
static int remove_token(struct ps_index_txn *txn)
{
	return ps_index_token_remove(txn, ps_bytes_str("new"));
}
static int bury(struct ps_index_txn *txn)
{
	return ps_index_grave_put(txn, 3);
}
static int dig_up(struct ps_index_txn *txn)
{
	return ps_index_grave_del(txn, 17);
}
static int subscribe(struct ps_index_txn *txn)
{
	bool changed;

	return ps_index_subscribe(txn, "Other", true, &changed);
}
static int unsubscribe(struct ps_index_txn *txn)
{
	bool changed;

	return ps_index_subscribe(txn, "INBOX", false, &changed);
}

static int raise_number(struct ps_index_txn *txn)
{
	uint64_t number;
	int r = ps_index_number(txn, "number", &number);

	return r < 0 ? r : ps_index_number_put(txn, "number", number + 1);
}

#define BOX       "INBOX 4 "
#define ROWS      "1@1 2@2 3@3 4@4 3@3 4@4 "
#define VANISHED  "-5:7 "
#define TOKENS    "new old "
#define NUMBER    "#5 "
#define THE_REST  "+INBOX grave 17 cache " NUMBER
#define UNCHANGED BOX ROWS VANISHED TOKENS THE_REST

static const struct {
	int (*run)(struct ps_index_txn *txn);
	const char *then;
} deeds[] = {
	{add_row, "INBOX 5 1@1 2@2 3@3 4@4 8@11 3@3 4@4 8@11 " VANISHED TOKENS THE_REST},
	{change_row, BOX "1@1 2@12 3@3 4@4 2@12 3@3 4@4 " VANISHED TOKENS THE_REST},
	{vanish, BOX "1@1 2@2 3@3 3@3 -5:7 -4:4 " TOKENS THE_REST},
	{forget_vanished, BOX ROWS TOKENS THE_REST},
	{rename_box, "Other 4 " ROWS VANISHED TOKENS THE_REST},
	{remove_box, TOKENS "+INBOX grave 17 " NUMBER},
	{put_cache, BOX ROWS VANISHED TOKENS "+INBOX grave 17 another " NUMBER},
	{remove_cache, BOX ROWS VANISHED TOKENS "+INBOX grave 17 " NUMBER},
	{add_token, BOX ROWS VANISHED "newer new " THE_REST},
	{renew_token, UNCHANGED},
	{remove_token, BOX ROWS VANISHED "old " THE_REST},
	{bury, BOX ROWS VANISHED TOKENS "+INBOX grave 3 cache " NUMBER},
	{dig_up, BOX ROWS VANISHED TOKENS "+INBOX cache " NUMBER},
	{subscribe, BOX ROWS VANISHED TOKENS "+INBOX +Other grave 17 cache " NUMBER},
	{unsubscribe, BOX ROWS VANISHED TOKENS "grave 17 cache " NUMBER},
	{raise_number, BOX ROWS VANISHED TOKENS "+INBOX grave 17 cache #6 "},
	{see_rows, UNCHANGED},
	{see_changes, UNCHANGED},
	{see_vanished, UNCHANGED},
	{see_tokens, UNCHANGED},
	{see_subscriptions, UNCHANGED},
	{see_boxes, UNCHANGED},
	{see_below, UNCHANGED},
	{see_grave, UNCHANGED},
	{see_number, UNCHANGED},
};

static const struct {
	int rc, error;
} faults[] = {{EIO, PS_E_STORAGE}, {ENOSPC, PS_E_FULL}, {MDB_MAP_FULL, PS_E_AGAIN}, {MDB_CORRUPTED, PS_E_CORRUPT}};

/* With the n-th call failing. True: so many there were not, and it is done. */
static bool try(size_t deed, int n, size_t fault)
{
	struct ps_index_box before = inbox;
	struct ps_index_txn *txn = begin();
	bool over;
	int r;

	lmdb_arm(n, faults[fault].rc);
	r = deeds[deed].run(txn);
	over = lmdb_disarm();
	if (over) {
		ck_assert_ok(r);
		ck_assert_ok(ps_index_commit(txn));
		return true;
	}
	ck_assert_int_eq(r, faults[fault].error);
	ps_index_end(txn);
	inbox = before;
	ck_assert_str_eq(state(), UNCHANGED);
	return false;
}

START_TEST(a_call_that_fails_is_told_and_leaves_nothing)
{
	ck_assert_str_eq(state(), UNCHANGED);
	for (size_t fault = 0; fault < PS_ARRAY_LEN(faults); fault++) {
		int n = 0;

		while (!try((size_t)_i, n, fault))
			ck_assert_int_lt(n++, 100);
		ck_assert_int_gt(n, 0);
		ck_assert_str_eq(state(), deeds[_i].then);
		teardown();
		setup();
	}
}
END_TEST

START_TEST(a_transaction_that_cannot_begin_or_end_changes_nothing)
{
	struct ps_index_txn *txn;

	lmdb_arm(0, EIO);
	ck_assert_int_eq(ps_index_write(ix, &txn), PS_E_STORAGE);
	lmdb_arm(0, MDB_READERS_FULL);
	ck_assert_int_eq(ps_index_read(ix, &txn), PS_E_SCARCE);
	txn = begin();
	ck_assert_ok(add_row(txn));
	lmdb_arm(0, ENOSPC);
	ck_assert_int_eq(ps_index_commit(txn), PS_E_FULL);
	ck_assert_str_eq(state(), UNCHANGED);
	lmdb_arm(0, ENOMEM);
	ck_assert_int_eq(ps_index_grow(ix), PS_E_SCARCE);
	ck_assert_ok(ps_index_grow(ix));
	txn = begin();
	ck_assert_ok(ps_index_meta_del(txn, "meta"));
	ck_assert_ok(ps_index_meta_del(txn, "meta"));
	ck_assert_int_eq(ps_index_meta(txn, "meta", &(struct ps_bytes){0}), PS_E_NOTFOUND);
	ck_assert_ok(ps_index_commit(txn));
}
END_TEST

START_TEST(a_number_that_is_none_is_told)
{
	struct ps_index_txn *txn;
	uint64_t number = 1;

	ck_assert_ok(ps_index_read(ix, &txn));
	ck_assert_int_eq(ps_index_number(txn, "meta", &number), PS_E_CORRUPT);
	ck_assert_ok(ps_index_number(txn, "another", &number));
	ck_assert_uint_eq(number, 0);
	ps_index_end(txn);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("index_faults");
	TCase *tc = tcase_create("faults");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_loop_test(tc, a_call_that_fails_is_told_and_leaves_nothing, 0, PS_ARRAY_LEN(deeds));
	tcase_add_test(tc, a_number_that_is_none_is_told);
	tcase_add_test(tc, a_transaction_that_cannot_begin_or_end_changes_nothing);
	suite_add_tcase(s, tc);
	return unit_main(s);
}
