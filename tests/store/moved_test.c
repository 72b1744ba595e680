/* SPDX-License-Identifier: MIT */
/*
 * A store moves while sessions have it open: they go on where it is now, with the mailbox they had selected and its UIDs.
 */
#include <pthread.h>
#include <stdatomic.h>
#include "core/store/mailbox.h"
#include "core/store/place.h"
#include "core/store/reader.h"
#include "core/store/view.h"
#include "tests/store/user.h"

/* Where the mail is, instead of the function of that name in core. */
static pthread_mutex_t place_lock = PTHREAD_MUTEX_INITIALIZER;
static const char *place_root;
static uint64_t place_generation;
static char asked_root[600]; /* whatever place it was opened at, this is the user database's */

int ps_place_find(const struct ps_conf *core_conf, const struct ps_user_info *info, struct ps_pool *pool,
		  struct ps_place *ret_place)
{
	(void)core_conf;
	(void)pool;
	pthread_mutex_lock(&place_lock);
	snprintf(asked_root, sizeof asked_root, "%s", info->root);
	*ret_place = (struct ps_place){
		.backend = info->backend, .root = place_root ? place_root : info->root, .generation = place_generation};
	pthread_mutex_unlock(&place_lock);
	return 0;
}

static void set_place(const char *root, uint64_t generation)
{
	pthread_mutex_lock(&place_lock);
	place_root = root;
	place_generation = generation;
	pthread_mutex_unlock(&place_lock);
}

static bool on_disk(void)
{
	return strcmp(postern_plugin.name, "memory") != 0;
}

/* A copy of the user's mail, if there can be one: made while nobody writes, for cp sees each file that comes and goes. */
static const char *copy_mail(const struct ps_user *user)
{
	static char copy[600];
	char command[1400];

	if (!on_disk())
		return NULL;
	snprintf(copy, sizeof copy, "%s.copy", user->root);
	snprintf(command, sizeof command, "cp -a %s %s", user->root, copy);
	ck_assert_int_eq(system(command), 0);
	return copy;
}

/* What `postern storage switch` will do when mail was copied to "copy": nobody may write to the old store any more. */
static void move_to(struct ps_user *user, const char *copy)
{
	const struct ps_backend *ops = postern_plugin.ops;
	struct ps_store_args args = {.user = user->name, .root = user->root ? user->root : ""};
	struct ps_store *store;

	ck_assert_ok(ops->open(&args, &store));
	if (copy)
		set_place(copy, 1);
	else
		set_place(place_root, 2);
	ck_assert_ok(ops->set_generation(store, 2));
	ops->close(store);
}

static void move(struct ps_user *user)
{
	move_to(user, copy_mail(user));
}

static struct ps_user *fresh_user(void)
{
	set_place(NULL, 0);
	return test_user("moved");
}

static void nothing(void *arg)
{
	(void)arg;
}

static struct ps_view *select_mailbox(struct ps_user *user, const char *name)
{
	struct ps_view *view;

	ck_assert_ok(ps_view_open(user, name, false, nothing, NULL, &view));
	return view;
}

static uint32_t messages(struct ps_view *view)
{
	struct ps_view_status status;

	ck_assert_ok(ps_view_sync(view, PS_SYNC_LOOK | PS_SYNC_EXPUNGE, NULL, NULL));
	ps_view_status(view, &status);
	return status.messages;
}

static int set_seen(struct ps_view *view, uint32_t uid, struct ps_pool *pool, struct ps_op_result *ret_result)
{
	struct ps_set uids = {.ranges = &(struct ps_range){uid, uid}, .count = 1};
	struct ps_flag_change change = {.mode = PS_FLAGS_ADD, .flags = PS_FLAG_SEEN, .unchanged_since = UINT64_MAX};

	return ps_view_change_flags(view, &uids, &change, pool, ret_result);
}

