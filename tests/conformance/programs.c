/* SPDX-License-Identifier: MIT */
/* What other programs do to a store's INBOX by themselves, in the formats that --outside knows. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "tests/conformance/conform.h"

static const char *below(struct kit *kit, const char *name)
{
	return ps_pool_printf(kit->pool, "%s/%s", kit->root, name);
}

/* ---- Maildir: files and their names ---------------------------------------------------------- */

static void put_file(struct kit *kit, const char *name, const char *text)
{
	int fd = open(below(kit, name), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	must(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), "write %s: %s", name, strerror(errno));
	close(fd);
}

static void rename_file(struct kit *kit, const char *from, const char *to)
{
	must(rename(below(kit, from), below(kit, to)) == 0, "rename %s: %s", from, strerror(errno));
}

/* The file in cur with `Subject: n`. */
static const char *file_of(struct kit *kit, unsigned n)
{
	DIR *dir = opendir(below(kit, "cur"));
	struct dirent *entry;
	char text[64], wanted[32];

	snprintf(wanted, sizeof wanted, "Subject: %u", n);
	while (dir && (entry = readdir(dir))) {
		const char *name = ps_pool_printf(kit->pool, "cur/%s", entry->d_name);
		int fd = open(below(kit, name), O_RDONLY | O_CLOEXEC);
		ssize_t len = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;

		if (fd >= 0)
			close(fd);
		text[len > 0 ? len : 0] = '\0';
		if (strncmp(text, wanted, strlen(wanted)) == 0 && strchr("\r\n", text[strlen(wanted)])) {
			closedir(dir);
			return name;
		}
	}
	fail_at(__FILE__, __LINE__, "message %u has no file", n);
}

static void maildir_deliver(struct kit *kit, unsigned n, bool seen)
{
	const char *name = ps_pool_printf(kit->pool, "1700000000.M%uP%ld.else", n, (long)getpid());

	if (seen) {
		put_file(kit, ps_pool_printf(kit->pool, "cur/%s:2,S", name),
			 ps_pool_printf(kit->pool, "Subject: %u\r\n\r\nbody %u\r\n", n, n));
		return;
	}
	put_file(kit, ps_pool_printf(kit->pool, "tmp/%s", name),
		 ps_pool_printf(kit->pool, "Subject: %u\n\nbody %u\n", n, n));
	rename_file(kit, ps_pool_printf(kit->pool, "tmp/%s", name), ps_pool_printf(kit->pool, "new/%s", name));
}

static void maildir_flag(struct kit *kit, unsigned n)
{
	const char *name = file_of(kit, n);

	rename_file(kit, name, ps_pool_printf(kit->pool, "%.*s:2,FS", (int)strcspn(name, ":"), name));
}

static void maildir_remove(struct kit *kit, unsigned n)
{
	must(unlink(below(kit, file_of(kit, n))) == 0, "unlink: %s", strerror(errno));
}

/* ---- mbox: one file, written over in place under both locks ----------------------------------- */

struct mbox_file {
	int fd;
	const char *lock;
	struct ps_buf text;
};

/* Of one that was killed. */
static void drop_dead_lock(const char *lock)
{
	char text[32] = "";
	int fd = open(lock, O_RDONLY | O_CLOEXEC);
	long pid = fd >= 0 && read(fd, text, sizeof text - 1) > 0 ? strtol(text, NULL, 10) : 0;

	if (fd >= 0)
		close(fd);
	if (pid > 0 && kill((pid_t)pid, 0) < 0 && errno == ESRCH)
		unlink(lock);
}

static void mbox_restart(struct kit *kit)
{
	unlink(below(kit, "INBOX.lock"));
}

