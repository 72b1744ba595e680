/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "backends/lmdb/lmdb_private.h"
#include "postern/log.h"

#define PINS "mail-pins"

enum {
	REAP_AT_OPEN = 4096
};

/* ---- opening ------------------------------------------------------------------------------------- */

static int sync_parent(const char *path)
{
	PS_CLEANUP(ps_freep) char *parent = ps_strdup(path);
	PS_CLEANUP(ps_closep) int fd = -1;

	fd = open(dirname(parent), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? 0 : ps_io_sync_dir(fd, path); /* it may be one that we cannot read */
}

/* With what is missing of its parents; each name is durable. */
static int make_dir(const char *path)
{
	PS_CLEANUP(ps_freep) char *parent = NULL;
	int r;

	if (ps_io.mkdir(AT_FDCWD, path, 0700) == 0)
		return sync_parent(path);
	if (errno == EEXIST)
		return 0;
	parent = ps_strdup(path);
	if (errno != ENOENT || dirname(parent) != parent || strcmp(parent, path) == 0)
		return ps_fail_errno("create %s", path);
	r = make_dir(parent); /* dirname() has cut it */
	return r == 0 ? make_dir(path) : r;
}

static int open_root(struct ps_store *store, bool create)
{
	store->root_fd = open(store->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (store->root_fd < 0 && errno == ENOENT && create) {
		int r = make_dir(store->root);

		if (r < 0)
			return r;
		store->root_fd = open(store->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	}
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
	pthread_mutex_init(&store->lock, NULL);
	return store;
}

static bool is_complete(struct ps_index *index, uint64_t *ret_generation)
{
	struct ps_index_txn *txn;
	bool complete = false;

	if (ps_index_read(index, &txn) == 0) {
		complete = ps_index_number(txn, "complete") == 1;
		*ret_generation = ps_index_number(txn, "generation");
		ps_index_end(txn);
	}
	return complete;
}

/* A new store: its generation, and INBOX. */
static int complete(struct ps_store *store)
{
	const struct ps_op inbox = {.kind = PS_OP_CREATE, .name = "INBOX"};
	struct ps_op_result result = {0};
	const struct ps_batch batch = {.ops = &inbox, .count = 1, .results = &result};
	struct draft draft = {.batch = &batch};
	struct writer w;
	int r = writer_begin(store, &w);

	if (r < 0)
		return r;
	if (ps_index_number(w.txn, "complete") == 1) { /* another process was quicker */
		writer_end(&w);
		return 0;
	}
	draft.w = &w;
	w.changed = true;
	draft.pool = ps_pool_create("lmdb");
	if ((r = ps_index_number_put(w.txn, "generation", 1)) == 0 && (r = op_create(&draft, &inbox, &result)) == 0 &&
	    (r = draft_finish(&draft)) == 0)
		r = ps_index_complete(w.txn);
	ps_pool_destroy(draft.pool);
	if (r < 0) {
		writer_end(&w);
		return r;
	}
	return writer_commit(&w);
}

static int check_generation(struct ps_store *store, uint64_t wanted)
{
	if (wanted == 0 || wanted == store->generation)
		return 0;
	return ps_fail(PS_E_MOVED, "the store of %s has generation %llu", store->user,
		       (unsigned long long)store->generation);
}

/* What crashed processes staged, and what nobody reads any more. That there is no room for it now is no failure. */
static void clean_up(struct ps_store *store)
{
	unsigned removed = 0;
	struct writer w;
	uint64_t graves;

	file_remove_leftovers(store);
	if (bodies_in_graves(store, &graves) < 0 || graves == 0 || writer_begin(store, &w) < 0)
		return;
	if (bodies_reap(&w, REAP_AT_OPEN, &removed) == 0 && removed > 0)
		writer_commit(&w);
	else
		writer_end(&w);
}

static int open_in(struct ps_store *store, const struct ps_store_args *args)
{
	bool made;
	int r;

	if ((r = open_root(store, args->create)) < 0 || (r = file_open(store, args->create, &made)) < 0 ||
	    (r = open_pins(store)) < 0)
		return r;
	if (!is_complete(store->index, &store->generation)) {
		if ((r = complete(store)) < 0 || (r = ps_io_sync_dir(store->root_fd, store->root)) < 0)
			return r;
		if (!is_complete(store->index, &store->generation))
			return ps_fail(PS_E_CORRUPT, "the store of %s cannot be read", store->user);
	}
	return check_generation(store, args->generation);
}

int lmdb_open(const struct ps_store_args *args, struct ps_store **ret_store)
{
	struct ps_store *store = store_create(args);
	int r = open_in(store, args);

	if (r < 0) {
		lmdb_close(store);
		return r;
	}
	clean_up(store);
	*ret_store = store;
	return 0;
}

void lmdb_close(struct ps_store *store)
{
	late_caches_drop(store);
	ps_index_close(store->index);
	ps_closep(&store->pins_fd);
	ps_closep(&store->root_fd);
	pthread_mutex_destroy(&store->lock);
	free(store->pins);
	free(store->user);
	free(store->root);
	free(store);
}

/* ---- mailboxes --------------------------------------------------------------------------------- */

int lmdb_mailbox_open(struct ps_store *store, const char *name, struct ps_mbox **ret_mbox)
{
	struct ps_index *index = store_index(store, NULL);
	struct ps_index_txn *txn;
	struct ps_index_box box;
	unsigned foreign;
	int r;

	pthread_mutex_lock(&store->lock);
	foreign = store->foreign;
	pthread_mutex_unlock(&store->lock);
	if ((r = ps_index_read(index, &txn)) == 0) {
		r = ps_index_box_find(txn, name, &box);
		ps_index_end(txn);
	}
	ps_index_close(index);
	if (r < 0)
		return r;
	*ret_mbox = ps_zalloc(sizeof **ret_mbox);
	(*ret_mbox)->store = store;
	(*ret_mbox)->key = box.key;
	(*ret_mbox)->seen = foreign;
	return 0;
}

void lmdb_mailbox_close(struct ps_mbox *mbox)
{
	free(mbox);
}

/* ---- what others do -------------------------------------------------------------------------- */

/* Notices it. */
static int look(struct ps_store *store)
{
	uint32_t number;
	struct ps_index *index = store_index(store, &number);
	uint64_t last;

	if (file_was_replaced(store, index, number)) {
		ps_index_close(index);
		return file_follow(store);
	}
	last = ps_index_last_txn(index);
	pthread_mutex_lock(&store->lock);
	if (number == store->number && last > store->own_txn) {
		store->own_txn = last;
		store->foreign++;
	}
	pthread_mutex_unlock(&store->lock);
	ps_index_close(index);
	return 0;
}

int lmdb_stale(struct ps_store *store, struct ps_mbox *mbox)
{
	bool stale;
	int r = look(store);

	if (r < 0)
		return r;
	pthread_mutex_lock(&store->lock);
	stale = (mbox ? mbox->seen : store->seen) != store->foreign;
	pthread_mutex_unlock(&store->lock);
	return stale;
}

/* What others did is in the file already: it needs to be seen, and that is all. */
int lmdb_sync(struct ps_store *store, struct ps_mbox *mbox)
{
	struct ps_index *index;
	struct ps_index_txn *txn;
	struct ps_index_box box;
	uint64_t generation;
	int r = look(store);

	if (r < 0)
		return r;
	index = store_index(store, NULL);
	pthread_mutex_lock(&store->lock);
	if (mbox)
		mbox->seen = store->foreign;
	else
		store->seen = store->foreign;
	generation = store->generation;
	pthread_mutex_unlock(&store->lock);
	if ((r = ps_index_read(index, &txn)) == 0) {
		if (ps_index_number(txn, "generation") != generation)
			r = ps_fail(PS_E_MOVED, "the store of %s has another generation", store->user);
		else if (mbox && (r = ps_index_box(txn, mbox->key, &box)) == PS_E_NOTFOUND)
			r = ps_fail(PS_E_GONE, "the mailbox was deleted");
		ps_index_end(txn);
	}
	ps_index_close(index);
	return r;
}

/* ---- generations ------------------------------------------------------------------------------- */

int lmdb_generation(struct ps_store *store, uint64_t *ret_generation)
{
	struct ps_index *index;
	struct ps_index_txn *txn;
	int r = look(store);

	if (r < 0)
		return r;
	index = store_index(store, NULL);
	if ((r = ps_index_read(index, &txn)) == 0) {
		*ret_generation = ps_index_number(txn, "generation");
		ps_index_end(txn);
	}
	ps_index_close(index);
	return r;
}

int lmdb_set_generation(struct ps_store *store, uint64_t generation)
{
	struct writer w;
	int r = writer_begin(store, &w);

	if (r < 0)
		return r;
	r = writer_check_generation(&w);
	if (r == 0 && generation <= ps_index_number(w.txn, "generation"))
		r = ps_fail(PS_E_INVALID, "the store of %s has generation %llu", store->user,
			    (unsigned long long)ps_index_number(w.txn, "generation"));
	if (r == 0)
		r = ps_index_number_put(w.txn, "generation", generation);
	if (r < 0) {
		writer_end(&w);
		return r;
	}
	w.changed = true;
	if ((r = writer_commit(&w)) < 0)
		return r;
	pthread_mutex_lock(&store->lock);
	store->generation = generation;
	pthread_mutex_unlock(&store->lock);
	return 0;
}
