/* SPDX-License-Identifier: MIT */
#ifndef TESTS_CONFORMANCE_HISTORY_H
#define TESTS_CONFORMANCE_HISTORY_H

#include "tests/conformance/conform.h"

enum step_kind {
	STEP_APPEND,
	STEP_REFUSED,
	STEP_FLAGS,
	STEP_EXPUNGE,
	STEP_COPY,
	STEP_MAILBOX,
	STEP_RENAME,
	STEP_CHECKPOINT,
	STEP_REOPEN,
	STEP_SYNC,
	STEP_KINDS
};

struct step {
	enum step_kind kind;
	unsigned seed; /* of all its choices */
};

/* A history fails by must(). It lives in kit->pool. */
struct history;
struct history *history_begin(struct kit *kit, const char *root);
void history_step(struct history *history, const struct step *step);
void history_compare(struct history *history);      /* that both sides are alike */
const char *history_story(struct history *history); /* what was done, a line each; valid until the next call */
void history_end(struct history *history);

#endif
