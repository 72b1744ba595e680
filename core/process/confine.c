/* SPDX-License-Identifier: MIT */
/*
 * Who may do what. The table `confinements` below is the whole of it: a role's user, its root directory, what it
 * may reach of the file system, and which system calls it has. No role has capabilities, new privileges, TCP bind or signals
 * to others, and but for relay none has TCP connect.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <grp.h>
#include <libgen.h>
#include <linux/capability.h>
#include <pwd.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "config.h"
#include "core/process/confine.h"
#include "core/process/landlock.h"
#include "core/process/messages.h"
#include "core/process/plugins.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/pool.h"

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

/* ---- the table -------------------------------------------------------------------------------------- */

struct path {
	const char *section; /* of the setting; NULL: none */
	const char *setting; /* the path is the value of this setting, */
	const char *pattern; /* or whatever this pattern finds */
	enum ps_landlock_right right;
	bool of_users; /* with a process for each user: only what is theirs of it */
};

struct confinement {
	uint32_t role;
	const char *user_section; /* of the setting; NULL: the root */
	const char *user_setting;
	bool empty_root;
	bool connects; /* to other servers, by TCP; and asks DNS */
	const struct path *paths;
	size_t path_count;
	const char *calls;
	bool of_driver; /* and what the driver of its user database says, of files and of connections */
};

/* Memory, threads, time, and descriptors that it has: what any of them needs (glibc, libuv, GnuTLS). */
#define CALLS_COMMON                                                                                                   \
	"read write readv writev pread64 preadv pwrite64 pwritev close lseek fstat newfstatat "                        \
	"statx dup dup2 dup3 "                                                                                         \
	"pipe2 eventfd2 "                                                                                              \
	"brk munmap mremap madvise "                                                                                   \
	"futex futex_waitv set_robust_list get_robust_list rseq set_tid_address membarrier exit "                      \
	"exit_group "                                                                                                  \
	"sched_yield sched_getaffinity getcpu "                                                                        \
	"rt_sigaction rt_sigprocmask rt_sigreturn sigaltstack restart_syscall "                                        \
	"poll ppoll select pselect6 epoll_create1 epoll_ctl epoll_wait epoll_pwait epoll_pwait2 "                      \
	"getpid gettid getppid getuid geteuid getgid getegid getrlimit getrusage times uname "                         \
	"sysinfo "                                                                                                     \
	"clock_gettime clock_getres clock_nanosleep nanosleep gettimeofday time getrandom "                            \
	"sendmsg recvmsg sendto recvfrom shutdown getsockopt setsockopt getsockname getpeername "

/* Where threads of a sanitizer's own look around. */
#define CALLS_SANITIZER "readlink readlinkat openat access "

static const struct path mail_paths[] = {
	{.setting = "mail_root", .right = PS_LANDLOCK_WRITE, .of_users = true},
	/* iconv() loads its converters when it needs them */
	{.pattern = "/usr/lib/*/gconv", .right = PS_LANDLOCK_READ},
	{.pattern = "/usr/lib*/gconv", .right = PS_LANDLOCK_READ},
	{.pattern = "/etc/localtime", .right = PS_LANDLOCK_READ},
	{.pattern = "/usr/share/zoneinfo", .right = PS_LANDLOCK_READ},
	/* tells a crash of the machine from one of a process */
	{.pattern = "/proc/sys/kernel/random/boot_id", .right = PS_LANDLOCK_READ},
};

static const struct path relay_paths[] = {
	{.setting = "spool_dir", .right = PS_LANDLOCK_WRITE},
	{.pattern = "/etc/resolv.conf", .right = PS_LANDLOCK_READ},
	/* whose certificates are believed, with the places that links there lead to */
	{.section = "relay", .setting = "ca_file", .right = PS_LANDLOCK_READ},
	{.pattern = "/etc/ssl/certs", .right = PS_LANDLOCK_READ},
	{.pattern = "/usr/share/ca-certificates", .right = PS_LANDLOCK_READ},
	{.pattern = "/usr/local/share/ca-certificates", .right = PS_LANDLOCK_READ},
	{.pattern = "/etc/localtime", .right = PS_LANDLOCK_READ},
	{.pattern = "/usr/share/zoneinfo", .right = PS_LANDLOCK_READ},
};

