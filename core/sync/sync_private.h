/* SPDX-License-Identifier: MIT */
/*
 * What the files of the engine share. Included by nobody else.
 *
 * "From" and "to" are the ends as the caller named them; where something goes either way, it is `src` and `dst`.
 */
#ifndef CORE_SYNC_PRIVATE_H
#define CORE_SYNC_PRIVATE_H

#include "postern/pool.h"
#include "postern/sync.h"

/* ---- end.c: using an end ---------------------------------------------------------------------- */

/* The end's functions; from now on this process acts as the end's owner. All calls go through here. */
const struct ps_backend *sync_on(const struct ps_sync_end *end);

/* All mailboxes as list() told them, sorted by name. */
struct sync_boxes {
	struct ps_mailbox_info *ptr;
	size_t count, cap;
};
/* Takes in what others did to the end, and lists it. */
int sync_look(const struct ps_sync_end *end, struct ps_pool *pool, struct sync_boxes *ret_boxes);
struct ps_mailbox_info *sync_box_named(const struct sync_boxes *boxes, const char *name);
struct ps_mailbox_info *sync_box_with_id(const struct sync_boxes *boxes, const struct ps_id *id);
bool sync_exists(const struct ps_mailbox_info *info);
bool sync_same_id(const struct ps_id *a, const struct ps_id *b);
/* The mailbox that the picture shows, if it still has this name: PS_E_NOTFOUND. */
int sync_mailbox_open(const struct ps_sync_end *end, const struct ps_mailbox_info *info, struct ps_mbox **ret_mbox);
void sync_mailbox_close(const struct ps_sync_end *end, struct ps_mbox *mbox); /* close(NULL) does nothing */

/* body.c: gives the CRLF octets in pieces, until put() returns non-zero, which is returned. PS_E_CORRUPT when they cannot be
 * read, whatever the reason. */
int sync_body_each(const struct ps_sync_end *end, const struct ps_body *body,
		   int (*put)(void *arg, struct ps_bytes octets), void *arg);

/* ---- rows.c: what a mailbox holds -------------------------------------------------------------- */

struct sync_rows {
	struct ps_row *ptr;
	size_t count, cap;
};
/* One moment of a mailbox: what changed since, its figures, the names of its keywords. */
struct sync_view {
	struct ps_mailbox_info info; /* name: not set */
	struct sync_rows rows;
	struct ps_ranges gone; /* sorted; only where `since` is not 0 and the backend still knows */
	bool whole;            /* rows are all there are */
	const char *keywords[PS_KEYWORDS_MAX];
	size_t keyword_count;
	struct ps_pool *pool;
};
/* `next`: the mailbox's UIDNEXT then; copies that came since may have older modseqs. */
int sync_view_open(const struct ps_sync_end *end, struct ps_mbox *mbox, uint64_t since, uint32_t next,
		   struct sync_view *ret_view);
void sync_view_close(struct sync_view *view);
void sync_rows_add(struct sync_rows *rows, const struct ps_row *row);
const struct ps_row *sync_rows_find(const struct sync_rows *rows, uint32_t uid);
int sync_by_uid(const void *a, const void *b);
/* Orders by the message: its id, and its size, since a Maildir of others may have given two the same name. */
int sync_by_message(const struct ps_row *a, const struct ps_row *b);
int sync_by_message_and_uid(const void *a, const void *b);
void sync_rows_sort(struct sync_rows *rows, int (*order)(const void *a, const void *b));
/* All rows of these UIDs that are there now, with the names of keywords; no `gone`. */
int sync_view_of(const struct ps_sync_end *end, struct ps_mbox *mbox, const struct sync_rows *uids,
		 struct sync_view *ret_view);
/* The names of a mask, NULL-terminated. */
const char *const *sync_keyword_names(const struct sync_view *view, uint64_t mask, struct ps_pool *pool);
/* Whether a row has the same flags and keywords as one of another mailbox. */
bool sync_same_flags(const struct sync_view *a, const struct ps_row *row_a, const struct sync_view *b,
		     const struct ps_row *row_b);

/* ---- record.c: what was reached ---------------------------------------------------------------- */

/* UIDs first..first+count-1 at one end are those from `to` on at the other. */
struct sync_run {
	uint32_t from, to, count;
};
struct sync_last {
	const char *name;
	struct ps_id from_id, to_id;
	uint32_t from_validity, to_validity;
	uint64_t from_modseq, to_modseq; /* all changes up to here are done at the other end */
	uint64_t from_quiet, to_quiet;   /* both: what they were after that, our own changes included */
	uint32_t from_next, to_next;     /* UIDNEXT */
	uint32_t attributes;             /* clear of PS_MBOX_EXISTS: a name only subscribed */
	struct sync_run *runs;           /* both: which UIDs belong together; sorted by `from` */
	size_t run_count, run_cap;
};
struct sync_record {
	struct ps_pool *pool;
	const struct ps_sync_end *owner; /* whose rights it is kept with */
	int dir_fd, lock_fd;             /* -1: it is not kept */
	char name[40];
	bool known;   /* there was one */
	bool running; /* the last run did not come to its end */
	bool both;    /* it was made by PS_SYNC_BOTH */
	const char *source;
	struct sync_last *boxes;
	size_t count, cap;
};
/* PS_E_BUSY: somebody else is at it. One that is damaged, or of other stores, is as good as none. */
int sync_record_open(struct sync_record *record, const struct ps_sync_end *from, const struct ps_sync_end *to,
		     const char *dir);
