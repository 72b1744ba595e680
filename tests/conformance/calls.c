/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <poll.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>
#include "tests/conformance/calls.h"

enum {
	HOLD_MS = 5,
	PAGE = 4096,
	WRITE_PARTS = 64
};

/* Which argument is what, counted from 1; 0: none is. */
/* clang-format off */
static const struct call_row {
	const char *name;
	enum call_kind kind;
	int fd, dir, path, flags, to_dir, to;
	bool needs_room;
} rows[] = {
	{"write",           CALL_WRITE,  .fd = 1, .needs_room = true},
	{"writev",          CALL_WRITE,  .fd = 1, .needs_room = true},
	{"pwrite64",        CALL_WRITE,  .fd = 1, .needs_room = true},
	{"pwritev",         CALL_WRITE,  .fd = 1, .needs_room = true},
	{"pwritev2",        CALL_WRITE,  .fd = 1, .needs_room = true},
	{"sendfile",        CALL_WRITE,  .fd = 1, .needs_room = true},
	{"copy_file_range", CALL_WRITE,  .fd = 3, .needs_room = true},
	{"fsync",           CALL_SYNC,   .fd = 1},
	{"fdatasync",       CALL_SYNC,   .fd = 1},
	{"syncfs",          CALL_SYNC_ALL},
	{"sync",            CALL_SYNC_ALL},
	{"ftruncate",       CALL_SIZE,   .fd = 1},
	{"fallocate",       CALL_SIZE,   .fd = 1, .needs_room = true},
	{"truncate",        CALL_SIZE,   .path = 1},
	{"open",            CALL_CREATE, .path = 1, .flags = 2},
	{"openat",          CALL_CREATE, .dir = 1, .path = 2, .flags = 3},
	{"openat2",         CALL_CREATE, .dir = 1, .path = 2, .flags = 3},
	{"creat",           CALL_CREATE, .path = 1},
	{"mkdir",           CALL_MAKE,   .path = 1, .needs_room = true},
	{"mkdirat",         CALL_MAKE,   .dir = 1, .path = 2, .needs_room = true},
	{"link",            CALL_MAKE,   .path = 1, .to = 2, .needs_room = true},
	{"linkat",          CALL_MAKE,   .dir = 1, .path = 2, .to_dir = 3, .to = 4, .needs_room = true},
	{"symlink",         CALL_MAKE,   .to = 2, .needs_room = true},
	{"symlinkat",       CALL_MAKE,   .to_dir = 2, .to = 3, .needs_room = true},
	{"rename",          CALL_RENAME, .path = 1, .to = 2, .needs_room = true},
	{"renameat",        CALL_RENAME, .dir = 1, .path = 2, .to_dir = 3, .to = 4, .needs_room = true},
	{"renameat2",       CALL_RENAME, .dir = 1, .path = 2, .to_dir = 3, .to = 4, .needs_room = true},
	{"unlink",          CALL_REMOVE, .path = 1},
	{"unlinkat",        CALL_REMOVE, .dir = 1, .path = 2},
	{"rmdir",           CALL_REMOVE, .path = 1},
};
/* clang-format on */

void *calls_shared(size_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	must(memory != MAP_FAILED, "mmap: %s", strerror(errno));
	return memory;
}

/* ---- the process that is watched ----------------------------------------------------------- */

/* The listener, or -1. */
static int ask_to_be_watched(void)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int fd = -1;

	for (size_t i = 0; filter && i < PS_ARRAY_LEN(rows); i++) {
		int nr = seccomp_syscall_resolve_name(rows[i].name);

		if (nr >= 0) /* negative: this architecture has none of that name */
			seccomp_rule_add(filter, SCMP_ACT_NOTIFY, nr, 0);
	}
	if (filter && seccomp_load(filter) == 0)
		fd = seccomp_notify_fd(filter);
	return fd; /* the filter is not released: that would close it */
}

static void send_fd(int sock, int fd)
{
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	char any = 'f';
	struct iovec octet = {.iov_base = &any, .iov_len = 1};
	struct msghdr msg = {
		.msg_iov = &octet, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	struct cmsghdr *head = CMSG_FIRSTHDR(&msg);

	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(head), &fd, sizeof fd);
	sendmsg(sock, &msg, 0);
}

