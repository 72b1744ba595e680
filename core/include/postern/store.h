/* SPDX-License-Identifier: MIT */
/*
 * postern/store.h - the mailbox API: users, mailboxes, views, search.          [in-tree]
 *
 * What protocols call. It stands on any backend (postern/backend.h). All sessions of a user in a
 * process share one open store and, per mailbox, one immutable snapshot of its rows; a session's view
 * is a reference to a snapshot, and holds rows of its own only where it still shows what others have
 * expunged.
 *
 * THREADS. A ps_user may be used by any number of threads; a ps_view and a ps_append by one at a time.
 */
#ifndef POSTERN_STORE_H
#define POSTERN_STORE_H

#include "postern/backend.h"
#include "postern/message.h"

struct ps_user;
struct ps_view;
struct ps_set;
struct ps_append;

/* What the user database says of a user. */
#define PS_USER_FIELDS_MAX 1000
struct ps_user_info {
	const char *name; /* full: "alice@example.test" */
	uid_t uid;
	gid_t gid;
	const char *home;    /* absolute */
	const char *backend; /* "maildir" */
	const char *root;    /* the mail location, absolute; what the backend opens */
	const char
		*fields; /* what else it says, for extensions: "quota_storage=1G quota_messages=100"; NULL: nothing */
};

/* Opens the user's store or takes another reference to it. Makes INBOX and, at the first opening of
 * all, the mailboxes that the configuration names with their special uses. */
int ps_user_open(const struct ps_conf *core_conf, const struct ps_user_info *info, struct ps_user **ret_user);
void ps_user_close(struct ps_user *user);
/* From now on at most `count` stores stay open for at most `seconds` after their last user has closed them. 0, 0 at
 * first: they are closed at once. */
void ps_users_keep(unsigned count, unsigned seconds);
/* Closes those that were kept for long enough, or all; blocks on disk. Closing another does the first, too. */
void ps_users_close_kept(bool all);
/* Has open stores do what their commits left to settle(); blocks on disk. Closing one does that, too. By one thread. */
void ps_users_settle(void);

/* ---- mailbox names ------------------------------------------------------------------------- */

/* Makes a client's UTF-8 name lawful: NFC, INBOX in any case; PS_E_INVALID with what is wrong. */
int ps_mailbox_name_normalise(struct ps_bytes utf8, struct ps_pool *pool, const char **ret_name);
int ps_mailbox_name_check(const char *name);
bool ps_mailbox_name_is_below(const char *name, const char *top); /* or the same */
/* Modified UTF-7, RFC 3501 section 5.1.3; decoding is strict: PS_E_SYNTAX for printable ASCII encoded, a bad
 * base64 tail, a lone surrogate, 8-bit octets. */
int ps_mutf7_decode(struct ps_bytes in, struct ps_buf *out);
int ps_mutf7_encode(struct ps_bytes utf8, struct ps_buf *out);
/* LIST patterns over names with '/' as separator: '*' and '%'; linear in name times pattern. */
bool ps_mailbox_name_match(const char *pattern, const char *name);

/* ---- mailboxes ----------------------------------------------------------------------------- */

/* All mailboxes and names only subscribed, sorted by name. info is valid in the callback. */
int ps_user_list(struct ps_user *user, ps_mailbox_fn fn, void *arg);
/* Those that are `top` or below it; costs what it tells, where nothing is mounted. */
int ps_user_list_below(struct ps_user *user, const char *top, ps_mailbox_fn fn, void *arg);
/* ret_info->name = name; recent is what a view opened read-write now would find \Recent. */
int ps_user_status(struct ps_user *user, const char *name, struct ps_mailbox_info *ret_info);
int ps_user_create(struct ps_user *user, const char *name, uint32_t special_use);
int ps_user_delete(struct ps_user *user, const char *name); /* INBOX: PS_E_INVALID */
/* With all below, at once. INBOX: `to` is made, then INBOX's messages are moved to it; what is below INBOX stays. */
int ps_user_rename(struct ps_user *user, const char *from, const char *to);
int ps_user_subscribe(struct ps_user *user, const char *name, bool subscribed);

/* ---- mail that goes by itself -------------------------------------------------------------- */

