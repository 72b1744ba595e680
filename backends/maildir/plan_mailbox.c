/* SPDX-License-Identifier: MIT */
/*
 * Planning, of operations on mailboxes. A new directory is made aside, durable and complete, and its step gives it its
 * name; a removed one is moved aside by its step, and taken apart when all is done.
 */
#include "config.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "backends/maildir/maildir_private.h"

static uint32_t aside_dir(struct plan *plan)
{
	return steps_dir(&plan->steps, ASIDE_PATH, NULL, PLACE_CUR);
}

static uint32_t root_dir(struct plan *plan)
{
	return steps_dir(&plan->steps, ".", NULL, PLACE_CUR);
}

/* A name aside that is cleaned up in the end, whatever becomes of the batch. */
static const char *aside_name(struct plan *plan)
{
	char name[NAME_SIZE];

	unique_name(plan->w.store->host, ps_catalogue_now(), name);
	plan->removals =
		ps_pool_grow(plan->p.pool, plan->removals, plan->removal_count, &plan->removal_cap, sizeof(char *));
	return plan->removals[plan->removal_count++] = ps_pool_strdup(plan->p.pool, name);
}

/* Removals that are planned for a directory follow it to its new name. */
static void redirect_unlinks(struct plan *plan, const char *from, const char *to)
{
	size_t len = strlen(from);

	for (size_t i = 0; i < plan->steps.count; i++) {
		struct step *step = &plan->steps.steps[i];
		const char *path = plan->steps.dirs[step->from_dir].path;

		if (step->kind != STEP_UNLINK || strncmp(path, from, len) != 0 || path[len] != '/')
			continue;
		step->from_dir = step->to_dir =
			steps_dir(&plan->steps, ps_pool_printf(plan->p.pool, "%s%s", to, path + len),
				  plan->steps.dirs[step->from_dir].folder, plan->steps.dirs[step->from_dir].place);
	}
}

/* A free name and its directory. */
static int free_name(struct plan *plan, const char *name, char ret_dir[NAME_SIZE])
{
	int r = ps_plan_free_name(&plan->p, name);

	return r == 0 ? dir_of_name(plan->w.store->tree, name, ret_dir) : r;
}

static int plan_create(struct plan *plan, const struct ps_op *op, struct ps_op_result *result)
{
	struct mailbox_state state = {.id = ps_catalogue_is_none(&op->mailbox_id) ? ps_catalogue_new_id()
										  : op->mailbox_id,
				      .uid_reserved = 1,
				      .special_uses = op->attributes & PS_MBOX_SPECIAL_USES};
	struct ps_index_box box = {.attributes = PS_MBOX_EXISTS | state.special_uses, .uid_next = 1};
	char dir[NAME_SIZE];
	const char *aside;
	int r = free_name(plan, op->name, dir);

	if (r < 0 || (r = ps_plan_free_id(&plan->p, &op->mailbox_id, 0)) < 0 ||
	    (r = ps_catalogue_uid_validity(&plan->w, op->uid_validity, &state.uid_validity)) < 0)
		return r;
	aside = aside_name(plan);
	if ((r = folder_make(plan->w.store, aside, &state)) < 0)
		return r;
	box.id = state.id;
	box.key = ps_catalogue_key(&box.id);
	box.uid_validity = state.uid_validity;
	box.highest_modseq = ps_plan_modseq(&plan->p);
	box.vanished_since = box.highest_modseq;
	memcpy(box.name, op->name, strlen(op->name) + 1);
	if ((r = layout_create(plan, aside, dir)) < 0)
		return r;
	result->uid_validity = box.uid_validity;
	result->modseq = box.highest_modseq;
	if ((r = ps_index_box_put(plan->w.txn, &box)) < 0)
		return r;
	/* A later operation of the commit may rename it, or change its uses. */
	return write_edit_made(&plan->w, &box, ps_pool_printf(plan->p.pool, ASIDE_PATH "/%s", aside));
}

