/* SPDX-License-Identifier: MIT */
/* core/delivery/client/sts_fetch.h - a policy by HTTPS (RFC 8461 section 3.3), on the loop. */
#ifndef CORE_DELIVERY_CLIENT_STS_FETCH_H
#define CORE_DELIVERY_CLIENT_STS_FETCH_H

#include "core/delivery/client/sts.h"
#include "core/net/https.h"

struct sts_fetch;

/* Called once, later; the fetch is gone then. `error` negative: there is no text, for the reason in ps_last_error(). PS_E_ACCESS: the web server's
 * certificate is not right. */
typedef void (*sts_fetch_fn)(void *arg, int error, struct ps_bytes text);
struct sts_fetch *sts_fetch_begin(struct https *https, const struct sts_options *options, const char *domain,
				  sts_fetch_fn fn, void *arg);
void sts_fetch_cancel(struct sts_fetch *fetch); /* cancel(NULL) does nothing */

#endif
