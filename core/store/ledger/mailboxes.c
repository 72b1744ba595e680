/* SPDX-License-Identifier: MIT */
/* Operations on mailboxes. */
#include <sys/random.h>
#include <time.h>
#include "core/store/ledger/ledger_private.h"

static int new_validity(struct draft *draft, uint32_t wanted, uint32_t *ret_validity)
{
	uint64_t last, now = (uint64_t)time(NULL), validity = wanted;
	int r = ps_index_number(draft->index, "uid_validity", &last);

	if (r < 0)
		return r;
	if (validity == 0)
		validity = now > last && now <= UINT32_MAX ? now : last + 1;
	if (validity > UINT32_MAX)
		return ps_fail(PS_E_LIMIT, "no UIDVALIDITY is left");
	*ret_validity = (uint32_t)validity;
	return validity > last ? ps_index_number_put(draft->index, "uid_validity", validity) : 0;
}

struct search {
	const struct ps_id *id;
	uint64_t key; /* 0: none has it */
};

static int compare_id(void *arg, const struct ps_index_box *box)
{
	struct search *search = arg;

	if (memcmp(&box->id, search->id, sizeof box->id) == 0)
		search->key = box->key;
	return search->key != 0;
}

/* An id belongs to one mailbox. */
static int check_id(struct draft *draft, const struct ps_id *id, uint64_t key, const char *name)
{
	struct search search = {.id = id};
	int r = id_is_zero(id) ? 0 : ps_index_boxes(draft->index, compare_id, &search);

	if (r < 0)
		return r;
	if (search.key != 0 && search.key != key)
		return ps_fail(PS_E_EXISTS, "another mailbox has the id that %s is to get", name);
	return 0;
}

static int check_name(struct draft *draft, const char *name)
{
	struct ps_index_box box;
	int r = ps_index_box_find(draft->index, name, &box);

	if (strlen(name) > PS_INDEX_NAME_MAX)
		return ps_fail(PS_E_LIMIT, "a mailbox name of more than %d octets", PS_INDEX_NAME_MAX);
	if (r == 0)
		return ps_fail(PS_E_EXISTS, "mailbox %s exists", name);
	return r == PS_E_NOTFOUND ? 0 : r;
}

static int put_box(struct draft *draft, struct draft_box *box)
{
	return ps_index_box_put(draft->index, &box->box);
}

int ledger_create(struct draft *draft, const struct ps_op *op, struct ps_op_result *result)
{
	struct draft_box *box = PS_NEW(draft->pool, struct draft_box);
	int r;

	if ((r = check_name(draft, op->name)) < 0 || (r = check_id(draft, &op->mailbox_id, 0, op->name)) < 0 ||
	    (r = ps_ledger_reserve(draft->txn, 64 * PAGE)) < 0 ||
	    (r = new_validity(draft, op->uid_validity, &box->box.uid_validity)) < 0)
		return r;
	box->box.id = op->mailbox_id;
	if (id_is_zero(&box->box.id) && getrandom(&box->box.id, sizeof box->box.id, 0) != (ssize_t)sizeof box->box.id)
		return ps_fail_errno("random octets");
	box->box.attributes = op->attributes & PS_MBOX_SPECIAL_USES;
	box->box.uid_next = 1;
	box->box.vanished_since = 1;
	memcpy(box->box.name, op->name, strlen(op->name) + 1);
	if ((r = draft_note(draft, box, &result->modseq)) < 0 || (r = put_box(draft, box)) < 0)
		return r;
	box->next = draft->boxes;
	draft->boxes = box;
	result->uid_validity = box->box.uid_validity;
	return 0;
}

static int find_but_inbox(struct draft *draft, const char *name, struct draft_box **ret_box)
{
	if (strcmp(name, "INBOX") == 0)
		return ps_fail(PS_E_INVALID, "INBOX stays");
	return draft_find(draft, name, ret_box);
}

int ledger_rename(struct draft *draft, const struct ps_op *op, struct ps_op_result *result)
{
	struct draft_box *box;
	int r;

	if ((r = find_but_inbox(draft, op->name, &box)) < 0 || (r = check_name(draft, op->new_name)) < 0 ||
	    (r = draft_note(draft, box, &result->modseq)) < 0)
		return r;
	memcpy(box->box.name, op->new_name, strlen(op->new_name) + 1);
	return put_box(draft, box);
}

static int drop_body(void *arg, const struct ps_row *row, struct ps_bytes locator)
{
	struct draft *draft = arg;
	uint64_t body;
	int r = ps_ledger_locator(locator, &body);

	(void)row; /* graves and bodies are in other databases than the rows that are walked */
	return r == 0 ? draft_drop_body(draft, body) : r;
}

int ledger_delete(struct draft *draft, const struct ps_op *op, struct ps_op_result *result)
{
	struct ps_range all = {1, UINT32_MAX};
	struct draft_box *box;
	int r;

	if ((r = find_but_inbox(draft, op->name, &box)) < 0 || (r = draft_modseq(draft, &result->modseq)) < 0 ||
	    (r = ps_index_rows(draft->index, box->box.key, all, drop_body, draft)) < 0)
		return r;
	box->deleted = true;
	return ps_index_box_remove(draft->index, box->box.key);
}

int ledger_subscribe(struct draft *draft, const struct ps_op *op, struct ps_op_result *result)
{
	bool changed = false;
	int r = ps_index_subscribe(draft->index, op->name, op->subscribed, &changed);

	(void)result;
	draft->txn->changed |= changed;
	return r;
}

int ledger_attributes(struct draft *draft, const struct ps_op *op, struct ps_op_result *result)
{
	struct draft_box *box;
	int r;

	if ((r = draft_find(draft, op->name, &box)) < 0 || (r = draft_note(draft, box, &result->modseq)) < 0)
		return r;
	box->box.attributes = op->attributes & PS_MBOX_SPECIAL_USES;
	return 0;
}

static bool is_new_identity(const struct ps_index_box *box, const struct ps_op *op)
{
	return (op->uid_validity && op->uid_validity != box->uid_validity) ||
	       (!id_is_zero(&op->mailbox_id) && memcmp(&op->mailbox_id, &box->id, sizeof box->id) != 0);
}

int ledger_identity(struct draft *draft, const struct ps_op *op, struct ps_op_result *result)
{
	struct draft_box *box;
	int r;

	if ((r = draft_find(draft, op->name, &box)) < 0 ||
	    (r = check_id(draft, &op->mailbox_id, box->box.key, op->name)) < 0)
		return r;
	if (is_new_identity(&box->box, op) && box->box.messages > 0)
		return ps_fail(PS_E_INVALID, "mailbox %s is not empty", op->name);
	if (op->uid_validity && (r = new_validity(draft, op->uid_validity, &box->box.uid_validity)) < 0)
		return r;
	if (!id_is_zero(&op->mailbox_id))
		box->box.id = op->mailbox_id;
	if (op->uid_next > box->box.uid_next)
		box->box.uid_next = op->uid_next;
	if ((r = draft_note(draft, box, &result->modseq)) < 0 ||
	    (r = ps_index_vanished_forget(draft->index, &box->box, result->modseq)) < 0)
		return r;
	result->uid_validity = box->box.uid_validity;
	return put_box(draft, box); /* the next operation may look for its id */
}
