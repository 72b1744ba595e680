/* SPDX-License-Identifier: MIT */
/*
 * sessions.h - what is true of a user's mail, and what each of some clients has been told of it: the model that sessions_fuzz.c has beside
 * the server. One command is run at a time, so the truth is known exactly.
 */
#ifndef TESTS_FUZZ_SESSIONS_H
#define TESTS_FUZZ_SESSIONS_H

#include "tests/fuzz/session.h"

enum {
	NAMES = 5,
	BOXES_MAX = 48, /* that ever were */
	MAILS_MAX = 160,
	MAILS_MANY = 40, /* with so many, none is added */
	CLIENTS = 3,
};

struct mail {
	uint32_t uid;
	unsigned flags; /* bits of flag_names */
	unsigned ident; /* which message it is */
};

struct box {
	bool gone; /* deleted */
	uint32_t validity, next;
	unsigned count;
	struct mail mails[MAILS_MAX];
};

struct world {
	struct ps_user *user;
	struct box *named[NAMES]; /* NULL: there is none of that name */
	struct box all[BOXES_MAX];
	unsigned made;
	unsigned idents;
	struct {
		unsigned name;
		uint32_t validity;
		const struct box *box;
	} pairs[256]; /* that clients may have kept mail under */
	unsigned pair_count;
};

enum {
	FLAG_DELETED = 1,
	FLAG_SEEN = 2,
	FLAG_COUNT = 7,
};

extern const char *const box_names[NAMES];
extern const char *const flag_names[FLAG_COUNT];

struct mail *mail_find(struct box *box, uint32_t uid);
void mail_add(struct box *box, unsigned flags, unsigned ident);
void mail_remove(struct box *box, uint32_t uid);
void mail_octets(unsigned ident, struct ps_buf *out);
struct box *box_make(struct world *world, unsigned name);
struct box *box_of_validity(struct world *world, uint32_t validity);
/* A client has been told this; it must never have been told it of another mailbox. */
void box_told(struct world *world, unsigned name, uint32_t validity);

/* ---- what a client knows -------------------------------------------------------------------------- */

struct known {
	uint32_t uid; /* 0: not told yet */
	unsigned flags;
	bool flags_known;
};

struct rows {
	unsigned count;
	struct known rows[MAILS_MAX];
};

struct client {
	struct world *world;
	struct fuzz_session f;
	bool closed;     /* by the server */
	struct box *box; /* selected */
	bool read_only, qresync, rev2, idle;
	struct rows view;
	struct {
		uint32_t validity;
		uint64_t modseq;
		struct rows rows;
	} remembered[NAMES];

	/* Of the command under way. */
	bool may_expunge, fetches;
	char status; /* 'O', 'N', 'B'; 0: not answered */
	char code[512];
	uint32_t validity, uid_next;
	uint64_t modseq;
	unsigned messages, unseen;
	unsigned found_count;
	uint32_t found[MAILS_MAX];
	unsigned earlier_count;
	uint32_t earlier[MAILS_MAX];
	unsigned listed; /* bits of box_names */
};

/* Takes all that the server has said. */
void client_take(struct client *c);
/* What it knows is what is true; `whole`: also of messages that have gone. */
void client_check(struct client *c, bool whole);
/* "1:3,7" as numbers; how many. */
unsigned set_expand(const char *text, uint32_t *numbers, unsigned max);

#endif
