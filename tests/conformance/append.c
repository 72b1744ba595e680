/* SPDX-License-Identifier: MIT */
#include <unistd.h>
#include "postern/message.h"
#include "tests/conformance/conform.h"

static struct ps_bytes repeated(struct kit *kit, const char *text, size_t len)
{
	char *octets = ps_pool_alloc(kit->pool, len);
	size_t n = strlen(text);

	for (size_t i = 0; i < len; i++)
		octets[i] = text[i % n];
	return ps_bytes(octets, len);
}

/* Every octet there is, but LF only behind CR: what a backend gets is in CRLF form. */
static struct ps_bytes all_octets(struct kit *kit, size_t len)
{
	uint8_t *octets = ps_pool_alloc(kit->pool, len);

	for (size_t i = 0; i < len; i++) {
		octets[i] = (uint8_t)pick(kit, 256);
		if (octets[i] == '\n' && (i == 0 || octets[i - 1] != '\r'))
			octets[i] = 'n';
	}
	return ps_bytes(octets, len);
}

static const struct {
	const char *text;
	size_t len;
} texts[] = {
	{"", 0},
	{"x", 1},
	{"\r", 1},
	{"\r\n", 2},
	{"\r\r\n", 3},
	{"\r\n\r", 3},
	{"a\rb\r\n", 5},
	{"\0", 1},
	{"a\0b\r\n\0", 6},
	{"Subject: x\r\n\r\nno line end", 26},
	{"From x\r\nFrom y\r\n>From z\r\n", 25},
	{".\r\n..\r\n", 7},
	{"\xff\xfe\x80\r\n", 5},
	{"\xef\xbb\xbf\r\n\x1a\r\n", 8},
};

static void keep(struct kit *kit, struct ps_store *store, struct ps_mbox *mbox, struct ps_bytes octets, size_t piece)
{
	struct kit_message message = {.octets = octets, .piece = piece};
	uint32_t uid = kit_append(kit, store, mbox, &message);
	struct picture p;

	kit_body_must_be(kit, mbox, uid, octets);
	p = kit_picture(kit, store, mbox);
	must(p.rows[p.count - 1].size == octets.len, "size %llu of %zu octets",
	     (unsigned long long)p.rows[p.count - 1].size, octets.len);
}

static void contents(struct kit *kit)
{
	static const size_t sizes[] = {1, 511, 512, 4095, 4096, 4097, 65535, 65536, 65537, 300000};
	static const size_t pieces[] = {0, 1, 7, 4096};
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX");

	for (size_t i = 0; i < PS_ARRAY_LEN(texts); i++)
		for (size_t n = 0; n < 3; n++)
			keep(kit, store, inbox, ps_bytes(texts[i].text, texts[i].len), pieces[n]);
	for (size_t i = 0; i < PS_ARRAY_LEN(sizes); i++) {
		keep(kit, store, inbox, all_octets(kit, sizes[i]), pieces[i % 4 == 1 ? 2 : i % 4]);
		keep(kit, store, inbox, repeated(kit, "line\r\n", sizes[i]), 4096);
		keep(kit, store, inbox, repeated(kit, "x", sizes[i]), 0);
	}
	kit_close(kit, store);
}

static void stay_as_they_are(struct kit *kit)
{
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX"), *other;
	struct ps_bytes octets = all_octets(kit, 5000);
	uint32_t uid = kit_append(kit, store, inbox, &(struct kit_message){.octets = octets});
	struct ps_op_result result;

	kit_flags(kit, store, inbox, (struct ps_range){uid, uid}, PS_FLAGS_SET, PS_FLAG_ALL,
		  (const char *const[]){"k", NULL});
	kit_body_must_be(kit, inbox, uid, octets);
	must_ok(kit_create(kit, store, "Other"));
	other = kit_mbox(kit, store, "Other");
	result = kit_copy(kit, store, inbox, (struct ps_range){uid, uid}, other, false);
	kit_body_must_be(kit, other, result.new_uids[0].first, octets);
	result = kit_copy(kit, store, inbox, (struct ps_range){uid, uid}, other, true);
	must_ok(kit_rename(kit, store, "Other", "Third"));
	kit_body_must_be(kit, other, result.new_uids[0].first, octets);
	kit_close(kit, store);
	store = kit_open(kit);
	kit_body_must_be(kit, kit_mbox(kit, store, "Third"), result.new_uids[0].first, octets);
	kit_close(kit, store);
}

