/* SPDX-License-Identifier: MIT */
/*
 * Forbidden acts, each tried from inside each role and refused, and before that tried unconfined and done, so that a
 * refusal is the confinement's. A role that is killed for the attempt was refused too.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <iconv.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include "core/config/config.h"
#include "core/process/confine.h"
#include "core/process/landlock.h"
#include "core/process/messages.h"
#include "core/process/plugins.h"
#include "tests/unit.h"

enum {
	DONE = 10,
	REFUSED = 20,
	FAILED = 30
};

/* What the acts act on; made before confinement. */
static struct {
	char dir[64], mail[80], spool[80], outside[80], empty[80], file[96], secret[96], link[96];
	int listener; /* a TCP socket that somebody could connect to */
	struct sockaddr_in address;
	int unix_listener;
	struct sockaddr_un unix_address;
	int *word; /* in shared memory, to be changed from afar */
} world;

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void make_sockets(void)
{
	socklen_t len = sizeof world.address;

	world.listener = socket(AF_INET, SOCK_STREAM, 0);
	world.address = (struct sockaddr_in){.sin_family = AF_INET};
	world.address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ck_assert_int_eq(bind(world.listener, (struct sockaddr *)&world.address, len), 0);
	ck_assert_int_eq(listen(world.listener, 8), 0);
	getsockname(world.listener, (struct sockaddr *)&world.address, &len);
	world.unix_listener = socket(AF_UNIX, SOCK_STREAM, 0);
	world.unix_address.sun_family = AF_UNIX;
	snprintf(world.unix_address.sun_path, sizeof world.unix_address.sun_path, "%s/socket", world.mail);
	ck_assert_int_eq(bind(world.unix_listener, (struct sockaddr *)&world.unix_address, sizeof world.unix_address),
			 0);
	ck_assert_int_eq(listen(world.unix_listener, 8), 0);
	chmod(world.unix_address.sun_path, 0777);
}

