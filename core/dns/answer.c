/* SPDX-License-Identifier: MIT */
/*
 * An answer of the DNS, RFC 1035 section 4. Every octet is read by take_u8(), take_u16() or take_bytes(), which see to the end.
 * A message has at most 65,535 octets and thus less than 6,000 records; the answer section is gone through once for each CNAME.
 */
#include <stdio.h>
#include "core/dns/dns.h"
#include "postern/error.h"
#include "postern/pool.h"

enum {
	HEADER_SIZE = 12,
	FLAG_QR = 0x8000,
	FLAG_TC = 0x0200,
	FLAG_AD = 0x0020,
	OPCODE = 0x7800,
	RCODE = 0x000f,
	RCODE_NOERROR = 0,
	RCODE_NXDOMAIN = 3,
	CLASS_IN = 1,
	WIRE_NAME_MAX = 255,
	TTL_MAX = 86400,
};

struct reader {
	struct ps_bytes message;
	size_t at;
	bool failed;
};

struct header {
	uint16_t flags, questions, answers, authorities;
};

/* A record's place in the message: what comes before its data was read. */
struct record {
	char owner[DNS_NAME_SIZE];
	uint16_t type, class;
	uint32_t ttl;
	size_t data, data_end;
};

static uint8_t take_u8(struct reader *in)
{
	if (in->at >= in->message.len) {
		in->failed = true;
		return 0;
	}
	return in->message.ptr[in->at++];
}

static uint16_t take_u16(struct reader *in)
{
	unsigned high = take_u8(in);

	return (uint16_t)(high << 8 | take_u8(in));
}

static uint32_t take_u32(struct reader *in)
{
	uint32_t high = take_u16(in);

	return high << 16 | take_u16(in);
}

static struct ps_bytes take_bytes(struct reader *in, size_t len)
{
	struct ps_bytes bytes;

	if (in->failed || in->message.len - in->at < len) {
		in->failed = true;
		return ps_bytes("", 0);
	}
	bytes = ps_bytes(in->message.ptr + in->at, len);
	in->at += len;
	return bytes;
}

static size_t write_label(char *to, struct ps_bytes label)
{
	size_t len = 0;

	for (size_t i = 0; i < label.len; i++) {
		uint8_t c = label.ptr[i];

		if (ps_isalpha(c) || ps_isdigit(c) || c == '-' || c == '_')
			to[len++] = (char)c;
		else
			len += (size_t)sprintf(to + len, "\\%03u", c);
	}
	return len;
}

/* Section 4.1.4. A pointer leads back, and each further than the one before, so that there is an end. */
static void take_name(struct reader *in, char ret_name[DNS_NAME_SIZE])
{
	size_t len = 0, octets = 1, back = in->at;
	struct reader from = *in;
	bool jumped = false;

	for (;;) {
		unsigned head = take_u8(&from);

		if (from.failed || head == 0)
			break;
		if (head >= 0xc0) {
			size_t to = (head & 0x3f) << 8 | take_u8(&from);

			if (!jumped)
				in->at = from.at;
			jumped = true;
			from.failed |= to >= back;
			from.at = back = to;
		} else if (head >= 0x40 || (octets += head + 1) > WIRE_NAME_MAX) {
			from.failed = true;
		} else {
			if (len > 0)
				ret_name[len++] = '.';
			len += write_label(ret_name + len, take_bytes(&from, head));
		}
		if (from.failed)
			break;
	}
	ret_name[len] = '\0';
	if (!jumped)
		in->at = from.at;
	in->failed |= from.failed;
}

static void take_record(struct reader *in, struct record *ret_record)
{
	size_t len;

	take_name(in, ret_record->owner);
	ret_record->type = take_u16(in);
	ret_record->class = take_u16(in);
	ret_record->ttl = take_u32(in);
	len = take_u16(in);
	ret_record->data = in->at;
	take_bytes(in, len);
	ret_record->data_end = in->at;
}

