/* SPDX-License-Identifier: MIT */
/* A value of a header field, read as everything that one can be. The first octet tells how. */
#include <stdlib.h>
#include <string.h>
#include "core/message/address.h"
#include "core/message/msgid.h"
#include "core/message/param.h"
#include "postern/message.h"
#include "tests/fuzz/fuzz.h"

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void read_addresses(struct ps_bytes value)
{
	struct address_list list;
	struct address address;
	size_t n = 0;

	address_list_init(&list, value);
	while (address_next(&list, &address))
		must(n++ <= value.len);
	address_list_finish(&list);
}

static void read_params(struct ps_bytes value)
{
	struct param_gather name = {.name = "name"};
	struct param_list list;

	param_list_init(&list, lex_start(value));
	while (param_next(&list))
		param_gather(&name, &list);
	must(name.value.len <= value.len);
	param_list_finish(&list);
	ps_buf_finish(&name.value);
}

static void read_words(struct ps_bytes value)
{
	struct ps_buf text = {0}, folded = {0}, again = {0};

	must(ps_header_decode(value, &text) == 0);
	must(ps_utf8_valid(ps_buf_view(&text)));
	must(ps_casefold(ps_buf_view(&text), &folded) == 0);
	must(ps_utf8_valid(ps_buf_view(&folded)));
	must(ps_casefold(ps_buf_view(&folded), &again) == 0);
	must(ps_bytes_eq(ps_buf_view(&folded), ps_buf_view(&again)));
	ps_buf_finish(&text);
	ps_buf_finish(&folded);
	ps_buf_finish(&again);
}

static void read_dates(struct ps_bytes value)
{
	int64_t time, back;
	struct ps_buf text = {0};
	int zone;

	ps_imap_day_parse(value, &time);
	if (ps_date_parse(value, &time, &zone) == 0 || ps_imap_date_parse(value, &time) == 0) {
		ps_imap_date_format(&text, time);
		/* A zone may carry it over the edge of what a date can be. */
		if (time > INT64_C(-62135596800) && time < INT64_C(253402300799))
			must(ps_imap_date_parse(ps_buf_view(&text), &back) == 0 && back == time);
	}
	ps_buf_finish(&text);
}

static void read_body(struct ps_bytes value)
{
	static const char *const encodings[] = {"base64", "quoted-printable", "8bit"};
	static const char *const charsets[] = {NULL,    "utf-8",     "iso-2022-jp", "gb18030",
					       "utf-7", "x-unknown", "utf-16",      "big5"};
	unsigned how = value.len ? value.ptr[value.len - 1] : 0;
	const char *encoding = encodings[how % 3], *charset = charsets[how / 3 % 8];
	struct ps_decode *d = ps_decode_create(encoding, charset);
	struct ps_buf out = {0};

	for (size_t at = 0; at < value.len; at += 7)
		ps_decode_feed(d, ps_bytes(value.ptr + at, value.len - at < 7 ? value.len - at : 7), &out);
	must(ps_decode_finish(d, &out) == 0);
	must(!charset || ps_utf8_valid(ps_buf_view(&out)));
	ps_decode_destroy(d);
	ps_buf_finish(&out);
}

static void read_fields(struct ps_bytes value)
{
	struct ps_header_walk walk = {value};
	const char *names[] = {"to", "subject"};
	struct ps_bytes name, text;
	struct ps_buf out = {0};

	while (ps_header_next(&walk, &name, &text))
		must(name.len > 0);
	must(ps_header_filter(value, names, 2, true, &out) == 0);
	must(out.len <= value.len + 2);
	ps_buf_finish(&out);
}

/* An id has an "@" with something on both sides, and comes out of its own octets. */
static void read_ids(struct ps_bytes value)
{
	struct ps_buf id = {0};
	size_t left = value.len;

	while (ps_msgid_next(&value, &id)) {
		must(id.len >= 3 && memchr(id.ptr + 1, '@', id.len - 2));
		must(id.len + 2 <= left - value.len);
		left = value.len;
	}
	must(value.len == 0);
	ps_buf_finish(&id);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const readers[])(struct ps_bytes) = {
		read_addresses, read_params, read_words, read_dates, read_body, read_fields, read_ids,
	};

	if (size)
		readers[data[0] % PS_ARRAY_LEN(readers)](ps_bytes(data + 1, size - 1));
	return 0;
}
