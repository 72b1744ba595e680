/* SPDX-License-Identifier: MIT */
#include "tests/conformance/conform.h"

/* A message with these flags and keywords, and no other, before and after reopening. */
static void must_have(struct kit *kit, uint32_t uid, uint32_t flags, const char *keywords)
{
	for (int again = 0; again < 2; again++) {
		struct picture p = kit_picture(kit, kit->store, kit->inbox);
		const struct ps_row *row = picture_row(&p, uid);

		must(row, "UID %u is not there", uid);
		must(row->flags == flags, "%sflags 0x%x, not 0x%x", again ? "reopened: " : "", row->flags, flags);
		must(strcmp(picture_keywords(kit, &p, row), keywords) == 0, "%skeywords \"%s\", not \"%s\"",
		     again ? "reopened: " : "", picture_keywords(kit, &p, row), keywords);
		kit_again(kit);
	}
}

/* ---- each flag by itself ------------------------------------------------------------------- */

static const struct {
	const char *name;
	uint32_t flag;
} system_flags[] = {
	{"\\Seen", PS_FLAG_SEEN},       {"\\Answered", PS_FLAG_ANSWERED}, {"\\Flagged", PS_FLAG_FLAGGED},
	{"\\Deleted", PS_FLAG_DELETED}, {"\\Draft", PS_FLAG_DRAFT},
};

static void flag_added(struct kit *kit)
{
	uint32_t flag = system_flags[kit->row].flag;

	kit_begin(kit, 1);
	kit_flags(kit, kit->store, kit->inbox, ALL, PS_FLAGS_ADD, flag, NULL);
	must_have(kit, 1, flag, "");
	kit_end(kit);
}

static void flag_removed(struct kit *kit)
{
	uint32_t flag = system_flags[kit->row].flag;

	kit_begin(kit, 1);
	kit_flags(kit, kit->store, kit->inbox, ALL, PS_FLAGS_SET, PS_FLAG_ALL, WORDS("word"));
	kit_flags(kit, kit->store, kit->inbox, ALL, PS_FLAGS_REMOVE, flag, NULL);
	must_have(kit, 1, PS_FLAG_ALL & ~flag, "word");
	kit_end(kit);
}

static void flag_set(struct kit *kit)
{
	uint32_t flag = system_flags[kit->row].flag;

	kit_begin(kit, 1);
	kit_flags(kit, kit->store, kit->inbox, ALL, PS_FLAGS_SET, PS_FLAG_ALL & ~flag, WORDS("word"));
	kit_flags(kit, kit->store, kit->inbox, ALL, PS_FLAGS_SET, flag, NULL);
	must_have(kit, 1, flag, "");
	kit_end(kit);
}

static void flag_at_birth(struct kit *kit)
{
	uint32_t flag = system_flags[kit->row].flag;

	kit_begin(kit, 0);
	kit_append(kit, kit->store, kit->inbox, &(struct kit_message){.octets = ps_bytes_str("a\r\n"), .flags = flag});
	must_have(kit, 1, flag, "");
	kit_end(kit);
}

/* ---- keywords ------------------------------------------------------------------------------ */

/* What may stand in a flag-keyword: an atom, RFC 9051 section 9. */
static const struct {
	const char *name;
	const char *lower;
} spellings[] = {
	{"a", "a"},
	{"Z", "z"},
	{"$Forwarded", "$forwarded"},
	{"$MDNSent", "$mdnsent"},
	{"NonJunk", "nonjunk"},
	{"with.dots", "with.dots"},
	{"x:y,z/w", "x:y,z/w"},
	{"~!$&'+-<>=?@^_`|", "~!$&'+-<>=?@^_`|"},
	{"0", "0"},
	{"T", "t"}, /* as Maildir's letter for \Deleted */
	{"a-keyword-of-sixty-four-octets-which-is-more-than-anybody-needs",
	 "a-keyword-of-sixty-four-octets-which-is-more-than-anybody-needs"},
};

static void keyword_added(struct kit *kit)
{
	kit_begin(kit, 1);
	kit_flags(kit, kit->store, kit->inbox, ALL, PS_FLAGS_ADD, 0, WORDS(spellings[kit->row].name));
	must_have(kit, 1, 0, spellings[kit->row].lower);
	kit_flags(kit, kit->store, kit->inbox, ALL, PS_FLAGS_REMOVE, 0, WORDS(spellings[kit->row].lower));
	must_have(kit, 1, 0, "");
	kit_end(kit);
}

static void keyword_at_birth(struct kit *kit)
{
	kit_begin(kit, 0);
	kit_append(kit, kit->store, kit->inbox,
		   &(struct kit_message){.octets = ps_bytes_str("a\r\n"), .keywords = WORDS(spellings[kit->row].name)});
	must_have(kit, 1, 0, spellings[kit->row].lower);
	kit_end(kit);
}

