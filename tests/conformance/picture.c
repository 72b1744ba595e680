/* SPDX-License-Identifier: MIT */
#include <ctype.h>
#include "tests/conformance/conform.h"

struct gathering {
	struct kit *kit;
	struct ps_row *rows;
	size_t count, cap;
};

static int take_row(void *arg, const struct ps_row *row)
{
	struct gathering *g = arg;

	g->rows = ps_pool_grow(g->kit->pool, g->rows, g->count, &g->cap, sizeof *g->rows);
	g->rows[g->count++] = *row;
	return 0;
}

static void copy_keywords(struct kit *kit, struct ps_read *read, struct ps_mbox *mbox, struct picture *picture)
{
	const char *const *names;

	must_ok(kit->ops->keywords(read, mbox, &names, &picture->keyword_count));
	must(picture->keyword_count <= PS_KEYWORDS_MAX, "%zu keywords", picture->keyword_count);
	picture->keywords = PS_NEWV(kit->pool, const char *, picture->keyword_count + 1);
	for (size_t i = 0; i < picture->keyword_count; i++)
		picture->keywords[i] = ps_pool_strdup(kit->pool, names[i]);
}

struct picture kit_picture(struct kit *kit, struct ps_store *store, struct ps_mbox *mbox)
{
	struct gathering g = {.kit = kit};
	struct picture picture;
	struct ps_read *read;

	must_ok(kit->ops->read_begin(store, &read));
	must_ok(kit->ops->info(read, mbox, &picture.info));
	picture.info.name = ps_pool_strdup(kit->pool, picture.info.name);
	copy_keywords(kit, read, mbox, &picture);
	must_ok(kit->ops->scan(read, mbox, (struct ps_range){1, UINT32_MAX}, 0, take_row, &g));
	kit->ops->read_end(read);
	picture.rows = g.rows;
	picture.count = g.count;
	picture_check(&picture);
	return picture;
}

static void check_row(const struct picture *p, const struct ps_row *row)
{
	uint64_t known = p->keyword_count == 64 ? UINT64_MAX : (UINT64_C(1) << p->keyword_count) - 1;

	must(row->uid >= 1 && row->uid < p->info.uid_next, "UID %u where %u is the next", row->uid, p->info.uid_next);
	must(row->modseq >= 1 && row->modseq <= p->info.highest_modseq, "UID %u: modseq %llu above the highest, %llu",
	     row->uid, (unsigned long long)row->modseq, (unsigned long long)p->info.highest_modseq);
	must((row->keywords & ~known) == 0, "UID %u has keywords that have no name", row->uid);
	must((row->flags & ~(uint32_t)PS_FLAG_ALL) == 0, "UID %u has flags 0x%x", row->uid, row->flags);
	for (size_t i = 0; i < p->keyword_count; i++)
		must(!(row->keywords >> i & 1) || *p->keywords[i], "UID %u has keyword %zu, which is free", row->uid,
		     i);
}

void picture_check(const struct picture *p)
{
	uint32_t unseen = 0, deleted = 0;
	uint64_t size = 0;

	must(p->info.uid_validity >= 1, "UIDVALIDITY is 0");
	must(p->info.highest_modseq >= 1, "HIGHESTMODSEQ is 0");
	must(p->info.attributes & PS_MBOX_EXISTS, "a mailbox that is open does not exist");
	for (size_t i = 0; i < p->count; i++) {
		must(i == 0 || p->rows[i - 1].uid < p->rows[i].uid, "UID %u does not come after %u", p->rows[i].uid,
		     i ? p->rows[i - 1].uid : 0);
		check_row(p, &p->rows[i]);
		unseen += !(p->rows[i].flags & PS_FLAG_SEEN);
		deleted += (p->rows[i].flags & PS_FLAG_DELETED) != 0;
		size += p->rows[i].size;
	}
	must(p->info.messages == p->count, "info says %u messages, there are %zu", p->info.messages, p->count);
	must(p->info.unseen == unseen, "info says %u unseen, there are %u", p->info.unseen, unseen);
	must(p->info.deleted == deleted, "info says %u deleted, there are %u", p->info.deleted, deleted);
	must(p->info.size == size, "info says %llu octets, there are %llu", (unsigned long long)p->info.size,
	     (unsigned long long)size);
}

const struct ps_row *picture_row(const struct picture *picture, uint32_t uid)
{
	for (size_t i = 0; i < picture->count; i++)
		if (picture->rows[i].uid == uid)
			return &picture->rows[i];
	return NULL;
}

const struct ps_row *kit_first(struct kit *kit)
{
	struct picture p = kit_picture(kit, kit->store, kit->inbox);

	must(p.count > 0, "INBOX is empty");
	return &p.rows[0];
}

