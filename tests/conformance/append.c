/* SPDX-License-Identifier: MIT */
/*
 * Law 3: whatever the octets are and however they come, they are what is given back.
 */
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include "postern/message.h"
#include "tests/conformance/conform.h"

/* A message that is stored, then read at once and after reopening; its size is told right. */
static void keep(struct kit *kit, const struct kit_message *message)
{
	struct ps_bytes octets = message->octets;
	uint32_t uid = kit_append(kit, kit->store, kit->inbox, message);

	for (int again = 0; again < 2; again++) {
		struct picture p = kit_picture(kit, kit->store, kit->inbox);

		kit_body_must_be(kit, kit->inbox, uid, octets);
		must(picture_row(&p, uid)->size == octets.len, "%ssize %llu of %zu octets", again ? "reopened: " : "",
		     (unsigned long long)picture_row(&p, uid)->size, octets.len);
		kit_again(kit);
	}
}

/* ---- short texts, each in one write and octet by octet ------------------------------------- */

static const struct {
	const char *name;
	struct ps_bytes octets;
} texts[] = {
#define TEXT(name, text)                                                                                               \
	{                                                                                                              \
		name,                                                                                                  \
		{                                                                                                      \
			(const uint8_t *)(text), sizeof(text) - 1                                                      \
		}                                                                                                      \
	}
	TEXT("no octet at all", ""),
	TEXT("one octet", "x"),
	TEXT("an empty line", "\r\n"),
	TEXT("a bare CR", "\r"),
	TEXT("CR before a line end", "\r\r\n"),
	TEXT("CR behind a line end", "\r\n\r"),
	TEXT("CR within a line", "a\rb\r\n"),
	TEXT("two CRs within a line", "a\r\rb\r\n"),
	TEXT("CR at the very end", "abc\r"),
	TEXT("a NUL", "\0"),
	TEXT("NULs in lines", "a\0b\r\n\0"),
	TEXT("no line end at the end", "Subject: x\r\n\r\nno line end"),
	TEXT("header only", "Subject: x\r\nFrom: y@example.test\r\n\r\n"),
	TEXT("header without its empty line", "Subject: x\r\n"),
	TEXT("body only", "\r\nbody\r\n"),
	TEXT("lines that begin with From", "From x\r\nFrom y\r\n>From z\r\n>>From z\r\n"),
	TEXT("a From line behind an empty line",
	     "Subject: x\r\n\r\na\r\n\r\nFrom me@example.test Mon Jan  1 00:00:00 2024\r\nb\r\n"),
	TEXT("From at the end of the header", "Subject: x\r\nFrom \r\n\r\nb\r\n"),
	TEXT("lines of dots", ".\r\n..\r\n...\r\n"),
	TEXT("octets that are no UTF-8", "\xff\xfe\x80\r\n"),
	TEXT("a byte order mark and a control octet", "\xef\xbb\xbf\r\n\x1a\r\n"),
	TEXT("blank lines at the end", "Subject: x\r\n\r\nb\r\n\r\n\r\n\r\n"),
	TEXT("X-UID and Status of its own",
	     "X-UID: 7\r\nStatus: RO\r\nX-Status: F\r\nX-IMAPbase: 1 2\r\nContent-Length: 1\r\n\r\nbody\r\n"),
	TEXT("white space before line ends", "Subject: x \t\r\n\r\n \t\r\n\x0b\x0c\r\n"),
#undef TEXT
};

static void short_text(struct kit *kit)
{
	kit_begin(kit, 0);
	keep(kit, &(struct kit_message){.octets = texts[kit->row].octets});
	keep(kit, &(struct kit_message){.octets = texts[kit->row].octets, .piece = 1});
	/* Between others, which a careless reader would take for a part of it. */
	kit_fill(kit, kit->store, kit->inbox, 1);
	keep(kit, &(struct kit_message){.octets = texts[kit->row].octets});
	kit_fill(kit, kit->store, kit->inbox, 1);
	kit_body_must_be(kit, kit->inbox, 4, texts[kit->row].octets);
	kit_end(kit);
}

/* ---- kinds of content, in sizes ------------------------------------------------------------ */

static void make_repeated(struct kit *kit, const char *text, uint8_t *octets, size_t len)
{
	size_t n = strlen(text);

	(void)kit;
	for (size_t i = 0; i < len; i++)
		octets[i] = (uint8_t)text[i % n];
}

