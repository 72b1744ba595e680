/* SPDX-License-Identifier: MIT */
/* Adding and removing app passwords, for the command line. */
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <inttypes.h>
#include <stdio.h>
#include "auth/apps.h"
#include "auth/file_edit.h"
#include "auth/passwdfile.h"
#include "auth/passwords.h"
#include "postern/error.h"
#include "postern/pool.h"

#define GROUP 4 /* characters between dashes */

/* 32 characters that are not taken for each other: five random bits each. */
static const char alphabet[] = "abcdefghijkmnpqrstuvwxyz23456789";

static int make_password(char ret_spelt[PS_APP_PASSWORD_LEN + 1])
{
	uint8_t octets[PS_APP_PASSWORD_LEN];

	if (gnutls_rnd(GNUTLS_RND_KEY, octets, sizeof octets) < 0)
		return ps_fail(PS_E_INTERNAL, "no random octets");
	for (size_t i = 0; i < sizeof octets; i++)
		ret_spelt[i] = alphabet[octets[i] % (sizeof alphabet - 1)];
	ret_spelt[PS_APP_PASSWORD_LEN] = '\0';
	return 0;
}

static void show(const char *spelt, char *out)
{
	for (size_t i = 0; spelt[i]; i++) {
		if (i && i % GROUP == 0)
			*out++ = '-';
		*out++ = spelt[i];
	}
	*out = '\0';
}

static void put_line(const struct ps_app *app, struct ps_buf *out)
{
	ps_buf_printf(out, "%s:%s:id=%s made=%" PRIu64, app->user, app->hash, app->id, app->made);
	if (app->expires)
		ps_buf_printf(out, " expires=%" PRIu64, app->expires);
	if (app->protocols)
		ps_buf_printf(out, " protocols=%s", app->protocols);
	if (app->nets)
		ps_buf_printf(out, " nets=%s", app->nets);
	if (*app->name)
		ps_buf_printf(out, " name=%s", app->name);
	ps_buf_char(out, '\n');
}

static int add_line(void *arg, const char *path, struct ps_bytes old, struct ps_buf *new)
{
	(void)path;
	ps_buf_bytes(new, old);
	if (old.len && old.ptr[old.len - 1] != '\n')
		ps_buf_char(new, '\n');
	put_line(arg, new);
	return 0;
}

int ps_app_add(const char *path, struct ps_pool *pool, struct ps_app *app, char ret_password[32])
{
	const struct ps_file_edit edit = {.may_create = true, .edit = add_line, .arg = app};
	char spelt[PS_APP_PASSWORD_LEN + 1];
	struct ps_buf hash = {0};
	int r = make_password(spelt);

	/* Of 80 random bits, so the hash need not be slow. */
	if (r == 0)
		r = ps_password_hash(ps_bytes_str(spelt), "SHA512-CRYPT", &hash);
	if (r == 0) {
		app->id = ps_pool_strndup(pool, spelt, PS_APP_ID_LEN);
		app->hash = ps_pool_strdup(pool, ps_buf_cstr(&hash));
		r = ps_file_edit(path, &edit);
	}
	if (r == 0)
		show(spelt, ret_password);
	ps_buf_wipe(&hash);
	explicit_bzero(spelt, sizeof spelt);
	return r;
}

struct removal {
	const char *user, *id;
	bool found;
};

/* "user:{SCHEME}hash:id=ID ..." */
static bool is_meant(const struct removal *removal, struct ps_bytes line)
{
	size_t len = strlen(removal->user);
	ptrdiff_t colon;
	struct ps_bytes rest;

	if (line.len <= len || memcmp(line.ptr, removal->user, len) != 0 || line.ptr[len] != ':')
		return false;
	rest = ps_bytes_skip(line, len + 1);
	colon = ps_bytes_find(rest, ':');
	if (colon < 0)
		return false;
	rest = ps_bytes_skip(rest, (size_t)colon + 1);
	return rest.len >= 3 + PS_APP_ID_LEN && memcmp(rest.ptr, "id=", 3) == 0 &&
	       ps_bytes_eq_str(ps_bytes(rest.ptr + 3, PS_APP_ID_LEN), removal->id);
}

static int remove_line(void *arg, const char *path, struct ps_bytes old, struct ps_buf *new)
{
	struct removal *removal = arg;
	struct ps_bytes line;

	while (ps_passwd_line(&old, &line)) {
		if (is_meant(removal, line)) {
			removal->found = true;
			continue;
		}
		ps_buf_bytes(new, line);
		ps_buf_char(new, '\n');
	}
	return removal->found
		       ? 0
		       : ps_fail(PS_E_NOTFOUND, "%s has no app password %s in %s", removal->user, removal->id, path);
}

int ps_app_remove(const char *path, const char *user, const char *id)
{
	struct removal removal = {.user = user, .id = id};
	const struct ps_file_edit edit = {.edit = remove_line, .arg = &removal};

	return ps_file_edit(path, &edit);
}
