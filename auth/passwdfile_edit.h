/* SPDX-License-Identifier: MIT */
/*
 * auth/passwdfile_edit.h - changes a passwd-file, for the command line.
 *
 * A change takes the lock PATH.lock, writes the whole file aside, syncs it and renames it into
 * place, so that a reader sees the old file or the new one. Comments, other fields and lines with
 * errors stay as they are. Names are compared in their one spelling (auth/names.h).
 */
#ifndef AUTH_PASSWDFILE_EDIT_H
#define AUTH_PASSWDFILE_EDIT_H

/* `hash` is "{SCHEME}..." as ps_password_hash() makes it. add: PS_E_EXISTS; makes the file (mode
 * 0600) if there is none. set, remove: PS_E_NOTFOUND. PS_E_INVALID: no lawful name. PS_E_BUSY:
 * somebody holds the lock. */
int ps_passwd_file_add(const char *path, const char *default_domain, const char *user, const char *hash);
int ps_passwd_file_set_password(const char *path, const char *default_domain, const char *user, const char *hash);
int ps_passwd_file_remove(const char *path, const char *default_domain, const char *user);

/* Calls fn for each user, in the file's order, with the name in its one spelling; non-zero from fn
 * ends the walk and is returned. */
int ps_passwd_file_list(const char *path, const char *default_domain, int (*fn)(void *arg, const char *user),
			void *arg);

#endif
