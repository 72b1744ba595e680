/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <dirent.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>
#include "backends/mbox/mbox_private.h"

enum {
	ASIDE_AGE = 36 * 3600
};

/* postern-control/state */
struct store_state {
	uint64_t modseq_reserved;
	uint64_t generation;
	uint32_t uid_validity_high;
	uint32_t spare;
};

static bool had_state(struct ps_store *store)
{
	return store->had_journal;
}

static const struct ps_catalogue_files mbox_files = {
	.name = "mbox",
	.layout = {.modseq = offsetof(struct store_state, modseq_reserved),
		   .generation = offsetof(struct store_state, generation),
		   .uid_validity = offsetof(struct store_state, uid_validity_high)},
	.had_state = had_state,
	.recover = journal_recover,
	.load_tokens = tokens_load,
	.sync_list = mailboxes_sync,
	.sync_all = scan_changed,
	.sync_mailbox = mailbox_sync,
	.unlocking = unlock_files,
	.edit_finish = write_edit_finish,
	.edit = plan_edit,
	.staged = stage_whole,
	.append = plan_append,
	.change = plan_change,
	.remove = plan_remove,
	.copy = plan_copy,
	.mailbox_op = plan_mailbox_op,
	.name_fits = plan_name_fits,
	.read_subscriptions = subscriptions_read,
	.write_subscriptions = plan_write_subscriptions,
	.token_seen = plan_token_seen,
	.token_keep = plan_token_keep,
	.look_before = commit_look_before,
	.attempt = commit_attempt,
	.look_again = commit_look_again,
	.can_do_with_less = true,
	.stage_drop = stage_drop,
	.folder_open = folder_get,
	.folder_close = mailbox_folder_close,
	.differs = mailbox_differs,
};

static int open_files(struct ps_store *store, const struct ps_store_args *args)
{
	struct stat st;
	int r = ps_catalogue_open_dirs(&store->cat, args);

	if (r < 0)
		return r;
	store->had_journal = fstatat(store->cat.control_fd, "journal", &st, AT_SYMLINK_NOFOLLOW) == 0;
	return journal_open(store);
}

static const char *setting(const struct ps_store_args *args, const char *name, const char *def)
{
	const char *value = args->conf ? ps_conf_str(args->conf, name) : NULL;

	return value ? value : def;
}

static struct ps_store *store_create(const struct ps_store_args *args)
{
	struct ps_store *store = ps_zalloc(sizeof *store);
	const char *locks = setting(args, "locks", "both");

	ps_catalogue_init(&store->cat, &mbox_files, args);
	store->inbox = ps_strdup(setting(args, "inbox", "INBOX"));
	store->sbd = strcmp(setting(args, "layout", "sbd"), "sbd") == 0;
	store->dot_locks = strcmp(locks, "both") == 0 || strcmp(locks, "dotlock") == 0;
	store->fcntl_locks = strcmp(locks, "both") == 0 || strcmp(locks, "fcntl") == 0;
	store->lock_timeout = args->conf ? ps_conf_int(args->conf, "lock_timeout") : 30;
	store->stale_lock = args->conf ? ps_conf_int(args->conf, "stale_lock") : 300;
	store->journal_fd = store->tokens_fd = -1;
	return store;
}

/* A path below the root, of plain components. */
static bool is_lawful_inbox(const char *path)
{
	return *path && *path != '/' && strlen(path) < 512 && strstr(path, "..") == NULL &&
	       strstr(path, "//") == NULL && path[strlen(path) - 1] != '/' &&
	       strncmp(path, CONTROL_DIR, sizeof CONTROL_DIR - 1) != 0 &&
	       strncmp(path, INDEX_DIR, sizeof INDEX_DIR - 1) != 0;
}

/* What lies aside and is old is left over; messages may be staged there by other processes now. */
static void clean_aside(struct ps_store *store)
{
	struct dirent *entry;
	struct stat st;
	DIR *dir;
	int fd;

	if (ps_io_open_dir(store->cat.aside_fd, ".", &fd) < 0)
		return;
	if (!(dir = fdopendir(fd))) {
		close(fd);
		return;
	}
	while ((entry = readdir(dir)) != NULL)
		if (fstatat(store->cat.aside_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
		    (entry->d_name[0] != 's' || st.st_mtime < ps_catalogue_now() - ASIDE_AGE))
			ps_io.unlink(store->cat.aside_fd, entry->d_name, 0);
	closedir(dir);
}

static int open_locked(struct ps_store *store)
{
	int r = mailboxes_differ(store) ? mailboxes_sync(store, false) : 0;

	if (!store->cat.pending)
		clean_aside(store);
	if (r == 0)
		r = tokens_tidy(store);
	return ps_no_room(r) ? 0 : r;
}

int store_open(const struct ps_store_args *args, struct ps_store **ret_store)
{
	struct ps_store *store = store_create(args);
	int r = is_lawful_inbox(store->inbox) ? open_files(store, args)
					      : ps_fail(PS_E_INVALID, "inbox is no path below the mail location");

	if (r == 0)
		r = ps_catalogue_open(store, open_locked);
	if (r < 0) {
		store_close(store);
		return r;
	}
	*ret_store = store;
	return 0;
}

void store_close(struct ps_store *store)
{
	if (*store->dot_name)
		ps_io.unlink(store->cat.aside_fd, store->dot_name, 0);
	ps_closep(&store->journal_fd);
	ps_closep(&store->tokens_fd);
	ps_catalogue_finish(&store->cat);
	free(store->inbox);
	free(store);
}
