/* SPDX-License-Identifier: MIT */
/*
 * core/delivery/report/private.h - what the files of this folder share.
 */
#ifndef CORE_DELIVERY_REPORT_PRIVATE_H
#define CORE_DELIVERY_REPORT_PRIVATE_H

#include "core/delivery/report/report.h"
#include "postern/buf.h"

enum {
	REPORT_TEXT_MAX = 1000,        /* octets of a reply that are told */
	REPORT_HEADER_MAX = 64 * 1024, /* of the message's header that go back */
	REPORT_LINE_MAX = 998,         /* RFC 5322 section 2.1.1, without CRLF */
};

/* What of the message goes back. */
struct original {
	struct ps_buf octets;
	bool whole;                              /* not its header alone */
	bool has_8bit;                           /* octets that are not ASCII */
	struct ps_buf message_id, subject, date; /* for people and their programs, NUL-terminated; empty: none */
};

static inline const char *original_text(const struct ps_buf *buf)
{
	return buf->len ? (const char *)buf->ptr : "";
}

/* ---- original.c */
int original_read(const struct ps_report *report, struct original *original);
void original_finish(struct original *original);

/* ---- write.c: pieces of text, safe */
bool report_is_ascii(const char *text);
/* "Mon, 23 Nov 2026 13:20:00 +0000" */
void report_date(int64_t time, struct ps_buf *out);
/* `text` on one line, its control octets and what is not UTF-8 (not ASCII, unless `utf8`) as \xHH; at most `max` octets. */
void report_escape(const char *text, bool utf8, size_t max, struct ps_buf *out);
/* `text` (UTF-8, LF) as quoted-printable with CRLF. */
void report_quoted_printable(struct ps_bytes text, struct ps_buf *out);
/* "Name: value", folded at blanks, or anywhere when there is none. */
void report_field(const char *name, struct ps_bytes value, struct ps_buf *out);

/* ---- explain.c */
/* What an enhanced status code means, in a sentence; NULL: nothing that it would say. */
const char *report_explain(const char *enhanced);
bool report_enhanced_valid(const char *enhanced);

/* ---- fields.c: the part for programs. `global`: RFC 6533. */
void report_fields(const struct ps_report *report, bool global, struct ps_buf *out);
/* ---- text.c: the part for people, UTF-8 with LF */
void report_text(const struct ps_report *report, const struct original *original, struct ps_buf *out);
const char *report_subject(const struct ps_report *report);

#endif
