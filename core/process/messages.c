/* SPDX-License-Identifier: MIT */
#include "core/process/messages.h"
#include "postern/error.h"
#include "postern/pool.h"

/* The length of an absent field. */
#define ABSENT UINT32_MAX

/* clang-format off */
/* Each list of fields ends with a row without a name, as a message may have none. */
#define F(S, field_type, field, most) {#field, PS_FIELD_##field_type, most, offsetof(S, field)},
#define M(NAME, name, from, to, phases)                                                            \
	static const struct ps_message_field fields_##name[] = {                                   \
		PS_FIELDS_##NAME(F, struct ps_msg_##name)                                          \
		{NULL, PS_FIELD_U32, 0, 0},                                                        \
	};
PS_MESSAGES(M)
#undef M
#undef F

#define F(S, field_type, field, most) +(PS_FIELD_##field_type == PS_FIELD_FD)
#define M(NAME, name, from, to, phases)                                                            \
	{PS_MSG_##NAME, #name, from, to, phases, fields_##name, PS_ARRAY_LEN(fields_##name) - 1,   \
	 0 PS_FIELDS_##NAME(F, 0)},
static const struct ps_message_row rows[] = {PS_MESSAGES(M)};
#undef M
#undef F
/* clang-format on */

const struct ps_message_row *ps_message_row(uint32_t type)
{
	return type >= 1 && type < PS_MSG_COUNT ? &rows[type - 1] : NULL;
}

const char *ps_role_name(uint32_t role)
{
	static const struct {
		uint32_t role;
		const char *name;
	} names[] = {
		{PS_ROLE_MASTER, "master"}, {PS_ROLE_FRONT, "front"}, {PS_ROLE_AUTH, "auth"},
		{PS_ROLE_SIGNER, "signer"}, {PS_ROLE_MAIL, "mail"},   {PS_ROLE_RELAY, "relay"},
		{PS_ROLE_USERDB, "userdb"},
	};

	for (size_t i = 0; i < PS_ARRAY_LEN(names); i++)
		if (names[i].role == role)
			return names[i].name;
	return "unknown";
}

int ps_message_permitted(const struct ps_message_row *row, uint32_t from, uint32_t to, enum ps_phase phase)
{
	if (!(row->from & from))
		return ps_fail(PS_E_ACCESS, "%s may not send %s", ps_role_name(from), row->name);
	if (!(row->to & to))
		return ps_fail(PS_E_ACCESS, "%s is not for %s", row->name, ps_role_name(to));
	if (!(row->phases & phase))
		return ps_fail(PS_E_ACCESS, "%s came in phase %u", row->name, (unsigned)phase);
	return 0;
}

/* ---- packing ---------------------------------------------------------------------------------------- */

static int pack_octets(const struct ps_message_field *field, const void *data, size_t len, size_t nul,
		       struct ps_buf *out)
{
	uint32_t n = data ? (uint32_t)len : ABSENT;

	if (data && len > field->max)
		return ps_fail(PS_E_LIMIT, "field %s: %zu octets, at most %u", field->name, len, field->max);
	ps_buf_append(out, &n, sizeof n);
	return data ? ps_buf_append(out, data, len + nul) : 0;
}

static int pack_field(const struct ps_message_field *field, const void *at, struct ps_packed *out)
{
	const struct ps_bytes *bytes = at;
	const char *text;
	uint32_t boolean;

	switch (field->type) {
	case PS_FIELD_U32: return ps_buf_append(&out->octets, at, sizeof(uint32_t));
	case PS_FIELD_U64: return ps_buf_append(&out->octets, at, sizeof(uint64_t));
	case PS_FIELD_BOOL: boolean = *(const bool *)at; return ps_buf_append(&out->octets, &boolean, sizeof boolean);
	case PS_FIELD_BYTES: return pack_octets(field, bytes->ptr, bytes->len, 0, &out->octets);
	case PS_FIELD_FD: out->fds[out->fd_count++] = *(const int *)at; return 0;
	case PS_FIELD_STR:
	case PS_FIELD_OSTR: break;
	}
	text = *(const char *const *)at;
	if (!text && field->type == PS_FIELD_STR)
		text = "";
	return pack_octets(field, text, text ? strlen(text) : 0, 1, &out->octets);
}

int ps_message_pack(uint32_t type, const void *message, struct ps_packed *out)
{
	const struct ps_message_row *row = ps_message_row(type);
	int r;

	*out = (struct ps_packed){.octets.limit = PS_MESSAGE_MAX};
	if (!row || row->fd_count > PS_MESSAGE_FDS_MAX)
		return ps_fail(PS_E_INTERNAL, "no message type %u", type);
	r = ps_buf_append(&out->octets, &type, sizeof type);
	for (size_t i = 0; i < row->field_count && r == 0; i++)
		r = pack_field(&row->fields[i], (const uint8_t *)message + row->fields[i].offset, out);
	if (r == 0)
		return 0;
	ps_buf_finish(&out->octets);
	out->fd_count = 0;
	return r;
}

/* ---- unpacking -------------------------------------------------------------------------------------- */

/* What is left of a message. All reading is done by take(). */
struct reader {
	struct ps_bytes rest;
	const int *fds; /* as many as the row has */
};

static int take(struct reader *reader, void *to, size_t len)
{
	if (reader->rest.len < len)
		return ps_fail(PS_E_SYNTAX, "cut short");
	memcpy(to, reader->rest.ptr, len);
	reader->rest = ps_bytes_skip(reader->rest, len);
	return 0;
}

/* `nul` 1: a text, which has a NUL behind it and none in it. */
static int take_octets(struct reader *reader, const struct ps_message_field *field, size_t nul,
		       struct ps_bytes *ret_octets)
{
	struct ps_bytes octets;
	uint32_t len;
	int r = take(reader, &len, sizeof len);

	if (r < 0)
		return r;
	if (len == ABSENT) {
		if (field->type == PS_FIELD_STR)
			return ps_fail(PS_E_SYNTAX, "field %s is absent", field->name);
		*ret_octets = ps_bytes(NULL, 0);
		return 0;
	}
	if (len > field->max)
		return ps_fail(PS_E_SYNTAX, "field %s: %u octets, at most %u", field->name, len, field->max);
	if (reader->rest.len < len + nul)
		return ps_fail(PS_E_SYNTAX, "field %s: cut short", field->name);
	octets = ps_bytes(reader->rest.ptr, len);
	if (nul && (octets.ptr[len] != '\0' || ps_bytes_find(octets, '\0') >= 0))
		return ps_fail(PS_E_SYNTAX, "field %s is not a text", field->name);
	reader->rest = ps_bytes_skip(reader->rest, len + nul);
	*ret_octets = octets;
	return 0;
}

static int take_bool(struct reader *reader, const struct ps_message_field *field, bool *to)
{
	uint32_t n;
	int r = take(reader, &n, sizeof n);

	if (r < 0)
		return r;
	if (n > 1)
		return ps_fail(PS_E_SYNTAX, "field %s is neither 0 nor 1", field->name);
	*to = n;
	return 0;
}

static int take_field(struct reader *reader, const struct ps_message_field *field, void *to)
{
	struct ps_bytes octets;
	int r;

	switch (field->type) {
	case PS_FIELD_U32: return take(reader, to, sizeof(uint32_t));
	case PS_FIELD_U64: return take(reader, to, sizeof(uint64_t));
	case PS_FIELD_BOOL: return take_bool(reader, field, to);
	case PS_FIELD_BYTES: return take_octets(reader, field, 0, to);
	case PS_FIELD_FD: *(int *)to = *reader->fds++; return 0;
	case PS_FIELD_STR:
	case PS_FIELD_OSTR: break;
	}
	r = take_octets(reader, field, 1, &octets);
	if (r == 0)
		*(const char **)to = (const char *)octets.ptr;
	return r;
}

uint32_t ps_message_type(struct ps_bytes octets)
{
	uint32_t type = 0;

	if (octets.len >= sizeof type)
		memcpy(&type, octets.ptr, sizeof type);
	return ps_message_row(type) ? type : 0;
}

int ps_message_unpack(struct ps_bytes octets, const int *fds, size_t fd_count, union ps_message *ret_message)
{
	const struct ps_message_row *row = ps_message_row(ps_message_type(octets));
	struct reader reader = {.fds = fds};
	union ps_message message = {0};
	int r = 0;

	if (!row)
		return ps_fail(PS_E_SYNTAX, "no known type");
	if (fd_count != row->fd_count)
		return ps_fail(PS_E_SYNTAX, "%s: %zu descriptors, expected %zu", row->name, fd_count, row->fd_count);
	reader.rest = ps_bytes_skip(octets, sizeof row->type);
	for (size_t i = 0; i < row->field_count && r == 0; i++)
		r = take_field(&reader, &row->fields[i], (uint8_t *)&message + row->fields[i].offset);
	if (r == 0 && reader.rest.len)
		r = ps_fail(PS_E_SYNTAX, "%zu octets too many", reader.rest.len);
	if (r < 0)
		return ps_fail(r, "%s: %s", row->name, ps_last_error());
	*ret_message = message;
	return 0;
}
