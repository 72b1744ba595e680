/* SPDX-License-Identifier: MIT */
/*
 * The same random history on the backend and on the reference, side by side; everything that can be asked must be
 * answered the same. UIDs and modseqs are each side's own, so messages are compared by their place.
 */
#include <errno.h>
#include <sys/stat.h>
#include "postern/plugin.h"
#include "tests/conformance/conform.h"

extern const struct ps_plugin postern_plugin; /* the reference is built in */

enum {
	MAX_INDEX = 400,
	CHECKPOINTS = 8
};

static const char *const names[] = {"INBOX", "A", "A/B", "caf\xc3\xa9", "d.e"};
static const char *const words[] = {"$Forwarded", "work", "Later", "x", "$Junk"};

struct side {
	struct kit kit;
	struct ps_store *store;
};

/* What somebody may have known of a mailbox. */
struct checkpoint {
	struct picture picture[2];
	struct ps_id id[2];
	const char *name; /* NULL: none */
};

struct history {
	struct kit *kit;      /* chance comes from here */
	struct side sides[2]; /* the reference first */
	struct checkpoint checkpoints[CHECKPOINTS];
	unsigned step, number;
	const char *what; /* for the report */
};

#define agree(h, cond, fmt, ...) must(cond, "step %u, %s: " fmt, (h)->step, (h)->what, ##__VA_ARGS__)

/* ---- choosing ------------------------------------------------------------------------------ */

static const char *any_name(struct history *h)
{
	return names[pick(h->kit, PS_ARRAY_LEN(names))];
}

static const char *const *any_words(struct history *h)
{
	const char **list = PS_NEWV(h->kit->pool, const char *, PS_ARRAY_LEN(words) + 1);
	size_t n = 0;

	for (size_t i = 0; i < PS_ARRAY_LEN(words); i++)
		if (pick(h->kit, 4) == 0)
			list[n++] = words[i];
	return list;
}

/* Which messages, by place. */
struct choice {
	bool has[MAX_INDEX];
};

static void choose(struct history *h, struct choice *choice)
{
	uint32_t one_in = 1 + pick(h->kit, 6);

	for (size_t i = 0; i < MAX_INDEX; i++)
		choice->has[i] = pick(h->kit, one_in) == 0;
}

static void ranges_of(struct side *side, const struct picture *p, const struct choice *choice, struct ps_op *op)
{
	struct ps_range *ranges = PS_NEWV(side->kit.pool, struct ps_range, p->count + 1);
	size_t n = 0;

	for (size_t i = 0; i < p->count && i < MAX_INDEX; i++) {
		if (!choice->has[i])
			continue;
		if (n > 0 && i > 0 && choice->has[i - 1] && ranges[n - 1].last == p->rows[i - 1].uid)
			ranges[n - 1].last = p->rows[i].uid;
		else
			ranges[n++] = (struct ps_range){p->rows[i].uid, p->rows[i].uid};
	}
	op->uids = ranges;
	op->uid_count = n;
}

/* ---- both sides ---------------------------------------------------------------------------- */

static struct ps_mbox *open_name(struct side *side, const char *name)
{
	struct names all = kit_list(&side->kit, side->store);
	const struct ps_mailbox_info *info = names_find(&all, name);

	return info && (info->attributes & PS_MBOX_EXISTS) ? kit_mbox(&side->kit, side->store, name) : NULL;
}

static size_t messages_in(const struct ps_range *ranges, size_t count)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++)
		n += ranges[i].last - ranges[i].first + 1;
	return n;
}

static void results_agree(struct history *h, const struct ps_op_result *a, const struct ps_op_result *b)
{
	agree(h, messages_in(a->new_uids, a->new_count) == messages_in(b->new_uids, b->new_count),
	      "%zu new UIDs, not %zu", messages_in(b->new_uids, b->new_count), messages_in(a->new_uids, a->new_count));
	agree(h, messages_in(a->old_uids, a->old_count) == messages_in(b->old_uids, b->old_count),
	      "%zu old UIDs, not %zu", messages_in(b->old_uids, b->old_count), messages_in(a->old_uids, a->old_count));
	agree(h, messages_in(a->modified, a->modified_count) == messages_in(b->modified, b->modified_count),
	      "%zu modified, not %zu", messages_in(b->modified, b->modified_count),
	      messages_in(a->modified, a->modified_count));
	agree(h, (a->modseq != 0) == (b->modseq != 0), "a modseq was %s given", b->modseq ? "" : "not");
}

