/* SPDX-License-Identifier: MIT */
/*
 * auth/databases.h - where users are looked for: in the passwd-file, then in the databases of the sections `userdb`, in the
 * order of the configuration. The first that knows a name counts, and one that cannot tell ends the search: who is behind it must not
 * become somebody else.
 *
 * The passwd-file is in memory. Databases are asked in their own processes and answer when they can; until then the question waits here, with
 * a limit of time and of number. What they say of a user is kept for a short while.
 */
#ifndef AUTH_DATABASES_H
#define AUTH_DATABASES_H

#include "auth/passwdfile.h"
#include "core/event/loop.h"
#include "postern/userdb.h"

/* Beside the passwd-file. */
#define PS_DATABASES_MAX 32

struct ps_databases;

/* One for a process to answer. */
struct ps_database_question {
	uint64_t number;
	/* For a password: whether it is right. Without one, all that is known of the user. */
	struct ps_userdb_login login;
	struct ps_bytes token; /* there: whom the token was made for, and nothing else */
};

/* `fields` are "name\0value\0" ..., with an error of 0 after a question without password. */
struct ps_database_answer {
	uint64_t number;
	int error; /* 0, PS_E_NOTFOUND, PS_E_AUTH; all else: cannot tell */
	struct ps_bytes fields;
	bool verifies; /* it can tell of passwords itself */
	bool tokens;   /* of access tokens, and of nothing else */
};

struct ps_databases_hooks {
	/* Negative: it cannot be asked now. */
	int (*ask)(void *arg, unsigned database, const struct ps_database_question *question);
	void *arg;
};

/* A search, or a password or a token that is checked elsewhere. It is the caller's memory, zeroed at first, and so are its texts until it is over. */
struct ps_looking {
	struct ps_looking *next, *before;
	struct ps_databases *databases; /* NULL: nothing is under way */
	uint64_t number, until;
	unsigned database;
	struct ps_userdb_login login;
	struct ps_bytes token;  /* there: it is what is asked about */
	bool unsure;            /* some issuer could not tell of it */
	struct ps_bytes holder; /* of the token, with r 0; valid until done() returns; */
	uint64_t expires;       /* and until when it is, in seconds since 1970; 0: not told */
	/* entry: with r 0 of a search; valid until done() returns. PS_E_NOTFOUND: there is none of that name; PS_E_AUTH: the
	 * password is wrong, or the token does not hold; all else: it cannot be told now. Another one may be begun in it. */
	void (*done)(void *arg, int r, const struct ps_user_entry *entry);
	void *arg;
};

struct ps_databases *ps_databases_create(struct ps_loop *loop, const struct ps_databases_hooks *hooks);
void ps_databases_destroy(struct ps_databases *databases);

/* `count` databases beside the passwd-file. */
void ps_databases_configure(struct ps_databases *databases, const struct ps_conf *conf,
			    const struct ps_user_defaults *defaults, unsigned count);
/* Takes the file over; the former is destroyed. NULL: there is none, or not yet. */
void ps_databases_set_file(struct ps_databases *databases, struct ps_passwd_file *file);
/* NULL: none. */
const struct ps_passwd_file *ps_databases_file(const struct ps_databases *databases);
/* A stored password to check in place of one that does not exist; NULL: none is known that costs time. */
const char *ps_databases_stand_in(const struct ps_databases *databases);

/* An entry of nobody's, whose password the database would check that checks some users' itself; false: none does, as far as is known. */
bool ps_databases_nobody(const struct ps_databases *databases, struct ps_user_entry *ret_entry);

/* Both may call done() before they return. `name` in its one spelling. */
void ps_databases_find(struct ps_databases *databases, const char *name, struct ps_looking *looking);
/* Of an entry that has no password: the database that told of it. */
void ps_databases_verify(struct ps_databases *databases, const struct ps_user_entry *entry,
			 const struct ps_userdb_login *login, struct ps_looking *looking);
/* Of all that know tokens, in their order, the first for which it holds; without any, PS_E_AUTH. One that cannot tell does not keep the others from
 * telling. */
void ps_databases_check_token(struct ps_databases *databases, struct ps_bytes token, struct ps_looking *looking);
/* Whether some know tokens; and whether some know users, or may. */
bool ps_databases_have_tokens(const struct ps_databases *databases);
bool ps_databases_have_users(const struct ps_databases *databases);
/* done() will not be called. */
void ps_looking_cancel(struct ps_looking *looking);

/* From the processes. What is not waited for any more is passed over. */
void ps_databases_answer(struct ps_databases *databases, unsigned database, const struct ps_database_answer *answer);
void ps_databases_lost(struct ps_databases *databases, unsigned database);

/* What databases said of this user, or of all (NULL), is asked anew. */
void ps_databases_forget(struct ps_databases *databases, const char *name);

#endif
