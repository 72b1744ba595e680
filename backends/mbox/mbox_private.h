/* SPDX-License-Identifier: MIT */
/*
 * What the files of the mbox backend share. Included by nobody else.
 *
 * Truth lies in the mailboxes' files: in a first message that is none (the "folder internal data" of c-client), and in fields
 * of our own directly behind each "From " line. The index repeats it for quick reading. All writing happens under the store's lock
 * (ps_catalogue_lock()) and those of the files (lock.c), in this order: reserve modseqs (synced); note in the journal how to undo;
 * change files; sync them; note in the journal that it is done; commit the index (which comes before that where nothing is removed).
 */
#ifndef BACKENDS_MBOX_PRIVATE_H
#define BACKENDS_MBOX_PRIVATE_H

#include <pthread.h>
#include <sys/stat.h>
#include "postern/backend.h"
#include "postern/catalogue.h"
#include "postern/indexed.h"
#include "postern/io.h"
#include "postern/mboxfile.h"
#include "postern/message.h"
#include "postern/pool.h"

enum {
	PATH_SIZE = 2048, /* of a mailbox's file below the root, with its NUL */
	LEAF_SIZE = 256
};
#define CONTROL_DIR PS_CATALOGUE_CONTROL
#define INDEX_DIR   PS_CATALOGUE_INDEX
#define ASIDE_DIR   CONTROL_DIR "/aside"
#define SUBSCRIBED  ".subscriptions"

/* ---- names.c: mailbox names and the files they have ------------------------------------------- */

struct ps_store;
/* PS_E_LIMIT when the disk cannot hold it. */
int path_of_name(const struct ps_store *store, const char *name, char ret_path[PATH_SIZE]);
/* The mailbox a file is; false for one that is not ours to show. `out` gets the name. */
bool name_of_path(const struct ps_store *store, const char *path, struct ps_buf *out);
/* One name a line, each component encoded as in paths: for the file of subscriptions. */
void name_encode(const char *name, struct ps_buf *out);
bool name_decode(struct ps_bytes line, struct ps_buf *out);
/* Whether a directory of the root or below may hold mailboxes, and then whose children they are. */
bool is_mailbox_dir(const struct ps_store *store, const char *leaf, bool in_root);

/* ---- head.c: what we keep in the file ---------------------------------------------------------- */

/* How a message's content lies in the file. */
enum form {
	FORM_WIRE = 1,    /* every line end is CRLF */
	FORM_QUOTED = 2,  /* there are lines to unquote, as mboxrd has them */
	FORM_ESCAPED = 4, /* fields of the message that would pass for ours are called X-Postern-Own-... */
	FORM_NO_EOL = 8,  /* the LF behind it is not its own */
	FORM_DEAD = 16,   /* expunged; its room is not given back yet */
	FORM_ALL = 31
};
#define OWN_PREFIX "X-Postern-Own-"

/* Where a message lies, as the index's locator. */
struct locator {
	uint64_t at;     /* of the "From " line */
	uint64_t length; /* of the content, which follows the head */
	uint32_t head;   /* octets of "From " line and our fields */
	uint16_t from;   /* octets of the "From " line with its LF */
	uint16_t form;
};
uint64_t locator_end(const struct locator *loc); /* behind the blank line */
int locator_decode(struct ps_bytes octets, struct locator *ret_loc);
static inline struct ps_bytes locator_encode(const struct locator *loc)
{
	return ps_bytes(loc, sizeof *loc);
}

