/* SPDX-License-Identifier: MIT */
/*
 * Deeds: one batch each, on a store that is always furnished alike. What the store is before and after is known from the
 * reference, so that after any accident one can say whether the batch is whole or absent.
 */
#ifndef TESTS_CONFORMANCE_DEEDS_H
#define TESTS_CONFORMANCE_DEEDS_H

#include "tests/conformance/conform.h"

enum {
	DEED_OPS = 6
};

/* A furnished store, open. */
struct scene {
	struct kit *kit;
	struct ps_store *store;
	struct ps_mbox *inbox, *other;
	int stage_err; /* why a message could not be staged */
};

struct deed {
	const char *name;
	size_t (*plan)(struct scene *scene, struct ps_op ops[DEED_OPS]); /* the number of operations */
	bool makes_room;                                                 /* must be possible on a full disk */
	bool copies; /* for another store's mail: the batch and its messages bring modseqs along */
};

extern const struct deed deeds[];
#define DEEDS            .table = deeds, .row_count = DEED_ROWS, .row_size = sizeof(struct deed)
#define DEEDS_AND_COPIES .table = deeds, .row_count = DEED_ROWS + COPY_ROWS, .row_size = sizeof(struct deed)
enum {
	DEED_ROWS = 18,
	COPY_ROWS = 2 /* behind the others */
};

/* Makes the store at kit->root and furnishes it; nothing is open afterwards. */
void scene_furnish(struct kit *kit);
struct scene scene_open(struct kit *kit);
void scene_close(struct scene *scene);
/* Everything taken in that others, or a crash, left. */
void scene_sync(struct scene *scene);
int deed_do(struct scene *scene, const struct deed *deed);

/* kit_describe() of what it must be. */
struct expected {
	const char *before, *after;
};
struct expected deed_expect(struct kit *kit, const struct deed *deed);
/* Fails unless the scene is as one of them; "after" alone when `done`, "before" alone when `refused`. True: after. */
bool scene_must_be(struct scene *scene, const struct expected *expected, bool done, bool refused, const char *when);

/* When a deed that copies was done: messages have the modseqs that it brought. */
void scene_must_have_modseqs(struct scene *scene, const char *when);

/* Deeds of several steps, that others may come upon half done. */
enum {
	TORN_ROWS = 4,
	TAKEN_ROWS = 2, /* the first of them: messages go from where others deliver, and none come */
	THEIRS = 77     /* the message that they deliver */
};
void torn_rows(size_t row, char name[ROW_NAME]);
size_t torn_deed(size_t row); /* of `deeds` */
/* When others have delivered after an accident: nothing is lost that was in both states, or moved; nothing doubled; and
 * theirs is there, once. */
void nothing_is_lost(struct kit *kit, const struct expected *expected, const char *when);

/* Copies a folder with all in it, times included. */
void copy_tree(const char *from, const char *to);

#endif
