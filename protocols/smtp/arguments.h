/* SPDX-License-Identifier: MIT */
/*
 * protocols/smtp/arguments.h - what MAIL and RCPT share: a path, then parameters. What is wrong with them is said to the client.
 */
#ifndef PROTOCOLS_SMTP_ARGUMENTS_H
#define PROTOCOLS_SMTP_ARGUMENTS_H

#include "protocols/smtp/parameters.h"
#include "protocols/smtp/smtp.h"

/* Takes "word<path>" off the argument, UTF-8 or not; false: there is none, and that was said. */
bool smtp_take_address(struct smtp_cmd *cmd, const char *word, struct ps_buf *path);
/* smtp_read_parameters(); false: one is wrong, and that was said. */
bool smtp_take_parameters(struct smtp *smtp, struct ps_bytes argument, const struct smtp_parameter *table, size_t count,
			  void *arg);

#endif
