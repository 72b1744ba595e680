/* SPDX-License-Identifier: MIT */
/* Opening and closing; what others do; generations. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/store/index/read.h"
#include "core/store/ledger/ledger_private.h"

#define FIRST_MAP ((size_t)1 << 30) /* address space, not memory and not disk */

/* ---- open and close ---------------------------------------------------------------------------- */

struct ps_ledger *ps_ledger_create(struct ps_store *store, const char *user, const struct ps_ledger_bodies *bodies)
{
	struct ps_ledger *ledger = ps_zalloc(sizeof *ledger);
	size_t size = bodies->size < sizeof ledger->bodies ? bodies->size : sizeof ledger->bodies;

	memcpy(&ledger->bodies, bodies, size);
	ledger->store = store;
	ledger->user = ps_strdup(user);
	pthread_mutex_init(&ledger->lock, NULL);
	return ledger;
}

void ps_ledger_destroy(struct ps_ledger *ledger)
{
	if (!ledger)
		return;
	ledger_drop_late_caches(ledger);
	ps_index_close(ledger->index);
	pthread_mutex_destroy(&ledger->lock);
	free(ledger->user);
	free(ledger);
}

void ps_ledger_take(struct ps_ledger *ledger, struct ps_index *index, uint32_t file)
{
	struct ps_index *old;

	pthread_mutex_lock(&ledger->lock);
	old = ledger->index;
	ledger->index = index;
	ledger->file = file;
	ledger->own_txn = ps_index_last_txn(index);
	ledger->foreign++;
	ledger->allocated = 0;
	pthread_mutex_unlock(&ledger->lock);
	ps_index_close(old);
}

struct ps_index *ps_ledger_index(struct ps_ledger *ledger, uint32_t *ret_file)
{
	struct ps_index *index;

	pthread_mutex_lock(&ledger->lock);
	index = ps_index_ref(ledger->index);
	if (ret_file)
		*ret_file = ledger->file;
	pthread_mutex_unlock(&ledger->lock);
	return index;
}

/* The generation, and whether the store is made. */
static int read_head(struct ps_ledger *ledger, uint64_t *ret_complete)
{
	struct ps_index_txn *txn;
	int r = ps_index_read(ledger->index, &txn);

	if (r < 0)
		return r;
	if ((r = ps_index_number(txn, "complete", ret_complete)) == 0)
		r = ps_index_number(txn, "generation", &ledger->generation);
	ps_index_end(txn);
	return r;
}

/* A new store: its generation, and INBOX. */
static int fill(struct ps_ledger_txn *txn)
{
	const struct ps_op inbox = {.kind = PS_OP_CREATE, .name = "INBOX"};
	const struct ps_batch batch = {.ops = &inbox, .count = 1};
	struct ps_op_result result = {0};
	struct draft draft;
	int r;

	draft_init(&draft, txn, &batch);
	if ((r = ps_index_number_put(txn->txn, "generation", 1)) == 0 &&
	    (r = ledger_create(&draft, &inbox, &result)) == 0 && (r = draft_write(&draft)) == 0)
		r = ps_index_complete(txn->txn);
	draft_finish(&draft);
	txn->changed = true;
	return r;
}

static int make(struct ps_ledger *ledger)
{
	struct ps_ledger_txn *txn;
	uint64_t complete;
	int r = ps_ledger_txn_begin(ledger, &txn);

	if (r < 0)
		return r;
	/* Unless another process was quicker. */
	if ((r = ps_index_number(txn->txn, "complete", &complete)) == 0 && complete != 1)
		r = fill(txn);
	if (r == 0)
		return ps_ledger_txn_commit(txn);
	ps_ledger_txn_end(txn);
	return r;
}

int ps_ledger_ready(struct ps_ledger *ledger, uint64_t generation)
{
	uint64_t complete;
	int r = read_head(ledger, &complete);

	if (r == 0 && complete != 1 && (r = make(ledger)) == 0)
		r = read_head(ledger, &complete);
	if (r < 0)
		return r;
	if (generation != 0 && generation != ledger->generation)
		return ps_fail(PS_E_MOVED, "the store of %s has generation %llu", ledger->user,
			       (unsigned long long)ledger->generation);
	return 0;
}