/* Every octet there is, but LF only behind CR: what a backend gets is in CRLF form. */
static void make_random(struct kit *kit, const char *text, uint8_t *octets, size_t len)
{
	(void)text;
	for (size_t i = 0; i < len; i++) {
		octets[i] = (uint8_t)pick(kit, 256);
		if (octets[i] == '\n' && (i == 0 || octets[i - 1] != '\r'))
			octets[i] = 'n';
	}
}

static const struct {
	const char *name;
	void (*make)(struct kit *kit, const char *text, uint8_t *octets, size_t len);
	const char *text;
} contents[] = {
	{"short lines", make_repeated, "line\r\n"},
	{"nothing but line ends", make_repeated, "\r\n"},
	{"one line", make_repeated, "x"},
	{"nothing but CR", make_repeated, "\r"},
	{"CR within lines", make_repeated, "ab\rcd\r\n"},
	{"CR before line ends", make_repeated, "abc\r\r\n"},
	{"From lines", make_repeated, "\r\nFrom a b\r\n>From c\r\n"},
	{"any octets", make_random, NULL},
};

static const size_t sizes[] = {511, 512, 4095, 4096, 4097, 65535, 65536, 65537, 300000};

enum {
	SIZES = PS_ARRAY_LEN(sizes),
	CONTENTS = PS_ARRAY_LEN(contents)
};

static struct ps_bytes content(struct kit *kit, size_t which, size_t len)
{
	uint8_t *octets = ps_pool_alloc(kit->pool, len + 1);

	contents[which].make(kit, contents[which].text, octets, len);
	return ps_bytes(octets, len);
}

static void content_name(size_t row, char name[ROW_NAME])
{
	snprintf(name, ROW_NAME, "%s, %zu octets", contents[row / SIZES].name, sizes[row % SIZES]);
}

static void long_text(struct kit *kit)
{
	kit_begin(kit, 0);
	keep(kit, &(struct kit_message){.octets = content(kit, kit->row / SIZES, sizes[kit->row % SIZES])});
	kit_end(kit);
}

/* ---- streams: the same in pieces ----------------------------------------------------------- */

static const size_t pieces[] = {1, 2, 3, 7, 511, 4096, 65536};

enum {
	PIECES = PS_ARRAY_LEN(pieces)
};

static void piece_name(size_t row, char name[ROW_NAME])
{
	snprintf(name, ROW_NAME, "%s, %zu at a time", contents[row / PIECES].name, pieces[row % PIECES]);
}

static void in_pieces(struct kit *kit)
{
	size_t piece = pieces[kit->row % PIECES];
	size_t len = piece < 100 ? 9000 : 140000;

	kit_begin(kit, 0);
	keep(kit, &(struct kit_message){.octets = content(kit, kit->row / PIECES, len), .piece = piece});
	kit_end(kit);
}

/* ---- more of staging ----------------------------------------------------------------------- */

static const struct {
	const char *name;
	uint64_t hint;
} hints[] = {{"not known", 0}, {"too small", 10}, {"too large", 100000000}};

static void wrong_hint(struct kit *kit)
{
	struct ps_bytes octets = content(kit, 0, 20000);
	struct ps_op op = {.kind = PS_OP_APPEND, .size = octets.len};

	kit_begin(kit, 0);
	op.mbox = kit->inbox;
	must_ok(kit->ops->stage(kit->store, hints[kit->row].hint, &op.staged));
	must_ok(kit->ops->stage_write(op.staged, octets));
	must_ok(kit->ops->stage_finish(op.staged));
	must_ok(kit_try(kit, kit->store, &op, NULL));
	kit_body_must_be(kit, kit->inbox, 1, octets);
	kit_end(kit);
}

static void empty_writes(struct kit *kit)
{
	struct ps_op op = {.kind = PS_OP_APPEND, .size = 6};

	kit_begin(kit, 0);
	op.mbox = kit->inbox;
	must_ok(kit->ops->stage(kit->store, 6, &op.staged));
	for (int i = 0; i < 3; i++) {
		must_ok(kit->ops->stage_write(op.staged, ps_bytes(&"a\rb\r\nc"[i * 2], 2)));
		must_ok(kit->ops->stage_write(op.staged, (struct ps_bytes){0}));
	}
	must_ok(kit->ops->stage_finish(op.staged));
	must_ok(kit_try(kit, kit->store, &op, NULL));
	kit_body_must_be(kit, kit->inbox, 1, ps_bytes_str("a\rb\r\nc"));
	kit_end(kit);
}