static int plan_rename(struct plan *plan, const struct ps_op *op, struct ps_op_result *result)
{
	char from[NAME_SIZE], to[NAME_SIZE];
	struct ps_index_box box;
	struct edit *edit;
	int r;

	if (strcmp(op->name, "INBOX") == 0)
		return ps_fail(PS_E_INVALID, "INBOX is not renamed");
	if ((r = ps_plan_find_box(&plan->p, op->name, &box)) < 0 || (r = free_name(plan, op->new_name, to)) < 0 ||
	    (r = dir_of_name(plan->w.store->tree, op->name, from)) < 0 ||
	    (r = write_edit_box(&plan->w, &box, &edit)) < 0)
		return r;
	redirect_unlinks(plan, from, to);
	if ((r = layout_rename(plan, from, to)) < 0)
		return r;
	memcpy(edit->e.box.name, op->new_name, strlen(op->new_name) + 1);
	result->modseq = ps_plan_modseq(&plan->p);
	edit->e.box.highest_modseq = result->modseq;
	return ps_index_box_put(plan->w.txn, &edit->e.box); /* the next operation may want the old name */
}

static int plan_delete(struct plan *plan, const struct ps_op *op, struct ps_op_result *result)
{
	struct ps_index_box box;
	char dir[NAME_SIZE];
	const char *aside;
	int r;

	if (strcmp(op->name, "INBOX") == 0)
		return ps_fail(PS_E_INVALID, "INBOX is not deleted");
	if ((r = ps_plan_find_box(&plan->p, op->name, &box)) < 0 ||
	    (r = dir_of_name(plan->w.store->tree, op->name, dir)) < 0)
		return r;
	for (struct ps_edit *edit = plan->w.edits; edit; edit = edit->next)
		if (edit->box.key == box.key)
			edit->removed = true;
	aside = aside_name(plan);
	redirect_unlinks(plan, dir, ps_pool_printf(plan->p.pool, ASIDE_PATH "/%s", aside));
	if ((r = layout_delete(plan, dir, aside)) < 0)
		return r;
	result->modseq = ps_plan_modseq(&plan->p);
	return ps_index_box_remove(plan->w.txn, box.key);
}

static int plan_attributes(struct plan *plan, const struct ps_op *op, struct ps_op_result *result)
{
	uint32_t uses = op->attributes & PS_MBOX_SPECIAL_USES, old;
	struct ps_index_box box;
	char dir[NAME_SIZE];
	struct edit *edit;
	struct step *step;
	uint32_t n;
	int r;

	if ((r = ps_plan_find_box(&plan->p, op->name, &box)) < 0 ||
	    (r = dir_of_name(plan->w.store->tree, op->name, dir)) < 0 ||
	    (r = write_edit_box(&plan->w, &box, &edit)) < 0)
		return r;
	old = edit->state.special_uses;
	n = steps_dir(&plan->steps, dir, NULL, PLACE_CUR);
	step = steps_add(&plan->steps, STEP_STATE, n, NULL, n, NULL);
	step->data = ps_bytes(ps_pool_memdup(plan->p.pool, &uses, sizeof uses), sizeof uses);
	step->old = ps_bytes(ps_pool_memdup(plan->p.pool, &old, sizeof old), sizeof old);
	edit->e.box.attributes = PS_MBOX_EXISTS | uses;
	result->modseq = ps_plan_modseq(&plan->p);
	edit->e.box.highest_modseq = result->modseq;
	return 0;
}

static struct identity *add_identity(struct plan *plan, const struct mailbox_state *state)
{
	struct identity *identity = PS_NEW(plan->p.pool, struct identity);

	identity->id = state->id;
	identity->uid_validity = state->uid_validity;
	return identity;
}

