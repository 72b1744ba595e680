/* SPDX-License-Identifier: MIT */
/*
 * core/delivery/client/sts.h - MTA-STS, RFC 8461: what a domain wants of TLS, told by HTTPS.
 *
 * Policies are kept in memory, and in a folder as they came, so that they hold over a restart and while the domain's web server or DNS is
 * away or interfered with. A policy is asked for when mail goes to its domain. It is fetched again when its id has changed, and, mail or not,
 * when it is a day old or half of its time is over. What is kept counts until its time is over, and then goes.
 */
#ifndef CORE_DELIVERY_CLIENT_STS_H
#define CORE_DELIVERY_CLIENT_STS_H

#include "core/delivery/client/client.h"
#include "postern/buf.h"

enum {
	STS_MX_MAX = 64,
	STS_ID_SIZE = 33,
	STS_TEXT_MAX = 64 * 1024
};

enum sts_mode {
	STS_NONE,
	STS_TESTING,
	STS_ENFORCE,
};

struct sts_policy {
	enum sts_mode mode;
	uint64_t max_age; /* seconds */
	size_t mx_count;
	char mx[STS_MX_MAX][256]; /* "mx.example.org", "*.example.org" */
};

/* Section 3.2. PS_E_SYNTAX: it is none. */
int sts_policy_read(struct ps_bytes text, struct sts_policy *ret_policy);
/* The id of a TXT record of _mta-sts (section 3.1). PS_E_SYNTAX: it is not of this kind. */
int sts_record_read(struct ps_bytes text, char ret_id[STS_ID_SIZE]);
bool sts_policy_has(const struct sts_policy *policy, const char *host);

struct sts;
struct sts_wait;

struct sts_options {
	struct ps_loop *loop;
	struct ps_resolver *resolver;
	const char *ca_file; /* NULL: the system's */
	const char *folder;  /* NULL: in memory only */
	uint16_t port;       /* 0: 443 */
	unsigned timeout_ms; /* 0: a minute */
};

int sts_create(const struct sts_options *options, struct sts **ret_sts);
void sts_destroy(struct sts *sts); /* destroy(NULL) does nothing */
/* What went wrong on the way: its kind, in the words of RFC 8460 section 4.3.2, and a sentence. */
struct sts_problem {
	const char *kind;
	char text[256];
};

/* `policy`: NULL when the domain has none. `problem`: NULL when there is none. Both are valid until the function returns. */
typedef void (*sts_fn)(void *arg, const struct sts_policy *policy, const struct sts_problem *problem);
/* NULL: fn was called already. */
struct sts_wait *sts_ask(struct sts *sts, const char *domain, sts_fn fn, void *arg);
void sts_cancel(struct sts_wait *wait); /* cancel(NULL) does nothing */

#endif
