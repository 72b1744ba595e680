/* SPDX-License-Identifier: MIT */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/conformance/power.h"

enum {
	BLOCK = 512 /* that a disk writes as one */
};

/* A name in a folder. */
struct name {
	struct name *next;
	char *name;
	ino_t inode;
	bool is_dir;
};

/* What is durable of a file, or of a folder. Each that was seen stays open, so that its inode number is not given again. */
struct durable {
	struct durable *next;
	int fd;
	ino_t inode;
	unsigned version; /* of the file's octets, in a file of the work folder; 0: none */
	struct name *names;
	bool names_present; /* POWER_ANY: they are as they are now */
	const char *put;    /* where the present cut has put the file; NULL: not yet */
};

/* A rename is one change of two folders: who syncs one of them syncs it in the other. */
struct pair {
	struct pair *next;
	struct durable *folders[2];
	bool synced;
};

struct power_disk {
	struct kit *kit;
	const char *work;
	struct durable *all, *root;
	struct pair *pairs;
	unsigned versions;
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

static struct durable *get(struct power_disk *disk, int fd)
{
	struct durable *d;
	struct stat st;

	must(fstat(fd, &st) == 0, "stat: %s", strerror(errno));
	if ((d = find(disk, st.st_ino)) != NULL)
		return d;
	d = PS_NEW(disk->kit->pool, struct durable);
	*d = (struct durable){.next = disk->all, .fd = fcntl(fd, F_DUPFD_CLOEXEC, 0), .inode = st.st_ino};
	must(d->fd >= 0, "dup: %s", strerror(errno));
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
	struct durable *d = get(disk, fd);
	struct stat st;
	int to, old;

	must(fstat(fd, &st) == 0, "stat: %s", strerror(errno));
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

/* The names in a folder as they are now. */
static struct name *list_names(struct power_disk *disk, int fd)
{
	int listed = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), below;
	DIR *dir = listed >= 0 ? fdopendir(listed) : NULL;
	struct name *names = NULL;
	struct dirent *entry;
	struct stat st;

	must(dir, "list a folder: %s", strerror(errno));
	while ((entry = readdir(dir))) {
		struct name *name;

		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		below = openat(fd, entry->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (below < 0)
			continue; /* no file nor folder, or gone again */
		must(fstat(below, &st) == 0, "stat: %s", strerror(errno));
		name = PS_NEW(disk->kit->pool, struct name);
		*name = (struct name){.next = names,
				      .name = ps_pool_strdup(disk->kit->pool, entry->d_name),
				      .inode = get(disk, below)->inode,
				      .is_dir = S_ISDIR(st.st_mode)};
		names = name;
		close(below);
	}
	closedir(dir);
	return names;
}

static void sync_names(struct power_disk *disk, struct durable *folder)
{
	folder->names = list_names(disk, folder->fd);
	for (struct pair *pair = disk->pairs; pair; pair = pair->next)
		for (int i = 0; i < 2 && !pair->synced; i++)
			if (pair->folders[i] == folder) {
				pair->synced = true;
				sync_names(disk, pair->folders[1 - i]);
			}
}

/* NULL: there is none. */
static struct durable *folder_of(struct power_disk *disk, const char *path)
{
	const char *slash = strrchr(path, '/');
	int fd = open(ps_pool_strndup(disk->kit->pool, path, slash ? (size_t)(slash - path) : 0),
		      O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct durable *folder;

	if (fd < 0)
		return NULL;
	folder = get(disk, fd);
	close(fd);
	return folder;
}

static void note_rename(struct power_disk *disk, const struct call *call)
{
	struct pair *pair = PS_NEW(disk->kit->pool, struct pair);

	*pair = (struct pair){.next = disk->pairs, .folders = {folder_of(disk, call->path), folder_of(disk, call->to)}};
	if (pair->folders[0] && pair->folders[1] && pair->folders[0] != pair->folders[1])
		disk->pairs = pair;
}

/* All that is below a folder, as it is now. */
static void keep_all(struct power_disk *disk, struct durable *folder)
{
	folder->names = list_names(disk, folder->fd);
	for (struct name *name = folder->names; name; name = name->next)
		if (name->is_dir)
			keep_all(disk, find(disk, name->inode));
		else
			keep_octets(disk, find(disk, name->inode)->fd, 0, INT64_MAX);
}

struct power_disk *power_follow(struct kit *kit, const char *work)
{
	struct power_disk *disk = PS_NEW(kit->pool, struct power_disk);
	int fd = open(kit->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	must(fd >= 0, "open %s: %s", kit->root, strerror(errno));
	*disk = (struct power_disk){.kit = kit, .work = work};
	disk->root = get(disk, fd);
	close(fd);
	keep_all(disk, disk->root);
	return disk;
}

void power_unfollow(struct power_disk *disk)
{
	for (struct durable *d = disk->all; d; d = d->next)
		close(d->fd);
	disk->all = NULL;
}

/* ---- calls --------------------------------------------------------------------------------- */

/* What a call that was made has made durable. */
static void take_effect(struct power_disk *disk, const struct call *call, int fd)
{
	struct stat st;

	if (call->kind == CALL_SYNC_ALL) {
		keep_all(disk, disk->root);
		return;
	}
	if (fd < 0 || fstat(fd, &st) < 0)
		return;
	if (call->kind == CALL_SYNC && S_ISDIR(st.st_mode))
		sync_names(disk, get(disk, fd));
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

		if (fd >= 0) {
			get(disk, fd);
			close(fd);
		}
	}
}

/* ---- cutting ------------------------------------------------------------------------------- */

static bool is_index(const struct power_disk *disk, const char *below)
{
	return disk->kit->index && fnmatch(disk->kit->index, below, FNM_PATHNAME) == 0;
}

static int open_version(struct power_disk *disk, const struct durable *d)
{
	return d->version ? open(version_path(disk, d->version), O_RDONLY | O_CLOEXEC) : -1;
}

static off_t size_of(int fd)
{
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 ? st.st_size : 0;
}

/* Blocks of what was synced and of what is there now, as the kernel wrote some of them back, in any order. */
static void put_mixed(struct power_disk *disk, int synced, int present, int to)
{
	off_t sizes[] = {size_of(synced), size_of(present)}, size = sizes[pick(disk->kit, 2)];

	must(ftruncate(to, size) == 0, "resize: %s", strerror(errno));
	for (off_t at = 0; at < size; at += BLOCK) {
		int from = pick(disk->kit, 2) ? synced : present;

		if (from >= 0)
			copy_octets(from, to, at, at + BLOCK < size ? at + BLOCK : size);
	}
}

static void put_file(struct power_disk *disk, enum power how, struct durable *d, const char *path)
{
	int to = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600), synced = open_version(disk, d);
	unsigned which = how == POWER_ANY ? pick(disk->kit, 3) : 0;

