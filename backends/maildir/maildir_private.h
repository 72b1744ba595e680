/* SPDX-License-Identifier: MIT */
/*
 * What the files of the maildir backend share. Included by nobody else.
 *
 * Truth lies in the mail store: in the names of the message files and in four small files per mailbox and store.
 * The index repeats it for quick reading. All writing happens under the store's lock (ps_catalogue_lock()), in this order:
 * reserve (UIDs, modseqs, keyword letters; synced), change files, sync their directories, commit the index. Where flags of
 * many messages change, a file that says so is synced in the place of names, and the names follow (later.c).
 */
#ifndef BACKENDS_MAILDIR_PRIVATE_H
#define BACKENDS_MAILDIR_PRIVATE_H

#include <dirent.h>
#include <pthread.h>
#include "postern/backend.h"
#include "postern/catalogue.h"
#include "postern/indexed.h"
#include "postern/io.h"
#include "postern/message.h"
#include "postern/pool.h"

enum {
	NAME_SIZE = 256
}; /* a file name with its NUL */

/* ---- names.c: mailbox names and the directories they have ------------------------------------ */

/* The directory of a mailbox below the store's root, "." for INBOX. PS_E_LIMIT when the disk cannot hold it. */
int dir_of_name(bool tree, const char *name, char ret_dir[NAME_SIZE]);
/* The mailbox a directory is; false for one that is not ours to show. `out` gets the name. */
bool name_of_dir(bool tree, const char *dir, struct ps_buf *out);

/* ---- layout.c: where mailboxes lie below the root, flat (Maildir++) or as a tree (Dovecot's LAYOUT=fs) ------------ */

struct ps_store;
struct plan;
typedef int (*layout_fn)(void *arg, const char *dir);
/* Each directory that may be a mailbox, "." first. */
int layout_walk(struct ps_store *store, layout_fn fn, void *arg);
/* A number that is another when somebody made, renamed or removed one; never 0. `settled`: 0 when too fresh to tell. */
uint64_t layout_time(struct ps_store *store, bool settled);
/* Plans that a directory made aside becomes `dir`, is moved, or goes aside under a name that is to be removed. */
int layout_create(struct plan *plan, const char *aside, const char *dir);
int layout_rename(struct plan *plan, const char *from, const char *to);
int layout_delete(struct plan *plan, const char *dir, const char *aside);

/* What stands for the token of a batch. */
struct token_id {
	uint8_t octets[12];
};

/* ---- msgname.c: names of message files ------------------------------------------------------- */

/* What a file's name says. Slices point into it. */
struct msg_name {
	struct ps_bytes base;   /* all before the info; it stays when flags change */
	struct ps_bytes unique; /* the base without the keys that follow commas */
	struct ps_bytes info;   /* the letters behind ":2," */
	int64_t time;           /* the leading number; 0 when there is none */
	bool has_disk, has_wire, has_date, has_email_id, has_uid, has_token;
	uint64_t disk;         /* S= */
	uint64_t wire;         /* W= */
	int64_t date;          /* D= */
	struct ps_id email_id; /* G= */
	uint32_t uid_validity; /* P= */
	uint32_t uid;
	struct token_id token; /* T= */
};
void msg_name_parse(struct ps_bytes name, struct msg_name *ret_name);
/* Flags and keyword letters (bit 0: 'a') of a parsed name. */
uint32_t msg_name_flags(const struct msg_name *name, uint32_t *ret_letters);
/* The name with other flags; letters this server does not know stay. PS_E_LIMIT. */
int msg_name_with_flags(const struct msg_name *name, uint32_t flags, uint32_t letters, char ret_name[NAME_SIZE]);
/* The id a message has by its name alone. */
struct ps_id msg_name_email_id(const struct msg_name *name);

