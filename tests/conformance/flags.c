/* SPDX-License-Identifier: MIT */
#include "tests/conformance/conform.h"

#define WORDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static const struct {
	enum ps_flag_mode mode;
	uint32_t flags;
	const char *const *keywords;
	uint32_t then;
	const char *then_keywords;
} steps[] = {
	{PS_FLAGS_ADD, PS_FLAG_SEEN, NULL, PS_FLAG_SEEN, ""},
	{PS_FLAGS_ADD, PS_FLAG_DRAFT | PS_FLAG_SEEN, WORDS("$Forwarded"), PS_FLAG_SEEN | PS_FLAG_DRAFT, "$forwarded"},
	{PS_FLAGS_ADD, 0, WORDS("Work", "$forwarded"), PS_FLAG_SEEN | PS_FLAG_DRAFT, "$forwarded work"},
	{PS_FLAGS_REMOVE, PS_FLAG_DRAFT, WORDS("WORK"), PS_FLAG_SEEN, "$forwarded"},
	{PS_FLAGS_REMOVE, 0, WORDS("nothing-of-the-kind"), PS_FLAG_SEEN, "$forwarded"},
	{PS_FLAGS_SET, PS_FLAG_ANSWERED | PS_FLAG_FLAGGED | PS_FLAG_DELETED, WORDS("b", "a"),
	 PS_FLAG_ANSWERED | PS_FLAG_FLAGGED | PS_FLAG_DELETED, "a b"},
	{PS_FLAGS_SET, PS_FLAG_ALL, NULL, PS_FLAG_ALL, ""},
	{PS_FLAGS_SET, 0, WORDS("x:y,z/w", "with.dots", "~!#$&'+-<>=?@^_`|"), 0, "with.dots x:y,z/w ~!#$&'+-<>=?@^_`|"},
	{PS_FLAGS_SET, 0, NULL, 0, ""},
};

static void modes(struct kit *kit)
{
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX");
	struct ps_bytes text = kit_text(kit, "a\r\n");
	uint32_t uid = kit_append(kit, store, inbox, &(struct kit_message){.octets = text});

	for (size_t i = 0; i < PS_ARRAY_LEN(steps); i++) {
		struct picture p;

		kit_flags(kit, store, inbox, (struct ps_range){uid, uid}, steps[i].mode, steps[i].flags,
			  steps[i].keywords);
		p = kit_picture(kit, store, inbox);
		must(p.rows[0].flags == steps[i].then, "step %zu: flags 0x%x, expected 0x%x", i, p.rows[0].flags,
		     steps[i].then);
		must(strcmp(picture_keywords(kit, &p, &p.rows[0]), steps[i].then_keywords) == 0,
		     "step %zu: keywords \"%s\", expected \"%s\"", i, picture_keywords(kit, &p, &p.rows[0]),
		     steps[i].then_keywords);
		kit_body_must_be(kit, inbox, uid, text);
	}
	kit_close(kit, store);
}

static void at_birth(struct kit *kit)
{
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX");
	struct picture p;

	kit_append(kit, store, inbox,
		   &(struct kit_message){.octets = ps_bytes_str("a\r\n"),
					 .flags = PS_FLAG_ALL,
					 .keywords = WORDS("One", "two", "one")});
	p = kit_picture(kit, store, inbox);
	must(p.rows[0].flags == PS_FLAG_ALL, "flags 0x%x", p.rows[0].flags);
	must(strcmp(picture_keywords(kit, &p, &p.rows[0]), "one two") == 0, "keywords \"%s\"",
	     picture_keywords(kit, &p, &p.rows[0]));
	kit_close(kit, store);
}

/* As many as a mailbox can have, each on its own message; then one more. */
static void many_keywords(struct kit *kit)
{
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX");
	struct ps_range all = {1, UINT32_MAX};
	struct ps_op op = {.kind = PS_OP_FLAGS,
			   .mbox = inbox,
			   .uids = &all,
			   .uid_count = 1,
			   .flags = PS_FLAG_SEEN,
			   .flag_mode = PS_FLAGS_ADD,
			   .keywords = WORDS("one-too-many"),
			   .unchanged_since = UINT64_MAX};
	struct picture p;

	for (unsigned i = 0; i < PS_KEYWORDS_MAX; i++) {
		const char *word = ps_pool_printf(kit->pool, "Key%u", i);

		kit_append(kit, store, inbox,
			   &(struct kit_message){.octets = ps_bytes_str("a\r\n"), .keywords = WORDS(word)});
	}
	must_be(kit_try(kit, store, &op, NULL), PS_E_LIMIT);
	kit_close(kit, store);
	store = kit_open(kit);
	inbox = kit_mbox(kit, store, "INBOX");
	p = kit_picture(kit, store, inbox);
	for (unsigned i = 0; i < PS_KEYWORDS_MAX; i++) {
		must(strcmp(picture_keywords(kit, &p, &p.rows[i]), ps_pool_printf(kit->pool, "key%u", i)) == 0,
		     "UID %u has keywords \"%s\"", p.rows[i].uid, picture_keywords(kit, &p, &p.rows[i]));
		must(p.rows[i].flags == 0, "a refused change left flags 0x%x", p.rows[i].flags);
	}
	kit_close(kit, store);
}

static void ranges(struct kit *kit)
{
	struct ps_range some[] = {{2, 2}, {4, 5}, {9, UINT32_MAX}};
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX");
	struct ps_op op = {.kind = PS_OP_FLAGS,
			   .mbox = inbox,
			   .uids = some,
			   .uid_count = 3,
			   .flags = PS_FLAG_FLAGGED,
			   .flag_mode = PS_FLAGS_ADD,
			   .unchanged_since = UINT64_MAX};
	struct picture p;

	kit_fill(kit, store, inbox, 10);
	must_ok(kit_try(kit, store, &op, NULL));
	p = kit_picture(kit, store, inbox);
	for (size_t i = 0; i < p.count; i++) {
		uint32_t uid = p.rows[i].uid;
		bool meant = uid == 2 || uid == 4 || uid == 5 || uid >= 9;

		must(p.rows[i].flags == (meant ? PS_FLAG_FLAGGED : 0), "UID %u has flags 0x%x", uid, p.rows[i].flags);
	}
	kit_close(kit, store);
}

static const struct check checks[] = {
	{"flags and keywords are set, added and removed; keywords have no case", modes},
	{"a message may come with flags and keywords", at_birth},
	{"64 keywords fit; one more is refused and changes nothing", many_keywords},
	{"ranges mean the messages in them that exist", ranges},
};
GROUP(flags, "laws 2 and 3: flags and keywords are what was said, and leave the octets alone", checks);
