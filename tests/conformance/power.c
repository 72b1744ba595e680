/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/conformance/power.h"

/* A name in a folder. */
struct name {
	struct name *next;
	char *name;
	ino_t inode;
	bool is_dir;
};

/* What is durable of a file, or of a folder. Inodes are not freed while they are followed: see `pins`. */
struct durable {
	struct durable *next;
	ino_t inode;
	unsigned version; /* of the file's octets, in a file of the work folder; 0: none */
	struct name *names;
};

/* A rename is one change of two folders: who syncs one of them syncs it in the other. */
struct pair {
	struct pair *next;
	const char *paths[2];
	bool synced;
};

struct power_disk {
	struct kit *kit;
	const char *work;
	struct durable *all;
	struct pair *pairs;
	ino_t root;
	unsigned versions;
	int *pins; /* open files, so that no inode number is given again */
	size_t pin_count, pin_cap;
	/* The last call, which has been made when the next one is told. */
	struct call last;
	bool has_last;
};

/* ---- what is durable ----------------------------------------------------------------------- */

static struct durable *find(struct power_disk *disk, ino_t inode)
{
	struct durable *d = disk->all;

	while (d && d->inode != inode)
		d = d->next;
	return d;
}

static struct durable *get(struct power_disk *disk, ino_t inode)
{
	struct durable *d = find(disk, inode);

	if (d)
		return d;
	d = PS_NEW(disk->kit->pool, struct durable);
	d->inode = inode;
	d->next = disk->all;
	return disk->all = d;
}

static const char *version_path(struct power_disk *disk, unsigned version)
{
	return ps_pool_printf(disk->kit->pool, "%s/octets.%u", disk->work, version);
}

static void copy_octets(int from, int to, off_t at, off_t end)
{
	char space[65536];

	while (at < end) {
		size_t want = (uint64_t)(end - at) < sizeof space ? (size_t)(end - at) : sizeof space;
		ssize_t n = pread(from, space, want, at);

		if (n <= 0)
			return; /* it ends earlier */
		must(pwrite(to, space, (size_t)n, at) == n, "write: %s", strerror(errno));
		at += n;
	}
}

