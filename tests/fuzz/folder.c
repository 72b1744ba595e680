/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/store/user.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/plugin.h"
#include "tests/fuzz/folder.h"

enum {
	FILES_MAX = 30,
	ROWS_MAX = 2000,
};

static void must(bool holds)
{
	if (!holds)
		abort();
}

/* ---- the files --------------------------------------------------------------------------------------- */

/* Below the root, without tricks: what a mail location may hold is the file system's, not an attacker's. */
static bool is_tame(const char *path)
{
	unsigned depth = 0;

	for (const char *at = path; *at; depth++) {
		size_t len = strcspn(at, "/");

		if (len == 0 || len > 200 || depth == 4 || (at[0] == '.' && (len == 1 || (len == 2 && at[1] == '.'))))
			return false;
		at += len + (at[len] == '/');
	}
	return *path != '\0';
}

static void put_file(const char *root, struct ps_bytes name, struct ps_bytes octets)
{
	char path[1024], *below = path + strlen(root) + 1;
	int fd;

	if (name.len > 500 || ps_bytes_find(name, '\0') >= 0)
		return;
	snprintf(path, sizeof path, "%s/%.*s", root, (int)name.len, (const char *)name.ptr);
	if (!is_tame(below))
		return;
	for (char *slash = strchr(below, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(path, 0700);
		*slash = '/';
	}
	if ((fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600)) < 0)
		return; /* a directory */
	if (octets.len > 0)
		must(write(fd, octets.ptr, octets.len) == (ssize_t)octets.len);
	close(fd);
}

static void put_files(const char *root, struct ps_bytes input)
{
	static const char mark[] = "=== ";

	for (unsigned i = 0; i < FILES_MAX && input.len > 4 && memcmp(input.ptr, mark, 4) == 0; i++) {
		ptrdiff_t lf = ps_bytes_find(input, '\n');
		struct ps_bytes name = ps_bytes(input.ptr + 4, (lf < 0 ? input.len : (size_t)lf) - 4);
		struct ps_bytes rest = ps_bytes_skip(input, name.len + 4 + (lf >= 0));
		const uint8_t *next = memmem(rest.ptr, rest.len, "\n=== ", 5);
		size_t len = next ? (size_t)(next - rest.ptr) + 1 : rest.len;

		if (rest.len >= 4 && memcmp(rest.ptr, mark, 4) == 0)
			len = 0;
		put_file(root, name, ps_bytes(rest.ptr, len));
		input = ps_bytes_skip(rest, len);
	}
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void remove_all(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- the store ----------------------------------------------------------------------------------------- */

/* What a client has seen of INBOX. */
struct seen {
	uint32_t validity, count;
	struct {
		uint32_t uid, flags;
		uint64_t size;
	} rows[ROWS_MAX];
};

static struct ps_user *open_user(const char *root)
{
	extern const struct ps_plugin postern_plugin;
	struct ps_user_info info = {.name = "alice", .backend = postern_plugin.name, .root = root};
	struct ps_user *user;

	return ps_user_open_with(postern_plugin.ops, NULL, NULL, &info, &user) == 0 ? user : NULL;
}

static void close_user(struct ps_user *user)
{
	ps_user_close(user);
	ps_users_close_kept(true);
}

static int add_octets(void *arg, struct ps_bytes octets)
{
	*(uint64_t *)arg += octets.len;
	return 0;
}

static void read_body(struct ps_view *view, const struct ps_row *row)
{
	struct ps_span all = {.length = row->size};
	struct ps_body body;
	uint64_t octets = 0;

	if (ps_view_body(view, row->uid, &body) < 0)
		return;
	if (ps_body_read(&body, &all, 0, row->size, add_octets, &octets) == 0)
		must(octets <= row->size);
	ps_view_body_close(view, &body);
}

/* UIDs ascend and lie below UIDNEXT; every message can be read. */
static void look_at(struct ps_view *view, struct seen *seen)
{
	struct ps_view_status status;
	uint32_t last = 0;

	ps_view_status(view, &status);
	must(status.uid_validity > 0);
	if (seen)
		*seen = (struct seen){.validity = status.uid_validity};
	for (uint32_t seq = 1; seq <= status.messages; seq++) {
		const struct ps_row *row = ps_view_row(view, seq);

		must(row->uid > last && row->uid < status.uid_next && row->modseq <= status.highest_modseq);
		last = row->uid;
		if (seq < 20)
			read_body(view, row);
		if (!seen || seen->count == ROWS_MAX)
			continue;
		seen->rows[seen->count].uid = row->uid;
		seen->rows[seen->count].flags = row->flags;
		seen->rows[seen->count++].size = row->size;
	}
}

struct looking {
	struct ps_user *user;
	struct seen *inbox;
};

static int look_at_mailbox(void *arg, const struct ps_mailbox_info *info)
{
	struct looking *looking = arg;
	struct ps_view *view;

	if (!(info->attributes & PS_MBOX_EXISTS) ||
	    ps_view_open(looking->user, info->name, true, NULL, NULL, &view) < 0)
		return 0;
	look_at(view, strcmp(info->name, "INBOX") == 0 ? looking->inbox : NULL);
	ps_view_close(view);
	return 0;
}

static int append(struct ps_user *user)
{
	static const char octets[] = "Subject: x\r\n\r\nFrom x\r\n";
	struct ps_append_message message = {.flags = PS_FLAG_SEEN, .internal_date = 1000000000};
	struct ps_pool *pool = ps_pool_create("fuzz");
	struct ps_op_result result = {0};
	struct ps_append *append;
	int r = ps_append_open(user, "INBOX", &append);

	if (r == 0) {
		if ((r = ps_append_begin(append, &message)) == 0 &&
		    (r = ps_append_write(append, ps_bytes_str(octets))) == 0 && (r = ps_append_end(append)) == 0)
			r = ps_append_commit(append, pool, &result);
		ps_append_close(append);
	}
	ps_pool_destroy(pool);
	return r;
}

/* 1: looked at; 0: it does not open. */
static bool visit(const char *root, struct seen *seen, bool *ret_appended)
{
	struct looking looking = {.inbox = seen};

	seen->validity = 0;
	if (!(looking.user = open_user(root)))
		return false;
	ps_user_list(looking.user, look_at_mailbox, &looking);
	if (ret_appended)
		*ret_appended = seen->validity && append(looking.user) == 0;
	close_user(looking.user);
	return true;
}

void fuzz_folder(const uint8_t *data, size_t size)
{
	static struct seen before, after;
	const char *tmp = getenv("TMPDIR");
	bool appended = false;
	char root[256], index[300];

	ps_log_set_level(PS_LOG_ERROR);
	snprintf(root, sizeof root, "%s/postern-fuzz.XXXXXX", tmp ? tmp : "/tmp");
	must(mkdtemp(root) != NULL);
	put_files(root, ps_bytes(data, size));
	if (visit(root, &before, &appended) && before.validity) {
		/* The index may be deleted at any time. */
		snprintf(index, sizeof index, "%s/postern-index", root);
		if (size % 2)
			remove_all(index);
		must(visit(root, &after, NULL));
		must(after.validity == before.validity && after.count == before.count + appended);
		must(memcmp(before.rows, after.rows, before.count * sizeof before.rows[0]) == 0);
	}
	remove_all(root);
}
