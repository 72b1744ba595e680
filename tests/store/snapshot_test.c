/* SPDX-License-Identifier: MIT */
#include "core/store/set.h"
#include "core/store/snapshot.h"
#include "tests/unit.h"

/* The same as a plain array. */
enum {
	MODEL_MAX = 6000
};

struct model {
	struct ps_row rows[MODEL_MAX];
	uint32_t count;
	uint32_t uid_next;
	uint64_t modseq;
};

static uint32_t seed;

static uint32_t pick(uint32_t below)
{
	seed = seed * 1664525u + 1013904223u;
	return (uint32_t)(((uint64_t)seed * below) >> 32);
}

static struct ps_row new_row(struct model *model)
{
	/* Few are marked, so that there are chunks without any. */
	uint32_t deleted = pick(400) == 0 ? PS_FLAG_DELETED : 0;

	return (struct ps_row){.uid = model->uid_next += 1 + pick(3),
			       .flags = (pick(32) & ~(uint32_t)PS_FLAG_DELETED) | deleted,
			       .modseq = ++model->modseq};
}

/* What changed after a random moment is found, number by number. */
static void check_changed(const struct ps_snapshot *snapshot, const struct model *model)
{
	uint64_t since = pick((uint32_t)model->modseq + 2);
	uint32_t seq = 0;

	for (uint32_t i = 0; i < model->count; i++) {
		if (model->rows[i].modseq <= since)
			continue;
		seq = ps_snapshot_seq_changed(snapshot, seq + 1, since);
		ck_assert_uint_eq(seq, i + 1);
	}
	ck_assert_uint_eq(ps_snapshot_seq_changed(snapshot, seq + 1, since), model->count + 1);
}

/* Runs go on where the one before ended, and flags are those of the rows. */
static void check_runs(const struct ps_snapshot *snapshot)
{
	uint32_t count = ps_snapshot_count(snapshot), wrong = 0;
	struct ps_snapshot_run run;

	ck_assert(!ps_snapshot_run(snapshot, 0, &run));
	ck_assert(!ps_snapshot_run(snapshot, count + 1, &run));
	for (uint32_t seq = 1; seq <= count; seq += run.count > 1 ? run.count - 1 : 1) {
		ck_assert(ps_snapshot_run(snapshot, seq, &run));
		ck_assert_uint_ge(run.count, 1);
		ck_assert_uint_le(run.count, count + 1 - seq);
		ck_assert_ptr_eq(run.rows, ps_snapshot_row(snapshot, seq));
		ck_assert_ptr_eq(run.rows + run.count - 1, ps_snapshot_row(snapshot, seq + run.count - 1));
		for (uint32_t i = 0; i < run.count; i++)
			wrong += run.flags[i] != run.rows[i].flags;
	}
	ck_assert_uint_eq(wrong, 0);
}

static void check_deleted(const struct ps_snapshot *snapshot, const struct model *model)
{
	uint32_t seq = 0;

	for (uint32_t i = 0; i < model->count; i++) {
		if (!(model->rows[i].flags & PS_FLAG_DELETED))
			continue;
		seq = ps_snapshot_seq_deleted(snapshot, seq + 1);
		ck_assert_uint_eq(seq, i + 1);
	}
	ck_assert_uint_eq(ps_snapshot_seq_deleted(snapshot, seq + 1), model->count + 1);
}