/* What libraries look into: name look-ups and their modules, other machines' certificates. */
static const struct path userdb_paths[] = {
	{.pattern = "/etc/resolv.conf", .right = PS_LANDLOCK_READ},
	{.pattern = "/etc/hosts", .right = PS_LANDLOCK_READ},
	{.pattern = "/etc/host.conf", .right = PS_LANDLOCK_READ},
	{.pattern = "/etc/gai.conf", .right = PS_LANDLOCK_READ},
	{.pattern = "/etc/nsswitch.conf", .right = PS_LANDLOCK_READ},
	{.pattern = "/etc/services", .right = PS_LANDLOCK_READ},
	{.pattern = "/etc/passwd", .right = PS_LANDLOCK_READ},
	{.pattern = "/etc/group", .right = PS_LANDLOCK_READ},
	{.pattern = "/etc/ld.so.cache", .right = PS_LANDLOCK_READ},
	{.pattern = "/lib", .right = PS_LANDLOCK_READ},
	{.pattern = "/usr/lib", .right = PS_LANDLOCK_READ},
	{.pattern = "/etc/ssl", .right = PS_LANDLOCK_READ},
	{.pattern = "/usr/share/ca-certificates", .right = PS_LANDLOCK_READ},
	{.pattern = "/usr/local/share/ca-certificates", .right = PS_LANDLOCK_READ},
	{.pattern = "/etc/localtime", .right = PS_LANDLOCK_READ},
	{.pattern = "/usr/share/zoneinfo", .right = PS_LANDLOCK_READ},
};

/* clang-format off */
static const struct confinement confinements[] = {
	{
		.role = PS_ROLE_FRONT,
		.user_setting = "user_net",
		.empty_root = true,
		.calls = CALLS_COMMON "accept4 accept",
	},
	{
		.role = PS_ROLE_AUTH,
		.user_setting = "user_auth",
		.empty_root = true,
		.calls = CALLS_COMMON,
	},
	{
		.role = PS_ROLE_MAIL,
		.user_setting = "user_mail",
		.paths = mail_paths,
		.path_count = PS_ARRAY_LEN(mail_paths),
		.calls = CALLS_COMMON
			"open openat openat2 access faccessat faccessat2 stat lstat statfs fstatfs getdents64 readlink readlinkat "
			"mkdir mkdirat rename renameat renameat2 link linkat unlink unlinkat rmdir "
			"ftruncate fallocate fsync fdatasync sync_file_range msync flock fadvise64 "
			"copy_file_range sendfile fchmod umask memfd_create "
			"inotify_init1 inotify_add_watch inotify_rm_watch",
	},
	{
		.role = PS_ROLE_RELAY,
		.user_setting = "user_relay",
		.paths = relay_paths,
		.path_count = PS_ARRAY_LEN(relay_paths),
		.connects = true,
		.calls = CALLS_COMMON
			"connect open openat access faccessat faccessat2 stat lstat statfs fstatfs getdents64 readlink readlinkat "
			"mkdir mkdirat rename renameat renameat2 linkat unlink unlinkat ftruncate fallocate fsync fdatasync "
			"msync flock fadvise64 copy_file_range memfd_create",
	},
	{
		.role = PS_ROLE_USERDB,
		.user_section = "userdb",
		.user_setting = "user",
		.paths = userdb_paths,
		.path_count = PS_ARRAY_LEN(userdb_paths),
		.of_driver = true,
		.calls = CALLS_COMMON
			"connect sendmmsg open openat access faccessat faccessat2 stat lstat statfs fstatfs getdents64 readlink readlinkat "
			"ftruncate fallocate fsync fdatasync msync flock fadvise64 unlink rt_sigpending rt_sigtimedwait",
	},
};
/* clang-format on */

