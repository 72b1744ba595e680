/* SPDX-License-Identifier: MIT */
/*
 * core/net/https.h - GET by HTTPS, on the loop, by libcurl.
 *
 * No redirects, no proxies, no cookies, no connection kept; the certificate must be of the host's name, by an authority that is believed. Addresses are
 * the caller's to find. libcurl is loaded here and not linked, so that of all processes only one that asks has it, with what it brings along.
 */
#ifndef CORE_NET_HTTPS_H
#define CORE_NET_HTTPS_H

#include <sys/socket.h>
#include "core/event/loop.h"
#include "postern/buf.h"

struct https;
struct https_get;

struct https_request {
	const char *host; /* "mta-sts.example.org" */
	const char *path; /* "/.well-known/mta-sts.txt" */
	uint16_t port;
	const struct sockaddr_storage *addresses; /* of the host; their ports do not matter */
	size_t count;
	size_t limit; /* octets of the body */
	unsigned timeout_ms;
};

struct https_answer {
	unsigned status;
	const char *type; /* Content-Type; NULL: none */
	struct ps_bytes body;
};

/* Before confinement, if there is one. PS_E_UNSUPPORTED: libcurl is not installed, or lacks HTTPS. */
int https_load(void);
/* `ca_file`: whom to believe; NULL: the system's authorities. */
int https_create(struct ps_loop *loop, const char *ca_file, struct https **ret_https);
/* Ends what is under way, without a call of its function. destroy(NULL) does nothing. */
void https_destroy(struct https *https);

/* Called once, later; the get is gone when it returns. `error` negative: there is no answer, for the reason in ps_last_error(). PS_E_ACCESS: the
 * certificate is not right; PS_E_LIMIT: too long. */
typedef void (*https_fn)(void *arg, int error, const struct https_answer *answer);
int https_get(struct https *https, const struct https_request *request, https_fn fn, void *arg,
	      struct https_get **ret_get);
void https_cancel(struct https_get *get); /* cancel(NULL) does nothing */

#endif
