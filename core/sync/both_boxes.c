/* SPDX-License-Identifier: MIT */
/*
 * Two ways, mailboxes: each is compared with what it was the last time, and what one end did is done at the other.
 */
#include "core/sync/both.h"

struct structure {
	struct both *both;
	struct sync_plan plans[2];
	bool *taken[2]; /* of both->boxes: it has its place */
};

static bool is_inbox(const char *name)
{
	return strcmp(name, "INBOX") == 0;
}

static struct ps_mailbox_info *find_last(const struct both *both, int end, const struct sync_last *last)
{
	struct ps_mailbox_info *box = sync_box_with_id(both->boxes[end], end ? &last->to_id : &last->from_id);

	return box && box->uid_validity == (end ? last->to_validity : last->from_validity) ? box : NULL;
}

static void take(struct structure *st, int end, const struct ps_mailbox_info *box)
{
	st->taken[end][box - st->both->boxes[end]->ptr] = true;
}

static void add_couple(struct structure *st, const struct ps_mailbox_info *from, const struct ps_mailbox_info *to,
		       const struct sync_last *last)
{
	struct both *both = st->both;
	struct couple *couple;

	both->couples = ps_pool_grow(both->s->pool, both->couples, both->count, &both->cap, sizeof *both->couples);
	couple = &both->couples[both->count++];
	*couple = (struct couple){.last = last ? ps_pool_memdup(both->s->pool, last, sizeof *last) : NULL};
	if (from) {
		couple->info[0] = *from;
		take(st, 0, from);
	}
	if (to) {
		couple->info[1] = *to;
		take(st, 1, to);
	}
}

/* ---- finding couples ------------------------------------------------------------------------- */

/* It went at one end: it goes at the other, too, unless something was done there meanwhile. */
static void follow_deletion(struct structure *st, int end, const struct ps_mailbox_info *box,
			    const struct sync_last *last)
{
	if (is_inbox(box->name) || box->highest_modseq != (end ? last->to_quiet : last->from_quiet)) {
		sync_note(st->both->s, "%s: mailbox %s was deleted at the other end and has changed here: it stays",
			  st->both->ends[end]->name, box->name);
		return;
	}
	take(st, end, box);
	sync_plan_op(&st->plans[end], (struct ps_op){.kind = PS_OP_DELETE, .name = box->name});
	st->both->s->totals->mailboxes_removed++;
}

static void couple_known(struct structure *st)
{
	const struct sync_record *record = &st->both->s->record;

	for (size_t i = 0; i < record->count; i++) {
		const struct sync_last *last = &record->boxes[i];
		struct ps_mailbox_info *from, *to;

		if (!(last->attributes & PS_MBOX_EXISTS))
			continue;
		from = find_last(st->both, 0, last);
		to = find_last(st->both, 1, last);
		if (from && to)
			add_couple(st, from, to, last);
		else if (from)
			follow_deletion(st, 0, from, last);
		else if (to)
			follow_deletion(st, 1, to, last);
	}
}

static const struct ps_mailbox_info *free_partner(const struct structure *st, const struct ps_mailbox_info *from)
{
	const struct sync_boxes *boxes = st->both->boxes[1];
	const struct ps_mailbox_info *to = sync_box_with_id(boxes, &from->id);

	if (to && (st->taken[1][to - boxes->ptr] || is_inbox(to->name) != is_inbox(from->name)))
		to = NULL;
	if (!to)
		to = sync_box_named(boxes, from->name);
	return to && sync_exists(to) && !st->taken[1][to - boxes->ptr] ? to : NULL;
}

static void couple_new(struct structure *st)
{
	for (int end = 0; end < 2; end++) {
		const struct sync_boxes *boxes = st->both->boxes[end];

		for (size_t i = 0; i < boxes->count; i++) {
			const struct ps_mailbox_info *box = &boxes->ptr[i];

			if (!sync_exists(box) || st->taken[end][i])
				continue;
			if (end == 0)
				add_couple(st, box, free_partner(st, box), NULL);
			else
				add_couple(st, NULL, box, NULL);
		}
	}
}

/* ---- what is to be done ---------------------------------------------------------------------- */

