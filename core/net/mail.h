/* SPDX-License-Identifier: MIT */
/*
 * core/net/mail.h - sessions after log-in (mail role): a loop that reads, workers that run.
 */
#ifndef CORE_NET_MAIL_H
#define CORE_NET_MAIL_H

#include "core/event/loop.h"
#include "core/net/choice.h"
#include "postern/protocol.h"
#include "postern/session.h"
#include "postern/store.h"

struct ps_mail; /* one per mail process */

/* Where sessions came from: a process and its number of the session. Called on the loop. */
struct ps_mail_hooks {
	/* The session goes back. `fd` is taken over. */
	int (*hand_back)(void *arg, uint32_t from, uint64_t number, int fd, struct ps_bytes unread);
	/* It is over: whoever handed it over need not count it any more. */
	void (*over)(void *arg, uint32_t from, uint64_t number);
	void *arg;
};

/* workers: threads; conf: the root. */
int ps_mail_create(struct ps_loop *loop, const struct ps_conf *conf, unsigned workers, struct ps_mail **ret_mail);
/* Without, nobody hears of it. */
void ps_mail_set_hooks(struct ps_mail *mail, const struct ps_mail_hooks *hooks);
/* That process has gone: its sessions cannot go back. */
void ps_mail_from_gone(struct ps_mail *mail, uint32_t from);
void ps_mail_reconfigure(struct ps_mail *mail, const struct ps_conf *conf);

/* What a hand-over carries. Pointers are copied from during the call only. */
struct ps_handover {
	const struct ps_protocol *protocol;
	const struct ps_conf *protocol_conf;
	const char *sid, *remote, *local;
	bool is_tls;
	int fd; /* taken over */
	uint32_t from;
	uint64_t number;
	struct ps_user_info user;
	struct ps_hash credential; /* by which they have logged in */
	bool is_admin;             /* a master user has logged in */
	uint32_t sessions;         /* that the user may have of this protocol at a time; 0: any number */
	struct ps_bytes unread, blob;
};
int ps_mail_take(struct ps_mail *mail, const struct ps_handover *handover);

/* Runs fn(arg) on one of the threads that run sessions, when it is that user's turn; then then(arg) on the loop. Stopping waits for it. */
void ps_mail_run(struct ps_mail *mail, const char *user, void (*fn)(void *arg), void (*then)(void *arg), void *arg);

/* No session, and nothing that ps_mail_run() runs. */
bool ps_mail_is_idle(const struct ps_mail *mail);
void ps_mail_each(struct ps_mail *mail, void (*fn)(void *arg, const struct ps_session_info *info), void *arg);
/* Ends the sessions that are chosen, with the protocol's ended_text where a client may be told something; how many there are. */
unsigned ps_mail_end(struct ps_mail *mail, const struct ps_session_choice *choice);
/* Says bye (protocol's bye_text) to all, finishes running commands, closes stores; then calls empty(arg). */
void ps_mail_stop(struct ps_mail *mail, void (*empty)(void *arg), void *arg);
void ps_mail_destroy(struct ps_mail *mail);

#endif