/* clang-format off */
/* Calls that depend on an argument. Rules for one call add up: any that matches allows it. */
#define RULE(roles, call, argument, mask, value) {roles, call, argument, mask, value, #mask, #value}
static const struct argument_rule {
	uint32_t roles;
	const char *call;
	unsigned argument;
	uint64_t mask, value; /* allowed where (argument & mask) == value */
	const char *mask_name, *value_name;
} argument_rules[] = {
	RULE(PS_ROLES, "clone", 0, CLONE_THREAD, CLONE_THREAD),
	RULE(PS_ROLE_FRONT | PS_ROLE_AUTH | PS_ROLE_RELAY, "mmap", 2, PROT_EXEC, 0),
	RULE(PS_ROLE_FRONT | PS_ROLE_AUTH | PS_ROLE_RELAY, "mprotect", 2, PROT_EXEC, 0),
	RULE(PS_ROLE_MAIL | PS_ROLE_USERDB, "mmap", 2, 0, 0),
	RULE(PS_ROLE_MAIL | PS_ROLE_USERDB, "mprotect", 2, 0, 0),
	RULE(PS_ROLE_FRONT, "socketpair", 0, ~0ull, AF_UNIX),
	RULE(PS_ROLE_RELAY | PS_ROLE_USERDB, "socket", 0, ~0ull, AF_INET),
	RULE(PS_ROLE_RELAY | PS_ROLE_USERDB, "socket", 0, ~0ull, AF_INET6),
	RULE(PS_ROLE_USERDB, "socket", 0, ~0ull, AF_UNIX),
	RULE(PS_ROLE_USERDB, "socket", 0, ~0ull, AF_NETLINK), /* getaddrinfo() */
	RULE(PS_ROLES, "prctl", 0, ~0ull, PR_SET_NAME),
	RULE(PS_ROLES, "prctl", 0, ~0ull, PR_SET_VMA),
	RULE(PS_ROLES, "prlimit64", 2, ~0ull, 0), /* reading them */
	RULE(PS_ROLES, "ioctl", 1, ~0u, FIONBIO),
	RULE(PS_ROLES, "ioctl", 1, ~0u, FIONREAD),
	RULE(PS_ROLES, "ioctl", 1, ~0u, FIOCLEX),
	/* not F_SETOWN, which aims signals at others */
	RULE(PS_ROLES, "fcntl", 1, ~0u, F_DUPFD),
	RULE(PS_ROLES, "fcntl", 1, ~0u, F_DUPFD_CLOEXEC),
	RULE(PS_ROLES, "fcntl", 1, ~0u, F_GETFD),
	RULE(PS_ROLES, "fcntl", 1, ~0u, F_SETFD),
	RULE(PS_ROLES, "fcntl", 1, ~0u, F_GETFL),
	RULE(PS_ROLES, "fcntl", 1, ~0u, F_SETFL),
	RULE(PS_ROLE_MAIL | PS_ROLE_RELAY | PS_ROLE_USERDB, "fcntl", 1, ~0u, F_GETLK),
	RULE(PS_ROLE_MAIL | PS_ROLE_RELAY | PS_ROLE_USERDB, "fcntl", 1, ~0u, F_SETLK),
	RULE(PS_ROLE_MAIL | PS_ROLE_RELAY | PS_ROLE_USERDB, "fcntl", 1, ~0u, F_SETLKW),
	RULE(PS_ROLE_MAIL, "fcntl", 1, ~0u, F_OFD_GETLK),
	RULE(PS_ROLE_MAIL, "fcntl", 1, ~0u, F_OFD_SETLK),
	RULE(PS_ROLE_MAIL, "fcntl", 1, ~0u, F_OFD_SETLKW),
	RULE(PS_ROLE_MAIL | PS_ROLE_RELAY, "fcntl", 1, ~0u, F_ADD_SEALS),
	/* of an open file; by path it would reach beyond Landlock, which has no say in times and modes */
	RULE(PS_ROLE_MAIL, "utimensat", 1, ~0ull, 0),
};
/* clang-format on */

/* Nothing of ours calls these by mistake: whoever does has taken the process over, and it ends. All other calls that
 * no row allows fail with EPERM. */
static const char deadly[] = "execve execveat fork vfork ptrace process_vm_readv process_vm_writev kill tkill "
			     "rt_sigqueueinfo rt_tgsigqueueinfo pidfd_open pidfd_getfd pidfd_send_signal "
			     "mount umount2 pivot_root chroot setns unshare move_mount open_tree fsopen "
			     "bpf perf_event_open userfaultfd keyctl add_key request_key "
			     "init_module finit_module delete_module kexec_load kexec_file_load reboot "
			     "setuid setgid setreuid setregid setresuid setresgid setgroups capset io_uring_setup";

/* ---- the table in words ----------------------------------------------------------------------------- */

static void describe_files(const struct confinement *confinement, struct ps_buf *out)
{
	for (size_t i = 0; i < confinement->path_count; i++) {
		const struct path *path = &confinement->paths[i];

		ps_buf_printf(out, "%s`%s` (%s%s)", i ? ", " : "", path->setting ? path->setting : path->pattern,
			      path->right == PS_LANDLOCK_WRITE ? "read, write" : "read",
			      path->of_users ? "; with `isolation = per-user` only what is the user's of it" : "");
	}
	if (confinement->of_driver)
		ps_buf_str(out, ", and what its driver says");
	if (confinement->path_count == 0)
		ps_buf_str(out, "none");
}

