/* SPDX-License-Identifier: MIT */
/*
 * Records as they lie on disk: 'Q', the kind, a version, the length and the CRC-32C of what follows, then the fields in their order:
 * numbers of 4 or 8 octets, big-endian, and texts with their length in front, one more than it is, so that 0 says "none". All of it is
 * checked when it is read.
 */
#include "core/delivery/queue/queue_private.h"
#include "postern/error.h"
#include "postern/io.h"

enum {
	VERSION = 1,
	HEADER = 12,
	TEXT_MAX = 64 * 1024,
};

/* ---- writing ----------------------------------------------------------------------------------- */

static void put_u32(struct ps_buf *out, uint32_t n)
{
	n = htobe32(n);
	ps_buf_append(out, &n, sizeof n);
}

static void put_u64(struct ps_buf *out, uint64_t n)
{
	n = htobe64(n);
	ps_buf_append(out, &n, sizeof n);
}

static void put_text(struct ps_buf *out, const char *text)
{
	size_t len = text ? strlen(text) : 0;

	put_u32(out, text ? (uint32_t)len + 1 : 0);
	ps_buf_append(out, text, len);
}

static size_t begin(struct ps_buf *out)
{
	static const uint8_t zeros[HEADER];

	ps_buf_append(out, zeros, HEADER);
	return out->len;
}

static int end(struct ps_buf *out, char kind, size_t start)
{
	uint32_t len = htobe32((uint32_t)(out->len - start));
	uint32_t crc;
	uint8_t *header;

	if (out->failed)
		return ps_fail(PS_E_LIMIT, "an envelope is too large");
	crc = htobe32(ps_crc32c(0, out->ptr + start, out->len - start));
	header = out->ptr + start - HEADER;
	header[0] = 'Q';
	header[1] = (uint8_t)kind;
	header[2] = 0;
	header[3] = VERSION;
	memcpy(header + 4, &len, sizeof len);
	memcpy(header + 8, &crc, sizeof crc);
	return 0;
}

/* ---- reading ----------------------------------------------------------------------------------- */

struct reader {
	struct ps_bytes rest;
	struct ps_pool *pool;
	bool failed;
};

static const uint8_t *take_octets(struct reader *in, size_t len)
{
	const uint8_t *at = in->rest.ptr;

	if (in->failed || in->rest.len < len) {
		in->failed = true;
		return NULL;
	}
	in->rest = ps_bytes_skip(in->rest, len);
	return at;
}

static uint32_t take_u32(struct reader *in)
{
	const uint8_t *at = take_octets(in, sizeof(uint32_t));
	uint32_t n = 0;

	if (at)
		memcpy(&n, at, sizeof n);
	return be32toh(n);
}

static uint64_t take_u64(struct reader *in)
{
	const uint8_t *at = take_octets(in, sizeof(uint64_t));
	uint64_t n = 0;

	if (at)
		memcpy(&n, at, sizeof n);
	return be64toh(n);
}

static const char *take_text(struct reader *in)
{
	uint32_t len = take_u32(in);
	const uint8_t *at;

	if (len == 0)
		return NULL;
	if (len > TEXT_MAX || !(at = take_octets(in, len - 1)) || memchr(at, '\0', len - 1)) {
		in->failed = true;
		return NULL;
	}
	return ps_pool_strndup(in->pool, (const char *)at, len - 1);
}

/* One that must be there. */
static const char *take_name(struct reader *in)
{
	const char *text = take_text(in);

	in->failed |= !text;
	return text ? text : "";
}

static int open_record(struct ps_bytes octets, char kind, struct ps_pool *pool, struct reader *ret_reader)
{
	uint32_t len, crc;

	if (octets.len < HEADER || octets.ptr[0] != 'Q' || octets.ptr[1] != (uint8_t)kind)
		return ps_fail(PS_E_CORRUPT, "not a record of kind %c", kind);
	if (octets.ptr[2] != 0 || octets.ptr[3] != VERSION)
		return ps_fail(PS_E_CORRUPT, "record of version %d, not %d", octets.ptr[2] << 8 | octets.ptr[3],
			       VERSION);
	memcpy(&len, octets.ptr + 4, sizeof len);
	memcpy(&crc, octets.ptr + 8, sizeof crc);
	octets = ps_bytes_skip(octets, HEADER);
	if (be32toh(len) != octets.len || be32toh(crc) != ps_crc32c(0, octets.ptr, octets.len))
		return ps_fail(PS_E_CORRUPT, "record of kind %c with a wrong checksum", kind);
	*ret_reader = (struct reader){.rest = octets, .pool = pool};
	return 0;
}

static int close_record(const struct reader *in, char kind)
{
	return in->failed || in->rest.len ? ps_fail(PS_E_CORRUPT, "record of kind %c with wrong fields", kind) : 0;
}

/* ---- what they hold ---------------------------------------------------------------------------- */

static void put_result(struct ps_buf *out, const struct ps_queue_result *result)
{
	put_u32(out, result->outcome);
	put_u32(out, result->code);
	put_text(out, result->enhanced);
	put_text(out, result->text);
	put_text(out, result->host);
}

static struct ps_queue_result take_result(struct reader *in)
{
	struct ps_queue_result result = {.outcome = (enum ps_queue_outcome)take_u32(in)};

