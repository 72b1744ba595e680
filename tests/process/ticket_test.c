/* SPDX-License-Identifier: MIT */
#include "core/process/ticket.h"
#include "tests/unit.h"

#define NOW 1000000u

static const struct ps_ticket_key key = {{1, 2, 3}}, other_key = {{1, 2, 4}};

static void seal(struct ps_buf *out, const struct ps_ticket_key *with, uint32_t mail, uint64_t now)
{
	struct ps_msg_ticket ticket = {
		.sid = "S1",
		.service = "imap",
		.user = "alice@example.test",
		.uid = 7,
		.gid = 8,
		.home = "/home",
		.backend = "maildir",
		.root = "/mail",
		.mail = mail,
	};

	ck_assert_ok(ps_ticket_seal(with, &ticket, now, out));
}

/* That it was sealed for another place is no matter then. */
START_TEST(a_users_own_process_takes_no_others_tickets)
{
	struct ps_ticket_book *alices = ps_ticket_book_create(7, "alice@example.test", NOW);
	struct ps_ticket_book *bobs = ps_ticket_book_create(7, "bob@example.test", NOW);
	struct ps_buf sealed = {0};
	struct ps_msg_ticket got;
	union ps_message seen;

	seal(&sealed, &key, 3, NOW);
	ck_assert_int_eq(ps_ticket_take(bobs, &key, ps_buf_view(&sealed), NOW, &got), PS_E_AUTH);
	ck_assert_ok(ps_ticket_look(&key, ps_buf_view(&sealed), NOW, &seen));
	ck_assert_str_eq(seen.ticket.user, "alice@example.test");
	ck_assert_ok(ps_ticket_take(alices, &key, ps_buf_view(&sealed), NOW, &got));
	ck_assert_int_eq(ps_ticket_take(alices, &key, ps_buf_view(&sealed), NOW, &got), PS_E_AUTH);
	ck_assert_int_eq(ps_ticket_look(&key, ps_buf_view(&sealed), NOW + PS_TICKET_LIFETIME_MS + 1, &seen), PS_E_AUTH);
	ps_ticket_book_destroy(alices);
	ps_ticket_book_destroy(bobs);
	ps_buf_finish(&sealed);
}
END_TEST

START_TEST(a_ticket_is_taken_once)
{
	struct ps_ticket_book *book = ps_ticket_book_create(3, NULL, NOW);
	struct ps_buf sealed = {0};
	struct ps_msg_ticket ticket;

	seal(&sealed, &key, 3, NOW);
	ck_assert_ok(ps_ticket_take(book, &key, ps_buf_view(&sealed), NOW + 1, &ticket));
	ck_assert_str_eq(ticket.user, "alice@example.test");
	ck_assert_str_eq(ticket.root, "/mail");
	ck_assert_uint_eq(ticket.uid, 7);
	ck_assert_int_eq(ps_ticket_take(book, &key, ps_buf_view(&sealed), NOW + 2, &ticket), PS_E_AUTH);
	ck_assert_ptr_nonnull(strstr(ps_last_error(), "taken before"));
	ps_buf_finish(&sealed);
	ps_ticket_book_destroy(book);
}
END_TEST

static const struct {
	const char *says;
	const struct ps_ticket_key *sealed_with;
	uint32_t mail;
	uint64_t sealed_at, taken_at;
	int r;
} cases[] = {
	{"", &key, 3, NOW, NOW, 0},
	{"", &key, 3, NOW, NOW + PS_TICKET_LIFETIME_MS, 0},
	{"expired", &key, 3, NOW, NOW + PS_TICKET_LIFETIME_MS + 1, PS_E_AUTH},
	{"not sealed with our", &other_key, 3, NOW, NOW, PS_E_AUTH},
	{"for mail process 4", &key, 4, NOW, NOW, PS_E_AUTH},
	{"older than this", &key, 3, NOW - 100, NOW, PS_E_AUTH},
};

START_TEST(a_ticket_holds_for_one_process_and_a_time)
{
	struct ps_ticket_book *book = ps_ticket_book_create(3, NULL, NOW);
	struct ps_msg_ticket ticket = {.user = "untouched"};
	struct ps_buf sealed = {0};

	seal(&sealed, cases[_i].sealed_with, cases[_i].mail, cases[_i].sealed_at);
	ck_assert_int_eq(ps_ticket_take(book, &key, ps_buf_view(&sealed), cases[_i].taken_at, &ticket), cases[_i].r);
	if (cases[_i].r < 0) {
		ck_assert_ptr_nonnull(strstr(ps_last_error(), cases[_i].says));
		ck_assert_str_eq(ticket.user, "untouched");
	}
	ps_buf_finish(&sealed);
	ps_ticket_book_destroy(book);
}
END_TEST

