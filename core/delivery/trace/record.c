/* SPDX-License-Identifier: MIT */
/*
 * A record: time (8 octets), kind (1), code (4), size (8), all with the most significant octet first, then each text after its length (2);
 * 0xffff: it is absent. New texts go to the end; a reader passes over what it does not know.
 */
#include <stdio.h>
#include <time.h>
#include "core/delivery/trace/private.h"
#include "postern/error.h"

#define ABSENT 0xffffu

static const char *const kinds[] = {
	[PS_TRACE_RECEIVED] = "received", [PS_TRACE_QUEUED] = "queued",     [PS_TRACE_STORED] = "stored",
	[PS_TRACE_SENT] = "sent",         [PS_TRACE_DEFERRED] = "deferred", [PS_TRACE_FAILED] = "failed",
	[PS_TRACE_REPORTED] = "reported", [PS_TRACE_REMOVED] = "removed",   [PS_TRACE_REFUSED] = "refused",
};

static const struct text {
	const char *name; /* in JSON */
	char key;         /* kind of the index's key; 0: not found by it */
} table[TRACE_TEXTS] = {
	[TRACE_ID] = {"id", 'i'},
	[TRACE_MESSAGE_ID] = {"message_id", 'm'},
	[TRACE_SENDER] = {"sender", 'a'},
	[TRACE_SOURCE] = {"source", 0},
	[TRACE_USER] = {"user", 0},
	[TRACE_SID] = {"sid", 0},
	[TRACE_RECIPIENT] = {"recipient", 'a'},
	[TRACE_ORCPT] = {"orcpt", 'a'},
	[TRACE_MAILBOX] = {"mailbox", 0},
	[TRACE_HOST] = {"host", 0},
	[TRACE_ENHANCED] = {"enhanced", 0},
	[TRACE_TEXT] = {"text", 0},
	[TRACE_OTHER] = {"other", 'i'},
};

/* ---- writing --------------------------------------------------------------------------------- */

static void put_number(uint64_t n, unsigned octets, struct ps_buf *out)
{
	while (octets-- > 0)
		ps_buf_char(out, (char)(uint8_t)(n >> (8 * octets)));
}

/* What is not UTF-8, or was cut within a character, is made so. */
static void put_text(const char *text, struct ps_buf *out)
{
	size_t len = text ? strnlen(text, TRACE_TEXT_MAX) : 0;
	bool valid = ps_utf8_valid(ps_bytes(text, len));

	put_number(text ? len : ABSENT, 2, out);
	for (size_t i = 0; i < len; i++)
		ps_buf_char(out, !valid && (uint8_t)text[i] >= 0x80 ? '?' : text[i]);
}

void trace_pack(const struct ps_trace_event *event, uint64_t time, struct ps_buf *out)
{
	const char *texts[TRACE_TEXTS] = {
		[TRACE_ID] = event->id,
		[TRACE_MESSAGE_ID] = event->message_id,
		[TRACE_SENDER] = event->sender,
		[TRACE_SOURCE] = event->source,
		[TRACE_USER] = event->user,
		[TRACE_SID] = event->sid,
		[TRACE_RECIPIENT] = event->recipient,
		[TRACE_ORCPT] = event->orcpt,
		[TRACE_MAILBOX] = event->mailbox,
		[TRACE_HOST] = event->host,
		[TRACE_ENHANCED] = event->enhanced,
		[TRACE_TEXT] = event->text,
		[TRACE_OTHER] = event->other,
	};

	put_number(time, 8, out);
	put_number((uint64_t)event->kind, 1, out);
	put_number(event->code, 4, out);
	put_number(event->size, 8, out);
	for (size_t i = 0; i < TRACE_TEXTS; i++)
		put_text(texts[i], out);
}

/* ---- reading --------------------------------------------------------------------------------- */

static bool take_number(struct ps_bytes *in, unsigned octets, uint64_t *ret_n)
{
	uint64_t n = 0;

	if (in->len < octets)
		return false;
	for (unsigned i = 0; i < octets; i++)
		n = n << 8 | in->ptr[i];
	*in = ps_bytes_skip(*in, octets);
	*ret_n = n;
	return true;
}

