/* SPDX-License-Identifier: MIT */
/*
 * postern/backend.h - the contract between the mailbox layer and a storage backend.   [stable]
 *
 * Terms are those of RFC 9051. A store is one user's mail. A mailbox is an ordered set of messages;
 * a message is its CRLF octets, which never change, with a UID, flags, keywords and dates.
 *
 * THE LAWS, which `postern-conform` checks on any built backend:
 *  1. UIDs only grow; none is given out twice under one UIDVALIDITY, crash or not.
 *  2. HIGHESTMODSEQ never goes back; every change raises it (one counter per store, noted in the
 *     mailboxes a change touches); what vanished is reported for as long as promised.
 *  3. A message is its CRLF octets, and they never change.
 *  4. commit() is durable when it returns; after a crash everything acknowledged is there, plus some
 *     prefix of what was in flight, each batch whole or absent. What was committed as relaxed is durable when settle()
 *     returns; a power cut before that may bring back older flags of messages, and nothing else.
 *  5. Two processes at once on one store: no lost update, no double delivery, no torn read.
 *  6. A full disk refuses with PS_E_FULL or PS_E_QUOTA, loses nothing, and expunging still works.
 *  7. Whatever the backend keeps as an index is disposable: delete it, and UIDs, UIDVALIDITY, flags,
 *     keywords, dates, object ids and the modseq high-water come back from the mail itself.
 *
 * THREADS. Functions may be called from any thread and may block on disk. Core calls commit() and
 * sync() of one store one at a time; reading goes on meanwhile, from any number of threads, and must
 * not wait for a writer's fsync. Other processes may use the same store at the same time.
 *
 * ERRORS. 0, or a negative ps_err after ps_fail(). On failure the outputs (ret_...) are untouched. Where
 * there is no memory a function fails, or ends the process as ps_malloc() does; law 4 holds for both.
 */
#ifndef POSTERN_BACKEND_H
#define POSTERN_BACKEND_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "postern/buf.h"
#include "postern/error.h"
#include "postern/pool.h"
#include "postern/settings.h"

/* Defined by the backend; core only passes the pointers. */
struct ps_store;
struct ps_mbox;
struct ps_read;
struct ps_staged;

/* An object id (RFC 8474): 16 octets, all zero for "none". */
struct ps_id {
	uint8_t octets[16];
};

/* System flags, RFC 9051 section 2.3.2. \Recent is a matter of sessions and is not stored. */
enum {
	PS_FLAG_SEEN = 1,
	PS_FLAG_ANSWERED = 2,
	PS_FLAG_FLAGGED = 4,
	PS_FLAG_DELETED = 8,
	PS_FLAG_DRAFT = 16,
	PS_FLAG_ALL = 31,
};

/* A mailbox has a table of keywords, RFC 9051 section 2.3.2; bit n of a mask is its n-th row. */
#define PS_KEYWORDS_MAX 64

/* What is known of a message without opening it. */
struct ps_row {
	uint32_t uid;          /* >= 1 */
	uint32_t flags;        /* PS_FLAG_* */
	uint64_t keywords;     /* mask over the mailbox's keyword table */
	uint64_t modseq;       /* >= 1, RFC 7162 */
	uint64_t size;         /* octets in CRLF form, what RFC822.SIZE says */
	int64_t internal_date; /* seconds since 1970, UTC */
	int64_t save_date;     /* when it came into this mailbox, RFC 8514 */
	struct ps_id email_id; /* kept by COPY and MOVE */
};

/* Mailbox attributes. The special uses are RFC 6154. */
enum {
	PS_MBOX_EXISTS = 1, /* clear: only subscribed, or only the parent of others (\NonExistent) */
	PS_MBOX_SUBSCRIBED = 2,
	PS_MBOX_ALL = 16,
	PS_MBOX_ARCHIVE = 32,
	PS_MBOX_DRAFTS = 64,
	PS_MBOX_FLAGGED = 128,
	PS_MBOX_JUNK = 256,
	PS_MBOX_SENT = 512,
	PS_MBOX_TRASH = 1024,
	PS_MBOX_SPECIAL_USES = 16 | 32 | 64 | 128 | 256 | 512 | 1024,
};