static void a_body_outlives(struct kit *kit)
{
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX");
	struct ps_bytes octets;
	struct ps_body body;
	uint8_t space[7];

	kit_append(kit, store, inbox, &(struct kit_message){.octets = ps_bytes_str("0123456")});
	must_ok(kit->ops->body(inbox, 1, &body));
	kit_expunge(kit, store, inbox, (struct ps_range){1, 1});
	must(body.length == 7, "%llu octets", (unsigned long long)body.length);
	must_ok(ps_body_piece(&body, 0, space, sizeof space, &octets));
	must(ps_bytes_eq_str(octets, "0123456"), "the octets are gone or changed while the body is open");
	kit->ops->body_close(&body);
	kit_close(kit, store);
}

static void dropped(struct kit *kit)
{
	struct kit_message message = {.octets = ps_bytes_str("never seen\r\n")};
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX");
	struct ps_op op;

	kit->ops->stage_drop(NULL);
	kit_stage(kit, store, inbox, &message, &op);
	kit->ops->stage_drop(op.staged);
	must_ok(kit->ops->stage(store, 0, &op.staged));
	must_ok(kit->ops->stage_write(op.staged, message.octets));
	must(kit_picture(kit, store, inbox).count == 0, "what is staged can be seen");
	kit->ops->stage_drop(op.staged);
	kit_close(kit, store);
	store = kit_open(kit);
	must(kit_picture(kit, store, kit_mbox(kit, store, "INBOX")).count == 0, "what was dropped is there");
	kit_close(kit, store);
}

static void many_at_once(struct kit *kit)
{
	enum {
		MANY = 100
	};
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX");
	struct ps_op ops[MANY];
	struct ps_op_result results[MANY];

	for (unsigned i = 0; i < MANY; i++)
		kit_stage(kit, store, inbox, &(struct kit_message){.octets = kit_text(kit, "number %u\r\n", i)},
			  &ops[i]);
	must_ok(kit_try_all(kit, store, ops, MANY, results));
	for (unsigned i = 0; i < MANY; i++) {
		must(i == 0 || results[i].new_uids[0].first > results[i - 1].new_uids[0].first, "out of order");
		kit_body_must_be(kit, inbox, results[i].new_uids[0].first, kit_text(kit, "number %u\r\n", i));
	}
	kit_close(kit, store);
}

static void several_batches(struct kit *kit)
{
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX");
	struct ps_op ops[3];
	struct ps_op_result results[3] = {0};
	struct ps_batch batches[3], *list[3];

	for (unsigned i = 0; i < 3; i++) {
		kit_stage(kit, store, inbox, &(struct kit_message){.octets = kit_text(kit, "%u\r\n", i)}, &ops[i]);
		batches[i] = (struct ps_batch){.ops = &ops[i], .count = 1, .pool = kit->pool, .results = &results[i]};
		list[i] = &batches[i];
	}
	kit->ops->stage_drop(ops[1].staged);
	ops[1] = (struct ps_op){.kind = PS_OP_CREATE, .name = "INBOX"};
	must_ok(kit->ops->commit(store, list, 3));
	must(batches[0].err == 0 && batches[1].err == PS_E_EXISTS && batches[2].err == 0,
	     "the middle one should fail, and it alone: %s, %s, %s", ps_err_name(batches[0].err),
	     ps_err_name(batches[1].err), ps_err_name(batches[2].err));
	must(kit_picture(kit, store, inbox).count == 2, "%zu messages", kit_picture(kit, store, inbox).count);
	must(results[2].new_uids[0].first > results[0].new_uids[0].first, "out of order");
	kit_close(kit, store);
}

