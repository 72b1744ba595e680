/* SPDX-License-Identifier: MIT */
/*
 * Whole dialogues of IMAP, POP3 and what other servers ask us by (protocols/auth), before log-in and after, with whatever a client sends, in
 * pieces of any size. All that is said must be lines, and literals as long as they say.
 */
#include <stdlib.h>
#include "protocols/imap/imap.h"
#include "protocols/pop3/pop3.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/session.h"

static const char message[] = "From: Joe <joe@example.test>\r\nTo: a@b.example\r\nSubject: =?utf-8?q?=C3=BC?=\r\n"
			      "Message-ID: <1@example.test>\r\nMIME-Version: 1.0\r\n"
			      "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n.text\r\n--b\r\n"
			      "Content-Type: message/rfc822\r\n\r\nSubject: inner\r\n\r\nx\r\n--b--\r\n";

/* A reply of IMAP: tag or "*" or "+", without control characters but in literals, whose length is right. */
static void check_imap(struct ps_bytes said)
{
	while (said.len > 0) {
		ptrdiff_t lf = ps_bytes_find(said, '\n');
		unsigned long octets;
		struct ps_bytes line;
		ptrdiff_t brace;

		must(lf >= 1 && said.ptr[lf - 1] == '\r');
		line = ps_bytes(said.ptr, (size_t)lf - 1);
		must(!memchr(line.ptr, '\r', line.len) && !memchr(line.ptr, '\0', line.len));
		said = ps_bytes_skip(said, (size_t)lf + 1);
		if (line.len < 3 || line.ptr[line.len - 1] != '}' || line.ptr[0] != '*')
			continue;
		for (brace = (ptrdiff_t)line.len - 2; brace > 0 && ps_isdigit(line.ptr[brace]); brace--)
			;
		if (line.ptr[brace] != '{')
			continue;
		octets = strtoul((const char *)line.ptr + brace + 1, NULL, 10);
		must(octets <= said.len);
		said = ps_bytes_skip(said, octets);
	}
}

static void check_pop3(struct ps_bytes said)
{
	for (ptrdiff_t lf; said.len > 0; said = ps_bytes_skip(said, (size_t)lf + 1))
		must((lf = ps_bytes_find(said, '\n')) >= 1 && said.ptr[lf - 1] == '\r');
}

static void check_auth(struct ps_bytes said)
{
	must(said.len == 0 || said.ptr[said.len - 1] == '\n');
	must(!said.ptr || !memchr(said.ptr, '\0', said.len));
}

extern const struct ps_half auth_half;

static const struct dialogue {
	const struct ps_half *half;
	bool logged_in;
	void (*check)(struct ps_bytes said);
} dialogues[] = {
	{&imap_front_half, false, check_imap}, {&imap_mail_half, true, check_imap},
	{&pop3_front_half, false, check_pop3}, {&pop3_mail_half, true, check_pop3},
	{&auth_half, false, check_auth},
};

static void talk(const struct dialogue *dialogue, struct ps_user *user, struct ps_bytes sent, size_t piece, bool tls)
{
	struct fuzz_session f;
	bool goes_on = true;

	fuzz_session_open(&f, dialogue->half, user);
	f.s.is_tls = tls;
	f.rolls = sent;
	while (goes_on && sent.len > 0) {
		size_t n = sent.len < piece ? sent.len : piece;

		goes_on = fuzz_session_feed(&f, ps_bytes(sent.ptr, n));
		sent = ps_bytes_skip(sent, n);
	}
	f.s.eof = true;
	must(!goes_on || !fuzz_session_run(&f));
	dialogue->check(ps_buf_view(&f.said));
	fuzz_session_close(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct dialogue *dialogue;
	struct ps_user *user = NULL;

	if (size < 2)
		return 0;
	dialogue = &dialogues[data[0] % PS_ARRAY_LEN(dialogues)];
	if (dialogue->logged_in) {
		user = fuzz_user_open();
		for (uint32_t flags = 0; flags < 3; flags++)
			fuzz_append(user, "INBOX", ps_bytes_str(message), flags);
	}
	talk(dialogue, user, ps_bytes(data + 2, size - 2), data[1] ? data[1] : SIZE_MAX, data[0] & 128);
	if (user)
		fuzz_user_close(user);
	return 0;
}