/* Removes what `mailbox NAME { autoexpunge }` of the configuration does not keep. fn is told of each mailbox where something was removed; may be NULL. */
typedef void (*ps_expired_fn)(void *arg, const char *mailbox, uint32_t messages);
int ps_user_expire(struct ps_user *user, const struct ps_conf *core_conf, ps_expired_fn fn, void *arg);
/* The same for open stores of which it was not done for an hour; gives up after some seconds, to go on the next time. Blocks on disk. */
void ps_users_expire(const struct ps_conf *core_conf);

/* ---- quota --------------------------------------------------------------------------------- */

/* What mail takes: octets in CRLF form, which all backends count alike. */
struct ps_usage {
	uint64_t octets, messages;
};

/* A store is a quota root (RFC 9208). That of the user's own store is "", that of a mounted one the mount's name. */
struct ps_quota {
	const char *root;
	struct ps_usage used, limit; /* limit 0: none */
	bool set;                    /* the limit is by ps_user_set_quota(), not by the configuration */
};
/* Whether there may be quotas at all: an extension that knows of limits is loaded. */
bool ps_quota_offered(void);
/* The root of a mailbox, which need not exist; valid as long as the user is open. */
const char *ps_user_quota_root(struct ps_user *user, const char *mailbox);
/* Looks for what others did first. PS_E_NOTFOUND: no such root. */
int ps_user_quota(struct ps_user *user, const char *root, struct ps_quota *ret_quota);
/* From now on, in all processes, and after a restart: 0 is no limit. NULL: what the configuration and the user database say. PS_E_NOTFOUND: no such
 * root; PS_E_UNSUPPORTED: nobody knows of limits. */
int ps_user_set_quota(struct ps_user *user, const char *root, const struct ps_usage *limit);
/* Each root, the user's own first. A non-zero result ends it. */
int ps_user_quotas(struct ps_user *user, int (*fn)(void *arg, const struct ps_quota *quota), void *arg);
/* The same figures from all rows, one by one: never another than those of ps_user_quota(). For tests and the command line. */
int ps_user_recount(struct ps_user *user, const char *root, struct ps_usage *ret_used);
/* Octets of the messages with \Deleted, by their rows. PS_E_NOTFOUND: no such mailbox. */
int ps_user_deleted_octets(struct ps_user *user, const char *name, uint64_t *ret_octets);

/* ---- views --------------------------------------------------------------------------------- */

/* A session's picture of a selected mailbox, with sequence numbers. `changed` (may be NULL) is called
 * from any thread when there is something that ps_view_sync() would tell. */
int ps_view_open(struct ps_user *user, const char *name, bool read_only, void (*changed)(void *arg), void *arg,
		 struct ps_view **ret_view);
void ps_view_close(struct ps_view *view);

/* Figures of the mailbox as the view shows it. */
struct ps_view_status {
	uint32_t messages;
	uint32_t recent;       /* \Recent to this session, RFC 3501 section 2.3.2 */
	uint32_t first_unseen; /* sequence number; 0: none */
	uint32_t uid_validity;
	uint32_t uid_next;
	uint64_t highest_modseq; /* all changes up to it have been told */
	struct ps_id id;
	uint32_t attributes;
	bool read_only;
	const char *const *keywords; /* valid until the next sync; "" for a free bit */
	size_t keyword_count;
	const char *name; /* as it is now; valid until asked again */
};
void ps_view_status(struct ps_view *view, struct ps_view_status *ret_status);

/* Rows are valid until the next sync. seq 1..messages; NULL beyond. */
const struct ps_row *ps_view_row(const struct ps_view *view, uint32_t seq);
uint32_t ps_view_seq(const struct ps_view *view, uint32_t uid); /* 0: not in the view */
/* The lowest sequence number with a UID >= uid; messages + 1 if none. */
uint32_t ps_view_seq_from(const struct ps_view *view, uint32_t uid);
/* The lowest sequence number >= seq of a message with a modseq above `since`; messages + 1 if none. */
uint32_t ps_view_seq_changed(const struct ps_view *view, uint32_t seq, uint64_t since);
bool ps_view_is_recent(const struct ps_view *view, uint32_t uid);

/* Brings the view to the present and tells the differences in an order a client can follow: expunged
 * first (each number as it is at that moment, highest first), then flags, then exists. Without PS_SYNC_EXPUNGE,
 * expunged messages stay in the view (RFC 9051 section 7.5.1). PS_SYNC_LOOK asks the backend for outside changes too.
 * PS_E_GONE: the mailbox was deleted. */