START_TEST(a_session_goes_on)
{
	struct ps_user *user = fresh_user();
	struct ps_pool *pool = ps_pool_create("test");
	struct ps_set first = {.ranges = &(struct ps_range){1, 1}, .count = 1};
	struct ps_view *view, *other;
	struct ps_view_status before, after;
	struct ps_op_result result;

	test_append(user, "INBOX", "Subject: 1\r\n\r\none\r\n", 0);
	test_append(user, "INBOX", "Subject: 2\r\n\r\ntwo\r\n", 0);
	ck_assert_ok(ps_user_create(user, "Other", 0));
	view = select_mailbox(user, "INBOX");
	other = select_mailbox(user, "Other");
	ps_view_status(view, &before);
	move(user);
	ck_assert_ok(set_seen(view, 2, pool, &result));
	ck_assert(result.modseq > before.highest_modseq);
	ck_assert_ptr_ne(ps_user_now(user), user);
	ck_assert_ptr_eq(view->mailbox->user, ps_user_now(user));
	ck_assert_uint_eq(messages(view), 2);
	ps_view_status(view, &after);
	ck_assert_uint_eq(after.uid_validity, before.uid_validity);
	ck_assert_uint_eq(ps_view_row(view, 2)->uid, 2);
	ck_assert_uint_eq(ps_view_row(view, 2)->flags, PS_FLAG_SEEN);
	ck_assert_ok(ps_view_copy(view, &first, "Other", false, pool, &result));
	ck_assert_uint_eq(messages(other), 1);
	test_append(user, "INBOX", "Subject: 3\r\n\r\nthree\r\n", 0);
	ck_assert_uint_eq(messages(view), 3);
	ck_assert_ok(ps_user_create(user, "New", 0));
	ps_view_close(view);
	ps_view_close(other);
	ps_user_close(user);
	ps_pool_destroy(pool);
}
END_TEST

static int count_mailbox(void *arg, const struct ps_mailbox_info *info)
{
	(void)info;
	++*(unsigned *)arg;
	return 0;
}

/* Each of these is the first to meet it. */
START_TEST(whatever_comes_first_follows)
{
	struct ps_user *user = fresh_user();
	struct ps_pool *pool = ps_pool_create("test");
	struct ps_set first = {.ranges = &(struct ps_range){1, 1}, .count = 1};
	struct ps_op_result result;
	struct ps_mailbox_info info;
	struct ps_view *view;
	unsigned count = 0;

	test_append(user, "INBOX", "Subject: 1\r\n\r\none\r\n", PS_FLAG_DELETED);
	ck_assert_ok(ps_user_create(user, "Other", 0));
	view = select_mailbox(user, "INBOX");
	move(user);
	switch (_i) {
	case 0: ck_assert_ok(ps_user_create(user, "New", 0)); break;
	case 1: ck_assert_ok(ps_user_delete(user, "Other")); break;
	case 2: ck_assert_ok(ps_user_rename(user, "Other", "Another")); break;
	case 3: ck_assert_ok(ps_user_subscribe(user, "Other", true)); break;
	case 4: ck_assert_ok(ps_view_expunge(view, NULL)); break;
	case 5: ck_assert_ok(ps_view_copy(view, &first, "Other", true, pool, &result)); break;
	case 6: ck_assert(ps_user_check_moved(user)); break;
	default: ck_assert_ok(ps_user_status(user, "Other", &info)); break;
	}
	if (_i < 7)
		ck_assert_ptr_ne(ps_user_now(user), user);
	ck_assert_uint_eq(messages(view), _i == 4 || _i == 5 ? 0 : 1);
	ck_assert_ok(ps_user_list(user, count_mailbox, &count));
	ck_assert_uint_ge(count, 1);
	ps_view_close(view);
	ps_user_close(user);
	ps_pool_destroy(pool);
}
END_TEST