	result.code = take_u32(in);
	result.enhanced = take_text(in);
	result.text = take_text(in);
	result.host = take_text(in);
	in->failed |= result.outcome > PS_QUEUE_FAILED;
	return result;
}

int message_encode(const struct message *message, struct ps_buf *out)
{
	size_t start = begin(out);

	put_u64(out, message->accepted);
	put_u32(out, message->recipients);
	put_text(out, message->m.id);
	put_text(out, message->m.reverse_path);
	put_text(out, message->m.envid);
	put_text(out, message->m.user);
	put_text(out, message->m.sid);
	put_u32(out, message->m.options);
	put_u32(out, message->m.source);
	put_u64(out, (uint64_t)message->m.arrival);
	put_u64(out, message->m.size);
	return end(out, 'M', start);
}

int message_decode(struct ps_bytes octets, struct ps_pool *pool, struct message *ret_message)
{
	struct message message = {.m.file = -1};
	struct reader in;
	int r;

	if ((r = open_record(octets, 'M', pool, &in)) < 0)
		return r;
	message.accepted = take_u64(&in);
	message.recipients = take_u32(&in);
	message.m.id = take_name(&in);
	message.m.reverse_path = take_name(&in);
	message.m.envid = take_text(&in);
	message.m.user = take_text(&in);
	message.m.sid = take_text(&in);
	message.m.options = take_u32(&in);
	message.m.source = take_u32(&in);
	message.m.arrival = (int64_t)take_u64(&in);
	message.m.size = take_u64(&in);
	if ((r = close_record(&in, 'M')) == 0)
		*ret_message = message;
	return r;
}

int part_encode(const struct part *part, struct ps_buf *out)
{
	size_t start = begin(out);
	const uint64_t numbers[] = {part->dest, part->sender,   part->accepted, part->order,
				    part->due,  part->deadline, part->settle,   part->tried};

	for (size_t i = 0; i < PS_ARRAY_LEN(numbers); i++)
		put_u64(out, numbers[i]);
	put_u32(out, part->flags);
	put_u32(out, part->attempts);
	put_text(out, part->destination);
	put_result(out, &part->last);
	put_u32(out, part->count);
	for (uint32_t i = 0; i < part->count; i++) {
		const struct recipient *recipient = &part->recipients[i];

		put_text(out, recipient->address);
		put_text(out, recipient->orcpt);
		put_text(out, recipient->mailbox);
		put_u32(out, recipient->notify);
		put_u32(out, recipient->outcome);
		put_u32(out, recipient->code);
	}
	return end(out, 'P', start);
}

static void take_recipients(struct reader *in, struct part *part)
{
	part->count = take_u32(in);
	if (part->count == 0 || part->count > PS_QUEUE_PART_MAX) {
		in->failed = true;
		return;
	}
	part->recipients = PS_NEWV(in->pool, struct recipient, part->count);
	for (uint32_t i = 0; i < part->count; i++) {
		struct recipient *recipient = &part->recipients[i];

		recipient->address = take_name(in);
		recipient->orcpt = take_text(in);
		recipient->mailbox = take_text(in);
		recipient->notify = take_u32(in);
		recipient->outcome = (enum ps_queue_outcome)take_u32(in);
		recipient->code = take_u32(in);
		in->failed |= recipient->outcome > PS_QUEUE_FAILED;
	}
}

int part_decode(struct ps_bytes octets, struct ps_pool *pool, struct part *ret_part)
{
	struct part part = {0};
	uint64_t *const numbers[] = {&part.dest, &part.sender,   &part.accepted, &part.order,
				     &part.due,  &part.deadline, &part.settle,   &part.tried};
	struct reader in;
	int r;

	if ((r = open_record(octets, 'P', pool, &in)) < 0)
		return r;
	for (size_t i = 0; i < PS_ARRAY_LEN(numbers); i++)
		*numbers[i] = take_u64(&in);
	part.flags = take_u32(&in);
	part.attempts = take_u32(&in);
	part.destination = take_name(&in);
	part.last = take_result(&in);
	take_recipients(&in, &part);
	if ((r = close_record(&in, 'P')) == 0)
		*ret_part = part;
	return r;
}

int dest_encode(const struct dest *dest, struct ps_buf *out)
{
	size_t start = begin(out);

	put_text(out, dest->name);
	put_u64(out, dest->parts);
	put_u64(out, dest->until);
	put_u64(out, dest->head);
	put_u64(out, dest->wake);
	put_u64(out, dest->tried);
	put_u64(out, dest->since);
	put_u32(out, dest->failures);
	put_result(out, &dest->reason);
	return end(out, 'D', start);
}

int dest_decode(struct ps_bytes octets, struct ps_pool *pool, struct dest *ret_dest)
{
	struct dest dest = {0};
	struct reader in;
	int r;

	if ((r = open_record(octets, 'D', pool, &in)) < 0)
		return r;
	dest.name = take_name(&in);
	dest.parts = take_u64(&in);
	dest.until = take_u64(&in);
	dest.head = take_u64(&in);
	dest.wake = take_u64(&in);
	dest.tried = take_u64(&in);
	dest.since = take_u64(&in);
	dest.failures = take_u32(&in);
	dest.reason = take_result(&in);
	if ((r = close_record(&in, 'D')) == 0)
		*ret_dest = dest;
	return r;
}
