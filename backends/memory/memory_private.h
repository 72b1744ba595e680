/* SPDX-License-Identifier: MIT */
/*
 * What the files of the memory backend share.
 *
 * A store is a version: a list of mailboxes, each a list of rows. Versions and the mailboxes in them never change once
 * they are published; a commit copies what it touches, and readers keep the version they began with. That is as slow
 * as it is simple, and simple is what a reference is for.
 */
#ifndef BACKENDS_MEMORY_PRIVATE_H
#define BACKENDS_MEMORY_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include "postern/backend.h"

/* A message's octets; shared by its copies. */
struct message {
	atomic_uint refs;
	uint8_t *octets;
	size_t len;
	pthread_mutex_t lock; /* of the cache, which is set once */
	uint8_t *cache;
	size_t cache_len;
};

struct row {
	struct ps_row row;
	struct message *message;
};

struct gone {
	uint32_t uid;
	uint64_t modseq;
};

struct box {
	atomic_uint refs;
	struct ps_id id;
	char *name;
	uint32_t special_uses;
	uint32_t uid_validity;
	uint32_t uid_next;
	uint64_t highest_modseq;
	uint64_t vanished_since;
	uint32_t unseen, deleted;
	uint64_t size;
	struct row *rows; /* by UID */
	size_t row_count, row_cap;
	struct gone *gone;
	size_t gone_count, gone_cap;
	char *keywords[PS_KEYWORDS_MAX];
	size_t keyword_count;
};

struct version {
	atomic_uint refs;
	uint64_t modseq;
	uint32_t last_validity;
	struct box **boxes;
	size_t box_count;
	char **subscribed;
	size_t subscribed_count;
};

struct token {
	struct token *next;
	time_t when;
	size_t len;
	uint8_t octets[PS_TOKEN_MAX];
};

/* A user's mail. */
struct mail {
	struct mail *next; /* in the registry, for as long as the process lives */
	char *user;
	pthread_mutex_t lock; /* of the pointer */
	struct version *version;
	pthread_mutex_t commit_lock; /* and what only a commit touches: */
	uint64_t generation;
	struct token *tokens; /* the newest first */
};

/* What open() gives: the mail, and the generation that it had then. */
struct ps_store {
	struct mail *mail;
	uint64_t generation; /* under mail->commit_lock */
};

struct ps_mbox {
	struct mail *mail;
	struct ps_id id;
};

struct ps_read {
	struct version *version;
};

struct ps_staged {
	struct ps_buf octets;
};

/* memory.c: all mail goes, as if the process had ended; for tests. No store may be open. */
void memory_forget(void);

/* version.c */
struct message *message_create(struct ps_buf *octets, struct ps_bytes cache); /* takes the octets over */
struct message *message_ref(struct message *message);
void message_unref(struct message *message);
struct box *box_create(const char *name);
struct box *box_copy(const struct box *box);
void box_unref(struct box *box);
void box_count(struct box *box); /* the sums, anew */
const struct row *box_find(const struct box *box, uint32_t uid);
struct version *version_create(void);
struct version *version_copy(const struct version *version);
void version_unref(struct version *version);
struct version *version_get(struct mail *mail); /* a reference to the present one */
ptrdiff_t version_find_name(const struct version *version, const char *name);
ptrdiff_t version_find_id(const struct version *version, const struct ps_id *id);
bool version_is_subscribed(const struct version *version, const char *name);

/* commit.c */
void memory_apply(struct mail *mail, struct ps_batch *batch); /* with the commit lock */
int memory_commit(struct ps_store *store, struct ps_batch *const *batches, size_t count);

#endif
