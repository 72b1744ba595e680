/* SPDX-License-Identifier: MIT */
/*
 * core/delivery/route/route.h - where mail for an address goes.
 *
 * Functions over settings and the alias file: no I/O, no waiting. Whether a user exists is asked by the caller, who then comes back for what is
 * to be tried otherwise. A route belongs to one thread, and is made anew when the configuration changes.
 *
 * The order in which an address of a domain of this server is looked for; the first that is there counts:
 *
 *  1. the address in the alias file; then, when it is user+folder, user in the alias file: the folder goes along to
 *     targets on this server that name none
 *  2. the user of that very name; then, when it is user+folder, user, with the folder
 *  3. postmaster, abuse, mailer-daemon: the `postmaster` setting, of the domain or the server
 *  4. @domain in the alias file; else the domain's `catch_all` setting
 *
 * An alias that has itself among its targets goes to the user of that name: "alice  alice, bob" keeps a copy. Other circles are refused (5.4.6).
 *
 * Who did not log in gets mail to no other place than an alias leads to. A local part in which another program may see a way to somewhere else,
 * by '%', '!' or '@', is a user, or the alias of that very name, or refused: the rules of a whole domain do not see it.
 */
#ifndef CORE_DELIVERY_ROUTE_ROUTE_H
#define CORE_DELIVERY_ROUTE_ROUTE_H

#include "core/delivery/route/address.h"
#include "postern/settings.h"

#define PS_ALIAS_DEPTH   10   /* aliases that lead to aliases */
#define PS_ALIAS_TARGETS 1000 /* that one address may lead to */

struct ps_route;

/* Nothing of the settings is kept but the strings, which must stay. */
int ps_route_create(const struct ps_conf *root, struct ps_route **ret_route);
void ps_route_destroy(struct ps_route *route); /* destroy(NULL) does nothing */

/* The alias file, as it reads now; `path` is for messages. What is wrong is told in `errors` (may be NULL) with file and line. 0, or
 * PS_E_SYNTAX: some lines are wrong, and left out. */
int ps_route_set_aliases(struct ps_route *route, struct ps_bytes text, const char *path, struct ps_buf *errors);
/* The file of the smarthost's password: its first line. */
int ps_route_set_password(struct ps_route *route, struct ps_bytes text);
/* Aliases that lead in circles, or to too many: for `postern config check`. One line each. */
int ps_route_check_aliases(struct ps_route *route, const char *path, struct ps_buf *errors);

/* `domain` in any spelling. */
bool ps_route_is_local(const struct ps_route *route, const char *domain);

/* ---- from an address to those who get it ----------------------------------------------------- */

enum ps_target_kind {
	PS_TARGET_LOCAL,
	PS_TARGET_REMOTE,
	PS_TARGET_REFUSED,
};

struct ps_target {
	enum ps_target_kind kind;
	const char *address; /* in its one spelling, as a path holds it; the refused one */
	/* "rfc822;..." or "utf-8;...", not encoded: what to say (RFC 3461 section 5.2.7) when the sender gave none. NULL: not by alias. */
	const char *orcpt;
	bool by_alias;

	/* LOCAL. The name to look up; unknown: ps_route_otherwise(). */
	const char *user;
	const char *detail; /* the folder of user+folder, for INBOX where there is none of the name; NULL: none given */

	/* REMOTE. For ps_route_hop(). */
	const char *domain;
	bool needs_smtputf8; /* the address is not ASCII */

	/* REFUSED. What RCPT is answered with. */
	unsigned code;
	const char *enhanced, *text;

	/* The route's own: where to go on. */
	struct {
		struct ps_mail_address name;
		unsigned step, depth;
		const char *original, *detail;
	} rest;
};

/* Who gets mail for `forward_path` ("local@domain", or "postmaster"). `relay`: the sender may send to anywhere, because they have logged in, or it
 * is our own mail. At least one target, none twice, in `pool`; a refusal of the whole is one target that says so, and one alias
 * of many that cannot be followed is such a target among others. */
void ps_route_expand(struct ps_route *route, struct ps_pool *pool, const char *forward_path, bool relay,
		     struct ps_target **ret_targets, size_t *ret_count);
/* The user of a LOCAL target is unknown: what instead. In the end one that is REFUSED, 550 5.1.1. */
void ps_route_otherwise(struct ps_route *route, struct ps_pool *pool, const struct ps_target *unknown,
			struct ps_target **ret_targets, size_t *ret_count);
/* Whether mail to this address would reach the user by its own name or an alias, so that they may use it as a sender. The rules of a whole
 * domain do not count: they would make the addresses of other users theirs. */
bool ps_route_is_own(struct ps_route *route, const char *user, const char *address);

/* ---- from a domain to the next host ---------------------------------------------------------- */

enum ps_hop_tls {
	PS_HOP_TLS_NONE,          /* not even when it is offered */
	PS_HOP_TLS_OPPORTUNISTIC, /* when offered; DANE and MTA-STS where the domain publishes them */
	PS_HOP_TLS_REQUIRED,      /* encrypted, to whoever it is */
	PS_HOP_TLS_VERIFY,        /* encrypted, and the certificate is that of the host's name */
	PS_HOP_TLS_DANE,          /* encrypted, and verified by TLSA records */
};

#define PS_HOP_KEY_MAX 300

struct ps_hop {
	/* Names the destination, for the queue and the schedule: "mx:example.org", "host:10.0.0.1:25", "host:10.0.0.1:25/verify",
	 * "smarthost:smtp.example.net:587". The same key,
	 * the same hop, under one configuration. */
	char key[PS_HOP_KEY_MAX];
	const char *domain; /* of the recipients; in `pool` */
	const char *host;   /* name, or address without brackets; NULL: by the MX of `domain` */
	uint16_t port;
	enum ps_hop_tls tls;
	bool smarthost;
	const char *user, *password; /* NULL: no log-in. The route's, until it is changed or destroyed */
};

/* Where mail for a domain is sent: what `transport` says of it, of a domain that it is below, or of "*"; else the smarthost; else its MX. */
int ps_route_hop(const struct ps_route *route, struct ps_pool *pool, const char *domain, struct ps_hop *ret_hop);

#endif