/* The mailbox is empty. The index knows it under another key then, and nothing of what was kept under the old one. */
static int change_key(struct plan *plan, struct edit *edit, const struct identity *identity)
{
	uint64_t key = ps_catalogue_key(&identity->id);
	struct stat st;
	int r;

	/* UIDs of removed messages, which would be another's now. */
	if (fstatat(edit->folder->dir_fd, UIDLIST_FILE, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    (r = uidlist_replace(edit->folder->dir_fd, ps_bytes("", 0))) < 0)
		return r;
	if (key != edit->e.box.key && (r = ps_index_box_remove(plan->w.txn, edit->e.box.key)) < 0)
		return r;
	edit->e.keywords.changed = edit->e.keywords.changed || key != edit->e.box.key;
	edit->e.box.key = key;
	edit->e.box.id = identity->id;
	edit->e.box.uid_validity = identity->uid_validity;
	return 0;
}

static int plan_identity(struct plan *plan, const struct ps_op *op, struct ps_op_result *result)
{
	struct identity *now, *old;
	struct ps_index_box box;
	char dir[NAME_SIZE];
	struct edit *edit;
	struct step *step;
	uint32_t n, seen;
	bool same;
	int r;

	if ((r = ps_plan_find_box(&plan->p, op->name, &box)) < 0 ||
	    (r = dir_of_name(plan->w.store->tree, op->name, dir)) < 0 ||
	    (r = ps_plan_free_id(&plan->p, &op->mailbox_id, box.key)) < 0 ||
	    (r = write_edit_box(&plan->w, &box, &edit)) < 0)
		return r;
	old = add_identity(plan, &edit->state);
	now = add_identity(plan, &edit->state);
	if (!ps_catalogue_is_none(&op->mailbox_id))
		now->id = op->mailbox_id;
	if (op->uid_validity)
		now->uid_validity = op->uid_validity;
	same = memcmp(now, old, sizeof *now) == 0;
	if (!same && edit->e.box.messages > 0)
		return ps_fail(PS_E_INVALID, "mailbox %s is not empty", op->name);
	if ((r = ps_catalogue_uid_validity(&plan->w, now->uid_validity, &seen)) < 0 ||
	    (!same && (r = change_key(plan, edit, now)) < 0))
		return r;
	if (op->uid_next > edit->e.box.uid_next)
		edit->e.box.uid_next = op->uid_next;
	now->uid_reserved = edit->e.box.uid_next;
	edit->copied = true;
	n = steps_dir(&plan->steps, dir, NULL, PLACE_CUR);
	step = steps_add(&plan->steps, STEP_STATE, n, NULL, n, NULL);
	step->data = ps_bytes(now, sizeof *now);
	step->old = ps_bytes(old, sizeof *old);
	result->modseq = ps_plan_modseq(&plan->p);
	result->uid_validity = edit->e.box.uid_validity;
	if ((r = ps_index_vanished_forget(plan->w.txn, &edit->e.box, result->modseq)) < 0)
		return r;
	return ps_index_box_put(plan->w.txn, &edit->e.box); /* the next operation may look for the id */
}

/* ---- subscriptions --------------------------------------------------------------------------- */

int plan_name_fits(struct ps_store *store, const char *name)
{
	char dir[NAME_SIZE];

	return dir_of_name(store->tree, name, dir);
}

int plan_write_subscriptions(struct ps_plan *base, struct ps_bytes names)
{
	struct plan *plan = plan_of(base);
	struct ps_buf text = {0};
	const char *aside = aside_name(plan);
	int r;

	plan->removals =
		ps_pool_grow(plan->p.pool, plan->removals, plan->removal_count, &plan->removal_cap, sizeof(char *));
	plan->removals[plan->removal_count++] = ps_pool_printf(plan->p.pool, "%s.old", aside);
	r = subscriptions_format(plan->w.store, names, &text);
	if (r == 0)
		r = ps_io_replace(plan->w.store->cat.aside_fd, aside, ps_buf_view(&text));
	ps_buf_finish(&text);
	if (r == 0)
		steps_add(&plan->steps, STEP_REPLACE, aside_dir(plan), aside, root_dir(plan), "subscriptions");
	return r;
}

int plan_mailbox_op(struct ps_plan *plan, const struct ps_op *op, struct ps_op_result *result)
{
	static int (*const ops[])(struct plan *, const struct ps_op *, struct ps_op_result *) = {
		[PS_OP_CREATE] = plan_create,         [PS_OP_RENAME] = plan_rename,     [PS_OP_DELETE] = plan_delete,
		[PS_OP_ATTRIBUTES] = plan_attributes, [PS_OP_IDENTITY] = plan_identity,
	};

	return ops[op->kind](plan_of(plan), op, result);
}
