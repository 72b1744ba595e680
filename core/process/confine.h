/* SPDX-License-Identifier: MIT */
/*
 * core/process/confine.h - takes from a role what it does not need. Who may do what is one table in confine.c.
 */
#ifndef CORE_PROCESS_CONFINE_H
#define CORE_PROCESS_CONFINE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include "postern/buf.h"
#include "postern/settings.h"

/* A user with a mail process of their own: whose rights it has, and the folders that it reaches in place of mail_root. */
struct ps_confine_user {
	uid_t uid;
	gid_t gid;
	const char *const *roots;
	size_t root_count;
};

/* Confines this process for good, before it has threads: role is one of PS_ROLE_FRONT, _AUTH, _MAIL. Files that a role
 * may reach must exist. As root (`privileged`) it also changes the root directory to `empty`, drops all capabilities and takes the
 * user that the configuration names. What is in force, and what the machine lacks, is logged (event=confinement). */
struct ps_confine_args {
	uint32_t role;
	const struct ps_conf *conf; /* the root */
	const char *empty;          /* an empty directory of root's */
	bool privileged;
	const struct ps_confine_user *user; /* whose mail process it is; NULL: of all */
};
int ps_confine(const struct ps_confine_args *args);

/* The whole table in Markdown, as it stands in docs/security.md. */
void ps_confine_describe(struct ps_buf *out);

/* uid and gid of the system user that a setting (user_mail and so on) names. */
int ps_confine_user(const struct ps_conf *conf, uint32_t role, uid_t *ret_uid, gid_t *ret_gid);

#endif
