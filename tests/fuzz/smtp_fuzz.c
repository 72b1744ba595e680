/* SPDX-License-Identifier: MIT */
/*
 * What an SMTP client may send: the lines of a message, its header, paths, parameters. Read in one piece and in small ones, it
 * must be the same.
 */
#include <stdlib.h>
#include "postern/error.h"
#include "protocols/smtp/lines.h"
#include "protocols/smtp/message.h"
#include "protocols/smtp/parameters.h"
#include "protocols/smtp/path.h"
#include "tests/fuzz/fuzz.h"

static void must(bool holds)
{
	if (!holds)
		abort();
}

/* ---- a message ------------------------------------------------------------------------------- */

struct outcome {
	struct ps_buf out;
	size_t taken;
	bool ended;
	const struct smtp_refusal *refusal;
};

static int append(void *arg, struct ps_bytes octets)
{
	return ps_buf_bytes(arg, octets);
}

static struct outcome read_message(struct ps_bytes sent, size_t piece, unsigned how)
{
	struct outcome outcome = {.taken = 0};
	struct smtp_message *message = smtp_message_create(&(struct smtp_message_args){
		.write = append,
		.arg = &outcome.out,
		.size_limit = 8192,
		.received_limit = 5,
		.counted = how & 1,
		.binary = (how & 3) == 3,
		.convert = how & 4,
		.submission = how & 8,
		.reverse_path = how & 16 ? "u@e.test" : "",
		.date = "D",
		.message_id = "1@h",
	});

	while (outcome.taken < sent.len && !smtp_message_has_ended(message)) {
		struct ps_bytes rest = ps_bytes_skip(sent, outcome.taken);

		if (rest.len > piece)
			rest.len = piece;
		outcome.taken += smtp_message_take(message, rest);
	}
	outcome.ended = smtp_message_has_ended(message);
	outcome.refusal = smtp_message_finish(message);
	smtp_message_destroy(message);
	return outcome;
}

/* What is taken has whole line ends and no NUL, and is not longer than what came but for what is added. */
static void is_storable(const struct outcome *outcome)
{
	struct ps_bytes out = ps_buf_view(&outcome->out);

	for (size_t i = 0; i < out.len; i++) {
		must(out.ptr[i] != '\0');
		must(out.ptr[i] != '\r' || (i + 1 < out.len && out.ptr[i + 1] == '\n'));
		must(out.ptr[i] != '\n' || (i > 0 && out.ptr[i - 1] == '\r'));
	}
}

static void fuzz_message(struct ps_bytes sent, size_t piece, unsigned how)
{
	struct outcome whole = read_message(sent, sent.len, how), pieces = read_message(sent, piece, how);

	must(whole.taken == pieces.taken && whole.ended == pieces.ended);
	must((whole.refusal == NULL) == (pieces.refusal == NULL));
	if (!whole.refusal) {
		must(ps_bytes_eq(ps_buf_view(&whole.out), ps_buf_view(&pieces.out)));
		if (whole.ended || how & 1)
			is_storable(&whole);
	}
	ps_buf_finish(&whole.out);
	ps_buf_finish(&pieces.out);
}

/* A message that went out with dots added comes in as it was, and what is behind it stays. */
static void there_and_back(struct ps_bytes sent)
{
	static const char behind[] = "QUIT\r\n";
	struct smtp_lines lines = {.counted = true, .convert = true}, back = {0};
	struct ps_buf text = {0}, wire = {0}, got = {0};
	bool start = true;

	smtp_lines_take(&lines, sent, &text);
	smtp_lines_finish(&lines, &text);
	for (size_t i = 0; i < text.len; i++) {
		if (start && text.ptr[i] == '.')
			ps_buf_char(&wire, '.');
		ps_buf_char(&wire, (char)text.ptr[i]);
		start = text.ptr[i] == '\n';
	}
	ps_buf_str(&wire, ".\r\n");
	ps_buf_str(&wire, behind);
	must(smtp_lines_take(&back, ps_buf_view(&wire), &got) == wire.len - strlen(behind));
	must(back.state == LINES_END && !back.bare && ps_bytes_eq(ps_buf_view(&got), ps_buf_view(&text)));
	ps_buf_finish(&text);
	ps_buf_finish(&wire);
	ps_buf_finish(&got);
}

/* ---- a command ------------------------------------------------------------------------------- */

/* A path that is lawful goes out again in brackets, and means the same there. */
static void fuzz_path(struct ps_bytes argument, bool utf8)
{
	struct ps_buf path = {0}, wire = {0}, again = {0};
	struct ps_bytes text;

	if (smtp_take_path(&argument, utf8, &path) == 0) {
		must(path.len <= 512 && (utf8 || smtp_is_ascii(ps_buf_view(&path))));
		for (size_t i = 0; i < path.len; i++)
			must(path.ptr[i] >= ' ' && path.ptr[i] != 0x7f);
		ps_buf_printf(&wire, "<%s>", ps_buf_cstr(&path));
		text = ps_buf_view(&wire);
		must(smtp_take_path(&text, utf8, &again) == 0 && text.len == 0);
		must(ps_bytes_eq(ps_buf_view(&path), ps_buf_view(&again)));
	}
	ps_buf_finish(&path);
	ps_buf_finish(&wire);
	ps_buf_finish(&again);
}

static void fuzz_parameters(struct ps_bytes argument)
{
	struct smtp_mail_args mail = {.size_limit = 1000};
	struct smtp_rcpt_args rcpt = {.utf8 = true};

	if (smtp_read_parameters(argument, smtp_mail_parameters, smtp_mail_parameter_count, &mail) == 0)
		must(mail.size <= 1000 && mail.envid.len <= 100);
	if (smtp_read_parameters(argument, smtp_rcpt_parameters, smtp_rcpt_parameter_count, &rcpt) == 0)
		must(rcpt.orcpt.len <= 500 && (rcpt.notify == 1 || !(rcpt.notify & 1)));
	ps_buf_finish(&mail.envid);
	ps_buf_finish(&rcpt.orcpt);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ps_bytes sent;

	if (size < 3)
		return 0;
	sent = ps_bytes(data + 2, size - 2);
	fuzz_message(sent, data[0] ? data[0] : 1, data[1]);
	there_and_back(sent);
	fuzz_path(sent, data[1] & 1);
	fuzz_parameters(sent);
	return 0;
}
