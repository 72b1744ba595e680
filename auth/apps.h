/* SPDX-License-Identifier: MIT */
/*
 * auth/apps.h - app passwords: further passwords of users, for one program each.
 *
 * They are made by us (postern user app-password add): 24 letters and digits, of which the first 8 are the id. So it is known which
 * one somebody means before anything is hashed. They stand in the file that the setting app_password_file names, a line each:
 *
 *   user:{SCHEME}hash:id=ID made=SECONDS [expires=SECONDS] [protocols=imap,pop3] [nets=CIDR,...] [name=what it is for]
 *
 * and when one was used last in a file beside it, PATH.used, of lines of fixed length, which auth writes through a descriptor of master's.
 */
#ifndef AUTH_APPS_H
#define AUTH_APPS_H

#include "postern/buf.h"

#define PS_APP_ID_LEN       8
#define PS_APP_PASSWORD_LEN 24

struct ps_app {
	const char *user, *id, *hash;
	uint64_t made, expires;       /* CLOCK_REALTIME, seconds; 0: never */
	const char *protocols, *nets; /* NULL: any */
	const char *name;             /* "" if there is none */
};

struct ps_apps;

/* `path` is for messages. Lines with errors are logged and passed over. The text may be wiped afterwards. */
struct ps_apps *ps_apps_parse(struct ps_bytes text, const char *path);
void ps_apps_destroy(struct ps_apps *apps); /* wipes */
/* n-th, in the file's order; NULL at the end. */
const struct ps_app *ps_apps_nth(const struct ps_apps *apps, size_t n);
const struct ps_app *ps_apps_by_id(const struct ps_apps *apps, const char *id);
/* The one of this user's that `password` would be, and how that is spelt when it is hashed; NULL: none. */
const struct ps_app *ps_apps_meant(const struct ps_apps *apps, const char *user, struct ps_bytes password,
				   char ret_spelt[PS_APP_PASSWORD_LEN + 1]);
/* Why it may not be used so now, for the log; NULL: it may. */
const char *ps_app_refuses(const struct ps_app *app, const char *service, const char *remote, uint64_t now);

/* Notes that an app password was used; at most once a minute each. `fd`: of the file PATH.used. */
void ps_app_note_use(int fd, const char *id, uint64_t now);
/* When it was used last; 0: it was not, or that is not known. `text`: of the file PATH.used. */
uint64_t ps_app_last_use(struct ps_bytes text, const char *id);

/* ---- for the command line ---- */

/* A new one. `app`: what is known but for id and hash, which are filled in, of the pool. ret_password: as it is shown once, in groups. */
struct ps_pool;
int ps_app_add(const char *path, struct ps_pool *pool, struct ps_app *app, char ret_password[32]);
/* PS_E_NOTFOUND: the user has none of this id. */
int ps_app_remove(const char *path, const char *user, const char *id);

#endif