enum {
	PS_SYNC_EXPUNGE = 1,
	PS_SYNC_LOOK = 2
};
struct ps_view_events {
	void (*expunged)(void *arg, uint32_t seq, uint32_t uid);
	void (*flags)(void *arg, uint32_t seq, const struct ps_row *row);
	void (*exists)(void *arg, uint32_t messages, uint32_t recent);
	void (*keywords)(void *arg); /* the table has changed; told before flags */
};
int ps_view_sync(struct ps_view *view, unsigned how, const struct ps_view_events *events, void *arg);
/* Those that the view still shows and that are known to be expunged. */
int ps_view_gone(struct ps_view *view, struct ps_pool *pool, struct ps_set *ret_uids);
/* This view's own STORE .SILENT: what these UIDs become with `modseq` is known to the session and is not told. */
void ps_view_known(struct ps_view *view, const struct ps_range *uids, size_t count, uint64_t modseq);

/* Sets of numbers, RFC 9051 sequence-set: "1:3,7,*". */
struct ps_set {
	struct ps_range *ranges; /* sorted, disjoint, merged; UINT32_MAX stands for "*" before it is resolved */
	size_t count;
};
/* At most 10,000 ranges; PS_E_SYNTAX, PS_E_LIMIT. `star` is what "*" means: the highest number in use, 0 if none. */
int ps_set_parse(struct ps_bytes text, uint32_t star, struct ps_pool *pool, struct ps_set *ret_set);
void ps_set_format(struct ps_buf *out, const struct ps_range *ranges, size_t count); /* as given, "1:3,7" */

/* Ranges that grow, on the heap. A zeroed one is valid and empty. */
struct ps_ranges {
	struct ps_range *ptr;
	size_t count, cap;
};
void ps_ranges_finish(struct ps_ranges *ranges);
/* Appends; one that touches the last range makes it longer. */
void ps_ranges_add(struct ps_ranges *ranges, struct ps_range range);
/* Sorted, disjoint, and merged where they touch. */
void ps_ranges_sort(struct ps_ranges *ranges);
/* Appends what is in `a` and not in `b`, both sorted and disjoint. */
void ps_ranges_add_difference(struct ps_ranges *ranges, const struct ps_set *a, const struct ps_set *b);
/* Moves the ranges to a pool. */
struct ps_set ps_ranges_to_set(struct ps_ranges *ranges, struct ps_pool *pool);

/* Parses a set and gives UIDs that are in the view. by_uid false: sequence numbers, PS_E_INVALID if one is beyond. */
int ps_view_resolve(const struct ps_view *view, struct ps_bytes text, bool by_uid, struct ps_pool *pool,
		    struct ps_set *ret_uids);

/* Of the UIDs `known`, those that were expunged after `since` and that the view does not show: what a client has to
 * forget that knew the mailbox then. Costs what vanished; where the backend has forgotten what vanished since, all
 * known UIDs that the view does not show are given. */
int ps_view_vanished(struct ps_view *view, uint64_t since, const struct ps_set *known, struct ps_pool *pool,
		     struct ps_set *ret_uids);

/* Changes. Durable when they return. Results as in postern/backend.h. */
struct ps_flag_change {
	enum ps_flag_mode mode;
	uint32_t flags;
	const char *const *keywords; /* NULL-terminated; NULL: none */
	uint64_t unchanged_since;    /* UINT64_MAX: no condition */
};
int ps_view_change_flags(struct ps_view *view, const struct ps_set *uids, const struct ps_flag_change *change,
			 struct ps_pool *pool, struct ps_op_result *ret_result);
int ps_view_expunge(struct ps_view *view, const struct ps_set *uids); /* NULL: all; only those with \Deleted */
int ps_view_remove(struct ps_view *view, const struct ps_set *uids);  /* whatever their flags; all in one batch */
int ps_view_copy(struct ps_view *view, const struct ps_set *uids, const char *target, bool move, struct ps_pool *pool,
		 struct ps_op_result *ret_result);