static void side_by_side(struct kit *kit)
{
	enum {
		MANY = 20
	};
	struct ps_op ops[MANY];
	struct ps_op_result results[MANY];

	kit_begin(kit, 0);
	for (int i = 0; i < MANY; i++) {
		ops[i] = (struct ps_op){.kind = PS_OP_APPEND, .mbox = kit->inbox, .size = 30};
		must_ok(kit->ops->stage(kit->store, 0, &ops[i].staged));
	}
	for (int n = 0; n < 10; n++)
		for (int i = 0; i < MANY; i++)
			must_ok(kit->ops->stage_write(ops[i].staged, kit_text(kit, "%c\r\n", 'a' + i)));
	for (int i = MANY - 1; i >= 0; i--)
		must_ok(kit->ops->stage_finish(ops[i].staged));
	must_ok(kit_try_all(kit, kit->store, ops, MANY, results));
	for (int i = 0; i < MANY; i++) {
		struct ps_bytes octets;

		must_ok(kit_body(kit, kit->inbox, results[i].new_uids[0].first, &octets));
		must(octets.len == 30, "%zu octets", octets.len);
		for (size_t at = 0; at < 30; at += 3)
			must(octets.ptr[at] == 'a' + i, "octets of two messages are mixed");
	}
	kit_end(kit);
}

static void not_seen_before_commit(struct kit *kit)
{
	struct picture before, now;
	struct ps_op op;

	kit_begin(kit, 2);
	before = kit_picture(kit, kit->store, kit->inbox);
	kit_stage(kit, kit->store, kit->inbox, &(struct kit_message){.octets = ps_bytes_str("x\r\n")}, &op);
	must_ok(kit->ops->sync(kit->store, kit->inbox));
	now = kit_picture(kit, kit->store, kit->inbox);
	pictures_must_agree(kit, &before, &now, true);
	must(now.info.uid_next == before.info.uid_next, "staging used a UID up");
	must_ok(kit_try(kit, kit->store, &op, NULL));
	kit_end(kit);
}

/* How far a message had come when it was dropped. */
static const struct {
	const char *name;
	bool written, finished, reopened;
} drops[] = {
	{"before a write", false, false, false},
	{"between writes", true, false, false},
	{"when finished", true, true, false},
	{"when finished, then reopened", true, true, true},
};

static void dropped(struct kit *kit)
{
	struct ps_staged *staged;

	kit_begin(kit, 1);
	must_ok(kit->ops->stage(kit->store, 0, &staged));
	if (drops[kit->row].written)
		must_ok(kit->ops->stage_write(staged, ps_bytes_str("never seen\r\n")));
	if (drops[kit->row].finished)
		must_ok(kit->ops->stage_finish(staged));
	kit->ops->stage_drop(staged);
	if (drops[kit->row].reopened)
		kit_again(kit);
	must_ok(kit->ops->sync(kit->store, kit->inbox));
	must(kit_picture(kit, kit->store, kit->inbox).count == 1, "what was dropped is there");
	kit_end(kit);
}

static void dropping_nothing(struct kit *kit)
{
	kit_begin(kit, 0);
	kit->ops->stage_drop(NULL);
	kit_end(kit);
}

static void a_body_outlives(struct kit *kit)
{
	struct ps_bytes octets;
	struct ps_body body;
	uint8_t space[7];

	kit_begin(kit, 0);
	kit_append(kit, kit->store, kit->inbox, &(struct kit_message){.octets = ps_bytes_str("0123456")});
	must_ok(kit->ops->body(kit->inbox, 1, &body));
	kit_expunge(kit, kit->store, kit->inbox, UIDS(1, 1));
	must(body.length == 7, "%llu octets", (unsigned long long)body.length);
	must_ok(ps_body_piece(&body, 0, space, sizeof space, &octets));
	must(ps_bytes_eq_str(octets, "0123456"), "the octets are gone or changed while the body is open");
	kit->ops->body_close(&body);
	kit_end(kit);
}

