/* SPDX-License-Identifier: MIT */
/*
 * imap.h - what the files of the IMAP plugin share.
 *
 * Both halves are one machine (session.c): read a command, look it up, run it, answer. In the front process the
 * state is "not authenticated" and only the commands of that state are lawful; in the mail process the session
 * starts authenticated. A command is one file, cmd_NAME.c, and one row of commands.c.
 *
 * A command's run() parses, checks, acts, and ends with imap_ok(), imap_no() or imap_bad(), which note the answer.
 * The driver then tells what changed in the selected mailbox, as far as that is lawful, and sends the answer. A
 * command that takes long returns IMAP_WAIT with cmd->wait saying for what, and is run again then; what it has to
 * remember is in cmd->state.
 */
#ifndef PROTOCOLS_IMAP_IMAP_H
#define PROTOCOLS_IMAP_IMAP_H

#include <stdbool.h>
#include <stdint.h>
#include "postern/session.h"
#include "postern/store.h"
#include "protocols/imap/args.h"
#include "protocols/imap/names.h"
#include "protocols/imap/reader.h"

struct imap;
struct imap_cmd;

/* RFC 3501 section 3. */
enum {
	IMAP_NOT_AUTHENTICATED = 1,
	IMAP_AUTHENTICATED = 2,
	IMAP_SELECTED = 4,
	IMAP_LOGGED_IN = IMAP_AUTHENTICATED | IMAP_SELECTED,
	IMAP_ANY_STATE = 7,
};

enum {
	IMAP_UID = 1,           /* "UID NAME" exists too */
	IMAP_KEEPS_NUMBERS = 2, /* no untagged EXPUNGE while it runs, RFC 3501 section 7.4.1; the UID form may */
	IMAP_LOOKS = 4,         /* asks the backend for what others changed before it answers */
	IMAP_NO_SYNC = 8,       /* tells nothing of the selected mailbox: it leaves or closes it */
};

enum imap_next {
	IMAP_DONE,
	IMAP_WAIT, /* run again when cmd->wait is over */
};

/* What ENABLE and its like have switched on, in imap->enabled. */
enum {
	IMAP_CONDSTORE = 1,                          /* RFC 7162 */
	IMAP_QRESYNC = 2,                            /* with CONDSTORE, always */
	IMAP_UTF8 = 4,                               /* UTF8=ACCEPT, RFC 9755 */
	IMAP_REV2 = 8,                               /* IMAP4rev2, RFC 9051 */
	IMAP_TELLS_UID = IMAP_CONDSTORE | IMAP_REV2, /* FETCH responses that nobody asked for have it */
};

struct imap_command {
	const char *name;
	unsigned states;
	unsigned flags;
	enum imap_next (*run)(struct imap_cmd *cmd);
	/* Optional: whether the literal that follows these arguments is taken by run() itself, octet by octet,
	 * instead of being gathered. */
	bool (*streams)(struct imap_args before);
};

/* The command under way. */
struct imap_cmd {
	struct imap *imap;
	const struct imap_command *command; /* NULL: none is */
	struct ps_bytes tag;
	struct imap_args args;    /* what follows the name */
	struct ps_bytes supplied; /* the first mailbox name, as the client wrote it */
	bool denormalised;        /* a mailbox name has another form than Net-Unicode; see imap_put_old_name() */
	bool by_uid;
	const struct imap_literal *literal; /* for those that stream: the literal that comes next; NULL: none does */
	bool literal_taken;                 /* else it is dropped, where the client sends it without waiting */
	struct ps_pool *pool;
	void *state;                          /* the command's own; NULL at the first run */
	void (*finish)(struct imap_cmd *cmd); /* releases what the state holds; also when the session breaks off */
	struct ps_wait wait;
	uint64_t progress_ms; /* when its client is to hear of it again; 0: it has just begun */
	/* The answer. */
	const char *status; /* "OK", "NO", "BAD"; NULL: send none */
	const char *code;   /* response code without brackets, or NULL */
	const char *text;
};

struct imap {
	struct ps_session *session;
	struct imap_reader reader;
	struct imap_cmd cmd;
	unsigned bad_commands; /* in a row */
	bool closing;          /* after the output is sent */
	bool gone;             /* the session has been handed back */
	unsigned enabled;      /* IMAP_CONDSTORE... */
	uint32_t timeout_ms;   /* how long a command may be waited for */
	bool literal_plus;
	/* Mail half only. */
	struct ps_user *user; /* NULL in the front half */
	struct imap_names names;
	struct ps_view *view;          /* the selected mailbox, or NULL */
	struct ps_view_status mailbox; /* of the view, as of its last sync */
	struct ps_ranges saved;        /* "$", RFC 5182: UIDs */
};

/* ---- session.c */
extern const struct ps_half imap_front_half, imap_mail_half;
unsigned imap_state(const struct imap *imap);
/* Ends the session with an untagged BYE. */
enum imap_next imap_bye(struct imap_cmd *cmd, const char *text);
/* To be returned by run(): wait for n octets of input, or a line of at most n. run() is called again when
 * the client has gone or the time is over, too: imap_gave_up() says so then, and has closed the session. */
enum imap_next imap_wait_input(struct imap_cmd *cmd, size_t n);
enum imap_next imap_wait_line(struct imap_cmd *cmd, size_t n);
bool imap_gave_up(struct imap_cmd *cmd);
/* Call it between pieces of output: true when run() is to return IMAP_WAIT now, because the client reads slowly or
 * it is others' turn. */