/* The octets as they are now, from `at` to `end`; the rest as it was durable. */
static void keep_octets(struct power_disk *disk, int fd, off_t at, off_t end)
{
	struct durable *d;
	struct stat st;
	int to, old;

	must(fstat(fd, &st) == 0, "stat: %s", strerror(errno));
	d = get(disk, st.st_ino);
	to = open(version_path(disk, ++disk->versions), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	must(to >= 0, "open: %s", strerror(errno));
	if (d->version && (at > 0 || end < st.st_size)) {
		old = open(version_path(disk, d->version), O_RDONLY | O_CLOEXEC);
		copy_octets(old, to, 0, INT64_MAX);
		close(old);
	}
	copy_octets(fd, to, at, end);
	close(to);
	d->version = disk->versions;
}

static void keep_names(struct power_disk *disk, int fd)
{
	int listed = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = listed >= 0 ? fdopendir(listed) : NULL;
	struct dirent *entry;
	struct durable *d;
	struct stat st;

	must(dir && fstat(fd, &st) == 0, "list a folder: %s", strerror(errno));
	d = get(disk, st.st_ino);
	d->names = NULL;
	while ((entry = readdir(dir))) {
		struct name *name;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
		    fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		name = PS_NEW(disk->kit->pool, struct name);
		*name = (struct name){.next = d->names,
				      .name = ps_pool_strdup(disk->kit->pool, entry->d_name),
				      .inode = st.st_ino,
				      .is_dir = S_ISDIR(st.st_mode)};
		d->names = name;
	}
	closedir(dir);
}

static bool is_inode(const char *path, ino_t inode)
{
	struct stat st;

	return stat(path, &st) == 0 && st.st_ino == inode;
}

static void sync_names(struct power_disk *disk, int fd)
{
	struct stat st;

	keep_names(disk, fd);
	must(fstat(fd, &st) == 0, "stat: %s", strerror(errno));
	for (struct pair *pair = disk->pairs; pair; pair = pair->next)
		for (int i = 0; i < 2 && !pair->synced; i++) {
			int other;

			if (!is_inode(pair->paths[i], st.st_ino))
				continue;
			pair->synced = true;
			other = open(pair->paths[1 - i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
			if (other >= 0) {
				sync_names(disk, other);
				close(other);
			}
		}
}

static const char *folder_of(struct power_disk *disk, const char *path)
{
	const char *slash = strrchr(path, '/');

	return ps_pool_strndup(disk->kit->pool, path, slash ? (size_t)(slash - path) : 0);
}

static void note_rename(struct power_disk *disk, const struct call *call)
{
	struct pair *pair = PS_NEW(disk->kit->pool, struct pair);

	*pair = (struct pair){.next = disk->pairs, .paths = {folder_of(disk, call->path), folder_of(disk, call->to)}};
	if (strcmp(pair->paths[0], pair->paths[1]) != 0)
		disk->pairs = pair;
}

static void pin(struct power_disk *disk, int fd)
{
	disk->pins = ps_pool_grow(disk->kit->pool, disk->pins, disk->pin_count, &disk->pin_cap, sizeof *disk->pins);
	disk->pins[disk->pin_count++] = fd;
}

/* All that is below a folder, as it is now. */
static void keep_all(struct power_disk *disk, int fd)
{
	struct durable *d;
	struct stat st;

	keep_names(disk, fd);
	must(fstat(fd, &st) == 0, "stat: %s", strerror(errno));
	d = find(disk, st.st_ino);
	for (struct name *name = d->names; name; name = name->next) {
		int below = openat(fd, name->name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

		must(below >= 0, "open %s: %s", name->name, strerror(errno));
		if (name->is_dir)
			keep_all(disk, below);
		else
			keep_octets(disk, below, 0, INT64_MAX);
		pin(disk, below);
	}
}

struct power_disk *power_follow(struct kit *kit, const char *work)
{
	struct power_disk *disk = PS_NEW(kit->pool, struct power_disk);
	int fd = open(kit->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	must(fd >= 0 && fstat(fd, &st) == 0, "open %s: %s", kit->root, strerror(errno));
	*disk = (struct power_disk){.kit = kit, .work = work, .root = st.st_ino};
	keep_all(disk, fd);
	pin(disk, fd);
	return disk;
}

void power_unfollow(struct power_disk *disk)
{
	for (size_t i = 0; i < disk->pin_count; i++)
		close(disk->pins[i]);
	disk->pin_count = 0;
}

/* ---- calls --------------------------------------------------------------------------------- */

/* What a call that was made has made durable. */
static void take_effect(struct power_disk *disk, const struct call *call, int fd)
{
	struct stat st;

	if (call->kind == CALL_SYNC_ALL) {
		int root = open(disk->kit->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		keep_all(disk, root);
		close(root);
		return;
	}
	if (fd < 0 || fstat(fd, &st) < 0)
		return;
	if (call->kind == CALL_SYNC && S_ISDIR(st.st_mode))
		sync_names(disk, fd);
	else if (call->kind == CALL_SYNC)
		keep_octets(disk, fd, 0, INT64_MAX);
	else /* a write that is synced by itself */
		keep_octets(disk, fd, (off_t)call->args[3], (off_t)(call->args[3] + call->args[2]));
}

void power_note(struct power_disk *disk, const struct call *call)
{
	if (disk->has_last) {
		take_effect(disk, &disk->last, disk->last.fd);
		if (disk->last.fd >= 0)
			close(disk->last.fd);
		disk->has_last = false;
	}
	if (!call)
		return;
	if (call->kind == CALL_RENAME)
		note_rename(disk, call);
	if (call->kind == CALL_SYNC || call->kind == CALL_SYNC_ALL ||
	    (call->kind == CALL_WRITE && call_fdinfo(call, "flags", 8) & O_DSYNC)) {
		disk->last = *call;
		disk->last.args[3] = call_offset(call);
		disk->last.fd = call->fd >= 0 ? call_open_fd(call) : -1;
		disk->has_last = true;
	}
	/* Files that go away keep their inode number for themselves. */
	if (call->kind == CALL_WRITE || call->kind == CALL_SYNC) {
		int fd = call_open_fd(call);
		struct stat st;

		if (fd >= 0 && fstat(fd, &st) == 0 && !find(disk, st.st_ino)) {
			get(disk, st.st_ino);
			pin(disk, fd);
		} else if (fd >= 0) {
			close(fd);
		}
	}
}

/* ---- cutting ------------------------------------------------------------------------------- */

static bool is_index(const struct power_disk *disk, const char *below)
{
	return disk->kit->index && fnmatch(disk->kit->index, below, FNM_PATHNAME) == 0;
}

static void put_file(struct power_disk *disk, ino_t inode, const char *path)
{
	struct durable *d = find(disk, inode);
	int to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), from;

	must(to >= 0, "create %s: %s", path, strerror(errno));
	if (d && d->version) {
		from = open(version_path(disk, d->version), O_RDONLY | O_CLOEXEC);
		copy_octets(from, to, 0, INT64_MAX);
		close(from);
	}
	close(to);
}

static void put_late(struct power_disk *disk, ino_t inode, const char *to, const char *below)
{
	struct durable *d = find(disk, inode);

	must(mkdir(to, 0700) == 0, "mkdir %s: %s", to, strerror(errno));
	for (struct name *name = d ? d->names : NULL; name; name = name->next) {
		struct ps_pool *pool = disk->kit->pool;
		const char *path = ps_pool_printf(pool, "%s/%s", to, name->name);
		const char *rest = ps_pool_printf(pool, "%s%s%s", below, *below ? "/" : "", name->name);

		if (name->is_dir)
			put_late(disk, name->inode, path, rest);
		else if (!is_index(disk, rest))
			put_file(disk, name->inode, path);
	}
}

static void put_early(struct power_disk *disk, const char *from, const char *to, const char *below)
{
	DIR *dir = opendir(from);
	struct dirent *entry;
	struct stat st;

	must(dir && mkdir(to, 0700) == 0, "copy %s: %s", from, strerror(errno));
	while ((entry = readdir(dir))) {
		struct ps_pool *pool = disk->kit->pool;
		const char *path = ps_pool_printf(pool, "%s/%s", to, entry->d_name);
		const char *rest = ps_pool_printf(pool, "%s%s%s", below, *below ? "/" : "", entry->d_name);

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
		    fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (S_ISDIR(st.st_mode))
			put_early(disk, ps_pool_printf(pool, "%s/%s", from, entry->d_name), path, rest);
		else if (!is_index(disk, rest))
			put_file(disk, st.st_ino, path);
	}
	closedir(dir);
}

void power_cut(struct power_disk *disk, enum power how, const char *to)
{
	if (how == POWER_LATE)
		put_late(disk, disk->root, to, "");
	else
		put_early(disk, disk->kit->root, to, "");
}