static void two_bodies(struct kit *kit)
{
	struct ps_body one, two;

	kit_begin(kit, 2);
	must_ok(kit->ops->body(kit->inbox, 1, &one));
	must_ok(kit->ops->body(kit->inbox, 1, &two));
	kit->ops->body_close(&one);
	kit_body_must_be(kit, kit->inbox, 2, ps_bytes_str("Subject: 2\r\n\r\nbody 2\r\n"));
	kit->ops->body_close(&two);
	kit_body_must_be(kit, kit->inbox, 1, ps_bytes_str("Subject: 1\r\n\r\nbody 1\r\n"));
	kit_end(kit);
}

static void no_such_body(struct kit *kit)
{
	struct ps_bytes octets;

	kit_begin(kit, 3);
	kit_expunge(kit, kit->store, kit->inbox, UIDS(2, 2));
	must_be(kit_body(kit, kit->inbox, 2, &octets), PS_E_GONE);
	kit_again(kit);
	must_be(kit_body(kit, kit->inbox, 2, &octets), PS_E_GONE);
	kit_end(kit);
}

/* ---- what comes with a message ------------------------------------------------------------- */

static const struct {
	const char *name;
	int64_t date;
} dates[] = {
	{"the epoch", 0},           {"before the epoch", -86400}, {"an ordinary one", 1000000000},
	{"2038-01-19", 2147483647}, {"after it", 2147483648},     {"the year 2100", 4102444800},
};

static void dates_are_kept(struct kit *kit)
{
	struct ps_op op;

	kit_begin(kit, 0);
	kit_stage(kit, kit->store, kit->inbox, &(struct kit_message){.octets = ps_bytes_str("x\r\n")}, &op);
	op.internal_date = dates[kit->row].date;
	op.save_date = 1234567890;
	must_ok(kit_try(kit, kit->store, &op, NULL));
	for (int again = 0; again < 2; again++) {
		must(kit_first(kit)->internal_date == dates[kit->row].date, "internal date %lld",
		     (long long)kit_first(kit)->internal_date);
		must(kit_first(kit)->save_date == 1234567890, "save date %lld", (long long)kit_first(kit)->save_date);
		kit_flags(kit, kit->store, kit->inbox, ALL, PS_FLAGS_ADD, PS_FLAG_SEEN, NULL);
		kit_again(kit);
	}
	kit_end(kit);
}

static void saved_now(struct kit *kit)
{
	int64_t before = time(NULL) - 1;

	kit_begin(kit, 1);
	must(kit_first(kit)->save_date >= before && kit_first(kit)->save_date <= time(NULL) + 1,
	     "save date %lld, now is %lld", (long long)kit_first(kit)->save_date, (long long)time(NULL));
	kit_end(kit);
}

static void id_is_kept(struct kit *kit)
{
	struct ps_id id = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0}};

	kit_begin(kit, 0);
	kit_append(kit, kit->store, kit->inbox, &(struct kit_message){.octets = ps_bytes_str("x\r\n"), .email_id = id});
	for (int again = 0; again < 2; again++) {
		must(memcmp(&kit_first(kit)->email_id, &id, sizeof id) == 0, "another email id");
		kit_flags(kit, kit->store, kit->inbox, ALL, PS_FLAGS_ADD, PS_FLAG_SEEN, NULL);
		kit_again(kit);
	}
	kit_end(kit);
}

static void ids_are_made(struct kit *kit)
{
	static const struct ps_id zero;
	struct picture p, after;

	kit_begin(kit, 10);
	p = kit_picture(kit, kit->store, kit->inbox);
	for (size_t i = 0; i < p.count; i++) {
		must(memcmp(&p.rows[i].email_id, &zero, sizeof zero) != 0, "UID %u has no email id", p.rows[i].uid);
		for (size_t j = 0; j < i; j++)
			must(memcmp(&p.rows[i].email_id, &p.rows[j].email_id, sizeof zero) != 0,
			     "UIDs %u and %u have one email id", p.rows[j].uid, p.rows[i].uid);
	}
	kit_again(kit);
	after = kit_picture(kit, kit->store, kit->inbox);
	pictures_must_agree(kit, &p, &after, true);
	kit_end(kit);
}

/* ---- batches ------------------------------------------------------------------------------- */

