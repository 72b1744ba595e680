/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the lmdb backend share: a store in a directory of its own, and short words for what is done to it.
 */
#ifndef TESTS_BACKENDS_LMDB_KIT_H
#define TESTS_BACKENDS_LMDB_KIT_H

#include "config.h"

#include <stdio.h>
#include <unistd.h>
#include "backends/lmdb/lmdb_private.h"
#include "postern/plugin.h"
#include "tests/unit.h"

extern const struct ps_plugin postern_plugin;
#define be ((const struct ps_backend *)postern_plugin.ops)

enum {
	LARGE = 10 * 1024 * 1024 + 12345 /* octets that are staged ahead */
};

struct kit {
	char root[256];
	struct ps_store *store;
	struct ps_mbox *inbox;
	struct ps_pool *pool;
};

/* The fixture of every test: kit_setup() before, kit_teardown() after. */
extern struct kit kit;
void kit_setup(void);
void kit_teardown(void);
void kit_open(void);
void kit_close(void);
void kit_again(void);                                                       /* closes and opens */
void kit_shell(const char *fmt, ...) __attribute__((format(printf, 1, 2))); /* a command in the root */

struct ps_bytes kit_octets(size_t len, unsigned seed); /* nothing that compresses; from the pool */
struct ps_bytes kit_text(size_t len);                  /* something that does */
int kit_stage(struct ps_bytes octets, struct ps_staged **ret_staged);
int kit_do(const struct ps_op *op, struct ps_op_result *ret_result); /* one operation in a batch of its own */
int kit_try_append(struct ps_bytes octets);
uint32_t kit_append(struct ps_bytes octets); /* to INBOX */
void kit_expunge(uint32_t first, uint32_t last);
void kit_nudge(void); /* a change of no interest */
void kit_body_must_be(uint32_t uid, struct ps_bytes octets);
uint32_t kit_messages(void);
uint64_t kit_entries(const char *database);
/* Runs check(): how many faults, the first sentence in *ret_first (may be NULL; valid until the next call). */
unsigned kit_faults(const char **ret_first);
void kit_sound(void); /* there must be none */

/* A process that opens the store, does `work`, and waits for kit_end(); kit_start() returns when the work is done. */
struct kit_process {
	pid_t pid;
	int go, done;
};
struct kit_process kit_start(void (*work)(void));
/* Tells it to do `work` once more and waits for that. */
void kit_more(struct kit_process *process);
void kit_kill(struct kit_process *process); /* -9 */
void kit_end(struct kit_process *process);  /* it must end well */

#endif
