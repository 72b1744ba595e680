/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the maildir backend share: a store in a directory of its own, and short words for what is done to it.
 */
#ifndef TESTS_BACKENDS_MAILDIR_KIT_H
#define TESTS_BACKENDS_MAILDIR_KIT_H

#include "config.h"

#include <stdio.h>
#include <unistd.h>
#include "postern/backend.h"
#include "postern/plugin.h"
#include "tests/unit.h"

extern const struct ps_plugin postern_plugin;
#define be ((const struct ps_backend *)postern_plugin.ops)

struct kit {
	char root[256];
	struct ps_store *store;
	struct ps_mbox *inbox;
	struct ps_pool *pool;
};

#define MESSAGE "From: a@example.test\r\nSubject: one\r\n\r\nBody\r\n"

void kit_open(struct kit *kit);  /* a new directory */
void kit_again(struct kit *kit); /* opens what is there */
void kit_close(struct kit *kit);
void kit_remove(struct kit *kit); /* close, and the directory goes */
void kit_drop_index(struct kit *kit);
/* Runs a shell command in the root. */
void kit_shell(const struct kit *kit, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Writes a file as another MDA would: tmp, then rename. `dir` is below the root, "" or ".Sent". */
void kit_deliver(const struct kit *kit, const char *dir, const char *name, const char *text);
int kit_stage(struct kit *kit, const char *text, struct ps_staged **ret_staged);
/* One operation in a batch of its own. */
int kit_do(struct kit *kit, const struct ps_op *op, struct ps_op_result *ret_result);
int kit_append(struct kit *kit, struct ps_mbox *mbox, const char *text, uint32_t flags, uint32_t *ret_uid);
int kit_flags(struct kit *kit, struct ps_mbox *mbox, uint32_t uid, enum ps_flag_mode mode, uint32_t flags,
	      const char *keyword);
int kit_expunge(struct kit *kit, struct ps_mbox *mbox, uint32_t uid);
int kit_create(struct kit *kit, const char *name, uint32_t uses);
struct ps_mbox *kit_mailbox(struct kit *kit, const char *name);
void kit_sync(struct kit *kit, struct ps_mbox *mbox);
struct ps_mailbox_info kit_info(struct kit *kit, struct ps_mbox *mbox); /* without name */
/* "1:S 2:FS kw 3:" - UIDs, flags as Maildir's letters, keywords. In a rotating buffer. */
const char *kit_rows(struct kit *kit, struct ps_mbox *mbox);
struct ps_row kit_row(struct kit *kit, struct ps_mbox *mbox, uint32_t uid); /* uid 0 when there is none */
const char *kit_body(struct kit *kit, struct ps_mbox *mbox, uint32_t uid);  /* in CRLF form; NULL: gone */
const char *kit_vanished(struct kit *kit, struct ps_mbox *mbox, uint64_t since);
const char *kit_list(struct kit *kit); /* "INBOX Sent(s)": sorted; (s) subscribed, (n) that only */

#endif
