/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <fcntl.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>
#include "backends/maildir/maildir_private.h"
#include "postern/log.h"

/* postern-control/state */
struct store_state {
	uint64_t modseq_reserved;
	uint32_t uid_validity_high;
	uint32_t spare;
	uint64_t generation;
};

enum {
	RENAME_AT_ONCE = 64 /* as the setting's default */
};

static bool had_state(struct ps_store *store)
{
	struct mailbox_state inbox;

	return ps_state_read(store->cat.root_fd, MAILBOX_STATE, &inbox, sizeof inbox) == 0;
}

/* Flags first: what the other record removes may be among them. */
static int recover(struct ps_store *store)
{
	int later = later_recover(store), steps = later < 0 ? later : steps_recover(store);

	return steps < 0 ? steps : later || steps;
}

static int recovered(struct ps_store *store)
{
	int r = later_recovered(store);

	return r == 0 ? steps_recovered(store) : r;
}

static const struct ps_catalogue_files maildir_files = {
	.name = "maildir",
	.layout = {.modseq = offsetof(struct store_state, modseq_reserved),
		   .generation = offsetof(struct store_state, generation),
		   .uid_validity = offsetof(struct store_state, uid_validity_high)},
	.had_state = had_state,
	.recover = recover,
	.recovered = recovered,
	.settle = later_settle,
	.load_tokens = tokens_load,
	.sync_list = mailboxes_sync,
	.sync_all = scan_all,
	.sync_mailbox = mailbox_sync,
	.edit_finish = write_edit_finish,
	.edit = plan_edit,
	.keyword_bits_taken = plan_letters_taken,
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
	.attempt = commit_attempt,
	.look_again = commit_look_again,
	.stage_drop = stage_drop,
	.folder_open = mailbox_folder_open,
	.folder_close = mailbox_folder_close,
	.differs = mailbox_differs,
};

static int open_dirs(struct ps_store *store, const struct ps_store_args *args)
{
	static const char *const parts[] = {"cur", "new"};
	int r = ps_catalogue_open_dirs(&store->cat, args);

	if (r == 0)
		r = ps_catalogue_make_dir(store->cat.root_fd, "tmp", &store->tmp_fd);
	for (size_t i = 0; r == 0 && i < PS_ARRAY_LEN(parts); i++) {
		PS_CLEANUP(ps_closep) int fd = -1;

		r = ps_catalogue_make_dir(store->cat.root_fd, parts[i], &fd);
	}
	return r;
}

/* The host's name as a part of file names, where some octets have a meaning. */
static void host_name(char host[40])
{
	gethostname(host, 40);
	host[39] = '\0';
	for (char *c = host; *c; c++)
		if (!ps_isalpha(*c) && !ps_isdigit(*c) && *c != '.' && *c != '-')
			*c = '_';
	if (!*host)
		memcpy(host, "localhost", 10);
}

static struct ps_store *store_create(const struct ps_store_args *args)
{
	struct ps_store *store = ps_zalloc(sizeof *store);
	const char *line_ends = args->conf ? ps_conf_str(args->conf, "line_ends") : NULL;
	const char *layout = args->conf ? ps_conf_str(args->conf, "layout") : NULL;

	ps_catalogue_init(&store->cat, &maildir_files, args);
	store->rename_at_once = args->conf ? (size_t)ps_conf_int(args->conf, "rename_at_once") : RENAME_AT_ONCE;
	store->tree = layout && strcmp(layout, "fs") == 0;
	store->crlf = line_ends && strcmp(line_ends, "crlf") == 0;
	store->tmp_fd = -1;
	host_name(store->host);
	return store;
}

/* What lies aside is left over: it was never given a name, or was taken out of one. */
static void clean_aside(struct ps_store *store)
{
	struct dirent *entry;
	DIR *dir;

	if (open_listing(store->cat.aside_fd, &dir) < 0)
		return;
	while ((entry = readdir(dir)) != NULL)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 &&
		    ps_io.unlink(store->cat.aside_fd, entry->d_name, 0) < 0)
			remove_tree(store->cat.aside_fd, entry->d_name);
	closedir(dir);
}

static int open_locked(struct ps_store *store)
{
	int r;

	if (!store->tree)
		watch_attach_root(store);
	r = mailboxes_differ(store) ? mailboxes_sync(store, false) : 0;
	clean_aside(store);
	clean_tmp(store->tmp_fd);
	return r;
}

int store_open(const struct ps_store_args *args, struct ps_store **ret_store)
{
	struct ps_store *store = store_create(args);
	int r = open_dirs(store, args);

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
	if (store->cat.index && ps_catalogue_settle(store) < 0)
		ps_log(PS_LOG_WARNING, "maildir_names_behind", "user", store->cat.user, "error", ps_last_error(), NULL);
	mailboxes_note_time(store);
	unsettled_finish(&store->unsettled);
	watch_detach(&store->watch);
	ps_closep(&store->tmp_fd);
	ps_catalogue_finish(&store->cat);
	free(store);
}