/* LMDB would follow a link. */
static int check_file(int dir, const char *file, bool create, const struct ps_store_args *args)
{
	struct stat st;

	if (fstatat(dir, file, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return S_ISREG(st.st_mode) ? 0 : ps_fail(PS_E_CORRUPT, "%s/%s is not a plain file", args->root, file);
	if (errno == ENOENT && create)
		return 0;
	return ps_fail_errno("open %s/%s", args->root, file);
}

static int open_file(struct ps_ledger *ledger, const struct ps_store_args *args, const char *file)
{
	const struct ps_index_how how = {.map = FIRST_MAP};
	PS_CLEANUP(ps_closep) int dir = -1;
	struct ps_index *index;
	char path[4096];
	int r;

	if (args->create && (r = ps_io_make_dir(args->root)) < 0)
		return r;
	if ((dir = open(args->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)) < 0)
		return ps_fail_errno("open %s", args->root);
	snprintf(path, sizeof path, "%s/%s", args->root, file);
	if ((r = check_file(dir, file, args->create, args)) < 0 || (r = ps_index_open_durable(path, &how, &index)) < 0)
		return r;
	ps_ledger_take(ledger, index, 0);
	/* Who made it may not have come to that yet; nothing may be said to be stored in it before. */
	return ps_io_sync_dir(dir, args->root);
}

int ps_ledger_open(struct ps_store *store, const struct ps_store_args *args, const char *file,
		   const struct ps_ledger_bodies *bodies, struct ps_ledger **ret_ledger)
{
	int r;

	*ret_ledger = ps_ledger_create(store, args->user, bodies);
	if ((r = open_file(*ret_ledger, args, file)) < 0)
		return r;
	return ps_ledger_ready(*ret_ledger, args->generation);
}

/* ---- mailboxes --------------------------------------------------------------------------------- */

int ps_ledger_mailbox_open(struct ps_store *store, const char *name, struct ps_mbox **ret_mbox)
{
	struct ps_ledger *ledger = ledger_of(store);
	struct ps_index *index = ps_ledger_index(ledger, NULL);
	struct ps_index_txn *txn;
	struct ps_index_box box;
	unsigned foreign;
	int r;

	pthread_mutex_lock(&ledger->lock);
	foreign = ledger->foreign;
	pthread_mutex_unlock(&ledger->lock);
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

void ps_ledger_mailbox_close(struct ps_mbox *mbox)
{
	free(mbox);
}

struct ps_store *ps_ledger_store(const struct ps_mbox *mbox)
{
	return mbox->store;
}

int ps_ledger_read_begin(struct ps_store *store, struct ps_read **ret_read)
{
	struct ps_ledger *ledger = ledger_of(store);
	int r = ps_indexed_begin(ps_ledger_index(ledger, NULL), ret_read);

	if (r == 0)
		(*ret_read)->ledger = ledger;
	return r;
}

/* ---- what others do -------------------------------------------------------------------------- */

/* Notices it. */
static int look(struct ps_ledger *ledger)
{
	uint32_t file;
	struct ps_index *index = ps_ledger_index(ledger, &file);
	uint64_t last;

	if (ledger->bodies.replaced && ledger->bodies.replaced(ledger->store, index, file)) {
		ps_index_close(index);
		return ledger->bodies.follow(ledger->store);
	}
	last = ps_index_last_txn(index);
	pthread_mutex_lock(&ledger->lock);
	if (file == ledger->file && last > ledger->own_txn) {
		ledger->own_txn = last;
		ledger->foreign++;
	}
	pthread_mutex_unlock(&ledger->lock);
	ps_index_close(index);
	return 0;
}

int ps_ledger_stale(struct ps_store *store, struct ps_mbox *mbox)
{
	struct ps_ledger *ledger = ledger_of(store);
	bool stale;
	int r = look(ledger);

	if (r < 0)
		return r;
	pthread_mutex_lock(&ledger->lock);
	stale = (mbox ? mbox->seen : ledger->seen) != ledger->foreign;
	pthread_mutex_unlock(&ledger->lock);
	return stale;
}

/* What others did is in the file already: it needs to be seen, and that is all. */
int ps_ledger_sync(struct ps_store *store, struct ps_mbox *mbox)
{
	struct ps_ledger *ledger = ledger_of(store);
	struct ps_index *index;
	struct ps_index_txn *txn;
	struct ps_index_box box;
	uint64_t generation, present;
	int r = look(ledger);

	if (r < 0)
		return r;
	index = ps_ledger_index(ledger, NULL);
	pthread_mutex_lock(&ledger->lock);
	if (mbox)
		mbox->seen = ledger->foreign;
	else
		ledger->seen = ledger->foreign;
	generation = ledger->generation;
	pthread_mutex_unlock(&ledger->lock);
	if ((r = ps_index_read(index, &txn)) == 0) {
		if ((r = ps_index_number(txn, "generation", &present)) == 0 && present != generation)
			r = ps_fail(PS_E_MOVED, "the store of %s has another generation", ledger->user);
		else if (r == 0 && mbox && (r = ps_index_box(txn, mbox->key, &box)) == PS_E_NOTFOUND)
			r = ps_fail(PS_E_GONE, "the mailbox was deleted");
		ps_index_end(txn);
	}
	ps_index_close(index);
	return r;
}

/* ---- generations ------------------------------------------------------------------------------- */

int ps_ledger_generation(struct ps_store *store, uint64_t *ret_generation)
{
	struct ps_ledger *ledger = ledger_of(store);
	struct ps_index *index;
	struct ps_index_txn *txn;
	int r = look(ledger);

	if (r < 0)
		return r;
	index = ps_ledger_index(ledger, NULL);
	if ((r = ps_index_read(index, &txn)) == 0) {
		r = ps_index_number(txn, "generation", ret_generation);
		ps_index_end(txn);
	}
	ps_index_close(index);
	return r;
}

static int put_generation(struct ps_ledger_txn *txn, uint64_t generation)
{
	uint64_t present = 0;
	int r = ps_ledger_check_generation(txn);

	if (r == 0 && (r = ps_index_number(txn->txn, "generation", &present)) == 0 && generation <= present)
		r = ps_fail(PS_E_INVALID, "the store of %s has generation %llu", txn_of(txn)->ledger->user,
			    (unsigned long long)present);
	txn->changed = true;
	return r == 0 ? ps_index_number_put(txn->txn, "generation", generation) : r;
}

int ps_ledger_set_generation(struct ps_store *store, uint64_t generation)
{
	struct ps_ledger *ledger = ledger_of(store);
	struct ps_ledger_txn *txn;
	int r = ps_ledger_txn_begin(ledger, &txn);

	if (r < 0)
		return r;
	if ((r = put_generation(txn, generation)) < 0) {
		ps_ledger_txn_end(txn);
		return r;
	}
	if ((r = ps_ledger_txn_commit(txn)) < 0)
		return r;
	pthread_mutex_lock(&ledger->lock);
	ledger->generation = generation;
	pthread_mutex_unlock(&ledger->lock);
	return 0;
}