static void check_same(const struct ps_snapshot *snapshot, const struct model *model)
{
	uint32_t unseen = 0;

	ck_assert_uint_eq(ps_snapshot_count(snapshot), model->count);
	for (uint32_t i = 0; i < model->count; i++) {
		const struct ps_row *row = ps_snapshot_row(snapshot, i + 1);
		uint32_t before = i ? model->rows[i - 1].uid : 0;

		ck_assert_mem_eq(row, &model->rows[i], sizeof *row);
		ck_assert_uint_eq(ps_snapshot_seq(snapshot, row->uid), i + 1);
		ck_assert_uint_eq(ps_snapshot_seq_from(snapshot, before + 1), i + 1);
		if (row->uid > before + 1)
			ck_assert_uint_eq(ps_snapshot_seq(snapshot, before + 1), 0);
		if (!unseen && !(row->flags & PS_FLAG_SEEN))
			unseen = i + 1;
	}
	ck_assert_uint_eq(ps_snapshot_first_unseen(snapshot), unseen);
	check_runs(snapshot);
	ck_assert_ptr_null(ps_snapshot_row(snapshot, 0));
	ck_assert_ptr_null(ps_snapshot_row(snapshot, model->count + 1));
	ck_assert_uint_eq(ps_snapshot_seq_from(snapshot, UINT32_MAX), model->count + 1);
	check_changed(snapshot, model);
	check_deleted(snapshot, model);
	ck_assert_uint_eq(ps_snapshot_last_uid(snapshot), model->count ? model->rows[model->count - 1].uid : 0);
}

/* A step: some rows change, some go, some come. */
static struct ps_snapshot *step(struct ps_snapshot *snapshot, struct model *model)
{
	static struct ps_row changed[MODEL_MAX];
	struct ps_ranges gone = {0};
	struct ps_snapshot *next;
	size_t n = 0;
	uint32_t kept = 0, one_in = 1u << pick(11), come = pick(4) ? pick(4) : pick(700);

	for (uint32_t i = 0; i < model->count; i++) {
		struct ps_row row = model->rows[i];
		bool hit = pick(one_in) == 0;

		if (hit && pick(2)) {
			ps_ranges_add(&gone, (struct ps_range){row.uid, row.uid + pick(2)});
			if (gone.ptr[gone.count - 1].last >=
			    (i + 1 < model->count ? model->rows[i + 1].uid : UINT32_MAX))
				gone.ptr[gone.count - 1].last = row.uid;
			continue;
		}
		if (hit) {
			row.flags ^= PS_FLAG_SEEN;
			row.modseq = ++model->modseq;
			changed[n++] = row;
		}
		model->rows[kept++] = row;
	}
	model->count = kept;
	for (; come > 0 && model->count < MODEL_MAX; come--)
		changed[n++] = model->rows[model->count++] = new_row(model);
	next = ps_snapshot_apply(snapshot, changed, n, gone.ptr, gone.count);
	ps_ranges_finish(&gone);
	return next;
}

/* Follows a diff in a copy of the old rows. */
struct follower {
	struct model *model;
	const struct model *old;
	uint32_t at, gone;
};

static void follow(void *arg, const struct ps_row *before, uint32_t seq_before, const struct ps_row *after,
		   uint32_t seq_after)
{
	struct follower *f = arg;
	uint32_t until = before ? seq_before - 1 : f->old->count;

	/* What lies between two differences is as it was. */
	while (f->at < until && (before || f->old->rows[f->at].uid < after->uid))
		f->model->rows[f->model->count++] = f->old->rows[f->at++];
	if (before)
		ck_assert_mem_eq(before, &f->old->rows[f->at++], sizeof *before);
	if (after) {
		f->model->rows[f->model->count++] = *after;
		ck_assert_uint_eq(seq_after, f->model->count);
	}
}

static void check_diff(const struct ps_snapshot *before, const struct ps_snapshot *after, const struct model *old,
		       const struct model *new)
{
	static struct model followed;
	struct follower f = {.model = &followed, .old = old};

	followed.count = 0;
	ps_snapshot_diff(before, after, follow, &f);
	while (f.at < old->count)
		followed.rows[followed.count++] = old->rows[f.at++];
	ck_assert_uint_eq(followed.count, new->count);
	ck_assert_mem_eq(followed.rows, new->rows, new->count * sizeof *new->rows);
}

