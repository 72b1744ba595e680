/* SPDX-License-Identifier: MIT */
/*
 * Two stores over a backend that is linked in, and short words for what is done to them.
 */
#ifndef TESTS_SYNC_H
#define TESTS_SYNC_H

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "postern/plugin.h"
#include "postern/sync.h"
#include "tests/unit.h"

extern const struct ps_plugin postern_plugin;

static char test_dir[256];
static struct ps_pool *pool;
static struct ps_sync_end from, to;
static struct ps_sync_options options;
static struct ps_sync_totals totals;

/* ---- ends ------------------------------------------------------------------------------------ */

static inline struct ps_sync_end open_end(const char *name)
{
	struct ps_sync_end end = {.ops = postern_plugin.ops};
	struct ps_store_args args = {.create = true};

	end.name = args.user = ps_pool_printf(pool, "%s.%ld", name, (long)getpid());
	args.root = ps_pool_printf(pool, "%s/%s", test_dir, end.name);
	ck_assert_ok(ps_sync_end_open(&end, &args));
	return end;
}

static inline void open_ends(void)
{
	pool = ps_pool_create("test");
	from = open_end("from");
	to = open_end("to");
	options = (struct ps_sync_options){.unshared = true};
	options.record_dir = ps_pool_printf(pool, "%s/record.%ld", test_dir, (long)getpid());
}

static inline void close_ends(void)
{
	ps_sync_end_close(&from);
	ps_sync_end_close(&to);
	ps_pool_destroy(pool);
}