START_TEST(any_changed_octet_is_seen)
{
	struct ps_ticket_book *book = ps_ticket_book_create(3, NULL, NOW);
	struct ps_buf sealed = {0};
	struct ps_msg_ticket ticket;

	seal(&sealed, &key, 3, NOW);
	for (size_t i = 0; i < sealed.len; i++) {
		sealed.ptr[i] ^= 1;
		ck_assert_int_eq(ps_ticket_take(book, &key, ps_buf_view(&sealed), NOW, &ticket), PS_E_AUTH);
		sealed.ptr[i] ^= 1;
	}
	for (size_t len = 0; len < sealed.len; len++)
		ck_assert_int_eq(ps_ticket_take(book, &key, ps_bytes(sealed.ptr, len), NOW, &ticket), PS_E_AUTH);
	ck_assert_ok(ps_ticket_take(book, &key, ps_buf_view(&sealed), NOW, &ticket));
	ps_buf_finish(&sealed);
	ps_ticket_book_destroy(book);
}
END_TEST

START_TEST(no_two_tickets_are_alike)
{
	struct ps_ticket_book *book = ps_ticket_book_create(3, NULL, NOW);
	struct ps_msg_ticket ticket;

	for (unsigned i = 0; i < 5000; i++) {
		struct ps_buf sealed = {0};

		seal(&sealed, &key, 3, NOW + i * 100);
		ck_assert_ok(ps_ticket_take(book, &key, ps_buf_view(&sealed), NOW + i * 100, &ticket));
		ps_buf_finish(&sealed);
	}
	ps_ticket_book_destroy(book);
}
END_TEST

static const struct {
	const char *says;
	const struct ps_ticket_key *sealed_with;
	const char *sid;
	uint64_t at;
	int r;
} passes[] = {
	{"", &key, "S1", NOW, 0},
	{"", &key, "S1", NOW + PS_PASS_LIFETIME_MS, 0},
	{"expired", &key, "S1", NOW + PS_PASS_LIFETIME_MS + 1, PS_E_AUTH},
	{"another session", &key, "S2", NOW, PS_E_AUTH},
	{"another session", &key, "S", NOW, PS_E_AUTH},
	{"not sealed with our", &other_key, "S1", NOW, PS_E_AUTH},
};

START_TEST(a_pass_holds_for_a_session_and_a_time)
{
	struct ps_msg_pass pass = {.sid = "S1", .user = "alice@example.test"}, checked = {.user = "untouched"};
	struct ps_buf sealed = {0};
	int r = 0;

	ck_assert_ok(ps_pass_seal(passes[_i].sealed_with, &pass, NOW, &sealed));
	for (int i = 0; i < 2; i++) /* it may be shown again */
		r = ps_pass_check(&key, ps_buf_view(&sealed), passes[_i].sid, passes[_i].at, &checked);
	ck_assert_int_eq(r, passes[_i].r);
	ck_assert_str_eq(checked.user, r == 0 ? "alice@example.test" : "untouched");
	if (r < 0)
		ck_assert_ptr_nonnull(strstr(ps_last_error(), passes[_i].says));
	ps_buf_finish(&sealed);
}
END_TEST

START_TEST(a_pass_and_a_ticket_are_not_alike)
{
	struct ps_ticket_book *book = ps_ticket_book_create(3, NULL, NOW);
	struct ps_buf pass = {0}, sealed = {0};
	struct ps_msg_pass content = {.sid = "S1", .user = "alice@example.test"}, checked;
	struct ps_msg_ticket ticket;

	ck_assert_ok(ps_pass_seal(&key, &content, NOW, &pass));
	seal(&sealed, &key, 3, NOW);
	ck_assert_int_eq(ps_ticket_take(book, &key, ps_buf_view(&pass), NOW, &ticket), PS_E_AUTH);
	ck_assert_int_eq(ps_pass_check(&key, ps_buf_view(&sealed), "S1", NOW, &checked), PS_E_AUTH);
	ck_assert_int_eq(ps_pass_check(&key, ps_bytes(NULL, 0), "S1", NOW, &checked), PS_E_AUTH);
	ps_buf_finish(&pass);
	ps_buf_finish(&sealed);
	ps_ticket_book_destroy(book);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("ticket");
	TCase *tc = tcase_create("ticket");

	tcase_add_test(tc, a_ticket_is_taken_once);
	tcase_add_loop_test(tc, a_ticket_holds_for_one_process_and_a_time, 0, PS_ARRAY_LEN(cases));
	tcase_add_test(tc, a_users_own_process_takes_no_others_tickets);
	tcase_add_test(tc, any_changed_octet_is_seen);
	tcase_add_test(tc, no_two_tickets_are_alike);
	tcase_add_loop_test(tc, a_pass_holds_for_a_session_and_a_time, 0, PS_ARRAY_LEN(passes));
	tcase_add_test(tc, a_pass_and_a_ticket_are_not_alike);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