static bool take_text(struct ps_bytes *in, struct ps_bytes *ret_text)
{
	uint64_t len;

	if (!take_number(in, 2, &len) || (len != ABSENT && len > in->len))
		return false;
	*ret_text = len == ABSENT ? ps_bytes(NULL, 0) : ps_bytes(in->ptr, (size_t)len);
	*in = ps_bytes_skip(*in, ret_text->len);
	return true;
}

int trace_unpack(struct ps_bytes octets, struct trace_record *ret_record)
{
	struct trace_record record = {0};
	uint64_t kind, code;

	if (!take_number(&octets, 8, &record.time) || !take_number(&octets, 1, &kind) ||
	    !take_number(&octets, 4, &code) || !take_number(&octets, 8, &record.size) || kind >= PS_ARRAY_LEN(kinds))
		return ps_fail(PS_E_CORRUPT, "trace: a record that cannot be");
	for (size_t i = 0; i < TRACE_TEXTS; i++)
		if (!take_text(&octets, &record.texts[i]) || !ps_utf8_valid(record.texts[i]))
			return ps_fail(PS_E_CORRUPT, "trace: a record that cannot be");
	record.kind = (enum ps_trace_kind)kind;
	record.code = (uint32_t)code;
	*ret_record = record;
	return 0;
}

static json_t *time_json(uint64_t ms)
{
	time_t seconds = (time_t)(ms / 1000);
	struct tm tm = {0};
	char text[64];

	gmtime_r(&seconds, &tm);
	snprintf(text, sizeof text, "%04d-%02d-%02dT%02d:%02d:%02d.%03uZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
		 tm.tm_hour, tm.tm_min, tm.tm_sec, (unsigned)(ms % 1000));
	return json_string(text);
}

json_t *trace_json(const struct trace_record *record)
{
	json_t *object = json_object();

	json_object_set_new(object, "time", time_json(record->time));
	json_object_set_new(object, "event", json_string(kinds[record->kind]));
	for (size_t i = TRACE_ID + 1; i < TRACE_TEXTS; i++)
		if (record->texts[i].ptr)
			json_object_set_new(object, table[i].name,
					    json_stringn((const char *)record->texts[i].ptr, record->texts[i].len));
	if (record->code)
		json_object_set_new(object, "code", json_integer((json_int_t)record->code));
	if (record->size)
		json_object_set_new(object, "size", json_integer((json_int_t)record->size));
	return object;
}

/* ---- keys ------------------------------------------------------------------------------------ */

struct ps_bytes trace_key(char kind, struct ps_bytes text, uint8_t room[TRACE_KEY_MAX])
{
	size_t len = text.len < TRACE_KEY_MAX - 1 ? text.len : TRACE_KEY_MAX - 1;

	room[0] = (uint8_t)kind;
	for (size_t i = 0; i < len; i++)
		room[i + 1] = (uint8_t)ps_tolower(text.ptr[i]);
	return ps_bytes(room, len + 1);
}

/* Of "rfc822;joe@example.org" the address. */
static struct ps_bytes address_of(enum trace_text which, struct ps_bytes text)
{
	ptrdiff_t at = which == TRACE_ORCPT ? ps_bytes_find(text, ';') : -1;

	return ps_bytes_skip(text, (size_t)(at + 1));
}

int trace_keys(const struct trace_record *record, int (*fn)(void *arg, struct ps_bytes key), void *arg)
{
	uint8_t room[TRACE_KEY_MAX];
	int r = 0;

	for (size_t i = 0; i < TRACE_TEXTS && r == 0; i++) {
		struct ps_bytes text = address_of((enum trace_text)i, record->texts[i]);

		/* Attempts that failed are many, and their recipient is found by the event that brought it. */
		if (table[i].key && text.len && (record->kind != PS_TRACE_DEFERRED || i == TRACE_ID))
			r = fn(arg, trace_key(table[i].key, text, room));
	}
	return r;
}