/* Appending: open, then for each message begin, write..., end; commit all at once. PS_E_NOTFOUND: no such mailbox. */
struct ps_append_message {
	uint32_t flags;
	const char *const *keywords;
	int64_t internal_date; /* INT64_MIN: now */
	bool binary;           /* it may be BINARYMIME: what ps_unbinary does is done to it */
	uint64_t size_hint;
	bool is_copy;         /* of a message that was accepted once: no limit to its size, and */
	struct ps_id copy_of; /* its email_id */
};
int ps_append_open(struct ps_user *user, const char *mailbox, struct ps_append **ret_append);
int ps_append_begin(struct ps_append *append, const struct ps_append_message *message);
int ps_append_write(struct ps_append *append, struct ps_bytes octets); /* any line ends; stored as CRLF */
int ps_append_end(struct ps_append *append);
/* Whether a message of this size would be taken now: 0, or why not, such as PS_E_QUOTA. Before any is begun. */
int ps_append_ask(struct ps_append *append, uint64_t size);
/* The message that was begun and not ended is left out; the append goes on as if it had not been, failed or not. */
void ps_append_forget(struct ps_append *append);
/* In the same batch a message of the view, which stays open until the commit, is expunged. Then the commit gives PS_E_GONE
 * if it is no more, and PS_E_ACCESS if the view is read-only. */
void ps_append_replaces(struct ps_append *append, struct ps_view *view, uint32_t uid);
/* A token (postern/backend.h) for the batch: if it has come before, the commit does nothing and succeeds without result. The octets
 * stay the caller's until the commit. */
void ps_append_once(struct ps_append *append, struct ps_bytes token);
int ps_append_commit(struct ps_append *append, struct ps_pool *pool, struct ps_op_result *ret_result);
void ps_append_close(struct ps_append *append); /* drops what was not committed */

/* ---- reading messages ---------------------------------------------------------------------- */

/* One moment of the store, for a slice of work: open it in run(), close it before run() returns. */
struct ps_reader;
int ps_reader_open(struct ps_view *view, struct ps_reader **ret_reader);
void ps_reader_close(struct ps_reader *reader);
/* The cache of a message, derived now if it was missing. Valid until the reader is closed or asked for
 * another. PS_E_GONE. */
int ps_reader_cache(struct ps_reader *reader, uint32_t uid, struct ps_cache *ret_cache);
/* The same, but PS_E_NOTFOUND if it was missing. */
int ps_reader_cache_kept(struct ps_reader *reader, uint32_t uid, struct ps_cache *ret_cache);

int ps_view_body(struct ps_view *view, uint32_t uid, struct ps_body *ret_body); /* PS_E_GONE */
void ps_view_body_close(struct ps_view *view, struct ps_body *body);
/* To be called before waiting with a body open; it stays open, what was had of its octets is not valid any more. */
void ps_view_body_rest(struct ps_view *view, struct ps_body *body);

/* ---- search -------------------------------------------------------------------------------- */

enum ps_search_kind {
	PS_SEARCH_ALL,
	PS_SEARCH_AND,     /* children */
	PS_SEARCH_OR,      /* children */
	PS_SEARCH_NOT,     /* children: one */
	PS_SEARCH_SEQ,     /* set, of UIDs (resolved) */
	PS_SEARCH_FLAG,    /* number: PS_FLAG_* */
	PS_SEARCH_KEYWORD, /* text */
	PS_SEARCH_RECENT,
	PS_SEARCH_LARGER, /* number */
	PS_SEARCH_SMALLER,
	PS_SEARCH_BEFORE, /* date: day; internal date, disregarding time and zone */
	PS_SEARCH_ON,
	PS_SEARCH_SINCE,
	PS_SEARCH_SENTBEFORE, /* the Date: field */
	PS_SEARCH_SENTON,
	PS_SEARCH_SENTSINCE,
	PS_SEARCH_HEADER,      /* name, text ("" : the field is there) */
	PS_SEARCH_BODY,        /* text */
	PS_SEARCH_TEXT,        /* text: header or body */
	PS_SEARCH_MODSEQ,      /* number: modseq >= number */
	PS_SEARCH_EMAILID,     /* text: the octets of a struct ps_id */
	PS_SEARCH_SAVEDBEFORE, /* date: day; the save date, else the internal date (RFC 8514) */
	PS_SEARCH_SAVEDON,
	PS_SEARCH_SAVEDSINCE,
	PS_SEARCH_OLDER,   /* date: second; internal date <= date */
	PS_SEARCH_YOUNGER, /* internal date >= date */
};

