/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include "core/store/references.h"
#include "postern/pool.h"
#include "tests/message/message_unit.h"

enum {
	DEEP = 100000,
};

static void add(struct ps_references *refs, uint32_t message, const char *header)
{
	struct derived d = derive(header);

	ps_references_add(refs, message, &d.cache);
	ps_derive_destroy(d.derive);
}

/* Messages a, b, c... in the order of their numbers; what becomes of each: its parent, "." for none, and "1", "2" for
 * dummies. */
static const struct {
	const char *headers[5];
	const char *parents;
} mailboxes[] = {
	{{"Message-ID: <a@x>\r\n\r\n", "Message-ID: <b@x>\r\nReferences: <a@x>\r\n\r\n",
	  "Message-ID: <c@x>\r\nReferences: <a@x> <b@x>\r\n\r\n"},
	 ".ab"},
	/* The first of In-Reply-To counts, and only where References has nothing valid. */
	{{"Message-ID: <a@x>\r\n\r\n", "In-Reply-To: <a@x> <me@x>\r\nReferences: none\r\n\r\n",
	  "In-Reply-To: <b@x>\r\nReferences: <a@x>\r\n\r\n"},
	 ".aa"},
	/* One that is missing, with two children and with one. */
	{{"References: <no@x>\r\n\r\n", "References: <no@x>\r\n\r\n", "References: <other@x>\r\n\r\n"}, "11."},
	/* Missing ones in between are passed over. */
	{{"Message-ID: <a@x>\r\n\r\n", "References: <a@x> <1@x> <2@x>\r\n\r\n", "References: <1@x> <3@x>\r\n\r\n"},
	 ".aa"},
	/* Missing ones above one another: the topmost holds all. */
	{{"References: <1@x> <2@x>\r\n\r\n", "References: <1@x> <3@x> <4@x>\r\n\r\n", "References: <5@x>\r\n\r\n",
	  "References: <6@x> <7@x>\r\n\r\n", "References: <6@x> <7@x>\r\n\r\n"},
	 "11.22"},
	/* A loop: whoever comes later does without. */
	{{"Message-ID: <a@x>\r\nReferences: <b@x>\r\n\r\n", "Message-ID: <b@x>\r\nReferences: <a@x>\r\n\r\n"}, "b."},
	{{"Message-ID: <a@x>\r\nReferences: <a@x>\r\n\r\n", "References: <b@x> <b@x>\r\n\r\n"}, ".."},
	{{"Message-ID: <a@x>\r\nReferences: <b@x> <c@x> <b@x> <a@x>\r\n\r\n", "Message-ID: <b@x>\r\n\r\n",
	  "Message-ID: <c@x>\r\n\r\n"},
	 "..."},
	/* Of doubles the first is meant, and the others are messages all the same. */
	{{"Message-ID: <a@x>\r\n\r\n", "Message-ID: <a@x>\r\n\r\n", "References: <a@x>\r\n\r\n",
	  "Message-ID: <a@x>\r\nReferences: <a@x>\r\n\r\n"},
	 "..aa"},
	/* A parent found for a message by others' References gives way to its own. */
	{{"References: <a@x> <b@x>\r\n\r\n", "Message-ID: <a@x>\r\n\r\n", "Message-ID: <b@x>\r\n\r\n"}, "c.."},
	{{"References: <b@x> <c@x>\r\n\r\n", "Message-ID: <b@x>\r\n\r\n",
	  "Message-ID: <c@x>\r\nReferences: <d@x>\r\n\r\n", "Message-ID: <d@x>\r\n\r\n"},
	 "c.d."},
	/* Between two others, one that has a parent keeps it. */
	{{"References: <a@x> <b@x>\r\n\r\n", "References: <c@x> <b@x>\r\n\r\n", "Message-ID: <a@x>\r\n\r\n",
	  "Message-ID: <c@x>\r\n\r\n"},
	 "cc.."},
	{{"Message-ID: <\"a\"@x>\r\n\r\n", "Message-ID: <b>\r\nReferences: <a@x>\r\n\r\n", "References: <b>\r\n\r\n"},
	 ".a."},
};