START_TEST(a_message_on_its_way_is_refused_for_now)
{
	struct ps_user *user = fresh_user();
	struct ps_append_message message = {.internal_date = INT64_MIN};
	struct ps_pool *pool = ps_pool_create("test");
	struct ps_op_result result;
	struct ps_append *append;
	struct ps_view *view = select_mailbox(user, "INBOX");

	ck_assert_ok(ps_append_open(user, "INBOX", &append));
	ck_assert_ok(ps_append_begin(append, &message));
	ck_assert_ok(ps_append_write(append, ps_bytes_str("Subject: x\r\n\r\nx\r\n")));
	move(user);
	ck_assert_ok(ps_append_end(append));
	ck_assert_int_eq(ps_append_commit(append, pool, &result), PS_E_MOVED);
	ps_append_close(append);
	ck_assert_uint_eq(messages(view), 0);
	test_append(user, "INBOX", "Subject: x\r\n\r\nx\r\n", 0);
	ck_assert_uint_eq(messages(view), 1);
	ps_view_close(view);
	ps_user_close(user);
	ps_pool_destroy(pool);
}
END_TEST

START_TEST(reading_goes_on_where_it_began)
{
	struct ps_user *user = fresh_user();
	struct ps_pool *pool = ps_pool_create("test");
	struct ps_op_result result;
	struct ps_reader *reader;
	struct ps_cache cache;
	struct ps_view *view;
	struct ps_body body;

	test_append(user, "INBOX", "Subject: 1\r\n\r\none\r\n", 0);
	view = select_mailbox(user, "INBOX");
	ck_assert_ok(ps_reader_open(view, &reader));
	ck_assert_ok(ps_reader_cache(reader, 1, &cache));
	ck_assert_ok(ps_view_body(view, 1, &body));
	move(user);
	ck_assert_int_eq(set_seen(view, 1, pool, &result), PS_E_MOVED); /* not while a body is open */
	ps_view_body_close(view, &body);
	ck_assert_ok(ps_reader_cache(reader, 1, &cache));
	ck_assert_ok(set_seen(view, 1, pool, &result));
	ck_assert_ok(ps_reader_cache(reader, 1, &cache));
	ps_reader_close(reader);
	ck_assert_ok(ps_view_body(view, 1, &body));
	ps_view_body_close(view, &body);
	ps_view_close(view);
	ps_user_close(user);
	ps_pool_destroy(pool);
}
END_TEST

/* It was removed and made again in between: another mailbox of that name. */
START_TEST(another_mailbox_is_not_mistaken)
{
	struct ps_user *user = fresh_user();
	const struct ps_backend *ops = postern_plugin.ops;
	struct ps_op changes[2] = {{.kind = PS_OP_DELETE, .name = "Other"}, {.kind = PS_OP_CREATE, .name = "Other"}};
	struct ps_pool *pool = ps_pool_create("test");
	struct ps_view *view;

	ck_assert_ok(ps_user_create(user, "Other", 0));
	view = select_mailbox(user, "Other");
	for (int i = 0; i < 2; i++) {
		struct ps_op_result result = {0};
		struct ps_batch batch = {.ops = &changes[i], .count = 1, .pool = pool, .results = &result};
		struct ps_batch *list = &batch;

		ck_assert_ok(ops->commit(user->store, &list, 1));
	}
	move(user);
	ck_assert(ps_user_check_moved(user));
	ck_assert_int_eq(ps_view_sync(view, PS_SYNC_LOOK, NULL, NULL), PS_E_GONE);
	ps_view_close(view);
	ps_user_close(user);
	ps_pool_destroy(pool);
}
END_TEST

static void *follow(void *arg)
{
	struct ps_view *view = arg;

	for (int i = 0; i < 20; i++) {
		struct ps_pool *pool = ps_pool_create("test");
		struct ps_op_result result;

		if (set_seen(view, 1, pool, &result) < 0 || ps_view_sync(view, PS_SYNC_LOOK, NULL, NULL) < 0)
			return arg;
		ps_pool_destroy(pool);
	}
	return NULL;
}

