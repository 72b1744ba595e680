/* SPDX-License-Identifier: MIT */
/*
 * What the files of the queue share.
 */
#ifndef CORE_DELIVERY_QUEUE_PRIVATE_H
#define CORE_DELIVERY_QUEUE_PRIVATE_H

#include <endian.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>
#include "core/base/hash.h"
#include "core/delivery/queue/queue.h"
#include "core/event/workers.h"
#include "postern/index.h"

/*
 * Keys are big-endian. `dest` is the keyed hash of a destination's name; 0 stands for what is settled without sending.
 *   MESSAGES  number                       struct message
 *   IDS       id                           number
 *   PARTS     number part                  struct part
 *   READY     dest order number part       nothing: what may be attempted, in the order of `order` (schedule.c)
 *   HEADS     order dest                   nothing: of each destination that is not blocked, the first of READY
 *   TIMES     when kind dest number part   nothing: what happens by itself (tick.c)
 *   DESTS     dest                         struct dest
 *   DAMAGED   kind, key                    records that could not be read
 */
enum db {
	DB_MESSAGES,
	DB_IDS,
	DB_PARTS,
	DB_READY,
	DB_HEADS,
	DB_TIMES,
	DB_DESTS,
	DB_DAMAGED,
	DB_COUNT
};

struct part_key {
	uint64_t number;
	uint32_t part;
} __attribute__((packed));

struct ready_key {
	uint64_t dest, order, number;
	uint32_t part;
} __attribute__((packed));

struct head_key {
	uint64_t order, dest;
} __attribute__((packed));

enum time_kind {
	TIME_DUE = 1,  /* the part may be attempted again */
	TIME_DEADLINE, /* of the part: a notice, or its expiry */
	TIME_WAKE,     /* the destination is not blocked any more */
};

struct time_key {
	uint64_t when;
	uint8_t kind;
	uint64_t dest, number;
	uint32_t part;
} __attribute__((packed));

#define SETTLE_DEST 0u

/* Numbers say in which start they were given, so that bodies of former ones are told from those of this one. */
#define START_SHIFT 36

/* Plugins and programs have functions of such names, too: these stay within the library. */
#pragma GCC visibility push(hidden)

/* ---- records (record.c) ------------------------------------------------------------------------ */

struct message {
	uint64_t number;
	struct ps_queue_message m; /* without recipients and file */
	uint64_t accepted;
	uint32_t recipients;
};

enum {
	PART_HELD = 1,
	PART_RETURN = 2, /* the administrator's wish */
	PART_TOLD = 4,   /* the sender knows of the delay */
};

struct recipient {
	const char *address, *orcpt, *mailbox;
	uint32_t notify;
	enum ps_queue_outcome outcome;
	uint32_t code;
};

struct part {
	uint64_t number;
	uint32_t index;
	uint64_t dest, sender; /* hashes */
	const char *destination;
	uint64_t accepted;
	/* Where it lies, 0: not there. READY of its destination, TIMES, TIMES, READY of SETTLE_DEST: */
	uint64_t order, due, deadline, settle;
	uint32_t flags;
	uint32_t attempts;
	uint64_t tried;
	struct ps_queue_result last;
	struct recipient *recipients;
	uint32_t count;
};

struct dest {
	uint64_t key;
	const char *name;
	uint64_t parts;
	uint64_t until; /* blocked so long; 0: not */
	uint64_t head;  /* its `order` in HEADS; 0: not there */
	uint64_t wake;  /* its `when` in TIMES; 0: not there */
	uint64_t tried; /* last attempt that told something */
	uint64_t since; /* not reached since; 0: reached */
	uint32_t failures;
	struct ps_queue_result reason; /* it was not reached */
};

int message_encode(const struct message *message, struct ps_buf *out);
int message_decode(struct ps_bytes octets, struct ps_pool *pool, struct message *ret_message);
int part_encode(const struct part *part, struct ps_buf *out);
int part_decode(struct ps_bytes octets, struct ps_pool *pool, struct part *ret_part);
int dest_encode(const struct dest *dest, struct ps_buf *out);
int dest_decode(struct ps_bytes octets, struct ps_pool *pool, struct dest *ret_dest);

