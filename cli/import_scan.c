/* SPDX-License-Identifier: MIT */
/* Walks the source and lists what could be messages. Nothing is opened but folders, and files that may be an mbox. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "cli/import.h"

#define DEPTH_MAX 32

/* Names are looked up below the source only, and through no symbolic link: a link in a folder that somebody else may
 * write to could lead root to any file. */
static int open_beneath(int root, const char *path, int flags)
{
	struct open_how how = {
		.flags = (uint64_t)(flags | O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY),
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
	};

	return (int)syscall(SYS_openat2, root, *path ? path : ".", &how, sizeof how);
}

static const char *join(struct ps_pool *pool, const char *folder, const char *name)
{
	return *folder ? ps_pool_printf(pool, "%s/%s", folder, name) : name;
}

struct names {
	char **all;
	size_t count, cap;
};

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* All names of a folder, sorted, so that a second run goes the same way. */
static int read_names(struct import_source *source, const char *folder, struct names *names, int *ret_fd)
{
	int fd = open_beneath(source->fd, folder, O_DIRECTORY);
	DIR *dir = fd < 0 ? NULL : fdopendir(dup(fd));
	const struct dirent *entry;

	if (!dir) {
		cli_error("%s/%s: %s", source->path, folder, strerror(errno));
		source->problems++;
		ps_closep(&fd);
		return -1;
	}
	while ((entry = readdir(dir))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		names->all = ps_pool_grow(source->pool, names->all, names->count, &names->cap, sizeof *names->all);
		names->all[names->count++] = ps_pool_strdup(source->pool, entry->d_name);
	}
	closedir(dir);
	if (names->count > 0)
		qsort(names->all, names->count, sizeof *names->all, by_text);
	*ret_fd = fd;
	return 0;
}

