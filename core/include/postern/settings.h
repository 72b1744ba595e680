/* SPDX-License-Identifier: MIT */
/*
 * postern/settings.h - settings are rows of a table.                          [stable]
 *
 * A plugin exports the schema of its section; core checks the configuration file against it, says
 * file, line, what was expected and what is close, and hands back a ps_conf to read values from.
 */
#ifndef POSTERN_SETTINGS_H
#define POSTERN_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum ps_setting_type {
	PS_SET_BOOL, /* yes no true false on off */
	PS_SET_INT,  /* min..max */
	PS_SET_SIZE, /* octets: "64K" "1M" "2G"; min..max in octets */
	PS_SET_TIME, /* seconds: "30s" "5m" "2h" "7d"; min..max in seconds */
	PS_SET_STRING,
	PS_SET_CHOICE,  /* one of the words of `choices` */
	PS_SET_LIST,    /* of strings */
	PS_SET_SECTION, /* name { ... }, or name "title" { ... } when titled; may repeat when titled */
};

/* Each word of the list is an address or a network, "192.0.2.0/24": for ps_session_is_from(). */
#define PS_NETWORKS "networks"

struct ps_setting {
	const char *name; /* as the file spells it; NULL ends a table */
	enum ps_setting_type type;
	const char *def;     /* default as the file would spell it; lists: words; NULL: none */
	int64_t min, max;    /* both 0: no bounds; of a list: each word is a whole number within them */
	const char *choices; /* "lf crlf"; of a list: NULL, or PS_NETWORKS */
	const struct ps_setting *section;
	bool titled;
	bool secret;      /* a string or list that `postern config show` does not show, such as a password */
	const char *help; /* one line, for `postern config show` and the manual */
};

struct ps_conf; /* a section that was read; lives as long as the configuration it belongs to */

/* The name must be in the schema (a bug otherwise: the process ends). Strings are valid as long as
 * the configuration; an unset string without default is NULL. SIZE and TIME read as int64. */
bool ps_conf_bool(const struct ps_conf *conf, const char *name);
int64_t ps_conf_int(const struct ps_conf *conf, const char *name);
const char *ps_conf_str(const struct ps_conf *conf, const char *name);
size_t ps_conf_list_size(const struct ps_conf *conf, const char *name);
const char *ps_conf_list_nth(const struct ps_conf *conf, const char *name, size_t n);
size_t ps_conf_section_count(const struct ps_conf *conf, const char *name);
/* An untitled section that is absent reads as its defaults: nth 0 always works for it. */
const struct ps_conf *ps_conf_section(const struct ps_conf *conf, const char *name, size_t n);
const char *ps_conf_title(const struct ps_conf *conf);

#endif