/* What the X-Postern field says beyond what others' fields can. */
struct mark {
	bool known; /* there is one, and it is whole */
	bool ours;  /* its checksum was made with this mailbox's id */
	uint32_t uid_validity, uid;
	unsigned form;
	int64_t internal_date, save_date;
	struct ps_id email_id;
	uint64_t size, length; /* on the wire, in the file */
};
/* What the fields of a message, ours and others', say. Slices point into the header. */
struct fields {
	struct ps_bytes status, x_status, keywords;
	bool has_uid, has_base, has_imap, has_content_length;
	uint32_t uid;
	uint64_t content_length;
	struct ps_bytes base; /* of X-IMAPbase or X-IMAP */
	struct mark mark;
	bool in_order; /* ours stand at the top, and no other such field does anywhere else */
	size_t top;    /* octets of the fields at the top */
	struct gap {   /* what is hidden, in octets from the header's start */
		size_t at, len;
	} gaps[16];
	size_t gap_count;
	struct gap lines; /* a Lines field, which may be the message's, or mutt's; len 0: none */
	bool too_many;    /* gaps: what is beyond is not hidden */
};
/* Takes the Lines field for somebody else's. */
void fields_hide_lines(struct fields *fields);
void fields_parse(struct ps_bytes header, const struct ps_id *mailbox, struct fields *ret_fields);
uint32_t fields_flags(const struct fields *fields);

/* A message's "From " line and fields, of `total` octets; 0: of as many as fit well. PS_E_LIMIT when it needs more. */
struct head {
	struct ps_bytes from; /* with its LF */
	const struct ps_id *mailbox;
	uint32_t uid_validity;
	const struct ps_row *row;
	const struct ps_keyword_table *keywords;
	unsigned form;
	uint64_t length;
};
int head_render(const struct head *head, size_t total, struct ps_buf *out);

/* What the pseudo message at the start of a mailbox says. */
struct pseudo {
	struct ps_id id;
	uint32_t uid_validity, last_uid, special_uses;
	uint32_t x_validity, x_last; /* as X-IMAP has them, which others change */
	size_t size;                 /* octets of it in the file, the blank line too */
	bool in_order;               /* it is as we write it */
};
enum {
	PSEUDO_MAX = 4096
};
void pseudo_render(const struct pseudo *pseudo, const struct ps_keyword_table *keywords, struct ps_buf *out);
/* From the first octets of a file: false when there is none of ours. */
bool pseudo_parse(struct ps_bytes octets, struct pseudo *ret_pseudo);
/* "VALIDITY LAST keywords" of X-IMAP and X-IMAPbase. */
bool base_parse(struct ps_bytes text, uint32_t *ret_validity, uint32_t *ret_last);

/* ---- store.c, folder.c ------------------------------------------------------------------------ */

/* A mailbox's file, shared by all that have it open. */
struct ps_folder {
	struct ps_folder *next;
	struct ps_store *store;
	unsigned refs; /* under store->cat.mutex, as fd and path are */
	uint64_t key;  /* in the index */
	char path[PATH_SIZE];
	int fd; /* for reading: the file that the index speaks of */
};

struct ps_store {
	struct ps_catalogue cat;
	char *inbox;
	bool sbd, dot_locks, fcntl_locks;
	int64_t lock_timeout, stale_lock;
	int journal_fd, tokens_fd;
	bool had_journal;          /* it is no new store */
	struct file_lock *locks;   /* of mailboxes, held now */
	char dot_name[40];         /* aside: what dot locks are links of; "": not made yet */
	struct ps_folder *folders; /* under cat.mutex */
};

int store_open(const struct ps_store_args *args, struct ps_store **ret_store);
void store_close(struct ps_store *store);
/* A name in the directory aside that nobody has. */
const char *aside_name(struct ps_pool *pool);

/* What priv[] of an index box holds. */
enum {
	BOX_INO,
	BOX_SIZE,
	BOX_MTIME,  /* ns; all three as the file was when the index was made to agree with it; 0: it never was */
	BOX_PSEUDO, /* octets of the pseudo message */
	BOX_LAST,   /* the last UID as the file says it */
	BOX_DEAD    /* octets of messages that were expunged and are still there */
};
/* The folder of a mailbox, opened if nobody has it open. PS_E_GONE when its file is not there. */
int folder_get(struct ps_store *store, const struct ps_index_box *box, struct ps_folder **ret_folder);
void folder_put(struct ps_folder *folder);
/* From now on the index speaks of this file; `fd` is taken over. */
void folder_replaced(struct ps_folder *folder, int fd);
void folder_moved(struct ps_folder *folder, const char *path);
bool box_is_as(const struct ps_index_box *box, const struct stat *st);
void box_note(struct ps_index_box *box, const struct stat *st);