/* Everything in it may be used by anybody, so that a refusal is not for lack of plain permissions. */
static void make_world(void)
{
	umask(0);
	strcpy(world.dir, "/tmp/postern-confine-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(world.dir));
	chmod(world.dir, 0777);
	snprintf(world.mail, sizeof world.mail, "%s/mail", world.dir);
	snprintf(world.spool, sizeof world.spool, "%s/spool", world.dir);
	snprintf(world.outside, sizeof world.outside, "%s/outside", world.dir);
	snprintf(world.empty, sizeof world.empty, "%s/empty", world.dir);
	snprintf(world.file, sizeof world.file, "%s/message", world.mail);
	snprintf(world.secret, sizeof world.secret, "%s/secret", world.outside);
	snprintf(world.link, sizeof world.link, "%s/link", world.mail);
	ck_assert_int_eq(mkdir(world.mail, 0777), 0);
	ck_assert_int_eq(mkdir(world.spool, 0777), 0);
	ck_assert_int_eq(mkdir(world.outside, 0777), 0);
	ck_assert_int_eq(mkdir(world.empty, 0755), 0);
	put(world.file, "Subject: x\r\n\r\n");
	put(world.secret, "secret");
	ck_assert_int_eq(symlink(world.secret, world.link), 0);
	make_sockets();
	world.word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
}

static void drop_world(void)
{
	close(world.listener);
	close(world.unix_listener);
	unit_remove(world.dir);
}

/* ---- the acts: 0 where it was done, -1 where it was refused ------------------------------------------- */

static int done_if(bool done)
{
	return done ? 0 : -1;
}

static int open_path(const char *path, int flags)
{
	int fd = open(path, flags, 0666);

	if (fd >= 0)
		close(fd);
	return done_if(fd >= 0);
}

static int act_read_passwd(void)
{
	return open_path("/etc/passwd", O_RDONLY);
}

static int act_read_mail(void)
{
	return open_path(world.file, O_RDONLY);
}

static int act_read_outside(void)
{
	return open_path(world.secret, O_RDONLY);
}

static int act_write_outside(void)
{
	return open_path(world.secret, O_WRONLY);
}

static int act_create_outside(void)
{
	char path[128];

	snprintf(path, sizeof path, "%s/new", world.outside);
	return open_path(path, O_WRONLY | O_CREAT);
}

static int act_create_mail(void)
{
	char path[128];

	snprintf(path, sizeof path, "%s/new", world.mail);
	return open_path(path, O_WRONLY | O_CREAT);
}

static int act_create_spool(void)
{
	char path[128];

	snprintf(path, sizeof path, "%s/new", world.spool);
	return open_path(path, O_WRONLY | O_CREAT);
}

static int act_follow_symlink(void)
{
	return open_path(world.link, O_RDONLY);
}

static int act_climb_out(void)
{
	char path[160];

	snprintf(path, sizeof path, "%s/../outside/secret", world.mail);
	return open_path(path, O_RDONLY);
}

static int act_list_root(void)
{
	return open_path("/", O_RDONLY | O_DIRECTORY);
}

static int act_open_proc(void)
{
	return open_path("/proc/self/mem", O_RDWR);
}

static int act_open_dev(void)
{
	return open_path("/dev/null", O_RDWR);
}

static int act_rename_out(void)
{
	char from[128], to[128];

	snprintf(from, sizeof from, "%s/moved", world.mail);
	snprintf(to, sizeof to, "%s/moved", world.outside);
	put(from, "x");
	return rename(from, to);
}

static int act_link_in(void)
{
	char to[128];

	snprintf(to, sizeof to, "%s/linked", world.mail);
	return link(world.secret, to);
}

static int act_symlink(void)
{
	char to[128];

	snprintf(to, sizeof to, "%s/newlink", world.mail);
	return symlink("/etc/passwd", to);
}

static int act_mknod_device(void)
{
	char path[128];

	snprintf(path, sizeof path, "%s/device", world.mail);
	return mknod(path, S_IFCHR | 0666, 0x103);
}

static int act_mknod_fifo(void)
{
	char path[128];

	snprintf(path, sizeof path, "%s/fifo", world.mail);
	return mknod(path, S_IFIFO | 0666, 0);
}

static int act_chmod_outside(void)
{
	return chmod(world.secret, 04777);
}

static int act_touch_outside(void)
{
	return utimensat(AT_FDCWD, world.secret, NULL, 0);
}

static int act_remove_outside(void)
{
	return unlink(world.secret);
}

static int act_tcp_connect(void)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	return done_if(fd >= 0 && connect(fd, (struct sockaddr *)&world.address, sizeof world.address) == 0);
}

static int act_tcp_bind(void)
{
	struct sockaddr_in any = {.sin_family = AF_INET};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	return done_if(fd >= 0 && bind(fd, (struct sockaddr *)&any, sizeof any) == 0 && listen(fd, 1) == 0);
}

static int act_tcp6_socket(void)
{
	return done_if(socket(AF_INET6, SOCK_STREAM, 0) >= 0);
}

static int act_udp_send(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	return done_if(fd >= 0 && sendto(fd, "x", 1, 0, (struct sockaddr *)&world.address, sizeof world.address) == 1);
}

static int act_raw_socket(void)
{
	return done_if(socket(AF_INET, SOCK_RAW, IPPROTO_ICMP) >= 0);
}

static int act_netlink(void)
{
	return done_if(socket(AF_NETLINK, SOCK_RAW, 0) >= 0);
}

static int act_unix_connect(void)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	return done_if(fd >= 0 && connect(fd, (struct sockaddr *)&world.unix_address, sizeof world.unix_address) == 0);
}

