/* SPDX-License-Identifier: MIT */
/*
 * auth/passwdfile.h - reads a passwd-file: user:{SCHEME}hash:uid:gid:gecos:home:shell:extra fields
 *
 * Fields from the third on may be missing. The extra fields (blank-separated key=value, also with a
 * "userdb_" before the key) that count: mail=BACKEND:PATH, backend=BACKEND, home, uid, gid,
 * allow_nets=CIDR,..., nologin; quota_storage, quota_messages and quota_rule are kept for the extension quota. What would change who may read whose mail and is not understood here (nopassword, proxy,
 * ...) makes the line an error. A line with an error is logged with its number and passed over; the
 * first line of a name counts.
 */
#ifndef AUTH_PASSWDFILE_H
#define AUTH_PASSWDFILE_H

#include <sys/types.h>
#include "postern/buf.h"
#include "postern/settings.h"
#include "postern/store.h"

#define PS_PASSWD_FILE_MAX (256u << 20)

/* What a line that says nothing gets. */
struct ps_passwd_defaults {
	const char *default_domain; /* or NULL */
	const char *mail_root;      /* absolute; all mail must lie below it */
	const char *mail_location;  /* below mail_root; %u user, %n local part, %d domain */
	const char *backend;
	const struct ps_conf
		*root; /* where `domain` sections are, which say otherwise for their users; NULL: there are none */
	uid_t uid;     /* of the mail processes: they run under one uid, so a line with another is an
		      error */
	gid_t gid;
};
/* The strings are the configuration's. */
void ps_passwd_defaults_from(const struct ps_conf *root, uid_t uid, gid_t gid, struct ps_passwd_defaults *ret_defaults);

struct ps_passwd_user {
	struct ps_user_info info;
	const char *password;   /* "{SCHEME}hash" */
	const char *allow_nets; /* NULL: from everywhere */
	bool nologin;
	unsigned line; /* of the file */
};

struct ps_passwd_file;
/* `path` is for messages. The text may be wiped afterwards. */
int ps_passwd_file_parse(struct ps_bytes text, const char *path, const struct ps_passwd_defaults *defaults,
			 struct ps_passwd_file **ret_file);
/* Opens and parses the file that the setting passwd_file names. PS_E_NOTFOUND also when it names
 * none. */
int ps_passwd_file_open(const struct ps_conf *root, uid_t uid, gid_t gid, struct ps_passwd_file **ret_file);
void ps_passwd_file_destroy(struct ps_passwd_file *file); /* wipes */
/* By the one spelling of the name (auth/names.h). NULL: there is none. */
const struct ps_passwd_user *ps_passwd_file_find(const struct ps_passwd_file *file, const char *name);
/* A stored password to check in place of one that does not exist, so that it takes as long: of the method that most users
 * have, among those that cost time, if there are any. NULL: there is none. */
const char *ps_passwd_file_stand_in(const struct ps_passwd_file *file);
/* What some password of the file can be used for: PS_SERVES_* (auth/passwords.h). */
unsigned ps_passwd_file_serves(const struct ps_passwd_file *file);
size_t ps_passwd_file_count(const struct ps_passwd_file *file);
/* By its place in the order of names, from 0. */
const struct ps_passwd_user *ps_passwd_file_nth(const struct ps_passwd_file *file, size_t n);

/* Cuts the next line, without its line end, off `rest`; false at the end. */
bool ps_passwd_line(struct ps_bytes *rest, struct ps_bytes *ret_line);
/* Reads all of a file from its start, without moving the descriptor's offset. */
int ps_passwd_read_fd(int fd, const char *path, struct ps_buf *out);

#endif