/* ---- lock.c ------------------------------------------------------------------------------------ */

/* A mailbox's file, locked against other programs until the store's lock is given back. */
struct file_lock {
	struct file_lock *next;
	char path[PATH_SIZE];
	int fd; /* for reading and writing */
	bool dot;
	int64_t touched; /* the dot lock, last */
};
/* PS_E_NOTFOUND when the file is not there, PS_E_BUSY. Locking again gives the same. */
int lock_file(struct ps_store *store, const char *path, struct file_lock **ret_lock);
void unlock_files(struct ps_store *store);
/* Others take a dot lock for forgotten that is old: called now and then in what takes long. */
void touch_locks(struct ps_store *store);

/* ---- write.c: one transaction of the index, and the changes of files that go with it ------------ */

/* Octets of a file, in pieces. */
struct piece {
	uint64_t at, len;
};
struct source {
	int fd; /* -1: staged */
	struct ps_staged *staged;
	const struct piece *pieces;
	size_t count;
};

/* A message that is new, or whose head is. */
struct change {
	uint32_t uid;
	bool has_content; /* else its content stays what it is in the file */
	struct ps_bytes head;
	struct locator was; /* where it is, if it is not new */
	struct locator loc; /* `at` is given at the end */
	struct source source;
};

struct removal {
	struct ps_row row;
	struct locator loc;
};

/* A mailbox that is being changed. */
struct edit {
	struct ps_edit e;
	struct ps_folder *folder; /* NULL: it is being created */
	struct file_lock *lock;
	uint64_t base;          /* where what we know ends: behind it come new messages */
	struct change *changes; /* by UID */
	size_t count, cap;
	struct removal *removals;
	size_t removal_count, removal_cap;
	const char *at;    /* where its file is */
	const char *path;  /* where it will be */
	const char *aside; /* its new file */
	uint64_t new_size;
	int new_fd;
	bool rewrite, pseudo_changed, renamed, touched, written;
	bool mark_dead; /* there is no room to write it anew: removed messages are marked */
};

struct step;
struct write {
	struct ps_catalogue_txn t;
	struct step *steps; /* changes of names, in order; those of content come before them */
	size_t step_count, step_cap;
	const char **leftovers; /* aside, to be removed in the end */
	size_t leftover_count, leftover_cap;
	const struct ps_buf *brought; /* the plan's; NULL: it is none */
	uint64_t tokens_end;          /* of the file of tokens, with those that are to come */
	bool mark_dead;               /* as struct edit */
};
static inline struct edit *first_edit(const struct write *w)
{
	return (struct edit *)w->t.edits;
}
static inline struct edit *next_edit(const struct edit *edit)
{
	return (struct edit *)edit->e.next;
}
int write_begin(struct ps_store *store, struct write *ret_write);
/* The edit of a mailbox, begun at its first use; its file is locked. PS_E_GONE, PS_E_BUSY. */
int write_edit(struct write *w, uint64_t key, struct edit **ret_edit);
int write_edit_box(struct write *w, const struct ps_index_box *box, struct edit **ret_edit);
int write_new_edit(struct write *w, const struct ps_index_box *box, const char *path, struct edit **ret_edit);
/* Runs all changes of files, durably, then commits; on failure nothing was done. Ends it either way. */
int write_run(struct write *w);
/* Commits the index alone. */
int write_commit(struct write *w);
void write_abort(struct write *w);
void write_edit_finish(struct ps_edit *edit);

/* ---- layout.c: what a mailbox's file will be ------------------------------------------------------ */