/* Prepared for each side by `prepare`, then committed on both; their answers must be the same. */
static int commit_both(struct history *h, struct ps_op ops[2][4], size_t count)
{
	struct ps_op_result results[2][4] = {{{0}}};
	int r[2];

	for (size_t s = 0; s < 2; s++)
		r[s] = kit_try_all(&h->sides[s].kit, h->sides[s].store, ops[s], count, results[s]);
	agree(h, r[0] == r[1], "%s, the reference says %s", ps_err_name(r[1]), ps_err_name(r[0]));
	for (size_t i = 0; i < count && r[0] == 0; i++)
		results_agree(h, &results[0][i], &results[1][i]);
	return r[0];
}

/* ---- steps --------------------------------------------------------------------------------- */

static struct ps_bytes any_octets(struct history *h)
{
	uint32_t lines = pick(h->kit, pick(h->kit, 10) ? 20 : 2000);
	struct ps_buf out = {0};
	struct ps_bytes octets;

	ps_buf_printf(&out, "Message-ID: <%u@example.test>\r\nSubject: number %u\r\n\r\n", h->number, h->number);
	h->number++;
	for (uint32_t i = 0; i < lines; i++)
		ps_buf_printf(&out, "%.*s%s", (int)pick(h->kit, 60),
			      "the quick brown fox jumps over the lazy dog, from x", pick(h->kit, 20) ? "\r\n" : "\r");
	octets = ps_bytes(ps_pool_memdup(h->kit->pool, out.ptr, out.len), out.len);
	ps_buf_finish(&out);
	return octets;
}

/* A message, staged on both sides. */
static bool stage_both(struct history *h, const char *name, struct ps_op ops[2][4], size_t at)
{
	struct kit_message message = {.octets = any_octets(h),
				      .flags = pick(h->kit, 32),
				      .keywords = any_words(h),
				      .internal_date = (int64_t)1 + pick(h->kit, 2000000000)};

	for (size_t i = 0; i < sizeof message.email_id.octets; i++)
		message.email_id.octets[i] = (uint8_t)pick(h->kit, 256);
	for (size_t s = 0; s < 2; s++) {
		struct ps_mbox *mbox = open_name(&h->sides[s], name);

		if (!mbox)
			return false;
		kit_stage(&h->sides[s].kit, h->sides[s].store, mbox, &message, &ops[s][at]);
	}
	return true;
}

static void step_append(struct history *h)
{
	struct ps_op ops[2][4];
	const char *name = any_name(h);
	size_t count = 1 + pick(h->kit, 3);

	for (size_t i = 0; i < count; i++)
		if (!stage_both(h, name, ops, i))
			return;
	commit_both(h, ops, count);
}

/* A message and something that cannot be: neither happens. */
static void step_refused(struct history *h)
{
	struct ps_op ops[2][4];

	if (!stage_both(h, any_name(h), ops, 0))
		return;
	for (size_t s = 0; s < 2; s++)
		ops[s][1] = (struct ps_op){.kind = PS_OP_RENAME, .name = "nowhere", .new_name = "anywhere"};
	commit_both(h, ops, 2);
}

/* Fills `op` for each side with the chosen messages of a mailbox. */
static bool choose_messages(struct history *h, const char *name, const struct ps_op *like, struct ps_op ops[2][4])
{
	struct choice choice;

	choose(h, &choice);
	for (size_t s = 0; s < 2; s++) {
		struct side *side = &h->sides[s];
		struct picture p;

		ops[s][0] = *like;
		ops[s][0].mbox = open_name(side, name);
		if (!ops[s][0].mbox)
			return false;
		p = kit_picture(&side->kit, side->store, ops[s][0].mbox);
		ranges_of(side, &p, &choice, &ops[s][0]);
	}
	return true;
}

static void step_flags(struct history *h)
{
	struct checkpoint *c = &h->checkpoints[pick(h->kit, CHECKPOINTS)];
	bool condition = c->name && pick(h->kit, 3) == 0;
	struct ps_op ops[2][4], like = {.kind = PS_OP_FLAGS,
					.flag_mode = (enum ps_flag_mode)pick(h->kit, 3),
					.flags = pick(h->kit, 32),
					.keywords = any_words(h),
					.unchanged_since = UINT64_MAX};

	if (!choose_messages(h, condition ? c->name : any_name(h), &like, ops))
		return;
	for (size_t s = 0; condition && s < 2; s++)
		ops[s][0].unchanged_since = c->picture[s].info.highest_modseq;
	commit_both(h, ops, 1);
}

static void step_expunge(struct history *h)
{
	struct ps_op ops[2][4], like = {.kind = PS_OP_EXPUNGE, .only_deleted = pick(h->kit, 2)};

	if (choose_messages(h, any_name(h), &like, ops))
		commit_both(h, ops, 1);
}

static void step_copy(struct history *h)
{
	struct ps_op ops[2][4], like = {.kind = pick(h->kit, 2) ? PS_OP_COPY : PS_OP_MOVE};
	const char *target = any_name(h);

	if (!choose_messages(h, any_name(h), &like, ops))
		return;
	for (size_t s = 0; s < 2; s++)
		if (!(ops[s][0].target = open_name(&h->sides[s], target)))
			return;
	commit_both(h, ops, 1);
}