/* A node of a search program; at most 32 deep and 2,000 nodes (the parser sees to it). */
struct ps_search_node {
	enum ps_search_kind kind;
	struct ps_search_node *children; /* linked by next */
	struct ps_search_node *next;
	struct ps_set set;
	uint64_t number;
	int64_t date;
	const char *name;
	struct ps_bytes text; /* UTF-8; compared by i;unicode-casemap, as a substring */
};

struct ps_search;
struct ps_search *ps_search_create(struct ps_view *view, struct ps_pool *pool, const struct ps_search_node *root);
/* Works until `slice_over(arg)` says stop; 1: finished, 0: call again, negative: error. Hits are sequence
 * numbers of the view at the time of the call, ascending; no ps_view_sync() with PS_SYNC_EXPUNGE in between. */
int ps_search_step(struct ps_search *search, bool (*slice_over)(void *arg), void *arg,
		   int (*hit)(void *arg, uint32_t seq, const struct ps_row *row), void *hit_arg);
/* Messages looked at so far, and of how many. */
void ps_search_progress(const struct ps_search *search, uint32_t *ret_done, uint32_t *ret_total);
void ps_search_destroy(struct ps_search *search);

/* ---- sort ---------------------------------------------------------------------------------- */

/* RFC 5256 section 3 and RFC 5957; texts are compared by i;unicode-casemap. */
enum ps_sort_key {
	PS_SORT_ARRIVAL,
	PS_SORT_CC,
	PS_SORT_DATE, /* the sent date, else the internal one */
	PS_SORT_FROM,
	PS_SORT_SIZE,
	PS_SORT_SUBJECT, /* the base subject */
	PS_SORT_TO,
	PS_SORT_DISPLAYFROM,
	PS_SORT_DISPLAYTO,
};

struct ps_sort_criterion {
	enum ps_sort_key key;
	bool reverse;
};

/* What a search finds, in order. As with ps_search: works in steps, and the view keeps its numbers meanwhile. `pool`,
 * `root` and `criteria` must outlive it. */
struct ps_sort;
struct ps_sort *ps_sort_create(struct ps_view *view, struct ps_pool *pool, const struct ps_search_node *root,
			       const struct ps_sort_criterion *criteria, size_t count);
int ps_sort_step(struct ps_sort *sort, bool (*slice_over)(void *arg), void *arg); /* as ps_search_step() */
/* When it is finished. */
size_t ps_sort_count(const struct ps_sort *sort);
void ps_sort_get(const struct ps_sort *sort, size_t at, uint32_t *ret_seq, uint32_t *ret_uid);
unsigned ps_sort_progress(const struct ps_sort *sort); /* percent, 0 to 99 */
void ps_sort_destroy(struct ps_sort *sort);            /* destroy(NULL) does nothing */

/* What a search finds, in threads. RFC 5256: ORDEREDSUBJECT, REFERENCES; REFS (draft-ietf-morg-inthread) is REFERENCES
 * without regard to subjects, with the threads in the order of their latest internal dates. Works in steps as ps_sort
 * does, by what the caches have. */
enum ps_thread_algorithm {
	PS_THREAD_ORDEREDSUBJECT,
	PS_THREAD_REFERENCES,
	PS_THREAD_REFS,
};

struct ps_thread;
struct ps_thread *ps_thread_create(struct ps_view *view, struct ps_pool *pool, const struct ps_search_node *root,
				   enum ps_thread_algorithm algorithm);
int ps_thread_step(struct ps_thread *thread, bool (*slice_over)(void *arg), void *arg);

/* When it is finished: a forest, whose nodes are numbers. A thread may be a hundred thousand deep: do not recurse. */
#define PS_THREAD_NONE UINT32_MAX
uint32_t ps_thread_first(const struct ps_thread *thread,
			 uint32_t node);                                /* child; of PS_THREAD_NONE: the first thread */
uint32_t ps_thread_next(const struct ps_thread *thread, uint32_t node); /* sibling */
uint32_t ps_thread_parent(const struct ps_thread *thread, uint32_t node);
/* False: a dummy, that is, a parent that was not found. Only a thread's topmost node is one; it has two children at
 * least. */
bool ps_thread_get(const struct ps_thread *thread, uint32_t node, uint32_t *ret_seq, uint32_t *ret_uid);
unsigned ps_thread_progress(const struct ps_thread *thread); /* percent, 0 to 99 */
void ps_thread_destroy(struct ps_thread *thread);            /* destroy(NULL) does nothing */

#endif