uint64_t kit_highest(struct kit *kit, struct ps_store *store, struct ps_mbox *mbox)
{
	return kit_picture(kit, store, mbox).info.highest_modseq;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static const char *lower(struct kit *kit, const char *text)
{
	char *copy = ps_pool_strdup(kit->pool, text);

	for (char *c = copy; *c; c++)
		*c = (char)ps_tolower(*c);
	return copy;
}

const char *picture_keywords(struct kit *kit, const struct picture *picture, const struct ps_row *row)
{
	const char *names[PS_KEYWORDS_MAX], *text = "";
	size_t n = 0;

	for (size_t i = 0; i < picture->keyword_count; i++)
		if (row->keywords >> i & 1)
			names[n++] = lower(kit, picture->keywords[i]);
	if (n > 1)
		qsort(names, n, sizeof *names, by_text);
	for (size_t i = 0; i < n; i++)
		text = ps_pool_printf(kit->pool, "%s%s%s", text, i ? " " : "", names[i]);
	return text;
}

static void rows_must_agree(struct kit *kit, const struct picture *a, const struct ps_row *left,
			    const struct picture *b, const struct ps_row *right)
{
	must(left->uid == right->uid, "UID %u where there was %u", right->uid, left->uid);
	must(left->flags == right->flags, "UID %u: flags 0x%x, were 0x%x", left->uid, right->flags, left->flags);
	must(strcmp(picture_keywords(kit, a, left), picture_keywords(kit, b, right)) == 0,
	     "UID %u: keywords \"%s\", were \"%s\"", left->uid, picture_keywords(kit, b, right),
	     picture_keywords(kit, a, left));
	must(left->size == right->size, "UID %u: size %llu, was %llu", left->uid, (unsigned long long)right->size,
	     (unsigned long long)left->size);
	must(left->internal_date == right->internal_date, "UID %u: internal date %lld, was %lld", left->uid,
	     (long long)right->internal_date, (long long)left->internal_date);
	must(left->save_date == right->save_date, "UID %u: save date %lld, was %lld", left->uid,
	     (long long)right->save_date, (long long)left->save_date);
	must(memcmp(&left->email_id, &right->email_id, sizeof left->email_id) == 0, "UID %u: another email id",
	     left->uid);
}

void pictures_must_agree(struct kit *kit, const struct picture *a, const struct picture *b, bool modseq)
{
	must(a->info.uid_validity == b->info.uid_validity, "UIDVALIDITY %u, was %u", b->info.uid_validity,
	     a->info.uid_validity);
	must(a->info.uid_next <= b->info.uid_next, "UIDNEXT %u, was %u", b->info.uid_next, a->info.uid_next);
	must(a->info.highest_modseq <= b->info.highest_modseq, "HIGHESTMODSEQ %llu, was %llu",
	     (unsigned long long)b->info.highest_modseq, (unsigned long long)a->info.highest_modseq);
	must(a->count == b->count, "%zu messages, were %zu", b->count, a->count);
	for (size_t i = 0; i < a->count; i++) {
		rows_must_agree(kit, a, &a->rows[i], b, &b->rows[i]);
		must(!modseq || a->rows[i].modseq == b->rows[i].modseq, "UID %u: modseq %llu, was %llu", a->rows[i].uid,
		     (unsigned long long)b->rows[i].modseq, (unsigned long long)a->rows[i].modseq);
	}
}

/* ---- catching up --------------------------------------------------------------------------- */

struct vanishing {
	struct picture *p;
	const struct picture *now;
};

static int take_vanished(void *arg, struct ps_range uids)
{
	struct vanishing *v = arg;
	size_t n = 0;

	must(uids.first <= uids.last, "vanished %u:%u", uids.first, uids.last);
	for (size_t i = 0; i < v->now->count; i++)
		must(v->now->rows[i].uid < uids.first || v->now->rows[i].uid > uids.last,
		     "UID %u vanished and is there", v->now->rows[i].uid);
	for (size_t i = 0; i < v->p->count; i++)
		if (v->p->rows[i].uid < uids.first || v->p->rows[i].uid > uids.last)
			v->p->rows[n++] = v->p->rows[i];
	v->p->count = n;
	return 0;
}

static void put_row(struct kit *kit, struct picture *p, const struct ps_row *row)
{
	size_t at = 0;
	struct ps_row *rows;

	while (at < p->count && p->rows[at].uid < row->uid)
		at++;
	if (at < p->count && p->rows[at].uid == row->uid) {
		p->rows[at] = *row;
		return;
	}
	rows = PS_NEWV(kit->pool, struct ps_row, p->count + 1);
	for (size_t i = 0; i < at; i++)
		rows[i] = p->rows[i];
	rows[at] = *row;
	for (size_t i = at; i < p->count; i++)
		rows[i + 1] = p->rows[i];
	p->rows = rows;
	p->count++;
}

static void must_all_be_above(const struct gathering *g, uint64_t since)
{
	for (size_t i = 0; i < g->count; i++)
		must(g->rows[i].modseq > since, "UID %u has not changed since", g->rows[i].uid);
}

void kit_catch_up(struct kit *kit, struct ps_store *store, struct ps_mbox *mbox, const struct picture *before)
{
	struct picture now = kit_picture(kit, store, mbox), p = *before;
	struct vanishing v = {.p = &p, .now = &now};
	struct gathering g = {.kit = kit};
	uint64_t since = before->info.highest_modseq;
	struct ps_read *read;

	if (since < now.info.vanished_since)
		return; /* nothing is promised */
	p.rows = before->count ? ps_pool_memdup(kit->pool, before->rows, before->count * sizeof *p.rows) : NULL;
	must_ok(kit->ops->read_begin(store, &read));
	must_ok(kit->ops->scan(read, mbox, (struct ps_range){1, UINT32_MAX}, since, take_row, &g));
	must_all_be_above(&g, since);
	/* What came may have an older modseq: that of the store it was copied from. */
	must_ok(kit->ops->scan(read, mbox, (struct ps_range){before->info.uid_next, UINT32_MAX}, 0, take_row, &g));
	must_ok(kit->ops->vanished(read, mbox, since, take_vanished, &v));
	kit->ops->read_end(read);
	for (size_t i = 0; i < g.count; i++)
		put_row(kit, &p, &g.rows[i]);
	p.keywords = now.keywords;
	p.keyword_count = now.keyword_count;
	p.info.highest_modseq = now.info.highest_modseq;
	p.info.uid_next = now.info.uid_next;
	pictures_must_agree(kit, &now, &p, true);
}
