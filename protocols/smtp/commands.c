/* SPDX-License-Identifier: MIT */
/* All commands; each is in the file of its name. */
#include "postern/pool.h"
#include "protocols/smtp/commands.h"

static const struct smtp_verb *const verbs[] = {
	&smtp_cmd_auth, &smtp_cmd_bdat, &smtp_cmd_data,     &smtp_cmd_ehlo, &smtp_cmd_helo,
	&smtp_cmd_help, &smtp_cmd_lhlo, &smtp_cmd_mail,     &smtp_cmd_noop, &smtp_cmd_quit,
	&smtp_cmd_rcpt, &smtp_cmd_rset, &smtp_cmd_starttls, &smtp_cmd_vrfy, &smtp_cmd_xclient,
};

static bool is_known(const struct smtp *smtp, const struct smtp_verb *verb)
{
	return (verb->where & 1U << smtp->kind) && (!verb->available || verb->available(smtp));
}

const struct smtp_verb *smtp_verb_find(const struct smtp *smtp, struct ps_bytes name)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(verbs); i++)
		if (ps_bytes_caseeq_str(name, verbs[i]->name))
			return is_known(smtp, verbs[i]) ? verbs[i] : NULL;
	return NULL;
}

const struct smtp_verb *smtp_verb_nth(const struct smtp *smtp, size_t n)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(verbs); i++)
		if (is_known(smtp, verbs[i]) && n-- == 0)
			return verbs[i];
	return NULL;
}