/* Whether the name is one of the end's mailboxes, as planned so far. */
static bool is_used(const struct both *both, int end, const char *name)
{
	for (size_t i = 0; i < both->count; i++)
		if (both->couples[i].info[end].name && strcmp(both->couples[i].info[end].name, name) == 0)
			return true;
	return false;
}

/* The end whose name counts. */
static int name_of(const struct couple *couple)
{
	if (!couple->last || strcmp(couple->info[0].name, couple->last->name) != 0)
		return 0;
	return 1;
}

static void rename_at(struct structure *st, struct couple *couple, int end, const char *name)
{
	sync_plan_op(&st->plans[end],
		     (struct ps_op){.kind = PS_OP_RENAME, .name = couple->info[end].name, .new_name = name});
	couple->info[end].name = name;
}

/* The end that is to take the other's name; -1: none. */
static int to_rename(const struct couple *couple)
{
	const struct ps_mailbox_info *info = couple->info;
	int end;

	if (!info[0].name || !info[1].name || strcmp(info[0].name, info[1].name) == 0)
		return -1;
	end = 1 - name_of(couple);
	return is_inbox(info[end].name) ? -1 : end;
}

/* Renames those whose new name is free. False: none was. */
static bool rename_free(struct structure *st)
{
	bool any = false;

	for (size_t i = 0; i < st->both->count; i++) {
		struct couple *couple = &st->both->couples[i];
		int end = to_rename(couple);

		if (end < 0 || is_used(st->both, end, couple->info[1 - end].name))
			continue;
		rename_at(st, couple, end, couple->info[1 - end].name);
		st->both->s->totals->mailboxes_renamed++;
		any = true;
	}
	return any;
}

/* Where each waits for another's name, one gets a third for a moment. False: nobody waits so. */
static bool rename_waiting(struct structure *st, unsigned number)
{
	const struct both *both = st->both;

	for (size_t i = 0; i < both->count; i++) {
		struct couple *couple = &both->couples[i];
		int end = to_rename(couple);

		for (size_t j = 0; end >= 0 && j < both->count; j++) {
			const struct couple *other = &both->couples[j];

			if (to_rename(other) != end || strcmp(other->info[end].name, couple->info[1 - end].name) != 0)
				continue;
			rename_at(st, couple, end, ps_pool_printf(both->s->pool, "renaming %u", number));
			return true;
		}
	}
	return false;
}

static void plan_renames(struct structure *st)
{
	unsigned number = 0;

	do
		while (rename_free(st))
			;
	while (number < st->both->count && rename_waiting(st, ++number));
}

static void plan_creation(struct structure *st, struct couple *couple, int end)
{
	const struct ps_mailbox_info *other = &couple->info[1 - end];
	struct ps_op op = {.kind = PS_OP_CREATE,
			   .name = other->name,
			   .attributes = other->attributes & PS_MBOX_SPECIAL_USES,
			   .uid_validity = other->uid_validity};

	if (is_used(st->both, end, other->name)) {
		sync_note(st->both->s, "%s: mailbox %s cannot be made: the name is another's",
			  st->both->ends[end]->name, other->name);
		return;
	}
	if (!sync_box_with_id(st->both->boxes[end], &other->id))
		op.mailbox_id = other->id;
	sync_plan_op(&st->plans[end], op);
	couple->info[end] = *other;
	couple->info[end].id = op.mailbox_id;
	st->both->s->totals->mailboxes_made++;
}

static void plan_creations(struct structure *st)
{
	for (size_t i = 0; i < st->both->count; i++)
		for (int end = 0; end < 2; end++)
			if (!st->both->couples[i].info[end].name)
				plan_creation(st, &st->both->couples[i], end);
}

static void plan_uses(struct structure *st)
{
	for (size_t i = 0; i < st->both->count; i++) {
		struct couple *couple = &st->both->couples[i];
		uint32_t uses[2] = {couple->info[0].attributes & PS_MBOX_SPECIAL_USES,
				    couple->info[1].attributes & PS_MBOX_SPECIAL_USES};
		int end = couple->last && (couple->last->attributes & PS_MBOX_SPECIAL_USES) == uses[0] ? 0 : 1;

		if (!couple->info[0].name || !couple->info[1].name || uses[0] == uses[1])
			continue;
		sync_plan_op(&st->plans[end], (struct ps_op){.kind = PS_OP_ATTRIBUTES,
							     .name = couple->info[end].name,
							     .attributes = uses[1 - end]});
		couple->info[end].attributes = couple->info[1 - end].attributes;
		st->both->s->totals->mailboxes_changed++;
	}
}