static int wait_for_child(pid_t pid)
{
	int status;

	return pid < 0 || waitpid(pid, &status, 0) != pid ? -1 : WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

static int act_exec(void)
{
	/* Were it done, the program would end with 10 as DONE does. */
	execl("/bin/sh", "sh", "-c", "exit 10", (char *)NULL);
	return -1;
}

static int act_fork(void)
{
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	return wait_for_child(pid);
}

static int act_fork_exec(void)
{
	pid_t pid = vfork();

	if (pid == 0) {
		execl("/bin/true", "true", (char *)NULL);
		_exit(1);
	}
	return wait_for_child(pid);
}

static int act_memfd_exec(void)
{
	static char script[] = "#!/bin/sh\nexit 10\n";
	int fd = (int)syscall(SYS_memfd_create, "x", 0);

	if (fd < 0 || write(fd, script, sizeof script - 1) < 0)
		return -1;
	syscall(SYS_execveat, fd, "", (char *[]){script, NULL}, (char *[]){NULL}, AT_EMPTY_PATH);
	return -1;
}

static int act_kill_parent(void)
{
	return kill(getppid(), SIGCONT);
}

static int act_kill_all(void)
{
	return kill(-1, 0);
}

static int act_tgkill_parent(void)
{
	return (int)syscall(SYS_tgkill, getppid(), getppid(), SIGCONT);
}

static int act_pidfd(void)
{
	return done_if(syscall(SYS_pidfd_open, getppid(), 0) >= 0);
}

static int act_owner_signal(void)
{
	int fds[2];

	return done_if(socketpair(AF_UNIX, SOCK_STREAM, 0, fds) == 0 && fcntl(fds[0], F_SETOWN, getppid()) == 0);
}

static int act_ptrace(void)
{
	return ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0 ? 0 : -1;
}

static int act_vm_read(void)
{
	int here;
	struct iovec local = {&here, sizeof here}, remote = {world.word, sizeof here};

	return done_if(process_vm_readv(getppid(), &local, 1, &remote, 1, 0) == (ssize_t)sizeof here);
}

static int act_mount(void)
{
	return mount("none", world.outside, "tmpfs", 0, NULL);
}

static int act_chroot(void)
{
	return chroot("/");
}

static int act_setuid(void)
{
	return (int)syscall(SYS_setresuid, 12345, 12345, 12345);
}

static int act_setgid(void)
{
	return (int)syscall(SYS_setresgid, 12345, 12345, 12345);
}

static int act_unshare(void)
{
	return unshare(CLONE_NEWUSER);
}

static int act_keyctl(void)
{
	return done_if(syscall(SYS_keyctl, 0, -4, 1) >= 0); /* this thread's keyring, made if absent */
}

static int act_bpf(void)
{
	union bpf_attr attr = {.map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4, .max_entries = 1};

	return done_if(syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof attr) >= 0);
}

static int act_perf(void)
{
	struct perf_event_attr attr = {.type = PERF_TYPE_SOFTWARE,
				       .size = sizeof attr,
				       .config = PERF_COUNT_SW_CPU_CLOCK,
				       .exclude_kernel = 1};

	return done_if(syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0) >= 0);
}

static int act_io_uring(void)
{
	char params[120] = {0};

	return done_if(syscall(SYS_io_uring_setup, 4, params) >= 0);
}

static int act_userfaultfd(void)
{
	return done_if(syscall(SYS_userfaultfd, 1 /* UFFD_USER_MODE_ONLY */) >= 0);
}

static int act_map_code(void)
{
	void *code = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return done_if(code != MAP_FAILED);
}

static int act_make_code(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return mprotect(page, 4096, PROT_READ | PROT_EXEC);
}

static int act_limits(void)
{
	struct rlimit limit;

	getrlimit(RLIMIT_NOFILE, &limit);
	return setrlimit(RLIMIT_NOFILE, &limit);
}

static int act_dumpable(void)
{
	return (int)syscall(SYS_prctl, 4 /* PR_SET_DUMPABLE */, 1, 0, 0, 0);
}

static int act_hostname(void)
{
	char name[256];

	gethostname(name, sizeof name);
	return sethostname(name, strlen(name));
}

#define ALL    (PS_ROLE_FRONT | PS_ROLE_AUTH | PS_ROLE_MAIL | PS_ROLE_RELAY | PS_ROLE_USERDB)
#define NOMAIL (PS_ROLE_FRONT | PS_ROLE_AUTH | PS_ROLE_RELAY)

/* `unconfined` says whether the act can be done without confinement: always, only by root, or not to be relied on (it
 * depends on how this machine's kernel was built). */
