/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "auth/apps.h"
#include "auth/entry.h"
#include "auth/nets.h"
#include "auth/passwdfile.h"
#include "auth/passwords.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/pool.h"

/* "ID 1700000000\n" */
enum {
	USE_LINE = PS_APP_ID_LEN + 12,
	USE_STEP = 60, /* seconds that are not told apart */
	USES_MAX = 1 << 20,
};

struct ps_apps {
	struct ps_pool *pool;
	struct ps_app *all;
	size_t count, cap;
};

static struct ps_bytes take_until(struct ps_bytes *rest, char separator)
{
	ptrdiff_t at = ps_bytes_find(*rest, (uint8_t)separator);
	struct ps_bytes field = at < 0 ? *rest : ps_bytes(rest->ptr, (size_t)at);

	*rest = ps_bytes_skip(*rest, field.len + (at >= 0));
	return field;
}

static const char *text_of(struct ps_pool *pool, struct ps_bytes value)
{
	return ps_pool_strndup(pool, (const char *)value.ptr, value.len);
}

/* ---- a line ---------------------------------------------------------------------------------------- */

static int set_field(struct ps_pool *pool, struct ps_app *app, struct ps_bytes key, struct ps_bytes value)
{
	const struct {
		const char *key;
		const char **text;
		uint64_t *number;
	} fields[] = {
		{"id", &app->id, NULL},     {"made", NULL, &app->made},           {"expires", NULL, &app->expires},
		{"nets", &app->nets, NULL}, {"protocols", &app->protocols, NULL},
	};

	for (size_t i = 0; i < PS_ARRAY_LEN(fields); i++) {
		if (!ps_bytes_eq_str(key, fields[i].key))
			continue;
		if (fields[i].number)
			return ps_bytes_u64(value, fields[i].number);
		*fields[i].text = text_of(pool, value);
		return 0;
	}
	return ps_fail(PS_E_UNSUPPORTED, "field \"%.*s\" is not known", (int)key.len, (const char *)key.ptr);
}

static int check_app(const struct ps_app *app)
{
	if (!app->id || strlen(app->id) != PS_APP_ID_LEN)
		return ps_fail(PS_E_INVALID, "the id has not %d characters", PS_APP_ID_LEN);
	if (app->nets && !ps_nets_valid(app->nets))
		return ps_fail(PS_E_INVALID, "\"%s\" is not a list of networks", app->nets);
	return ps_password_stored_check(app->hash);
}

static int read_line(struct ps_pool *pool, struct ps_bytes line, struct ps_app *app)
{
	int r = 0;

	*app = (struct ps_app){.name = ""};
	app->user = text_of(pool, take_until(&line, ':'));
	app->hash = text_of(pool, take_until(&line, ':'));
	while (r == 0 && line.len) {
		struct ps_bytes field;

		if (line.len > 5 && memcmp(line.ptr, "name=", 5) == 0) {
			app->name = text_of(pool, ps_bytes_skip(line, 5));
			break;
		}
		field = take_until(&line, ' ');
		if (field.len) {
			struct ps_bytes key = take_until(&field, '=');

			r = set_field(pool, app, key, field);
		}
	}
	return r < 0 ? r : check_app(app);
}

/* ---- all of them ----------------------------------------------------------------------------------- */

struct ps_apps *ps_apps_parse(struct ps_bytes text, const char *path)
{
	struct ps_apps *apps = ps_zalloc(sizeof *apps);
	struct ps_bytes line;
	unsigned number = 0;

	apps->pool = ps_pool_create("app passwords");
	while (ps_passwd_line(&text, &line)) {
		struct ps_app app;

		number++;
		if (line.len == 0 || line.ptr[0] == '#')
			continue;
		if (read_line(apps->pool, line, &app) < 0) {
			ps_logf(PS_LOG_ERROR, "app_password_line", NULL, "%s:%u: %s; line passed over", path, number,
				ps_last_error());
			continue;
		}
		apps->all = ps_pool_grow(apps->pool, apps->all, apps->count, &apps->cap, sizeof *apps->all);
		apps->all[apps->count++] = app;
	}
	return apps;
}