/* As core does it: a row for each mailbox at or below it, and never to below itself. */
static void step_rename(struct history *h)
{
	const char *from = any_name(h), *to = any_name(h);
	struct names all = kit_list(&h->sides[0].kit, h->sides[0].store);
	struct ps_op ops[2][4];
	size_t len = strlen(from), n = 0;

	if (strcmp(from, "INBOX") == 0 || (strncmp(to, from, len) == 0 && (to[len] == '/' || to[len] == '\0')))
		return;
	ops[0][n++] = (struct ps_op){.kind = PS_OP_RENAME, .name = from, .new_name = to};
	for (size_t i = 0; i < all.count && n < 4; i++)
		if (strncmp(all.infos[i].name, from, len) == 0 && all.infos[i].name[len] == '/' &&
		    all.infos[i].attributes & PS_MBOX_EXISTS)
			ops[0][n++] = (struct ps_op){
				.kind = PS_OP_RENAME,
				.name = all.infos[i].name,
				.new_name = ps_pool_printf(h->kit->pool, "%s%s", to, all.infos[i].name + len)};
	memcpy(ops[1], ops[0], sizeof ops[0]);
	commit_both(h, ops, n);
}

static void step_mailbox(struct history *h)
{
	static const enum ps_op_kind kinds[] = {PS_OP_CREATE, PS_OP_CREATE, PS_OP_DELETE, PS_OP_SUBSCRIBE,
						PS_OP_ATTRIBUTES};
	struct ps_op ops[2][4] = {{{0}}};
	struct ps_op op = {.kind = kinds[pick(h->kit, PS_ARRAY_LEN(kinds))],
			   .name = any_name(h),
			   .attributes = (16u << pick(h->kit, 7)),
			   .subscribed = pick(h->kit, 2)};

	if (strcmp(op.name, "INBOX") == 0 && op.kind == PS_OP_DELETE)
		return;
	ops[0][0] = ops[1][0] = op;
	commit_both(h, ops, 1);
}

static void step_checkpoint(struct history *h)
{
	struct checkpoint *c = &h->checkpoints[pick(h->kit, CHECKPOINTS)];
	const char *name = any_name(h);

	c->name = NULL;
	for (size_t s = 0; s < 2; s++) {
		struct ps_mbox *mbox = open_name(&h->sides[s], name);

		if (!mbox)
			return;
		c->picture[s] = kit_picture(&h->sides[s].kit, h->sides[s].store, mbox);
		c->id[s] = c->picture[s].info.id;
	}
	c->name = name;
}

static void step_reopen(struct history *h)
{
	struct side *side = &h->sides[1];

	if (side->kit.volatile_store)
		return;
	kit_close(&side->kit, side->store);
	side->store = kit_open(&side->kit);
}

static void step_sync(struct history *h)
{
	struct side *side = &h->sides[1];
	struct ps_mbox *mbox = open_name(side, any_name(h));

	must_ok(side->kit.ops->sync(side->store, NULL));
	if (mbox)
		must_ok(side->kit.ops->sync(side->store, mbox));
}

static const struct {
	const char *name;
	void (*run)(struct history *h);
	unsigned weight;
} steps[] = {
	{"append", step_append, 8},   {"refused batch", step_refused, 1}, {"flags", step_flags, 8},
	{"expunge", step_expunge, 3}, {"copy or move", step_copy, 5},     {"mailbox", step_mailbox, 4},
	{"rename", step_rename, 1},   {"checkpoint", step_checkpoint, 3}, {"reopen", step_reopen, 1},
	{"sync", step_sync, 1},
};

/* ---- comparing ----------------------------------------------------------------------------- */

static void rows_agree(struct history *h, const struct picture *a, const struct picture *b, struct ps_mbox *mboxes[2])
{
	struct kit *kit = h->kit;

	for (size_t i = 0; i < a->count; i++) {
		const struct ps_row *left = &a->rows[i], *right = &b->rows[i];

		agree(h, left->flags == right->flags, "%s, message %zu: flags 0x%x, not 0x%x", a->info.name, i + 1,
		      right->flags, left->flags);
		agree(h, strcmp(picture_keywords(kit, a, left), picture_keywords(kit, b, right)) == 0,
		      "%s, message %zu: keywords \"%s\", not \"%s\"", a->info.name, i + 1,
		      picture_keywords(kit, b, right), picture_keywords(kit, a, left));
		agree(h, left->size == right->size && left->internal_date == right->internal_date,
		      "%s, message %zu: size %llu date %lld, not %llu, %lld", a->info.name, i + 1,
		      (unsigned long long)right->size, (long long)right->internal_date, (unsigned long long)left->size,
		      (long long)left->internal_date);
		agree(h, memcmp(&left->email_id, &right->email_id, sizeof left->email_id) == 0,
		      "%s, message %zu: another email id", a->info.name, i + 1);
		if (pick(kit, 8) == 0) {
			struct ps_bytes octets;

			must_ok(kit_body(&h->sides[0].kit, mboxes[0], left->uid, &octets));
			kit_body_must_be(&h->sides[1].kit, mboxes[1], right->uid, octets);
		}
	}
}