static void describe_rule(const struct argument_rule *rule, struct ps_buf *out)
{
	if (!rule->mask)
		ps_buf_str(out, "any");
	else if (rule->mask == ~0ull || rule->mask == ~0u)
		ps_buf_str(out, rule->value_name);
	else
		ps_buf_printf(out, "%s%s", rule->value ? "" : "without ", rule->mask_name);
}

/* "fcntl(1: F_GETFD, F_SETFD)" is the call whose argument 1, counted from 0, must be one of them. */
static void describe_arguments(uint32_t role, struct ps_buf *out)
{
	const struct argument_rule *former = NULL;

	for (size_t i = 0; i < PS_ARRAY_LEN(argument_rules); i++) {
		const struct argument_rule *rule = &argument_rules[i];

		if (!(rule->roles & role))
			continue;
		if (former && strcmp(former->call, rule->call) == 0)
			ps_buf_str(out, ", ");
		else
			ps_buf_printf(out, "%s%s(%u: ", former ? ") " : "", rule->call, rule->argument);
		describe_rule(rule, out);
		former = rule;
	}
	ps_buf_str(out, former ? ")" : "none");
}

void ps_confine_describe(struct ps_buf *out)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(confinements); i++) {
		const struct confinement *confinement = &confinements[i];
		const char *own = confinement->calls + strlen(CALLS_COMMON);

		ps_buf_printf(out, "**%s**\n\n", ps_role_name(confinement->role));
		ps_buf_printf(out, "* user, when started as root: that of the setting `%s`%s%s%s\n",
			      confinement->user_setting, confinement->user_section ? " in " : "",
			      confinement->user_section ? confinement->user_section : "",
			      confinement->role == PS_ROLE_MAIL ? ", or the mail's owner with `isolation = per-user`"
								: "");
		ps_buf_printf(out, "* root directory, when started as root: %s\n",
			      confinement->empty_root ? "an empty one" : "not changed");
		ps_buf_str(out, "* capabilities: none; TCP (Landlock): ");
		ps_buf_printf(out, "%s, no bind\n* files (Landlock): ",
			      confinement->of_driver  ? "connect if its driver does"
			      : confinement->connects ? "connect"
						      : "no connect");
		describe_files(confinement, out);
		ps_buf_printf(out, "\n* system calls beside those of all: %s\n", *own ? own : "none");
		ps_buf_str(out, "* calls whose argument decides: ");
		describe_arguments(confinement->role, out);
		ps_buf_str(out, "\n\n");
	}
	ps_buf_printf(out, "System calls of all: %.*s\n\n", (int)strlen(CALLS_COMMON) - 1, CALLS_COMMON);
	ps_buf_printf(out, "Calls after which the process is ended: %s\n\nAll others fail with EPERM.\n", deadly);
}

static const struct confinement *find(uint32_t role)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(confinements); i++)
		if (confinements[i].role == role)
			return &confinements[i];
	return NULL;
}

/* ---- seccomp ---------------------------------------------------------------------------------------- */

/* A call that this machine or this libseccomp does not know cannot be made either. */
static int add_calls(scmp_filter_ctx filter, uint32_t action, const char *names)
{
	PS_CLEANUP(ps_freep) char *copy = ps_strdup(names);
	char *rest = copy, *name;
	int r = 0;

	while (r == 0 && (name = strsep(&rest, " "))) {
		int number = *name ? seccomp_syscall_resolve_name(name) : __NR_SCMP_ERROR;

		if (number >= 0)
			r = seccomp_rule_add(filter, action, number, 0);
	}
	return r;
}

static int add_argument_rules(scmp_filter_ctx filter, uint32_t role)
{
	int r = 0;

	for (size_t i = 0; i < PS_ARRAY_LEN(argument_rules) && r == 0; i++) {
		const struct argument_rule *rule = &argument_rules[i];
		int number = seccomp_syscall_resolve_name(rule->call);

		if (number < 0 || !(rule->roles & role))
			continue;
		r = rule->mask ? seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 1,
						  SCMP_CMP(rule->argument, SCMP_CMP_MASKED_EQ, rule->mask, rule->value))
			       : seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0);
	}
	return r;
}