int sync_record_save(struct sync_record *record); /* durable when it returns */
void sync_record_close(struct sync_record *record);
struct sync_last *sync_record_find(const struct sync_record *record, const struct ps_id *from_id);
struct sync_last *sync_record_named(const struct sync_record *record, const char *name);
struct sync_last *sync_record_add(struct sync_record *record, const char *name);
void sync_record_remove(struct sync_record *record, struct sync_last *last);

/* ---- the run ----------------------------------------------------------------------------------- */

struct sync {
	const struct ps_sync_end *from, *to;
	const struct ps_sync_options *options;
	struct ps_sync_totals *totals;
	struct ps_pool *pool;
	struct sync_record record;
	struct sync_boxes from_boxes, to_boxes;
	uint64_t total;     /* messages to copy */
	int64_t started_ns; /* CLOCK_MONOTONIC */
	int64_t saved_ns;   /* the record, last */
};

void sync_note(struct sync *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool sync_stopped(struct sync *s);
/* The record, if it was not saved for a second. */
int sync_checkpoint(struct sync *s);
int sync_commit_one(const struct ps_sync_end *end, struct ps_batch *batch);

/* ---- copy.c ------------------------------------------------------------------------------------ */

/* A mailbox at one end that messages are copied from, and one at the other. */
struct sync_copy {
	const struct ps_sync_end *src, *dst;
	struct ps_mbox *src_mbox, *dst_mbox;
	const char *name;             /* for messages */
	const struct sync_view *view; /* of src */
	const struct ps_row *rows;    /* those to copy, by UID */
	size_t count;
	uint32_t dst_next;   /* its UIDNEXT; brought forward */
	uint64_t dst_modseq; /* its HIGHESTMODSEQ; brought forward */
	uint64_t modseq;     /* the last batch gets at least this one */
	bool keep_uids;      /* one that is not free is an error; else the next free one is taken */
	bool other_uids;     /* the source's mean nothing there */
	bool keep_modseqs;   /* as in the options; otherwise where it is safe */
	bool any_modseqs;    /* they mean nothing there */
	void (*copied)(void *arg, const struct ps_row *row, uint32_t uid); /* may be NULL */
	void *arg;
};
/* PS_E_CORRUPT, with the rest of the mailbox not copied: a message cannot be read. */
int sync_copy_rows(struct sync *s, struct sync_copy *copy);

/* ---- change.c ---------------------------------------------------------------------------------- */

/* Flags to be set at an end; all mailboxes together, so that they can be set in the order they were. */
struct sync_change {
	struct sync_target *target;
	struct ps_row row; /* uid: the target's */
	const char *const *keywords;
	bool same; /* the target has these flags, with an older modseq: they were changed and changed back */
};
struct sync_target {
	const struct ps_mailbox_info *info; /* of the end the change is for */
	struct ps_mbox *mbox;
	uint64_t modseq; /* HIGHESTMODSEQ after our last change; 0: none was made */
};
struct sync_changes {
	struct sync_change *ptr;
	size_t count, cap;
	struct ps_pool *pool;
};
void sync_changes_add(struct sync_changes *changes, struct sync_target *target, const struct ps_row *row, uint32_t uid,
		      const char *const *keywords, bool same);
/* Each gets its row's modseq, or the next one where the end is beyond it already. */
int sync_changes_commit(struct sync *s, const struct ps_sync_end *end, struct sync_changes *changes);
/* `modseq`: at least; ret_modseq: what they got, 0 if there was none. */
int sync_expunge(struct sync *s, const struct ps_sync_end *end, struct ps_mbox *mbox, const struct ps_ranges *uids,
		 uint64_t modseq, uint64_t *ret_modseq);

/* ---- structure.c ------------------------------------------------------------------------------- */

struct sync_plan {
	struct ps_pool *pool;
	struct ps_op *ops;
	size_t count, cap;
};
void sync_plan_op(struct sync_plan *plan, struct ps_op op);
/* All or nothing; an empty plan is done. */
int sync_plan_commit(const struct ps_sync_end *end, struct sync_plan *plan, uint64_t *ret_modseq);
/* Makes the target's mailboxes those of the source; `begin` is called before the first change. s->to_boxes is then what
 * the target has. */
int sync_mirror_structure(struct sync *s, int (*begin)(void *arg), void *arg);

/* ---- mirror.c, add.c, both.c ------------------------------------------------------------------- */

int sync_mirror(struct sync *s);
int sync_add(struct sync *s);
int sync_both(struct sync *s);

#endif
