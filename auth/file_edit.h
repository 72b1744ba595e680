/* SPDX-License-Identifier: MIT */
/*
 * auth/file_edit.h - changes a file of lines, for the command line.
 *
 * A change takes the lock PATH.lock, writes the whole file aside, syncs it and renames it into
 * place, so that a reader sees the old file or the new one.
 */
#ifndef AUTH_FILE_EDIT_H
#define AUTH_FILE_EDIT_H

#include "postern/buf.h"

struct ps_file_edit {
	bool may_create; /* with mode 0600; else a file that is not there is PS_E_NOTFOUND */
	/* Puts the new text together; negative: nothing is changed. `path` is of the file itself, not of a symbolic link to it. */
	int (*edit)(void *arg, const char *path, struct ps_bytes old, struct ps_buf *new);
	void *arg;
};

/* PS_E_BUSY: somebody holds the lock. */
int ps_file_edit(const char *path, const struct ps_file_edit *edit);

#endif