#define STEP_MAX 3

/* Steps on one message, and what is there then. */
static const struct {
	const char *name;
	struct {
		enum ps_flag_mode mode;
		uint32_t flags;
		const char *const *keywords;
	} steps[STEP_MAX];
	size_t count;
	uint32_t flags;
	const char *keywords;
} sequences[] = {
	{"adding keeps what was there",
	 {{PS_FLAGS_ADD, PS_FLAG_SEEN, WORDS("one")}, {PS_FLAGS_ADD, PS_FLAG_DRAFT, WORDS("two")}},
	 2,
	 PS_FLAG_SEEN | PS_FLAG_DRAFT,
	 "one two"},
	{"setting replaces all",
	 {{PS_FLAGS_ADD, PS_FLAG_SEEN, WORDS("one", "two")}, {PS_FLAGS_SET, PS_FLAG_DRAFT, WORDS("two", "three")}},
	 2,
	 PS_FLAG_DRAFT,
	 "three two"},
	{"setting nothing clears all", {{PS_FLAGS_SET, PS_FLAG_ALL, WORDS("one")}, {PS_FLAGS_SET}}, 2, 0, ""},
	{"removing flags leaves keywords",
	 {{PS_FLAGS_SET, PS_FLAG_ALL, WORDS("one")}, {PS_FLAGS_REMOVE, PS_FLAG_ALL}},
	 2,
	 0,
	 "one"},
	{"removing keywords leaves flags",
	 {{PS_FLAGS_SET, PS_FLAG_ALL, WORDS("one")}, {PS_FLAGS_REMOVE, 0, WORDS("one")}},
	 2,
	 PS_FLAG_ALL,
	 ""},
	{"removing what is not there leaves the rest",
	 {{PS_FLAGS_SET, PS_FLAG_SEEN, WORDS("one")}, {PS_FLAGS_REMOVE, PS_FLAG_DRAFT, WORDS("two")}},
	 2,
	 PS_FLAG_SEEN,
	 "one"},
	{"a keyword has no case",
	 {{PS_FLAGS_ADD, 0, WORDS("Work")}, {PS_FLAGS_ADD, 0, WORDS("WORK")}, {PS_FLAGS_REMOVE, 0, WORDS("work")}},
	 3,
	 0,
	 ""},
	{"one keyword twice in a list is one", {{PS_FLAGS_SET, 0, WORDS("one", "ONE", "one")}}, 1, 0, "one"},
	{"a keyword that was removed can come back",
	 {{PS_FLAGS_ADD, 0, WORDS("one", "two")}, {PS_FLAGS_REMOVE, 0, WORDS("one")}, {PS_FLAGS_ADD, 0, WORDS("one")}},
	 3,
	 0,
	 "one two"},
	{"an empty list is no list", {{PS_FLAGS_ADD, PS_FLAG_SEEN, (const char *const[]){NULL}}}, 1, PS_FLAG_SEEN, ""},
};

static void sequence(struct kit *kit)
{
	kit_begin(kit, 1);
	for (size_t i = 0; i < sequences[kit->row].count; i++)
		kit_flags(kit, kit->store, kit->inbox, UIDS(1, 1), sequences[kit->row].steps[i].mode,
			  sequences[kit->row].steps[i].flags, sequences[kit->row].steps[i].keywords);
	must_have(kit, 1, sequences[kit->row].flags, sequences[kit->row].keywords);
	kit_end(kit);
}

/* ---- as many as there may be --------------------------------------------------------------- */

static const char *nth(struct kit *kit, unsigned i)
{
	return ps_pool_printf(kit->pool, "key%u", i);
}

/* Each keyword on a message of its own. */
static void fill_table(struct kit *kit)
{
	kit_begin(kit, 0);
	for (unsigned i = 0; i < PS_KEYWORDS_MAX; i++)
		kit_append(kit, kit->store, kit->inbox,
			   &(struct kit_message){.octets = ps_bytes_str("a\r\n"), .keywords = WORDS(nth(kit, i))});
}

static void table_must_be_full(struct kit *kit)
{
	struct picture p;

	kit_again(kit);
	p = kit_picture(kit, kit->store, kit->inbox);
	must(p.count == PS_KEYWORDS_MAX, "%zu messages", p.count);
	for (unsigned i = 0; i < PS_KEYWORDS_MAX; i++) {
		must(strcmp(picture_keywords(kit, &p, &p.rows[i]), nth(kit, i)) == 0, "UID %u has keywords \"%s\"",
		     p.rows[i].uid, picture_keywords(kit, &p, &p.rows[i]));
		must(p.rows[i].flags == 0, "a refused change left flags 0x%x", p.rows[i].flags);
	}
	kit_end(kit);
}

