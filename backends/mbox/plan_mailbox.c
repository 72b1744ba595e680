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

static int find_box(struct plan *plan, const char *name, struct ps_index_box *ret_box)
{
	int r;

	for (struct ps_edit *edit = plan->w.t.edits; edit; edit = edit->next)
		if (!edit->removed && strcmp(edit->box.name, name) == 0) {
			*ret_box = edit->box;
			return 0;
		}
	r = ps_index_box_find(plan->w.t.txn, name, ret_box);
	return r == PS_E_NOTFOUND ? ps_fail(PS_E_NOTFOUND, "no mailbox %s", name) : r;
}

/* A free name and its file. */
static int free_name(struct plan *plan, const char *name, char ret_path[PATH_SIZE])
{
	struct ps_index_box box;
	struct stat st;
	int r = strlen(name) > PS_INDEX_NAME_MAX ? ps_fail(PS_E_LIMIT, "a mailbox name that is too long")
						 : find_box(plan, name, &box);

	if (r == 0)
		return ps_fail(PS_E_EXISTS, "the mailbox %s exists", name);
	if (r != PS_E_NOTFOUND || (r = path_of_name(plan->w.t.store, name, ret_path)) < 0)
		return r;
	if (fstatat(plan->w.t.store->cat.root_fd, ret_path, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISREG(st.st_mode))
		return ps_fail(PS_E_INVALID, "%s is a directory, and cannot hold messages", ret_path);
	return 0;
}

/* No mailbox but `mine` (0: none) has it. */
static int free_id(struct plan *plan, const struct ps_id *id, uint64_t mine)
{
	uint64_t key = ps_catalogue_key(id);
	struct ps_index_box box;
	int r;

	if (ps_catalogue_is_none(id) || key == mine)
		return 0;
	for (struct ps_edit *edit = plan->w.t.edits; edit; edit = edit->next)
		if (!edit->removed && edit->box.key == key)
			return ps_fail(PS_E_EXISTS, "another mailbox has that id");
	r = ps_index_box(plan->w.t.txn, key, &box);
	if (r == 0)
		return ps_fail(PS_E_EXISTS, "another mailbox has that id");
	return r == PS_E_NOTFOUND ? 0 : r;
}

static int plan_create(struct plan *plan, const struct ps_op *op, struct ps_op_result *result)
{
	struct ps_index_box box = {.id = ps_catalogue_is_none(&op->mailbox_id) ? ps_catalogue_new_id() : op->mailbox_id,
				   .attributes = PS_MBOX_EXISTS | (op->attributes & PS_MBOX_SPECIAL_USES),
				   .uid_next = 1};
	char path[PATH_SIZE];
	struct edit *edit;
	int r = free_name(plan, op->name, path);

	if (r < 0 || (r = free_id(plan, &op->mailbox_id, 0)) < 0 ||
	    (r = ps_catalogue_uid_validity(&plan->w.t, op->uid_validity, &box.uid_validity)) < 0 ||
	    (r = tree_make_parents(plan->w.t.store, path)) < 0)
		return r;
	box.key = ps_catalogue_key(&box.id);
	box.highest_modseq = box.vanished_since = plan_modseq(plan);
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
	if ((r = find_box(plan, op->name, &box)) < 0 || (r = free_name(plan, op->new_name, path)) < 0 ||
	    (r = write_edit_box(&plan->w, &box, &edit)) < 0 || (r = tree_make_parents(plan->w.t.store, path)) < 0)
		return r;
	steps_add(&plan->w, STEP_RENAME, edit->path, path);
	edit->path = ps_pool_strdup(plan->w.t.pool, path);
	edit->renamed = true;
	memcpy(edit->e.box.name, op->new_name, strlen(op->new_name) + 1);
	result->modseq = edit->e.box.highest_modseq = plan_modseq(plan);
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
	if ((r = find_box(plan, op->name, &box)) < 0 || (r = write_edit_box(&plan->w, &box, &edit)) < 0)
		return r;
	steps_add(&plan->w, STEP_RENAME, edit->path, aside_path(plan, aside));
	leave_aside(&plan->w, aside);
	edit->e.removed = true;
	result->modseq = plan_modseq(plan);
	return ps_index_box_remove(plan->w.t.txn, box.key);
}

static int plan_attributes(struct plan *plan, const struct ps_op *op, struct ps_op_result *result)
{
	struct ps_index_box box;
	struct edit *edit;
	int r;

	if ((r = find_box(plan, op->name, &box)) < 0 || (r = write_edit_box(&plan->w, &box, &edit)) < 0)
		return r;
	edit->e.box.attributes = PS_MBOX_EXISTS | (op->attributes & PS_MBOX_SPECIAL_USES);
	edit->pseudo_changed = true;
	result->modseq = edit->e.box.highest_modseq = plan_modseq(plan);
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

	if ((r = find_box(plan, op->name, &box)) < 0 || (r = free_id(plan, &op->mailbox_id, box.key)) < 0 ||
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
	result->modseq = plan_modseq(plan);
	result->uid_validity = edit->e.box.uid_validity;
	if ((r = ps_index_vanished_forget(plan->w.t.txn, &edit->e.box, result->modseq)) < 0)
		return r;
	return ps_index_box_put(plan->w.t.txn, &edit->e.box); /* the next operation may look for the id */
}

/* ---- subscriptions --------------------------------------------------------------------------- */

static void drop_name(struct ps_buf *names, const char *name)
{
	size_t size = strlen(name) + 1, at = 0;

	while (at < names->len) {
		size_t len = strlen((const char *)names->ptr + at) + 1;

		if (len == size && memcmp(names->ptr + at, name, size) == 0) {
			memmove(names->ptr + at, names->ptr + at + len, names->len - at - len);
			names->len -= len;
			return;
		}
		at += len;
	}
}

static int plan_subscribe(struct plan *plan, const struct ps_op *op, struct ps_op_result *result)
{
	char path[PATH_SIZE];
	int r;

	(void)result;
	if ((r = path_of_name(plan->w.t.store, op->name, path)) < 0)
		return r;
	if (!plan->subscriptions_loaded && (r = subscriptions_read(plan->w.t.store, &plan->subscriptions)) < 0)
		return r;
	plan->subscriptions_loaded = true;
	if (ps_indexed_is_subscribed(ps_buf_view(&plan->subscriptions), op->name) == op->subscribed)
		return 0;
	plan->subscriptions_changed = true;
	if (op->subscribed)
		return ps_buf_append(&plan->subscriptions, op->name, strlen(op->name) + 1);
	drop_name(&plan->subscriptions, op->name);
	return 0;
}

/* One step for all that a batch changes in the file. */
int plan_subscriptions(struct plan *plan)
{
	const char *aside = aside_name(plan->w.t.pool);
	struct ps_buf text = {0};
	int r;

	if (!plan->subscriptions_changed)
		return 0;
	leave_aside(&plan->w, aside);
	r = subscriptions_format(plan->w.t.store, ps_buf_view(&plan->subscriptions), &text);
	if (r == 0)
		r = ps_io_replace(plan->w.t.store->cat.aside_fd, aside, ps_buf_view(&text));
	ps_buf_finish(&text);
	if (r < 0)
		return r;
	steps_add(&plan->w, STEP_REPLACE, aside_path(plan, aside), SUBSCRIBED)->kept = aside_name(plan->w.t.pool);
	plan->subscriptions_changed = false;
	return ps_indexed_subscriptions_put(plan->w.t.txn, ps_buf_view(&plan->subscriptions));
}

int plan_mailbox_op(struct plan *plan, const struct ps_op *op, struct ps_op_result *result)
{
	static int (*const ops[])(struct plan *, const struct ps_op *, struct ps_op_result *) = {
		[PS_OP_CREATE] = plan_create,         [PS_OP_RENAME] = plan_rename,
		[PS_OP_DELETE] = plan_delete,         [PS_OP_SUBSCRIBE] = plan_subscribe,
		[PS_OP_ATTRIBUTES] = plan_attributes, [PS_OP_IDENTITY] = plan_identity,
	};

	return ops[op->kind](plan, op, result);
}