bool imap_should_yield(struct imap_cmd *cmd);

/* ---- commands.c */
const struct imap_command *imap_command_find(struct ps_bytes name);

/* ---- answer.c: what run() ends with */
enum imap_next imap_ok(struct imap_cmd *cmd, const char *text);
enum imap_next imap_ok_code(struct imap_cmd *cmd, const char *code, const char *text);
enum imap_next imap_no(struct imap_cmd *cmd, const char *code, const char *text);
enum imap_next imap_bad(struct imap_cmd *cmd, const char *text);
/* As NO or BAD, by errors.c. `target`: it is about a mailbox to be written to, where [TRYCREATE] is due. */
enum imap_next imap_no_err(struct imap_cmd *cmd, int err);
enum imap_next imap_no_target(struct imap_cmd *cmd, int err);
/* For a failed parse: PS_E_SYNTAX is BAD with `usage`; what is of the grammar but refused goes to imap_no_err(). */
enum imap_next imap_refuse(struct imap_cmd *cmd, int err, const char *usage);
struct ps_buf *imap_output(struct imap *imap);

/* ---- append.c */
/* Octets that a message may have. */
uint64_t imap_append_limit(const struct imap *imap);

/* ---- strings.c */
/* "quoted", or a literal where it must be. */
void imap_put_string(struct ps_buf *out, struct ps_bytes text);
/* The same, and UTF-8 is quoted to a client that has said it may be. */
void imap_put_text(const struct imap *imap, struct ps_buf *out, struct ps_bytes text);
/* As it is if it is an atom, else as a string. */
void imap_put_astring(struct ps_buf *out, struct ps_bytes text);

/* ---- capabilities.c */
void imap_put_capabilities(struct imap *imap, struct ps_buf *out);
/* Switches on what ENABLE knows by that name; NULL when nothing is known by it, else its proper spelling. */
const char *imap_enable(struct imap *imap, struct ps_bytes name);

/* ---- flags.c */
struct imap_flags {
	uint32_t system;             /* PS_FLAG_* */
	const char *const *keywords; /* NULL-terminated */
};
/* "(\Seen work)"; `bare` allows the list without parentheses, as STORE does. */
int imap_flags_parse(struct imap_args *args, bool bare, struct ps_pool *pool, struct imap_flags *ret_flags);
int imap_keyword_parse(struct imap_args *args, struct ps_pool *pool, const char **ret_keyword);
/* "(\Seen work)" of a message, and of a mailbox: FLAGS, PERMANENTFLAGS. */
void imap_put_flags(const struct imap *imap, struct ps_buf *out, uint32_t system, uint64_t keywords, bool recent);
void imap_put_mailbox_flags(const struct imap *imap, struct ps_buf *out);

/* ---- sync.c */
/* Tells what changed in the selected mailbox; `how` as of ps_view_sync(). */
void imap_sync(struct imap_cmd *cmd, unsigned how);
void imap_unselect(struct imap *imap);
/* FETCH response with the flags of a row, and its UID when the command is a UID command. */
void imap_put_flags_response(struct imap_cmd *cmd, struct ps_buf *out, uint32_t seq, const struct ps_row *row);
/* The same without the flags: what a silent STORE tells of who counts mod-sequences. */
void imap_put_modseq_response(struct imap_cmd *cmd, struct ps_buf *out, uint32_t seq, const struct ps_row *row);

/* ---- condstore.c: RFC 7162 */
/* The client has shown that it counts mod-sequences: from now on each FETCH response that tells flags has one. */
void imap_enable_condstore(struct imap_cmd *cmd);
/* VANISHED responses; `earlier`: what went before the client came back. */
void imap_put_vanished(struct imap *imap, bool earlier, const struct ps_range *uids, size_t count);
void imap_put_highest_modseq(struct imap *imap);
/* OK, after what it removed is told; with the mod-sequence the client has reached by that, if it cares. */
enum imap_next imap_ok_expunged(struct imap_cmd *cmd, const char *text);

/* ---- mailboxes.c: what LIST, LSUB, SELECT and others share */
/* A mailbox name: astring, translated. PS_E_SYNTAX, PS_E_INVALID. */
int imap_mailbox_arg(struct imap_cmd *cmd, const char **ret_name);
void imap_put_mailbox(struct imap *imap, struct ps_buf *out, const char *name);
/* RFC 9051 section 6.3.9.7: behind a LIST response for a mailbox, what the client called it. */
void imap_put_old_name(struct imap_cmd *cmd);
/* A sequence-set as imap_args_set() gives it, or "$", as UIDs. PS_E_SYNTAX also for a number beyond the mailbox. */
int imap_resolve(const struct imap *imap, struct ps_bytes text, bool by_uid, struct ps_pool *pool,
		 struct ps_set *ret_uids);
/* SP sequence-set, as UIDs that are in the view. */
int imap_set_arg(struct imap_cmd *cmd, struct ps_set *ret_uids);
/* Visits the messages of a set that are in the view, and keeps its place from run to run. */
struct imap_walk {
	struct ps_set uids;
	uint64_t changed_since; /* passes over those with a mod-sequence up to it */
	size_t range;
	uint32_t next; /* sequence number; 0: at the start of the range */
};
const struct ps_row *imap_walk_next(const struct imap *imap, struct imap_walk *walk, uint32_t *ret_seq);

#endif