static inline int test_main(Suite *suite)
{
	const char *tmp = getenv("TMPDIR");
	int r;

	snprintf(test_dir, sizeof test_dir, "%s/postern-sync.XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(test_dir))
		return EXIT_FAILURE;
	r = unit_main(suite);
	unit_remove(test_dir);
	return r;
}

/* ---- doing something to one ------------------------------------------------------------------ */

static inline void commit(const struct ps_sync_end *end, struct ps_op op, struct ps_op_result *ret_result)
{
	struct ps_op_result result = {0};
	struct ps_batch batch = {.ops = &op, .count = 1, .pool = pool, .results = &result}, *batches = &batch;

	ck_assert_ok(end->ops->commit(end->store, &batches, 1));
	ck_assert_ok(batch.err);
	if (ret_result)
		*ret_result = result;
}

static inline struct ps_mbox *open_box(const struct ps_sync_end *end, const char *name)
{
	struct ps_mbox *mbox;

	ck_assert_ok(end->ops->mailbox_open(end->store, name, &mbox));
	return mbox;
}

static inline uint32_t append(const struct ps_sync_end *end, const char *mailbox, const char *octets, uint32_t flags,
			      const char *keyword)
{
	const char *keywords[] = {keyword, NULL};
	struct ps_op op = {.kind = PS_OP_APPEND, .flags = flags, .keywords = keyword ? keywords : NULL};
	struct ps_op_result result;

	op.internal_date = 1000000000 + (int64_t)strlen(octets);
	op.save_date = 1100000000 + (int64_t)strlen(octets);
	op.mbox = open_box(end, mailbox);
	ck_assert_ok(end->ops->stage(end->store, 0, &op.staged));
	ck_assert_ok(end->ops->stage_write(op.staged, ps_bytes_str(octets)));
	ck_assert_ok(end->ops->stage_finish(op.staged));
	commit(end, op, &result);
	end->ops->mailbox_close(op.mbox);
	return result.new_uids[0].first;
}

static inline void on_uids(const struct ps_sync_end *end, const char *mailbox, struct ps_op op, uint32_t first,
			   uint32_t last)
{
	struct ps_range range = {first, last};

	op.mbox = open_box(end, mailbox);
	op.uids = &range;
	op.uid_count = 1;
	op.unchanged_since = UINT64_MAX;
	commit(end, op, NULL);
	end->ops->mailbox_close(op.mbox);
}

static inline void set_flags(const struct ps_sync_end *end, const char *mailbox, uint32_t uid, uint32_t flags,
			     const char *keyword)
{
	const char *keywords[] = {keyword, NULL};

	on_uids(end, mailbox,
		(struct ps_op){.kind = PS_OP_FLAGS,
			       .flag_mode = PS_FLAGS_SET,
			       .flags = flags,
			       .keywords = keyword ? keywords : NULL},
		uid, uid);
}

static inline void expunge(const struct ps_sync_end *end, const char *mailbox, uint32_t first, uint32_t last)
{
	on_uids(end, mailbox, (struct ps_op){.kind = PS_OP_EXPUNGE}, first, last);
}

static inline void create(const struct ps_sync_end *end, const char *name, uint32_t use)
{
	commit(end, (struct ps_op){.kind = PS_OP_CREATE, .name = name, .attributes = use}, NULL);
}

static inline void rename_box(const struct ps_sync_end *end, const char *name, const char *new_name)
{
	commit(end, (struct ps_op){.kind = PS_OP_RENAME, .name = name, .new_name = new_name}, NULL);
}

static inline void delete_box(const struct ps_sync_end *end, const char *name)
{
	commit(end, (struct ps_op){.kind = PS_OP_DELETE, .name = name}, NULL);
}

static inline void subscribe(const struct ps_sync_end *end, const char *name, bool yes)
{
	commit(end, (struct ps_op){.kind = PS_OP_SUBSCRIBE, .name = name, .subscribed = yes}, NULL);
}

/* ---- syncing and looking --------------------------------------------------------------------- */

static inline int sync_ends(void)
{
	return ps_sync_run(&from, &to, &options, &totals);
}

static inline struct ps_sync_digest digest(const struct ps_sync_end *end)
{
	struct ps_sync_digest d;

	ck_assert_ok(ps_sync_digest(end, NULL, NULL, &d));
	return d;
}

#define ck_assert_same_content()                                                                                       \
	do {                                                                                                           \
		struct ps_sync_digest ck_a = digest(&from), ck_b = digest(&to);                                        \
		ck_assert_uint_eq(ck_a.messages, ck_b.messages);                                                       \
		ck_assert_mem_eq(ck_a.content, ck_b.content, sizeof ck_a.content);                                     \
	} while (0)
#define ck_assert_same_mail()                                                                                          \
	do {                                                                                                           \
		struct ps_sync_digest ck_a = digest(&from), ck_b = digest(&to);                                        \
		ck_assert_uint_eq(ck_a.messages, ck_b.messages);                                                       \
		ck_assert_mem_eq(ck_a.mail, ck_b.mail, sizeof ck_a.mail);                                              \
	} while (0)
#define ck_assert_same_modseqs()                                                                                       \
	do {                                                                                                           \
		struct ps_sync_digest ck_a = digest(&from), ck_b = digest(&to);                                        \
		ck_assert_mem_eq(ck_a.modseqs, ck_b.modseqs, sizeof ck_a.modseqs);                                     \
	} while (0)

static inline int take_info(void *arg, const struct ps_mailbox_info *info)
{
	struct ps_mailbox_info *wanted = arg;

	if (strcmp(info->name, wanted->name) != 0)
		return 0;
	*wanted = *info;
	return 1;
}

/* attributes 0: there is none. */
static inline struct ps_mailbox_info info_of(const struct ps_sync_end *end, const char *name)
{
	struct ps_mailbox_info info = {.name = name};
	struct ps_read *read;

	ck_assert_ok(end->ops->read_begin(end->store, &read));
	end->ops->list(read, take_info, &info);
	end->ops->read_end(read);
	info.name = NULL;
	return info;
}

static inline int take_row(void *arg, const struct ps_row *row)
{
	struct ps_row *wanted = arg;

	if (row->uid < wanted->uid)
		return 0;
	*wanted = *row;
	return 1;
}

/* The first one from `uid` on; its uid is 0 if there is none. */
static inline struct ps_row row_from(const struct ps_sync_end *end, const char *mailbox, uint32_t uid)
{
	struct ps_mbox *mbox = open_box(end, mailbox);
	struct ps_row row = {.uid = uid};
	struct ps_read *read;

	ck_assert_ok(end->ops->read_begin(end->store, &read));
	if (end->ops->scan(read, mbox, (struct ps_range){uid, UINT32_MAX}, 0, take_row, &row) != 1)
		row.uid = 0;
	end->ops->read_end(read);
	end->ops->mailbox_close(mbox);
	return row;
}

/* Who knew the source up to some modseq, and asks the copy what has changed since, hears of everything. */
static inline void ensure_nothing_is_missed(const char *mailbox)
{
	for (struct ps_row row = {0}; (row = row_from(&from, mailbox, row.uid + 1)).uid != 0;) {
		struct ps_row copy = row_from(&to, mailbox, row.uid);

		ck_assert_uint_eq(copy.uid, row.uid);
		ck_assert_uint_ge(copy.modseq, row.modseq);
	}
}

/* A source with a little of everything. */
static inline void fill(const struct ps_sync_end *end)
{
	create(end, "Work", 0);
	create(end, "Work/2026", 0);
	create(end, "Sent", PS_MBOX_SENT);
	create(end, "Empty", 0);
	subscribe(end, "INBOX", true);
	subscribe(end, "Work", true);
	subscribe(end, "No such", true);
	for (int i = 0; i < 12; i++)
		append(end, i % 3 ? "INBOX" : "Work", ps_pool_printf(pool, "Subject: %d\r\n\r\n%*s\r\n", i, i + 1, "x"),
		       i % 2 ? PS_FLAG_SEEN : 0, i % 4 ? NULL : "$Label");
	append(end, "Sent", "", 0, NULL);
	append(end, "Work/2026", "Subject: a\r\n\r\nb\r\n", PS_FLAG_ALL, "other");
	set_flags(end, "INBOX", 3, PS_FLAG_FLAGGED, "urgent");
	set_flags(end, "INBOX", 1, 0, "$label");
	set_flags(end, "Work", 2, PS_FLAG_ANSWERED, NULL);
	expunge(end, "INBOX", 4, 5);
	expunge(end, "Work", 4, 4);
	set_flags(end, "INBOX", 2, PS_FLAG_DRAFT, NULL);
}

#endif
