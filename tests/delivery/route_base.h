/* SPDX-License-Identifier: MIT */
/* A route from the text of a configuration and of an alias file. */
#ifndef TESTS_DELIVERY_ROUTE_BASE_H
#define TESTS_DELIVERY_ROUTE_BASE_H

#include "core/config/config.h"
#include "core/delivery/route/route.h"
#include "tests/unit.h"

static struct ps_config *test_config;
static struct ps_route *test_route;
static struct ps_pool *test_pool;

static void route_open(const char *conf, const char *aliases)
{
	struct ps_buf text = {0}, errors = {0};

	ps_buf_printf(&text, "mail_root = /m\nhostname = mx.example.org\n%s\n", conf);
	ck_assert_ok(ps_config_read("t.conf", ps_buf_view(&text), NULL, &test_config));
	ck_assert_ok(ps_route_create(ps_config_root(test_config), &test_route));
	test_pool = ps_pool_create("test");
	if (aliases)
		ck_assert_msg(ps_route_set_aliases(test_route, ps_bytes_str(aliases), "aliases", &errors) == 0, "%s",
			      ps_buf_cstr(&errors));
	ps_buf_finish(&text);
	ps_buf_finish(&errors);
}

static void route_close(void)
{
	ps_route_destroy(test_route);
	ps_config_destroy(test_config);
	ps_pool_destroy(test_pool);
}

/* "user alice@example.org/folder", "to bob@example.net", "550 5.1.1" */
static void put_target(const struct ps_target *target, struct ps_buf *out)
{
	if (out->len)
		ps_buf_str(out, ", ");
	switch (target->kind) {
	case PS_TARGET_LOCAL:
		ps_buf_printf(out, "user %s%s%s", target->user, target->detail ? "/" : "",
			      target->detail ? target->detail : "");
		break;
	case PS_TARGET_REMOTE: ps_buf_printf(out, "to %s", target->address); break;
	case PS_TARGET_REFUSED: ps_buf_printf(out, "%u %s", target->code, target->enhanced); break;
	}
}

/* Follows an address to its end; `users` are those there are, with blanks round each. */
static void follow_target(const struct ps_target *target, const char *users, struct ps_buf *out)
{
	struct ps_target *others;
	char name[1000];
	size_t count;

	snprintf(name, sizeof name, " %s ", target->kind == PS_TARGET_LOCAL ? target->user : "");
	if (target->kind != PS_TARGET_LOCAL || strstr(users, name)) {
		put_target(target, out);
		return;
	}
	ps_route_otherwise(test_route, test_pool, target, &others, &count);
	for (size_t i = 0; i < count; i++)
		follow_target(&others[i], users, out);
}

static const char *route_of(const char *path, bool relay, const char *users)
{
	struct ps_target *targets;
	struct ps_buf out = {0};
	const char *text;
	size_t count;

	ps_route_expand(test_route, test_pool, path, relay, &targets, &count);
	ck_assert_uint_gt(count, 0);
	for (size_t i = 0; i < count; i++)
		follow_target(&targets[i], users, &out);
	text = ps_pool_strdup(test_pool, ps_buf_cstr(&out));
	ps_buf_finish(&out);
	return text;
}

#endif
