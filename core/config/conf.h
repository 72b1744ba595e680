/* SPDX-License-Identifier: MIT */
/*
 * core/config/conf.h - what the files of this folder share: the tree that was read, and the errors met.
 *
 * libconfuse parses the text into words (read.c); from these, values.c makes a tree of our own, which never
 * changes afterwards, so that any thread may read it.
 */
#ifndef CORE_CONFIG_CONF_H
#define CORE_CONFIG_CONF_H

#include "core/config/config.h"
#include "postern/error.h"
#include "postern/plugin.h"
#include "postern/pool.h"

/* Which member counts is said by the row of the schema. */
struct conf_value {
	int line; /* where the file sets it; 0: not set there */
	bool truth;
	int64_t number;
	const char *text;
	const char **words; /* LIST */
	struct ps_conf **sections;
	size_t count; /* of words or sections */
};

struct ps_conf {
	struct ps_config *config;
	const struct ps_setting *schema;
	const char *name;  /* "listener"; for a plugin's section its kind, such as "backend"; NULL for the root */
	const char *title; /* NULL: has none */
	int line;          /* of its first setting, or where it ends; 0: not in the file */
	struct conf_value *values; /* one for each row */
};

struct ps_config {
	struct ps_pool *pool;
	const char *path;
	int last_line;
	struct ps_conf *root;
	struct ps_conf **plugins; /* the sections of loaded plugins, NULL-terminated */
};

/* The value of a row, by name; the process ends if there is no such row, or none of such a type. */
const struct conf_value *conf_value(const struct ps_conf *conf, const char *name, enum ps_setting_type type);

/* ---- errors (errors.c): gathered, told in the order of lines ---------------------------------------------- */

struct conf_error {
	int line;
	const char *text;
};

struct conf_errors {
	struct ps_pool *pool;
	const char *path;
	struct conf_error *all;
	size_t count, cap;
	int code; /* of the first: what ps_config_read() returns */
};

/* Notes one, unless it is known already or there are many. */
void conf_error(struct conf_errors *errors, int line, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* 0 when there is none; else the first goes to ps_fail(), all to `out`. */
int conf_errors_tell(struct conf_errors *errors, struct ps_buf *out);
/* `in listener "imaps"`, `in tls`, or "" for the root: with a leading blank. */
const char *conf_place(struct ps_pool *pool, const char *name, const char *title);

/* ---- text (text.c): what libconfuse must not see, or says nothing of ------------------------------------- */

/* Refuses what cannot be right (octet 0, not UTF-8, an open string, comment or section, "${"), and makes of
 * `backend maildir {` the one word `backend/maildir {`, since libconfuse knows one table per section name. The
 * result is as many lines as the original. NULL after errors. */
char *conf_text_prepare(struct conf_errors *errors, struct ps_bytes text, struct ps_pool *pool);
/* Blanks the statement that starts with `name` in this line; false if there is none. */
bool conf_text_remove(char *text, int line, const char *name);

/* ---- values (values.c) ----------------------------------------------------------------------------------- */

/* A word of the file as the row wants it. False: not lawful, and `why` says what was expected. */
bool conf_value_parse(const struct ps_setting *row, const char *text, struct ps_pool *pool, struct conf_value *value,
		      struct ps_buf *why);
/* The same for one word of a list. */
bool conf_word_is_right(const struct ps_setting *row, const char *word, struct ps_buf *why);
/* A section with all settings at their defaults. */
struct ps_conf *conf_create(struct ps_config *config, const struct ps_setting *schema, const char *name,
			    const char *title);
/* How the file spells a number of this type: "100M", "30s". */
void conf_number_format(const struct ps_setting *row, int64_t number, struct ps_buf *out);

/* What is shown of a value, in the way `how` (enum ps_config_showing); see show.c. */
const struct conf_value *conf_value_shown(const struct ps_setting *row, const struct conf_value *value, unsigned how);

/* ---- checks (check.c): what one row cannot say ----------------------------------------------------------- */

void conf_check(const struct ps_config *config, struct conf_errors *errors);

void conf_check_routes(const struct ps_config *config, struct conf_errors *errors); /* check_routes.c */
void conf_check_tls(const struct ps_config *config, struct conf_errors *errors);    /* check_tls.c */
/* Where the file sets it, or its section, or else ends. */
int conf_line(const struct ps_conf *conf, const char *name, enum ps_setting_type type);

/* ---- user databases (userdb.c) --------------------------------------------------------------------------- */

/* All settings that any of these sections can have. */
const struct ps_setting *conf_userdb_rows(struct ps_pool *pool);
/* Those of a section with this driver (NULL: it names none; an error, as is one that is not installed). */
const struct ps_setting *conf_userdb_schema(struct conf_errors *errors, int line, const char *title, const char *driver,
					    struct ps_pool *pool);

bool conf_kind_has_section(uint32_t kind); /* each plugin of the kind has one, named as itself */
const char *conf_kind_word(uint32_t kind); /* "backend", "protocol", "extension" */
bool conf_kind_loaded(uint32_t kind);      /* whether any plugin of the kind is loaded */

#endif