static void many_keywords(struct kit *kit)
{
	fill_table(kit);
	table_must_be_full(kit);
}

static void one_too_many(struct kit *kit)
{
	struct ps_range all = ALL;
	struct ps_op op = {.kind = PS_OP_FLAGS,
			   .uids = &all,
			   .uid_count = 1,
			   .flags = PS_FLAG_SEEN,
			   .flag_mode = PS_FLAGS_ADD,
			   .keywords = WORDS("one-too-many"),
			   .unchanged_since = UINT64_MAX};

	fill_table(kit);
	op.mbox = kit->inbox;
	must_be(kit_try(kit, kit->store, &op, NULL), PS_E_LIMIT);
	table_must_be_full(kit);
}

static void one_too_many_at_birth(struct kit *kit)
{
	struct kit_message message = {.octets = ps_bytes_str("a\r\n"), .keywords = WORDS("one-too-many")};
	struct ps_op op;

	fill_table(kit);
	kit_stage(kit, kit->store, kit->inbox, &message, &op);
	must_be(kit_try(kit, kit->store, &op, NULL), PS_E_LIMIT);
	table_must_be_full(kit);
}

static void one_too_many_by_copy(struct kit *kit)
{
	struct ps_range all = ALL;
	struct ps_op op = {.kind = PS_OP_COPY, .uids = &all, .uid_count = 1};

	fill_table(kit);
	must_ok(kit_create(kit, kit->store, "Other"));
	op.mbox = kit_mbox(kit, kit->store, "Other");
	op.target = kit->inbox;
	kit_append(kit, kit->store, op.mbox,
		   &(struct kit_message){.octets = ps_bytes_str("a\r\n"), .keywords = WORDS("one-too-many")});
	must_be(kit_try(kit, kit->store, &op, NULL), PS_E_LIMIT);
	table_must_be_full(kit);
}

static void all_on_one(struct kit *kit)
{
	const char *words[PS_KEYWORDS_MAX + 1] = {NULL};
	struct picture p;

	kit_begin(kit, 1);
	for (unsigned i = 0; i < PS_KEYWORDS_MAX; i++)
		words[i] = nth(kit, i);
	kit_flags(kit, kit->store, kit->inbox, ALL, PS_FLAGS_ADD, 0, words);
	kit_again(kit);
	p = kit_picture(kit, kit->store, kit->inbox);
	must(p.keyword_count == PS_KEYWORDS_MAX && p.rows[0].keywords == UINT64_MAX, "keywords are missing: mask %llx",
	     (unsigned long long)p.rows[0].keywords);
	kit_end(kit);
}

static void tables_apart(struct kit *kit)
{
	struct ps_mbox *other;
	struct picture p;

	kit_begin(kit, 1);
	must_ok(kit_create(kit, kit->store, "Other"));
	other = kit_mbox(kit, kit->store, "Other");
	kit_fill(kit, kit->store, other, 1);
	kit_flags(kit, kit->store, kit->inbox, ALL, PS_FLAGS_ADD, 0, WORDS("here", "both"));
	kit_flags(kit, kit->store, other, ALL, PS_FLAGS_ADD, 0, WORDS("both", "there"));
	p = kit_picture(kit, kit->store, other);
	must(strcmp(picture_keywords(kit, &p, &p.rows[0]), "both there") == 0, "keywords \"%s\"",
	     picture_keywords(kit, &p, &p.rows[0]));
	for (size_t i = 0; i < p.keyword_count; i++)
		must(strcmp(p.keywords[i], "here") != 0, "a keyword of another mailbox is in the table");
	must_have(kit, 1, 0, "both here");
	kit_end(kit);
}

/* ---- which messages ------------------------------------------------------------------------ */

static const struct {
	const char *name;
	struct ps_range uids[3];
	size_t count;
	const char *marks; /* one for each of UIDs 1 to 10, of which 7 was expunged */
} choices[] = {
	{"one", {{2, 2}}, 1, ".*........"},
	{"a range", {{4, 6}}, 1, "...***...."},
	{"the first", {{1, 1}}, 1, "*........."},
	{"the last", {{10, 10}}, 1, ".........*"},
	{"all", {{1, UINT32_MAX}}, 1, "******.***"},
	{"from one on", {{9, UINT32_MAX}}, 1, "........**"},
	{"a range over a gap", {{6, 8}}, 1, ".....*.*.."},
	{"nothing but a gap", {{7, 7}}, 1, ".........."},
	{"what is beyond all", {{11, 500}}, 1, ".........."},
	{"several ranges", {{1, 2}, {4, 4}, {9, 20}}, 3, "**.*....**"},
	{"no range at all", {{1, 1}}, 0, ".........."},
};

