/* SPDX-License-Identifier: MIT */
/*
 * Users over a backend that is linked in: tests of core/store are built once with the reference and once with maildir.
 */
#ifndef TESTS_STORE_USER_H
#define TESTS_STORE_USER_H

#include <stdio.h>
#include <unistd.h>
#include "core/store/user.h"
#include "postern/plugin.h"
#include "tests/unit.h"

extern const struct ps_plugin postern_plugin;

static char test_dir[256];

/* Each test is a process and has a place of its own. */
static inline struct ps_user *test_user(const char *name)
{
	struct ps_user_info info = {.name = name, .backend = postern_plugin.name};
	struct ps_user *user;
	char root[512];

	snprintf(root, sizeof root, "%s/%s.%ld", test_dir, name, (long)getpid());
	info.root = root;
	ck_assert_ok(ps_user_open_with(postern_plugin.ops, NULL, NULL, &info, &user));
	return user;
}

static inline int test_main(Suite *suite)
{
	const char *tmp = getenv("TMPDIR");
	int r;

	snprintf(test_dir, sizeof test_dir, "%s/postern-store.XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(test_dir))
		return EXIT_FAILURE;
	r = unit_main(suite);
	unit_remove(test_dir);
	return r;
}

static inline void test_append(struct ps_user *user, const char *mailbox, const char *octets, uint32_t flags)
{
	struct ps_pool *pool = ps_pool_create("test");
	struct ps_append_message message = {.flags = flags, .internal_date = INT64_MIN};
	struct ps_op_result result;
	struct ps_append *append;

	ck_assert_ok(ps_append_open(user, mailbox, &append));
	ck_assert_ok(ps_append_begin(append, &message));
	ck_assert_ok(ps_append_write(append, ps_bytes_str(octets)));
	ck_assert_ok(ps_append_end(append));
	ck_assert_ok(ps_append_commit(append, pool, &result));
	ps_append_close(append);
	ps_pool_destroy(pool);
}

#endif