/*
 * Names are UTF-8 in NFC, components separated by '/', never empty components, "INBOX" exactly so
 * for the inbox. Core has checked them (ps_mailbox_name_check()): at most 1,000 octets, 32
 * components, no control octets, no "." or ".." component. A component may hold any other character;
 * a backend encodes what its disk cannot hold.
 */
struct ps_mailbox_info {
	const char *name;
	struct ps_id id; /* stable across rename */
	uint32_t attributes;
	uint32_t uid_validity; /* >= 1 */
	uint32_t uid_next;
	uint64_t highest_modseq; /* >= 1 */
	uint64_t vanished_since; /* vanished() is complete for any `since` >= this */
	uint32_t messages;
	uint32_t unseen;
	uint32_t deleted; /* messages with \Deleted */
	uint64_t size;    /* sum of the rows' sizes */
	uint32_t recent;  /* not the backend's to know: ps_user_status() fills it in */
};

/* UIDs first..last, both included, first <= last. Lists of ranges are sorted and disjoint. */
struct ps_range {
	uint32_t first;
	uint32_t last;
};

/* A message's octets: in memory, in a file, or given a piece at a time; ps_body_piece() reads any of them. Valid until
 * body_close(). */
struct ps_body {
	const uint8_t *data; /* NULL: read from fd, or by read() */
	int fd;              /* -1: there is none; use pread, never move its offset */
	uint64_t offset;     /* where the message starts in fd */
	uint64_t length;     /* octets as they lie there */
	bool wire_form;      /* every line end is CRLF already; false: bare LF is to be read as CRLF */
	void *priv;          /* the backend's */
	/* Where data is NULL and fd is -1: the octets from `offset` (below length) on, as many as lie together and at least
	 * one; valid until the next read(), body_rest() or body_close(). */
	int (*read)(const struct ps_body *body, uint64_t offset, struct ps_bytes *ret_octets);
};

/* One change. The fields that an operation uses are named at it; all others are zero. */
enum ps_op_kind {
	/* mbox, staged, flags, keywords, internal_date; optional: save_date (0: now), email_id (zero: a
	 * new one), uid (0: the next; else it must be >= uid_next: PS_E_INVALID), size and cache: what
	 * ps_derive_finish() gave for the staged octets; modseq (0: the batch's): for a copy of another
	 * store, at most the batch's (PS_E_INVALID); the mailbox's highest_modseq becomes the batch's all the same.
	 * Result: new_uids. */
	PS_OP_APPEND,
	/* mbox, uids, flag_mode, flags, keywords, unchanged_since. UIDs that do not exist are passed over.
	 * A message that would not change keeps its modseq. Result: modified (those whose modseq is above
	 * unchanged_since; they are left alone, the others are changed), modseq. */
	PS_OP_FLAGS,
	/* mbox, uids, only_deleted: pass over those without \Deleted, decided under the store's lock. */
	PS_OP_EXPUNGE,
	/* mbox, uids, target (may equal mbox). Flags, keywords (by name), internal date and email_id go along; save date
	 * is now. Result: old_uids, new_uids, in the order of each other. */
	PS_OP_COPY,
	PS_OP_MOVE, /* as COPY, and what was copied vanishes from mbox, in the same batch */
	/* name, attributes (special uses); optional uid_validity (0: a new one, greater than any this store
	 * had for the name), mailbox_id (zero: a new one). Parents are not made: a backend must be able to
	 * hold a mailbox whose parent does not exist. PS_E_EXISTS. */
	PS_OP_CREATE,
	/* name, new_name: this one mailbox; core adds a row per mailbox below it, to the same batch, and never renames one to
	 * below itself. INBOX: its messages move to the new mailbox and INBOX stays, RFC 9051 section 6.3.6 (core does it by
	 * CREATE and MOVE). */
	PS_OP_RENAME,
	PS_OP_DELETE, /* name: the mailbox and its messages; those below it stay. PS_E_NOTFOUND. */
	/* name, subscribed: the name need not exist (RFC 9051 section 6.3.7). A subscription is of the name: renaming
	 * or deleting the mailbox leaves it. */
	PS_OP_SUBSCRIBE,
	/* name, attributes: replaces the special uses. */
	PS_OP_ATTRIBUTES,
	/* name; uid_validity (0: as it is), uid_next (raises it; 0: as it is), mailbox_id (zero: as it is): makes a mailbox the
	 * copy of another store's, its INBOX among them. uid_validity and mailbox_id change in an empty mailbox only: PS_E_INVALID.
	 * vanished_since becomes the batch's modseq. Handles give PS_E_GONE when the id has changed: it is another mailbox then.
	 * PS_E_NOTFOUND; PS_E_EXISTS when another mailbox has the id (CREATE too). */
	PS_OP_IDENTITY,
};

