/* SPDX-License-Identifier: MIT */
#include "core/process/messages.h"
#include "tests/unit.h"

/* A message of each type with something in every field, built from its row. */
static void fill(const struct ps_message_row *row, union ps_message *message)
{
	memset(message, 0, sizeof *message);
	for (size_t i = 0; i < row->field_count; i++) {
		const struct ps_message_field *field = &row->fields[i];
		void *at = (uint8_t *)message + field->offset;

		switch (field->type) {
		case PS_FIELD_U32: *(uint32_t *)at = 0x01020304; break;
		case PS_FIELD_U64: *(uint64_t *)at = 0x0102030405060708; break;
		case PS_FIELD_BOOL: *(bool *)at = true; break;
		case PS_FIELD_STR:
		case PS_FIELD_OSTR: *(const char **)at = "text"; break;
		case PS_FIELD_BYTES: *(struct ps_bytes *)at = ps_bytes("\0\1\2", 3); break;
		case PS_FIELD_FD: *(int *)at = 1000; break;
		}
	}
}

static void check_field(const struct ps_message_field *field, const void *a, const void *b)
{
	const struct ps_bytes *x = a, *y = b;

	switch (field->type) {
	case PS_FIELD_U32: ck_assert_uint_eq(*(const uint32_t *)a, *(const uint32_t *)b); break;
	case PS_FIELD_U64: ck_assert_uint_eq(*(const uint64_t *)a, *(const uint64_t *)b); break;
	case PS_FIELD_BOOL: ck_assert_int_eq(*(const bool *)a, *(const bool *)b); break;
	case PS_FIELD_STR:
	case PS_FIELD_OSTR: ck_assert_str_eq(*(const char *const *)a, *(const char *const *)b); break;
	case PS_FIELD_BYTES: ck_assert(ps_bytes_eq(*x, *y)); break;
	case PS_FIELD_FD: ck_assert_int_eq(*(const int *)a, *(const int *)b); break;
	}
}

static const struct ps_message_row *pack_sample(int i, struct ps_packed *packed)
{
	const struct ps_message_row *row = ps_message_row((uint32_t)i);
	union ps_message message;

	ck_assert_ptr_nonnull(row);
	fill(row, &message);
	ck_assert_ok(ps_message_pack(row->type, &message, packed));
	return row;
}

START_TEST(every_message_comes_back_as_it_was)
{
	struct ps_packed packed;
	union ps_message in, out;
	const struct ps_message_row *row = pack_sample(_i, &packed);

	fill(row, &in);
	ck_assert_uint_eq(packed.fd_count, row->fd_count);
	ck_assert_uint_eq(ps_message_type(ps_buf_view(&packed.octets)), row->type);
	ck_assert_ok(ps_message_unpack(ps_buf_view(&packed.octets), packed.fds, packed.fd_count, &out));
	for (size_t i = 0; i < row->field_count; i++)
		check_field(&row->fields[i], (uint8_t *)&in + row->fields[i].offset,
			    (uint8_t *)&out + row->fields[i].offset);
	ps_buf_finish(&packed.octets);
}
END_TEST

START_TEST(every_truncation_is_refused)
{
	struct ps_packed packed;
	union ps_message out;

	pack_sample(_i, &packed);
	for (size_t len = 0; len < packed.octets.len; len++) {
		/* A block of its own, so that a sanitizer sees any reading beyond it. */
		uint8_t *cut = ps_malloc(len);

		memcpy(cut, packed.octets.ptr, len);
		ck_assert_int_eq(ps_message_unpack(ps_bytes(cut, len), packed.fds, packed.fd_count, &out), PS_E_SYNTAX);
		free(cut);
	}
	ps_buf_finish(&packed.octets);
}
END_TEST

START_TEST(an_octet_too_many_is_refused)
{
	struct ps_packed packed;
	union ps_message out;

	pack_sample(_i, &packed);
	ps_buf_char(&packed.octets, 0);
	ck_assert_int_eq(ps_message_unpack(ps_buf_view(&packed.octets), packed.fds, packed.fd_count, &out),
			 PS_E_SYNTAX);
	ps_buf_finish(&packed.octets);
}
END_TEST

