/* SPDX-License-Identifier: MIT */
/* Forbidden acts, one function each, and the table of them. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <iconv.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <net/ethernet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timex.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "core/process/messages.h"
#include "tests/process/acts.h"
#include "tests/unit.h"

struct world world;

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
void make_world(void)
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

void drop_world(void)
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

static int act_read_shadow(void)
{
	return open_path("/etc/shadow", O_RDONLY);
}

static int act_read_environment(void)
{
	return open_path("/proc/1/environ", O_RDONLY);
}

static int act_set_kernel(void)
{
	return open_path("/proc/sys/kernel/hostname", O_WRONLY);
}

/* The way out of a changed root directory that its name does not bar. */
/* The current directory, however deep it lies, stays outside the new root. */
static int act_escape(void)
{
	char path[128];

	snprintf(path, sizeof path, "%s/way", world.mail);
	if (mkdir(path, 0755) < 0 || chroot(path) < 0)
		return -1;
	for (int i = 0; i < 64; i++)
		if (chdir("..") < 0)
			return -1;
	return open_path("etc/passwd", O_RDONLY);
}

static int act_packet_socket(void)
{
	return done_if(socket(AF_PACKET, SOCK_RAW, htons(ETH_P_ALL)) >= 0);
}

static int act_clone_namespace(void)
{
	pid_t pid = (pid_t)syscall(SYS_clone, CLONE_NEWUSER | SIGCHLD, NULL, NULL, NULL, NULL);

	if (pid == 0)
		_exit(0);
	return wait_for_child(pid);
}

static int act_setns(void)
{
	return (int)syscall(SYS_setns, world.listener, CLONE_NEWNET);
}

static int act_type_ahead(void)
{
	return ioctl(STDIN_FILENO, TIOCSTI, "x");
}

static int act_personality(void)
{
	return personality(ADDR_NO_RANDOMIZE) < 0 ? -1 : 0;
}

static int act_set_clock(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return clock_settime(CLOCK_REALTIME, &now);
}

static int act_adjust_clock(void)
{
	struct timex nothing = {.modes = ADJ_TICK, .tick = 10000};

	return done_if(syscall(SYS_adjtimex, &nothing) >= 0);
}

/* The wrong magic numbers: where the filter lets it through, it is refused all the same. */
static int act_reboot(void)
{
	return (int)syscall(SYS_reboot, 0, 0, 0, NULL);
}

static int act_load_module(void)
{
	return (int)syscall(SYS_finit_module, world.listener, "", 0);
}

static int act_remove_module(void)
{
	return (int)syscall(SYS_delete_module, "postern_none", 0);
}

static int act_kexec(void)
{
	return (int)syscall(SYS_kexec_load, 0, 0, NULL, ~0ul);
}

static int act_read_kernel_log(void)
{
	char text[16];

	return (int)syscall(SYS_syslog, 3, text, sizeof text);
}

static int act_swap(void)
{
	return (int)syscall(SYS_swapoff, world.file);
}

static int act_move_roots(void)
{
	return (int)syscall(SYS_pivot_root, world.outside, world.outside);
}

static int act_vm_write(void)
{
	int one = 1;
	struct iovec local = {&one, sizeof one}, remote = {world.word, sizeof one};

	return done_if(process_vm_writev(getppid(), &local, 1, &remote, 1, 0) == (ssize_t)sizeof one);
}

static int act_capabilities(void)
{
	unsigned header[2] = {0x20080522, 0}, data[6] = {~0u, ~0u, 0, ~0u, ~0u, 0};

	return (int)syscall(SYS_capset, header, data);
}

static int act_groups(void)
{
	const gid_t group = 12345;

	return setgroups(1, &group);
}

static int act_write_code(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return mprotect(page, 4096, PROT_READ | PROT_WRITE | PROT_EXEC);
}

static int act_priority(void)
{
	return setpriority(PRIO_PROCESS, 0, 1);
}

static int act_hostname(void)
{
	char name[256];

	gethostname(name, sizeof name);
	return sethostname(name, strlen(name));
}

#define ALL    (PS_ROLE_FRONT | PS_ROLE_AUTH | PS_ROLE_MAIL | PS_ROLE_RELAY | PS_ROLE_USERDB)
#define NOMAIL (PS_ROLE_FRONT | PS_ROLE_AUTH | PS_ROLE_RELAY)

