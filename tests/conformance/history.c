/* SPDX-License-Identifier: MIT */
/*
 * One step of a random history, on the backend and on the reference side by side. What either answers must be the same.
 * UIDs and modseqs are each side's own, so messages are meant by their place.
 *
 * A step has a seed of its own, from which all its choices come: so it means much the same when steps before it are left
 * out, and a history that fails can be made shorter.
 */
#include "postern/plugin.h"
#include "tests/conformance/history.h"

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
	unsigned number;
	struct ps_buf story; /* what was done, a line each */
};

#define agree(h, cond, fmt, ...) must(cond, "%s" fmt, last_line(h), ##__VA_ARGS__)

/* The step that is being done, for the report. */
static const char *last_line(struct history *h)
{
	const char *story = ps_buf_cstr(&h->story), *end;

	if (!*story)
		return "";
	end = story + strlen(story) - 1; /* its line end */
	while (end > story && end[-1] != '\n')
		end--;
	return ps_pool_printf(h->kit->pool, "%.*s: ", (int)strcspn(end, "\n"), end);
}

#define tell(h, ...) ps_buf_printf(&(h)->story, __VA_ARGS__)

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

/* "2,5-7": places, of `count` messages. */
static const char *choice_text(struct history *h, const struct choice *choice, size_t count)
{
	const char *text = "";

	for (size_t i = 0; i < count && i < MAX_INDEX; i++) {
		size_t last = i;

		if (!choice->has[i])
			continue;
		while (last + 1 < count && last + 1 < MAX_INDEX && choice->has[last + 1])
			last++;
		text = ps_pool_printf(h->kit->pool, "%s%s%zu%s", text, *text ? "," : "", i + 1,
				      last > i ? ps_pool_printf(h->kit->pool, "-%zu", last + 1) : "");
		i = last;
	}
	return *text ? text : "no message";
}

static const char *words_text(struct history *h, const char *const *list)
{
	const char *text = "";

	for (; list && *list; list++)
		text = ps_pool_printf(h->kit->pool, "%s %s", text, *list);
	return text;
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
	tell(h, "%s%zu octets, flags 0x%x%s", at ? "; " : "append: ", message.octets.len, message.flags,
	     words_text(h, message.keywords));
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
	tell(h, ", to %s\n", name);
	commit_both(h, ops, count);
}

/* A message and something that cannot be: neither happens. */
static void step_refused(struct history *h)
{
	struct ps_op ops[2][4];
	const char *name = any_name(h);

	if (!stage_both(h, name, ops, 0))
		return;
	for (size_t s = 0; s < 2; s++)
		ops[s][1] = (struct ps_op){.kind = PS_OP_RENAME, .name = "nowhere", .new_name = "anywhere"};
	tell(h, ", to %s, and rename what is not there\n", name);
	commit_both(h, ops, 2);
}

/* Fills `op` for each side with the chosen messages of a mailbox. */
static bool choose_messages(struct history *h, const char *name, const struct ps_op *like, struct ps_op ops[2][4],
			    const char **ret_text)
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
		*ret_text = choice_text(h, &choice, p.count);
	}
	return true;
}

static void step_flags(struct history *h)
{
	static const char *const modes[] = {"set", "add", "remove"};
	struct checkpoint *c = &h->checkpoints[pick(h->kit, CHECKPOINTS)];
	bool condition = c->name && pick(h->kit, 3) == 0;
	const char *name = condition ? c->name : any_name(h), *text;
	struct ps_op ops[2][4], like = {.kind = PS_OP_FLAGS,
					.flag_mode = (enum ps_flag_mode)pick(h->kit, 3),
					.flags = pick(h->kit, 32),
					.keywords = any_words(h),
					.unchanged_since = UINT64_MAX};

	if (!choose_messages(h, name, &like, ops, &text))
		return;
	for (size_t s = 0; condition && s < 2; s++)
		ops[s][0].unchanged_since = c->picture[s].info.highest_modseq;
	tell(h, "%s flags 0x%x%s of %s of %s%s\n", modes[like.flag_mode], like.flags, words_text(h, like.keywords),
	     text, name, condition ? ", unless changed since noted" : "");
	commit_both(h, ops, 1);
}

static void step_expunge(struct history *h)
{
	struct ps_op ops[2][4], like = {.kind = PS_OP_EXPUNGE, .only_deleted = pick(h->kit, 2)};
	const char *name = any_name(h), *text;

	if (!choose_messages(h, name, &like, ops, &text))
		return;
	tell(h, "expunge %s of %s%s\n", text, name, like.only_deleted ? ", those with \\Deleted" : "");
	commit_both(h, ops, 1);
}