static void ranges(struct kit *kit)
{
	struct ps_op op = {.kind = PS_OP_FLAGS,
			   .uids = choices[kit->row].uids,
			   .uid_count = choices[kit->row].count,
			   .flags = PS_FLAG_FLAGGED,
			   .flag_mode = PS_FLAGS_ADD,
			   .unchanged_since = UINT64_MAX};
	struct picture p;

	kit_begin(kit, 10);
	kit_expunge(kit, kit->store, kit->inbox, UIDS(7, 7));
	op.mbox = kit->inbox;
	must_ok(kit_try(kit, kit->store, &op, NULL));
	p = kit_picture(kit, kit->store, kit->inbox);
	must(p.count == 9, "%zu messages", p.count);
	for (size_t i = 0; i < p.count; i++)
		must(!p.rows[i].flags == (choices[kit->row].marks[p.rows[i].uid - 1] == '.'), "UID %u has flags 0x%x",
		     p.rows[i].uid, p.rows[i].flags);
	kit_end(kit);
}

static void last_word_counts(struct kit *kit)
{
	const char *const *word = WORDS("word");
	struct ps_range one = UIDS(1, 1);
	struct ps_op ops[3];

	kit_begin(kit, 1);
	for (int i = 0; i < 3; i++)
		ops[i] = (struct ps_op){.kind = PS_OP_FLAGS,
					.mbox = kit->inbox,
					.uids = &one,
					.uid_count = 1,
					.flag_mode = i == 1 ? PS_FLAGS_REMOVE : PS_FLAGS_ADD,
					.flags = i == 2 ? PS_FLAG_DRAFT : PS_FLAG_SEEN | PS_FLAG_FLAGGED,
					.keywords = i == 1 ? NULL : word,
					.unchanged_since = UINT64_MAX};
	must_ok(kit_try_all(kit, kit->store, ops, 3, NULL));
	must_have(kit, 1, PS_FLAG_DRAFT, "word");
	kit_end(kit);
}

static void octets_stay(struct kit *kit)
{
	struct ps_bytes text = kit_text(kit, "Subject: x\r\n\r\na\rb\r\n");

	kit_begin(kit, 0);
	kit_append(kit, kit->store, kit->inbox, &(struct kit_message){.octets = text});
	for (unsigned i = 0; i < 8; i++) {
		kit_flags(kit, kit->store, kit->inbox, ALL, (enum ps_flag_mode)(i % 3), i * 5 % 32, WORDS("word"));
		kit_body_must_be(kit, kit->inbox, 1, text);
	}
	kit_end(kit);
}

static void wrong_bits(struct kit *kit)
{
	struct ps_range all = ALL;
	struct ps_op op = {
		.kind = PS_OP_FLAGS, .uids = &all, .uid_count = 1, .flags = UINT32_MAX, .unchanged_since = UINT64_MAX};
	int r;

	kit_begin(kit, 1);
	op.mbox = kit->inbox;
	r = kit_try(kit, kit->store, &op, NULL);
	must(r == 0 || r == PS_E_INVALID, "flags that there are not: %s", ps_err_name(r));
	must_have(kit, 1, r == 0 ? PS_FLAG_ALL : 0, "");
	kit_end(kit);
}

static const struct check checks[] = {
	{"FLAGS: added and kept", flag_added, ROWS(system_flags)},
	{"FLAGS: removed, and none else", flag_removed, ROWS(system_flags)},
	{"FLAGS: set in the place of all others", flag_set, ROWS(system_flags)},
	{"APPEND: a message comes with", flag_at_birth, ROWS(system_flags)},
	{"FLAGS: a keyword is kept, then removed", keyword_added, ROWS(spellings)},
	{"APPEND: a message comes with the keyword", keyword_at_birth, ROWS(spellings)},
	{"FLAGS", sequence, ROWS(sequences)},
	{"keywords: 64 fit into a mailbox, each for itself", many_keywords},
	{"keywords: 64 fit on one message", all_on_one},
	{"keywords: FLAGS with one too many is refused and changes nothing", one_too_many},
	{"keywords: APPEND with one too many is refused and adds nothing", one_too_many_at_birth},
	{"keywords: COPY with one too many is refused and copies nothing", one_too_many_by_copy},
	{"keywords: each mailbox has a table of its own", tables_apart},
	{"FLAGS: the messages meant are", ranges, ROWS(choices)},
	{"FLAGS: of several operations of a batch on one message, the last word counts", last_word_counts},
	{"law 3: flags and keywords leave the octets alone", octets_stay},
	{"FLAGS: nothing but system flags comes of bits that mean nothing", wrong_bits},
};
GROUP(flags, "FLAGS: flags and keywords are what was said, and leave the octets alone", checks);
