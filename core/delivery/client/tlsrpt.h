/* SPDX-License-Identifier: MIT */
/*
 * core/delivery/client/tlsrpt.h - what came of TLS with which domain, counted by day (UTC) in the words of RFC 8460: successes, and failures by
 * their kind.
 *
 * A day is a file of the folder, tls-report-2026-11-23.json: an object with a member for each domain, { policy-type, successful, failed {
 * kind: count } }. It is written within ten seconds of a change, and at the end; after a restart counting goes on.
 */
#ifndef CORE_DELIVERY_CLIENT_TLSRPT_H
#define CORE_DELIVERY_CLIENT_TLSRPT_H

#include <jansson.h>
#include <stddef.h>

struct ps_loop;
struct tlsrpt;

/* NULL: the folder cannot be had; told in the log. */
struct tlsrpt *tlsrpt_create(struct ps_loop *loop, const char *folder);
void tlsrpt_destroy(struct tlsrpt *report); /* destroy(NULL) does nothing */
/* `policy`: "tlsa", "sts", "no-policy-found". `failure`: a result type of RFC 8460 section 4.3, or NULL: a success. Without a report (NULL)
 * nothing is counted. */
void tlsrpt_count(struct tlsrpt *report, const char *domain, const char *policy, const char *failure);
/* A page of a day ("2026-11-23"; NULL: today): { day, rows [ { domain, policy-type, successful, failed } ] by name, next }: what to give as `after` for
 * the next page; absent: that was all. PS_E_INVALID: not a day. */
int tlsrpt_page(struct tlsrpt *report, const char *day, const char *after, size_t most, json_t **ret_page);

#endif