static bool is_of(const struct record *record, const char *owner, uint16_t type)
{
	return record->type == type && record->class == CLASS_IN && ps_strcasecmp(record->owner, owner) == 0;
}

static void note_ttl(struct dns_answer *answer, const struct record *record)
{
	uint32_t ttl = record->ttl & 0x80000000 ? 0 : record->ttl; /* RFC 2181 section 8 */

	if (ttl < answer->ttl)
		answer->ttl = ttl;
}

/* ---- the data of each type: reads to the end of the data, or it was not of its type ------------- */

static void read_mx(struct ps_pool *pool, struct reader *in, size_t len, struct dns_record *record)
{
	char name[DNS_NAME_SIZE];

	(void)len;
	record->mx.preference = take_u16(in);
	take_name(in, name);
	record->mx.exchange = ps_pool_strdup(pool, name);
}

static void read_a(struct ps_pool *pool, struct reader *in, size_t len, struct dns_record *record)
{
	struct ps_bytes octets = take_bytes(in, sizeof record->a);

	(void)pool;
	(void)len;
	if (octets.len == sizeof record->a)
		memcpy(&record->a, octets.ptr, octets.len);
}

static void read_aaaa(struct ps_pool *pool, struct reader *in, size_t len, struct dns_record *record)
{
	struct ps_bytes octets = take_bytes(in, sizeof record->aaaa);

	(void)pool;
	(void)len;
	if (octets.len == sizeof record->aaaa)
		memcpy(&record->aaaa, octets.ptr, octets.len);
}

static void read_tlsa(struct ps_pool *pool, struct reader *in, size_t len, struct dns_record *record)
{
	struct ps_bytes data;

	record->tlsa.usage = take_u8(in);
	record->tlsa.selector = take_u8(in);
	record->tlsa.matching = take_u8(in);
	in->failed |= len <= 3;
	data = take_bytes(in, len <= 3 ? 0 : len - 3);
	record->tlsa.data = ps_bytes(ps_pool_memdup(pool, data.ptr, data.len), data.len);
}

static void read_txt(struct ps_pool *pool, struct reader *in, size_t len, struct dns_record *record)
{
	uint8_t *text = ps_pool_alloc(pool, len);
	size_t end = in->at + len, text_len = 0;

	while (!in->failed && in->at < end) {
		struct ps_bytes string = take_bytes(in, take_u8(in));

		if (in->failed || in->at > end)
			break;
		memcpy(text + text_len, string.ptr, string.len);
		text_len += string.len;
	}
	record->txt = ps_bytes(text, text_len);
}

static const struct {
	uint16_t type;
	void (*read)(struct ps_pool *pool, struct reader *in, size_t len, struct dns_record *record);
} readers[] = {
	{DNS_MX, read_mx}, {DNS_A, read_a}, {DNS_AAAA, read_aaaa}, {DNS_TLSA, read_tlsa}, {DNS_TXT, read_txt},
};

static void read_data(struct ps_pool *pool, const struct reader *in, const struct record *record,
		      struct dns_record *ret_record, bool *failed)
{
	struct reader data = {.message = in->message, .at = record->data};

	for (size_t i = 0; i < PS_ARRAY_LEN(readers); i++)
		if (readers[i].type == record->type)
			readers[i].read(pool, &data, record->data_end - record->data, ret_record);
	*failed |= data.failed || data.at != record->data_end;
}

/* ---- the whole --------------------------------------------------------------------------------- */

static int no_sense(const char *what)
{
	return ps_fail(PS_E_SYNTAX, "DNS answer: %s", what);
}

