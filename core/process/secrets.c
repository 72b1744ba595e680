/* SPDX-License-Identifier: MIT */
/* Files that master opens and others read: users, certificates, private keys; aliases, a password for the smarthost. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/process/certificate.h"
#include "core/process/master.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/pool.h"

uint32_t secret_reader(enum ps_secret_kind kind)
{
	return kind == PS_SECRET_ALIASES || kind == PS_SECRET_SMARTHOST ? PS_ROLE_RELAY : PS_ROLE_AUTH;
}

static void add(struct master *master, enum ps_secret_kind kind, uint32_t slot, const char *path)
{
	if (!path)
		return;
	master->secrets = ps_realloc(master->secrets, (master->secret_count + 1) * sizeof *master->secrets);
	master->secrets[master->secret_count++] = (struct secret){.kind = kind, .slot = slot, .path = ps_strdup(path)};
}

static void add_apps(struct master *master, const char *path)
{
	PS_CLEANUP(ps_freep) char *uses = NULL;

	if (!path || asprintf(&uses, "%s.used", path) < 0)
		return;
	add(master, PS_SECRET_APPS, 0, path);
	add(master, PS_SECRET_APP_USES, 0, uses);
}

void secrets_destroy(struct master *master)
{
	for (size_t i = 0; i < master->secret_count; i++)
		free(master->secrets[i].path);
	free(master->secrets);
	master->secrets = NULL;
	master->secret_count = 0;
}

void secrets_configure(struct master *master)
{
	const struct ps_conf *conf = master->conf, *section;

	secrets_destroy(master);
	add(master, PS_SECRET_USERS, 0, ps_conf_str(conf, "passwd_file"));
	add_apps(master, ps_conf_str(conf, "app_password_file"));
	add(master, PS_SECRET_ALIASES, 0, ps_conf_str(conf, "alias_file"));
	add(master, PS_SECRET_SMARTHOST, 0, ps_conf_str(ps_conf_section(conf, "smarthost", 0), "password_file"));
	add(master, PS_SECRET_JWKS, 0, ps_conf_str(ps_conf_section(conf, "oauth", 0), "jwks"));
	add(master, PS_SECRET_AUTHORITIES, 0, ps_conf_str(ps_conf_section(conf, "tls", 0), "client_authorities"));
	for (uint32_t slot = 0; slot < PS_KEY_SLOTS && (section = ps_certificate_section(conf, slot)); slot++) {
		add(master, PS_SECRET_OCSP, slot, ps_conf_str(section, "ocsp_response"));
		add(master, PS_SECRET_CERTIFICATE, slot, ps_conf_str(section, "certificate"));
		add(master, PS_SECRET_KEY, slot, ps_conf_str(section, "key"));
	}
}

/* The administrator's business, so it is only told. */
static void tell_if_exposed(const char *path, enum ps_secret_kind kind, mode_t mode)
{
	bool is_public = kind == PS_SECRET_CERTIFICATE || kind == PS_SECRET_ALIASES || kind == PS_SECRET_OCSP ||
			 kind == PS_SECRET_AUTHORITIES || kind == PS_SECRET_JWKS;

	if (!is_public && (mode & (S_IRWXO | S_IWGRP)))
		ps_logf(PS_LOG_WARNING, "secret_exposed", NULL, "%s has mode %04o: others may read or change it", path,
			(unsigned)mode & 07777);
	else if (mode & (S_IWOTH | S_IWGRP))
		ps_logf(PS_LOG_WARNING, "secret_exposed", NULL, "%s has mode %04o: others may change it", path,
			(unsigned)mode & 07777);
}

int secret_open(struct secret *secret)
{
	int flags = O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
	int fd = open(secret->path,
		      flags | (secret->kind == PS_SECRET_APP_USES ? O_RDWR | O_CREAT | O_NOFOLLOW : O_RDONLY), 0600);

	if (fd < 0) {
		int r = ps_fail_errno("open %s", secret->path);

		/* It is tried again when it has changed, not each time. */
		if (stat(secret->path, &secret->seen) < 0)
			memset(&secret->seen, 0, sizeof secret->seen);
		return r;
	}
	if (fstat(fd, &secret->seen) < 0) {
		close(fd);
		return ps_fail_errno("stat %s", secret->path);
	}
	tell_if_exposed(secret->path, secret->kind, secret->seen.st_mode);
	return fd;
}

void secrets_send(struct master *master, enum ps_secret_kind kind)
{
	for (size_t i = 0; i < master->secret_count; i++)
		if (master->secrets[i].kind == kind)
			children_send_secret(master, &master->secrets[i]);
}

static bool changed(const struct stat *a, const struct stat *b)
{
	return a->st_dev != b->st_dev || a->st_ino != b->st_ino || a->st_size != b->st_size ||
	       a->st_mtim.tv_sec != b->st_mtim.tv_sec || a->st_mtim.tv_nsec != b->st_mtim.tv_nsec ||
	       a->st_ctim.tv_sec != b->st_ctim.tv_sec || a->st_ctim.tv_nsec != b->st_ctim.tv_nsec;
}

void secrets_poll(struct master *master)
{
	for (size_t i = 0; i < master->secret_count; i++) {
		struct secret *secret = &master->secrets[i];
		struct stat now;

		/* One that is missing just now is being replaced, or else auth keeps what it has. What auth itself writes is no news to it. */
		if (secret->kind != PS_SECRET_APP_USES && stat(secret->path, &now) == 0 && changed(&now, &secret->seen))
			children_send_secret(master, secret);
	}
}