static int receive_fd(int sock)
{
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {{0}};
	char octet;
	struct iovec to = {.iov_base = &octet, .iov_len = 1};
	struct msghdr msg = {
		.msg_iov = &to, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
	struct cmsghdr *head;
	int fd = -1;

	if (recvmsg(sock, &msg, MSG_CMSG_CLOEXEC) == 1 && (head = CMSG_FIRSTHDR(&msg)) != NULL)
		memcpy(&fd, CMSG_DATA(head), sizeof fd);
	return fd;
}

static _Noreturn void be_watched(struct kit *kit, int sock, void (*work)(struct kit *kit, void *arg), void *arg)
{
	int fd = ask_to_be_watched();

	if (fd < 0)
		_exit(EXIT_FAILURE); /* the watcher sees that nothing comes */
	send_fd(sock, fd);
	close(fd);
	close(sock);
	work(kit, arg);
	_exit(EXIT_SUCCESS);
}

/* ---- what a call is about ------------------------------------------------------------------ */

static bool read_memory(pid_t pid, uint64_t address, void *data, size_t len)
{
	struct iovec local = {.iov_base = data, .iov_len = len};
	struct iovec remote = {.iov_base = (void *)(uintptr_t)address, .iov_len = len};

	return process_vm_readv(pid, &local, 1, &remote, 1, 0) == (ssize_t)len;
}

/* Page by page: what lies behind the text may not be there. */
static bool read_text(pid_t pid, uint64_t address, char *text, size_t size)
{
	size_t at = 0;

	while (at < size) {
		size_t n = PAGE - (address + at) % PAGE;

		n = n < size - at ? n : size - at;
		if (!read_memory(pid, address + at, text + at, n))
			return false;
		if (memchr(text + at, '\0', n))
			return true;
		at += n;
	}
	return false;
}

static void path_of_fd(pid_t pid, int fd, char *path, size_t size)
{
	char link[64];
	ssize_t n;

	snprintf(link, sizeof link, "/proc/%d/fd/%d", (int)pid, fd);
	n = readlink(link, path, size - 1);
	path[n > 0 ? n : 0] = '\0';
}

static uint64_t argument(const struct call *call, int number)
{
	return call->args[number - 1];
}

static void path_of_name(const struct call *call, int dir_arg, int path_arg, char path[4096])
{
	char name[2048], dir[2048] = "";

	if (!path_arg || !read_text(call->pid, argument(call, path_arg), name, sizeof name))
		return;
	if (dir_arg && name[0] != '/')
		path_of_fd(call->pid, (int)argument(call, dir_arg), dir, sizeof dir);
	snprintf(path, 4096, "%.2040s%s%.2040s", dir, *dir ? "/" : "", name);
}

static bool may_make(const struct call *call, const struct call_row *row)
{
	struct open_how how;
	uint64_t flags;

	if (!row->flags)
		return true;
	flags = argument(call, row->flags);
	if (strcmp(call->name, "openat2") == 0) {
		if (!read_memory(call->pid, flags, &how, sizeof how))
			return false;
		flags = how.flags;
	}
	return flags & (O_CREAT | O_TRUNC);
}

int call_open_fd(const struct call *call)
{
	char link[64];

	snprintf(link, sizeof link, "/proc/%d/fd/%d", (int)call->pid, call->fd);
	return open(link, O_RDONLY | O_CLOEXEC);
}

uint64_t call_fdinfo(const struct call *call, const char *name, int base)
{
	char path[64], line[256];
	uint64_t value = 0;
	size_t len = strlen(name);
	FILE *file;

	snprintf(path, sizeof path, "/proc/%d/fdinfo/%d", (int)call->pid, call->fd);
	file = fopen(path, "re");
	while (file && fgets(line, sizeof line, file))
		if (strncmp(line, name, len) == 0 && line[len] == ':')
			value = strtoull(line + len + 1, NULL, base);
	if (file)
		fclose(file);
	return value;
}

uint64_t call_offset(const struct call *call)
{
	return strncmp(call->name, "pwrite", 6) == 0 ? call->args[3] : call_fdinfo(call, "pos", 10);
}

/* Where the octets of a write lie in the process: how many of `parts` are there. The first is that of one without an iovec. */
static size_t call_parts(const struct call *call, struct iovec parts[WRITE_PARTS])
{
	size_t count = call->args[2] < WRITE_PARTS ? (size_t)call->args[2] : WRITE_PARTS;

	if (!strstr(call->name, "writev"))
		return 1;
	return read_memory(call->pid, call->args[1], parts, count * sizeof *parts) ? count : 0;
}

uint64_t call_length(const struct call *call)
{
	struct iovec parts[WRITE_PARTS];
	uint64_t length = 0;
	size_t count;

	if (!strstr(call->name, "writev"))
		return strcmp(call->name, "copy_file_range") == 0 ? call->args[4]
		       : strcmp(call->name, "sendfile") == 0      ? call->args[3]
								  : call->args[2];
	count = call_parts(call, parts);
	for (size_t i = 0; i < count; i++)
		length += parts[i].iov_len;
	return length;
}

/* One that goes where there are octets already, or blocks kept for them, takes no room. */
static bool write_needs_room(const struct call *call)
{
	int fd = call_open_fd(call);
	off_t at = (off_t)call_offset(call), end = at + (off_t)call_length(call), hole = -1;
	struct stat st = {0};

	if (fd >= 0 && fstat(fd, &st) == 0)
		hole = lseek(fd, at, SEEK_HOLE);
	if (fd >= 0)
		close(fd);
	return hole < end && (end <= st.st_size || (off_t)st.st_blocks * 512 < end);
}

static bool is_below(const char *path, const char *root)
{
	size_t len = strlen(root);

	return strncmp(path, root, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

static const struct call_row *row_of(int nr)
{
	static int numbers[PS_ARRAY_LEN(rows)];

	for (size_t i = 0; i < PS_ARRAY_LEN(rows); i++) {
		if (!numbers[i])
			numbers[i] = seccomp_syscall_resolve_name(rows[i].name) + 1;
		if (numbers[i] == nr + 1)
			return &rows[i];
	}
	return NULL;
}

/* Whether it is a storage call below the root. */
static bool describe(const struct kit *kit, const struct seccomp_notif *asked, struct call *call)
{
	const struct call_row *row = row_of(asked->data.nr);
	struct stat st;

	if (!row)
		return false;
	*call = (struct call){.pid = (pid_t)asked->pid,
			      .name = row->name,
			      .kind = row->kind,
			      .fd = -1,
			      .needs_room = row->needs_room};
	for (size_t i = 0; i < 6; i++)
		call->args[i] = asked->data.args[i];
	if (row->fd) {
		call->fd = (int)argument(call, row->fd);
		path_of_fd(call->pid, call->fd, call->path, sizeof call->path);
		if (!is_below(call->path, kit->root))
			return false;
		call->needs_room = row->needs_room && (row->kind != CALL_WRITE || write_needs_room(call));
		return true;
	}
	path_of_name(call, row->dir, row->path, call->path);
	path_of_name(call, row->to_dir, row->to, call->to);
	if (row->kind != CALL_CREATE)
		return true;
	if (!may_make(call, row) || !is_below(call->path, kit->root))
		return false;
	call->needs_room = lstat(call->path, &st) < 0;
	return true;
}

/* ---- the watcher --------------------------------------------------------------------------- */

struct watch {
	const struct kit *kit;
	pid_t pid;
	int listener;
	struct seccomp_notif *asked;
	struct seccomp_notif_resp *answer;
	call_fn fn;
	void *arg;
	struct call held; /* with its id, where there is one */
	uint64_t held_id;
	bool holds, killed;
};

static void respond(struct watch *w, uint64_t id, int verdict, ssize_t value)
{
	memset(w->answer, 0, sizeof *w->answer);
	w->answer->id = id;
	w->answer->error = -verdict;
	w->answer->val = value;
	w->answer->flags = verdict == CALL_GO && value == 0 ? SECCOMP_USER_NOTIF_FLAG_CONTINUE : 0;
	seccomp_notify_respond(w->listener, w->answer); /* fails when the process is dead: then nobody waits */
}

/* Octets of a write() or writev(), up to `len`. */
static bool read_octets(const struct call *call, uint8_t *octets, size_t len)
{
	struct iovec parts[WRITE_PARTS] = {{(void *)(uintptr_t)call->args[1], (size_t)call->args[2]}};
	size_t count = call_parts(call, parts);

	for (size_t i = 0; i < count && len > 0; i++) {
		size_t n = parts[i].iov_len < len ? parts[i].iov_len : len;

		if (!read_memory(call->pid, (uint64_t)(uintptr_t)parts[i].iov_base, octets, n))
			return false;
		octets += n;
		len -= n;
	}
	return len == 0;
}

/* Does it in the place of the process, whose file moves on as by its own write; how much was written, 0: it cannot be done so. */
static ssize_t write_half(const struct watch *w, const struct call *call)
{
	size_t half = (size_t)call_length(call) / 2;
	uint8_t *octets = ps_malloc(half);
	int pidfd = (int)syscall(SYS_pidfd_open, w->pid, 0);
	int fd = pidfd < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, pidfd, call->fd, 0);
	ssize_t n = 0;

	if (fd >= 0 && half > 0 && strstr(call->name, "write") && read_octets(call, octets, half))
		n = call->name[0] == 'p' ? pwrite(fd, octets, half, (off_t)call->args[3]) : write(fd, octets, half);
	if (fd >= 0)
		close(fd);
	if (pidfd >= 0)
		close(pidfd);
	free(octets);
	return n > 0 ? n : 0;
}

static void decide(struct watch *w, const struct call *call, uint64_t id)
{
	int verdict = w->fn(w->arg, call);

	if (verdict == CALL_KILL) {
		kill(w->pid, SIGKILL);
		w->killed = true;
	} else if (verdict == CALL_HOLD) {
		w->held = *call;
		w->held.held = true;
		w->held_id = id;
		w->holds = true;
	} else {
		ssize_t written = verdict == CALL_HALF ? write_half(w, call) : 0;

		w->holds = w->holds && id != w->held_id;
		respond(w, id, verdict == CALL_HALF ? CALL_GO : verdict, written);
	}
}

static void take_one(struct watch *w)
{
	struct call call;

	memset(w->asked, 0, sizeof *w->asked);
	if (seccomp_notify_receive(w->listener, w->asked) < 0)
		return;
	if (w->killed)
		return;
	if (describe(w->kit, w->asked, &call))
		decide(w, &call, w->asked->id);
	else
		respond(w, w->asked->id, CALL_GO, 0);
}

static void watch(struct watch *w)
{
	struct pollfd fd = {.fd = w->listener, .events = POLLIN};

	must(seccomp_notify_alloc(&w->asked, &w->answer) == 0, "no memory to watch system calls");
	for (;;) {
		int n = poll(&fd, 1, w->holds ? HOLD_MS : -1);

		if (n < 0 && errno == EINTR)
			continue;
		if (n == 0) {
			struct call held = w->held;

			decide(w, &held, w->held_id);
			continue;
		}
		if (fd.revents & POLLIN)
			take_one(w);
		else
			break; /* nobody is left */
	}
	seccomp_notify_free(w->asked, w->answer);
}

int calls_watch(struct kit *kit, void (*work)(struct kit *kit, void *arg), void *work_arg, call_fn fn, void *fn_arg)
{
	struct watch w = {.kit = kit, .fn = fn, .arg = fn_arg};
	int socks[2], status;

	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks) == 0 && (w.pid = fork()) >= 0, "fork: %s",
	     strerror(errno));
	if (w.pid == 0) {
		close(socks[0]);
		be_watched(kit, socks[1], work, work_arg);
	}
	close(socks[1]);
	w.listener = receive_fd(socks[0]);
	close(socks[0]);
	if (w.listener >= 0) {
		watch(&w);
		close(w.listener);
	}
	must(waitpid(w.pid, &status, 0) == w.pid, "waitpid: %s", strerror(errno));
	must(w.listener >= 0, "the process could not be watched");
	return status;
}

void calls_watch_ok(struct kit *kit, void (*work)(struct kit *kit, void *arg), void *work_arg, call_fn fn, void *fn_arg)
{
	int status = calls_watch(kit, work, work_arg, fn, fn_arg);

	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_FAILURE)
		_exit(EXIT_FAILURE); /* it has told why */
	must(WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS, "the watched process ended with status 0x%x",
	     (unsigned)status);
}

bool calls_possible(void)
{
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(ask_to_be_watched() >= 0 ? EXIT_SUCCESS : EXIT_FAILURE);
	return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == EXIT_SUCCESS;
}
