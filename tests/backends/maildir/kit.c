/* SPDX-License-Identifier: MIT */
#include "tests/backends/maildir/kit.h"

#include <fcntl.h>
#include <stdarg.h>
#include <sys/stat.h>

static char *text_buffer(void)
{
	static char buffers[8][65536];
	static unsigned next;
	char *text = buffers[next++ % 8];

	text[0] = '\0';
	return text;
}

static void put(char *text, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void put(char *text, const char *fmt, ...)
{
	size_t len = strlen(text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text + len, 65536 - len, fmt, ap);
	va_end(ap);
}

void kit_again(struct kit *kit)
{
	struct ps_store_args args = {.user = "alice", .root = kit->root, .create = true};

	kit->pool = ps_pool_create("test");
	ck_assert_ok(be->open(&args, &kit->store));
	ck_assert_ok(be->mailbox_open(kit->store, "INBOX", &kit->inbox));
}

void kit_open(struct kit *kit)
{
	const char *tmp = getenv("TMPDIR");

	*kit = (struct kit){0};
	snprintf(kit->root, sizeof kit->root, "%s/postern-maildir-XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(kit->root));
	kit_again(kit);
}

void kit_close(struct kit *kit)
{
	if (!kit->store)
		return;
	be->mailbox_close(kit->inbox);
	be->close(kit->store);
	ps_pool_destroy(kit->pool);
	kit->store = NULL;
}

void kit_shell(const struct kit *kit, const char *fmt, ...)
{
	char command[4096], whole[4400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(command, sizeof command, fmt, ap);
	va_end(ap);
	snprintf(whole, sizeof whole, "cd %s && %s", kit->root, command);
	ck_assert_msg(system(whole) == 0, "%s", command);
}

void kit_drop_index(struct kit *kit)
{
	char index[300];

	snprintf(index, sizeof index, "%s/postern-index", kit->root);
	unit_remove(index);
}

void kit_remove(struct kit *kit)
{
	kit_close(kit);
	unit_remove(kit->root);
}

void kit_deliver(const struct kit *kit, const char *dir, const char *name, const char *text)
{
	char tmp[1024], new[1024];
	int fd;

	snprintf(tmp, sizeof tmp, "%s/%s/tmp/%s", kit->root, dir, name);
	snprintf(new, sizeof new, "%s/%s/new/%s", kit->root, dir, name);
	fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL, 0600);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
	ck_assert_int_eq(rename(tmp, new), 0);
}

int kit_stage(struct kit *kit, const char *text, struct ps_staged **ret_staged)
{
	struct ps_staged *staged;
	int r = be->stage(kit->store, 0, &staged);

	if (r < 0)
		return r;
	if ((r = be->stage_write(staged, ps_bytes_str(text))) < 0 || (r = be->stage_finish(staged)) < 0) {
		be->stage_drop(staged);
		return r;
	}
	*ret_staged = staged;
	return 0;
}

int kit_do(struct kit *kit, const struct ps_op *op, struct ps_op_result *ret_result)
{
	struct ps_op_result result = {0};
	struct ps_batch batch = {.ops = op, .count = 1, .pool = kit->pool, .results = &result};
	struct ps_batch *batches[] = {&batch};
	int r = be->commit(kit->store, batches, 1);

	ck_assert_int_eq(r, batch.err);
	if (ret_result)
		*ret_result = result;
	return r;
}

int kit_append(struct kit *kit, struct ps_mbox *mbox, const char *text, uint32_t flags, uint32_t *ret_uid)
{
	struct ps_op op = {.kind = PS_OP_APPEND, .mbox = mbox, .flags = flags, .internal_date = 1234567890};
	struct ps_op_result result;
	int r = kit_stage(kit, text, &op.staged);

	if (r < 0 || (r = kit_do(kit, &op, &result)) < 0)
		return r;
	ck_assert_uint_eq(result.new_count, 1);
	if (ret_uid)
		*ret_uid = result.new_uids[0].first;
	return 0;
}

int kit_flags(struct kit *kit, struct ps_mbox *mbox, uint32_t uid, enum ps_flag_mode mode, uint32_t flags,
	      const char *keyword)
{
	const char *keywords[] = {keyword, NULL};
	struct ps_range range = {uid, uid};
	struct ps_op op = {.kind = PS_OP_FLAGS,
			   .mbox = mbox,
			   .uids = &range,
			   .uid_count = 1,
			   .flag_mode = mode,
			   .flags = flags,
			   .keywords = keywords,
			   .unchanged_since = UINT64_MAX};

	return kit_do(kit, &op, NULL);
}

int kit_expunge(struct kit *kit, struct ps_mbox *mbox, uint32_t uid)
{
	struct ps_range range = {uid, uid};
	struct ps_op op = {.kind = PS_OP_EXPUNGE, .mbox = mbox, .uids = &range, .uid_count = 1};

	return kit_do(kit, &op, NULL);
}

int kit_create(struct kit *kit, const char *name, uint32_t uses)
{
	struct ps_op op = {.kind = PS_OP_CREATE, .name = name, .attributes = uses};

	return kit_do(kit, &op, NULL);
}

struct ps_mbox *kit_mailbox(struct kit *kit, const char *name)
{
	struct ps_mbox *mbox;

	ck_assert_ok(be->mailbox_open(kit->store, name, &mbox));
	return mbox;
}

void kit_sync(struct kit *kit, struct ps_mbox *mbox)
{
	if (be->stale(kit->store, mbox))
		ck_assert_ok(be->sync(kit->store, mbox));
}

struct ps_mailbox_info kit_info(struct kit *kit, struct ps_mbox *mbox)
{
	struct ps_mailbox_info info;
	struct ps_read *read;

	ck_assert_ok(be->read_begin(kit->store, &read));
	ck_assert_ok(be->info(read, mbox, &info));
	be->read_end(read);
	info.name = NULL;
	return info;
}

struct rows {
	char *text;
	const char *const *keywords;
	size_t keyword_count;
	struct ps_row found;
	uint32_t last;
};

static int print_row(void *arg, const struct ps_row *row)
{
	static const char letters[] = "SRFTD";
	struct rows *rows = arg;

	ck_assert_uint_gt(row->uid, rows->last);
	rows->last = row->uid;
	put(rows->text, "%s%u:", rows->text[0] ? " " : "", row->uid);
	for (int i = 0; i < 5; i++)
		if (row->flags & 1u << i)
			put(rows->text, "%c", letters[i]);
	for (size_t i = 0; i < rows->keyword_count; i++)
		if (row->keywords & UINT64_C(1) << i)
			put(rows->text, " %s", rows->keywords[i]);
	return 0;
}

const char *kit_rows(struct kit *kit, struct ps_mbox *mbox)
{
	struct rows rows = {.text = text_buffer()};
	struct ps_read *read;

	ck_assert_ok(be->read_begin(kit->store, &read));
	ck_assert_ok(be->keywords(read, mbox, &rows.keywords, &rows.keyword_count));
	ck_assert_ok(be->scan(read, mbox, (struct ps_range){1, UINT32_MAX}, 0, print_row, &rows));
	be->read_end(read);
	return rows.text;
}

static int keep_row(void *arg, const struct ps_row *row)
{
	*(struct ps_row *)arg = *row;
	return 0;
}

struct ps_row kit_row(struct kit *kit, struct ps_mbox *mbox, uint32_t uid)
{
	struct ps_row row = {0};
	struct ps_read *read;

	ck_assert_ok(be->read_begin(kit->store, &read));
	ck_assert_ok(be->scan(read, mbox, (struct ps_range){uid, uid}, 0, keep_row, &row));
	be->read_end(read);
	return row;
}

const char *kit_body(struct kit *kit, struct ps_mbox *mbox, uint32_t uid)
{
	char *text = text_buffer(), octet;
	struct ps_body body;
	uint64_t at = 0;
	int r = be->body(mbox, uid, &body);

	(void)kit;
	if (r == PS_E_GONE)
		return NULL;
	ck_assert_ok(r);
	while (at < body.length && pread(body.fd, &octet, 1, (off_t)at++) == 1)
		put(text, octet == '\n' && !body.wire_form ? "\r%c" : "%c", octet);
	be->body_close(&body);
	return text;
}

static int print_range(void *arg, struct ps_range range)
{
	put(arg, "%s%u", ((char *)arg)[0] ? " " : "", range.first);
	if (range.last != range.first)
		put(arg, ":%u", range.last);
	return 0;
}

const char *kit_vanished(struct kit *kit, struct ps_mbox *mbox, uint64_t since)
{
	char *text = text_buffer();
	struct ps_read *read;

	ck_assert_ok(be->read_begin(kit->store, &read));
	ck_assert_ok(be->vanished(read, mbox, since, print_range, text));
	be->read_end(read);
	return text;
}

struct names {
	char names[64][1100];
	size_t count;
};

static int keep_name(void *arg, const struct ps_mailbox_info *info)
{
	struct names *names = arg;

	snprintf(names->names[names->count++], sizeof names->names[0], "%s%s", info->name,
		 !(info->attributes & PS_MBOX_EXISTS)    ? "(n)"
		 : info->attributes & PS_MBOX_SUBSCRIBED ? "(s)"
							 : "");
	return 0;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(a, b);
}

const char *kit_list(struct kit *kit)
{
	struct names *names = ps_zalloc(sizeof *names);
	char *text = text_buffer();
	struct ps_read *read;

	ck_assert_ok(be->read_begin(kit->store, &read));
	ck_assert_ok(be->list(read, keep_name, names));
	be->read_end(read);
	qsort(names->names, names->count, sizeof names->names[0], by_text);
	for (size_t i = 0; i < names->count; i++)
		put(text, "%s%s", i ? " " : "", names->names[i]);
	free(names);
	return text;
}