static void many_in_a_batch(struct kit *kit)
{
	enum {
		MANY = 100
	};
	struct ps_op ops[MANY];
	struct ps_op_result results[MANY];

	kit_begin(kit, 0);
	for (unsigned i = 0; i < MANY; i++)
		kit_stage(kit, kit->store, kit->inbox,
			  &(struct kit_message){.octets = kit_text(kit, "number %u\r\n", i)}, &ops[i]);
	must_ok(kit_try_all(kit, kit->store, ops, MANY, results));
	for (unsigned i = 0; i < MANY; i++) {
		must(i == 0 || results[i].new_uids[0].first > results[i - 1].new_uids[0].first, "out of order");
		kit_body_must_be(kit, kit->inbox, results[i].new_uids[0].first, kit_text(kit, "number %u\r\n", i));
	}
	kit_end(kit);
}

/* A batch that fails by its last operation: what the ones before it would have done. */
static const struct {
	const char *name;
	struct ps_op op; /* beside mbox and target */
} halves[] = {
	{"APPEND", {.kind = PS_OP_APPEND}},
	{"FLAGS",
	 {.kind = PS_OP_FLAGS,
	  .flags = PS_FLAG_SEEN,
	  .keywords = (const char *const[]){"new", NULL},
	  .unchanged_since = UINT64_MAX}},
	{"EXPUNGE", {.kind = PS_OP_EXPUNGE}},
	{"COPY", {.kind = PS_OP_COPY}},
	{"MOVE", {.kind = PS_OP_MOVE}},
	{"CREATE", {.kind = PS_OP_CREATE, .name = "New"}},
	{"RENAME", {.kind = PS_OP_RENAME, .name = "Other", .new_name = "New"}},
	{"DELETE", {.kind = PS_OP_DELETE, .name = "Other"}},
	{"SUBSCRIBE", {.kind = PS_OP_SUBSCRIBE, .name = "New", .subscribed = true}},
	{"ATTRIBUTES", {.kind = PS_OP_ATTRIBUTES, .name = "Other", .attributes = PS_MBOX_JUNK}},
};

static void names_must_agree(const struct names *a, const struct names *b)
{
	must(a->count == b->count, "%zu mailboxes, were %zu", b->count, a->count);
	for (size_t i = 0; i < a->count; i++)
		must(strcmp(a->infos[i].name, b->infos[i].name) == 0 &&
			     a->infos[i].attributes == b->infos[i].attributes,
		     "%s with attributes 0x%x, was %s with 0x%x", b->infos[i].name, b->infos[i].attributes,
		     a->infos[i].name, a->infos[i].attributes);
}

static void all_or_none(struct kit *kit)
{
	struct ps_range all = ALL;
	struct ps_op ops[2] = {halves[kit->row].op, {.kind = PS_OP_CREATE, .name = "INBOX"}};
	struct picture before, now;
	struct names names, names_now;

	kit_begin(kit, 3);
	must_ok(kit_create(kit, kit->store, "Other"));
	before = kit_picture(kit, kit->store, kit->inbox);
	names = kit_list(kit, kit->store);
	if (ops[0].kind == PS_OP_APPEND)
		kit_stage(kit, kit->store, kit->inbox, &(struct kit_message){.octets = ps_bytes_str("x\r\n")}, &ops[0]);
	ops[0].mbox = kit->inbox;
	ops[0].target = kit_mbox(kit, kit->store, "Other");
	ops[0].uids = &all;
	ops[0].uid_count = 1;
	must_be(kit_try_all(kit, kit->store, ops, 2, NULL), PS_E_EXISTS);
	for (int again = 0; again < 2; again++) {
		now = kit_picture(kit, kit->store, kit->inbox);
		pictures_must_agree(kit, &before, &now, true);
		names_now = kit_list(kit, kit->store);
		names_must_agree(&names, &names_now);
		must(kit_picture(kit, kit->store, kit_mbox(kit, kit->store, "Other")).count == 0, "a copy is there");
		kit_again(kit);
	}
	kit_end(kit);
}

/* Which of three batches is refused. */
static const struct {
	const char *name;
	size_t refused;
} refusals[] = {{"the first", 0}, {"the middle one", 1}, {"the last", 2}};