START_TEST(the_number_of_descriptors_is_exact)
{
	int fds[PS_MESSAGE_FDS_MAX] = {1000, 1001, 1002, 1003};
	struct ps_packed packed;
	union ps_message out;
	const struct ps_message_row *row = pack_sample(_i, &packed);

	for (size_t n = 0; n <= PS_MESSAGE_FDS_MAX; n++)
		ck_assert_int_eq(ps_message_unpack(ps_buf_view(&packed.octets), fds, n, &out),
				 n == row->fd_count ? 0 : PS_E_SYNTAX);
	ps_buf_finish(&packed.octets);
}
END_TEST

/* What comes out of flipped octets, if anything, lies within what went in. */
static void check_within(const struct ps_message_row *row, const union ps_message *message, struct ps_bytes octets)
{
	for (size_t i = 0; i < row->field_count; i++) {
		const void *at = (const uint8_t *)message + row->fields[i].offset;
		struct ps_bytes b = {NULL, 0};

		if (row->fields[i].type == PS_FIELD_BYTES)
			b = *(const struct ps_bytes *)at;
		else if (row->fields[i].type == PS_FIELD_STR || row->fields[i].type == PS_FIELD_OSTR)
			b = ps_bytes_str(*(const char *const *)at);
		ck_assert(!b.ptr || (b.ptr >= octets.ptr && b.ptr + b.len <= octets.ptr + octets.len));
	}
}

START_TEST(flipped_octets_do_no_harm)
{
	static const uint8_t masks[] = {0x01, 0x80, 0xff};
	struct ps_packed packed;
	union ps_message out;

	pack_sample(_i, &packed);
	for (size_t at = 0; at < packed.octets.len; at++) {
		for (size_t m = 0; m < PS_ARRAY_LEN(masks); m++) {
			struct ps_bytes octets = ps_buf_view(&packed.octets);

			packed.octets.ptr[at] ^= masks[m];
			if (ps_message_unpack(octets, packed.fds, packed.fd_count, &out) == 0)
				check_within(ps_message_row(ps_message_type(octets)), &out, octets);
			packed.octets.ptr[at] ^= masks[m];
		}
	}
	ps_buf_finish(&packed.octets);
}
END_TEST

START_TEST(a_field_longer_than_its_row_allows_is_refused_at_both_ends)
{
	char sid[80];
	struct ps_msg_auth_cancel cancel = {.number = 7};
	struct ps_msg_auth_start start = {.sid = "s",
					  .service = "imap",
					  .mechanism = "PLAIN",
					  .remote = "r",
					  .local = "l",
					  .initial = ps_bytes("x", 1)};
	struct ps_packed packed;
	union ps_message out;
	uint32_t len = 65;

	memset(sid, 'x', sizeof sid);
	sid[sizeof sid - 1] = '\0';
	ck_assert_ok(ps_message_pack(PS_MSG_AUTH_START, &start, &packed));
	memcpy(packed.octets.ptr + 16, &len, sizeof len); /* after type, number and turn: the length of sid */
	ck_assert_int_eq(ps_message_unpack(ps_buf_view(&packed.octets), NULL, 0, &out), PS_E_SYNTAX);
	ck_assert_ptr_nonnull(strstr(ps_last_error(), "65 octets, at most 64"));
	ps_buf_finish(&packed.octets);

	start.sid = sid;
	ck_assert_int_eq(ps_message_pack(PS_MSG_AUTH_START, &start, &packed), PS_E_LIMIT);
	ck_assert_ptr_null(packed.octets.ptr);
	ck_assert_ok(ps_message_pack(PS_MSG_AUTH_CANCEL, &cancel, &packed));
	ps_buf_finish(&packed.octets);
}
END_TEST

