/* SPDX-License-Identifier: MIT */
/*
 * What Courier keeps in a mailbox: courierimapuiddb, a list of UIDs, and the folder courierimapkeywords. In it `:list`
 * has names of keywords, an empty line, and "FILE:NUMBER NUMBER..." a message. Files named .N.FILE and FILE hold a
 * message's keywords since then, one a line: FILE is newer than any .N.FILE, and of these the one with the larger N.
 *
 * Courier's keywords are in no file name, so ours get the bits beyond the letters and no message is renamed.
 */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "backends/maildir/adopt.h"
#include "postern/log.h"

#define SUBSCRIBED "courierimapsubscribed"

/* ---- keywords -------------------------------------------------------------------------------- */

/* The bits of the names at the list's head, in their order. */
struct head {
	uint64_t bits[PS_KEYWORDS_MAX * 2];
	size_t count;
};

static uint64_t bit_of(struct adoption *adoption, struct ps_bytes name)
{
	int bit = adopt_keyword(adoption, name, LETTERS_MASK);

	return bit < 0 ? 0 : UINT64_C(1) << bit;
}

static void read_message(struct adoption *adoption, const struct head *head, struct ps_bytes line)
{
	ptrdiff_t colon = ps_bytes_find(line, ':');
	struct ps_bytes numbers;
	uint64_t keywords = 0;
	uint32_t number;

	if (colon <= 0 || colon >= NAME_SIZE) {
		adopt_pass_over(adoption, "no file name");
		return;
	}
	numbers = ps_bytes_skip(line, (size_t)colon + 1);
	while (numbers.len > 0) {
		if (ps_bytes_u32(adopt_word(&numbers), &number) < 0 || number >= head->count)
			adopt_pass_over(adoption, "no keyword's number");
		else
			keywords |= head->bits[number];
	}
	uidlist_line_keywords(&adoption->lines, ps_bytes(line.ptr, (size_t)colon), keywords);
}

static int read_list(struct adoption *adoption, int dirfd)
{
	struct ps_buf octets = {0};
	struct ps_bytes text, line;
	struct head head = {.count = 0};
	int r = adopt_read(adoption, dirfd, ":list", &octets);

	text = ps_buf_view(&octets);
	while (r == 1 && adopt_line(adoption, &text, &line) && line.len > 0) {
		if (head.count < PS_ARRAY_LEN(head.bits))
			head.bits[head.count++] = bit_of(adoption, line);
		else
			adopt_pass_over(adoption, "too many keywords");
	}
	while (r == 1 && adopt_line(adoption, &text, &line))
		read_message(adoption, &head, line);
	adopt_account(adoption);
	ps_buf_finish(&octets);
	return r < 0 ? r : 0;
}

/* A file that changes one message's keywords. */
struct update {
	const char *file;
	const char *base;
	uint64_t order;
};

struct updates {
	struct ps_pool *pool;
	struct update *all;
	size_t count, cap;
};

static void add_update(struct updates *updates, const char *name)
{
	struct update update = {.file = ps_pool_strdup(updates->pool, name), .order = UINT64_MAX};

	update.base = update.file;
	if (name[0] == '.') {
		const char *dot = strchr(update.file + 1, '.');

		if (!dot || ps_bytes_u64(ps_bytes(update.file + 1, (size_t)(dot - update.file - 1)), &update.order) < 0)
			return; /* "." and "..", and what others may have left */
		update.base = dot + 1;
	}
	if (!*update.base || strchr(update.base, ':'))
		return;
	updates->all = ps_pool_grow(updates->pool, updates->all, updates->count, &updates->cap, sizeof update);
	updates->all[updates->count++] = update;
}

static int by_order(const void *a, const void *b)
{
	const struct update *x = a, *y = b;

	return x->order != y->order ? (x->order < y->order ? -1 : 1) : strcmp(x->base, y->base);
}

static int find_updates(struct updates *updates, int dirfd)
{
	struct dirent *entry;
	DIR *dir;
	int r = open_listing(dirfd, &dir);

	if (r < 0)
		return r;
	while ((errno = 0, entry = readdir(dir)) != NULL)
		add_update(updates, entry->d_name);
	if (errno != 0)
		r = ps_fail_errno("list courierimapkeywords");
	closedir(dir);
	if (updates->count > 1)
		qsort(updates->all, updates->count, sizeof *updates->all, by_order);
	return r;
}

/* The last line about a name counts, so the newest comes last. */
static int read_update(struct adoption *adoption, int dirfd, const struct update *update)
{
	struct ps_buf octets = {0};
	struct ps_bytes text, line;
	uint64_t keywords = 0;
	int r = adopt_read(adoption, dirfd, update->file, &octets);

	text = ps_buf_view(&octets);
	while (r == 1 && adopt_line(adoption, &text, &line))
		keywords |= bit_of(adoption, line);
	if (r == 1)
		uidlist_line_keywords(&adoption->lines, ps_bytes_str(update->base), keywords);
	adopt_account(adoption);
	ps_buf_finish(&octets);
	return r < 0 ? r : 0;
}