static void dates_and_ids(struct kit *kit)
{
	static const int64_t dates[] = {0, 1, 1000000000, 2147483647, 2147483648, 4102444800, -86400};
	struct ps_id id = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}}, zero = {{0}};
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX");
	struct ps_op op;
	struct picture p;

	for (size_t i = 0; i < PS_ARRAY_LEN(dates); i++) {
		kit_stage(kit, store, inbox, &(struct kit_message){.octets = kit_text(kit, "x%zu\r\n", i)}, &op);
		op.internal_date = dates[i];
		op.save_date = 1234567890 + (int64_t)i;
		if (i == 0)
			op.email_id = id;
		must_ok(kit_try(kit, store, &op, NULL));
	}
	kit_close(kit, store);
	store = kit_open(kit);
	p = kit_picture(kit, store, kit_mbox(kit, store, "INBOX"));
	for (size_t i = 0; i < PS_ARRAY_LEN(dates); i++) {
		must(p.rows[i].internal_date == dates[i], "internal date %lld, given %lld",
		     (long long)p.rows[i].internal_date, (long long)dates[i]);
		must(p.rows[i].save_date == 1234567890 + (int64_t)i, "save date %lld", (long long)p.rows[i].save_date);
		must(memcmp(&p.rows[i].email_id, i == 0 ? &id : &p.rows[i].email_id, sizeof id) == 0,
		     "another email id");
		must(memcmp(&p.rows[i].email_id, &zero, sizeof zero) != 0, "no email id");
		must(i == 0 || memcmp(&p.rows[i].email_id, &p.rows[i - 1].email_id, sizeof id) != 0,
		     "one email id twice");
	}
	kit_close(kit, store);
}

static void cache_must_be(struct kit *kit, struct ps_store *store, struct ps_mbox *mbox, uint32_t uid,
			  struct ps_bytes cache)
{
	struct ps_bytes got;
	struct ps_read *read;

	must_ok(kit->ops->read_begin(store, &read));
	must_ok(kit->ops->cache(read, mbox, uid, &got));
	must(ps_bytes_eq(got, cache), "the cache of UID %u is not what was given", uid);
	kit->ops->read_end(read);
}

static void caches(struct kit *kit)
{
	struct ps_store *store = kit_open(kit);
	struct ps_mbox *inbox = kit_mbox(kit, store, "INBOX");
	struct ps_bytes cache = repeated(kit, "opaque\0", 20000), got;
	struct ps_read *read;
	struct ps_op op;
	int r;

	kit_stage(kit, store, inbox, &(struct kit_message){.octets = ps_bytes_str("x\r\n")}, &op);
	op.cache = cache;
	must_ok(kit_try(kit, store, &op, NULL));
	cache_must_be(kit, store, inbox, 1, cache);
	kit_flags(kit, store, inbox, (struct ps_range){1, 1}, PS_FLAGS_ADD, PS_FLAG_SEEN, NULL);
	cache_must_be(kit, store, inbox, 1, cache);
	kit_copy(kit, store, inbox, (struct ps_range){1, 1}, inbox, false);
	cache_must_be(kit, store, inbox, 2, cache);
	kit_stage(kit, store, inbox, &(struct kit_message){.octets = ps_bytes_str("y\r\n")}, &op);
	op.cache = (struct ps_bytes){0};
	must_ok(kit_try(kit, store, &op, NULL));
	must_ok(kit->ops->read_begin(store, &read));
	r = kit->ops->cache(read, inbox, 3, &got);
	kit->ops->read_end(read);
	must(r == PS_E_NOTFOUND || r == 0, "a missing cache: %s", ps_err_name(r));
	if (r == PS_E_NOTFOUND) {
		must_ok(kit->ops->cache_put(inbox, 3, cache));
		cache_must_be(kit, store, inbox, 3, cache);
	}
	kit_close(kit, store);
}

static const struct check checks[] = {
	{"a message is its octets, whatever they are and however they came", contents},
	{"the octets do not change with flags, copies, moves, renames", stay_as_they_are},
	{"an open body can be read to its end though the message is expunged", a_body_outlives},
	{"what was staged and dropped leaves nothing", dropped},
	{"a hundred messages of one batch come in their order", many_at_once},
	{"of several batches, one that fails does not hinder the others", several_batches},
	{"dates and email ids are kept", dates_and_ids},
	{"caches are given back as they were given", caches},
};
GROUP(append, "law 3: a message is its CRLF octets, and they never change", checks);