	d->put = path;
	must(to >= 0, "create %s: %s", path, strerror(errno));
	if (which == 2)
		put_mixed(disk, synced, d->fd, to);
	else if (which == 1)
		copy_octets(d->fd, to, 0, INT64_MAX);
	else if (synced >= 0)
		copy_octets(synced, to, 0, INT64_MAX);
	if (synced >= 0)
		close(synced);
	close(to);
}

/* A file may have several names. */
static void put_name(struct power_disk *disk, enum power how, struct durable *d, const char *path)
{
	if (d->put)
		must(link(d->put, path) == 0, "link %s: %s", path, strerror(errno));
	else
		put_file(disk, how, d, path);
}

static void put_folder(struct power_disk *disk, enum power how, struct durable *d, const char *to, const char *below)
{
	bool present = how == POWER_ANY ? d->names_present : how == POWER_EARLY;

	must(mkdir(to, 0700) == 0, "mkdir %s: %s", to, strerror(errno));
	for (struct name *name = present ? list_names(disk, d->fd) : d->names; name; name = name->next) {
		struct ps_pool *pool = disk->kit->pool;
		const char *path = ps_pool_printf(pool, "%s/%s", to, name->name);
		const char *rest = ps_pool_printf(pool, "%s%s%s", below, *below ? "/" : "", name->name);

		if (name->is_dir)
			put_folder(disk, how, find(disk, name->inode), path, rest);
		else if (!is_index(disk, rest))
			put_name(disk, how, find(disk, name->inode), path);
	}
}

/* Folders between which renames are under way are all as they are now, or none of them is. */
static void choose_names(struct power_disk *disk)
{
	bool renamed = pick(disk->kit, 2);

	for (struct durable *d = disk->all; d; d = d->next)
		d->names_present = pick(disk->kit, 2);
	for (struct pair *pair = disk->pairs; pair; pair = pair->next)
		for (int i = 0; i < 2 && !pair->synced; i++)
			pair->folders[i]->names_present = renamed;
}

void power_cut(struct power_disk *disk, enum power how, const char *to)
{
	for (struct durable *d = disk->all; d; d = d->next)
		d->put = NULL;
	if (how == POWER_ANY)
		choose_names(disk);
	put_folder(disk, how, disk->root, to, "");
}