START_TEST(a_history_of_changes_gives_what_a_plain_array_has)
{
	static struct model model, old;
	struct ps_snapshot *snapshot = ps_snapshot_empty();

	seed = (uint32_t)_i + 1;
	check_same(snapshot, &model);
	for (int i = 0; i < 60; i++) {
		struct ps_snapshot *next;

		old = model;
		next = step(snapshot, &model);
		check_same(snapshot, &old); /* it never changes */
		check_same(next, &model);
		check_diff(snapshot, next, &old, &model);
		ps_snapshot_unref(snapshot);
		snapshot = next;
	}
	ps_snapshot_unref(snapshot);
}
END_TEST

static struct ps_snapshot *filled(uint32_t count)
{
	struct ps_row *rows = ps_zalloc(count * sizeof *rows);
	struct ps_snapshot *empty = ps_snapshot_empty(), *snapshot;

	for (uint32_t i = 0; i < count; i++)
		rows[i] = (struct ps_row){.uid = i + 1, .modseq = 1};
	snapshot = ps_snapshot_apply(empty, rows, count, NULL, 0);
	ps_snapshot_unref(empty);
	free(rows);
	return snapshot;
}

static const struct {
	uint32_t uid; /* of the row that changes or goes */
	bool goes;
} single[] = {{1, false}, {1, true}, {5000, false}, {5000, true}, {10000, true}, {10001, false}};

START_TEST(a_single_change_copies_one_chunk)
{
	struct ps_snapshot *before = filled(10000), *after;
	struct ps_row row = {.uid = single[_i].uid, .modseq = 2};
	struct ps_range gone = {single[_i].uid, single[_i].uid};
	size_t chunks;

	after = ps_snapshot_apply(before, &row, !single[_i].goes, &gone, single[_i].goes);
	ck_assert_uint_ge(ps_snapshot_shared(after, before, &chunks), chunks - 1);
	ck_assert_uint_le(chunks, 41);
	ps_snapshot_unref(before);
	ck_assert_uint_eq(ps_snapshot_count(after), single[_i].uid > 10000 ? 10001 : single[_i].goes ? 9999 : 10000);
	ps_snapshot_unref(after);
}
END_TEST

START_TEST(messages_that_come_one_by_one_fill_chunks)
{
	struct ps_snapshot *snapshot = ps_snapshot_empty();
	size_t chunks;

	for (uint32_t uid = 1; uid <= 5000; uid++) {
		struct ps_row row = {.uid = uid};
		struct ps_snapshot *next = ps_snapshot_apply(snapshot, &row, 1, NULL, 0);

		ps_snapshot_unref(snapshot);
		snapshot = next;
	}
	ps_snapshot_shared(snapshot, snapshot, &chunks);
	ck_assert_uint_le(chunks, 20);
	ps_snapshot_unref(snapshot);
}
END_TEST

START_TEST(many_expunges_leave_no_crumbs)
{
	struct ps_snapshot *snapshot = filled(20000);
	size_t chunks;

	for (uint32_t uid = 1; uid <= 20000; uid++) {
		struct ps_range gone = {uid, uid};
		struct ps_snapshot *next;

		if (uid % 100 == 0)
			continue;
		next = ps_snapshot_apply(snapshot, NULL, 0, &gone, 1);
		ps_snapshot_unref(snapshot);
		snapshot = next;
	}
	ck_assert_uint_eq(ps_snapshot_count(snapshot), 200);
	ps_snapshot_shared(snapshot, snapshot, &chunks);
	ck_assert_uint_le(chunks, 10);
	ps_snapshot_unref(snapshot);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("snapshot");
	TCase *tc = tcase_create("snapshot");

	tcase_add_loop_test(tc, a_history_of_changes_gives_what_a_plain_array_has, 0, 8);
	tcase_add_loop_test(tc, a_single_change_copies_one_chunk, 0, PS_ARRAY_LEN(single));
	tcase_add_test(tc, messages_that_come_one_by_one_fill_chunks);
	tcase_add_test(tc, many_expunges_leave_no_crumbs);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
