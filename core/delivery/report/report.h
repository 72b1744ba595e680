/* SPDX-License-Identifier: MIT */
/*
 * core/delivery/report/report.h - tells a sender what became of a message: delivery status notifications (RFC 3461, 3464; 6533 for
 * addresses that are not ASCII).
 *
 * What a report is made from is other people's: replies of servers, addresses, the message itself. It is escaped where it must be, and bounded.
 */
#ifndef CORE_DELIVERY_REPORT_REPORT_H
#define CORE_DELIVERY_REPORT_REPORT_H

#include <stddef.h>
#include "postern/envelope.h"

enum ps_report_action {
	PS_REPORT_FAILED,
	PS_REPORT_DELAYED,
	PS_REPORT_DELIVERED,
	PS_REPORT_RELAYED, /* to a server that makes no reports */
};

struct ps_report_recipient {
	enum ps_report_action action;
	const char *address;   /* that the mail was for in the end */
	const char *orcpt;     /* "rfc822;joe@example.org", decoded; NULL: none */
	unsigned code;         /* of the server's reply; 0: there was none */
	const char *enhanced;  /* "5.1.1"; NULL: not known */
	const char *text;      /* of the reply, or what else was the matter; may be NULL */
	const char *host;      /* who said so; NULL: this server */
	int64_t attempted;     /* seconds since 1970; 0: never */
	int64_t retried_until; /* of DELAYED; 0: not known */
};

struct ps_report {
	const char *hostname; /* of this server */
	const char *id;       /* of the report, as the queue names it: letters and digits */
	int64_t time;         /* now, seconds since 1970 */

	/* The message. */
	const char *reverse_path;
	const char *envid; /* NULL: none */
	const char *original_id;
	uint32_t options; /* PS_MAIL_* */
	int64_t arrival;
	int file; /* in CRLF form; stays the caller's, and where it stands */
	uint64_t size;
	uint64_t returned_max; /* larger ones do not go back whole; the setting relay.report_message_size */

	const struct ps_report_recipient *recipients;
	size_t count;
};

/* Whether the sender wants to hear of it (RFC 3461 section 4.1). Never for the null reverse-path. `notify`: PS_NOTIFY_*, 0: as the
 * sender said nothing. */
bool ps_report_is_due(const char *reverse_path, uint32_t notify, enum ps_report_action action);

/* Writes the report to `out_file`, from where that stands, in CRLF form. It goes to the reverse-path, with the null reverse-path as
 * its own, NOTIFY=NEVER, and *ret_options (PS_MAIL_8BITMIME, PS_MAIL_SMTPUTF8, PS_MAIL_REQUIRETLS). Blocks on disk; any thread. */
int ps_report_write(const struct ps_report *report, int out_file, uint64_t *ret_size, uint32_t *ret_options);

#endif