struct msg_facts {
	uint64_t disk_size, wire_size;
	int64_t internal_date, save_date;
	struct ps_id email_id; /* zero: the name's own; *ret_email_id tells it */
	uint32_t uid_validity, uid, flags, letters;
	const struct token_id *token; /* NULL: none */
};
/* A new name that says all of this. */
int msg_name_build(const char *host, const struct msg_facts *facts, char ret_name[NAME_SIZE],
		   struct ps_id *ret_email_id);
/* A name that nobody else has, for tmp and the like. */
void unique_name(const char *host, int64_t sec, char ret_name[NAME_SIZE]);

/* Where a message lies, as the index's locator: the place, then the name. */
enum place {
	PLACE_CUR = 'c',
	PLACE_NEW = 'n'
};
struct msg_where {
	enum place place;
	char name[NAME_SIZE];
};
int where_decode(struct ps_bytes locator, struct msg_where *ret_where);
struct ps_bytes where_encode(const struct msg_where *where, uint8_t buf[NAME_SIZE + 1]);

/* ---- the small files that outlive the index ----------------------------------------- */

/* Of a mailbox: postern-mailbox in its directory. */
struct mailbox_state {
	struct ps_id id;
	uint32_t uid_validity;
	uint32_t uid_reserved;
	uint32_t special_uses;
	uint32_t flags;
};
enum {
	MAILBOX_ADOPTED = 1 /* its UIDs began with those of another server; an index that is new to it reads the list */
};
#define MAILBOX_STATE "postern-mailbox"

/* ---- keywords.c ------------------------------------------------------------------------------ */

/* Bits 0..25 of a mailbox's table are the letters a..z of the names, the others are in the UID list. */
#define LETTERS_MASK ((UINT64_C(1) << 26) - 1)
int keywords_read(int dirfd, struct ps_keyword_table *ret_table); /* postern-keywords; PS_E_NOTFOUND, PS_E_CORRUPT */
int keywords_write(int dirfd, const struct ps_keyword_table *table);

/* ---- lines.c: files of lines, each with its checksum -------------------------------------------- */

/* The next line, without its checksum; `whole`: which is right. False at the end. */
bool lines_take(struct ps_bytes *text, struct ps_bytes *ret_line, bool *ret_whole);
struct ps_bytes lines_word(struct ps_bytes *line); /* the next word; the blank behind it goes too */
bool lines_hex(struct ps_bytes text, uint64_t *ret_n);
void lines_put(struct ps_buf *out, struct ps_bytes text);
/* Durable when it returns. `left`: it failed, and some may have stayed behind. */
int lines_append(int dirfd, const char *file, struct ps_bytes lines, bool *ret_left);

/* ---- uidlist.c: what names cannot say --------------------------------------------------------- */

/* postern-uidlist: a line per message that others delivered, or that has keywords beyond the letters. */
struct uid_record {
	struct uid_record *next; /* of the same hash */
	bool has_uid, has_keywords;
	uint32_t uid;
	uint64_t wire;
	int64_t save_date;
	uint64_t keywords; /* bits 26.. */
	size_t base_len;
	char base[];
};
struct uid_list {
	struct ps_pool *pool;
	struct uid_record **slots;
	size_t slot_count, count, lines; /* lines read, the dead ones too */
	bool damaged;                    /* something could not be read */
};
#define UIDLIST_FILE "postern-uidlist"
int uidlist_read(int dirfd, struct uid_list *ret_list);
void uidlist_finish(struct uid_list *list);
struct uid_record *uidlist_find(const struct uid_list *list, struct ps_bytes base);
/* Lines to append; then append and sync them. */
void uidlist_line_uid(struct ps_buf *out, struct ps_bytes base, uint32_t uid, uint64_t wire, int64_t save_date);
void uidlist_line_keywords(struct ps_buf *out, struct ps_bytes base, uint64_t keywords);
int uidlist_append(int dirfd, struct ps_bytes lines);
int uidlist_replace(int dirfd, struct ps_bytes lines);

/* ---- store.c, folder.c ------------------------------------------------------------------------ */