/* ---- schedule (schedule.c): in memory, under its lock ------------------------------------------ */

struct lease {
	LIST_ENTRY(lease) slot;
	uint64_t number;
	uint32_t part;
};

/* What is known of a destination that is being sent to, or was lately. */
struct target {
	LIST_ENTRY(target) slot;
	TAILQ_ENTRY(target) idle; /* when active is 0 */
	uint64_t key, kind;       /* of its name; of what stands before the ':' there */
	unsigned active;
	unsigned most;     /* concurrency, by the settings */
	unsigned interval; /* ms between two attempts */
	double window;     /* concurrency, by what is seen */
	uint64_t next;     /* the earliest moment of the next attempt */
	/* As in struct dest: */
	uint32_t failures;
	uint64_t since;
	uint64_t until;
};

enum {
	LEASE_SLOTS = 1024,
	TARGET_SLOTS = 1024,
	TARGETS_IDLE = 4096,
	SENDER_SLOTS = 16384,
	WALK_MAX = 8192, /* rows that one look for attempts reads */
};

struct schedule {
	pthread_mutex_t lock;
	LIST_HEAD(, lease) leases[LEASE_SLOTS];
	LIST_HEAD(, target) targets[TARGET_SLOTS];
	TAILQ_HEAD(idle_targets, target) idle;
	unsigned idle_count, active;
	uint64_t order;                 /* of the latest part taken */
	uint64_t senders[SENDER_SLOTS]; /* the latest order given to any sender of the slot */
	uint64_t chance;
	uint64_t visited;
	unsigned turn; /* looks for attempts so far */
};

/* ---- the queue --------------------------------------------------------------------------------- */

struct op;
TAILQ_HEAD(ops, op);

struct ps_queue {
	struct ps_loop *loop;
	struct ps_workers *workers;
	struct ps_queue_hooks hooks;
	const struct ps_queue_settings *_Atomic settings; /* replaced as a whole; old ones stay in the pool */
	struct ps_pool *settings_pool;
	struct ps_index *index;
	char *dir;
	int dir_fd, bodies_fd, lock_fd;
	struct ps_hash_key hash_key;
	uint64_t start;                /* number of the first message of this start */
	uint64_t base, monotonic_base; /* of the queue's time */
	uint64_t allocated;            /* octets of the file that blocks are there for; who commits */
	_Atomic uint64_t last_number;
	atomic_bool closing;
	struct schedule schedule;
	/* Of the loop's thread: */
	struct ops pending, stuck;
	struct ops batch; /* of who commits, while `committing` */
	unsigned jobs;    /* under way on other threads */
	bool started, committing, taking, take_again;
	struct ps_timer *timer;       /* for the first of TIMES */
	struct ps_timer *again_timer; /* for what did not work now */
	void (*closed)(void *arg);
	void *closed_arg;
	/* Of who commits, read when it is over: */
	uint64_t next_time; /* in TIMES; 0: none */
	bool tick_more;
	struct removal *removal; /* NULL: no bodies are to go */
	_Atomic uint64_t commits, added, finished;
};

static inline const struct ps_queue_settings *settings_of(const struct ps_queue *queue)
{
	return queue->settings;
}

uint64_t queue_now(const struct ps_queue *queue);
uint64_t queue_hash(const struct ps_queue *queue, struct ps_bytes text); /* never 0 */
/* "local" of "local:2"; all of what has no ':'. */
struct ps_bytes queue_kind(const char *destination);

/* A transaction, reading or writing. */
struct change {
	struct ps_queue *queue;
	struct ps_index_txn *txn;
	MDB_txn *lmdb;
	struct ps_pool *pool;
	uint64_t now;
	uint64_t *gone; /* bodies to be removed when it is committed */
	size_t gone_count, gone_cap;
};

/* rows.c */
int row_get(struct change *change, enum db db, const void *key, size_t len, struct ps_bytes *ret_value);
int row_put(struct change *change, enum db db, const void *key, size_t len, struct ps_bytes value);
int row_del(struct change *change, enum db db, const void *key, size_t len); /* absent is fine */
/* The first row at or after the key, whose size is `len`; the value may be NULL. PS_E_NOTFOUND. */
int row_seek(struct change *change, enum db db, void *key, size_t len, struct ps_bytes *ret_value);
uint64_t row_count(struct change *change, enum db db);

