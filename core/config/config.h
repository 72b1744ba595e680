/* SPDX-License-Identifier: MIT */
/*
 * core/config/config.h - reads the configuration file against core's schema and the plugins'.
 */
#ifndef CORE_CONFIG_CONFIG_H
#define CORE_CONFIG_CONFIG_H

#include "postern/buf.h"
#include "postern/settings.h"

struct ps_config;

/*
 * The file's language is libconfuse's, with these differences: nothing is included and ${NAME} is refused, because
 * the text is sent to the roles, which must read the same wherever they are; an open section, string or comment is
 * an error; a setting may be given once. Reading from text opens no file and asks nothing of the system but
 * gethostname() and isatty() of descriptor -1: a system call filter may refuse the latter, but must not kill.
 */

/* Reads `path` (or `text`, when it is not absent; `path` then serves for messages). Plugins are loaded
 * already: the schema of plugin NAME is the section `backend NAME { }`, `protocol NAME { }` or `extension NAME { }`. Failure: ps_last_error() is
 * "FILE:LINE: what is wrong; what was expected; did you mean ...?". All errors also go, one a line, to `errors`
 * (may be NULL). */
int ps_config_read(const char *path, struct ps_bytes text, struct ps_buf *errors, struct ps_config **ret_config);
/* What only the file system and the system's libraries can tell: certificate, key and passwd-file are there and can be
 * read, mail_root is a folder or can become one, GnuTLS knows the priority string. For master and `postern config
 * check`; a confined role could not. Errors as above. */
int ps_config_check_files(const struct ps_config *config, struct ps_buf *errors);
/* The text without the sections `userdb`, of which one may stay: the n-th, from 0. What they hold is for nobody but who needs it. Lines keep
 * their numbers. `text` can be read. */
void ps_config_text_without_userdb(struct ps_bytes text, size_t n, struct ps_buf *out);
/* The n-th of them alone; nothing where there is none. */
void ps_config_text_of_userdb(struct ps_bytes text, size_t n, struct ps_buf *out);
void ps_config_destroy(struct ps_config *config);
const struct ps_conf *ps_config_root(const struct ps_config *config);
/* backend NAME { }, protocol NAME { } or extension NAME { }, with defaults where the file has none. NULL: no such plugin is loaded. */
const struct ps_conf *ps_config_plugin(const struct ps_config *config, const char *kind, const char *name);
/* The same from a root, for those who were given just that. */
const struct ps_conf *ps_conf_plugin(const struct ps_conf *root, const char *kind, const char *name);

enum ps_config_showing {
	PS_SHOW_ALL = 1,     /* defaults, too, and what each is for */
	PS_SHOW_SECRETS = 2, /* rows that are secret, too; else "(hidden)" stands for their values */
};

/* The settings in force, as a file that would be read the same. */
int ps_config_show(const struct ps_config *config, unsigned how, struct ps_buf *out);

#endif
