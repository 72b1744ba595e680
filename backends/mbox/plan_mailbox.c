/* SPDX-License-Identifier: MIT */
/*
 * Planning, of operations on mailboxes. A new file is made aside and its step gives it its name; a removed one is moved aside by its
 * step, and unlinked when all is done. Directories are made before, and one that stays empty harms nobody.
 */
#include "config.h"

#include <fcntl.h>
#include "backends/mbox/mbox_private.h"

static const char *aside_path(struct plan *plan, const char *name)
{
	return ps_pool_printf(plan->w.t.pool, ASIDE_DIR "/%s", name);
}

/* A free name and its file. */
static int free_name(struct plan *plan, const char *name, char ret_path[PATH_SIZE])
{
	struct stat st;
	int r = ps_plan_free_name(&plan->p, name);

	if (r < 0 || (r = path_of_name(plan->w.t.store, name, ret_path)) < 0)
		return r;
	if (fstatat(plan->w.t.store->cat.root_fd, ret_path, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISREG(st.st_mode))
		return ps_fail(PS_E_INVALID, "%s is a directory, and cannot hold messages", ret_path);
	return 0;
}

static int plan_create(struct plan *plan, const struct ps_op *op, struct ps_op_result *result)
{
	struct ps_index_box box = {.id = ps_catalogue_is_none(&op->mailbox_id) ? ps_catalogue_new_id() : op->mailbox_id,
				   .attributes = PS_MBOX_EXISTS | (op->attributes & PS_MBOX_SPECIAL_USES),
				   .uid_next = 1};
	char path[PATH_SIZE];
	struct edit *edit;
	int r = free_name(plan, op->name, path);

	if (r < 0 || (r = ps_plan_free_id(&plan->p, &op->mailbox_id, 0)) < 0 ||
	    (r = ps_catalogue_uid_validity(&plan->w.t, op->uid_validity, &box.uid_validity)) < 0 ||
	    (r = tree_make_parents(plan->w.t.store, path)) < 0)
		return r;
	box.key = ps_catalogue_key(&box.id);
	box.highest_modseq = box.vanished_since = ps_plan_modseq(&plan->p);
	memcpy(box.name, op->name, strlen(op->name) + 1);
	if ((r = write_new_edit(&plan->w, &box, path, &edit)) < 0)
		return r;
	steps_add(&plan->w, STEP_RENAME, aside_path(plan, edit->aside), path);
	result->uid_validity = box.uid_validity;
	result->modseq = box.highest_modseq;
	return ps_index_box_put(plan->w.t.txn, &edit->e.box);
}

static int plan_rename(struct plan *plan, const struct ps_op *op, struct ps_op_result *result)
{
	char path[PATH_SIZE];
	struct ps_index_box box;
	struct edit *edit;
	int r;

	if (strcmp(op->name, "INBOX") == 0)
		return ps_fail(PS_E_INVALID, "INBOX is not renamed");
	if ((r = ps_plan_find_box(&plan->p, op->name, &box)) < 0 || (r = free_name(plan, op->new_name, path)) < 0 ||
	    (r = write_edit_box(&plan->w, &box, &edit)) < 0 || (r = tree_make_parents(plan->w.t.store, path)) < 0)
		return r;
	steps_add(&plan->w, STEP_RENAME, edit->path, path);
	edit->path = ps_pool_strdup(plan->w.t.pool, path);
	edit->renamed = true;
	memcpy(edit->e.box.name, op->new_name, strlen(op->new_name) + 1);
	result->modseq = edit->e.box.highest_modseq = ps_plan_modseq(&plan->p);
	return ps_index_box_put(plan->w.t.txn, &edit->e.box); /* the next operation may want the old name */
}

static int plan_delete(struct plan *plan, const struct ps_op *op, struct ps_op_result *result)
{
	const char *aside = aside_name(plan->w.t.pool);
	struct ps_index_box box;
	struct edit *edit;
	int r;

	if (strcmp(op->name, "INBOX") == 0)
		return ps_fail(PS_E_INVALID, "INBOX is not deleted");
	if ((r = ps_plan_find_box(&plan->p, op->name, &box)) < 0 || (r = write_edit_box(&plan->w, &box, &edit)) < 0)
		return r;
	steps_add(&plan->w, STEP_RENAME, edit->path, aside_path(plan, aside));
	leave_aside(&plan->w, aside);
	edit->e.removed = true;
	result->modseq = ps_plan_modseq(&plan->p);
	return ps_index_box_remove(plan->w.t.txn, box.key);
}

static int plan_attributes(struct plan *plan, const struct ps_op *op, struct ps_op_result *result)
{
	struct ps_index_box box;
	struct edit *edit;
	int r;

	if ((r = ps_plan_find_box(&plan->p, op->name, &box)) < 0 || (r = write_edit_box(&plan->w, &box, &edit)) < 0)
		return r;
	edit->e.box.attributes = PS_MBOX_EXISTS | (op->attributes & PS_MBOX_SPECIAL_USES);
	edit->pseudo_changed = true;
	result->modseq = edit->e.box.highest_modseq = ps_plan_modseq(&plan->p);
	return 0;
}

/* The mailbox is empty. The index knows it under another key then, and nothing of what was kept under the old one. */
static int change_identity(struct plan *plan, struct edit *edit, const struct ps_id *id, uint32_t uid_validity)
{
	uint64_t key = ps_catalogue_key(id);
	int r;

	if (edit->e.box.messages > 0)
		return ps_fail(PS_E_INVALID, "mailbox %s is not empty", edit->e.box.name);
	if (key != edit->e.box.key && (r = ps_index_box_remove(plan->w.t.txn, edit->e.box.key)) < 0)
		return r;
	edit->e.keywords.changed = edit->e.keywords.changed || key != edit->e.box.key;
	edit->e.box.key = key;
	edit->e.box.id = *id;
	edit->e.box.uid_validity = uid_validity;
	/* What is expunged and still there would be new mail to the new one. */
	edit->rewrite = edit->rewrite || edit->e.box.priv[BOX_DEAD] > 0;
	return 0;
}

static int plan_identity(struct plan *plan, const struct ps_op *op, struct ps_op_result *result)
{
	struct ps_index_box box;
	struct edit *edit;
	struct ps_id id;
	uint32_t validity;
	int r;

	if ((r = ps_plan_find_box(&plan->p, op->name, &box)) < 0 ||
	    (r = ps_plan_free_id(&plan->p, &op->mailbox_id, box.key)) < 0 ||
	    (r = write_edit_box(&plan->w, &box, &edit)) < 0)
		return r;
	id = ps_catalogue_is_none(&op->mailbox_id) ? edit->e.box.id : op->mailbox_id;
	validity = op->uid_validity ? op->uid_validity : edit->e.box.uid_validity;
	if ((r = ps_catalogue_uid_validity(&plan->w.t, validity, &validity)) < 0)
		return r;
	if ((memcmp(&id, &edit->e.box.id, sizeof id) != 0 || validity != edit->e.box.uid_validity) &&
	    (r = change_identity(plan, edit, &id, validity)) < 0)
		return r;
	if (op->uid_next > edit->e.box.uid_next)
		edit->e.box.uid_next = op->uid_next;
	edit->pseudo_changed = true;
	result->modseq = ps_plan_modseq(&plan->p);
	result->uid_validity = edit->e.box.uid_validity;
	if ((r = ps_index_vanished_forget(plan->w.t.txn, &edit->e.box, result->modseq)) < 0)
		return r;
	return ps_index_box_put(plan->w.t.txn, &edit->e.box); /* the next operation may look for the id */
}

/* ---- subscriptions --------------------------------------------------------------------------- */

int plan_name_fits(struct ps_store *store, const char *name)
{
	char path[PATH_SIZE];

	return path_of_name(store, name, path);
}

int plan_write_subscriptions(struct ps_plan *base, struct ps_bytes names)
{
	struct plan *plan = plan_of(base);
	struct ps_store *store = plan->w.t.store;
	const char *aside = aside_name(plan->w.t.pool);
	struct ps_buf text = {0};
	int r;

	leave_aside(&plan->w, aside);
	r = subscriptions_format(store, names, &text);
	if (r == 0)
		r = ps_io_replace(store->cat.aside_fd, aside, ps_buf_view(&text));
	ps_buf_finish(&text);
	if (r == 0)
		steps_add(&plan->w, STEP_REPLACE, aside_path(plan, aside), SUBSCRIBED)->kept =
			aside_name(plan->w.t.pool);
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
