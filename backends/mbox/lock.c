/* SPDX-License-Identifier: MIT */
/*
 * Locks against other programs: a dot lock ("FILE.lock") and fcntl(), in this order. The fcntl() lock is of the kind that belongs to
 * an open file (F_OFD_SETLK): one of a process would be lost whenever any of its descriptors of the file is closed.
 *
 * Whoever gets here holds the store's lock, so a dot lock that names Postern was left by a process that died.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "backends/mbox/mbox_private.h"
#include "postern/log.h"

enum {
	WAIT_NS = 20 * 1000 * 1000,
	TOUCH_AFTER = 20
};
#define LOCK_TAIL ":postern\n"

static void dot_name(const char *path, char name[PATH_SIZE + 8])
{
	snprintf(name, PATH_SIZE + 8, "%s.lock", path);
}

static int64_t clock_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void pause_a_little(void)
{
	nanosleep(&(struct timespec){.tv_nsec = WAIT_NS}, NULL);
}

/* ---- the dot lock ---------------------------------------------------------------------------------- */

/* What the lock says is written before it appears, or a process that dies would leave one that says nothing. Dovecot understands
 * "pid:host", and takes over from a process that is gone. */
static int make_text(struct ps_store *store)
{
	static _Atomic unsigned serial;
	char text[160], host[100];

	gethostname(host, sizeof host);
	host[sizeof host - 1] = '\0';
	snprintf(text, sizeof text, "%ld:%s" LOCK_TAIL, (long)getpid(), host);
	if (!*store->dot_name)
		snprintf(store->dot_name, sizeof store->dot_name, "sdot%ld.%u", (long)getpid(), serial++);
	return ps_io_replace(store->cat.aside_fd, store->dot_name, ps_bytes_str(text));
}

static int make_dot(struct ps_store *store, const char *name)
{
	int r = *store->dot_name ? 0 : make_text(store);

	if (r == 0 && ps_io.link(store->cat.aside_fd, store->dot_name, store->cat.root_fd, name) < 0) {
		if (errno != ENOENT || (r = make_text(store)) == 0)
			r = ps_io.link(store->cat.aside_fd, store->dot_name, store->cat.root_fd, name) < 0
				    ? ps_fail_errno("create %s", name)
				    : 0;
	}
	if (r == 0)
		utimensat(store->cat.root_fd, name, NULL, AT_SYMLINK_NOFOLLOW);
	return r;
}

static bool is_of_a_dead_one(struct ps_store *store, const char *name)
{
	struct ps_buf text = {0};
	size_t len = sizeof LOCK_TAIL - 1;
	bool ours = ps_io_read_file(store->cat.root_fd, name, 4096, &text) == 0 && text.len > len &&
		    memcmp(text.ptr + text.len - len, LOCK_TAIL, len) == 0;

	ps_buf_finish(&text);
	return ours;
}

/* Old, and the mailbox has not changed since either. */
static bool is_stale(struct ps_store *store, const char *name, const char *path)
{
	struct stat dot, box;
	int64_t now = ps_catalogue_now();

	if (fstatat(store->cat.root_fd, name, &dot, AT_SYMLINK_NOFOLLOW) < 0 || dot.st_mtime > now - store->stale_lock)
		return false;
	return fstatat(store->cat.root_fd, path, &box, AT_SYMLINK_NOFOLLOW) < 0 ||
	       box.st_mtime <= now - store->stale_lock;
}

static int lock_dot(struct ps_store *store, struct file_lock *lock, int64_t until)
{
	char name[PATH_SIZE + 8];
	int r;

	dot_name(lock->path, name);
	while ((r = make_dot(store, name)) == PS_E_EXISTS) {
		if (is_of_a_dead_one(store, name) || is_stale(store, name, lock->path)) {
			ps_log(PS_LOG_WARNING, "mbox_stale_lock", "user", store->cat.user, "file", name, NULL);
			ps_io.unlink(store->cat.root_fd, name, 0);
			continue;
		}
		if (clock_ms() >= until)
			return ps_fail(PS_E_BUSY, "%s stays", name);
		pause_a_little();
	}
	/* To expunge on a full disk the other lock must do. */
	if (ps_no_room(r) && store->fcntl_locks)
		return 0;
	lock->dot = r == 0;
	lock->touched = ps_catalogue_now();
	return r;
}