enum ps_flag_mode {
	PS_FLAGS_SET,
	PS_FLAGS_ADD,
	PS_FLAGS_REMOVE
};

/* What such a change makes of a message; `keywords` by the mailbox's keyword table. */
static inline void ps_row_change_flags(struct ps_row *row, enum ps_flag_mode mode, uint32_t flags, uint64_t keywords)
{
	uint32_t kept_flags = mode == PS_FLAGS_SET ? 0 : row->flags;
	uint64_t kept_keywords = mode == PS_FLAGS_SET ? 0 : row->keywords;

	flags &= PS_FLAG_ALL;
	row->flags = mode == PS_FLAGS_REMOVE ? kept_flags & ~flags : kept_flags | flags;
	row->keywords = mode == PS_FLAGS_REMOVE ? kept_keywords & ~keywords : kept_keywords | keywords;
}

struct ps_op {
	enum ps_op_kind kind;
	struct ps_mbox *mbox;
	struct ps_mbox *target;
	const struct ps_range *uids;
	size_t uid_count; /* of ranges */

	enum ps_flag_mode flag_mode;
	uint32_t flags;
	const char *const *keywords; /* names, NULL-terminated; NULL for none; compared without ASCII case */
	uint64_t unchanged_since;    /* UINT64_MAX: no condition */
	bool only_deleted;

	struct ps_staged *staged; /* taken over by commit, whatever it returns */
	uint32_t uid;
	int64_t internal_date;
	int64_t save_date;
	struct ps_id email_id;
	uint64_t size;
	struct ps_bytes cache;

	const char *name;
	const char *new_name;
	uint32_t attributes;
	uint32_t uid_validity;
	uint32_t uid_next;
	struct ps_id mailbox_id;
	uint64_t modseq;
	bool subscribed;
};

/*
 * A token names a delivery, so that it can be tried again when nobody knows whether it succeeded: a batch whose token the
 * store has seen is not applied again, and has no results. Tokens are kept, as durably as the batch itself, for at least
 * PS_TOKEN_SECONDS, wherever the messages go meanwhile. The token of a batch that was refused is not kept.
 */
#define PS_TOKEN_MAX     64                 /* octets of a token */
#define PS_TOKEN_SECONDS (7 * 24 * 60 * 60) /* longer than a queue tries */

struct ps_op_result {
	struct ps_range *old_uids, *new_uids; /* in the order given, so not sorted; from the batch's pool */
	size_t old_count, new_count;          /* of ranges; they describe the same number of messages */
	struct ps_range *modified;
	size_t modified_count;
	uint32_t uid_validity; /* of the mailbox the new UIDs are in */
	uint64_t modseq;       /* the batch's, given to what this operation changed; 0 if it changed nothing */
};

/* An atomic batch: all of its operations or none. */
struct ps_batch {
	const struct ps_op *ops;
	size_t count;
	struct ps_pool *pool;         /* results are allocated here */
	struct ps_op_result *results; /* count of them, zeroed by the caller */
	struct ps_bytes token;        /* 1 to PS_TOKEN_MAX octets, or empty for none; longer: PS_E_INVALID */
	uint64_t modseq; /* at least this is the batch's modseq; 0: the next. For a copy of another store */
	bool repeated;   /* set by commit: err is 0, and nothing was done, because the token had come before */
	/* Flags that may be lost with the power, and not with the process. Of PS_OP_FLAGS only, without a token. Where all batches of a
	 * commit() are so, it may return before they are durable, and leaves that to settle(); it need not. */
	bool relaxed;
	int err;        /* set by commit: 0 or a ps_err; the batch is absent then */
	size_t err_op;  /* which operation it was about */
	bool unsettled; /* set by commit: something is left to settle(), though the batch is durable */
};