/* The change of a message, begun at its first use. */
struct change *edit_change(struct write *w, struct edit *edit, uint32_t uid);
struct change *edit_find_change(const struct edit *edit, uint32_t uid);
/* Gives a message its head anew, from its row. */
int edit_rehead(struct write *w, struct edit *edit, const struct ps_row *row, const struct locator *loc);
void edit_remove(struct write *w, struct edit *edit, const struct ps_row *row, const struct locator *loc);
/* A new message with this content behind all others; its row is put by the caller. `from`: its "From " line. */
int edit_add(struct write *w, struct edit *edit, const struct ps_row *row, const struct locator *form,
	     struct ps_bytes from, const struct source *source);
/* Decides how the file is changed, writes a new one aside if need be, gives places, and adds steps. */
int edit_layout(struct write *w, struct edit *edit);
/* The edit's new messages, one behind the other, into `fd` at `at`. */
int edit_write_tail(struct write *w, const struct edit *edit, int fd, uint64_t at);
/* Octets of a source, in order; non-zero from `fn` ends it. */
int source_read(const struct source *source, int (*fn)(void *arg, struct ps_bytes octets), void *arg);

/* ---- journal.c: changes of files, done and undone -------------------------------------------------- */

enum step_kind {
	STEP_WRITE,   /* octets of a file */
	STEP_REPLACE, /* a file by one from aside */
	STEP_RENAME,  /* to a name that is free */
	STEP_INDEX    /* nothing: the transaction of the index that says the same, and what it alone knows */
};
struct step {
	enum step_kind kind;
	const char *path, *to;       /* below the root */
	const char *kept;            /* REPLACE: the name aside that the old file gets */
	int fd;                      /* WRITE */
	uint64_t offset;             /* INDEX: the transaction's number */
	struct ps_bytes data, old;   /* WRITE; INDEX: old is struct ps_brought */
	const struct edit *tail;     /* WRITE: instead of data */
	uint64_t old_size, new_size; /* WRITE: of the file; equal: it stays. REPLACE: of both files */
	struct ps_bytes heads;       /* WRITE: where our messages begin, uint64_t each: for recovery */
	struct ps_bytes first;       /* the same: how the first one begins */
};
enum {
	FIRST_MAX = 512
};
void leave_aside(struct write *w, const char *name);
struct step *steps_add(struct write *w, enum step_kind kind, const char *path, const char *to);
/* All of the transaction's or none, durably; from steps_end() on they are there. Until then steps_undo() takes them back. */
int steps_do(struct write *w, bool removes);
void steps_undo(struct write *w);
int steps_end(struct write *w); /* on failure they are undone */
/* Undoes what the journal says was begun, unless the index has it already. With the lock. */
int journal_recover(struct ps_store *store);
/* With the transaction: that the index has what the journal speaks of. */
int journal_note(struct write *w);
int journal_open(struct ps_store *store);

/* ---- tree.c, mailboxes.c, subscribed.c --------------------------------------------------------------- */

typedef int (*tree_fn)(void *arg, const char *path, const struct stat *st);
/* Each file that may be a mailbox. */
int tree_walk(struct ps_store *store, tree_fn fn, void *arg);
/* A number that is another when somebody made, renamed or removed one; never 0. */
uint64_t tree_state(struct ps_store *store);
/* The directories above a path, durable. */
int tree_make_parents(struct ps_store *store, const char *path);
/* Removes directories above that are empty now. */
void tree_prune(struct ps_store *store, const char *path);
bool mailboxes_differ(struct ps_store *store);
/* With the lock: takes in what others did to files and subscriptions; scans what is new. `rebuild`: all is. */
int mailboxes_sync(struct ps_store *store, bool rebuild);
/* Subscribed names, each with its NUL. */
int subscriptions_read(struct ps_store *store, struct ps_buf *ret_names);
int subscriptions_format(struct ps_store *store, struct ps_bytes names, struct ps_buf *out);

/* ---- scan.c ------------------------------------------------------------------------------------------ */

