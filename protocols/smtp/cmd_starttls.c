/* SPDX-License-Identifier: MIT */
#include "protocols/smtp/commands.h"

/* The handshake is done. All that was said before it is forgotten: it may have been somebody else's (RFC 3207 section 4.2). */
static enum smtp_next begin_anew(struct smtp *smtp)
{
	smtp_forget(smtp);
	smtp->helo[0] = '\0';
	smtp->extended = false;
	return SMTP_NEXT;
}

/* STARTTLS (RFC 3207) */
static enum smtp_next cmd_starttls(struct smtp_cmd *cmd)
{
	struct smtp *smtp = cmd->smtp;

	if (ps_session_is_tls(smtp->session))
		return smtp_say(smtp, 503, "5.5.1", "TLS is active already");
	if (!ps_session_tls_offered(smtp->session))
		return smtp_say(smtp, 454, "4.7.0", "TLS is not available now");
	if (ps_login_is_injected(smtp->session))
		return smtp_bye(smtp, 421, "4.7.0", "Nothing may follow STARTTLS before the handshake");
	smtp_say(smtp, 220, "2.0.0", "Begin TLS now");
	ps_session_starttls(smtp->session);
	return smtp_wait(smtp, (struct ps_wait){.what = PS_WAIT_REPLY}, begin_anew);
}

static bool is_known(const struct smtp *smtp)
{
	return ps_session_is_tls(smtp->session) || ps_session_tls_offered(smtp->session);
}

const struct smtp_verb smtp_cmd_starttls = {
	.name = "STARTTLS",
	.run = cmd_starttls,
	.where = SMTP_EVERYWHERE,
	.flags = SMTP_NO_ARGUMENT | SMTP_NO_MAIL,
	.syntax = "STARTTLS",
	.available = is_known,
};
