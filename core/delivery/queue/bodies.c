/* SPDX-License-Identifier: MIT */
/*
 * Bodies: DIR/bodies/NUMBER, one file each. A message that was written to a nameless file of the same file system gets its name
 * by a link, any other is copied. A body is there, and synced, before its envelope, and goes after it; so what a crash leaves
 * is a body that no envelope names, and its number tells that it is of a former start.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/delivery/queue/queue_private.h"
#include "core/store/index/room.h"
#include "postern/error.h"
#include "postern/io.h"
#include "postern/log.h"

enum {
	NAME_SIZE = 17,
	RESERVE_MIN = 1 << 20, /* kept for removing, of a queue that is small */
};

static void name_of(uint64_t number, char ret_name[NAME_SIZE])
{
	snprintf(ret_name, NAME_SIZE, "%016llx", (unsigned long long)number);
}

/* 0: it is no body's. */
static uint64_t number_of(const char *name)
{
	char again[NAME_SIZE], *end;
	uint64_t number = strtoull(name, &end, 16);

	name_of(number, again);
	return strcmp(again, name) == 0 ? number : 0;
}

int bodies_open(struct ps_queue *queue)
{
	if (ps_io.mkdir(queue->dir_fd, "bodies", 0700) < 0 && errno != EEXIST)
		return ps_fail_errno("create %s/bodies", queue->dir);
	return ps_io_open_dir(queue->dir_fd, "bodies", &queue->bodies_fd);
}

/* ---- keeping ----------------------------------------------------------------------------------- */

static int copy_octets(int from, int to, uint64_t size)
{
	char octets[65536];
	uint64_t at = 0;
	int r;

	while (at < size) {
		ssize_t n = ps_io.pread(from, octets, size - at < sizeof octets ? size - at : sizeof octets, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return ps_fail_errno("read a message");
		if (n == 0)
			return ps_fail(PS_E_INVALID, "the message is shorter than was said");
		if ((r = ps_io_write_all(to, ps_bytes(octets, (size_t)n))) < 0)
			return r;
		at += (uint64_t)n;
	}
	return 0;
}

static int copy_body(struct ps_queue *queue, const struct ps_queue_message *message, const char *name)
{
	PS_CLEANUP(ps_closep) int fd = ps_io.open(queue->bodies_fd, name, O_WRONLY | O_CREAT | O_EXCL, 0600);
	int r;

	if (fd < 0)
		return ps_fail_errno("create body %s", name);
	r = copy_octets(message->file, fd, message->size);
	if (r == 0 && ps_io.fsync(fd) < 0)
		r = ps_fail_errno("sync body %s", name);
	return r;
}

/* After it has its name, so that the sync is that of the link count, too. */
static int sync_body(const struct ps_queue_message *message, const char *name)
{
	return ps_io.fsync(message->file) < 0 ? ps_fail_errno("sync body %s", name) : 0;
}

int body_keep(struct ps_queue *queue, const struct ps_queue_message *message, bool copy, uint64_t *ret_number)
{
	uint64_t number = atomic_fetch_add(&queue->last_number, 1) + 1;
	struct stat st;
	char name[NAME_SIZE];
	int r;

	if (fstat(message->file, &st) < 0)
		return ps_fail_errno("stat a message");
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != message->size)
		return ps_fail(PS_E_INVALID, "message %s has %lld octets, not %llu", message->id, (long long)st.st_size,
			       (unsigned long long)message->size);
	name_of(number, name);
	if (!copy && ps_io.link_file(message->file, queue->bodies_fd, name) == 0)
		r = sync_body(message, name);
	else if (!copy && (errno == ENOSPC || errno == EDQUOT || errno == EIO))
		r = ps_fail_errno("link body %s", name);
	else
		r = copy_body(queue, message, name);
	if (r < 0)
		body_remove(queue, number);
	else
		*ret_number = number;
	/* A link that failed half-way, on a disk that dies. To who asked, "exists" would say that the queue has the message. */
	return r == PS_E_EXISTS ? ps_fail(PS_E_STORAGE, "body %s was not made and is there", name) : r;
}

int body_open(struct ps_queue *queue, uint64_t number, uint64_t size, int *ret_file)
{
	char name[NAME_SIZE];
	struct stat st;
	int fd;

	name_of(number, name);
	fd = ps_io.open(queue->bodies_fd, name, O_RDONLY, 0);
	if (fd < 0)
		return ps_fail_errno("open body %s", name);
	if (fstat(fd, &st) < 0 || (uint64_t)st.st_size != size) {
		close(fd);
		return ps_fail(PS_E_CORRUPT, "body %s is not of %llu octets", name, (unsigned long long)size);
	}
	*ret_file = fd;
	return 0;
}

void body_remove(struct ps_queue *queue, uint64_t number)
{
	char name[NAME_SIZE];

	name_of(number, name);
	/* What stays is removed by a later start. */
	if (ps_io.unlink(queue->bodies_fd, name, 0) < 0 && errno != ENOENT)
		ps_log(PS_LOG_WARNING, "queue_body_left", "body", name, "error", strerror(errno), NULL);
}

/* ---- what a crash left ------------------------------------------------------------------------- */

static bool has_envelope(struct ps_queue *queue, uint64_t number)
{
	uint64_t key = htobe64(number);
	char aside[1 + sizeof key] = "M";
	struct ps_bytes value;
	struct change change;
	bool found = true;

	if (change_begin(queue, false, &change) < 0)
		return true;
	memcpy(aside + 1, &key, sizeof key);
	found = row_get(&change, DB_MESSAGES, &key, sizeof key, &value) != PS_E_NOTFOUND ||
		row_get(&change, DB_DAMAGED, aside, sizeof aside, &value) != PS_E_NOTFOUND;
	change_end(&change);
	return found;
}

void bodies_sweep(struct ps_queue *queue)
{
	int fd = openat(queue->bodies_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	struct dirent *entry;
	unsigned removed = 0;

	if (!dir && fd >= 0)
		close(fd);
	while (dir && !atomic_load(&queue->closing) && (entry = readdir(dir))) {
		uint64_t number = number_of(entry->d_name);

		if (number == 0 || number >= queue->start || has_envelope(queue, number))
			continue;
		body_remove(queue, number);
		removed++;
	}
	if (dir)
		closedir(dir);
	if (removed)
		ps_log(PS_LOG_INFO, "queue_bodies_removed", "count", ps_num(removed), NULL);
}

/* ---- room -------------------------------------------------------------------------------------- */

int queue_reserve(struct ps_queue *queue, uint64_t octets)
{
	struct ps_index_txn *txn; /* so that the index is not opened anew meanwhile */
	int r = ps_index_read(queue->index, &txn);

	if (r < 0)
		return r;
	r = index_room(queue->index, octets, RESERVE_MIN, &queue->allocated);
	ps_index_end(txn);
	return r;
}