/* A sanitizer would like to say more before the end; what it may not do fails all the same. */
#ifdef PS_SANITIZER
#define DEADLY_ACTION  SCMP_ACT_ERRNO(EACCES)
#define CALLS_OF_BUILD CALLS_SANITIZER
#else
#define DEADLY_ACTION  SCMP_ACT_KILL_PROCESS
#define CALLS_OF_BUILD ""
#endif

static int fill_filter(scmp_filter_ctx filter, const struct confinement *confinement)
{
	int r;

	if ((r = add_calls(filter, SCMP_ACT_ALLOW, confinement->calls)) < 0 ||
	    (r = add_calls(filter, SCMP_ACT_ALLOW, CALLS_OF_BUILD)) < 0 ||
	    (r = add_calls(filter, DEADLY_ACTION, deadly)) < 0 ||
	    (r = add_argument_rules(filter, confinement->role)) < 0)
		return r;
	/* glibc then starts its threads with clone(), whose flags a filter can see */
	r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	/* abort() and raise() */
	return r < 0 ? r
		     : seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
					SCMP_CMP(0, SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0));
}

static int filter_calls(const struct confinement *confinement)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	int r = filter ? 0 : -ENOMEM;

	if (r == 0 && (r = fill_filter(filter, confinement)) == 0)
		r = seccomp_load(filter);
	seccomp_release(filter);
	if (r < 0)
		return ps_fail(PS_E_UNSUPPORTED, "seccomp: %s", strerror(-r));
	return 0;
}

/* ---- files ------------------------------------------------------------------------------------------ */

static const char *value_of(const struct ps_conf *conf, const struct path *path)
{
	return ps_conf_str(path->section ? ps_conf_section(conf, path->section, 0) : conf, path->setting);
}

static void add_path(struct ps_pool *pool, struct ps_landlock_rule **rules, size_t *count, size_t *cap,
		     const char *path, enum ps_landlock_right right)
{
	if (!path)
		return;
	*rules = ps_pool_grow(pool, *rules, *count, cap, sizeof **rules);
	(*rules)[(*count)++] = (struct ps_landlock_rule){ps_pool_strdup(pool, path), right};
}

static const struct ps_userdb *driver_of(const struct confinement *confinement, const struct ps_conf *conf)
{
	const struct ps_conf *section = confinement->of_driver ? ps_conf_section(conf, "userdb", 0) : NULL;
	const char *driver = section ? ps_conf_str(section, "driver") : NULL;

	return driver ? ps_userdb_find(driver) : NULL;
}

static void add_places(struct ps_pool *pool, struct ps_landlock_rule **rules, size_t *count, size_t *cap,
		       const struct ps_userdb_place *places, const struct ps_conf *section)
{
	for (const struct ps_userdb_place *place = places; place && (place->setting || place->path); place++) {
		const char *path = place->setting ? ps_conf_str(section, place->setting) : place->path;

		if (path && place->folder)
			path = dirname(ps_pool_strdup(pool, path));
		add_path(pool, rules, count, cap, path, place->write ? PS_LANDLOCK_WRITE : PS_LANDLOCK_READ);
	}
}

static int confine_files(const struct confinement *confinement, const struct ps_confine_args *args)
{
	const struct ps_confine_user *user = args->user;
	const struct ps_conf *conf = args->conf;
	const struct ps_userdb *driver = driver_of(confinement, conf);
	PS_CLEANUP(ps_pool_destroyp) struct ps_pool *pool = ps_pool_create("confine");
	struct ps_landlock_rule *rules = NULL;
	size_t count = 0, cap = 0;

	for (size_t i = 0; i < confinement->path_count; i++) {
		const struct path *path = &confinement->paths[i];
		glob_t found = {0};

		if (path->of_users && user) {
			for (size_t j = 0; j < user->root_count; j++)
				add_path(pool, &rules, &count, &cap, user->roots[j], path->right);
		} else if (path->setting) {
			add_path(pool, &rules, &count, &cap, value_of(conf, path), path->right);
		} else if (glob(path->pattern, 0, NULL, &found) == 0) {
			for (size_t j = 0; j < found.gl_pathc; j++)
				add_path(pool, &rules, &count, &cap, found.gl_pathv[j], path->right);
		}
		globfree(&found);
	}
	if (driver)
		add_places(pool, &rules, &count, &cap, driver->places, ps_conf_section(conf, "userdb", 0));
	return ps_landlock_confine(rules, count, confinement->connects || (driver && driver->connects));
}

