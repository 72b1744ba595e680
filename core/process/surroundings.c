/* SPDX-License-Identifier: MIT */
/* What master needs around it: folders, the pid file, systemd's word. */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "core/process/confine.h"
#include "core/process/master.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/pool.h"

static int make_folder(const char *path, mode_t mode)
{
	if (mkdir(path, mode) < 0 && errno != EEXIST)
		return ps_fail_errno("make folder %s", path);
	return 0;
}

/* Whoever else could write there could put a file in place of ours: the control socket, the pid file. */
static int check_own_folder(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 022))
		return ps_fail(PS_E_ACCESS, "%s must be a folder that only its owner, uid %u, may write", path,
			       (unsigned)geteuid());
	return 0;
}

/* The root directory of those who see no files. */
static int prepare_empty(const char *run_dir)
{
	PS_CLEANUP(ps_freep) char *path = NULL;
	int r;

	if (asprintf(&path, "%s/empty", run_dir) < 0)
		return ps_fail(PS_E_LIMIT, "no memory");
	r = make_folder(path, 0555);
	return r < 0 ? r : check_own_folder(path);
}

/* As root: a mail root that was just made is given to the mail user; an existing one stays as it is, but its user must be
 * able to use it, and it is better to say so now than at each log-in. */
static int prepare_mail_root(const struct master *master)
{
	const char *path = ps_conf_str(master->conf, "mail_root");
	/* users with uids of their own must get to their folders */
	bool made = mkdir(path, strcmp(ps_conf_str(master->conf, "isolation"), "per-user") == 0 ? 0711 : 0700) == 0;
	int reachable;

	if (!made && errno != EEXIST)
		return ps_fail_errno("make mail_root %s", path);
	if (!master->privileged)
		return access(path, R_OK | W_OK | X_OK) < 0 ? ps_fail_errno("mail_root %s", path) : 0;
	if (made && lchown(path, master->mail_uid, master->mail_gid) < 0)
		return ps_fail_errno("give mail_root %s to the mail user", path);
	if (setegid(master->mail_gid) < 0 || seteuid(master->mail_uid) < 0)
		return ps_fail_errno("take the mail user");
	reachable = faccessat(AT_FDCWD, path, R_OK | W_OK | X_OK, AT_EACCESS);
	if (reachable < 0)
		reachable = ps_fail_errno("mail_root %s, for user %s", path, ps_conf_str(master->conf, "user_mail"));
	if (seteuid(0) < 0 || setegid(0) < 0)
		return ps_fail_errno("come back from the mail user");
	return reachable;
}

static int check_spool(const struct master *master, const char *path, uid_t uid)
{
	struct stat st;

	if (lstat(path, &st) < 0)
		return ps_fail_errno("spool_dir %s", path);
	if (!S_ISDIR(st.st_mode))
		return ps_fail(PS_E_INVALID, "spool_dir %s is not a folder", path);
	if (!master->privileged)
		return access(path, R_OK | W_OK | X_OK) < 0 ? ps_fail_errno("spool_dir %s", path) : 0;
	if (st.st_uid != uid || (st.st_mode & (S_IRWXG | S_IRWXO)))
		return ps_fail(PS_E_ACCESS,
			       "spool_dir %s must belong to the user of user_relay (uid %lu), with mode 700: nobody "
			       "else may look in",
			       path, (unsigned long)uid);
	return 0;
}

/* The folder that the relay role owns, and nobody else may look into. */
static int prepare_spool(const struct master *master)
{
	const char *path = ps_conf_str(master->conf, "spool_dir");
	uid_t uid = geteuid();
	gid_t gid;
	int r;

	if (!path)
		return 0;
	if (master->privileged && (r = ps_confine_user(master->conf, PS_ROLE_RELAY, &uid, &gid)) < 0)
		return r;
	if (mkdir(path, 0700) < 0)
		return errno == EEXIST ? check_spool(master, path, uid) : ps_fail_errno("make spool_dir %s", path);
	if (master->privileged && lchown(path, uid, gid) < 0)
		return ps_fail_errno("give spool_dir %s to the relay user", path);
	return 0;
}