START_TEST(parents_are_what_the_rfc_says)
{
	size_t count = strlen(mailboxes[_i].parents);
	struct ps_references *refs = ps_references_create(count);
	char parents[8] = "";

	for (uint32_t i = 0; i < count; i++)
		add(refs, i, mailboxes[_i].headers[i]);
	for (uint32_t i = 0; i < count; i++)
		ps_references_prune(refs, i);
	for (uint32_t i = 0; i < count; i++) {
		uint32_t parent = ps_references_parent(refs, i);

		parents[i] = (char)(parent == PS_NO_PARENT ? '.'
				    : parent < count       ? 'a' + (int)parent
							   : '1' + (int)(parent - count));
	}
	ck_assert_str_eq(parents, mailboxes[_i].parents);
	ps_references_destroy(refs);
}
END_TEST

static void add_deep(struct ps_references *refs, uint32_t message, uint32_t id, uint32_t parent)
{
	char header[200];

	snprintf(header, sizeof header, "Message-ID: <%u@x>\r\nIn-Reply-To: <%u@x>\r\n\r\n", id, parent);
	add(refs, message, header);
}

/* Each answers the one before, which comes before it or behind it. */
START_TEST(a_chain_may_be_deep)
{
	struct ps_references *refs = ps_references_create(DEEP);

	for (uint32_t i = 0; i < DEEP; i++) {
		uint32_t id = _i ? DEEP - i : i + 1;

		add_deep(refs, id - 1, id, id - 1);
	}
	for (uint32_t i = 0; i < DEEP; i++)
		ps_references_prune(refs, i);
	ck_assert_uint_eq(ps_references_parent(refs, 0), PS_NO_PARENT);
	for (uint32_t i = 1; i < DEEP; i++)
		ck_assert_uint_eq(ps_references_parent(refs, i), i - 1);
	ps_references_destroy(refs);
}
END_TEST

/* A deep chain of which all but the ends are missing, then many that have a child and are hung below its end: looking for
 * loops each time would take a square. */
START_TEST(looking_for_loops_ends)
{
	struct ps_references *refs = ps_references_create(DEEP);
	uint32_t half = DEEP / 2, quarter = DEEP / 4, at = 0;

	for (uint32_t i = 0; i < half; i++)
		add_deep(refs, at++, i + 1, i);
	for (uint32_t i = 0; i < quarter; i++)
		add_deep(refs, at++, 2 * DEEP + i, DEEP + i);
	for (uint32_t i = 0; i < quarter; i++)
		add_deep(refs, at++, DEEP + i, half);
	for (uint32_t i = 0; i < DEEP; i++)
		ps_references_prune(refs, i);
	ck_assert_uint_eq(ps_references_parent(refs, half + quarter), half - 1);
	ps_references_destroy(refs);
}
END_TEST

/* Dummies are bounded, so that few messages with many references do not take all memory. */
START_TEST(references_to_nobody_are_bounded)
{
	struct ps_references *refs = ps_references_create(1000);
	struct ps_buf header = {0};

	for (uint32_t i = 0; i < 1000; i++) {
		ps_buf_reset(&header);
		ps_buf_str(&header, "References:");
		for (unsigned n = 0; n < 2000; n++)
			ps_buf_printf(&header, "\r\n <%u.%u@x>", i, n);
		ps_buf_printf(&header, "\r\nMessage-ID: <%u@y>\r\n\r\n", i);
		add(refs, i, ps_buf_cstr(&header));
	}
	ps_buf_reset(&header);
	for (uint32_t i = 0; i < 1000; i++)
		ps_references_prune(refs, i);
	for (uint32_t i = 0; i < 1000; i++)
		ck_assert_uint_eq(ps_references_parent(refs, i), PS_NO_PARENT);
	ck_assert_uint_eq(ps_references_dummies(refs), 0);
	ck_assert_uint_le(ps_references_nodes(refs), 1000 + 4000 + 65536);
	ps_buf_finish(&header);
	ps_references_destroy(refs);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("references");
	TCase *tc = tcase_create("references");

	tcase_add_loop_test(tc, parents_are_what_the_rfc_says, 0, PS_ARRAY_LEN(mailboxes));
	tcase_add_loop_test(tc, a_chain_may_be_deep, 0, 2);
	tcase_add_test(tc, looking_for_loops_ends);
	tcase_add_test(tc, references_to_nobody_are_bounded);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