enum unconfined {
	ALWAYS,
	ROOT,
	PERHAPS
};

static const struct {
	const char *name;
	int (*act)(void);
	uint32_t roles;
	enum unconfined unconfined;
} acts[] = {
	{"read /etc/passwd", act_read_passwd, ALL & ~PS_ROLE_USERDB, ALWAYS},
	{"read a message", act_read_mail, NOMAIL | PS_ROLE_USERDB, ALWAYS},
	{"read outside the mail root", act_read_outside, ALL, ALWAYS},
	{"write outside the mail root", act_write_outside, ALL, ALWAYS},
	{"create outside the mail root", act_create_outside, ALL, ALWAYS},
	{"follow a symbolic link out", act_follow_symlink, ALL, ALWAYS},
	{"climb out with ..", act_climb_out, ALL, ALWAYS},
	{"list /", act_list_root, ALL, ALWAYS},
	{"open its own memory", act_open_proc, ALL, ALWAYS},
	{"open a device", act_open_dev, ALL, ALWAYS},
	{"create a mailbox's file", act_create_mail, NOMAIL | PS_ROLE_USERDB, ALWAYS},
	{"create a file in the spool", act_create_spool, ALL & ~PS_ROLE_RELAY, ALWAYS},
	{"rename a message out", act_rename_out, PS_ROLE_MAIL, ALWAYS},
	{"link an outside file in", act_link_in, ALL, ALWAYS},
	{"make a symbolic link", act_symlink, ALL, ALWAYS},
	{"make a device", act_mknod_device, ALL, ROOT},
	{"make a fifo", act_mknod_fifo, ALL, ALWAYS},
	{"change a mode outside", act_chmod_outside, ALL, ALWAYS},
	{"change a time outside", act_touch_outside, ALL, ALWAYS},
	{"remove outside the mail root", act_remove_outside, ALL, ALWAYS},
	{"connect by TCP", act_tcp_connect, ALL & ~(PS_ROLE_RELAY | PS_ROLE_USERDB), ALWAYS},
	{"listen on TCP", act_tcp_bind, ALL, ALWAYS},
	{"an IPv6 socket", act_tcp6_socket, ALL & ~(PS_ROLE_RELAY | PS_ROLE_USERDB), PERHAPS},
	{"send by UDP", act_udp_send, ALL & ~(PS_ROLE_RELAY | PS_ROLE_USERDB), ALWAYS},
	{"a raw socket", act_raw_socket, ALL, PERHAPS},
	{"a netlink socket", act_netlink, ALL & ~PS_ROLE_USERDB, ALWAYS},
	{"connect to a local socket", act_unix_connect, ALL & ~PS_ROLE_USERDB, ALWAYS},
	{"exec", act_exec, ALL, ALWAYS},
	{"fork", act_fork, ALL, ALWAYS},
	{"vfork and exec", act_fork_exec, ALL, ALWAYS},
	{"exec from memory", act_memfd_exec, ALL, ALWAYS},
	{"signal its parent", act_kill_parent, ALL, ALWAYS},
	{"signal everybody", act_kill_all, ALL, PERHAPS},
	{"signal a thread of its parent", act_tgkill_parent, ALL, ALWAYS},
	{"a pidfd of its parent", act_pidfd, ALL, ALWAYS},
	{"aim SIGIO at its parent", act_owner_signal, ALL, ALWAYS},
	{"ptrace", act_ptrace, ALL, ALWAYS},
	{"read its parent's memory", act_vm_read, ALL, PERHAPS},
	{"mount", act_mount, ALL, PERHAPS},
	{"chroot", act_chroot, ALL, ROOT},
	{"change its uid", act_setuid, ALL, ROOT},
	{"change its gid", act_setgid, ALL, ROOT},
	{"a user namespace", act_unshare, ALL, PERHAPS},
	{"the kernel's keyring", act_keyctl, ALL, PERHAPS},
	{"bpf", act_bpf, ALL, PERHAPS},
	{"perf events", act_perf, ALL, PERHAPS},
	{"io_uring", act_io_uring, ALL, PERHAPS},
	{"userfaultfd", act_userfaultfd, ALL, PERHAPS},
	{"memory that is both", act_map_code, NOMAIL, ALWAYS},
	{"memory turned into code", act_make_code, NOMAIL, ALWAYS},
	{"change its limits", act_limits, ALL, ALWAYS},
	{"be dumpable again", act_dumpable, ALL, ALWAYS},
	{"the host's name", act_hostname, ALL, PERHAPS},
};