static void mailboxes_agree(struct history *h, const char *name)
{
	struct picture p[2];
	struct ps_mbox *mboxes[2];

	for (size_t s = 0; s < 2; s++) {
		mboxes[s] = kit_mbox(&h->sides[s].kit, h->sides[s].store, name);
		p[s] = kit_picture(&h->sides[s].kit, h->sides[s].store, mboxes[s]);
	}
	agree(h, p[0].count == p[1].count, "%s: %zu messages, not %zu", name, p[1].count, p[0].count);
	rows_agree(h, &p[0], &p[1], mboxes);
}

static void sides_agree(struct history *h)
{
	struct names a = kit_list(&h->sides[0].kit, h->sides[0].store),
		     b = kit_list(&h->sides[1].kit, h->sides[1].store);

	agree(h, a.count == b.count, "%zu mailboxes, not %zu", b.count, a.count);
	for (size_t i = 0; i < a.count; i++) {
		agree(h, strcmp(a.infos[i].name, b.infos[i].name) == 0, "mailbox %s, not %s", b.infos[i].name,
		      a.infos[i].name);
		agree(h, a.infos[i].attributes == b.infos[i].attributes, "%s: attributes 0x%x, not 0x%x",
		      a.infos[i].name, b.infos[i].attributes, a.infos[i].attributes);
		if (a.infos[i].attributes & PS_MBOX_EXISTS)
			mailboxes_agree(h, a.infos[i].name);
	}
}

/* Who knew an earlier state learns of all that has changed, if it is still that mailbox. */
static void checkpoints_catch_up(struct history *h)
{
	for (size_t i = 0; i < CHECKPOINTS; i++) {
		struct checkpoint *c = &h->checkpoints[i];

		for (size_t s = 0; c->name && s < 2; s++) {
			struct side *side = &h->sides[s];
			struct ps_mbox *mbox = open_name(side, c->name);
			struct ps_id id = {{0}};

			if (mbox)
				id = kit_picture(&side->kit, side->store, mbox).info.id;
			if (memcmp(&id, &c->id[s], sizeof id) == 0)
				kit_catch_up(&side->kit, side->store, mbox, &c->picture[s]);
			else
				c->name = NULL;
		}
	}
}

/* ---- a history ----------------------------------------------------------------------------- */

static void any_step(struct history *h)
{
	unsigned total = 0, at;

	for (size_t i = 0; i < PS_ARRAY_LEN(steps); i++)
		total += steps[i].weight;
	at = pick(h->kit, total);
	for (size_t i = 0; i < PS_ARRAY_LEN(steps); i++) {
		if (at < steps[i].weight) {
			h->what = steps[i].name;
			steps[i].run(h);
			return;
		}
		at -= steps[i].weight;
	}
}

static void one_history(struct kit *kit, unsigned round)
{
	struct history *h = PS_NEW(kit->pool, struct history);

	h->kit = kit;
	for (size_t s = 0; s < 2; s++) {
		h->sides[s].kit = *kit;
		h->sides[s].kit.root = ps_pool_printf(kit->pool, "%s.%u", kit->root, round);
	}
	h->sides[1].kit.root = ps_pool_printf(kit->pool, "%s/%u", kit->root, round);
	h->sides[0].kit.ops = postern_plugin.ops;
	h->sides[0].store = kit_open(&h->sides[0].kit);
	h->sides[1].store = kit_open(&h->sides[1].kit);
	for (h->step = 1; h->step <= kit->steps; h->step++) {
		any_step(h);
		if (h->step % 10 == 0) {
			sides_agree(h);
			checkpoints_catch_up(h);
		}
	}
	for (size_t s = 0; s < 2; s++)
		kit_close(&h->sides[s].kit, h->sides[s].store);
}

static void side_by_side(struct kit *kit)
{
	must(mkdir(kit->root, 0700) == 0, "mkdir %s: %s", kit->root, strerror(errno));
	for (unsigned i = 0; i < kit->rounds; i++) {
		struct kit round = *kit;

		round.pool = ps_pool_create("history");
		round.seed = kit->seed + i;
		one_history(&round, i);
		ps_pool_destroy(round.pool);
	}
}

static const struct check checks[] = {
	{"all laws: random histories give what the reference gives", side_by_side},
};
GROUP(history, "all laws: random histories on the backend and on the reference, side by side", checks);
