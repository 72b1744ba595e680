/* SPDX-License-Identifier: MIT */
/* What the plugin exports. */
#include "postern/plugin.h"
#include "postern/protocol.h"
#include "protocols/imap/imap.h"

static const struct ps_setting settings[] = {
	{.name = "literal",
	 .type = PS_SET_CHOICE,
	 .def = "minus",
	 .choices = "plus minus",
	 .help = "non-synchronising literals: of any size (LITERAL+) or up to 4 KiB (LITERAL-), RFC 7888"},
	{.name = "preauth_literal_size",
	 .type = PS_SET_SIZE,
	 .def = "4K",
	 .min = 256,
	 .max = 8 << 10,
	 .help = "largest literal before log-in"},
	{.name = "command_size",
	 .type = PS_SET_SIZE,
	 .def = "64K",
	 .min = 8 << 10,
	 .max = 16 << 20,
	 .help = "longest command after log-in, its literals included but not the message of APPEND"},
	{.name = "idle_keepalive",
	 .type = PS_SET_TIME,
	 .def = "2m",
	 .max = 29 * 60,
	 .help = "while a client is in IDLE, how often it is told that the server is still there; 0: never"},
	{.name = "unauthenticate",
	 .type = PS_SET_BOOL,
	 .def = "yes",
	 .help = "a client may log out and in again on one connection, RFC 8437"},
	{.name = "progress_interval",
	 .type = PS_SET_TIME,
	 .def = "10s",
	 .max = 29 * 60,
	 .help = "how often a client is told how far a long SEARCH, SORT or THREAD is; 0: after each message, for "
		 "tests"},
	{.name = "compress", .type = PS_SET_BOOL, .def = "yes", .help = "COMPRESS=DEFLATE is offered, RFC 4978"},
	{.name = "compress_level",
	 .type = PS_SET_INT,
	 .def = "6",
	 .min = 1,
	 .max = 9,
	 .help = "how hard it is tried to make it small: 1 is quick, 9 is small"},
	{.name = NULL},
};

static const struct ps_protocol protocol = {
	.service = "imap",
	.front = &imap_front_half,
	.mail = &imap_mail_half,
	.busy_text = "* BYE [UNAVAILABLE] The server cannot serve you now; try again later\r\n",
	.bye_text = "* BYE [UNAVAILABLE] The server is going down\r\n",
	.ended_text = "* BYE This session was ended by the server; log in again\r\n",
	.crowded_text = "* BYE [LIMIT] You have as many sessions as you may\r\n",
	.alpn = "imap",
	.gss_service = "imap",
};

PS_PLUGIN_EXPORT = {
	.abi = PS_ABI,
	.size = sizeof(struct ps_plugin),
	.kind = PS_PLUGIN_PROTOCOL,
	.ops_size = sizeof(struct ps_protocol),
	.name = "imap",
	.summary = "IMAP4rev1 and IMAP4rev2 (RFC 3501, 9051)",
	.build = PS_BUILD,
	.ops = &protocol,
	.settings = settings,
};