/* What a role needs after it was confined: a filter that refuses all would pass the test above. */

static void *thread_body(void *arg)
{
	return arg;
}

static int need_thread(void)
{
	pthread_t thread;
	void *back;

	return done_if(pthread_create(&thread, NULL, thread_body, &world) == 0 && pthread_join(thread, &back) == 0 &&
		       back == &world);
}

static int need_socketpair(void)
{
	int fds[2];

	return done_if(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) == 0);
}

static int need_accept(void)
{
	int fd = accept4(world.listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	return done_if(fd >= 0);
}

static int need_abort(void)
{
	signal(SIGABRT, SIG_IGN);
	return raise(SIGABRT);
}

static int need_deliver(void)
{
	char tmp[128], cur[160], second[160], dir[128];
	int fd;

	snprintf(dir, sizeof dir, "%s/cur", world.mail);
	snprintf(tmp, sizeof tmp, "%s/new-message", world.mail);
	snprintf(cur, sizeof cur, "%s/message", dir);
	snprintf(second, sizeof second, "%s/second", dir);
	if (mkdir(dir, 0700) < 0 || (fd = open(tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600)) < 0)
		return -1;
	if (write(fd, "x", 1) != 1 || fdatasync(fd) < 0 || ftruncate(fd, 0) < 0 || close(fd) < 0)
		return -1;
	return rename(tmp, cur) < 0 || link(cur, second) < 0 || unlink(second) < 0 ? -1 : 0;
}

/* As core/delivery/spool.c does. */
static int need_spool(void)
{
	int fd = open(world.spool, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	return done_if(fd >= 0 && write(fd, "x", 1) == 1 && fdatasync(fd) == 0);
}

/* As LMDB does, and the queue. */
static int need_lock(void)
{
	char path[128];
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	int fd;

	snprintf(path, sizeof path, "%s/lock", world.spool);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	if (fd < 0) { /* mail */
		snprintf(path, sizeof path, "%s/lock", world.mail);
		fd = open(path, O_RDWR | O_CREAT, 0600);
	}
	return done_if(fd >= 0 && fcntl(fd, F_SETLK, &lock) == 0 &&
		       mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) != MAP_FAILED);
}

static int need_iconv(void)
{
	iconv_t converter = iconv_open("UTF-8", "ISO-2022-JP");

	return done_if(converter != (iconv_t)-1);
}

static const struct {
	const char *name;
	int (*act)(void);
	uint32_t roles;
} needs[] = {
	{"start a thread", need_thread, ALL},
	{"abort", need_abort, ALL},
	{"a socketpair", need_socketpair, PS_ROLE_FRONT},
	{"accept", need_accept, PS_ROLE_FRONT},
	{"read a message", act_read_mail, PS_ROLE_MAIL},
	{"deliver a message", need_deliver, PS_ROLE_MAIL},
	{"load a charset converter", need_iconv, PS_ROLE_MAIL},
	{"open a file in the spool", need_spool, PS_ROLE_RELAY},
	{"connect to another server", act_tcp_connect, PS_ROLE_RELAY},
	{"ask DNS", act_udp_send, PS_ROLE_RELAY},
	{"lock a file", need_lock, PS_ROLE_RELAY | PS_ROLE_MAIL},
};

/* ---- trying ----------------------------------------------------------------------------------------- */

static const uint32_t roles[] = {PS_ROLE_FRONT, PS_ROLE_AUTH, PS_ROLE_MAIL, PS_ROLE_RELAY, PS_ROLE_USERDB};

static void confine(uint32_t role, bool privileged)
{
	struct ps_confine_args args = {.role = role, .empty = world.empty, .privileged = privileged};
	const struct ps_plugin *plugin;
	struct ps_config *config;
	char text[512];

	snprintf(
		text, sizeof text,
		"mail_root = \"%s\"\nspool_dir = \"%s\"\nuser_net = \"nobody\"\nuser_auth = \"nobody\"\n"
		"user_mail = \"nobody\"\nuser_relay = \"nobody\"\nuserdb a { driver = \"static\" user = \"nobody\" }\n",
		world.mail, world.spool);
	if (ps_plugin_load(STATIC_PLUGIN, &plugin) < 0 || ps_config_read("test", ps_bytes_str(text), NULL, &config) < 0)
		_exit(FAILED);
	args.conf = ps_config_root(config);
	if (ps_confine(&args) < 0) {
		fprintf(stderr, "%s\n", ps_last_error());
		_exit(FAILED);
	}
}

/* role 0: unconfined. */
static int try(int (*act)(void), uint32_t role, bool privileged)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (role)
			confine(role, privileged);
		_exit(act() == 0 ? DONE : REFUSED);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		return WTERMSIG(status) == SIGSYS ? REFUSED : FAILED;
	return WEXITSTATUS(status);
}