static int read_keywords(struct adoption *adoption)
{
	PS_CLEANUP(ps_closep) int dirfd = -1;
	struct updates updates = {.pool = NULL};
	int r = ps_io_open_dir(adoption->dirfd, "courierimapkeywords", &dirfd);

	if (r < 0)
		return r == PS_E_NOTFOUND ? 0 : r;
	updates.pool = ps_pool_create("courier keywords");
	r = read_list(adoption, dirfd);
	if (r == 0)
		r = find_updates(&updates, dirfd);
	for (size_t i = 0; i < updates.count && r == 0; i++)
		r = read_update(adoption, dirfd, &updates.all[i]);
	ps_pool_destroy(updates.pool);
	return r;
}

int adopt_courier(struct adoption *adoption)
{
	int r = adopt_uid_list(adoption, "courierimapuiddb", false), keywords;

	if (r != 1)
		return r;
	keywords = read_keywords(adoption);
	return keywords < 0 ? keywords : 1;
}

/* ---- names of folders ------------------------------------------------------------------------ */

/* From version 5 on, Courier writes them in UTF-8: ".Entwürfe", ".R&D". *ret_dir: how they are written here. False: so they
 * are written already, or it is no name. */
static bool in_our_writing(const char *dir, char ret_dir[NAME_SIZE])
{
	struct ps_buf name = {0}, ours = {0};
	bool known = name_of_dir(false, dir, &name), found;

	ps_buf_reset(&name);
	ps_buf_str(&name, dir + 1);
	for (size_t i = 0; i < name.len; i++)
		if (name.ptr[i] == '.')
			name.ptr[i] = '/';
	found = !known && dir_of_name(false, ps_buf_cstr(&name), ret_dir) == 0 && name_of_dir(false, ret_dir, &ours);
	ps_buf_finish(&name);
	ps_buf_finish(&ours);
	return found;
}

static bool is_couriers(int root_fd, const char *dir)
{
	static const char *const files[] = {"courierimapuiddb", "courierimapacl"};
	char path[NAME_SIZE + 32];
	struct stat st;

	for (size_t i = 0; i < PS_ARRAY_LEN(files); i++) {
		snprintf(path, sizeof path, "%s/%s", dir, files[i]);
		if (fstatat(root_fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
			return true;
	}
	return false;
}

int adopt_folder(struct ps_store *store, const char *dir)
{
	char ours[NAME_SIZE];
	bool odd = false;

	for (const char *c = dir; *c; c++)
		odd |= *c == '&' || (unsigned char)*c >= 0x80;
	if (!odd || store->tree || dir[0] != '.' || !in_our_writing(dir, ours) || !is_couriers(store->cat.root_fd, dir))
		return 0;
	if (ps_io.rename(store->cat.root_fd, dir, store->cat.root_fd, ours, RENAME_NOREPLACE) < 0) {
		if (errno == EEXIST)
			return 0;
		return ps_fail_errno("rename %s", dir);
	}
	ps_logf(PS_LOG_INFO, "maildir_folder_renamed", NULL, "%s: %s is %s now", store->cat.root, dir, ours);
	return ps_io_sync_dir(store->cat.root_fd, dir) < 0 ? PS_E_STORAGE : 1;
}

/* ---- subscriptions --------------------------------------------------------------------------- */

/* "INBOX.Lists.postern" is the directory .Lists.postern. */
static bool put_subscription(struct ps_bytes line, struct ps_buf *out)
{
	static const char prefix[] = "INBOX.";
	size_t len = sizeof prefix - 1;
	char dir[NAME_SIZE], ours[NAME_SIZE];

	if (ps_bytes_caseeq_str(line, "INBOX"))
		return true; /* it always is */
	if (line.len <= len || memcmp(line.ptr, prefix, len) != 0)
		return false;
	line = ps_bytes_skip(line, len);
	if (line.len + 2 > sizeof dir || ps_bytes_find(line, '\0') >= 0)
		return false;
	snprintf(dir, sizeof dir, ".%.*s", (int)line.len, (const char *)line.ptr);
	ps_buf_str(out, in_our_writing(dir, ours) ? ours + 1 : dir + 1);
	return ps_buf_char(out, '\n') == 0;
}

int adopt_subscriptions(struct ps_store *store)
{
	struct adoption adoption = {.mailbox = "INBOX", .dirfd = store->cat.root_fd};
	struct ps_buf octets = {0}, out = {0};
	struct ps_bytes text, line;
	struct stat st;
	int r = 0;

	/* Courier has no trees. */
	if (!store->tree && fstatat(store->cat.root_fd, "subscriptions", &st, AT_SYMLINK_NOFOLLOW) < 0)
		r = adopt_read(&adoption, store->cat.root_fd, SUBSCRIBED, &octets);
	text = ps_buf_view(&octets);
	/* Courier shows INBOX as subscribed, whether or not its file has it. */
	ps_buf_str(&out, "INBOX\n");
	while (r == 1 && adopt_line(&adoption, &text, &line))
		if (line.len > 0 && !put_subscription(line, &out))
			adopt_pass_over(&adoption, "no mailbox of this user");
	adopt_account(&adoption);
	if (r == 1)
		r = out.failed ? PS_E_LIMIT : ps_io_replace(store->cat.root_fd, "subscriptions", ps_buf_view(&out));
	ps_buf_finish(&octets);
	ps_buf_finish(&out);
	return r;
}
