/* SPDX-License-Identifier: MIT */
/*
 * core/delivery/trace/trace.h - what became of each message: a journal to look into.
 *
 * It is used like the log: whoever knows that something has happened to a message says so, and nothing is said where no journal is
 * open. Events are gathered and written by a thread within a second; the last second may be lost in a crash, as the journal is there to explain,
 * and no mail depends on it. It is bounded in time and size: the oldest events go.
 *
 * One journal per process. All functions belong to the loop's thread.
 */
#ifndef CORE_DELIVERY_TRACE_TRACE_H
#define CORE_DELIVERY_TRACE_TRACE_H

#include "core/event/loop.h"
#include "postern/buf.h"

enum ps_trace_kind {
	PS_TRACE_RECEIVED, /* the message is whole: sender, message_id, size, source, user, sid */
	PS_TRACE_QUEUED,   /* for a recipient */
	PS_TRACE_STORED,   /* in the mailbox of a recipient */
	PS_TRACE_SENT,     /* a server took it: host, code, enhanced, text */
	PS_TRACE_DEFERRED, /* an attempt came to nothing for now: the same */
	PS_TRACE_FAILED,   /* for good: the same */
	PS_TRACE_REPORTED, /* the sender is told: other is the report's id */
	PS_TRACE_REMOVED,  /* by the administrator */
	PS_TRACE_REFUSED,  /* the client was told so: code, enhanced, text */
};

/* What is not known is NULL or 0. Texts are escaped and cut as they must be. */
struct ps_trace_event {
	enum ps_trace_kind kind;
	const char *id; /* the message's, which the log has too */
	const char *message_id, *sender, *source, *user, *sid;
	const char *recipient, *orcpt, *mailbox;
	const char *host, *enhanced, *text;
	const char *other;
	unsigned code;
	uint64_t size;
};

/* `dir` is made if missing. `seconds`: how long events are kept; `octets`: how large the journal may become, about. Blocks on disk. */
int ps_trace_open(struct ps_loop *loop, const char *dir, uint64_t seconds, uint64_t octets);
/* Other bounds; a larger size counts from the next opening. */
void ps_trace_configure(uint64_t seconds, uint64_t octets);
/* Writes what is left. Waits for the disk. Does nothing when none is open. */
void ps_trace_close(void);

void ps_trace(const struct ps_trace_event *event);

/* Answers a line of JSON, {"what": ID, MESSAGE-ID or ADDRESS, "most": messages}, with another:
 * {"ok": true, "more": false, "messages": [{"id", "events": [{"time", "event", ...}]}]}, the newest message first, or
 * {"ok": false, "error": text}. `done` is called once, on the loop. */
void ps_trace_ask(const char *request, void (*done)(void *arg, const char *answer), void *arg);

/* Appends the Message-ID of a message in a file, without its brackets; nothing if it has none. */
void ps_trace_message_id(int file, struct ps_buf *out);

#endif