/* 0, with the reader behind the question. */
static int read_head(struct reader *in, const char *name, uint16_t type, struct header *ret_header)
{
	char asked[DNS_NAME_SIZE];
	uint16_t asked_type;

	take_u16(in); /* who sent the question has compared the id */
	ret_header->flags = take_u16(in);
	ret_header->questions = take_u16(in);
	ret_header->answers = take_u16(in);
	ret_header->authorities = take_u16(in);
	take_u16(in);
	if (in->failed || !(ret_header->flags & FLAG_QR) || (ret_header->flags & OPCODE))
		return no_sense("not one");
	if ((ret_header->flags & RCODE) != RCODE_NOERROR && (ret_header->flags & RCODE) != RCODE_NXDOMAIN)
		return 0;
	if (ret_header->flags & FLAG_TC)
		return no_sense("cut off");
	if (ret_header->questions != 1)
		return no_sense("not to one question");
	take_name(in, asked);
	asked_type = take_u16(in);
	if (take_u16(in) != CLASS_IN || asked_type != type || ps_strcasecmp(asked, name) != 0 || in->failed)
		return no_sense("to another question");
	return 0;
}

/* The target of the CNAME of `owner`: 1, or 0 when there is none. */
static int find_alias(struct reader in, unsigned records, const char *owner, struct dns_answer *answer,
		      char ret_target[DNS_NAME_SIZE])
{
	struct record record;

	for (unsigned i = 0; i < records; i++) {
		take_record(&in, &record);
		if (in.failed)
			return no_sense("shorter than it says");
		if (is_of(&record, owner, DNS_CNAME)) {
			struct reader data = {.message = in.message, .at = record.data};

			take_name(&data, ret_target);
			note_ttl(answer, &record);
			return data.failed || data.at != record.data_end ? no_sense("a bad CNAME") : 1;
		}
	}
	return 0;
}

static int follow_aliases(struct ps_pool *pool, const struct reader *in, unsigned records, const char *name,
			  struct dns_answer *answer)
{
	char target[DNS_NAME_SIZE];
	int r;

	answer->name = name;
	while ((r = find_alias(*in, records, answer->name, answer, target)) > 0) {
		answer->name = ps_pool_strdup(pool, target);
		if (++answer->aliases > DNS_ALIASES_MAX)
			return no_sense("too many CNAMEs");
	}
	return r;
}

static int gather(struct ps_pool *pool, struct reader *in, unsigned records, uint16_t type, struct dns_answer *answer)
{
	struct record record;
	size_t cap = 0;
	bool failed = false;

	for (unsigned i = 0; i < records; i++) {
		take_record(in, &record);
		if (in->failed)
			return no_sense("shorter than it says");
		if (!is_of(&record, answer->name, type) || answer->count == DNS_RECORDS_MAX)
			continue;
		answer->records = ps_pool_grow(pool, answer->records, answer->count, &cap, sizeof *answer->records);
		answer->records[answer->count] = (struct dns_record){0};
		read_data(pool, in, &record, &answer->records[answer->count], &failed);
		if (failed)
			return no_sense("a record that is not of its type");
		answer->count++;
		note_ttl(answer, &record);
	}
	return 0;
}

int dns_answer_read(struct ps_pool *pool, struct ps_bytes message, const char *name, uint16_t type,
		    struct dns_answer *ret_answer)
{
	struct reader in = {.message = message};
	struct dns_answer answer = {.status = DNS_SERVFAIL, .ttl = TTL_MAX, .name = ps_pool_strdup(pool, name)};
	struct header header;
	unsigned code;
	int r = read_head(&in, name, type, &header);

	if (r < 0)
		return r;
	code = header.flags & RCODE;
	answer.secure = header.flags & FLAG_AD;
	if (code == RCODE_NOERROR || code == RCODE_NXDOMAIN) {
		if ((r = follow_aliases(pool, &in, header.answers, answer.name, &answer)) < 0 ||
		    (r = gather(pool, &in, header.answers, type, &answer)) < 0)
			return r;
		answer.status = answer.count > 0 ? DNS_OK : code == RCODE_NXDOMAIN ? DNS_NXDOMAIN : DNS_NODATA;
		/* A server that followed the CNAMEs to their end says so by the SOA of where it found nothing. */
		answer.incomplete = answer.status == DNS_NODATA && answer.aliases > 0 && header.authorities == 0;
	}
	*ret_answer = answer;
	return 0;
}
