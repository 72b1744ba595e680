/* SPDX-License-Identifier: MIT */
/*
 * tests/conformance/conform.h - checks that a backend keeps the laws of postern/backend.h.
 *
 * A check is a function that runs in a process of its own, with a store that nobody has opened yet. It ends by
 * returning, by must(), which tells what was expected, or by skip(). `postern-conform --help` tells the rest.
 */
#ifndef TESTS_CONFORMANCE_CONFORM_H
#define TESTS_CONFORMANCE_CONFORM_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "postern/backend.h"

/* The backend under test, and where. */
struct kit {
	const struct ps_backend *ops;
	const struct ps_conf *conf;
	const char *name;
	const char *root;    /* of this check; does not exist yet */
	const char *index;   /* below root, what may be deleted: a shell pattern; NULL: not told */
	const char *small;   /* a folder on a file system that is soon full; NULL: there is none */
	bool volatile_store; /* what is stored ends with the process */
	unsigned seed, rounds;
	struct ps_pool *pool; /* for results; never reset */
};

struct check {
	const char *name; /* says the law */
	void (*run)(struct kit *kit);
};

struct group {
	const char *name;
	const char *about;
	const struct check *checks;
	size_t count;
};

#define GROUP(word, text, table) const struct group group_##word = {#word, text, table, PS_ARRAY_LEN(table)}

extern const struct group group_uids, group_modseq, group_flags, group_vanished, group_append, group_copy,
	group_mailboxes, group_reading, group_threads, group_reopen, group_processes, group_index, group_full,
	group_crash, group_history, group_token, group_generation, group_identity;

/* ---- verdicts ------------------------------------------------------------------------------ */

_Noreturn void fail_at(const char *file, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
_Noreturn void skip(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#define must(cond, ...)                                                                                                \
	do {                                                                                                           \
		if (!(cond))                                                                                           \
			fail_at(__FILE__, __LINE__, __VA_ARGS__);                                                      \
	} while (0)
#define must_ok(expr)                                                                                                  \
	do {                                                                                                           \
		int must_r = (expr);                                                                                   \
		if (must_r != 0)                                                                                       \
			fail_at(__FILE__, __LINE__, "%s: %s: %s", #expr, ps_err_name(must_r), ps_last_error());        \
	} while (0)
#define must_be(expr, code)                                                                                            \
	do {                                                                                                           \
		int must_r = (expr);                                                                                   \
		if (must_r != (code))                                                                                  \
			fail_at(__FILE__, __LINE__, "%s: %s, expected %s", #expr, ps_err_name(must_r),                 \
				ps_err_name(code));                                                                    \
	} while (0)

/* ---- stores and mailboxes ------------------------------------------------------------------ */

struct ps_store *kit_open(struct kit *kit);
void kit_close(struct kit *kit, struct ps_store *store);
/* Removes what may be deleted, while nobody has the store open. */
void kit_remove_index(struct kit *kit);
/* A handle that lives as long as the store; for checks that do not care. */
struct ps_mbox *kit_mbox(struct kit *kit, struct ps_store *store, const char *name);

/* ---- changes ------------------------------------------------------------------------------- */

/* A batch of one; the result in *ret_result (may be NULL). */
int kit_try(struct kit *kit, struct ps_store *store, const struct ps_op *op, struct ps_op_result *ret_result);
int kit_try_all(struct kit *kit, struct ps_store *store, const struct ps_op *ops, size_t count,
		struct ps_op_result *ret_results);

/* A message to append. What is zero takes a default. */
struct kit_message {
	struct ps_bytes octets; /* CRLF form */
	uint32_t flags;
	const char *const *keywords;
	int64_t internal_date;
	struct ps_id email_id;
	size_t piece; /* octets in each write; 0: all at once */
};
/* Stages the message and fills an operation as core does. */
void kit_stage(struct kit *kit, struct ps_store *store, struct ps_mbox *mbox, const struct kit_message *message,
	       struct ps_op *ret_op);
uint32_t kit_append(struct kit *kit, struct ps_store *store, struct ps_mbox *mbox, const struct kit_message *message);
/* `n` small messages, each with its number in it. */
void kit_fill(struct kit *kit, struct ps_store *store, struct ps_mbox *mbox, unsigned n);
struct ps_bytes kit_text(struct kit *kit, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Of one UID, or first..last. */
struct ps_op_result kit_flags(struct kit *kit, struct ps_store *store, struct ps_mbox *mbox, struct ps_range uids,
			      enum ps_flag_mode mode, uint32_t flags, const char *const *keywords);
struct ps_op_result kit_expunge(struct kit *kit, struct ps_store *store, struct ps_mbox *mbox, struct ps_range uids);
struct ps_op_result kit_copy(struct kit *kit, struct ps_store *store, struct ps_mbox *mbox, struct ps_range uids,
			     struct ps_mbox *target, bool move);
int kit_create(struct kit *kit, struct ps_store *store, const char *name);
int kit_delete(struct kit *kit, struct ps_store *store, const char *name);
int kit_rename(struct kit *kit, struct ps_store *store, const char *name, const char *new_name);

/* ---- pictures ------------------------------------------------------------------------------ */

/* A mailbox as it is at one moment; everything in kit->pool. */
struct picture {
	struct ps_mailbox_info info;
	struct ps_row *rows;
	size_t count;
	const char **keywords;
	size_t keyword_count;
};
struct picture kit_picture(struct kit *kit, struct ps_store *store, struct ps_mbox *mbox);
/* Checks that a picture agrees with itself: order, counts, modseqs. */
void picture_check(const struct picture *picture);
const struct ps_row *picture_row(const struct picture *picture, uint32_t uid); /* NULL: none */
/* "a b c" in alphabetical order and lower case. */
const char *picture_keywords(struct kit *kit, const struct picture *picture, const struct ps_row *row);
/* Whether both have the same messages: UIDs, flags, keywords, sizes, dates, ids. `modseq`: these too. */
void pictures_must_agree(struct kit *kit, const struct picture *a, const struct picture *b, bool modseq);
/* What a client that knows `before` learns by "what changed, what vanished since" must bring it to the present. */
void kit_catch_up(struct kit *kit, struct ps_store *store, struct ps_mbox *mbox, const struct picture *before);

/* The message's octets in CRLF form; PS_E_GONE and so on. */
int kit_body(struct kit *kit, struct ps_mbox *mbox, uint32_t uid, struct ps_bytes *ret_octets);
void kit_body_must_be(struct kit *kit, struct ps_mbox *mbox, uint32_t uid, struct ps_bytes octets);

/* All mailboxes, by name. */
struct names {
	struct ps_mailbox_info *infos;
	size_t count;
};
struct names kit_list(struct kit *kit, struct ps_store *store);
const struct ps_mailbox_info *names_find(const struct names *names, const char *name);

/* ---- chance -------------------------------------------------------------------------------- */

/* From kit->seed on, the same everywhere. */
uint32_t pick(struct kit *kit, uint32_t below);

#endif