void touch_locks(struct ps_store *store)
{
	for (struct file_lock *lock = store->locks; lock; lock = lock->next) {
		char name[PATH_SIZE + 8];
		int64_t now = ps_catalogue_now();

		if (!lock->dot || now - lock->touched < TOUCH_AFTER)
			continue;
		dot_name(lock->path, name);
		utimensat(store->cat.root_fd, name, NULL, AT_SYMLINK_NOFOLLOW);
		lock->touched = now;
	}
}

/* ---- fcntl() ---------------------------------------------------------------------------------------- */

static int lock_fd(struct ps_store *store, const struct file_lock *lock, int64_t until)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};

	while (store->fcntl_locks && fcntl(lock->fd, F_OFD_SETLK, &whole) < 0) {
		if (errno != EAGAIN && errno != EACCES && errno != EINTR)
			return ps_fail_errno("lock %s", lock->path);
		if (clock_ms() >= until)
			return ps_fail(PS_E_BUSY, "%s stays locked", lock->path);
		pause_a_little();
	}
	return 0;
}

/* ---- both --------------------------------------------------------------------------------------------- */

static int open_box(struct ps_store *store, struct file_lock *lock)
{
	struct stat st;

	lock->fd = ps_io.open(store->cat.root_fd, lock->path, O_RDWR | O_NONBLOCK | O_NOCTTY, 0);
	if (lock->fd < 0)
		return ps_fail_errno("open %s", lock->path);
	if (fstat(lock->fd, &st) < 0 || !S_ISREG(st.st_mode))
		return ps_fail(PS_E_ACCESS, "%s is no plain file", lock->path);
	return 0;
}

/* Whether the file that was locked still has the name. */
static bool is_there(struct ps_store *store, const struct file_lock *lock)
{
	struct stat here, there;

	return fstat(lock->fd, &here) == 0 &&
	       fstatat(store->cat.root_fd, lock->path, &there, AT_SYMLINK_NOFOLLOW) == 0 &&
	       here.st_ino == there.st_ino && here.st_dev == there.st_dev;
}

static void let_go(struct ps_store *store, struct file_lock *lock)
{
	char name[PATH_SIZE + 8];

	ps_closep(&lock->fd);
	dot_name(lock->path, name);
	if (lock->dot)
		ps_io.unlink(store->cat.root_fd, name, 0);
	free(lock);
}

int lock_file(struct ps_store *store, const char *path, struct file_lock **ret_lock)
{
	int64_t until = clock_ms() + store->lock_timeout * 1000;
	struct file_lock *lock;
	int r = 0;

	for (lock = store->locks; lock; lock = lock->next)
		if (strcmp(lock->path, path) == 0) {
			*ret_lock = lock;
			return 0;
		}
	lock = ps_zalloc(sizeof *lock);
	snprintf(lock->path, sizeof lock->path, "%s", path);
	lock->fd = -1;
	if ((r = open_box(store, lock)) == 0 && store->dot_locks)
		r = lock_dot(store, lock, until);
	while (r == 0 && (r = lock_fd(store, lock, until)) == 0 && !is_there(store, lock)) {
		ps_closep(&lock->fd);
		r = open_box(store, lock);
	}
	if (r < 0) {
		let_go(store, lock);
		return r;
	}
	lock->next = store->locks;
	*ret_lock = store->locks = lock;
	return 0;
}

void unlock_files(struct ps_store *store)
{
	while (store->locks) {
		struct file_lock *lock = store->locks;

		store->locks = lock->next;
		let_go(store, lock);
	}
}
