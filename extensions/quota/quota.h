/* SPDX-License-Identifier: MIT */
/* Shared by the files of this folder. */
#ifndef EXTENSIONS_QUOTA_QUOTA_H
#define EXTENSIONS_QUOTA_QUOTA_H

#include <sys/stat.h>
#include "postern/extension.h"

extern const struct ps_setting quota_settings[];
extern const struct ps_extension quota_extension; /* before.c */

/* ---- limits.c: what the settings and the user database say */
void quota_limits(const struct ps_extension_args *args, struct ps_usage *ret_limit);
/* What a mailbox may hold beyond the limit, so that deleting by way of Trash works. */
void quota_extra(const struct ps_conf *conf, const char *mailbox, struct ps_usage *ret_extra);
/* "quota_storage=1G quota_messages=1000", and Dovecot's "quota_rule=*:storage=1G:messages=1000": what they name replaces what *limit has.
 * PS_E_INVALID: some of it is not understood, and was passed over. */
int quota_fields(const char *fields, struct ps_usage *limit);

/* ---- own.c: what was set for one store, in the file DIR/quota, which may be replaced at any time by any process */
struct quota_own {
	bool set;
	struct ps_usage limit;
	struct stat seen; /* all zero: there was none */
};
/* Reads it if it is another than the last time. PS_E_CORRUPT: as if there were none; any other error: what was known stays, and the next look tries again. */
int quota_own_look(const char *dir, struct quota_own *own);
/* NULL: it is removed. */
int quota_own_write(const char *dir, const struct ps_usage *limit);

/* ---- warn.c */
/* The use of a store goes from `before` to `after`. Tells the user when that reaches a level of the setting `warnings`. */
void quota_warn(const struct ps_conf *conf, const char *user, const struct ps_usage *limit,
		const struct ps_usage *before, const struct ps_usage *after);
/* The highest of the levels (percents) that is reached by this step; 0: none. */
unsigned quota_level(const struct ps_conf *conf, uint64_t limit, uint64_t before, uint64_t after);

#endif