/* With the lock: makes index and file agree. `rebuild`: the index knew nothing before. */
int scan_mailbox(struct ps_store *store, uint64_t key, bool rebuild);
/* The same for those whose files are not as the index knows them. */
int scan_changed(struct ps_store *store);

/* ---- stage.c ------------------------------------------------------------------------------------------ */

struct ps_staged {
	struct ps_store *store;
	char name[LEAF_SIZE]; /* aside; "": all of it is in `out` */
	int fd;
	uint64_t wire_size, disk_size;
	unsigned form;
	struct ps_line_ends ends;
	bool in_header, finished;
	bool at_line_start, after_gt; /* after_gt: a '>' begins the line */
	uint8_t last;                 /* octet that went out */
	int err;
	struct ps_buf line; /* the start of a line, until it is known whether it is to be changed */
	struct ps_buf out;
};
int stage_begin(struct ps_store *store, uint64_t size_hint, struct ps_staged **ret_staged);
int stage_write(struct ps_staged *staged, struct ps_bytes octets);
int stage_finish(struct ps_staged *staged);
void stage_drop(struct ps_staged *staged);
int stage_whole(const struct ps_staged *staged, uint64_t *ret_size);

/* ---- content.c: from what lies in the file to the message ----------------------------------------------- */

/* Undoes quoting and escaping in octets that come in pieces. */
struct restore {
	unsigned form;
	bool in_header, within_line;
	struct ps_unquote unquote;
	struct ps_buf line; /* of the header, unquoted */
};
void restore_init(struct restore *restore, unsigned form);
int restore_feed(struct restore *restore, struct ps_bytes octets, struct ps_buf *out);
int restore_finish(struct restore *restore, struct ps_buf *out); /* and frees */

/* ---- plan.c, plan_mailbox.c, commit.c ------------------------------------------------------------------ */

struct plan {
	struct ps_plan p;
	struct write w;
};
static inline struct plan *plan_of(struct ps_plan *plan)
{
	return (struct plan *)plan;
}
int plan_edit(struct ps_plan *plan, uint64_t key, struct ps_edit **ret_edit);
int plan_append(struct ps_plan *plan, struct ps_edit *edit, const struct ps_op *op, struct ps_row *row);
int plan_change(struct ps_plan *plan, struct ps_edit *edit, const struct ps_picked *old, const struct ps_row *row);
int plan_remove(struct ps_plan *plan, struct ps_edit *edit, const struct ps_picked *old);
int plan_copy(struct ps_plan *plan, struct ps_edit *from, struct ps_edit *to, const struct ps_picked *old,
	      struct ps_row *row, bool move);
int plan_mailbox_op(struct ps_plan *plan, const struct ps_op *op, struct ps_op_result *result);
int plan_name_fits(struct ps_store *store, const char *name);
int plan_write_subscriptions(struct ps_plan *plan, struct ps_bytes names);
void commit_look_before(struct ps_catalogue_group *group);
int commit_attempt(struct ps_catalogue_group *group);
int commit_look_again(struct ps_catalogue_group *group);

/* ---- tokens.c --------------------------------------------------------------------------------------------- */

int plan_token_seen(struct ps_plan *plan, const struct ps_batch *batch);
int plan_token_keep(struct ps_plan *plan, const struct ps_batch *batch);
/* Into the index what the file says. */
int tokens_load(struct ps_store *store);
/* Forgets old ones. With the lock. */
int tokens_tidy(struct ps_store *store);

/* ---- mailbox.c, read.c, compact.c -------------------------------------------------------------------------- */

void mailbox_folder_close(struct ps_mbox *mbox);
int mailbox_differs(struct ps_store *store, struct ps_mbox *mbox);
int mailbox_sync(struct ps_mbox *mbox);
int mbox_body(struct ps_mbox *mbox, uint32_t uid, struct ps_body *ret_body);
void mbox_body_close(struct ps_body *body);
int mbox_compact(struct ps_store *store, uint64_t *ret_octets);

#endif