/* A mailbox's directories, shared by all that have it open. */
struct ps_folder {
	struct ps_folder *next;
	struct ps_store *store;
	unsigned refs; /* under store->cat.mutex */
	uint64_t key;  /* in the index */
	char dir[NAME_SIZE];
	int dir_fd, cur_fd, new_fd;
	struct folder_watch *watch; /* watch.c's */
};

/* What relaxed batches changed and did not sync: directories, and perhaps the intent record. Of who commits. */
struct unsettled {
	int dirs[16];
	unsigned count;
	bool record;
};

struct ps_store {
	struct ps_catalogue cat;
	char host[40];
	bool crlf, tree;
	int tmp_fd;
	struct folder_watch *watch; /* watch.c's, of the root; NULL: nobody tells of mailboxes that come and go */
	size_t rename_at_once;      /* changes of flags of more messages are written down first */
	off_t tokens_size;          /* of the file of tokens, when it was last made shorter */
	struct unsettled unsettled;
	struct ps_folder *folders; /* under cat.mutex */
};

int store_open(const struct ps_store_args *args, struct ps_store **ret_store);
void store_close(struct ps_store *store);

/* The folder of a mailbox, opened if nobody has it open. PS_E_GONE when its directory is not there. */
int folder_get(struct ps_store *store, const struct ps_index_box *box, struct ps_folder **ret_folder);
/* Of one that has not got its name yet, and lies elsewhere below the root. */
int folder_get_aside(struct ps_store *store, const struct ps_index_box *box, const char *lies,
		     struct ps_folder **ret_folder);
void folder_put(struct ps_folder *folder);
int folder_fd(const struct ps_folder *folder, enum place place);
/* Directory times in ns, 0 for one too fresh to tell a later change apart. */
int folder_times(const struct ps_folder *folder, uint64_t ret_times[2]);
enum {
	BOX_TIME_CUR,
	BOX_TIME_NEW,
	BOX_LETTERS,
	BOX_ADOPTED
}; /* what priv[] of an index box holds; LETTERS: seen, of others; ADOPTED: the first scan is still to come */
int open_folder_dirs(struct ps_store *store, const char *dir, int ret_fds[3]);
/* The names in a directory, with a position of its own. */
int open_listing(int dirfd, DIR **ret_dir);
/* A new mailbox directory, made aside and durable. */
int folder_make(struct ps_store *store, const char *aside_name, const struct mailbox_state *state);
void remove_tree(int dirfd, const char *name);
void clean_tmp(int dirfd);

/* ---- write.c: one transaction of the index, and what must be durable before it ---------------- */

#define ASIDE_PATH PS_CATALOGUE_CONTROL "/aside"

/* A mailbox that is being changed. */
struct edit {
	struct ps_edit e;
	struct ps_folder *folder;
	struct mailbox_state state;
	struct ps_buf uid_lines;
	bool state_changed;
	bool copied; /* it is a copy of another's, which gives the UIDs: none of its own are reserved */
};
/* The edit of a mailbox, begun at its first use. PS_E_GONE. */
int write_edit(struct ps_catalogue_txn *w, uint64_t key, struct edit **ret_edit);
int write_edit_box(struct ps_catalogue_txn *w, const struct ps_index_box *box, struct edit **ret_edit);
/* Of a mailbox that is being made: its directory lies aside, and is had by its name only when the steps were run. */
int write_edit_made(struct ps_catalogue_txn *w, const struct ps_index_box *box, const char *lies);
void write_edit_finish(struct ps_edit *edit);
/* Makes durable what UIDs, modseqs and keywords rest on. Before any file gets its name. */
int write_reserve(struct ps_catalogue_txn *w);

/* ---- tokens.c: deliveries that are not made twice ------------------------------------------------- */