static inline struct part_key part_key(uint64_t number, uint32_t part)
{
	return (struct part_key){htobe64(number), htobe32(part)};
}

int message_get(struct change *change, uint64_t number, struct message *ret_message);
int message_put(struct change *change, const struct message *message);
/* With its id, and its body when the change is committed. */
int message_remove(struct change *change, const struct message *message);
int part_get(struct change *change, uint64_t number, uint32_t index, struct part *ret_part);
/* The first part of the message at or after `index`. PS_E_NOTFOUND; PS_E_CORRUPT with *ret_index set. */
int part_next(struct change *change, uint64_t number, uint32_t index, struct part *ret_part, uint32_t *ret_index);
/* Puts `to` in the place of `from` (NULL: none), with all rows that lead to it. */
int part_save(struct change *change, const struct part *from, const struct part *to);
/* Zeroed but for the key when there is none. */
int dest_get(struct change *change, uint64_t key, struct dest *ret_dest);
/* Brings HEADS and TIMES in line with READY and what `dest` says, and stores it. */
int dest_settle(struct change *change, struct dest *dest);
/* A record that cannot be read goes where it does no harm, with all that it belongs to where need be. */
int set_aside_part(struct change *change, uint64_t number, uint32_t index);
int set_aside_message(struct change *change, uint64_t number);
int count_add(struct change *change, const char *name, int64_t by);

/* bodies.c */
int bodies_open(struct ps_queue *queue);
/* Gives the message a number and its file a name, synced but for the directory. */
int body_keep(struct ps_queue *queue, const struct ps_queue_message *message, bool copy, uint64_t *ret_number);
int body_open(struct ps_queue *queue, uint64_t number, uint64_t size, int *ret_file);
void body_remove(struct ps_queue *queue, uint64_t number);
/* Removes what former starts have left and no envelope names. */
void bodies_sweep(struct ps_queue *queue);
/* Room for what is to be written, beside what removing needs. PS_E_FULL. */
int queue_reserve(struct ps_queue *queue, uint64_t octets);

/* schedule.c: the callers of those that take a change hold no lock */
void schedule_init(struct schedule *schedule);
void schedule_finish(struct schedule *schedule);
/* A place in the order for the next part of a sender. */
uint64_t schedule_order(struct ps_queue *queue, uint64_t sender);
uint64_t schedule_jitter(struct ps_queue *queue, uint64_t wait);    /* give or take a fifth */
uint64_t schedule_retry(struct ps_queue *queue, unsigned attempts); /* wait after so many */
bool schedule_leased(struct ps_queue *queue, uint64_t number, uint32_t part);
void schedule_release(struct ps_queue *queue, const struct ps_queue_attempt *attempt);
/* What an attempt told of its destination. */
void schedule_learn(struct ps_queue *queue, uint64_t dest, enum ps_queue_verdict verdict);
/* The same into the record. */
void schedule_store(struct ps_queue *queue, struct dest *dest);
/* Applies new settings to what is known. */
void schedule_reset_rules(struct ps_queue *queue);
/* The administrator wants it tried, dead or not. */
void schedule_revive(struct ps_queue *queue, uint64_t dest);
unsigned part_owes(const struct ps_queue *queue, uint64_t accepted, uint32_t flags, uint64_t now);

/* With the lock: */
bool lease_exists(struct schedule *schedule, uint64_t number, uint32_t part);
void lease_add(struct schedule *schedule, uint64_t number, uint32_t part);
struct target *target_find(struct schedule *schedule, uint64_t key);
struct target *target_make(struct ps_queue *queue, const struct dest *dest);
/* Whether one more attempt may begin; it begins. */
bool target_may(const struct ps_queue *queue, const struct target *target, uint64_t now);
void target_enter(struct ps_queue *queue, struct target *target, uint64_t now);

/* A row of READY (or of HEADS, with number 0) that leads nowhere, met while reading. */
struct bad_row {
	struct ready_key key;
	int error;
	bool message; /* it is the whole message that cannot be sent */
};
enum {
	BAD_MAX = 16
};
struct bad_rows {
	struct bad_row rows[BAD_MAX];
	unsigned count;
};
int mend(struct change *change, const struct bad_rows *bad);

