/* SPDX-License-Identifier: MIT */
/* The plugin lmtp: mail for our users from other mail servers of the house. */
#include "postern/plugin.h"
#include "postern/protocol.h"
#include "protocols/smtp/settings.h"
#include "protocols/smtp/smtp.h"

static const struct ps_setting settings[] = {
	SMTP_COMMON_SETTINGS("1000"),
	{.name = NULL},
};

static const struct ps_protocol protocol = {
	.service = "lmtp",
	.front = &smtp_lmtp_half,
	.busy_text = "421 4.3.2 The server cannot serve you now; try again later\r\n",
	.ended_text = "421 4.7.0 This session was ended by the server\r\n",
	.alpn = "lmtp",
	.gss_service = "lmtp",
};

PS_PLUGIN_EXPORT = {
	.abi = PS_ABI,
	.size = sizeof(struct ps_plugin),
	.kind = PS_PLUGIN_PROTOCOL,
	.ops_size = sizeof(struct ps_protocol),
	.name = "lmtp",
	.summary = "LMTP (RFC 2033), mail for our users from servers of the house",
	.build = PS_BUILD,
	.ops = &protocol,
	.settings = settings,
};
