/* SPDX-License-Identifier: MIT */
#include "tests/store/user.h"

static struct ps_user *user;

static void set_up(void)
{
	user = test_user("mailboxes");
}

static void tear_down(void)
{
	ps_user_close(user);
}

static const struct {
	uint32_t attribute;
	char letter;
} letters[] = {
	{PS_MBOX_EXISTS, 'e'}, {PS_MBOX_SUBSCRIBED, 's'}, {PS_MBOX_ARCHIVE, 'A'}, {PS_MBOX_DRAFTS, 'D'},
	{PS_MBOX_JUNK, 'J'},   {PS_MBOX_SENT, 'S'},       {PS_MBOX_TRASH, 'T'},
};

static int note_name(void *arg, const struct ps_mailbox_info *info)
{
	ps_buf_printf(arg, "%s:", info->name);
	for (size_t i = 0; i < PS_ARRAY_LEN(letters); i++)
		if (info->attributes & letters[i].attribute)
			ps_buf_char(arg, letters[i].letter);
	return ps_buf_char(arg, ' ');
}

static const char *list(void)
{
	static struct ps_buf out;

	ps_buf_reset(&out);
	ck_assert_ok(ps_user_list(user, note_name, &out));
	return ps_buf_cstr(&out);
}

#define DEFAULTS "Archive:esA Drafts:esD INBOX:es Junk:esJ Sent:esS Trash:esT "

START_TEST(a_new_user_has_the_mailboxes_of_every_user)
{
	ck_assert_str_eq(list(), DEFAULTS);
}
END_TEST

START_TEST(who_deleted_them_all_does_not_get_them_again)
{
	static const char *const names[] = {"Archive", "Drafts", "Junk", "Sent", "Trash"};

	for (size_t i = 0; i < PS_ARRAY_LEN(names); i++) {
		ck_assert_ok(ps_user_delete(user, names[i]));
		ck_assert_ok(ps_user_subscribe(user, names[i], false));
	}
	ps_user_close(user);
	user = test_user("mailboxes");
	ck_assert_str_eq(list(), "INBOX:es ");
}
END_TEST

START_TEST(missing_parents_are_listed_once)
{
	ck_assert_ok(ps_user_create(user, "X/Y/1", 0));
	ck_assert_ok(ps_user_create(user, "X/Y/2", 0));
	ck_assert_ok(ps_user_create(user, "X-a", 0));
	ck_assert_ok(ps_user_subscribe(user, "X/Z/3", true));
	ck_assert_str_eq(list(), DEFAULTS "X: X-a:e X/Y: X/Y/1:e X/Y/2:e X/Z: X/Z/3:s ");
}
END_TEST

/* RFC 9051 section 6.3.6: to a name that exists is an error, also where the old one only has others below it. */
START_TEST(a_name_without_a_mailbox_is_not_renamed_onto_one)
{
	ck_assert_ok(ps_user_create(user, "A/B", 0));
	ck_assert_ok(ps_user_create(user, "C", 0));
	ck_assert_int_eq(ps_user_rename(user, "A", "C"), PS_E_EXISTS);
	ck_assert_int_eq(ps_user_delete(user, "C/B"), PS_E_NOTFOUND);
	ck_assert_ok(ps_user_rename(user, "A", "D"));
	ck_assert_ok(ps_user_delete(user, "D/B"));
}
END_TEST