/* As procmail and mutt do it: the dot lock, then fcntl(). */
static void mbox_open(struct kit *kit, struct mbox_file *file)
{
	struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	struct stat st;
	int dot;

	*file = (struct mbox_file){.lock = below(kit, "INBOX.lock")};
	drop_dead_lock(file->lock);
	while ((dot = open(file->lock, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) < 0)
		must(errno == EEXIST && usleep(1000) == 0, "lock INBOX: %s", strerror(errno));
	close(dot);
	/* Behind the lock: expunging gives the name to another file. */
	file->fd = open(below(kit, "INBOX"), O_RDWR | O_CLOEXEC);
	must(file->fd >= 0 && fcntl(file->fd, F_OFD_SETLKW, &whole) == 0 && fstat(file->fd, &st) == 0, "open INBOX: %s",
	     strerror(errno));
	ps_buf_reserve(&file->text, (size_t)st.st_size + 1);
	must(pread(file->fd, file->text.ptr, (size_t)st.st_size, 0) == st.st_size, "read INBOX: %s", strerror(errno));
	file->text.len = (size_t)st.st_size;
}

static void mbox_close(struct mbox_file *file)
{
	close(file->fd);
	unlink(file->lock);
	ps_buf_finish(&file->text);
}

static void mbox_write(struct mbox_file *file, const struct ps_buf *text)
{
	must(pwrite(file->fd, text->ptr, text->len, 0) == (ssize_t)text->len &&
		     ftruncate(file->fd, (off_t)text->len) == 0,
	     "write INBOX: %s", strerror(errno));
}

static void mbox_deliver(struct kit *kit, unsigned n, bool seen)
{
	struct mbox_file file;
	struct ps_buf more = {0};

	mbox_open(kit, &file);
	if (file.text.len >= 2 && memcmp(file.text.ptr + file.text.len - 2, "\n\n", 2) != 0)
		ps_buf_char(&more, '\n');
	ps_buf_printf(&more, "From else@example.test Tue Nov 14 22:13:20 2023\nSubject: %u\n%s\nbody %u\n\n", n,
		      seen ? "Status: RO\n" : "", n);
	must(pwrite(file.fd, more.ptr, more.len, (off_t)file.text.len) == (ssize_t)more.len, "write INBOX: %s",
	     strerror(errno));
	ps_buf_finish(&more);
	mbox_close(&file);
}

/* The message with `Subject: n`, from its "From " line to the next one's. */
static struct ps_range mbox_message(struct kit *kit, struct mbox_file *file, unsigned n)
{
	const char *text = ps_buf_cstr(&file->text), *begin = text, *next;
	const char *wanted = ps_pool_printf(kit->pool, "\nSubject: %u\n", n), *at = strstr(text, wanted);

	must(at != NULL, "message %u is not in the file", n);
	while ((next = strstr(begin + 1, "\n\nFrom ")) && next + 2 < at)
		begin = next + 2;
	return (struct ps_range){(uint32_t)(begin - text), (uint32_t)(next ? next + 2 - text : (long)file->text.len)};
}

static bool is_status(const char *line)
{
	return strncmp(line, "Status:", 7) == 0 || strncmp(line, "X-Status:", 9) == 0;
}

/* Old fields go, new ones come at the end of the header, as mutt does it. */
static void mbox_flag(struct kit *kit, unsigned n)
{
	struct mbox_file file;
	struct ps_buf text = {0};
	struct ps_range message;
	const char *line, *all;
	bool header = true;

	mbox_open(kit, &file);
	message = mbox_message(kit, &file, n);
	all = ps_buf_cstr(&file.text);
	ps_buf_bytes(&text, ps_bytes(all, message.first));
	for (line = all + message.first; line < all + message.last; line += strcspn(line, "\n") + 1) {
		if (header && *line == '\n') {
			ps_buf_str(&text, "Status: RO\nX-Status: F\n");
			header = false;
		}
		if (!header || !is_status(line))
			ps_buf_bytes(&text, ps_bytes(line, strcspn(line, "\n") + 1));
	}
	ps_buf_bytes(&text, ps_bytes(line, file.text.len - (size_t)(line - all)));
	mbox_write(&file, &text);
	ps_buf_finish(&text);
	mbox_close(&file);
}

static void mbox_remove(struct kit *kit, unsigned n)
{
	struct mbox_file file;
	struct ps_buf text = {0};
	struct ps_range message;

	mbox_open(kit, &file);
	message = mbox_message(kit, &file, n);
	ps_buf_bytes(&text, ps_bytes(file.text.ptr, message.first));
	ps_buf_bytes(&text, ps_bytes(file.text.ptr + message.last, file.text.len - message.last));
	mbox_write(&file, &text);
	ps_buf_finish(&text);
	mbox_close(&file);
}

/* ---- all -------------------------------------------------------------------------------------- */

static const struct program programs[] = {
	{"maildir", maildir_deliver, maildir_flag, maildir_remove},
	{"mbox", mbox_deliver, mbox_flag, mbox_remove, mbox_restart},
};

const struct program *program_of(const char *format)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(programs); i++)
		if (strcmp(programs[i].format, format) == 0)
			return &programs[i];
	return NULL;
}
