/* SPDX-License-Identifier: MIT */
/*
 * drawer - a small backend, to begin one of your own from.
 *
 * A message is a file. What is known of messages is in an index that a ledger keeps (postern/ledger.h); a row of it has the
 * number of its file.
 *
 *	ROOT/drawer.mdb        mailboxes, UIDs, flags
 *	ROOT/letters/17.eml    a message as the client sent it
 *	ROOT/letters/new-*     one that is being staged
 *
 * A file is there, durably, before the index says so, and goes after the index has said that it is gone. So each row has its
 * file whenever the power fails. What can be left is a file without a row, and the ledger knows those.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "postern/io.h"
#include "postern/ledger.h"
#include "postern/plugin.h"

#define STAGED "new-"

struct ps_store {
	struct ps_ledger *ledger; /* must be the first */
	int folder;
};

struct ps_staged {
	struct ps_store *store;
	char name[PS_IO_NAME_SIZE];
	int fd;
	uint64_t length;
};

static void letter_name(uint64_t body, char ret_name[PS_IO_NAME_SIZE])
{
	snprintf(ret_name, PS_IO_NAME_SIZE, "%llu.eml", (unsigned long long)ps_ledger_number(body));
}

/* ---- staging: nothing of it is seen before put() ------------------------------------------------- */

static int drawer_stage(struct ps_store *store, uint64_t size_hint, struct ps_staged **ret_staged)
{
	struct ps_staged *staged = ps_zalloc(sizeof *staged);
	int r = ps_io_new_file(store->folder, STAGED, staged->name, &staged->fd);

	(void)size_hint;
	staged->store = store;
	if (r < 0)
		free(staged);
	else
		*ret_staged = staged;
	return r;
}

static int drawer_stage_write(struct ps_staged *staged, struct ps_bytes octets)
{
	staged->length += octets.len;
	return ps_io_write_all(staged->fd, octets);
}

static int drawer_stage_finish(struct ps_staged *staged)
{
	int r = ps_io.fdatasync(staged->fd) < 0 ? ps_fail_errno("sync %s", staged->name) : 0;

	ps_closep(&staged->fd); /* many may wait for one commit */
	staged->fd = -1;
	return r;
}

static void drawer_stage_drop(struct ps_staged *staged)
{
	if (!staged)
		return;
	ps_closep(&staged->fd);
	ps_io.unlink(staged->store->folder, staged->name, 0);
	free(staged);
}

/* ---- what the ledger asks for -------------------------------------------------------------------- */

/* A link and not a rename: it may all have to be done again, with another number. */
static int link_letter(struct ps_ledger_txn *txn, const char *from, uint64_t *ret_body)
{
	char name[PS_IO_NAME_SIZE];
	int folder = txn->store->folder, r = ps_ledger_body_new(txn, ret_body);

	if (r < 0)
		return r;
	letter_name(*ret_body, name);
	ps_io.unlink(folder, name, 0); /* what a crash left, before the number counted */
	return ps_io.link(folder, from, folder, name) < 0 ? ps_fail_errno("link %s", name) : 0;
}

static int put_letter(struct ps_ledger_txn *txn, struct ps_staged *staged, uint64_t *ret_body, uint64_t *ret_length)
{
	*ret_length = staged->length;
	return link_letter(txn, staged->name, ret_body);
}

static int copy_letter(struct ps_ledger_txn *txn, uint64_t body, uint64_t *ret_body)
{
	char name[PS_IO_NAME_SIZE];

	letter_name(body, name);
	return link_letter(txn, name, ret_body);
}

static int discard_letter(struct ps_store *store, uint64_t body)
{
	char name[PS_IO_NAME_SIZE];

	letter_name(body, name);
	return ps_io.unlink(store->folder, name, 0) < 0 && errno != ENOENT ? ps_fail_errno("remove %s", name) : 0;
}

/* By a descriptor of its own: one whose sync has failed once would say yes the next time. */
static int sync_letters(struct ps_store *store)
{
	PS_CLEANUP(ps_closep) int fd = -1;
	int r = ps_io_open_dir(store->folder, ".", &fd);

	return r == 0 ? ps_io_sync_dir(fd, "letters") : r;
}

static const struct ps_ledger_bodies letters = {
	.size = sizeof letters,
	.put = put_letter,
	.copy = copy_letter,
	.discard = discard_letter,
	.sync = sync_letters,
	.stage_drop = drawer_stage_drop,
};

/* ---- reading ------------------------------------------------------------------------------------- */

static int drawer_body(struct ps_mbox *mbox, uint32_t uid, struct ps_body *ret_body)
{
	char name[PS_IO_NAME_SIZE];
	struct stat st;
	uint64_t body;
	int fd, r = ps_ledger_find(mbox, uid, &body);

	if (r < 0)
		return r;
	letter_name(body, name);
	fd = ps_io.open(ps_ledger_store(mbox)->folder, name, O_RDONLY, 0);
	if (fd < 0 && errno == ENOENT) /* expunged just now? */
		return (r = ps_ledger_find(mbox, uid, &body)) < 0 ? r : ps_fail(PS_E_CORRUPT, "%s is missing", name);
	if (fd < 0 || fstat(fd, &st) < 0) {
		r = ps_fail_errno("open %s", name);
		ps_closep(&fd);
		return r;
	}
	*ret_body = (struct ps_body){.fd = fd, .length = (uint64_t)st.st_size, .wire_form = true};
	return 0;
}

static void drawer_body_close(struct ps_body *body)
{
	close(body->fd);
}

/* ---- open and close ------------------------------------------------------------------------------ */

static int open_folder(struct ps_store *store, const char *root)
{
	char path[4096];
	int r;

	snprintf(path, sizeof path, "%s/letters", root);
	if ((r = ps_io_make_dir(path)) < 0)
		return r;
	store->folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return store->folder < 0 ? ps_fail_errno("open %s", path) : ps_io_sweep(store->folder, STAGED);
}

static void drawer_close(struct ps_store *store)
{
	ps_ledger_destroy(store->ledger);
	ps_closep(&store->folder);
	free(store);
}

static int drawer_open(const struct ps_store_args *args, struct ps_store **ret_store)
{
	struct ps_store *store = ps_zalloc(sizeof *store);
	int r;

	store->folder = -1;
	if ((r = ps_ledger_open(store, args, "drawer.mdb", &letters, &store->ledger)) < 0 ||
	    (r = open_folder(store, args->root)) < 0) {
		drawer_close(store);
		return r;
	}
	ps_ledger_reap(store->ledger, UINT32_MAX, NULL);
	*ret_store = store;
	return 0;
}

static const struct ps_backend drawer_backend = {
	PS_LEDGER_FUNCTIONS,
	.open = drawer_open,
	.close = drawer_close,
	.body = drawer_body,
	.body_close = drawer_body_close,
	.stage = drawer_stage,
	.stage_write = drawer_stage_write,
	.stage_finish = drawer_stage_finish,
	.stage_drop = drawer_stage_drop,
};

PS_PLUGIN_EXPORT = {
	.abi = PS_ABI,
	.size = sizeof(struct ps_plugin),
	.kind = PS_PLUGIN_BACKEND,
	.ops_size = sizeof(struct ps_backend),
	.name = "drawer",
	.summary = "a file per message, and an index of them",
	.ops = &drawer_backend,
};