const struct act acts[] = {
	{"read /etc/passwd", act_read_passwd, ALL & ~PS_ROLE_USERDB, ALWAYS, FILE_},
	{"read a message", act_read_mail, NOMAIL | PS_ROLE_USERDB, ALWAYS, FILE_},
	{"read outside the mail root", act_read_outside, ALL, ALWAYS, FILE_},
	{"write outside the mail root", act_write_outside, ALL, ALWAYS, FILE_},
	{"create outside the mail root", act_create_outside, ALL, ALWAYS, FILE_},
	{"follow a symbolic link out", act_follow_symlink, ALL, ALWAYS, FILE_},
	{"climb out with ..", act_climb_out, ALL, ALWAYS, FILE_},
	{"list /", act_list_root, ALL, ALWAYS, FILE_},
	{"open its own memory", act_open_proc, ALL, ALWAYS, FILE_},
	{"open a device", act_open_dev, ALL, ALWAYS, FILE_},
	{"create a mailbox's file", act_create_mail, NOMAIL | PS_ROLE_USERDB, ALWAYS, FILE_},
	{"create a file in the spool", act_create_spool, ALL & ~PS_ROLE_RELAY, ALWAYS, FILE_},
	{"rename a message out", act_rename_out, PS_ROLE_MAIL, ALWAYS, FILE_},
	{"link an outside file in", act_link_in, ALL, ALWAYS, FILE_},
	{"make a symbolic link", act_symlink, ALL, ALWAYS, CALL},
	{"make a device", act_mknod_device, ALL, ROOT, CALL},
	{"make a fifo", act_mknod_fifo, ALL, ALWAYS, CALL},
	{"change a mode outside", act_chmod_outside, ALL, ALWAYS, CALL},
	{"change a time outside", act_touch_outside, ALL, ALWAYS, CALL},
	{"remove outside the mail root", act_remove_outside, ALL, ALWAYS, FILE_},
	{"connect by TCP", act_tcp_connect, ALL & ~(PS_ROLE_RELAY | PS_ROLE_USERDB), ALWAYS, CALL},
	{"listen on TCP", act_tcp_bind, ALL, ALWAYS, CALL},
	{"an IPv6 socket", act_tcp6_socket, ALL & ~(PS_ROLE_RELAY | PS_ROLE_USERDB), PERHAPS, CALL},
	{"send by UDP", act_udp_send, ALL & ~(PS_ROLE_RELAY | PS_ROLE_USERDB), ALWAYS, CALL},
	{"a raw socket", act_raw_socket, ALL, PERHAPS, CALL},
	{"a netlink socket", act_netlink, ALL & ~PS_ROLE_USERDB, ALWAYS, CALL},
	{"connect to a local socket", act_unix_connect, ALL & ~PS_ROLE_USERDB, ALWAYS, CALL},
	{"exec", act_exec, ALL, ALWAYS, DEATH},
	{"fork", act_fork, ALL, ALWAYS, EITHER},
	{"vfork and exec", act_fork_exec, ALL, ALWAYS, DEATH},
	{"exec from memory", act_memfd_exec, ALL, ALWAYS, EITHER},
	{"signal its parent", act_kill_parent, ALL, ALWAYS, DEATH},
	{"signal everybody", act_kill_all, ALL, PERHAPS, DEATH},
	{"signal a thread of its parent", act_tgkill_parent, ALL, ALWAYS, CALL},
	{"a pidfd of its parent", act_pidfd, ALL, ALWAYS, DEATH},
	{"aim SIGIO at its parent", act_owner_signal, ALL, ALWAYS, CALL},
	{"ptrace", act_ptrace, ALL, ALWAYS, DEATH},
	{"read its parent's memory", act_vm_read, ALL, PERHAPS, DEATH},
	{"mount", act_mount, ALL, PERHAPS, DEATH},
	{"chroot", act_chroot, ALL, ROOT, DEATH},
	{"change its uid", act_setuid, ALL, ROOT, DEATH},
	{"change its gid", act_setgid, ALL, ROOT, DEATH},
	{"a user namespace", act_unshare, ALL, PERHAPS, DEATH},
	{"the kernel's keyring", act_keyctl, ALL, PERHAPS, DEATH},
	{"bpf", act_bpf, ALL, PERHAPS, DEATH},
	{"perf events", act_perf, ALL, PERHAPS, DEATH},
	{"io_uring", act_io_uring, ALL, PERHAPS, DEATH},
	{"userfaultfd", act_userfaultfd, ALL, PERHAPS, DEATH},
	{"memory that is both", act_map_code, NOMAIL, ALWAYS, CALL},
	{"memory turned into code", act_make_code, NOMAIL, ALWAYS, CALL},
	{"change its limits", act_limits, ALL, ALWAYS, CALL},
	{"be dumpable again", act_dumpable, ALL, ALWAYS, CALL},
	{"the host's name", act_hostname, ALL, PERHAPS, CALL},
	{"read /etc/shadow", act_read_shadow, ALL, ROOT, FILE_},
	{"read init's environment", act_read_environment, ALL, PERHAPS, FILE_},
	{"set a variable of the kernel", act_set_kernel, ALL, PERHAPS, FILE_},
	{"leave its root directory", act_escape, PS_ROLE_MAIL, ROOT, DEATH},
	{"a packet socket", act_packet_socket, ALL, PERHAPS, CALL},
	{"write its parent's memory", act_vm_write, ALL, PERHAPS, DEATH},
	{"a process in a user namespace", act_clone_namespace, ALL, PERHAPS, CALL},
	{"another's namespace", act_setns, ALL, PERHAPS, DEATH},
	{"another root for all", act_move_roots, ALL, PERHAPS, DEATH},
	{"capabilities again", act_capabilities, ALL, PERHAPS, DEATH},
	{"other groups", act_groups, ALL, ROOT, DEATH},
	{"type into its terminal", act_type_ahead, ALL, PERHAPS, CALL},
	{"another personality", act_personality, ALL, ALWAYS, CALL},
	{"set the clock", act_set_clock, ALL, PERHAPS, CALL},
	{"adjust the clock", act_adjust_clock, ALL, PERHAPS, CALL},
	{"reboot", act_reboot, ALL, PERHAPS, DEATH},
	{"load a module", act_load_module, ALL, PERHAPS, DEATH},
	{"remove a module", act_remove_module, ALL, PERHAPS, DEATH},
	{"another kernel", act_kexec, ALL, PERHAPS, DEATH},
	{"read the kernel's log", act_read_kernel_log, ALL, PERHAPS, CALL},
	{"turn swapping off", act_swap, ALL, PERHAPS, CALL},
	{"memory that is written and run", act_write_code, NOMAIL, ALWAYS, CALL},
	{"its priority", act_priority, ALL, ALWAYS, CALL},
};
const size_t act_count = PS_ARRAY_LEN(acts);

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

const struct need needs[] = {
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
const size_t need_count = PS_ARRAY_LEN(needs);
