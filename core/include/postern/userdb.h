/* SPDX-License-Identifier: MIT */
/*
 * postern/userdb.h - what a user database plugin offers.                      [stable]
 *
 * A user database knows users by name, and says of each what the server must know, as fields. It is asked by the auth role, through a process
 * of its own: one for each section `userdb NAME { driver = "..." }`, confined to what `places` and `connects` say, started again when it
 * dies, and ended when a call does not return. So all functions may block, and a database that hangs or crashes is nobody's trouble but its own
 * users'. They are plain calls: core opens the database once for each of its threads, and a handle is used by one thread at a time.
 *
 * Functions return 0, or a negative ps_err after ps_fail(). Every failure but those that a function names means "cannot tell now": the
 * log-in is put off, core closes the handle and opens another for the next call. So a driver keeps no lost connection and tries nothing
 * again.
 */
#ifndef POSTERN_USERDB_H
#define POSTERN_USERDB_H

#include "postern/buf.h"
#include "postern/plugin.h"

/*
 * What is known of a user. An empty value says nothing; a field twice: the last counts.
 *   password    "{SCHEME}hash", as in a passwd-file
 *   uid gid     numbers; they must be those that the mail processes run under
 *   home        folder
 *   mail        "BACKEND:PATH" or a path, below mail_root; %u %n %d and ~ as in a passwd-file
 *   backend     how the mail is stored
 *   allow_nets  "192.0.2.0/24,2001:db8::/32": no log-in from elsewhere
 *   protocols   "imap,pop3": no log-in by others
 *   sessions    at a time, of each protocol that reads mail; 0: any number
 *   nologin     "0", "no", "false", "n", "f" or empty: may log in; else not
 *   reason      why not, for the user to read
 *   quota_storage, quota_messages, quota_rule  for the extension quota
 */
struct ps_userdb_fields {
	/* The value holds no NUL. */
	void (*put)(void *arg, const char *field, struct ps_bytes value);
	void *arg;
};

struct ps_userdb_login {
	const char *name;
	struct ps_bytes password; /* no NUL in it; not NUL-terminated */
	const char *service;      /* "imap" */
	const char *remote;       /* "192.0.2.1:4711" */
};

/* What a database must reach. Each is a path, or the value of a setting of its section if that is set. */
struct ps_userdb_place {
	const char *setting; /* NULL: `path`; both NULL end a table */
	const char *path;
	bool folder; /* not the file itself but the folder it is in */
	bool write;
};

struct ps_userdb {
	/* Required. `conf` is the section; it outlives the handle. */
	int (*open)(const struct ps_conf *conf, void **ret_db);
	void (*close)(void *db);

	/* Required. Names are spelt in lower case, of letters, digits and ._-+=&'#$! with at most one @. PS_E_NOTFOUND: nobody has the name, and
	 * the next database is asked. */
	int (*find)(void *db, const char *name, const struct ps_userdb_fields *fields);

	/* NULL: passwords are checked against the field `password`. Asked where find() gave none. PS_E_AUTH: the password is wrong, or there is no
	 * such user, which should take the same time. */
	int (*verify)(void *db, const struct ps_userdb_login *login);

	/* NULL: no files. */
	const struct ps_userdb_place *places;
	bool connects; /* to other machines, by TCP */
	bool as_root;  /* `user` may be root: it keeps no capabilities all the same */

	/* NULL: it knows no access tokens. Else it knows nothing else: it is not asked for users. Puts the fields `user`, whom the token was made for, and
	 * `expires`, seconds since 1970, if that is known: sessions end then. The token is printable ASCII. PS_E_AUTH: it does not hold, and the next database
	 * that knows tokens is asked; as it is when this one cannot tell. */
	int (*token)(void *db, struct ps_bytes token, const struct ps_userdb_fields *fields);
};

#endif
