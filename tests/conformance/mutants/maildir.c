/* SPDX-License-Identifier: MIT */
/*
 * Mutants of Maildir: what a crash, a full disk, a lost index, a second process brings to light.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
#include "backends/maildir/maildir_private.h"
#include "postern/io.h"
#include "tests/conformance/mutants/fault.h"

static struct ps_io sound_io;

static const struct ps_backend *sound(void)
{
	return sound_plugin.ops;
}

/* ---- system calls -------------------------------------------------------------------------- */

static _Thread_local bool careless; /* nothing is synced */

static bool is_file(int fd, const char *name)
{
	char link[64], path[4096];
	size_t len = strlen(name);
	ssize_t n;

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof path - 1);
	return n > (ssize_t)len && memcmp(path + n - len, name, len) == 0 && path[(size_t)n - len - 1] == '/';
}

static int mutant_fdatasync(int fd)
{
	if (fault("no-fdatasync") || careless)
		return 0;
	if (sound_io.fdatasync(fd) < 0)
		return fault("sync-error-ignored") ? 0 : -1;
	return 0;
}

static int mutant_fsync(int fd)
{
	if (fault("no-dir-sync") || careless)
		return 0;
	if (sound_io.fsync(fd) < 0)
		return fault("sync-error-ignored") ? 0 : -1;
	return 0;
}

static ssize_t mutant_write(int fd, const void *data, size_t len)
{
	ssize_t n = sound_io.write(fd, data, len);

	return n < 0 && fault("write-error-ignored") ? (ssize_t)len : n;
}

static ssize_t mutant_pwrite(int fd, const void *data, size_t len, off_t offset)
{
	if ((fault("uids-not-reserved") && is_file(fd, MAILBOX_STATE)) ||
	    (fault("modseqs-not-reserved") && is_file(fd, PS_CATALOGUE_STATE)))
		return (ssize_t)len;
	return sound_io.pwrite(fd, data, len, offset);
}

static int mutant_open_file(int dirfd, const char *path, int flags, mode_t mode)
{
	if (fault("no-intent") && strcmp(path, "intent") == 0)
		return open("/dev/null", flags & ~O_CREAT);
	if (fault("no-lock") && strcmp(path, "lock") == 0) /* each has one of its own */
		return memfd_create("lock", MFD_CLOEXEC);
	return sound_io.open(dirfd, path, flags, mode);
}

static int mutant_rename(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
	int r = sound_io.rename(from_dir, from, to_dir, to, flags);

	return r < 0 && fault("rename-error-ignored") ? 0 : r;
}

/* ---- opening ------------------------------------------------------------------------------- */

static bool has_index(const char *root)
{
	char path[4096];

	snprintf(path, sizeof path, "%s/postern-index/data.mdb", root);
	return access(path, F_OK) == 0;
}

static void forget(const char *root, const char *file)
{
	char path[4096];

	snprintf(path, sizeof path, "%s/%s", root, file);
	unlink(path);
}

static int mutant_open(const struct ps_store_args *args, struct ps_store **ret_store)
{
	if (!has_index(args->root) && fault("index-identity"))
		forget(args->root, MAILBOX_STATE);
	if (!has_index(args->root) && fault("index-keywords"))
		forget(args->root, "postern-keywords");
	if (!has_index(args->root) && fault("index-tokens"))
		forget(args->root, "postern-control/tokens");
	return sound()->open(args, ret_store);
}

/* ---- changes of others --------------------------------------------------------------------- */

static int mutant_stale(struct ps_store *store, struct ps_mbox *mbox)
{
	return fault("never-stale") ? 0 : sound()->stale(store, mbox);
}

static int mutant_sync(struct ps_store *store, struct ps_mbox *mbox)
{
	int r;

	if (fault("blind"))
		return 0;
	careless = fault("sync-not-durable");
	r = sound()->sync(store, mbox);
	careless = false;
	return r;
}

static int mutant_read_begin(struct ps_store *store, struct ps_read **ret_read)
{
	int r;

	if (!fault("readers-wait"))
		return sound()->read_begin(store, ret_read);
	pthread_mutex_lock(&store->cat.writer);
	r = sound()->read_begin(store, ret_read);
	pthread_mutex_unlock(&store->cat.writer);
	return r;
}

static int mutant_body(struct ps_mbox *mbox, uint32_t uid, struct ps_body *ret_body)
{
	int r = sound()->body(mbox, uid, ret_body);

	if (r == 0 && fault("wire-form"))
		ret_body->wire_form = true;
	return r;
}

/* ---- changes ------------------------------------------------------------------------------- */

static bool is_only(const struct ps_batch *batch, enum ps_op_kind kind)
{
	for (size_t i = 0; i < batch->count; i++)
		if (batch->ops[i].kind != kind)
			return false;
	return true;
}

static int translate(int r)
{
	return r == PS_E_FULL && fault("full-is-broken") ? PS_E_STORAGE : r;
}

static int mutant_commit(struct ps_store *store, struct ps_batch *const *batches, size_t count)
{
	int r;

	careless = (fault("flags-not-durable") && is_only(batches[0], PS_OP_FLAGS)) ||
		   (fault("expunge-not-durable") && is_only(batches[0], PS_OP_EXPUNGE)) ||
		   (fault("mailboxes-not-durable") && batches[0]->ops[0].kind > PS_OP_MOVE);
	r = sound()->commit(store, batches, count);
	careless = false;
	for (size_t i = 0; i < count; i++) {
		batches[i]->err = translate(batches[i]->err);
		if (batches[i]->err == PS_E_STORAGE && fault("failure-is-success"))
			batches[i]->err = r = 0;
	}
	return translate(r);
}

static int mutant_settle(struct ps_store *store)
{
	return fault("never-settled") ? 0 : sound()->settle(store);
}

static int mutant_stage_write(struct ps_staged *staged, struct ps_bytes octets)
{
	return translate(sound()->stage_write(staged, octets));
}

static int mutant_stage_finish(struct ps_staged *staged)
{
	int r;

	careless = fault("stage-not-durable");
	r = translate(sound()->stage_finish(staged));
	careless = false;
	return r;
}

static struct ps_backend mutant;

static void borrow_io(void)
{
	sound_io = ps_io;
	ps_io.open = mutant_open_file;
	ps_io.write = mutant_write;
	ps_io.pwrite = mutant_pwrite;
	ps_io.fdatasync = mutant_fdatasync;
	ps_io.fsync = mutant_fsync;
	ps_io.rename = mutant_rename;
}

__attribute__((constructor)) static void borrow(void)
{
	borrow_io();
	mutant = *sound();
	mutant.open = mutant_open;
	mutant.stale = mutant_stale;
	mutant.sync = mutant_sync;
	mutant.read_begin = mutant_read_begin;
	mutant.body = mutant_body;
	mutant.stage_write = mutant_stage_write;
	mutant.stage_finish = mutant_stage_finish;
	mutant.commit = mutant_commit;
	mutant.settle = mutant_settle;
}

MUTANT("mutant_maildir", mutant)
