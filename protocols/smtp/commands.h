/* SPDX-License-Identifier: MIT */
/* The commands, one file each. */
#ifndef PROTOCOLS_SMTP_COMMANDS_H
#define PROTOCOLS_SMTP_COMMANDS_H

#include "protocols/smtp/smtp.h"

extern const struct smtp_verb smtp_cmd_auth, smtp_cmd_bdat, smtp_cmd_data, smtp_cmd_ehlo, smtp_cmd_helo, smtp_cmd_help,
	smtp_cmd_lhlo, smtp_cmd_mail, smtp_cmd_noop, smtp_cmd_quit, smtp_cmd_rcpt, smtp_cmd_rset, smtp_cmd_starttls,
	smtp_cmd_vrfy, smtp_cmd_xclient;

bool smtp_is_name(struct ps_bytes name); /* cmd_helo.c: what a host may call itself */
/* cmd_helo.c: takes a client's name; false: it is none, and that was said. */
bool smtp_take_name(struct smtp_cmd *cmd, bool extended);

#endif