static void step_copy(struct history *h)
{
	struct ps_op ops[2][4], like = {.kind = pick(h->kit, 2) ? PS_OP_COPY : PS_OP_MOVE};
	const char *name = any_name(h), *target = any_name(h), *text;

	if (!choose_messages(h, name, &like, ops, &text))
		return;
	for (size_t s = 0; s < 2; s++)
		if (!(ops[s][0].target = open_name(&h->sides[s], target)))
			return;
	tell(h, "%s %s of %s to %s\n", like.kind == PS_OP_COPY ? "copy" : "move", text, name, target);
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
	tell(h, "rename %s to %s, and %zu below it\n", from, to, n - 1);
	commit_both(h, ops, n);
}

static void step_mailbox(struct history *h)
{
	static const struct {
		enum ps_op_kind kind;
		const char *name;
	} kinds[] = {{PS_OP_CREATE, "create"},
		     {PS_OP_CREATE, "create"},
		     {PS_OP_DELETE, "delete"},
		     {PS_OP_SUBSCRIBE, "subscribe"},
		     {PS_OP_ATTRIBUTES, "give a special use to"}};
	uint32_t which = pick(h->kit, PS_ARRAY_LEN(kinds));
	struct ps_op ops[2][4] = {{{0}}};
	struct ps_op op = {.kind = kinds[which].kind,
			   .name = any_name(h),
			   .attributes = (16u << pick(h->kit, 7)),
			   .subscribed = pick(h->kit, 2)};

	if (strcmp(op.name, "INBOX") == 0 && op.kind == PS_OP_DELETE)
		return;
	ops[0][0] = ops[1][0] = op;
	tell(h, "%s%s %s, use 0x%x\n", op.kind == PS_OP_SUBSCRIBE && !op.subscribed ? "un" : "", kinds[which].name,
	     op.name, op.attributes);
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
	tell(h, "note the state of %s\n", name);
}

static void step_reopen(struct history *h)
{
	struct side *side = &h->sides[1];

	if (side->kit.volatile_store)
		return;
	tell(h, "reopen\n");
	kit_close(&side->kit, side->store);
	side->store = kit_open(&side->kit);
}

static void step_sync(struct history *h)
{
	struct side *side = &h->sides[1];
	const char *name = any_name(h);
	struct ps_mbox *mbox = open_name(side, name);

	tell(h, "sync, %s too\n", name);
	must_ok(side->kit.ops->sync(side->store, NULL));
	if (mbox)
		must_ok(side->kit.ops->sync(side->store, mbox));
}

/* In the order of enum step_kind. */
static void (*const steps[STEP_KINDS])(struct history *h) = {
	step_append,  step_refused, step_flags,      step_expunge, step_copy,
	step_mailbox, step_rename,  step_checkpoint, step_reopen,  step_sync,
};

/* ---- comparing ----------------------------------------------------------------------------- */

static void sides_agree(struct history *h)
{
	const char *reference = kit_describe(&h->sides[0].kit, h->sides[0].store);
	const char *backend = kit_describe(&h->sides[1].kit, h->sides[1].store);

	agree(h, strcmp(reference, backend) == 0, "the store is\n%swhere the reference is\n%s", backend, reference);
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

struct history *history_begin(struct kit *kit, const char *root)
{
	struct history *h = PS_NEW(kit->pool, struct history);

	h->kit = kit;
	for (size_t s = 0; s < 2; s++) {
		h->sides[s].kit = *kit;
		h->sides[s].kit.root = root;
	}
	h->sides[0].kit.ops = postern_plugin.ops;
	h->sides[0].store = kit_open(&h->sides[0].kit);
	h->sides[1].store = kit_open(&h->sides[1].kit);
	return h;
}

void history_step(struct history *h, const struct step *step)
{
	h->kit->seed = step->seed;
	steps[step->kind](h);
}

void history_compare(struct history *h)
{
	sides_agree(h);
	checkpoints_catch_up(h);
}

const char *history_story(struct history *h)
{
	return ps_buf_cstr(&h->story);
}

void history_end(struct history *h)
{
	for (size_t s = 0; s < 2; s++)
		kit_close(&h->sides[s].kit, h->sides[s].store);
	ps_buf_finish(&h->story);
}
