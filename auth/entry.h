/* SPDX-License-Identifier: MIT */
/*
 * auth/entry.h - what a user database says of a user, put together from fields.
 *
 * Each database gives fields, a name and a text (postern/userdb.h lists them); here they become an entry, whether they
 * come from a line of a passwd-file or from another process. Where a database says nothing, the configuration does. A field that
 * is not understood here is an error, as it may be there to keep somebody out.
 */
#ifndef AUTH_ENTRY_H
#define AUTH_ENTRY_H

#include <sys/types.h>
#include "postern/buf.h"
#include "postern/pool.h"
#include "postern/settings.h"
#include "postern/store.h"

/* What a user gets of whom the database says nothing. */
struct ps_user_defaults {
	const char *default_domain; /* or NULL */
	const char *mail_root;      /* absolute; all mail must lie below it */
	const char *mail_location;  /* below mail_root; %u user, %n local part, %d domain */
	const char *backend;
	const struct ps_conf
		*root; /* where `domain` sections are, which say otherwise for their users; NULL: there are none */
	uid_t uid;     /* of the mail processes: they run under one uid, so a user with another is an error */
	gid_t gid;
	bool own_ids; /* but with mail processes of their own */
};
/* The strings are the configuration's. */
void ps_user_defaults_from(const struct ps_conf *root, uid_t uid, gid_t gid, struct ps_user_defaults *ret_defaults);

/* The strings are of a pool, the defaults', or the configuration's. */
struct ps_user_entry {
	struct ps_user_info info;
	const char *password;   /* "{SCHEME}hash"; NULL: only the database itself can tell whether one is right */
	const char *allow_nets; /* NULL: from everywhere */
	const char *protocols;  /* "imap,pop3": for no other service; NULL: for all */
	bool nologin;
	const char *reason; /* why, for the user to read; NULL: not told */
	uint32_t sessions;  /* at a time, of a protocol; 0: any number */
	unsigned line;      /* of the passwd-file; 0: the user comes from elsewhere: */
	unsigned database;  /* which knows the user, */
	bool verifies;      /* and whether a password is right */
};

/* An entry that is being put together. */
struct ps_entry_maker {
	struct ps_pool *pool; /* of the entry's strings */
	const struct ps_user_defaults *defaults;
	struct ps_user_entry *entry;
	const char *home, *mail, *backend;
	const char *field; /* at hand */
};

/* `name` in its one spelling (auth/names.h); copied. The entry is zeroed first. */
void ps_entry_begin(struct ps_entry_maker *maker, const char *name);
/* PS_E_UNSUPPORTED: there is no such field. PS_E_INVALID: its value is none. "userdb_" before a name is passed over. */
int ps_entry_set(struct ps_entry_maker *maker, struct ps_bytes field, struct ps_bytes value);
/* Takes the first of "name\0value\0" ... off. */
void ps_field_next(struct ps_bytes *all, struct ps_bytes *ret_name, struct ps_bytes *ret_value);
/* Many of them, "name\0value\0" ..., and the end: as a driver's answer travels. */
int ps_entry_set_all(struct ps_entry_maker *maker, struct ps_bytes fields);
/* Says where the mail is. PS_E_INVALID: outside mail_root. */
int ps_entry_end(struct ps_entry_maker *maker);

/* Whether the entry's user may use this service ("imap"). */
bool ps_entry_allows(const struct ps_user_entry *entry, const char *service);
/* Whether a list of services ("imap,pop3"; NULL: all) has this one. */
bool ps_protocols_allow(const char *protocols, const char *service);
/* The same with strings of another pool; those of the configuration too, as there may be another by then. */
void ps_entry_copy(struct ps_pool *pool, const struct ps_user_entry *entry, struct ps_user_entry *ret_entry);

#endif
