/* SPDX-License-Identifier: MIT */
/*
 * core/delivery/queue/queue.h - mail that waits: durable, and sent in a fair order.
 *
 * A message is cut into parts: the recipients of one destination ("mx:example.org"), at most PS_QUEUE_PART_MAX. A part is what is
 * attempted, put off, held and given up as one. Envelopes and the order of parts lie in one LMDB file below the directory, bodies
 * in a file each. What is acknowledged has been synced: the body, its directory, the transaction.
 *
 * The queue hands out attempts by itself, as many as its settings allow at a time; who carries one out says what came of it by
 * ps_queue_finish(). That an attempt is under way is known in memory only: after a crash its part is due again.
 *
 * TIMES. The queue's time is a clock of its own in milliseconds: it goes on where it was, at the pace of CLOCK_MONOTONIC, and when
 * the queue is opened it takes up what the wall clock says if that is later. So a wall clock that is set neither makes mail wait
 * nor expire. Ages and waits are differences of it; only `arrival` is a wall-clock time, for people.
 *
 * NAMES of destinations are the caller's. Where rules and filters name one, what stands before the ':' of several means all of these.
 *
 * THREADS. All functions are called on the loop's thread, and all callbacks are called there. Disks are waited for elsewhere.
 */
#ifndef CORE_DELIVERY_QUEUE_QUEUE_H
#define CORE_DELIVERY_QUEUE_QUEUE_H

#include <jansson.h>
#include "core/event/loop.h"
#include "postern/buf.h"
#include "postern/pool.h"

struct ps_queue;

enum {
	PS_QUEUE_PART_MAX = 100, /* recipients; RFC 5321 section 4.5.3.1.8: any server takes that many */
	PS_QUEUE_RECIPIENTS_MAX = 10000,
	PS_QUEUE_TEXT_MAX = 1024, /* octets of what a server said; more is cut */
};

struct ps_queue_recipient {
	const char *address;
	const char *orcpt; /* NULL: none */
	uint32_t notify;
	const char *destination;
	const char *mailbox; /* where it goes here, or whatever the caller wants back; NULL: none */
	uint32_t place;      /* in an attempt: where it stands in its part; not for the caller of ps_queue_add() */
};

struct ps_queue_message {
	const char *id; /* names it to people; no two at a time have the same */
	const char *reverse_path;
	const char *envid, *user, *sid; /* NULL: none */
	uint32_t options, source;
	int64_t arrival; /* seconds since 1970 */
	uint64_t size;
	struct ps_queue_recipient *recipients;
	size_t count;
	int file; /* of `size` octets. ps_queue_add(): stays the caller's, who keeps it open until `done` */
};

/* What came of a recipient, or of a connection. */
enum ps_queue_outcome {
	PS_QUEUE_DEFERRED,
	PS_QUEUE_DELIVERED,
	PS_QUEUE_FAILED,
};

struct ps_queue_result {
	enum ps_queue_outcome outcome;
	unsigned code;                      /* 0: no reply of a server's */
	const char *enhanced, *text, *host; /* NULL: none */
};

/* What an attempt told of its destination. */
enum ps_queue_verdict {
	PS_QUEUE_UNKNOWN,     /* nothing */
	PS_QUEUE_REACHED,     /* it works */
	PS_QUEUE_BUSY,        /* it works, and wants fewer connections */
	PS_QUEUE_UNREACHABLE, /* no server of it could be talked to */
};

/* Of an attempt's recipients that are not settled by it: */
enum {
	PS_QUEUE_DELAYED = 1,  /* their sender is to be told that it takes long: finish with told_delay */
	PS_QUEUE_EXPIRED = 2,  /* their time is over: finish with FAILED */
	PS_QUEUE_RETURNED = 4, /* the administrator wants them returned: finish with FAILED */
};

/* Recipients of one part that are not settled. */
struct ps_queue_attempt {
	struct ps_queue_message message; /* file: open for reading, closed with the attempt */
	const char *destination;
	bool send; /* false: nothing is to be sent; `last` is each recipient's result, and ps_queue_owes() says what to do of it */
	unsigned attempts; /* before this one */
	struct ps_queue_result last;
	uint64_t age_ms;
	/* The queue's own: */
	struct ps_pool *pool;
	struct ps_queue_attempt *next;
	uint64_t number, dest, accepted, begun;
	uint32_t part, flags;
};

struct ps_queue_rule { /* for one destination */
	const char *destination;
	unsigned concurrency;
	unsigned per_minute; /* attempts; 0: no limit */
};

/* Times in seconds. */
struct ps_queue_settings {
	unsigned attempts;    /* at a time, in all */
	unsigned concurrency; /* of one destination, at most; it begins with concurrency_first */
	unsigned concurrency_first;
	unsigned retry_first, retry_most; /* each wait is twice the one before, give or take a fifth */
	unsigned delay_notice;            /* 0: none */
	unsigned expiry;
	unsigned dead_after;              /* attempts in a row that did not reach the destination */
	unsigned probe_first, probe_most; /* waits of a destination that is dead */
	const struct ps_queue_rule *rules;
	size_t rule_count;
	unsigned threads; /* that wait for disks */
	/* NULL: the machine's; milliseconds. For tests. */
	uint64_t (*wall)(void);
	uint64_t (*monotonic)(void);
};
extern const struct ps_queue_settings ps_queue_defaults;