#define TOKENS_FILE "tokens" /* in postern-control */
struct token_id token_id(struct ps_bytes token);
bool token_parse(struct ps_bytes hex, struct token_id *ret_id);
void token_line(struct ps_buf *out, const struct token_id *id, int64_t time, bool refused);
int token_find(struct ps_catalogue_txn *w, const struct token_id *id); /* 1: it has come before */
/* `named`: it is in the name of a message, else in the file. One that is there already stays. */
int token_put(struct ps_catalogue_txn *w, const struct token_id *id, int64_t time, bool named);
/* Before messages are removed: what is in names only is copied to the file. */
int tokens_to_file(struct ps_catalogue_txn *w);
/* Makes a file that has become long as short as it may be. Not after the plan has put tokens that are not true yet. */
int tokens_shorten(struct ps_catalogue_txn *w);
int tokens_load(struct ps_store *store); /* what the file says and the index does not */

/* ---- mailboxes.c: the list of mailboxes and subscriptions ------------------------------------- */

bool mailboxes_differ(struct ps_store *store); /* as the root's watch says; by directory times where there is none */
/* Leaves word of the time at which index and root agreed, so that the next one who opens the store need not read them all. */
void mailboxes_note_time(struct ps_store *store);
/* With the lock: takes in what others did to directories and subscriptions; scans what is new. `rebuild`: all is. */
int mailboxes_sync(struct ps_store *store, bool rebuild);
/* Subscribed names, each with its NUL, in the form the index keeps them; from and to the file's form. */
int subscriptions_read(struct ps_store *store, struct ps_buf *ret_names);
int subscriptions_format(struct ps_store *store, struct ps_bytes names, struct ps_buf *out);

/* ---- scan.c ----------------------------------------------------------------------------------- */

/* With the lock: makes the index say what the directories hold. `rebuild`: the index knew nothing before. */
int scan_mailbox(struct ps_store *store, uint64_t key, bool rebuild);
int scan_all(struct ps_store *store);

/* ---- stage.c ---------------------------------------------------------------------------------- */

struct ps_staged {
	struct ps_store *store;
	char name[NAME_SIZE]; /* in tmp */
	int fd;
	uint64_t wire_size, disk_size;
	struct ps_line_ends ends;
	bool finished;
	int err;
	struct ps_buf out;
};
int stage_begin(struct ps_store *store, uint64_t size_hint, struct ps_staged **ret_staged);
int stage_write(struct ps_staged *staged, struct ps_bytes octets);
int stage_finish(struct ps_staged *staged);
void stage_drop(struct ps_staged *staged);
int stage_whole(const struct ps_staged *staged, uint64_t *ret_size);

/* ---- renamed.c: under which name others keep a message by now --------------------------------- */

/* The names in a directory. */
struct name_list;
int name_list_create(int dirfd, struct name_list **ret_list);
void name_list_destroy(struct name_list *list);
/* The one that a message has by now. */
bool name_list_find(const struct name_list *list, const char *name, char ret_name[NAME_SIZE]);
/* What `to` is to be for a message that was to be renamed from `from`, but that others have renamed to `now`. PS_E_LIMIT. */
int name_after(const char *from, const char *to, const char *now, char ret_name[NAME_SIZE]);

/* ---- steps.c: changes of files, done, undone, and replayed ------------------------------------ */

