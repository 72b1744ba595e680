/* SPDX-License-Identifier: MIT */
/*
 * What a ledger asks of who keeps bodies, and when. The bodies here are numbers in a table, which can refuse. The laws themselves are
 * the conformance kit's, on the backends that stand on a ledger.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include "postern/io.h"
#include "postern/ledger.h"
#include "tests/lmdb_calls.h"
#include "tests/unit.h"

enum {
	BODIES = 4096
};

struct ps_store {
	struct ps_ledger *ledger;
	bool there[BODIES];
	unsigned puts, syncs, discards;
	unsigned refuse_put; /* the n-th from now; 0: none */
	bool refuse_discard, refuse_sync;
};

struct ps_staged {
	uint64_t length;
};

static char root[256];
static struct ps_pool *pool;
static struct ps_store *store;
static struct ps_mbox *inbox, *other;

/* ---- bodies ---------------------------------------------------------------------------------------- */

static int new_body(struct ps_ledger_txn *txn, uint64_t *ret_body)
{
	int r = ps_ledger_body_new(txn, ret_body);

	if (r < 0)
		return r;
	ck_assert_uint_lt(ps_ledger_number(*ret_body), BODIES);
	txn->store->there[ps_ledger_number(*ret_body)] = true;
	return r;
}

static int put(struct ps_ledger_txn *txn, struct ps_staged *staged, uint64_t *ret_body, uint64_t *ret_length)
{
	int r = new_body(txn, ret_body);

	txn->store->puts++;
	*ret_length = staged->length;
	if (txn->store->refuse_put > 0 && --txn->store->refuse_put == 0)
		return ps_fail(PS_E_FULL, "as the test wants");
	return r;
}

static int copy(struct ps_ledger_txn *txn, uint64_t body, uint64_t *ret_body)
{
	ck_assert(txn->store->there[ps_ledger_number(body)]);
	return new_body(txn, ret_body);
}

static int sync_bodies(struct ps_store *its)
{
	its->syncs++;
	return its->refuse_sync ? ps_fail(PS_E_STORAGE, "as the test wants") : 0;
}

static int discard(struct ps_store *its, uint64_t body)
{
	its->discards++;
	if (its->refuse_discard)
		return ps_fail(PS_E_STORAGE, "as the test wants");
	its->there[ps_ledger_number(body)] = false;
	return 0;
}

static const struct ps_ledger_bodies bodies = {
	.size = sizeof bodies,
	.put = put,
	.copy = copy,
	.sync = sync_bodies,
	.discard = discard,
	.stage_drop = (void (*)(struct ps_staged *))free,
};

static unsigned how_many(void)
{
	unsigned n = 0;

	for (size_t i = 0; i < BODIES; i++)
		n += store->there[i];
	return n;
}

/* ---- a store --------------------------------------------------------------------------------------- */

static void open_store(void)
{
	struct ps_store_args args = {.user = "alice", .root = root, .create = true};

	ck_assert_ok(ps_ledger_open(store, &args, "ledger.mdb", &bodies, &store->ledger));
	ck_assert_ok(ps_ledger_mailbox_open(store, "INBOX", &inbox));
}

static void close_store(void)
{
	ps_ledger_mailbox_close(inbox);
	ps_ledger_mailbox_close(other);
	other = NULL;
	ps_ledger_destroy(store->ledger);
}