static bool is_folder(int fd, const char *name)
{
	struct stat st;

	return fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

static bool is_maildir(int fd)
{
	return is_folder(fd, "cur") && is_folder(fd, "new");
}

static struct import_message *add_message(struct import_source *source, const char *mailbox, const char *folder,
					  const char *name)
{
	struct import_message *message;

	source->messages =
		ps_pool_grow(source->pool, source->messages, source->count, &source->cap, sizeof *source->messages);
	message = &source->messages[source->count++];
	*message = (struct import_message){.mailbox = mailbox, .folder = folder, .name = name};
	return message;
}

/* cur or new of a Maildir. */
static void scan_letters(struct import_source *source, const char *folder, const char *mailbox,
			 const struct import_keywords *keywords)
{
	struct names names = {0};
	struct stat st;
	int fd;

	if (read_names(source, folder, &names, &fd) < 0)
		return;
	for (size_t i = 0; i < names.count; i++) {
		const char *name = names.all[i];

		if (name[0] == '.' || fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
			continue;
		import_maildir_name(name, st.st_mtime, keywords, source->pool,
				    add_message(source, mailbox, folder, name));
	}
	close(fd);
}

static void scan_maildir(struct import_source *source, int fd, const char *folder, const char *mailbox)
{
	struct import_keywords keywords;

	import_keywords_read(fd, source->pool, &keywords);
	scan_letters(source, join(source->pool, folder, "cur"), mailbox, &keywords);
	scan_letters(source, join(source->pool, folder, "new"), mailbox, &keywords);
}

static void scan_folder(struct import_source *source, const char *folder, const char *mailbox, bool plain, int depth);

static void scan_subfolder(struct import_source *source, int fd, const char *folder, const char *name,
			   const char *mailbox, bool plain, int depth)
{
	bool dotted = name[0] == '.';
	int sub = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	bool maildir = sub >= 0 && is_maildir(sub);
	const char *into = source->all_into;

	ps_closep(&sub);
	if (dotted && !maildir)
		return; /* .git and the like */
	if (depth == DEPTH_MAX) {
		cli_error("%s/%s: more than %d folders within each other", source->path, folder, DEPTH_MAX);
		source->problems++;
		return;
	}
	if (!into && !(into = import_mailbox_name(mailbox, name, dotted, source->pool))) {
		source->problems++;
		return;
	}
	scan_folder(source, join(source->pool, folder, name), into, plain, depth + 1);
}

/* `plain`: files that lie in the folder itself are messages; not so in and below a Maildir. */
static void scan_folder(struct import_source *source, const char *folder, const char *mailbox, bool plain, int depth)
{
	struct names names = {0};
	struct stat st;
	bool maildir;
	int fd;

	if (read_names(source, folder, &names, &fd) < 0)
		return;
	maildir = is_maildir(fd);
	if (maildir)
		scan_maildir(source, fd, folder, mailbox);
	plain = plain && !maildir;
	for (size_t i = 0; i < names.count; i++) {
		const char *name = names.all[i];

		if (maildir && (strcmp(name, "cur") == 0 || strcmp(name, "new") == 0 || strcmp(name, "tmp") == 0))
			continue;
		if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (S_ISDIR(st.st_mode)) {
			scan_subfolder(source, fd, folder, name, mailbox, plain, depth);
		} else if (plain && S_ISREG(st.st_mode) && name[0] != '.') {
			struct import_message *message = add_message(source, mailbox, folder, name);

			message->plain = true;
			message->date = st.st_mtime;
		}
	}
	close(fd);
}

/* A single message, as a folder of one. */
static int scan_file(struct import_source *source, const char *mailbox, int64_t mtime)
{
	char *path = ps_pool_strdup(source->pool, source->path);
	char *name = ps_pool_strdup(source->pool, source->path);
	struct import_message *message;

	source->fd = open(dirname(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (source->fd < 0)
		return ps_fail_errno("%s", path);
	message = add_message(source, mailbox, "", ps_pool_strdup(source->pool, basename(name)));
	message->plain = true;
	message->date = mtime;
	return 0;
}

/* ---- files with several messages --------------------------------------------------------------- */

static void add_found(void *arg, const struct import_message *message)
{
	struct import_source *source = arg;

	*add_message(source, "", "", "") = *message;
}

/* In a folder, an mbox is a mailbox of its own: "Sent", "work.mbox". */
static const char *mailbox_of_mbox(struct import_source *source, const struct import_message *file)
{
	size_t len = strlen(file->name);

	if (source->all_into || source->is_file)
		return file->mailbox;
	if (len > 5 && strcmp(file->name + len - 5, ".mbox") == 0)
		len -= 5;
	return import_mailbox_name(file->mailbox, ps_pool_strndup(source->pool, file->name, len), false, source->pool);
}

/* False: it is one message, or none. */
static bool expand_file(struct import_source *source, const struct import_message *file)
{
	struct import_message message = *file;
	int fd, r;

	/* What is wrong with it is told when it is its turn. */
	if (import_open(source, file, &fd) < 0)
		return false;
	r = import_mbox_each(fd, &message, source->pool, NULL, NULL);
	if (r < 0)
		r = 0; /* it is refused as one message then */
	if (r > 0 && !(message.mailbox = mailbox_of_mbox(source, file))) {
		source->problems++;
	} else if (r > 0) {
		r = import_mbox_each(fd, &message, source->pool, add_found, source);
		if (r < 0) {
			cli_error("%s/%s: %s", source->path, file->name, ps_last_error());
			source->problems++;
		}
	}
	close(fd);
	return r != 0;
}

static void expand(struct import_source *source)
{
	struct import_message *files = source->messages;
	size_t count = source->count;

	source->messages = NULL;
	source->count = source->cap = 0;
	for (size_t i = 0; i < count; i++)
		if (!files[i].plain || !expand_file(source, &files[i]))
			*add_message(source, "", "", "") = files[i];
}

static int by_mailbox(const void *a, const void *b)
{
	const struct import_message *x = a, *y = b;
	int order = strcmp(x->mailbox, y->mailbox);

	if (order == 0 && x->date != y->date)
		order = x->date < y->date ? -1 : 1;
	if (order == 0)
		order = strcmp(x->name, y->name);
	return order ? order : x->start < y->start ? -1 : x->start > y->start;
}

int import_scan(struct import_source *source)
{
	const char *mailbox = source->all_into ? source->all_into : "INBOX";
	struct stat st;

	source->fd = -1;
	if (stat(source->path, &st) < 0)
		return ps_fail_errno("%s", source->path);
	source->is_file = S_ISREG(st.st_mode);
	if (source->is_file) {
		int r = scan_file(source, mailbox, st.st_mtime);

		if (r < 0)
			return r;
	} else {
		source->fd = open(source->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (source->fd < 0)
			return ps_fail_errno("%s", source->path);
		scan_folder(source, "", mailbox, true, 0);
	}
	expand(source);
	if (source->count > 0)
		qsort(source->messages, source->count, sizeof *source->messages, by_mailbox);
	return 0;
}

void import_source_finish(struct import_source *source)
{
	ps_closep(&source->fd);
	source->fd = -1;
}

int import_open(const struct import_source *source, const struct import_message *message, int *ret_fd)
{
	struct ps_buf path = {0};
	struct stat st;
	int fd;

	ps_buf_printf(&path, "%s%s%s", message->folder, *message->folder ? "/" : "", message->name);
	fd = open_beneath(source->fd, ps_buf_cstr(&path), 0);
	ps_buf_finish(&path);
	if (fd < 0)
		return ps_fail_errno("opening it");
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return ps_fail(PS_E_INVALID, "it is no file any more");
	}
	*ret_fd = fd;
	return 0;
}
