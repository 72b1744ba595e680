/* SPDX-License-Identifier: MIT */
#include "protocols/smtp/smtp.h"

enum smtp_next smtp_say(struct smtp *smtp, unsigned code, const char *enhanced, const char *text)
{
	struct ps_buf *out = ps_session_output(smtp->session);

	ps_buf_u64(out, code);
	if (*enhanced) {
		ps_buf_char(out, ' ');
		ps_buf_str(out, enhanced);
	}
	ps_buf_char(out, ' ');
	ps_buf_str(out, text);
	ps_buf_str(out, "\r\n");
	if (code >= 500)
		smtp->errors++;
	return SMTP_NEXT;
}

enum smtp_next smtp_bye(struct smtp *smtp, unsigned code, const char *enhanced, const char *text)
{
	smtp_say(smtp, code, enhanced, text);
	return SMTP_CLOSE;
}