START_TEST(a_text_has_no_nul_and_octets_may_be_absent)
{
	struct ps_msg_auth_step step = {.number = 1, .response = ps_bytes(NULL, 0)};
	struct ps_msg_listener_gone gone = {.name = "imap"};
	struct ps_packed packed;
	union ps_message out;

	ck_assert_ok(ps_message_pack(PS_MSG_AUTH_STEP, &step, &packed));
	ck_assert_ok(ps_message_unpack(ps_buf_view(&packed.octets), NULL, 0, &out));
	ck_assert_ptr_null(out.auth_step.response.ptr);
	ps_buf_finish(&packed.octets);

	step.response = ps_bytes("", 0);
	ck_assert_ok(ps_message_pack(PS_MSG_AUTH_STEP, &step, &packed));
	ck_assert_ok(ps_message_unpack(ps_buf_view(&packed.octets), NULL, 0, &out));
	ck_assert_ptr_nonnull(out.auth_step.response.ptr);
	ps_buf_finish(&packed.octets);

	ck_assert_ok(ps_message_pack(PS_MSG_LISTENER_GONE, &gone, &packed));
	packed.octets.ptr[9] = '\0'; /* within the name */
	ck_assert_int_eq(ps_message_unpack(ps_buf_view(&packed.octets), NULL, 0, &out), PS_E_SYNTAX);
	ps_buf_finish(&packed.octets);
}
END_TEST

static const struct {
	uint32_t type, from, to;
	enum ps_phase phase;
	bool permitted;
} rights[] = {
	{PS_MSG_AUTH_START, PS_ROLE_FRONT, PS_ROLE_AUTH, PS_PHASE_SERVING, true},
	{PS_MSG_AUTH_START, PS_ROLE_FRONT, PS_ROLE_AUTH, PS_PHASE_STARTING, false},
	{PS_MSG_AUTH_START, PS_ROLE_MAIL, PS_ROLE_AUTH, PS_PHASE_SERVING, false},
	{PS_MSG_AUTH_START, PS_ROLE_FRONT, PS_ROLE_MAIL, PS_PHASE_SERVING, false},
	{PS_MSG_AUTH_START, PS_ROLE_FRONT, PS_ROLE_MASTER, PS_PHASE_SERVING, false},
	{PS_MSG_AUTH_ANSWER, PS_ROLE_FRONT, PS_ROLE_AUTH, PS_PHASE_SERVING, false},
	{PS_MSG_HAND_OVER, PS_ROLE_FRONT, PS_ROLE_MAIL, PS_PHASE_SERVING, true},
	{PS_MSG_HAND_OVER, PS_ROLE_AUTH, PS_ROLE_MAIL, PS_PHASE_SERVING, false},
	{PS_MSG_HAND_BACK, PS_ROLE_MAIL, PS_ROLE_FRONT, PS_PHASE_SERVING, true},
	{PS_MSG_HAND_BACK, PS_ROLE_MAIL, PS_ROLE_FRONT, PS_PHASE_STARTING, false},
	{PS_MSG_HAND_BACK, PS_ROLE_AUTH, PS_ROLE_FRONT, PS_PHASE_SERVING, false},
	{PS_MSG_HAND_BACK, PS_ROLE_FRONT, PS_ROLE_MAIL, PS_PHASE_SERVING, false},
	{PS_MSG_SESSION_OVER, PS_ROLE_MAIL, PS_ROLE_FRONT, PS_PHASE_STOPPING, true},
	{PS_MSG_SESSION_OVER, PS_ROLE_MAIL, PS_ROLE_FRONT, PS_PHASE_STARTING, false},
	{PS_MSG_SESSION_OVER, PS_ROLE_AUTH, PS_ROLE_FRONT, PS_PHASE_SERVING, false},
	{PS_MSG_PEER, PS_ROLE_FRONT, PS_ROLE_MAIL, PS_PHASE_SERVING, false},
	{PS_MSG_MAIL_FROM, PS_ROLE_FRONT, PS_ROLE_RELAY, PS_PHASE_SERVING, true},
	{PS_MSG_MAIL_FROM, PS_ROLE_FRONT, PS_ROLE_RELAY, PS_PHASE_STARTING, false},
	{PS_MSG_MAIL_FROM, PS_ROLE_FRONT, PS_ROLE_MAIL, PS_PHASE_SERVING, false},
	{PS_MSG_MAIL_FROM, PS_ROLE_MAIL, PS_ROLE_RELAY, PS_PHASE_SERVING, false},
	{PS_MSG_MAIL_REPLY, PS_ROLE_RELAY, PS_ROLE_FRONT, PS_PHASE_SERVING, true},
	{PS_MSG_MAIL_REPLY, PS_ROLE_AUTH, PS_ROLE_FRONT, PS_PHASE_SERVING, false},
	{PS_MSG_LOOKUP, PS_ROLE_RELAY, PS_ROLE_AUTH, PS_PHASE_SERVING, true},
	{PS_MSG_LOOKUP, PS_ROLE_FRONT, PS_ROLE_AUTH, PS_PHASE_SERVING, false},
	{PS_MSG_DELIVER, PS_ROLE_RELAY, PS_ROLE_MAIL, PS_PHASE_SERVING, true},
	{PS_MSG_DELIVER, PS_ROLE_FRONT, PS_ROLE_MAIL, PS_PHASE_SERVING, false},
	{PS_MSG_DELIVERED, PS_ROLE_FRONT, PS_ROLE_RELAY, PS_PHASE_SERVING, false},
	{PS_MSG_STOP, PS_ROLE_FRONT, PS_ROLE_MASTER, PS_PHASE_SERVING, false},
	{PS_MSG_OFFENCE, PS_ROLE_FRONT, PS_ROLE_MASTER, PS_PHASE_SERVING, false},
	{PS_MSG_READY, PS_ROLE_FRONT, PS_ROLE_MASTER, PS_PHASE_STARTING, true},
	{PS_MSG_READY, PS_ROLE_FRONT, PS_ROLE_MASTER, PS_PHASE_SERVING, false},
	{PS_MSG_TICKET_KEY, PS_ROLE_MASTER, PS_ROLE_FRONT, PS_PHASE_STARTING, false},
	{PS_MSG_PASS_KEY, PS_ROLE_MASTER, PS_ROLE_RELAY, PS_PHASE_STARTING, true},
	{PS_MSG_PASS_KEY, PS_ROLE_MASTER, PS_ROLE_FRONT, PS_PHASE_STARTING, false},
	{PS_MSG_PASS_KEY, PS_ROLE_MASTER, PS_ROLE_MAIL, PS_PHASE_STARTING, false},
	{PS_MSG_SECRET, PS_ROLE_MASTER, PS_ROLE_FRONT, PS_PHASE_STARTING, false},
	{PS_MSG_SECRET, PS_ROLE_MASTER, PS_ROLE_MAIL, PS_PHASE_STARTING, false},
	{PS_MSG_TICKET, PS_ROLE_FRONT, PS_ROLE_MAIL, PS_PHASE_SERVING, false},
};