START_TEST(all_sessions_follow_to_one_store)
{
	enum {
		SESSIONS = 6
	};
	struct ps_user *user = fresh_user(), *users[SESSIONS];
	struct ps_view *views[SESSIONS];
	pthread_t threads[SESSIONS];
	const char *copy;

	test_append(user, "INBOX", "Subject: 1\r\n\r\none\r\n", 0);
	for (int i = 0; i < SESSIONS; i++) {
		users[i] = i ? ps_user_ref(user) : user;
		views[i] = select_mailbox(user, "INBOX");
	}
	copy = copy_mail(user);
	for (int i = 0; i < SESSIONS; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, follow, views[i]), 0);
	move_to(user, copy);
	for (int i = 0; i < SESSIONS; i++) {
		void *failed;

		ck_assert_int_eq(pthread_join(threads[i], &failed), 0);
		ck_assert_ptr_null(failed);
	}
	ck_assert(ps_user_check_moved(user));
	for (int i = 0; i < SESSIONS; i++) {
		ck_assert_uint_eq(messages(views[i]), 1);
		ck_assert_ptr_eq(views[i]->mailbox, views[0]->mailbox);
	}
	for (int i = 0; i < SESSIONS; i++) {
		ps_view_close(views[i]);
		ps_user_close(users[i]);
	}
}
END_TEST

START_TEST(it_may_move_again)
{
	struct ps_user *user = fresh_user(), *once, *twice;
	const struct ps_backend *ops = postern_plugin.ops;
	struct ps_view *view = select_mailbox(user, "INBOX");
	struct ps_store_args args = {.user = "moved"};
	struct ps_store *store;
	char origin[600];

	move(user);
	ck_assert(ps_user_check_moved(user));
	strcpy(origin, asked_root);
	test_append(user, "INBOX", "Subject: 1\r\n\r\none\r\n", 0);
	ck_assert_uint_eq(messages(view), 1);
	once = ps_user_now(user);
	args.root = once->root ? once->root : "";
	ck_assert_ok(ops->open(&args, &store));
	place_generation = 3;
	ck_assert_ok(ops->set_generation(store, 3));
	ops->close(store);
	test_append(user, "INBOX", "Subject: 2\r\n\r\ntwo\r\n", 0);
	twice = ps_user_now(user);
	ck_assert_ptr_ne(twice, once);
	ck_assert_str_eq(asked_root, origin);
	ck_assert_uint_eq(messages(view), 2);
	ck_assert_ptr_eq(view->mailbox->user, twice);
	ps_view_close(view);
	ps_user_close(user);
}
END_TEST

/* The store has moved, and nobody says where to: what was told stays, and it is tried again. */
START_TEST(a_lost_store_is_found_later)
{
	struct ps_user *user = fresh_user();
	struct ps_view *view = select_mailbox(user, "INBOX");
	uint64_t right;

	move(user);
	right = place_generation;
	place_generation = 77;
	ck_assert_int_lt(ps_user_create(user, "New", 0), 0);
	ck_assert_ptr_eq(ps_user_now(user), user);
	place_generation = right;
	ck_assert_ok(ps_user_create(user, "New", 0));
	ck_assert_uint_eq(messages(view), 0);
	ps_view_close(view);
	ps_user_close(user);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("store");
	TCase *tc = tcase_create("moved");

	tcase_set_timeout(tc, 60);
	tcase_add_test(tc, a_session_goes_on);
	tcase_add_loop_test(tc, whatever_comes_first_follows, 0, 8);
	tcase_add_test(tc, a_message_on_its_way_is_refused_for_now);
	tcase_add_test(tc, reading_goes_on_where_it_began);
	tcase_add_test(tc, another_mailbox_is_not_mistaken);
	tcase_add_test(tc, all_sessions_follow_to_one_store);
	tcase_add_test(tc, it_may_move_again);
	tcase_add_test(tc, a_lost_store_is_found_later);
	suite_add_tcase(suite, tc);
	return test_main(suite);
}