enum step_kind {
	STEP_RENAME,
	STEP_LINK,
	STEP_REPLACE,
	STEP_STATE,
	STEP_LINES,
	STEP_UNLINK,
	STEP_BROUGHT /* changes nothing: what recovery is to tell the index */
};
struct step {
	enum step_kind kind;
	uint32_t from_dir, to_dir; /* in steps.dirs */
	const char *from, *to;     /* LINES: to is the file, "" the UID list */
	struct ps_bytes data; /* STATE: special uses, or an identity; LINES: to append; BROUGHT: struct ps_brought */
	struct ps_bytes old;  /* the same, to undo it */
};
/* What PS_OP_IDENTITY sets. */
struct identity {
	struct ps_id id;
	uint32_t uid_validity;
	uint32_t uid_reserved; /* raised to this */
};
struct step_dir {
	const char *path; /* below the root */
	int fd;           /* -1: not opened yet */
	bool borrowed;    /* it is the store's, or the folder's */
	bool changed;
	bool seen;                   /* later.c's: it is where it lies by now */
	struct ps_folder *folder;    /* borrowed; NULL: none of its directories */
	struct folder_watch **watch; /* its, or the root's; NULL: it has none */
	enum place place;
	struct name_list *names; /* a listing of it; NULL: none */
};
struct steps {
	struct ps_store *store;
	struct ps_pool *pool;
	struct step *steps;
	size_t count, cap;
	struct step_dir *dirs;
	size_t dir_count, dir_cap;
	size_t stopped_at; /* the step that failed */
	bool left;         /* and may yet be done */
	bool recovering;   /* one listing of each directory does */
	bool relaxed;      /* what they change is left to settle() */
	bool elsewhere;    /* what was done again last was not a plain rename: others had been there */
};
void steps_init(struct steps *steps, struct ps_store *store, struct ps_pool *pool);
void steps_finish(struct steps *steps); /* closes its directories */
uint32_t steps_dir(struct steps *steps, const char *path, struct ps_folder *folder, enum place place);
struct step *steps_add(struct steps *steps, enum step_kind kind, uint32_t from_dir, const char *from, uint32_t to_dir,
		       const char *to);
/* Does all of them or none, durably. `atomic`: a crash must not tear them apart either. On failure: undone, or (the pending mark set) to be completed by steps_recover(). */
int steps_run(struct steps *steps, bool atomic);
/* Does them again, however far they had come; what others did to the files meanwhile stays. */
int steps_redo(struct steps *steps);
int steps_redo_one(struct steps *steps, const struct step *step);
bool steps_has_messages(const struct steps *steps, uint32_t n); /* the directory is cur or new */
int steps_sync(struct steps *steps);                            /* the directories that were changed */

/* ---- intent.c: steps, written down --------------------------------------------------------------- */

void steps_put(struct ps_buf *out, const struct steps *steps);
bool steps_take(struct ps_bytes text,
		struct steps *steps); /* false: it is none; what was added to `steps` is not to be done */
/* The record of what is about to be begun: open, or -1 in *ret_fd where none is needed. */
int intent_arm(struct steps *steps, bool atomic, int *ret_fd);
void intent_done(int fd);
void intent_loose(int fd);
int intent_drop(int fd); /* nothing of it was left */
/* A record of before is done with, on disk too: it would be done again on top of what is done now. */
int intent_retire(const struct steps *steps);
/* Completes what an intent record says was begun. With the lock. 1: it did, and the index does not know. When files and index
 * agree, steps_recovered() forgets it: whoever dies before that leaves it to the next. */
int steps_recover(struct ps_store *store);
int steps_recovered(struct ps_store *store);
int steps_forget_loose(struct ps_store *store); /* with the lock */

/* ---- settle.c --------------------------------------------------------------------------------- */

/* Takes over a directory, if it is not known already, that is to be synced. */
int unsettled_add(struct unsettled *unsettled, int *fd);
void unsettled_finish(struct unsettled *unsettled);
int settle(struct ps_store *store);
/* ---- later.c: many changes of flags, whose names follow ---------------------------------------------- */

#define LATER_FILE "later" /* in postern-control */
/* Whether all the steps are such changes, and more than are made at once. */
bool later_suits(const struct steps *steps);
/* Marks one: the message whose flags it changes. */
void later_mark(const struct steps *steps, struct step *step, uint64_t key, uint32_t uid);
bool later_is_long(struct ps_store *store); /* the file: it takes no more */
int later_add(
	struct steps *steps); /* durable when it returns; the caller tells the index, and then ps_catalogue_leave() */
