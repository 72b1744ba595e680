/* SPDX-License-Identifier: MIT */
/* What the plugin exports. */
#include "postern/plugin.h"
#include "protocols/pop3/pop3.h"

static const struct ps_setting settings[] = {
	{.name = "maildrop",
	 .type = PS_SET_CHOICE,
	 .def = "exclusive",
	 .choices = "exclusive shared",
	 .help = "whether a user may have one POP3 session at a time, as RFC 1939 has it, or several"},
	{.name = "uidl_format",
	 .type = PS_SET_CHOICE,
	 .def = "dovecot",
	 .choices = "dovecot uw cyrus cyrus-old courier courier-old email-id",
	 .help = "how unique-ids look: as those of the server that clients come from, so that they do not download "
		 "again"},
	{.name = "mark_seen",
	 .type = PS_SET_BOOL,
	 .def = "yes",
	 .help = "what was retrieved is \\Seen in IMAP after QUIT"},
	{.name = "login_delay",
	 .type = PS_SET_TIME,
	 .def = "0s",
	 .max = 24 * 60 * 60,
	 .help = "how long a user has to wait from one log-in to the next, RFC 2449 section 6.5"},
	{.name = "autologout",
	 .type = PS_SET_TIME,
	 .def = "10m",
	 .min = 10,
	 .max = 24 * 60 * 60,
	 .help = "after this time without a command a session ends and deletes nothing; RFC 1939 wants 10 minutes at "
		 "least"},
	{.name = NULL},
};

static const struct ps_protocol protocol = {
	.service = "pop3",
	.front = &pop3_front_half,
	.mail = &pop3_mail_half,
	.busy_text = "-ERR [SYS/TEMP] The server cannot serve you now; try again later\r\n",
	.crowded_text = "-ERR [SYS/TEMP] You have as many sessions as you may\r\n",
	.alpn = "pop3",
	.gss_service = "pop",
};

PS_PLUGIN_EXPORT = {
	.abi = PS_ABI,
	.size = sizeof(struct ps_plugin),
	.kind = PS_PLUGIN_PROTOCOL,
	.ops_size = sizeof(struct ps_protocol),
	.name = "pop3",
	.summary = "POP3 (RFC 1939)",
	.build = PS_BUILD,
	.ops = &protocol,
	.settings = settings,
};