static void check_act(size_t i, uint32_t role, bool privileged)
{
	int r;

	make_world();
	r = try(acts[i].act, role, privileged);
	ck_assert_msg(r == REFUSED, "%s could %s%s (%d)", ps_role_name(role), acts[i].name,
		      privileged ? ", started as root" : "", r);
	drop_world();
}

START_TEST(a_forbidden_act_is_refused_to_each_role)
{
	bool is_root = geteuid() == 0;

	if (acts[_i].unconfined == ALWAYS || (acts[_i].unconfined == ROOT && is_root)) {
		make_world();
		ck_assert_msg(try(acts[_i].act, 0, false) == DONE, "%s: not possible even unconfined: %s",
			      acts[_i].name, strerror(errno));
		drop_world();
	}
	for (size_t r = 0; r < PS_ARRAY_LEN(roles); r++) {
		if (!(acts[_i].roles & roles[r]))
			continue;
		check_act((size_t)_i, roles[r], false);
		if (is_root)
			check_act((size_t)_i, roles[r], true);
	}
}
END_TEST

START_TEST(what_a_role_needs_it_can_do)
{
	for (size_t r = 0; r < PS_ARRAY_LEN(roles); r++) {
		for (int privileged = 0; privileged <= (geteuid() == 0); privileged++) {
			int client = socket(AF_INET, SOCK_STREAM, 0);

			if (!(needs[_i].roles & roles[r]))
				continue;
			make_world();
			ck_assert_int_eq(connect(client, (struct sockaddr *)&world.address, sizeof world.address), 0);
			ck_assert_msg(try(needs[_i].act, roles[r], privileged) == DONE, "%s cannot %s",
				      ps_role_name(roles[r]), needs[_i].name);
			close(client);
			drop_world();
		}
	}
}
END_TEST

/* docs/security.md tells who may do what; this is what makes it true. */
START_TEST(the_manual_tells_the_table)
{
	static char page[65536];
	const char *srcdir = getenv("srcdir");
	struct ps_buf table = {0};
	char path[4096];
	FILE *file;

	snprintf(path, sizeof path, "%s/docs/security.md", srcdir ? srcdir : ".");
	file = fopen(path, "r");
	ck_assert_msg(file != NULL, "%s cannot be read", path);
	page[fread(page, 1, sizeof page - 1, file)] = '\0';
	fclose(file);
	ps_confine_describe(&table);
	ck_assert_msg(strstr(page, ps_buf_cstr(&table)) != NULL, "%s should say:\n%s", path, ps_buf_cstr(&table));
	ps_buf_finish(&table);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("confine");
	TCase *tc = tcase_create("confine");

	tcase_add_loop_test(tc, a_forbidden_act_is_refused_to_each_role, 0, PS_ARRAY_LEN(acts));
	tcase_add_loop_test(tc, what_a_role_needs_it_can_do, 0, PS_ARRAY_LEN(needs));
	tcase_add_test(tc, the_manual_tells_the_table);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