int later_settle(struct ps_store *store); /* struct ps_catalogue_files */
/* The same for files alone, when the index may not know. 1: there was something. */
int later_recover(struct ps_store *store);
int later_recovered(struct ps_store *store);

/* ---- plan.c, plan_mailbox.c, commit.c --------------------------------------------------------- */

struct plan {
	struct ps_plan p;
	struct ps_catalogue_txn w;
	struct steps steps;
	bool later;                /* names are to follow: rows keep those that files have */
	bool removes;              /* some batch of this attempt removes messages */
	const struct ps_op *named; /* the append whose name gets the batch's token; NULL: none */
	struct token_id token;
	const char **removals; /* directories moved aside, to be removed when all is done */
	size_t removal_count, removal_cap;
};
static inline struct plan *plan_of(struct ps_plan *plan)
{
	return (struct plan *)plan;
}
int plan_edit(struct ps_plan *plan, uint64_t key, struct ps_edit **ret_edit);
uint64_t plan_letters_taken(const struct ps_edit *edit);
int plan_append(struct ps_plan *plan, struct ps_edit *edit, const struct ps_op *op, struct ps_row *row);
int plan_change(struct ps_plan *plan, struct ps_edit *edit, const struct ps_picked *old, const struct ps_row *row);
int plan_remove(struct ps_plan *plan, struct ps_edit *edit, const struct ps_picked *old);
int plan_copy(struct ps_plan *plan, struct ps_edit *from, struct ps_edit *to, const struct ps_picked *old,
	      struct ps_row *row, bool move);
int plan_mailbox_op(struct ps_plan *plan, const struct ps_op *op, struct ps_op_result *result);
int plan_name_fits(struct ps_store *store, const char *name);
int plan_write_subscriptions(struct ps_plan *plan, struct ps_bytes names);
int plan_token_seen(struct ps_plan *plan, const struct ps_batch *batch);
int plan_token_keep(struct ps_plan *plan, const struct ps_batch *batch);
int commit_attempt(struct ps_catalogue_group *group);
int commit_look_again(struct ps_catalogue_group *group);

/* ---- mailbox.c, read.c ----------------------------------------------------------------------------------- */

int mailbox_folder_open(struct ps_store *store, const struct ps_index_box *box, struct ps_folder **ret_folder);
void mailbox_folder_close(struct ps_mbox *mbox);
int mailbox_differs(struct ps_store *store, struct ps_mbox *mbox);
int mailbox_sync(struct ps_mbox *mbox);
int maildir_body(struct ps_mbox *mbox, uint32_t uid, struct ps_body *ret_body);
void maildir_body_close(struct ps_body *body);

/* ---- watch.c: what others do, noticed ---------------------------------------------------------- */

/* Begins and ends watching a folder's directories, or a store's root, where the list of mailboxes is looked up. `at`: where the folder or the
 * store keeps it. Without inotify everything falls back to directory times. */
void watch_attach(struct ps_folder *folder);
void watch_attach_root(struct ps_store *store);
void watch_detach(struct folder_watch **at);
/* What we are about to do ourselves, so that it is not taken for somebody else's. In a root: with a directory. */
void watch_expect(struct folder_watch **at, enum place place, uint32_t event, const char *name);
/* Takes in what has happened; whether somebody else changed it since watch_clean(). 1 yes, 0 no, -1 nobody
 * is watching. */
int watch_changed(struct folder_watch **at);
/* All that was expected has been done: what did not come makes it dirty. */
void watch_settle(struct folder_watch **at);
/* The directories are as the index says; from now on changes count. */
void watch_known(struct folder_watch **at);
void watch_dirty(struct folder_watch **at);
/* Before a scan begins: what happened before it will see. */
void watch_clean(struct folder_watch **at);
int maildir_watch(struct ps_mbox *mbox, void (*changed)(void *arg), void *arg, void **ret_watch);
void maildir_unwatch(void *watch);

#endif