static bool is_subscribed(const struct both *both, int end, const char *name)
{
	const struct ps_mailbox_info *box = sync_box_named(both->boxes[end], name);

	return box && (box->attributes & PS_MBOX_SUBSCRIBED);
}

/* A name that was not known before and is subscribed at one end becomes so at the other. */
static void plan_subscription(struct structure *st, const char *name)
{
	const struct both *both = st->both;
	const struct sync_last *last = both->s->record.known ? sync_record_named(&both->s->record, name) : NULL;
	bool now[2] = {is_subscribed(both, 0, name), is_subscribed(both, 1, name)};
	bool before = last && (last->attributes & PS_MBOX_SUBSCRIBED), want = !before;

	if (now[0] == now[1])
		return;
	sync_plan_op(&st->plans[now[0] == want ? 1 : 0],
		     (struct ps_op){.kind = PS_OP_SUBSCRIBE, .name = name, .subscribed = want});
}

static void plan_subscriptions(struct structure *st)
{
	const struct sync_boxes *const *boxes = (const struct sync_boxes *const *)st->both->boxes;

	for (size_t i = 0; i < boxes[0]->count; i++)
		plan_subscription(st, boxes[0]->ptr[i].name);
	for (size_t i = 0; i < boxes[1]->count; i++)
		if (!sync_box_named(boxes[0], boxes[1]->ptr[i].name))
			plan_subscription(st, boxes[1]->ptr[i].name);
}

/* ---- doing it -------------------------------------------------------------------------------- */

static const struct ps_mailbox_info *look_up(const struct both *both, int end, const struct ps_mailbox_info *info)
{
	static const struct ps_id none;
	const struct ps_mailbox_info *box = NULL;

	if (info->name && sync_same_id(&info->id, &none)) /* made just now */
		box = sync_box_named(both->boxes[end], info->name);
	else if (info->name)
		box = sync_box_with_id(both->boxes[end], &info->id);
	return box && sync_exists(box) ? box : NULL;
}

/* Takes what the ends have now; a couple of which one is missing is left for the next run. */
static void look_up_couples(struct both *both)
{
	size_t n = 0;

	for (size_t i = 0; i < both->count; i++) {
		struct couple couple = both->couples[i];
		const struct ps_mailbox_info *there[2] = {look_up(both, 0, &couple.info[0]),
							  look_up(both, 1, &couple.info[1])};

		if (there[0] && there[1]) {
			couple.info[0] = *there[0];
			couple.info[1] = *there[1];
			both->couples[n++] = couple;
		} else if (both->s->options->dry_run && (there[0] || there[1])) {
			both->s->totals->copied += (there[0] ? there[0] : there[1])->messages;
			both->s->totals->octets += (there[0] ? there[0] : there[1])->size;
		}
	}
	both->count = n;
}

static int commit_plans(struct structure *st)
{
	struct both *both = st->both;
	uint64_t modseq;
	int r = 0;

	if (both->s->options->dry_run || st->plans[0].count + st->plans[1].count == 0)
		return 0;
	if ((r = both_begin(both)) < 0)
		return r;
	for (int end = 0; end < 2; end++)
		if ((r = sync_plan_commit(both->ends[end], &st->plans[end], &modseq)) < 0 ||
		    (r = sync_look(both->ends[end], both->s->pool, both->boxes[end])) < 0)
			return r;
	return 0;
}

int both_mailboxes(struct both *both)
{
	struct structure st = {.both = both};
	int r;

	for (int end = 0; end < 2; end++) {
		st.plans[end].pool = both->s->pool;
		st.taken[end] = PS_NEWV(both->s->pool, bool, both->boxes[end]->count + 1);
	}
	if (both->s->record.known)
		couple_known(&st);
	couple_new(&st);
	plan_renames(&st);
	plan_creations(&st);
	plan_uses(&st);
	plan_subscriptions(&st);
	if ((r = commit_plans(&st)) < 0)
		return r;
	look_up_couples(both);
	return 0;
}