struct ps_queue_hooks {
	/* An attempt to carry out; ends by ps_queue_finish() or ps_queue_drop(). */
	void (*attempt)(void *arg, struct ps_queue_attempt *attempt);
	void *arg;
};

typedef void (*ps_queue_done_fn)(void *arg, int error);

/* `dir` is made if missing. Nothing is attempted before ps_queue_start(). Blocks on disk. */
int ps_queue_open(struct ps_loop *loop, const char *dir, const struct ps_queue_settings *settings,
		  const struct ps_queue_hooks *hooks, struct ps_queue **ret_queue);
void ps_queue_start(struct ps_queue *queue);
/* No attempt is handed out any more. */
void ps_queue_stop(struct ps_queue *queue);
void ps_queue_reconfigure(struct ps_queue *queue, const struct ps_queue_settings *settings);
/* Calls `done` when all that was begun has come to its end; attempts that are out must have ended before. NULL: does nothing. */
void ps_queue_close(struct ps_queue *queue, void (*done)(void *arg), void *arg);

/* The message is durable when done(arg, 0) is called. PS_E_FULL: no room; PS_E_EXISTS: the id; PS_E_INVALID: the file's size, or
 * what cannot be an envelope. What `message` points to, but the file, is copied. */
void ps_queue_add(struct ps_queue *queue, const struct ps_queue_message *message, ps_queue_done_fn done, void *arg);

struct ps_queue_finish {
	const struct ps_queue_result *results; /* as many as the attempt has recipients */
	enum ps_queue_verdict verdict;
	bool told_delay;
	const struct ps_queue_message *reports; /* to the sender; durable together with the results */
	size_t report_count;
};
/* Takes the attempt over; done is called when it is durable. What cannot be written (the disk is full) is tried again until it
 * can, and the part is not attempted meanwhile: an error comes only when the queue is closed before. */
void ps_queue_finish(struct ps_queue *queue, struct ps_queue_attempt *attempt, const struct ps_queue_finish *finish,
		     ps_queue_done_fn done, void *arg);
/* Nothing came of it; the part stays due. */
void ps_queue_drop(struct ps_queue *queue, struct ps_queue_attempt *attempt);
/* PS_QUEUE_DELAYED and so on: what is to be done of its recipients that are deferred now. */
unsigned ps_queue_owes(const struct ps_queue *queue, const struct ps_queue_attempt *attempt);

/* ---- for the administrator ------------------------------------------------------------------------- */

struct ps_queue_filter { /* NULL, 0, false: any */
	const char *id;
	const char *sender, *recipient; /* "joe@example.org", or "@example.org" for all of a domain */
	const char *user;
	const char *destination;
	unsigned older_than, younger_than; /* seconds */
	bool held;
};

enum ps_queue_act {
	PS_QUEUE_HOLD,
	PS_QUEUE_RELEASE,
	PS_QUEUE_RETRY,  /* now; a dead destination is probed */
	PS_QUEUE_REMOVE, /* nobody is told */
	PS_QUEUE_BOUNCE, /* the sender is told */
};

/* One page. `next`: what to give as `after` for the next page; 0: that was all. A page may be empty and not the last. */
struct ps_queue_page {
	json_t *rows; /* of ps_queue_list() */
	uint64_t count;
	uint64_t next;
};
typedef void (*ps_queue_page_fn)(void *arg, int error, struct ps_queue_page *page);

/* Messages in the order they came. `full`: with every recipient. */
void ps_queue_list(struct ps_queue *queue, const struct ps_queue_filter *filter, uint64_t after, unsigned most,
		   bool full, ps_queue_page_fn done, void *arg);
/* Destinations that mail waits for, and what is known of them; no order. `after` is a key. */
void ps_queue_destinations(struct ps_queue *queue, uint64_t after, unsigned most, ps_queue_page_fn done, void *arg);
void ps_queue_act(struct ps_queue *queue, enum ps_queue_act act, const struct ps_queue_filter *filter, uint64_t after,
		  ps_queue_page_fn done, void *arg);

struct ps_queue_stats {
	uint64_t messages, parts, octets, held, ready, destinations, damaged;
	uint64_t oldest_ms;
	unsigned active;  /* attempts under way */
	uint64_t visited; /* rows that looking for attempts has read, in all */
	uint64_t commits, added, finished;
};
void ps_queue_stats(struct ps_queue *queue, void (*done)(void *arg, const struct ps_queue_stats *stats), void *arg);

/* The same by a line of JSON: {"do": "queue", "what": "list" | "show" | "destinations" | "hold" | "release" | "retry" | "remove" | "bounce" |
 * "stats", filters by their names, "after", "most"}. The answer, too, is a line: {"ok": true, ...} or {"ok": false, "error": text}. */
void ps_queue_ask(struct ps_queue *queue, const char *request, void (*done)(void *arg, const char *answer), void *arg);

#endif