static void several_batches(struct kit *kit)
{
	size_t refused = refusals[kit->row].refused;
	struct ps_op ops[3][2];
	struct ps_op_result results[3][2] = {{{0}}};
	struct ps_batch batches[3], *list[3];

	kit_begin(kit, 0);
	for (size_t i = 0; i < 3; i++) {
		kit_stage(kit, kit->store, kit->inbox, &(struct kit_message){.octets = kit_text(kit, "%zu\r\n", i)},
			  &ops[i][0]);
		ops[i][1] = (struct ps_op){.kind = PS_OP_CREATE, .name = "INBOX"};
		batches[i] = (struct ps_batch){
			.ops = ops[i], .count = i == refused ? 2 : 1, .pool = kit->pool, .results = results[i]};
		list[i] = &batches[i];
	}
	must_ok(kit->ops->commit(kit->store, list, 3));
	for (size_t i = 0; i < 3; i++)
		must(batches[i].err == (i == refused ? PS_E_EXISTS : 0), "batch %zu: %s", i,
		     ps_err_name(batches[i].err));
	must(batches[refused].err_op == 1, "err_op is %zu", batches[refused].err_op);
	must(kit_picture(kit, kit->store, kit->inbox).count == 2, "%zu messages",
	     kit_picture(kit, kit->store, kit->inbox).count);
	must(results[(refused + 1) % 3][0].new_count == 1 && results[(refused + 2) % 3][0].new_count == 1,
	     "a result is missing");
	kit_again(kit);
	must(kit_picture(kit, kit->store, kit->inbox).count == 2, "reopened: %zu messages",
	     kit_picture(kit, kit->store, kit->inbox).count);
	kit_end(kit);
}

/* A later batch of one commit() sees what an earlier one did. */
static void batches_in_order(struct kit *kit)
{
	struct ps_op ops[3] = {{.kind = PS_OP_CREATE, .name = "A"},
			       {.kind = PS_OP_RENAME, .name = "A", .new_name = "B"},
			       {.kind = PS_OP_DELETE, .name = "B"}};
	struct ps_op_result results[3] = {{0}};
	struct ps_batch batches[3], *list[3];

	kit_begin(kit, 0);
	for (size_t i = 0; i < 3; i++) {
		batches[i] = (struct ps_batch){.ops = &ops[i], .count = 1, .pool = kit->pool, .results = &results[i]};
		list[i] = &batches[i];
	}
	must_ok(kit->ops->commit(kit->store, list, 3));
	for (size_t i = 0; i < 3; i++)
		must(batches[i].err == 0, "batch %zu: %s", i, ps_err_name(batches[i].err));
	must(kit_list(kit, kit->store).count == 1, "%zu mailboxes", kit_list(kit, kit->store).count);
	kit_end(kit);
}

static const struct check checks[] = {
	{"law 3: octets come back as they came", short_text, ROWS(texts)},
	{"law 3: octets come back as they came", long_text, ROWS_NAMED(CONTENTS *SIZES, content_name)},
	{"law 3: octets come back however they came", in_pieces, ROWS_NAMED(CONTENTS *PIECES, piece_name)},
	{"stage: the size hint may be", wrong_hint, ROWS(hints)},
	{"stage_write: empty writes change nothing", empty_writes},
	{"stage: any number of messages at once, their octets apart", side_by_side},
	{"stage: nothing is visible before commit", not_seen_before_commit},
	{"stage_drop: leaves nothing, dropped", dropped, ROWS(drops)},
	{"stage_drop: of nothing does nothing", dropping_nothing},
	{"body: can be read to its end though the message is expunged", a_body_outlives},
	{"body: a message may be open more than once", two_bodies},
	{"body: of an expunged message is gone", no_such_body},
	{"APPEND: internal and save date are kept", dates_are_kept, ROWS(dates)},
	{"APPEND: without a save date it is now", saved_now},
	{"APPEND: an email id that is given is kept", id_is_kept},
	{"APPEND: email ids that are made are unlike each other, and kept", ids_are_made},
	{"commit: a hundred messages of one batch come in their order", many_in_a_batch},
	{"commit: all of a batch or none of it, not its", all_or_none, ROWS(halves)},
	{"commit: a batch that fails does not hinder the others, refused", several_batches, ROWS(refusals)},
	{"commit: batches are applied in order", batches_in_order},
};
GROUP(append, "law 3: a message is its CRLF octets, and they never change; batches", checks);
