/* SPDX-License-Identifier: MIT */
/* The plugin submission: mail from our users for anybody, on ports 587 and 465. */
#include "postern/plugin.h"
#include "postern/protocol.h"
#include "protocols/smtp/settings.h"
#include "protocols/smtp/smtp.h"

static const struct ps_setting settings[] = {
	SMTP_COMMON_SETTINGS("20"),
	{.name = NULL},
};

static const struct ps_protocol protocol = {
	.service = "submission",
	.front = &smtp_submission_half,
	.busy_text = "421 4.3.2 The server cannot serve you now; try again later\r\n",
	.ended_text = "421 4.7.0 This session was ended by the server\r\n",
	.alpn = "smtp esmtp",
	.gss_service = "smtp",
};

PS_PLUGIN_EXPORT = {
	.abi = PS_ABI,
	.size = sizeof(struct ps_plugin),
	.kind = PS_PLUGIN_PROTOCOL,
	.ops_size = sizeof(struct ps_protocol),
	.name = "submission",
	.summary = "message submission (RFC 6409), mail from our users to anybody",
	.build = PS_BUILD,
	.ops = &protocol,
	.settings = settings,
};