void ps_apps_destroy(struct ps_apps *apps)
{
	if (!apps)
		return;
	ps_pool_destroy(apps->pool);
	free(apps);
}

const struct ps_app *ps_apps_nth(const struct ps_apps *apps, size_t n)
{
	return n < apps->count ? &apps->all[n] : NULL;
}

const struct ps_app *ps_apps_by_id(const struct ps_apps *apps, const char *id)
{
	for (size_t i = 0; i < apps->count; i++)
		if (strcmp(apps->all[i].id, id) == 0)
			return &apps->all[i];
	return NULL;
}

/* As it was shown, or without its dashes; people type blanks and capitals. False: it cannot be one. */
static bool spell(struct ps_bytes password, char ret_spelt[PS_APP_PASSWORD_LEN + 1])
{
	size_t n = 0;

	for (size_t i = 0; i < password.len; i++) {
		int c = ps_tolower(password.ptr[i]);

		if (c == '-' || c == ' ')
			continue;
		if (n == PS_APP_PASSWORD_LEN || (!ps_isalpha(c) && !ps_isdigit(c)))
			return false;
		ret_spelt[n++] = (char)c;
	}
	ret_spelt[n] = '\0';
	return n == PS_APP_PASSWORD_LEN;
}

const struct ps_app *ps_apps_meant(const struct ps_apps *apps, const char *user, struct ps_bytes password,
				   char ret_spelt[PS_APP_PASSWORD_LEN + 1])
{
	char id[PS_APP_ID_LEN + 1] = "";
	const struct ps_app *app;

	if (!spell(password, ret_spelt))
		return NULL;
	memcpy(id, ret_spelt, PS_APP_ID_LEN);
	app = ps_apps_by_id(apps, id);
	return app && strcmp(app->user, user) == 0 ? app : NULL;
}

const char *ps_app_refuses(const struct ps_app *app, const char *service, const char *remote, uint64_t now)
{
	if (app->expires && app->expires <= now)
		return "app_password_expired";
	if (!ps_protocols_allow(app->protocols, service))
		return "app_password_protocol";
	if (app->nets && !ps_nets_contain(app->nets, remote))
		return "app_password_net";
	return NULL;
}

/* ---- their last uses ------------------------------------------------------------------------------- */

/* Where its line begins, or would. */
static size_t place_of(struct ps_bytes text, const char *id)
{
	size_t at = 0;

	while (at + USE_LINE <= text.len && memcmp(text.ptr + at, id, PS_APP_ID_LEN) != 0)
		at += USE_LINE;
	return at;
}

uint64_t ps_app_last_use(struct ps_bytes text, const char *id)
{
	size_t at = place_of(text, id);
	uint64_t seconds;

	if (at + USE_LINE > text.len || ps_bytes_u64(ps_bytes(text.ptr + at + PS_APP_ID_LEN + 1, 10), &seconds) < 0)
		return 0;
	return seconds;
}

void ps_app_note_use(int fd, const char *id, uint64_t now)
{
	struct ps_buf text = {.limit = USES_MAX};
	char line[USE_LINE + 1];

	if (ps_passwd_read_fd(fd, "uses of app passwords", &text) == 0 &&
	    now >= ps_app_last_use(ps_buf_view(&text), id) + USE_STEP &&
	    snprintf(line, sizeof line, "%s %010" PRIu64 "\n", id, now) == USE_LINE &&
	    pwrite(fd, line, USE_LINE, (off_t)place_of(ps_buf_view(&text), id)) != USE_LINE)
		ps_log(PS_LOG_WARNING, "app_password_use", "id", id, "msg", "its use cannot be noted", NULL);
	ps_buf_finish(&text);
}