START_TEST(only_its_row_says_who_may_send_a_message)
{
	const struct ps_message_row *row = ps_message_row(rights[_i].type);
	int r = ps_message_permitted(row, rights[_i].from, rights[_i].to, rights[_i].phase);

	ck_assert_int_eq(r, rights[_i].permitted ? 0 : PS_E_ACCESS);
}
END_TEST

START_TEST(there_is_no_row_beyond_the_table)
{
	static const uint32_t types[] = {0, PS_MSG_COUNT, UINT32_MAX};

	for (size_t i = 0; i < PS_ARRAY_LEN(types); i++) {
		ck_assert_ptr_null(ps_message_row(types[i]));
		ck_assert_uint_eq(ps_message_type(ps_bytes(&types[i], sizeof types[i])), 0);
	}
	ck_assert_uint_eq(ps_message_type(ps_bytes("\1", 1)), 0);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("messages");
	TCase *tc = tcase_create("messages");

	tcase_add_loop_test(tc, every_message_comes_back_as_it_was, 1, PS_MSG_COUNT);
	tcase_add_loop_test(tc, every_truncation_is_refused, 1, PS_MSG_COUNT);
	tcase_add_loop_test(tc, an_octet_too_many_is_refused, 1, PS_MSG_COUNT);
	tcase_add_loop_test(tc, the_number_of_descriptors_is_exact, 1, PS_MSG_COUNT);
	tcase_add_loop_test(tc, flipped_octets_do_no_harm, 1, PS_MSG_COUNT);
	tcase_add_test(tc, a_field_longer_than_its_row_allows_is_refused_at_both_ends);
	tcase_add_test(tc, a_text_has_no_nul_and_octets_may_be_absent);
	tcase_add_loop_test(tc, only_its_row_says_who_may_send_a_message, 0, PS_ARRAY_LEN(rights));
	tcase_add_test(tc, there_is_no_row_beyond_the_table);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
