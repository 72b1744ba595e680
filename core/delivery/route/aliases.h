/* SPDX-License-Identifier: MIT */
/*
 * core/delivery/route/aliases.h - the alias file:
 *
 *	# a comment
 *	sales@example.org      alice@example.org, bob@example.net
 *	info                   sales
 *	        , carol+info@example.org
 *	@example.com           @example.org
 *
 * An address, blanks, and its targets with commas between them; a line that begins with a blank goes on with the one before.
 * What has no domain gets the default one. "@domain" stands for what else there is in a domain; as a target it keeps the local part. A ':' after
 * the address is passed over, so that lines of /etc/aliases are understood, but programs, files and lists (|, /, :include:) are not.
 *
 * A table never changes once it is made.
 */
#ifndef CORE_DELIVERY_ROUTE_ALIASES_H
#define CORE_DELIVERY_ROUTE_ALIASES_H

#include "core/delivery/route/address.h"

#define PS_ALIAS_FILE_MAX (64u << 20)

struct ps_alias_target {
	const char *local; /* NULL: that of the address */
	const char *domain;
};

struct ps_alias {
	const char *key; /* ps_mail_address_key(); "@domain" */
	bool whole_domain;
	unsigned line;
	bool broken; /* its targets could not be read: mail for it must wait */
	struct ps_alias_target *targets;
	size_t count;
};

struct ps_aliases;

struct ps_alias_rules {
	const char *path;           /* for messages */
	const char *default_domain; /* in its one spelling; NULL: none */
	bool (*is_local)(void *arg, const char *domain);
	void *arg;
};

/* Lines that are wrong are passed over, and told in `errors` (may be NULL), one a line, with file and line: as many as fit its limit. *ret_wrong
 * says how many there are. Always gives a table. */
struct ps_aliases *ps_aliases_parse(struct ps_bytes text, const struct ps_alias_rules *rules, struct ps_buf *errors,
				    size_t *ret_wrong);
void ps_aliases_destroy(struct ps_aliases *aliases); /* destroy(NULL) does nothing */
/* NULL: there is none. */
const struct ps_alias *ps_aliases_find(const struct ps_aliases *aliases, const char *key);
/* In the order of their keys; NULL after the last. */
const struct ps_alias *ps_aliases_nth(const struct ps_aliases *aliases, size_t n);

#endif
