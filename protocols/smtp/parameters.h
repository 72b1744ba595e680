/* SPDX-License-Identifier: MIT */
/*
 * protocols/smtp/parameters.h - "KEYWORD=value" behind a path, as rows of a table.
 */
#ifndef PROTOCOLS_SMTP_PARAMETERS_H
#define PROTOCOLS_SMTP_PARAMETERS_H

#include <stdint.h>
#include "postern/buf.h"

struct smtp_parameter {
	const char *keyword;
	/* `value` {NULL, 0}: none was given. PS_E_SYNTAX; PS_E_LIMIT: the message is too large. */
	int (*take)(void *arg, struct ps_bytes value);
};

/* Takes all there are, each once. PS_E_UNSUPPORTED: one is not known; or what its row says. */
int smtp_read_parameters(struct ps_bytes argument, const struct smtp_parameter *table, size_t count, void *arg);

/* Of MAIL. */
struct smtp_mail_args {
	bool is_tls;      /* the session has TLS */
	uint32_t options; /* PS_MAIL_* */
	uint64_t size, size_limit;
	struct ps_buf envid;
};
extern const struct smtp_parameter smtp_mail_parameters[];
extern const size_t smtp_mail_parameter_count;

/* Of RCPT. */
struct smtp_rcpt_args {
	bool utf8; /* of the transaction */
	uint32_t notify;
	struct ps_buf orcpt;
};
extern const struct smtp_parameter smtp_rcpt_parameters[];
extern const size_t smtp_rcpt_parameter_count;

#endif