START_TEST(a_rename_takes_what_is_below_along)
{
	ck_assert_ok(ps_user_create(user, "A", 0));
	ck_assert_ok(ps_user_create(user, "A/B", 0));
	ck_assert_ok(ps_user_create(user, "A/B/C", 0));
	ck_assert_ok(ps_user_create(user, "AB", 0));
	ck_assert_int_eq(ps_user_rename(user, "A", "A/D"), PS_E_INVALID);
	ck_assert_int_eq(ps_user_rename(user, "A", "A"), PS_E_EXISTS);
	ck_assert_int_eq(ps_user_rename(user, "A", "AB"), PS_E_EXISTS);
	ck_assert_int_eq(ps_user_rename(user, "Nowhere", "N"), PS_E_NOTFOUND);
	ck_assert_int_eq(ps_user_rename(user, "A", "bad//name"), PS_E_INVALID);
	ck_assert_ok(ps_user_rename(user, "A", "Z/A"));
	ck_assert_str_eq(list(), "AB:e " DEFAULTS "Z: Z/A:e Z/A/B:e Z/A/B/C:e ");
	ck_assert_ok(ps_user_rename(user, "Z/A/B", "B"));
	ck_assert_str_eq(list(),
			 "AB:e Archive:esA B:e B/C:e Drafts:esD INBOX:es Junk:esJ Sent:esS Trash:esT Z: Z/A:e ");
}
END_TEST

/* RFC 9051 section 6.3.6. */
START_TEST(renaming_inbox_moves_its_messages)
{
	struct ps_mailbox_info inbox, old;

	ck_assert_ok(ps_user_create(user, "INBOX/below", 0));
	test_append(user, "INBOX", "x\r\n", PS_FLAG_SEEN);
	test_append(user, "INBOX", "y\r\n", 0);
	ck_assert_int_eq(ps_user_rename(user, "INBOX", "Sent"), PS_E_EXISTS);
	ck_assert_ok(ps_user_rename(user, "INBOX", "Old"));
	ck_assert_ok(ps_user_status(user, "INBOX", &inbox));
	ck_assert_ok(ps_user_status(user, "Old", &old));
	ck_assert_uint_eq(inbox.messages, 0);
	ck_assert_uint_eq(old.messages, 2);
	ck_assert_uint_eq(old.unseen, 1);
	ck_assert_ok(ps_user_status(user, "INBOX/below", &inbox));
}
END_TEST

START_TEST(what_cannot_be_is_told)
{
	struct ps_mailbox_info info;

	ck_assert_int_eq(ps_user_create(user, "INBOX", 0), PS_E_EXISTS);
	ck_assert_int_eq(ps_user_create(user, "inbox", 0), PS_E_INVALID);
	ck_assert_int_eq(ps_user_create(user, "a//b", 0), PS_E_INVALID);
	ck_assert_int_eq(ps_user_delete(user, "INBOX"), PS_E_INVALID);
	ck_assert_int_eq(ps_user_delete(user, "Nowhere"), PS_E_NOTFOUND);
	ck_assert_int_eq(ps_user_status(user, "Nowhere", &info), PS_E_NOTFOUND);
	ck_assert_int_eq(ps_user_subscribe(user, "", true), PS_E_INVALID);
}
END_TEST

START_TEST(deleting_leaves_what_is_below)
{
	ck_assert_ok(ps_user_create(user, "A", 0));
	ck_assert_ok(ps_user_create(user, "A/B", 0));
	ck_assert_ok(ps_user_delete(user, "A"));
	ck_assert_str_eq(list(), "A: A/B:e " DEFAULTS);
	ck_assert_int_eq(ps_user_delete(user, "A"), PS_E_NOTFOUND);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("mailboxes");
	TCase *tc = tcase_create("mailboxes");

	tcase_add_checked_fixture(tc, set_up, tear_down);
	tcase_add_test(tc, a_new_user_has_the_mailboxes_of_every_user);
	tcase_add_test(tc, who_deleted_them_all_does_not_get_them_again);
	tcase_add_test(tc, missing_parents_are_listed_once);
	tcase_add_test(tc, a_name_without_a_mailbox_is_not_renamed_onto_one);
	tcase_add_test(tc, a_rename_takes_what_is_below_along);
	tcase_add_test(tc, renaming_inbox_moves_its_messages);
	tcase_add_test(tc, what_cannot_be_is_told);
	tcase_add_test(tc, deleting_leaves_what_is_below);
	suite_add_tcase(suite, tc);
	return test_main(suite);
}
