/* SPDX-License-Identifier: MIT */
/* Files that master opens and others read: users, certificate, private key; aliases, a password for the smarthost. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/process/master.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/pool.h"

static const char *path_of(const struct ps_conf *conf, enum ps_secret_kind kind)
{
	const struct ps_conf *tls = ps_conf_section(conf, "tls", 0);

	switch (kind) {
	case PS_SECRET_USERS: return ps_conf_str(conf, "passwd_file");
	case PS_SECRET_CERTIFICATE: return ps_conf_str(tls, "certificate");
	case PS_SECRET_KEY: return ps_conf_str(tls, "key");
	case PS_SECRET_ALIASES: return ps_conf_str(conf, "alias_file");
	case PS_SECRET_SMARTHOST: return ps_conf_str(ps_conf_section(conf, "smarthost", 0), "password_file");
	case PS_SECRETS: break;
	}
	return NULL;
}

uint32_t secret_reader(enum ps_secret_kind kind)
{
	return kind == PS_SECRET_ALIASES || kind == PS_SECRET_SMARTHOST ? PS_ROLE_RELAY : PS_ROLE_AUTH;
}

void secrets_configure(struct master *master)
{
	for (int kind = 0; kind < PS_SECRETS; kind++) {
		const char *path = path_of(master->conf, (enum ps_secret_kind)kind);

		free(master->secrets[kind].path);
		master->secrets[kind].path = path ? ps_strdup(path) : NULL;
	}
}

/* The administrator's business, so it is only told. */
static void tell_if_exposed(const char *path, enum ps_secret_kind kind, mode_t mode)
{
	bool is_public = kind == PS_SECRET_CERTIFICATE || kind == PS_SECRET_ALIASES;

	if (!is_public && (mode & (S_IRWXO | S_IWGRP)))
		ps_logf(PS_LOG_WARNING, "secret_exposed", NULL, "%s has mode %04o: others may read or change it", path,
			(unsigned)mode & 07777);
	else if (mode & (S_IWOTH | S_IWGRP))
		ps_logf(PS_LOG_WARNING, "secret_exposed", NULL, "%s has mode %04o: others may change it", path,
			(unsigned)mode & 07777);
}

int secret_open(struct master *master, enum ps_secret_kind kind)
{
	struct secret *secret = &master->secrets[kind];
	int fd = open(secret->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0) {
		int r = ps_fail_errno("open %s", secret->path);

		/* It is tried again when it has changed, not each second. */
		if (stat(secret->path, &secret->seen) < 0)
			memset(&secret->seen, 0, sizeof secret->seen);
		return r;
	}
	if (fstat(fd, &secret->seen) < 0) {
		close(fd);
		return ps_fail_errno("stat %s", secret->path);
	}
	tell_if_exposed(secret->path, kind, secret->seen.st_mode);
	return fd;
}

static bool changed(const struct stat *a, const struct stat *b)
{
	return a->st_dev != b->st_dev || a->st_ino != b->st_ino || a->st_size != b->st_size ||
	       a->st_mtim.tv_sec != b->st_mtim.tv_sec || a->st_mtim.tv_nsec != b->st_mtim.tv_nsec ||
	       a->st_ctim.tv_sec != b->st_ctim.tv_sec || a->st_ctim.tv_nsec != b->st_ctim.tv_nsec;
}

void secrets_poll(struct master *master)
{
	for (int kind = 0; kind < PS_SECRETS; kind++) {
		const struct secret *secret = &master->secrets[kind];
		struct stat now;

		/* One that is missing just now is being replaced, or else auth keeps what it has. */
		if (secret->path && stat(secret->path, &now) == 0 && changed(&now, &secret->seen))
			children_send_secret(master, (enum ps_secret_kind)kind);
	}
}
