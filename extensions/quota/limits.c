/* SPDX-License-Identifier: MIT */
#include <string.h>
#include <strings.h>
#include "extensions/quota/quota.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/pool.h"

#define MOST (INT64_C(1) << 50)

#define AMOUNTS(storage_help, messages_help)                                                                           \
	{.name = "storage", .type = PS_SET_SIZE, .def = "0", .min = 0, .max = MOST, .help = storage_help},             \
	{                                                                                                              \
		.name = "messages", .type = PS_SET_INT, .def = "0", .min = 0, .max = UINT32_MAX, .help = messages_help \
	}

static const struct ps_setting place[] = {
	AMOUNTS("octets that these users' mail may take; 0: any number", "messages they may have; 0: any number"),
	{.name = NULL},
};

static const struct ps_setting extra[] = {
	AMOUNTS("octets beyond the limit that go into this mailbox all the same",
		"messages beyond the limit that go into it"),
	{.name = NULL},
};

const struct ps_setting quota_settings[] = {
	AMOUNTS("octets that a user's mail may take; 0: any number", "messages that a user may have; 0: any number"),
	{.name = "warnings",
	 .type = PS_SET_LIST,
	 .def = "80 95",
	 .min = 1,
	 .max = 100,
	 .help = "percents of either at which a user is told by mail"},
	{.name = "domain",
	 .type = PS_SET_SECTION,
	 .section = place,
	 .titled = true,
	 .help = "the users of a domain, in place of what is said for all"},
	{.name = "mount",
	 .type = PS_SET_SECTION,
	 .section = place,
	 .titled = true,
	 .help = "what a mounted store of each user may hold, beside the user's own; without: anything"},
	{.name = "mailbox",
	 .type = PS_SET_SECTION,
	 .section = extra,
	 .titled = true,
	 .help = "a mailbox that takes more than the limit, such as Trash"},
	{.name = NULL},
};

/* ---- settings -------------------------------------------------------------------------------- */

static const struct ps_conf *find_section(const struct ps_conf *conf, const char *kind, const char *title,
					  int (*compare)(const char *a, const char *b))
{
	for (size_t i = 0; conf && title && i < ps_conf_section_count(conf, kind); i++) {
		const struct ps_conf *section = ps_conf_section(conf, kind, i);

		if (compare(ps_conf_title(section), title) == 0)
			return section;
	}
	return NULL;
}

static void read_amounts(const struct ps_conf *conf, struct ps_usage *ret_amounts)
{
	*ret_amounts = (struct ps_usage){0};
	if (!conf)
		return;
	ret_amounts->octets = (uint64_t)ps_conf_int(conf, "storage");
	ret_amounts->messages = (uint64_t)ps_conf_int(conf, "messages");
}

void quota_extra(const struct ps_conf *conf, const char *mailbox, struct ps_usage *ret_extra)
{
	read_amounts(find_section(conf, "mailbox", mailbox, strcmp), ret_extra);
}

void quota_limits(const struct ps_extension_args *args, struct ps_usage *ret_limit)
{
	const char *at = strchr(args->user->name, '@');
	const struct ps_conf *domain = find_section(args->conf, "domain", at ? at + 1 : NULL, strcasecmp);

	if (args->mount) {
		read_amounts(find_section(args->conf, "mount", args->mount, strcmp), ret_limit);
		return;
	}
	read_amounts(domain ? domain : args->conf, ret_limit);
	if (args->user->fields && quota_fields(args->user->fields, ret_limit) < 0)
		ps_log(PS_LOG_ERROR, "quota_fields", "user", args->user->name, "msg", ps_last_error(), NULL);
}

/* ---- the user database ----------------------------------------------------------------------- */

static struct ps_bytes cut(struct ps_bytes *rest, uint8_t separator)
{
	ptrdiff_t at = ps_bytes_find(*rest, separator);
	struct ps_bytes piece = at < 0 ? *rest : ps_bytes(rest->ptr, (size_t)at);

	*rest = ps_bytes_skip(*rest, piece.len + (at >= 0));
	return piece;
}

/* "10M"; `unit`: what a number without a letter counts. */
static int read_amount(struct ps_bytes text, uint64_t unit, uint64_t *ret_amount)
{
	static const char letters[] = "KMGT";
	uint64_t factor = unit, n = 0;
	size_t digits = 0;

	while (digits < text.len && ps_isdigit((char)text.ptr[digits]) && n <= (uint64_t)MOST)
		n = n * 10 + (uint64_t)(text.ptr[digits++] - '0');
	if (digits + 1 == text.len) {
		const char *letter = memchr(letters, ps_toupper((char)text.ptr[digits]), sizeof letters - 1);

		if (!letter)
			return PS_E_INVALID;
		factor = UINT64_C(1) << (10 * (letter - letters + 1));
	} else if (digits != text.len) {
		return PS_E_INVALID;
	}
	if (digits == 0 || n > (uint64_t)MOST / factor)
		return PS_E_INVALID;
	*ret_amount = n * factor;
	return 0;
}

/* What may be named, and what a bare number counts then. Dovecot's "storage" counts in KiB. */
static const struct amount {
	const char *key;
	uint64_t unit;
	size_t at;
} own[] = {{"quota_storage", 1, offsetof(struct ps_usage, octets)},
	   {"quota_messages", 1, offsetof(struct ps_usage, messages)},
	   {NULL, 0, 0}},
  in_rule[] = {{"storage", 1024, offsetof(struct ps_usage, octets)},
	       {"bytes", 1, offsetof(struct ps_usage, octets)},
	       {"messages", 1, offsetof(struct ps_usage, messages)},
	       {NULL, 0, 0}};

static int set_amount(const struct amount *known, struct ps_bytes field, struct ps_usage *limit)
{
	struct ps_bytes value = field, key = cut(&value, '=');
	uint64_t amount;

	for (; known->key; known++) {
		if (!ps_bytes_eq_str(key, known->key))
			continue;
		if (read_amount(value, known->unit, &amount) < 0)
			break;
		memcpy((char *)limit + known->at, &amount, sizeof amount);
		return 0;
	}
	return ps_fail(PS_E_INVALID, "\"%.*s\" is not understood", (int)field.len, (const char *)field.ptr);
}

/* "*:storage=1G:messages=1000" */
static int set_rule(struct ps_bytes rule, struct ps_usage *limit)
{
	struct ps_bytes rest = rule;

	if (!ps_bytes_eq_str(cut(&rest, ':'), "*"))
		return ps_fail(PS_E_INVALID, "quota_rule \"%.*s\": only rules for * are understood", (int)rule.len,
			       (const char *)rule.ptr);
	while (rest.len > 0) {
		int r = set_amount(in_rule, cut(&rest, ':'), limit);

		if (r < 0)
			return r;
	}
	return 0;
}

int quota_fields(const char *fields, struct ps_usage *limit)
{
	struct ps_bytes rest = ps_bytes_str(fields);
	int result = 0;

	while (rest.len > 0) {
		struct ps_bytes field = cut(&rest, ' '), value = field, key = cut(&value, '=');
		int r = 0;

		if (ps_bytes_eq_str(key, "quota_rule"))
			r = set_rule(value, limit);
		else if (key.len > 6 && memcmp(key.ptr, "quota_", 6) == 0)
			r = set_amount(own, field, limit);
		if (r < 0)
			result = r;
	}
	return result;
}
