/* SPDX-License-Identifier: MIT */
#include "core/delivery/notice.h"
#include "core/delivery/report/private.h"
#include "postern/extension.h"
#include "postern/log.h"

static struct {
	void (*pass)(void *arg, const char *user, const char *subject, const char *text);
	void *arg;
} to; /* set once, before there are threads */

void ps_notices_to(void (*pass)(void *arg, const char *user, const char *subject, const char *text), void *arg)
{
	to.pass = pass;
	to.arg = arg;
}

void ps_tell_user(const char *user, const char *subject, const char *text)
{
	ps_log(PS_LOG_INFO, "notice", "user", user, "subject", subject, NULL);
	if (to.pass)
		to.pass(to.arg, user, subject, text);
}

void ps_notice_write(const struct ps_notice *notice, struct ps_buf *out)
{
	struct ps_buf subject = {0};

	report_escape(notice->subject, false, PS_NOTICE_SUBJECT_MAX, &subject);
	ps_buf_str(out, "Date: ");
	report_date(notice->time, out);
	ps_buf_printf(out,
		      "\r\nFrom: \"Mail server %s\" <mailer-daemon@%s>\r\n"
		      "To: <%s>\r\n"
		      "Subject: %s\r\n"
		      "Message-ID: <%s.notice@%s>\r\n"
		      "Auto-Submitted: auto-generated\r\n"
		      "MIME-Version: 1.0\r\n"
		      "Content-Type: text/plain; charset=utf-8\r\n"
		      "Content-Language: en\r\n"
		      "Content-Transfer-Encoding: quoted-printable\r\n"
		      "\r\n",
		      notice->hostname, notice->hostname, notice->user, ps_buf_cstr(&subject), notice->id,
		      notice->hostname);
	report_quoted_printable(ps_bytes_str(notice->text), out);
	ps_buf_finish(&subject);
}
