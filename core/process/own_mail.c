/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/process/own_mail.h"
#include "core/store/mount.h"
#include "postern/error.h"

enum {
	OF_ALL = 0711, /* folders above: users who are not their owner pass through, and cannot look around */
	OF_USER = 0700
};

/* Opens a folder of `parent`, or makes it. */
static int step(int parent, const char *name, mode_t mode, int *ret_fd, bool *ret_made)
{
	*ret_made = mkdirat(parent, name, mode) == 0;
	if (!*ret_made && errno != EEXIST)
		return ps_fail_errno("make folder %s", name);
	if (*ret_made && fsync(parent) < 0)
		return ps_fail_errno("make folder %s", name);
	*ret_fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (*ret_fd < 0) /* somebody's whom we are not, but for the rest of the way that is no matter */
		*ret_fd = openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return *ret_fd < 0 ? ps_fail_errno("open folder %s", name) : 0;
}

/* All folders of `path` from mail_root on. */
static int walk(const char *mail_root, const char *path, struct ps_pool *pool, int *ret_fd, bool *ret_made)
{
	size_t len = strlen(mail_root);
	int fd, next, r = 0;
	char *rest, *name;

	while (len > 0 && mail_root[len - 1] == '/')
		len--;
	if (strncmp(path, mail_root, len) != 0 || path[len] != '/')
		return ps_fail(PS_E_ACCESS, "%s is not below mail_root", path);
	*ret_made = false;
	fd = open(mail_root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return ps_fail_errno("open mail_root %s", mail_root);
	rest = ps_pool_strdup(pool, path + len + 1);
	while (r == 0 && (name = strsep(&rest, "/"))) {
		if (!*name)
			continue;
		r = step(fd, name, rest ? OF_ALL : OF_USER, &next, ret_made);
		close(fd);
		fd = r == 0 ? next : -1;
	}
	*ret_fd = fd;
	return r;
}

static int give(int fd, const char *path, bool made, const struct ps_confine_user *user)
{
	struct stat st;

	if (made && geteuid() == 0 && fchownat(fd, "", user->uid, user->gid, AT_EMPTY_PATH) < 0)
		return ps_fail_errno("give %s to uid %u", path, (unsigned)user->uid);
	if (fstat(fd, &st) < 0)
		return ps_fail_errno("%s", path);
	if (st.st_uid != user->uid)
		return ps_fail(PS_E_ACCESS, "%s belongs to uid %u, not to its user's, %u", path, (unsigned)st.st_uid,
			       (unsigned)user->uid);
	return 0;
}

/* Folders above belong to the mail user, as whom they are made. */
static int make(const struct ps_msg_config *about, const struct ps_conf *conf, const char *path, struct ps_pool *pool,
		const struct ps_confine_user *user)
{
	PS_CLEANUP(ps_closep) int fd = -1;
	mode_t mask = umask(0);
	bool made = false;
	uid_t uid;
	gid_t gid;
	int r = 0;

	if (about->privileged && (r = ps_confine_user(conf, PS_ROLE_MAIL, &uid, &gid)) == 0 &&
	    (setegid(gid) < 0 || seteuid(uid) < 0))
		r = ps_fail_errno("take the mail user");
	if (r == 0)
		r = walk(ps_conf_str(conf, "mail_root"), path, pool, &fd, &made);
	if (about->privileged && (seteuid(0) < 0 || setegid(0) < 0))
		r = ps_fail_errno("come back from the mail user");
	umask(mask);
	return r < 0 ? r : give(fd, path, made, user);
}

int ps_own_mail(const struct ps_msg_config *about, const struct ps_conf *conf, struct ps_pool *pool,
		struct ps_confine_user *ret_user)
{
	struct ps_mount_place *mounts;
	const char **roots;
	size_t count;
	int r = ps_mount_places(conf, about->user, pool, &mounts, &count);

	if (r < 0)
		return r;
	roots = PS_NEWV(pool, const char *, count + 1);
	roots[0] = about->root;
	for (size_t i = 0; i < count; i++)
		roots[i + 1] = mounts[i].root;
	*ret_user = (struct ps_confine_user){
		.uid = about->mail_uid, .gid = about->mail_gid, .roots = roots, .root_count = count + 1};
	for (size_t i = 0; i < ret_user->root_count && r == 0; i++)
		r = make(about, conf, roots[i], pool, ret_user);
	return r;
}