static int find_users(struct master *master)
{
	uid_t uid;
	gid_t gid;
	int r;

	master->mail_uid = getuid();
	master->mail_gid = getgid();
	if (!master->privileged)
		return 0;
	if ((r = ps_confine_user(master->conf, PS_ROLE_FRONT, &uid, &gid)) < 0 ||
	    (r = ps_confine_user(master->conf, PS_ROLE_AUTH, &uid, &gid)) < 0 ||
	    (ps_conf_str(master->conf, "spool_dir") &&
	     (r = ps_confine_user(master->conf, PS_ROLE_RELAY, &uid, &gid)) < 0))
		return r;
	return ps_confine_user(master->conf, PS_ROLE_MAIL, &master->mail_uid, &master->mail_gid);
}

int surroundings_prepare(struct master *master)
{
	int r;

	master->run_dir = ps_strdup(ps_conf_str(master->conf, "run_dir"));
	if ((r = find_users(master)) < 0 || (r = make_folder(master->run_dir, 0755)) < 0 ||
	    (r = check_own_folder(master->run_dir)) < 0 || (r = prepare_empty(master->run_dir)) < 0)
		return r;
	r = prepare_mail_root(master);
	return r < 0 ? r : prepare_spool(master);
}

/* ---- the pid file ----------------------------------------------------------------------------------- */

static char *pid_path(const struct master *master)
{
	char *path;

	return asprintf(&path, "%s/posternd.pid", master->run_dir) < 0 ? ps_strdup("") : path;
}

static int already_running(int fd, const char *path)
{
	char text[32] = "";
	ssize_t n = pread(fd, text, sizeof text - 1, 0);

	text[n > 0 ? strcspn(text, "\n") : 0] = '\0';
	return ps_fail(PS_E_EXISTS, "already running as pid %s (%s is locked)", *text ? text : "unknown", path);
}

/* The lock, not the number in it, says whether somebody runs. PS_E_AGAIN: who ran before removed the file while we
 * waited for the lock of it. */
static int lock_pid_file(const char *path, int *ret_fd)
{
	PS_CLEANUP(ps_closep) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);
	struct stat ours, there;

	if (fd < 0)
		return ps_fail_errno("open %s", path);
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return already_running(fd, path);
	if (fstat(fd, &ours) < 0 || stat(path, &there) < 0 || ours.st_ino != there.st_ino)
		return PS_E_AGAIN;
	*ret_fd = fd;
	fd = -1;
	return 0;
}

int pid_file_take(struct master *master)
{
	PS_CLEANUP(ps_freep) char *path = pid_path(master);
	char text[32];
	int r;

	do
		r = lock_pid_file(path, &master->pid_file);
	while (r == PS_E_AGAIN);
	if (r < 0)
		return r;
	snprintf(text, sizeof text, "%ld\n", (long)getpid());
	if (ftruncate(master->pid_file, 0) < 0 || pwrite(master->pid_file, text, strlen(text), 0) < 0)
		return ps_fail_errno("write %s", path);
	return 0;
}

void pid_file_drop(struct master *master)
{
	PS_CLEANUP(ps_freep) char *path = pid_path(master);

	if (master->pid_file < 0)
		return;
	unlink(path);
	ps_closep(&master->pid_file);
}

/* ---- sd_notify(3) ----------------------------------------------------------------------------------- */

void notify(const char *state)
{
	const char *name = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t len = name ? strlen(name) : 0;
	int fd;

	if (len < 2 || len >= sizeof address.sun_path || (name[0] != '/' && name[0] != '@'))
		return;
	memcpy(address.sun_path, name, len);
	if (name[0] == '@')
		address.sun_path[0] = '\0';
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address,
		   (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len)) < 0)
		ps_log(PS_LOG_WARNING, "notify", "msg", strerror(errno), NULL);
	close(fd);
}