/* take.c */
struct taken {
	struct ps_queue_attempt *first;
	unsigned count;
	uint64_t again; /* when there may be more, by a rate limit; 0: not known */
	struct bad_rows bad;
};
int take(struct ps_queue *queue, unsigned most, struct taken *ret_taken);
void attempt_free(struct ps_queue_attempt *attempt);

/* tick.c: does what the time has come for, some of it. */
int tick(struct change *change, bool *ret_more);
uint64_t part_deadline(const struct ps_queue *queue, const struct part *part, uint64_t now);

/* ---- operations (ops.c), several in one commit (commit.c) --------------------------------------- */

struct addition {
	struct ps_queue_message message;
	uint64_t number; /* 0: its file has no name yet */
	bool copy;       /* a sync failed: what the file's pages are worth is not known, so they are written anew */
	bool refused;    /* a report that cannot be added; what it reports must not wait for it */
};

struct op {
	TAILQ_ENTRY(op) link;
	struct ps_queue *queue;
	struct ps_pool *pool;
	/* Blocks on disk before the commit; may be NULL. Called once more after it failed with what may pass. */
	int (*prepare)(struct op *op);
	/* May be called again when the transaction had to be begun anew. A failure other than PS_E_AGAIN and those of the disk is
	 * this operation's alone, and it has changed nothing then. */
	int (*apply)(struct op *op, struct change *change);
	/* On the thread that commits: it is durable; or it failed for good. Either may be NULL. */
	void (*committed)(struct op *op);
	void (*undo)(struct op *op);
	/* On the loop; the op is freed then. */
	void (*done)(struct op *op);
	bool needs_room; /* it is refused when the disk is full; others may use the reserve */
	bool must;       /* it is tried again until it succeeds */
	bool learned;    /* what an attempt told was heard */
	int error;
	char *sentence; /* of the error */
	struct addition *additions;
	size_t addition_count;
	/* finish: */
	struct ps_queue_attempt *attempt;
	struct ps_queue_finish finish;
	/* act: */
	enum ps_queue_act act;
	struct ps_queue_filter filter;
	uint64_t after;
	struct ps_queue_page page;
	const char **removed; /* ids of messages that are gone, for the journal */
	size_t removed_count, removed_cap;
	ps_queue_done_fn called;
	ps_queue_page_fn paged;
	void *arg;
};

struct op *op_create(struct ps_queue *queue);
void op_free(struct op *op);
/* Prepares and commits it. */
void op_run(struct op *op);
/* On another thread, outside of commits. */
void queue_run(struct ps_queue *queue, void (*work)(void *arg), void (*done)(void *arg), void *arg);
/* A job of queue_run() is over; nothing of the queue is touched after it. */
void queue_ran(struct ps_queue *queue);
/* Looks for attempts, if there is room for any. */
void queue_take(struct ps_queue *queue);
/* Some seconds from now, or sooner. */
void queue_try_later(struct ps_queue *queue);
void queue_try_at(struct ps_queue *queue, uint64_t wait_ms);
int commit_init(struct ps_queue *queue);
void commit_finish(struct ps_queue *queue);

int add_apply(struct change *change, const struct addition *addition);

/* queue.c */
int change_begin(struct ps_queue *queue, bool write, struct change *ret_change);
void change_end(struct change *change); /* ends or aborts */

/* filter.c */
struct ps_queue_filter filter_copy(struct ps_pool *pool, const struct ps_queue_filter *from);
/* Calls fn for messages after `after` that match, until it returns 1 or many were read; 0: all. PS_E_NOTFOUND for an id that is not there. */
typedef int (*filter_fn)(void *arg, struct change *change, const struct message *message);
int filter_walk(struct change *change, const struct ps_queue_filter *filter, uint64_t after, filter_fn fn, void *arg,
		uint64_t *ret_next);

/* describe.c */
json_t *describe_message(struct change *change, const struct message *message, bool full);
json_t *describe_dest(struct change *change, const struct dest *dest);

#pragma GCC visibility pop

/* Commits what is pending, and what its time has come for. Tests turn clocks, which no timer sees. */
void queue_commit(struct ps_queue *queue);

#endif
