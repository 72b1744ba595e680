/* SPDX-License-Identifier: MIT */
/* The plugin smtp: mail from anybody for our users, on port 25. */
#include "postern/plugin.h"
#include "postern/protocol.h"
#include "protocols/smtp/settings.h"
#include "protocols/smtp/smtp.h"

static const struct ps_setting settings[] = {
	SMTP_COMMON_SETTINGS("20"),
	{.name = "auth",
	 .type = PS_SET_BOOL,
	 .def = "no",
	 .help = "our users may log in here, too, and send to anybody"},
	{.name = NULL},
};

static const struct ps_protocol protocol = {
	.service = "submission", /* who logs in does so to submit */
	.front = &smtp_mx_half,
	.busy_text = "421 4.3.2 The server cannot serve you now; try again later\r\n",
	.ended_text = "421 4.7.0 This session was ended by the server\r\n",
	.alpn = "smtp esmtp", /* neither is registered; other servers know them */
	.gss_service = "smtp",
};

PS_PLUGIN_EXPORT = {
	.abi = PS_ABI,
	.size = sizeof(struct ps_plugin),
	.kind = PS_PLUGIN_PROTOCOL,
	.ops_size = sizeof(struct ps_protocol),
	.name = "smtp",
	.summary = "SMTP (RFC 5321), mail for our users from anybody",
	.build = PS_BUILD,
	.ops = &protocol,
	.settings = settings,
};
