/* SPDX-License-Identifier: MIT */
/*
 * postern/sync.h - the one engine that moves mail: between any two stores, over the contract of backend.h.   [in-tree]
 *
 * Converting, backing up, restoring and importing are one thing with different ends. What goes along: UIDs, UIDVALIDITY,
 * modseqs, flags, keywords, dates, object ids, caches, mailboxes with special uses and subscriptions. A message's modseq is never lower
 * in the copy: who knew the source, and asks the copy for changes since, is told of all. What POP3's unique-ids are made of goes along.
 *
 * What was reached is kept in a record beside the target, one per pair of ends. The next run asks both ends what changed
 * since, and reads no more than that. A run that was killed is finished by the next: messages are appended under their own
 * UIDs, or found by their ids, so that none is doubled.
 */
#ifndef POSTERN_SYNC_H
#define POSTERN_SYNC_H

#include "postern/backend.h"
#include "postern/store.h"

/* A store that is open for the engine alone; others may use the same mail through handles of their own. */
struct ps_sync_end {
	const struct ps_backend *ops;
	struct ps_store *store;
	const char *name; /* "alice@example.test", "maildir:/backup/alice": for people, and to tell records apart */
	bool as_owner;    /* root only: all that touches this end is done with these rights */
	uid_t uid;
	gid_t gid;
};

/* Opens end->store, as the end's owner; all but `store` is set by the caller. */
int ps_sync_end_open(struct ps_sync_end *end, const struct ps_store_args *args);
/* Closes it, and takes the rights back that the process began with. */
void ps_sync_end_close(struct ps_sync_end *end);

enum ps_sync_mode {
	/* The target becomes what the source is: new, changed, moved, vanished. Refused (PS_E_CONFLICT) when the target holds
	 * mail without being a copy of this source, or was changed since by others. */
	PS_SYNC_MIRROR,
	/* What the target lacks is added to it, under its own UID where that is free; nothing is changed or removed. */
	PS_SYNC_ADD,
	/* What came to the source, from others, after a mirror of it that took its place is added to the target. */
	PS_SYNC_LATE,
	/* What changed at either end since the last time is done at the other. A message expunged at one end is expunged at the
	 * other. Where both ends changed a message's flags, it gets at both what it has at either. Where both changed a
	 * mailbox's name, special use or subscription, the source's counts. A mailbox deleted at one end and changed at the
	 * other stays. */
	PS_SYNC_BOTH,
};

struct ps_sync_progress {
	uint64_t done, total; /* messages to be copied, as far as is known */
	uint64_t octets;
};

struct ps_sync_options {
	enum ps_sync_mode mode;
	const char *record_dir; /* where the record is kept, with the target's rights; NULL: nowhere */
	bool force;             /* mirror: all is compared, and whatever the target holds gives way */
	bool dry_run;           /* tells what would be done */
	/* Nobody has the target open: modseqs of copies may be below those the target has given already, so that they can be
	 * the source's exactly. Otherwise they are so only where no reader could miss them. */
	bool unshared;
	bool pass_broken;           /* a message that cannot be read is left out; else its mailbox is copied up to it */
	const char *mailbox;        /* add: this one only; NULL: all */
	const struct ps_set *uids;  /* add: of it, only these; NULL: all */
	uint64_t octets_per_second; /* 0: no limit */
	uint64_t messages_per_second; /* 0: no limit */
	void (*progress)(void *arg, const struct ps_sync_progress *progress);
	void (*note)(void *arg, const char *sentence); /* what an administrator should read */
	bool (*stop)(void *arg);                       /* asked between batches; true: end, to be gone on with later */
	void *arg;
};

struct ps_sync_totals {
	uint64_t copied, octets; /* messages, in either direction */
	uint64_t flagged, expunged;
	uint64_t there;  /* add: found in the target */
	uint64_t failed; /* could not be read */
	unsigned mailboxes_made, mailboxes_renamed, mailboxes_removed, mailboxes_changed;
	bool stopped;
};

/* PS_E_CONFLICT: refused, ps_last_error() says what for. What was done before a failure is counted and stays. */
int ps_sync_run(const struct ps_sync_end *from, const struct ps_sync_end *to, const struct ps_sync_options *options,
		struct ps_sync_totals *ret_totals);

/* Whether mailboxes and their figures are the same at both ends; costs no more than listing them. PS_E_CONFLICT: what is not. */
int ps_sync_compare(const struct ps_sync_end *from, const struct ps_sync_end *to);

/* Reads all of a store, as far as the contract reaches, and has the backend look at what only it can see. `fault` is told of each
 * thing that is not right, in a sentence. Negative: it could not be gone on. */
struct ps_sync_figures {
	uint64_t mailboxes, messages, octets, faults;
};
int ps_sync_check(const struct ps_sync_end *end, void (*fault)(void *arg, const char *sentence), void *arg,
		  struct ps_sync_figures *ret_figures);

/* The backend's compact(), with the end's rights; 0 octets where it has none. */
int ps_sync_compact(const struct ps_sync_end *end, uint64_t *ret_octets);

/* A digest of everything the contract says of a store. */
struct ps_sync_digest {
	uint8_t content[32]; /* mailboxes, rows and octets, modseqs excepted */
	uint8_t modseqs[32]; /* of each message */
	uint8_t mail
		[32]; /* messages with flags and dates, whatever their UIDs: of two ends that are synced both ways */
	uint64_t messages, octets;
};
/* `each` (may be NULL) is told of every mailbox, sorted by name, with a digest of its own. */
int ps_sync_digest(const struct ps_sync_end *end,
		   void (*each)(void *arg, const char *mailbox, const struct ps_sync_digest *digest), void *arg,
		   struct ps_sync_digest *ret_digest);

#endif