static int empty_root(const char *empty)
{
	if (chroot(empty) < 0 || chdir("/") < 0)
		return ps_fail_errno("chroot to %s", empty);
	return 0;
}

/* ---- rights ----------------------------------------------------------------------------------------- */

static const char *user_of(const struct confinement *confinement, const struct ps_conf *conf)
{
	const char *section = confinement->user_section;

	return ps_conf_str(section ? ps_conf_section(conf, section, 0) : conf, confinement->user_setting);
}

int ps_confine_user(const struct ps_conf *conf, uint32_t role, uid_t *ret_uid, gid_t *ret_gid)
{
	const struct confinement *confinement = find(role);
	const struct ps_userdb *driver = driver_of(confinement, conf);
	const char *setting = confinement->user_setting, *name = user_of(confinement, conf);
	const struct passwd *passwd;

	errno = 0;
	passwd = getpwnam(name);
	if (!passwd)
		return ps_fail(PS_E_NOTFOUND, "%s: no system user \"%s\"", setting, name);
	if (passwd->pw_uid == 0 && !(driver && driver->as_root))
		return ps_fail(PS_E_INVALID, "%s: user \"%s\" is root", setting, name);
	*ret_uid = passwd->pw_uid;
	*ret_gid = passwd->pw_gid;
	return 0;
}

/* Before the user is changed: it needs a capability. */
static int drop_bounding_set(void)
{
	for (unsigned long cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return ps_fail_errno("drop capability %lu", cap);
	return 0;
}

static int drop_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};

	if (syscall(SYS_capset, &header, data) < 0)
		return ps_fail_errno("drop capabilities");
	return 0;
}

static int take_user(uid_t uid, gid_t gid)
{
	if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		return ps_fail_errno("become uid %u gid %u", (unsigned)uid, (unsigned)gid);
	if (uid != 0 && setuid(0) == 0)
		return ps_fail(PS_E_INTERNAL, "root's rights came back");
	return 0;
}

/* No core files, no ptrace by others of the same user, and the end when master ends. */
static int seal_process(pid_t parent)
{
	const struct rlimit none = {0, 0};

	if (setrlimit(RLIMIT_CORE, &none) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return ps_fail_errno("prctl");
	if (getppid() != parent)
		return ps_fail(PS_E_CLOSED, "master has gone");
	return 0;
}

static int drop_rights(const struct confinement *confinement, const struct ps_confine_args *args)
{
	uid_t uid;
	gid_t gid;
	int r;

	/* The user is looked up while there is still a file system. */
	if ((r = ps_confine_user(args->conf, args->role, &uid, &gid)) < 0)
		return r;
	if (args->user) {
		uid = args->user->uid;
		gid = args->user->gid;
	}
	if (confinement->empty_root && (r = empty_root(args->empty)) < 0)
		return r;
	if ((r = drop_bounding_set()) < 0 || (r = take_user(uid, gid)) < 0)
		return r;
	return 0;
}

static void tell(const struct confinement *confinement, const struct ps_confine_args *args, bool landlock)
{
	struct ps_buf files = {0};

	if (landlock)
		ps_buf_printf(&files, "abi%d", ps_landlock_abi());
	ps_log(args->user ? PS_LOG_DEBUG : PS_LOG_INFO, "confinement", "user",
	       args->privileged && !args->user ? user_of(confinement, args->conf)
	       : args->privileged              ? "the mail's"
					       : "as started",
	       "uid", ps_num(getuid()), "root",
	       !confinement->empty_root ? "not changed"
	       : args->privileged       ? "empty"
					: "not changed: needs root",
	       "capabilities", "none", "landlock", landlock ? ps_buf_cstr(&files) : "not in this kernel", "seccomp",
	       "yes", NULL);
	ps_buf_finish(&files);
}

int ps_confine(const struct ps_confine_args *args)
{
	const struct confinement *confinement = find(args->role);
	pid_t parent = getppid();
	int r, landlock;

	if (!confinement)
		return ps_fail(PS_E_INTERNAL, "no role %u", args->role);
	if (args->privileged && (r = drop_rights(confinement, args)) < 0)
		return r;
	if ((r = drop_capabilities()) < 0 || (r = seal_process(parent)) < 0)
		return r;
	landlock = confine_files(confinement, args);
	if (landlock < 0 && landlock != PS_E_UNSUPPORTED)
		return landlock;
	tell(confinement, args, landlock == 0);
	return filter_calls(confinement);
}