static void setup(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(root, sizeof root, "%s/postern-ledger-XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(root));
	pool = ps_pool_create("test");
	store = ps_zalloc(sizeof *store);
	open_store();
}

static void teardown(void)
{
	close_store();
	free(store);
	ps_pool_destroy(pool);
	unit_remove(root);
}

static int commit(const struct ps_op *ops, size_t count)
{
	struct ps_batch batch = {
		.ops = ops, .count = count, .pool = pool, .results = PS_NEWV(pool, struct ps_op_result, count)};
	struct ps_batch *batches[] = {&batch};

	ps_ledger_commit(store, batches, 1);
	return batch.err;
}

static struct ps_op message(void)
{
	struct ps_staged *staged = ps_malloc(sizeof *staged);

	staged->length = 100;
	return (struct ps_op){.kind = PS_OP_APPEND, .mbox = inbox, .staged = staged};
}

static void append(unsigned count)
{
	for (; count > 0; count--)
		ck_assert_ok(commit((struct ps_op[]){message()}, 1));
}

static int on_messages(enum ps_op_kind kind, uint32_t first, uint32_t last)
{
	struct ps_range uids = {first, last};

	return commit(
		&(struct ps_op){
			.kind = kind, .mbox = inbox, .target = other ? other : inbox, .uids = &uids, .uid_count = 1},
		1);
}

static void nudge(void)
{
	ck_assert_ok(commit(&(struct ps_op){.kind = PS_OP_ATTRIBUTES, .name = "INBOX"}, 1));
}

static struct ps_mailbox_info info(void)
{
	struct ps_mailbox_info info;
	struct ps_read *read;

	ck_assert_ok(ps_ledger_read_begin(store, &read));
	ck_assert_ok(ps_indexed_info(read, inbox, &info));
	ps_indexed_end(read);
	return info;
}

static uint64_t body_of(struct ps_mbox *mbox, uint32_t uid)
{
	uint64_t body;

	ck_assert_ok(ps_ledger_find(mbox, uid, &body));
	return ps_ledger_number(body);
}

/* ---- what it asks for -------------------------------------------------------------------------------- */

START_TEST(each_message_has_a_body_and_the_length_that_put_says)
{
	append(2);
	ck_assert_uint_eq(body_of(inbox, 1), 1);
	ck_assert_uint_eq(body_of(inbox, 2), 2);
	ck_assert_uint_eq(info().size, 200);
}
END_TEST

START_TEST(bodies_of_a_batch_that_is_refused_are_discarded_and_their_numbers_given_again)
{
	struct ps_op ops[] = {message(), message(), message()};

	append(1);
	store->refuse_put = 3;
	ck_assert_int_eq(commit(ops, 3), PS_E_FULL);
	ck_assert_uint_eq(store->puts, 4);
	ck_assert_uint_eq(how_many(), 1);
	ck_assert_uint_eq(info().messages, 1);
	append(1);
	ck_assert_uint_eq(body_of(inbox, 2), 2);
}
END_TEST

START_TEST(what_cannot_be_made_durable_is_refused_and_discarded)
{
	store->refuse_sync = true;
	ck_assert_int_eq(commit((struct ps_op[]){message()}, 1), PS_E_STORAGE);
	ck_assert_uint_eq(how_many(), 0);
	ck_assert_uint_eq(info().messages, 0);
}
END_TEST

START_TEST(bodies_are_synced_once_a_commit_and_only_when_there_are_new_ones)
{
	ck_assert_ok(commit((struct ps_op[]){message(), message(), message()}, 3));
	ck_assert_uint_eq(store->syncs, 1);
	nudge();
	ck_assert_uint_eq(store->syncs, 1);
}
END_TEST

START_TEST(what_is_expunged_is_discarded_at_once)
{
	append(3);
	ck_assert_ok(on_messages(PS_OP_EXPUNGE, 1, 2));
	ck_assert_uint_eq(how_many(), 1);
	ck_assert(store->there[3]);
}
END_TEST

START_TEST(numbers_of_bodies_are_not_used_again)
{
	append(1);
	ck_assert_ok(on_messages(PS_OP_EXPUNGE, 1, 1));
	append(1);
	ck_assert_uint_eq(body_of(inbox, 2), 2);
}
END_TEST

START_TEST(what_could_not_be_discarded_is_asked_for_again)
{
	append(3);
	store->refuse_discard = true;
	ck_assert_ok(on_messages(PS_OP_EXPUNGE, 1, 3));
	nudge();
	ck_assert_uint_eq(how_many(), 3);
	store->refuse_discard = false;
	nudge();
	ck_assert_uint_eq(how_many(), 0);
}
END_TEST

START_TEST(and_again_by_who_opens_the_store_next)
{
	unsigned removed;

	append(3);
	store->refuse_discard = true;
	ck_assert_ok(on_messages(PS_OP_EXPUNGE, 1, 3));
	close_store();
	store->refuse_discard = false;
	open_store();
	ck_assert_uint_eq(how_many(), 3);
	ck_assert_ok(ps_ledger_reap(store->ledger, UINT32_MAX, &removed));
	ck_assert_uint_eq(removed, 3);
	ck_assert_uint_eq(how_many(), 0);
}
END_TEST

START_TEST(a_grave_is_levelled_when_the_discarding_is_durable)
{
	unsigned discards;

	append(1);
	ck_assert_ok(on_messages(PS_OP_EXPUNGE, 1, 1));
	store->refuse_sync = true;
	ck_assert_int_eq(commit(&(struct ps_op){.kind = PS_OP_ATTRIBUTES, .name = "INBOX"}, 1), PS_E_STORAGE);
	store->refuse_sync = false;
	discards = store->discards;
	nudge();
	ck_assert_uint_eq(store->discards, discards + 1);
	nudge();
	ck_assert_uint_eq(store->discards, discards + 1);
}
END_TEST

START_TEST(a_mailbox_takes_its_bodies_along)
{
	ck_assert_ok(commit(&(struct ps_op){.kind = PS_OP_CREATE, .name = "Work"}, 1));
	ck_assert_ok(ps_ledger_mailbox_open(store, "Work", &other));
	append(2);
	ck_assert_ok(on_messages(PS_OP_COPY, 1, 2));
	ck_assert_uint_eq(how_many(), 4);
	ck_assert_ok(commit(&(struct ps_op){.kind = PS_OP_DELETE, .name = "Work"}, 1));
	ck_assert_uint_eq(how_many(), 2);
	ck_assert(store->there[1] && store->there[2]);
}
END_TEST

START_TEST(a_move_keeps_the_body)
{
	append(1);
	ck_assert_ok(on_messages(PS_OP_MOVE, 1, 1));
	ck_assert_uint_eq(body_of(inbox, 2), 1);
	ck_assert_uint_eq(store->discards, 0);
}
END_TEST

/* ---- caches ------------------------------------------------------------------------------------------ */

static void cache_must_be(uint32_t uid, const char *text)
{
	struct ps_bytes cache;
	struct ps_read *read;

	ck_assert_ok(ps_ledger_read_begin(store, &read));
	if (text) {
		ck_assert_ok(ps_ledger_cache(read, inbox, uid, &cache));
		ck_assert_bytes_eq(cache, text);
	} else {
		ck_assert_int_eq(ps_ledger_cache(read, inbox, uid, &cache), PS_E_NOTFOUND);
	}
	ps_indexed_end(read);
}

START_TEST(a_cache_is_had_at_once_and_kept_by_the_next_commit)
{
	append(1);
	cache_must_be(1, NULL);
	ck_assert_ok(ps_ledger_cache_put(inbox, 1, ps_bytes("derived", 7)));
	cache_must_be(1, "derived");
	nudge();
	close_store();
	open_store();
	cache_must_be(1, "derived");
}
END_TEST

START_TEST(a_copy_and_a_moved_message_have_the_cache)
{
	append(1);
	ck_assert_ok(ps_ledger_cache_put(inbox, 1, ps_bytes("derived", 7)));
	ck_assert_ok(on_messages(PS_OP_COPY, 1, 1));
	ck_assert_ok(on_messages(PS_OP_MOVE, 1, 1));
	cache_must_be(2, "derived");
	cache_must_be(3, "derived");
}
END_TEST

START_TEST(a_cache_for_what_was_expunged_meanwhile_is_dropped)
{
	append(2);
	ck_assert_ok(ps_ledger_cache_put(inbox, 1, ps_bytes("derived", 7)));
	ck_assert_ok(on_messages(PS_OP_EXPUNGE, 1, 1));
	ck_assert_int_eq(ps_ledger_cache_put(inbox, 1, ps_bytes("derived", 7)), PS_E_GONE);
	nudge();
	cache_must_be(2, NULL);
}
END_TEST

/* ---- staged files ------------------------------------------------------------------------------------ */

static int folder(void)
{
	return open(root, O_RDONLY | O_DIRECTORY);
}

START_TEST(a_sweep_removes_files_when_nobody_else_may_be_making_them)
{
	int mine = folder(), another = folder(), fd;
	char name[PS_IO_NAME_SIZE];

	ck_assert_ok(ps_io_sweep(mine, "new-"));
	ck_assert_ok(ps_io_new_file(mine, "new-", name, &fd));
	ck_assert_ok(ps_io_sweep(another, "new-"));
	ck_assert_int_eq(faccessat(mine, name, F_OK, 0), 0);
	close(mine);
	ck_assert_ok(ps_io_sweep(another, "new-"));
	ck_assert_int_ne(faccessat(another, name, F_OK, 0), 0);
	ck_assert_int_eq(faccessat(another, "ledger.mdb", F_OK, 0), 0);
	close(another);
	close(fd);
}
END_TEST

START_TEST(a_folder_is_made_with_its_parents)
{
	char path[300];

	snprintf(path, sizeof path, "%s/a/b/c", root);
	ck_assert_ok(ps_io_make_dir(path));
	ck_assert_ok(ps_io_make_dir(path));
	ck_assert_int_eq(access(path, W_OK), 0);
	snprintf(path, sizeof path, "%s/ledger.mdb/x", root);
	ck_assert_int_lt(ps_io_make_dir(path), 0);
}
END_TEST

START_TEST(a_store_that_is_not_there_is_not_made_unless_asked)
{
	char elsewhere[300];
	struct ps_store_args args = {.user = "alice", .root = elsewhere};
	struct ps_store none = {0};

	snprintf(elsewhere, sizeof elsewhere, "%s/none", root);
	ck_assert_int_eq(ps_ledger_open(&none, &args, "ledger.mdb", &bodies, &none.ledger), PS_E_NOTFOUND);
	ps_ledger_destroy(none.ledger);
	ck_assert_int_ne(access(elsewhere, F_OK), 0);
	args.root = root;
	ck_assert_int_eq(ps_ledger_open(&none, &args, "another.mdb", &bodies, &none.ledger), PS_E_NOTFOUND);
	ps_ledger_destroy(none.ledger);
}
END_TEST

/* ---- room -------------------------------------------------------------------------------------------- */

static struct ps_io whole_io;
static off_t granted; /* the file's blocks end here */
static bool is_full;
static unsigned asked, taken_back;

/* As tmpfs does it: of what cannot be given whole, what was given before is taken back. */
static int allocate_as_tmpfs(int fd, off_t offset, off_t len)
{
	asked++;
	if (is_full) {
		taken_back += offset < granted;
		errno = ENOSPC;
		return -1;
	}
	granted = offset + len;
	return whole_io.allocate(fd, offset, len);
}

static void set_disk(bool full)
{
	is_full = full;
	asked = taken_back = 0;
}

static int reserve(uint64_t octets)
{
	struct ps_ledger_txn *txn;
	int r;

	ck_assert_ok(ps_ledger_txn_begin(store->ledger, &txn));
	r = ps_ledger_reserve(txn, octets);
	ps_ledger_txn_end(txn);
	return r;
}

START_TEST(what_was_reserved_is_not_asked_for_again)
{
	whole_io = ps_io;
	ps_io.allocate = allocate_as_tmpfs;
	set_disk(false);
	ck_assert_ok(reserve(1 << 20));
	ck_assert_uint_eq(asked, 1);
	ck_assert_ok(reserve(1 << 20));
	ck_assert_uint_eq(asked, 1);
	set_disk(true);
	ck_assert_int_eq(reserve(100 << 20), PS_E_FULL);
	ck_assert_uint_eq(asked, 1);
	ck_assert_uint_eq(taken_back, 0);
	ck_assert_ok(reserve(1 << 20));
	close_store();
	open_store(); /* which knows no more than the file tells */
	ck_assert_int_eq(reserve(100 << 20), PS_E_FULL);
	ck_assert_uint_eq(taken_back, 0);
	ps_io = whole_io;
}
END_TEST

/* ---- LMDB's calls that fail -------------------------------------------------------------------------- */

/* What there must be. */
static unsigned messages;
static uint32_t uid_next;
static uint64_t generation;
static bool has_work;

static int commit_two(const struct ps_op *first, const struct ps_op *second, int ret[2])
{
	struct ps_batch one = {.ops = first, .count = 1, .pool = pool, .results = PS_NEW(pool, struct ps_op_result)};
	struct ps_batch two = {.ops = second, .count = 1, .pool = pool, .results = PS_NEW(pool, struct ps_op_result)};
	int r = ps_ledger_commit(store, (struct ps_batch *[]){&one, &two}, 2);

	ret[0] = one.err;
	ret[1] = two.err;
	return r;
}

/* What each does is counted when it is said to be done. */
static void add_two(void)
{
	struct ps_op first = message(), second = message();
	int r[2];

	second.cache = ps_bytes("derived", 7);
	commit_two(&first, &second, r);
	messages += (r[0] == 0) + (r[1] == 0);
}

static void flag_and_copy(void)
{
	struct ps_range first = {1, 1};
	const char *keywords[] = {"one", NULL};
	struct ps_op flags = {.kind = PS_OP_FLAGS,
			      .mbox = inbox,
			      .uids = &first,
			      .uid_count = 1,
			      .flag_mode = PS_FLAGS_ADD,
			      .flags = PS_FLAG_SEEN,
			      .keywords = keywords,
			      .unchanged_since = UINT64_MAX};

	(void)commit(&flags, 1);
	messages += on_messages(PS_OP_COPY, 1, 1) == 0;
}

static void make_and_remove_a_mailbox(void)
{
	if (!has_work)
		has_work = commit(&(struct ps_op){.kind = PS_OP_CREATE, .name = "Work"}, 1) == 0;
	(void)commit(&(struct ps_op){.kind = PS_OP_SUBSCRIBE, .name = "Work", .subscribed = true}, 1);
	(void)commit(&(struct ps_op){.kind = PS_OP_IDENTITY, .name = "INBOX", .uid_next = uid_next + 1}, 1);
	if (has_work)
		has_work = commit(&(struct ps_op){.kind = PS_OP_DELETE, .name = "Work"}, 1) != 0;
}

static void keep_a_cache(void)
{
	(void)ps_ledger_cache_put(inbox, 1, ps_bytes("derived", 7));
	(void)ps_ledger_reap(store->ledger, UINT32_MAX, NULL);
}

static void expunge_all_but_one(void)
{
	if (on_messages(PS_OP_EXPUNGE, 2, UINT32_MAX) == 0)
		messages = 1;
	if (ps_ledger_set_generation(store, generation + 1) == 0)
		generation++;
}

static const struct {
	void (*run)(void);
} deeds[] = {{add_two}, {flag_and_copy}, {make_and_remove_a_mailbox}, {keep_a_cache}, {expunge_all_but_one}};

/* Each message has a body that is there, and no mailbox is there that was not made. */
static void all_is_as_was_said(void)
{
	struct ps_mbox *work;
	unsigned seen = 0;
	uint64_t body, stored;

	for (uint32_t uid = 1, end = info().uid_next; uid < end; uid++) {
		if (ps_ledger_find(inbox, uid, &body) < 0)
			continue;
		seen++;
		ck_assert(store->there[ps_ledger_number(body)]);
	}
	ck_assert_uint_eq(seen, messages);
	ck_assert_uint_eq(info().messages, messages);
	ck_assert_uint_eq(info().size, 100 * messages);
	ck_assert_ok(ps_ledger_generation(store, &stored));
	ck_assert_uint_eq(stored, generation);
	ck_assert_int_eq(ps_ledger_mailbox_open(store, "Work", &work), has_work ? 0 : PS_E_NOTFOUND);
	if (has_work)
		ps_ledger_mailbox_close(work);
}

static const int lmdb_faults[] = {EIO, ENOSPC, ENOMEM, MDB_MAP_FULL};

START_TEST(any_call_of_lmdb_may_fail)
{
	bool over = false;
	int n = 0;

	append(1);
	messages = 1;
	ck_assert_ok(ps_ledger_generation(store, &generation));
	for (size_t i = 0; i < PS_ARRAY_LEN(deeds); i++)
		for (n = 0, over = false; !over; n++) {
			uid_next = info().uid_next;
			lmdb_arm(n, lmdb_faults[_i]);
			deeds[i].run();
			over = lmdb_disarm();
			all_is_as_was_said();
			close_store();
			open_store();
			all_is_as_was_said();
			nudge();
		}
	ck_assert_int_gt(n, 5);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("ledger");
	TCase *tc = tcase_create("ledger");

	tcase_add_checked_fixture(tc, setup, teardown);
	tcase_add_test(tc, each_message_has_a_body_and_the_length_that_put_says);
	tcase_add_test(tc, bodies_of_a_batch_that_is_refused_are_discarded_and_their_numbers_given_again);
	tcase_add_test(tc, what_cannot_be_made_durable_is_refused_and_discarded);
	tcase_add_test(tc, bodies_are_synced_once_a_commit_and_only_when_there_are_new_ones);
	tcase_add_test(tc, what_is_expunged_is_discarded_at_once);
	tcase_add_test(tc, numbers_of_bodies_are_not_used_again);
	tcase_add_test(tc, what_could_not_be_discarded_is_asked_for_again);
	tcase_add_test(tc, and_again_by_who_opens_the_store_next);
	tcase_add_test(tc, a_grave_is_levelled_when_the_discarding_is_durable);
	tcase_add_test(tc, a_mailbox_takes_its_bodies_along);
	tcase_add_test(tc, a_move_keeps_the_body);
	tcase_add_test(tc, a_cache_is_had_at_once_and_kept_by_the_next_commit);
	tcase_add_test(tc, a_copy_and_a_moved_message_have_the_cache);
	tcase_add_test(tc, a_cache_for_what_was_expunged_meanwhile_is_dropped);
	tcase_add_test(tc, a_sweep_removes_files_when_nobody_else_may_be_making_them);
	tcase_add_test(tc, a_folder_is_made_with_its_parents);
	tcase_add_test(tc, a_store_that_is_not_there_is_not_made_unless_asked);
	tcase_add_test(tc, what_was_reserved_is_not_asked_for_again);
	tcase_add_loop_test(tc, any_call_of_lmdb_may_fail, 0, PS_ARRAY_LEN(lmdb_faults));
	suite_add_tcase(s, tc);
	return unit_main(s);
}
