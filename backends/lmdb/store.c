/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include "backends/lmdb/lmdb_private.h"

#define PINS "mail-pins"

enum {
	REAP_AT_OPEN = 4096
};

static const struct ps_ledger_bodies bodies = {
	.size = sizeof bodies,
	.put = staged_put,
	.copy = body_ref,
	.drop = body_unref,
	.remove = body_remove,
	.room = staged_room,
	.stage_drop = lmdb_stage_drop,
	.ended = body_txn_ended,
	.replaced = file_was_replaced,
	.follow = file_follow,
};

static int open_root(struct ps_store *store, bool create)
{
	int r = create ? ps_io_make_dir(store->root) : 0;

	if (r < 0)
		return r;
	store->root_fd = open(store->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return store->root_fd < 0 ? ps_fail_errno("open %s", store->root) : 0;
}

static int open_pins(struct ps_store *store)
{
	store->pins_fd = openat(store->root_fd, PINS, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	return store->pins_fd < 0 ? ps_fail_errno("open %s/%s", store->root, PINS) : 0;
}

static struct ps_store *store_create(const struct ps_store_args *args)
{
	struct ps_store *store = ps_zalloc(sizeof *store);

	store->user = ps_strdup(args->user);
	store->root = ps_strdup(args->root);
	store->root_fd = store->pins_fd = -1;
	store->zstd = args->conf && strcmp(ps_conf_str(args->conf, "compression"), "zstd") == 0;
	store->ledger = ps_ledger_create(store, args->user, &bodies);
	pthread_mutex_init(&store->lock, NULL);
	return store;
}

int lmdb_open(const struct ps_store_args *args, struct ps_store **ret_store)
{
	struct ps_store *store = store_create(args);
	int r;

	if ((r = open_root(store, args->create)) < 0 || (r = file_open(store, args->create)) < 0 ||
	    (r = open_pins(store)) < 0 || (r = ps_ledger_ready(store->ledger, args->generation)) < 0) {
		lmdb_close(store);
		return r;
	}
	file_remove_leftovers(store);
	/* What crashed processes staged, and what nobody reads any more. That there is no room for it now is no failure. */
	ps_ledger_reap(store->ledger, REAP_AT_OPEN, NULL);
	*ret_store = store;
	return 0;
}

void lmdb_close(struct ps_store *store)
{
	ps_ledger_destroy(store->ledger);
	ps_closep(&store->pins_fd);
	ps_closep(&store->root_fd);
	pthread_mutex_destroy(&store->lock);
	free(store->pins);
	free(store->user);
	free(store->root);
	free(store);
}
