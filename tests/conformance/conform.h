/* SPDX-License-Identifier: MIT */
/*
 * tests/conformance/conform.h - checks that a backend keeps the laws of postern/backend.h.
 *
 * A check is a function that runs in a process of its own, with a store that nobody has opened yet. It ends by
 * returning, by must(), which tells what was expected, or by skip(). With a table of rows it is one case for each. Its
 * name says the law, or the sentence of backend.h, that a failure breaks. `postern-conform --help` tells the rest.
 */
#ifndef TESTS_CONFORMANCE_CONFORM_H
#define TESTS_CONFORMANCE_CONFORM_H

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include "postern/backend.h"

/* Rows of tables leave out what they do not need. */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

struct program;

/* The backend under test, and where. */
struct kit {
	const struct ps_backend *ops;
	const struct ps_conf *conf;
	const char *name;
	const char *root;              /* of this check; does not exist yet */
	const char *index;             /* below root, what may be deleted: a shell pattern; NULL: not told */
	const char *small;             /* a folder on a file system that is soon full; NULL: there is none */
	const struct program *outside; /* who else writes to its stores; NULL: not told */
	bool volatile_store;           /* what is stored ends with the process */
	bool thorough;
	unsigned seed, rounds, steps;
	size_t row;           /* of the check's rows */
	struct ps_pool *pool; /* for results; never reset */

	/* What kit_begin() opened, for checks that need no more. */
	struct ps_store *store;
	struct ps_mbox *inbox;
};

/* What a check cannot do without; it is skipped, with the reason, where that is missing. */
enum need {
	NEEDS_DISK = 1,               /* mail that outlives the process */
	NEEDS_INDEX = 2,              /* --index */
	NEEDS_SMALL = 4,              /* --small; the store is made there */
	NEEDS_CALLS = 8 | NEEDS_DISK, /* that its system calls can be watched, calls.h */
	NEEDS_OUTSIDE = 16,           /* --outside */
};

enum {
	ROW_NAME = 200
};

struct check {
	const char *name; /* says the law */
	void (*run)(struct kit *kit);
	unsigned needs;
	/* A case for each row of a table, whose structs begin with a name; or, without a table, as `row_name` calls it. */
	const void *table;
	size_t row_count, row_size;
	void (*row_name)(size_t row, char name[ROW_NAME]);
};
#define ROWS(rows)            .table = (rows), .row_count = PS_ARRAY_LEN(rows), .row_size = sizeof(rows)[0]
#define ROWS_NAMED(count, fn) .row_count = (count), .row_name = (fn)

struct group {
	const char *name;
	const char *about;
	const struct check *checks;
	size_t count;
};

#define GROUP(word, text, list) const struct group group_##word = {#word, text, list, PS_ARRAY_LEN(list)}

extern const struct group group_uids, group_modseq, group_flags, group_vanished, group_append, group_copy,
	group_mailboxes, group_names, group_reading, group_threads, group_reopen, group_processes, group_index,
	group_full, group_power, group_errors, group_caches, group_outside, group_waiting, group_upkeep, group_crash,
	group_large, group_history, group_token, group_generation, group_identity, group_relaxed, group_scarce;

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

/* Opens kit->store and kit->inbox; `n` messages as of kit_fill(), with UIDs 1 to n, are in it. */
void kit_begin(struct kit *kit, unsigned n);
void kit_again(struct kit *kit); /* closes both and opens them */
void kit_end(struct kit *kit);

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
int kit_try_stage(struct kit *kit, struct ps_store *store, struct ps_mbox *mbox, const struct kit_message *message,
		  struct ps_op *ret_op);
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
int kit_subscribe(struct kit *kit, struct ps_store *store, const char *name, bool subscribed);
int kit_rename(struct kit *kit, struct ps_store *store, const char *name, const char *new_name);

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})
#define UIDS(a, b) ((struct ps_range){(a), (b)})
#define ALL        UIDS(1, UINT32_MAX)

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
/* The same as a string, for sscanf(); the message must be there. */
const char *kit_body_text(struct kit *kit, struct ps_mbox *mbox, uint32_t uid);
void kit_body_must_be(struct kit *kit, struct ps_mbox *mbox, uint32_t uid, struct ps_bytes octets);

/* The first message; fails when there is none. */
const struct ps_row *kit_first(struct kit *kit);
uint64_t kit_highest(struct kit *kit, struct ps_store *store, struct ps_mbox *mbox);

/* A store as a text; what it has for itself alone, such as UIDs and modseqs, is left out. */
const char *kit_describe(struct kit *kit, struct ps_store *store);

/* All mailboxes, by name. */
struct names {
	struct ps_mailbox_info *infos;
	size_t count;
};
struct names kit_list(struct kit *kit, struct ps_store *store);
uint32_t kit_attributes(struct kit *kit, struct ps_store *store, const char *name); /* 0: not listed */
const struct ps_mailbox_info *names_find(const struct names *names, const char *name);

/* ---- other programs ------------------------------------------------------------------------ */

/* Each does it to the message with `Subject: n` of INBOX, behind the back of the backend. */
struct program {
	const char *format; /* as --outside calls it */
	void (*deliver)(struct kit *kit, unsigned n, bool seen);
	void (*flag)(struct kit *kit, unsigned n); /* \Seen and \Flagged are set, the others cleared */
	void (*remove)(struct kit *kit, unsigned n);
	void (*restart)(struct kit *kit); /* the machine was: nobody holds a lock any more; or NULL */
};
const struct program *program_of(const char *format); /* NULL: there is none */

/* ---- chance -------------------------------------------------------------------------------- */

/* From kit->seed on, the same everywhere. */
uint32_t pick(struct kit *kit, uint32_t below);

#endif