struct ps_store_args {
	const char *user;           /* full name, for the log */
	const char *root;           /* the user's mail location, absolute, may not exist yet; "" for memory */
	const struct ps_conf *conf; /* the backend's own section, checked against its schema */
	bool create;                /* make what is missing; else PS_E_NOTFOUND */
	uint64_t generation; /* the store's, as the caller knows it; open() gives PS_E_MOVED if it is another. 0: any */
};

typedef int (*ps_mailbox_fn)(void *arg, const struct ps_mailbox_info *info);
typedef int (*ps_row_fn)(void *arg, const struct ps_row *row);
typedef int (*ps_range_fn)(void *arg, struct ps_range uids);
/* A callback that returns non-zero ends the walk, and the function returns that value. */

struct ps_backend {
	/* Opens a store, recovering what a crash left. INBOX exists afterwards. */
	int (*open)(const struct ps_store_args *args, struct ps_store **ret_store);
	/* No mailbox, read or staged message of the store is open any more. */
	void (*close)(struct ps_store *store);

	/* A handle stays valid when the mailbox is renamed; when it is deleted, calls with it give
	 * PS_E_GONE. PS_E_NOTFOUND. Opening one mailbox twice gives two handles. */
	int (*mailbox_open)(struct ps_store *store, const char *name, struct ps_mbox **ret_mbox);
	void (*mailbox_close)(struct ps_mbox *mbox);

	/* Whether somebody else may have changed the mailbox (NULL: the list of mailboxes) since the last
	 * sync(). Cheap: a stat, a counter. 1 yes, 0 no. Never waits for a writer. */
	int (*stale)(struct ps_store *store, struct ps_mbox *mbox);
	/* Takes in what others did: delivered, flagged, removed, renamed. Gives UIDs and modseqs, durable
	 * when it returns. */
	int (*sync)(struct ps_store *store, struct ps_mbox *mbox);

	/* Reading sees one moment of the store from begin to end. Core never keeps one open across a
	 * network wait. Any number at once, each used by one thread. */
	int (*read_begin)(struct ps_store *store, struct ps_read **ret_read);
	void (*read_end)(struct ps_read *read);
	/* All mailboxes, those only subscribed, in no order. `info` is valid in the callback only. */
	int (*list)(struct ps_read *read, ps_mailbox_fn fn, void *arg);
	/* One mailbox. `ret_info->name` is valid until read_end(). */
	int (*info)(struct ps_read *read, struct ps_mbox *mbox, struct ps_mailbox_info *ret_info);
	/* Keyword names in the order of their bits, at most PS_KEYWORDS_MAX, "" for a free bit; valid until read_end(). */
	int (*keywords)(struct ps_read *read, struct ps_mbox *mbox, const char *const **ret_names, size_t *ret_count);
	/* Rows with UIDs in `uids` and a modseq above `changed_since` (0: all), by UID ascending. Costs what
	 * it reports when changed_since is not 0. A copy of another store's message may come with an older modseq: who
	 * follows a mailbox asks for all from the uid_next that it knows, and for changes below that. */
	int (*scan)(struct ps_read *read, struct ps_mbox *mbox, struct ps_range uids, uint64_t changed_since,
		    ps_row_fn fn, void *arg);
	/* UIDs expunged with a modseq above `since`; in no order, may repeat. */
	int (*vanished)(struct ps_read *read, struct ps_mbox *mbox, uint64_t since, ps_range_fn fn, void *arg);
	/* What was given as `cache`, or PS_E_NOTFOUND; valid until read_end(). */
	int (*cache)(struct ps_read *read, struct ps_mbox *mbox, uint32_t uid, struct ps_bytes *ret_cache);
	/* Keeps a cache for a message that has none. Need not be durable. Not while a read of this thread is open. */
	int (*cache_put)(struct ps_mbox *mbox, uint32_t uid, struct ps_bytes cache);

	/* The message's octets; PS_E_GONE if it was expunged. Does not need a read. */
	int (*body)(struct ps_mbox *mbox, uint32_t uid, struct ps_body *ret_body);
	void (*body_close)(struct ps_body *body);

