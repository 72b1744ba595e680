/* SPDX-License-Identifier: MIT */
/*
 * auth/passwdfile.h - reads a passwd-file: user:{SCHEME}hash:uid:gid:gecos:home:shell:extra fields
 *
 * Fields from the third on may be missing. The extra fields are blank-separated, key=value; which there are says postern/userdb.h. What
 * would change who may read whose mail and is not understood here (nopassword, proxy, ...) makes the line an error. A line
 * with an error is logged with its number and passed over; the first line of a name counts.
 */
#ifndef AUTH_PASSWDFILE_H
#define AUTH_PASSWDFILE_H

#include "auth/entry.h"

#define PS_PASSWD_FILE_MAX (256u << 20)

struct ps_passwd_file;
/* `path` is for messages. The text may be wiped afterwards. */
int ps_passwd_file_parse(struct ps_bytes text, const char *path, const struct ps_user_defaults *defaults,
			 struct ps_passwd_file **ret_file);
/* Opens and parses the file that the setting passwd_file names. PS_E_NOTFOUND also when it names
 * none. */
int ps_passwd_file_open(const struct ps_conf *root, uid_t uid, gid_t gid, struct ps_passwd_file **ret_file);
void ps_passwd_file_destroy(struct ps_passwd_file *file); /* wipes */
/* By the one spelling of the name (auth/names.h). NULL: there is none. */
const struct ps_user_entry *ps_passwd_file_find(const struct ps_passwd_file *file, const char *name);
/* A stored password to check in place of one that does not exist, so that it takes as long: of the method that most users
 * have, among those that cost time, if there are any. NULL: there is none. */
const char *ps_passwd_file_stand_in(const struct ps_passwd_file *file);
/* What each password of the file can be used for: PS_SERVES_* (auth/passwords.h). */
unsigned ps_passwd_file_serves(const struct ps_passwd_file *file);
size_t ps_passwd_file_count(const struct ps_passwd_file *file);
/* By its place in the order of names, from 0. */
const struct ps_user_entry *ps_passwd_file_nth(const struct ps_passwd_file *file, size_t n);

/* Cuts the next line, without its line end, off `rest`; false at the end. */
bool ps_passwd_line(struct ps_bytes *rest, struct ps_bytes *ret_line);
/* Reads all of a file from its start, without moving the descriptor's offset. */
int ps_passwd_read_fd(int fd, const char *path, struct ps_buf *out);

#endif
