/* SPDX-License-Identifier: MIT */
/*
 * protocols/smtp/parameters.h - what MAIL and RCPT share: a path, then parameters, which are rows of a table.
 */
#ifndef PROTOCOLS_SMTP_PARAMETERS_H
#define PROTOCOLS_SMTP_PARAMETERS_H

#include "protocols/smtp/smtp.h"

struct smtp_parameter {
	const char *keyword;
	/* `value` {NULL, 0}: none was given. PS_E_SYNTAX; PS_E_LIMIT: the message is too large. */
	int (*take)(void *arg, struct ps_bytes value);
};

/* Takes the parameters behind a path, each once; false: one is wrong, and that was said. */
bool smtp_take_parameters(struct smtp *smtp, struct ps_bytes argument, const struct smtp_parameter *table, size_t count,
			  void *arg);
/* The same, and nothing is said. PS_E_UNSUPPORTED: one is not known. */
int smtp_read_parameters(struct ps_bytes argument, const struct smtp_parameter *table, size_t count, void *arg);
/* Takes "word<path>" off the argument, UTF-8 or not; false: there is none, and that was said. */
bool smtp_take_address(struct smtp_cmd *cmd, const char *word, struct ps_buf *path);
bool smtp_is_ascii(struct ps_bytes text);

/* The rows of MAIL and RCPT; for their tests, too. */
struct smtp_mail_args {
	uint32_t options;
	uint64_t size, size_limit;
	struct ps_buf envid;
};
extern const struct smtp_parameter smtp_mail_parameters[];
extern const size_t smtp_mail_parameter_count;

struct smtp_rcpt_args {
	bool utf8; /* of the transaction */
	uint32_t notify;
	struct ps_buf orcpt;
};
extern const struct smtp_parameter smtp_rcpt_parameters[];
extern const size_t smtp_rcpt_parameter_count;

#endif