	/* Staging takes the CRLF octets in any number of calls. Nothing of it is visible, or survives a crash,
	 * before commit. `size_hint` may be 0. Any number at once; one thread at a time each. */
	int (*stage)(struct ps_store *store, uint64_t size_hint, struct ps_staged **ret_staged);
	int (*stage_write)(struct ps_staged *staged, struct ps_bytes octets);
	/* No more octets follow; what can be made durable beforehand (fdatasync) is made so here, outside
	 * the store's lock. */
	int (*stage_finish)(struct ps_staged *staged);
	void (*stage_drop)(struct ps_staged *staged); /* for what was not given to commit; drop(NULL) does nothing */

	/* Applies each batch whole or not at all, in order, and sets its err and results; one that fails
	 * does not hinder the others. All that succeeded are durable when it returns: fsyncs are shared.
	 * Returns non-zero only when none was applied. */
	int (*commit)(struct ps_store *store, struct ps_batch *const *batches, size_t count);

	/* A store has a generation, 1 when it is made. Setting it, durably, shuts out all who opened the store before, in this
	 * process and in others, but for `store` itself: what they commit() or sync() afterwards gives PS_E_MOVED and changes nothing
	 * (batches that were being committed are finished first). Reading and staging go on as before. `generation` must be above
	 * the present one: PS_E_INVALID; who is shut out cannot set it: PS_E_MOVED. generation() gives the present one, also to who is shut out. */
	int (*generation)(struct ps_store *store, uint64_t *ret_generation);
	int (*set_generation)(struct ps_store *store, uint64_t generation);

	/* Optional (NULL: core asks stale() every few seconds while a session waits). Calls `changed` from
	 * any thread, soon after somebody else changed the mailbox, until unwatch(). */
	int (*watch)(struct ps_mbox *mbox, void (*changed)(void *arg), void *arg, void **ret_watch);
	void (*unwatch)(void *watch);

	/* Optional (NULL: nothing beyond what core finds by reading all through this contract). Looks at what lies on disk as only
	 * the backend can: structure, counters, leftovers. Calls `fault` with one sentence for each thing that is not right; changes
	 * nothing. The store may be in use. */
	int (*check)(struct ps_store *store, void (*fault)(void *arg, const char *sentence), void *arg);
	/* Optional (NULL: there is nothing to win). Gives room that deleted mail left back to the file system, while the store is in
	 * use. A crash in it loses nothing. */
	int (*compact)(struct ps_store *store, uint64_t *ret_octets);

	/* Optional (NULL: an open body costs others nothing). Who has a body open calls this before waiting for the network:
	 * what the backend holds for it that is in the way of others is let go. The body stays open; its octets, `data` too,
	 * must be asked for again. */
	void (*body_rest)(struct ps_body *body);

	/* Optional (NULL: nothing ever waits for it). Makes durable what commit() returned for and did not: relaxed batches; and does what
	 * other programs, or the next who opens the store, would like to find done: batches that came back `unsettled`. Core calls it
	 * some seconds after such a commit at the latest, and before close(), and never at the same time as commit(). After a power cut
	 * before that each flag and keyword of a message in relaxed batches may be as it was at any time since the last settle(); a message
	 * that is not as it was told has a modseq above all that were told. What could not be done is left to the next call. */
	int (*settle)(struct ps_store *store);

	/* Optional (NULL: core picks them out of list()). Those of list() whose name is `top`, or is below it: begins with it and a '/'. In no
	 * order; costs what it tells, not what there is. */
	int (*list_below)(struct ps_read *read, const char *top, ps_mailbox_fn fn, void *arg);
};

/* The keyword bit of `name` in a table as keywords() gives it, or -1. */
int ps_keyword_bit(const char *const *names, size_t count, const char *name);

/* ---- for backends over files: what core derives from a message ----------------------------- */

/*
 * Computes, in one bounded pass, size and cache of a message. Feed octets as they lie on disk (bare LF
 * counts as CRLF); the cache is opaque to backends.
 */
struct ps_derive;
struct ps_derive *ps_derive_create(void);
void ps_derive_destroy(struct ps_derive *derive);
void ps_derive_feed(struct ps_derive *derive, struct ps_bytes octets);
/* `ret_cache` belongs to `derive`. */
void ps_derive_finish(struct ps_derive *derive, uint64_t *ret_size, struct ps_bytes *ret_cache);
/* Create, feed all of fd from its start, finish; the caller destroys *ret_derive. */
int ps_derive_fd(int fd, struct ps_derive **ret_derive, uint64_t *ret_size, struct ps_bytes *ret_cache);

#endif
