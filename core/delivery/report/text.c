/* SPDX-License-Identifier: MIT */
/* What a person reads. */
#include "core/delivery/report/private.h"
#include "postern/pool.h"

enum {
	LISTED_MAX = 100, /* recipients; all are in the part for programs */
	WRAP_AT = 72,
};

/* In the order in which they are told. */
static const struct chapter {
	enum ps_report_action action;
	const char *subject, *first, *last;
} chapters[] = {
	{PS_REPORT_FAILED, "Your message could not be delivered", "Your message could not be delivered to",
	 "It will not be tried again."},
	{PS_REPORT_DELAYED, "Your message is delayed", "Your message could not be delivered yet to",
	 "The server goes on trying, and will tell you if it gives up. There is no need to send the message again."},
	{PS_REPORT_DELIVERED, "Your message was delivered", "Your message was delivered to", NULL},
	{PS_REPORT_RELAYED, "Your message was passed on",
	 "Your message was passed on to a server that sends no reports of this kind, for", NULL},
};

const char *report_subject(const struct ps_report *report)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(chapters); i++)
		for (size_t j = 0; j < report->count; j++)
			if (report->recipients[j].action == chapters[i].action)
				return chapters[i].subject;
	return "About your message";
}

/* Words, wrapped and indented. */
static void put_words(const char *text, unsigned indent, struct ps_buf *out)
{
	size_t column = 0;

	while (*text) {
		size_t len = strcspn(text, " ");

		if (column > 0 && column + 1 + len > WRAP_AT) {
			ps_buf_char(out, '\n');
			column = 0;
		}
		if (column > 0)
			ps_buf_char(out, ' ');
		else
			ps_buf_printf(out, "%*s", (int)indent, "");
		column += (column > 0 ? 1 : indent) + len;
		ps_buf_append(out, text, len);
		text += len;
		text += strspn(text, " ");
	}
	ps_buf_char(out, '\n');
}

static void put_escaped(const char *text, size_t max, unsigned indent, struct ps_buf *out)
{
	struct ps_buf safe = {0};

	report_escape(text, true, max, &safe);
	put_words(ps_buf_cstr(&safe), indent, out);
	ps_buf_finish(&safe);
}

static void put_reply(const struct ps_report_recipient *recipient, struct ps_buf *out)
{
	struct ps_buf reply = {0};

	if (recipient->host)
		ps_buf_printf(&reply, "The server %s said: ", recipient->host);
	if (recipient->code)
		ps_buf_printf(&reply, "%u ", recipient->code);
	if (recipient->code && report_enhanced_valid(recipient->enhanced))
		ps_buf_printf(&reply, "%s ", recipient->enhanced);
	ps_buf_str(&reply, recipient->text);
	put_escaped(ps_buf_cstr(&reply), REPORT_TEXT_MAX, 4, out);
	ps_buf_finish(&reply);
}

/* The name that the sender knows, and what it led to. */
static void put_address(const struct ps_report_recipient *recipient, struct ps_buf *out)
{
	const char *original = recipient->orcpt ? strchr(recipient->orcpt, ';') : NULL;
	struct ps_buf line = {0};

	if (original && original[1] && ps_strcasecmp(original + 1, recipient->address) != 0)
		ps_buf_printf(&line, "%s (which goes to %s)", original + 1, recipient->address);
	else
		ps_buf_str(&line, recipient->address);
	put_escaped(ps_buf_cstr(&line), (size_t)2 * PS_PATH_MAX, 2, out);
	ps_buf_finish(&line);
}

static void put_recipient(const struct ps_report_recipient *recipient, struct ps_buf *out)
{
	bool bad = recipient->action == PS_REPORT_FAILED || recipient->action == PS_REPORT_DELAYED;
	const char *meaning = report_explain(recipient->enhanced);

	put_address(recipient, out);
	if (bad && meaning)
		put_words(meaning, 4, out);
	if (bad && recipient->text)
		put_reply(recipient, out);
	if (recipient->action == PS_REPORT_FAILED && recipient->enhanced && recipient->enhanced[0] == '4')
		ps_buf_str(out, "    It was tried for as long as this server tries.\n");
	if (recipient->action == PS_REPORT_DELAYED && recipient->retried_until > 0) {
		ps_buf_str(out, "    It is tried until ");
		report_date(recipient->retried_until, out);
		ps_buf_str(out, ".\n");
	}
	ps_buf_char(out, '\n');
}

static void put_chapter(const struct ps_report *report, const struct chapter *chapter, struct ps_buf *out)
{
	size_t count = 0;

	for (size_t i = 0; i < report->count; i++) {
		if (report->recipients[i].action != chapter->action)
			continue;
		if (count++ == 0)
			ps_buf_printf(out, "%s:\n\n", chapter->first);
		if (count <= LISTED_MAX)
			put_recipient(&report->recipients[i], out);
	}
	if (count > LISTED_MAX)
		ps_buf_printf(out, "and to %zu more.\n\n", count - LISTED_MAX);
	if (count > 0 && chapter->last) {
		put_words(chapter->last, 0, out);
		ps_buf_char(out, '\n');
	}
}

static void put_line(const char *name, const char *value, struct ps_buf *out)
{
	if (!*value)
		return;
	ps_buf_printf(out, "  %-10s", name);
	report_escape(value, true, 200, out);
	ps_buf_char(out, '\n');
}

/* So that they know which one it is about. */
static void put_message(const struct ps_report *report, const struct original *original, struct ps_buf *out)
{
	ps_buf_str(out, "This is about the message\n\n");
	put_line("Subject:", original_text(&original->subject), out);
	put_line("Date:", original_text(&original->date), out);
	ps_buf_printf(out, "  %-10s", "Queue id:");
	report_escape(report->original_id, false, 100, out);
	ps_buf_printf(out, "\n\n%s\n", original->whole ? "which is attached." : "The header of it is attached.");
}

void report_text(const struct ps_report *report, const struct original *original, struct ps_buf *out)
{
	ps_buf_str(out, "This is the mail server ");
	report_escape(report->hostname, false, 255, out);
	ps_buf_str(out, ".\n\n");
	for (size_t i = 0; i < PS_ARRAY_LEN(chapters); i++)
		put_chapter(report, &chapters[i], out);
	put_message(report, original, out);
}
