/* SPDX-License-Identifier: MIT */
/*
 * Each batch works on a draft of the next version, which is published when all of its operations went well.
 */
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>
#include "backends/memory/memory_private.h"

struct draft {
	struct version *version;
	bool *own; /* per mailbox: whether it is a copy of this draft's */
	const struct ps_batch *batch;
	uint64_t modseq; /* the batch's; 0: nothing has changed yet */
};

/* The place of an operation's mailbox in the draft, which may be changed then. */
static int draft_box(struct draft *draft, const struct ps_mbox *mbox, struct box **ret_box)
{
	ptrdiff_t at = version_find_id(draft->version, &mbox->id);

	if (at < 0)
		return ps_fail(PS_E_GONE, "the mailbox was deleted");
	*ret_box = draft->version->boxes[at];
	return 0;
}

static struct box *make_own(struct draft *draft, struct box *box)
{
	ptrdiff_t at = version_find_id(draft->version, &box->id);

	if (draft->own[at])
		return box;
	draft->version->boxes[at] = box_copy(box);
	draft->own[at] = true;
	box_unref(box);
	return draft->version->boxes[at];
}

static uint64_t batch_modseq(struct draft *draft)
{
	struct version *version = draft->version;

	if (draft->modseq == 0) {
		draft->modseq = version->modseq + 1;
		if (draft->batch->modseq > draft->modseq)
			draft->modseq = draft->batch->modseq;
		version->modseq = draft->modseq;
	}
	return draft->modseq;
}

static uint64_t note_change(struct draft *draft, struct box *box)
{
	box->highest_modseq = batch_modseq(draft);
	return box->highest_modseq;
}

static struct ps_id new_id(void)
{
	struct ps_id id;

	while (getrandom(&id, sizeof id, 0) != (ssize_t)sizeof id)
		;
	return id;
}

static bool is_zero(const struct ps_id *id)
{
	static const struct ps_id zero;

	return memcmp(id, &zero, sizeof zero) == 0;
}

/* ---- helpers ------------------------------------------------------------------------------- */

static bool in_ranges(const struct ps_op *op, uint32_t uid)
{
	size_t low = 0, high = op->uid_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (op->uids[middle].last < uid)
			low = middle + 1;
		else
			high = middle;
	}
	return low < op->uid_count && op->uids[low].first <= uid;
}

static void add_uid(struct ps_pool *pool, struct ps_range **ranges, size_t *count, uint32_t uid)
{
	size_t cap = 8;

	if (*count > 0 && (*ranges)[*count - 1].last + 1 == uid) {
		(*ranges)[*count - 1].last = uid;
		return;
	}
	while (cap < *count)
		cap *= 2;
	if (*count == 0)
		*ranges = PS_NEWV(pool, struct ps_range, cap);
	else if (*count == cap)
		*ranges = ps_pool_grow(pool, *ranges, *count, &cap, sizeof **ranges);
	(*ranges)[(*count)++] = (struct ps_range){uid, uid};
}

/* `add`: unknown names get a bit; else they are left out. */
static int keyword_mask(struct box *box, const char *const *names, bool add, uint64_t *ret_mask)
{
	uint64_t mask = 0;

	for (; names && *names; names++) {
		int bit = ps_keyword_bit((const char *const *)box->keywords, box->keyword_count, *names);

		if (bit < 0 && !add)
			continue;
		if (bit < 0 && box->keyword_count == PS_KEYWORDS_MAX)
			return ps_fail(PS_E_LIMIT, "mailbox %s has %d keywords already", box->name, PS_KEYWORDS_MAX);
		if (bit < 0) {
			bit = (int)box->keyword_count;
			box->keywords[box->keyword_count++] = ps_strdup(*names);
		}
		mask |= UINT64_C(1) << bit;
	}
	*ret_mask = mask;
	return 0;
}

static int add_row(struct box *box, struct ps_row row, struct message *message)
{
	if (box->uid_next == UINT32_MAX)
		return ps_fail(PS_E_LIMIT, "mailbox %s has no UIDs left", box->name);
	if (box->row_count == box->row_cap) {
		box->row_cap = box->row_cap ? box->row_cap * 2 : 8;
		box->rows = ps_realloc(box->rows, box->row_cap * sizeof *box->rows);
	}
	box->rows[box->row_count++] = (struct row){row, message_ref(message)};
	box->uid_next = row.uid + 1;
	return 0;
}

static void add_gone(struct box *box, uint32_t uid, uint64_t modseq)
{
	if (box->gone_count == box->gone_cap) {
		box->gone_cap = box->gone_cap ? box->gone_cap * 2 : 8;
		box->gone = ps_realloc(box->gone, box->gone_cap * sizeof *box->gone);
	}
	box->gone[box->gone_count++] = (struct gone){uid, modseq};
}

/* ---- operations on messages ---------------------------------------------------------------- */

static int op_append(struct draft *draft, const struct ps_op *op, struct ps_op_result *result)
{
	struct message *message;
	struct ps_row row = {.uid = op->uid, .flags = op->flags & PS_FLAG_ALL, .internal_date = op->internal_date};
	struct box *box;
	int r = draft_box(draft, op->mbox, &box);

	if (r < 0)
		return r;
	box = make_own(draft, box);
	if (row.uid == 0)
		row.uid = box->uid_next;
	if (row.uid < box->uid_next || row.uid == UINT32_MAX)
		return ps_fail(PS_E_INVALID, "UID %u, where %u is the next", row.uid, box->uid_next);
	if ((r = keyword_mask(box, op->keywords, true, &row.keywords)) < 0)
		return r;
	row.save_date = op->save_date ? op->save_date : time(NULL);
	row.email_id = is_zero(&op->email_id) ? new_id() : op->email_id;
	row.size = op->size ? op->size : op->staged->octets.len;
	result->modseq = note_change(draft, box);
	if (op->modseq > result->modseq)
		return ps_fail(PS_E_INVALID, "a modseq above the batch's");
	row.modseq = op->modseq ? op->modseq : result->modseq;
	message = message_create(&op->staged->octets, op->cache);
	r = add_row(box, row, message);
	message_unref(message);
	if (r < 0)
		return r;
	add_uid(draft->batch->pool, &result->new_uids, &result->new_count, row.uid);
	result->uid_validity = box->uid_validity;
	return 0;
}

static int op_flags(struct draft *draft, const struct ps_op *op, struct ps_op_result *result)
{
	bool have_keywords = false;
	uint64_t keywords = 0;
	struct box *box;
	int r = draft_box(draft, op->mbox, &box);

	if (r < 0)
		return r;
	box = make_own(draft, box);
	for (size_t i = 0; i < box->row_count; i++) {
		struct ps_row *row = &box->rows[i].row, after = *row;

		if (!in_ranges(op, row->uid))
			continue;
		if (row->modseq > op->unchanged_since) {
			add_uid(draft->batch->pool, &result->modified, &result->modified_count, row->uid);
			continue;
		}
		/* Not before there is a message that gets them: a keyword that none has needs no bit. */
		if (!have_keywords &&
		    (r = keyword_mask(box, op->keywords, op->flag_mode != PS_FLAGS_REMOVE, &keywords)) < 0)
			return r;
		have_keywords = true;
		ps_row_change_flags(&after, op->flag_mode, op->flags, keywords);
		if (after.flags == row->flags && after.keywords == row->keywords)
			continue;
		if (!result->modseq)
			result->modseq = note_change(draft, box);
		after.modseq = result->modseq;
		*row = after;
	}
	return 0;
}

/* Takes out the rows that `op` means. */
static void remove_rows(struct draft *draft, const struct ps_op *op, struct box *box, bool only_deleted,
			uint64_t *modseq)
{
	size_t n = 0;

	for (size_t i = 0; i < box->row_count; i++) {
		struct row *row = &box->rows[i];

		if (!in_ranges(op, row->row.uid) || (only_deleted && !(row->row.flags & PS_FLAG_DELETED))) {
			box->rows[n++] = *row;
			continue;
		}
		if (!*modseq)
			*modseq = note_change(draft, box);
		box->highest_modseq = *modseq;
		add_gone(box, row->row.uid, *modseq);
		message_unref(row->message);
	}
	box->row_count = n;
}

static int op_expunge(struct draft *draft, const struct ps_op *op, struct ps_op_result *result)
{
	struct box *box;
	int r = draft_box(draft, op->mbox, &box);

	if (r < 0)
		return r;
	remove_rows(draft, op, make_own(draft, box), op->only_deleted, &result->modseq);
	return 0;
}

/* The same keywords, as the other mailbox numbers them. */
static int translate_keywords(const struct box *from, uint64_t mask, struct box *to, uint64_t *ret_mask)
{
	const char *names[PS_KEYWORDS_MAX + 1];
	size_t n = 0;

	for (size_t i = 0; i < from->keyword_count; i++)
		if (mask & (UINT64_C(1) << i))
			names[n++] = from->keywords[i];
	names[n] = NULL;
	return keyword_mask(to, names, true, ret_mask);
}

static int copy_row(struct draft *draft, const struct box *from, struct row row, struct box *to,
		    struct ps_op_result *result)
{
	struct ps_pool *pool = draft->batch->pool;
	struct ps_row copy = row.row;
	int r;

	if (!result->modseq)
		result->modseq = note_change(draft, to);
	copy.uid = to->uid_next;
	copy.modseq = result->modseq;
	copy.save_date = time(NULL);
	if ((r = translate_keywords(from, row.row.keywords, to, &copy.keywords)) < 0 ||
	    (r = add_row(to, copy, row.message)) < 0)
		return r;
	add_uid(pool, &result->old_uids, &result->old_count, row.row.uid);
	add_uid(pool, &result->new_uids, &result->new_count, copy.uid);
	return 0;
}

static int op_copy(struct draft *draft, const struct ps_op *op, struct ps_op_result *result)
{
	struct box *from, *to;
	size_t count;
	int r;

	if ((r = draft_box(draft, op->target, &to)) < 0)
		return r;
	to = make_own(draft, to);
	if ((r = draft_box(draft, op->mbox, &from)) < 0)
		return r;
	result->uid_validity = to->uid_validity;
	count = from->row_count; /* not those that this operation adds */
	for (size_t i = 0; i < count; i++)
		if (in_ranges(op, from->rows[i].row.uid) && (r = copy_row(draft, from, from->rows[i], to, result)) < 0)
			return r;
	return 0;
}

static int op_move(struct draft *draft, const struct ps_op *op, struct ps_op_result *result)
{
	struct ps_op old = *op;
	struct box *from;
	int r = op_copy(draft, op, result);

	if (r < 0 || (r = draft_box(draft, op->mbox, &from)) < 0)
		return r;
	if (!result->modseq)
		return 0;
	old.uids = result->old_uids;
	old.uid_count = result->old_count;
	remove_rows(draft, &old, make_own(draft, from), false, &result->modseq);
	return 0;
}

/* ---- operations on mailboxes --------------------------------------------------------------- */

static uint32_t new_validity(const struct version *version)
{
	time_t now = time(NULL);

	return (uint32_t)now > version->last_validity ? (uint32_t)now : version->last_validity + 1;
}

static int op_create(struct draft *draft, const struct ps_op *op, struct ps_op_result *result)
{
	struct version *version = draft->version;
	struct box *box;

	if (version_find_name(version, op->name) >= 0)
		return ps_fail(PS_E_EXISTS, "mailbox %s exists", op->name);
	if (!is_zero(&op->mailbox_id) && version_find_id(version, &op->mailbox_id) >= 0)
		return ps_fail(PS_E_EXISTS, "another mailbox has the id that %s is to get", op->name);
	box = box_create(op->name);
	if (!is_zero(&op->mailbox_id))
		box->id = op->mailbox_id;
	box->special_uses = op->attributes & PS_MBOX_SPECIAL_USES;
	box->uid_validity = op->uid_validity ? op->uid_validity : new_validity(version);
	if (box->uid_validity > version->last_validity)
		version->last_validity = box->uid_validity;
	version->boxes = ps_realloc(version->boxes, (version->box_count + 1) * sizeof(struct box *));
	draft->own = ps_realloc(draft->own, version->box_count + 1);
	draft->own[version->box_count] = true;
	version->boxes[version->box_count++] = box;
	result->uid_validity = box->uid_validity;
	result->modseq = note_change(draft, box);
	return 0;
}

static int find_name(const struct draft *draft, const char *name, struct box **ret_box)
{
	ptrdiff_t at = version_find_name(draft->version, name);

	if (at < 0)
		return ps_fail(PS_E_NOTFOUND, "mailbox %s does not exist", name);
	*ret_box = draft->version->boxes[at];
	return 0;
}

static int find_but_inbox(const struct draft *draft, const char *name, struct box **ret_box)
{
	if (strcmp(name, "INBOX") == 0)
		return ps_fail(PS_E_INVALID, "INBOX stays");
	return find_name(draft, name, ret_box);
}

static int op_rename(struct draft *draft, const struct ps_op *op, struct ps_op_result *result)
{
	struct box *box;
	int r = find_but_inbox(draft, op->name, &box);

	if (r < 0)
		return r;
	if (version_find_name(draft->version, op->new_name) >= 0)
		return ps_fail(PS_E_EXISTS, "mailbox %s exists", op->new_name);
	box = make_own(draft, box);
	free(box->name);
	box->name = ps_strdup(op->new_name);
	result->modseq = note_change(draft, box);
	return 0;
}

static int op_delete(struct draft *draft, const struct ps_op *op, struct ps_op_result *result)
{
	struct version *version = draft->version;
	struct box *box;
	size_t last = version->box_count - 1;
	ptrdiff_t at;
	int r = find_but_inbox(draft, op->name, &box);

	if (r < 0)
		return r;
	at = version_find_id(version, &box->id);
	version->boxes[at] = version->boxes[last];
	draft->own[at] = draft->own[last];
	version->box_count = last;
	box_unref(box);
	result->modseq = batch_modseq(draft);
	return 0;
}

static int op_subscribe(struct draft *draft, const struct ps_op *op, struct ps_op_result *result)
{
	struct version *version = draft->version;
	size_t n = 0;

	(void)result;
	for (size_t i = 0; i < version->subscribed_count; i++) {
		if (strcmp(version->subscribed[i], op->name) == 0)
			free(version->subscribed[i]);
		else
			version->subscribed[n++] = version->subscribed[i];
	}
	if (op->subscribed) {
		version->subscribed = ps_realloc(version->subscribed, (n + 1) * sizeof(char *));
		version->subscribed[n++] = ps_strdup(op->name);
	}
	version->subscribed_count = n;
	return 0;
}

static int op_attributes(struct draft *draft, const struct ps_op *op, struct ps_op_result *result)
{
	struct box *box;
	int r = find_name(draft, op->name, &box);

	if (r < 0)
		return r;
	box = make_own(draft, box);
	box->special_uses = op->attributes & PS_MBOX_SPECIAL_USES;
	result->modseq = note_change(draft, box);
	return 0;
}

static bool is_new_identity(const struct box *box, const struct ps_op *op)
{
	return (op->uid_validity && op->uid_validity != box->uid_validity) ||
	       (!is_zero(&op->mailbox_id) && memcmp(&op->mailbox_id, &box->id, sizeof box->id) != 0);
}

static int op_identity(struct draft *draft, const struct ps_op *op, struct ps_op_result *result)
{
	struct version *version = draft->version;
	struct box *box;
	ptrdiff_t other;
	int r = find_name(draft, op->name, &box);

	if (r < 0)
		return r;
	other = is_zero(&op->mailbox_id) ? -1 : version_find_id(version, &op->mailbox_id);
	if (other >= 0 && version->boxes[other] != box)
		return ps_fail(PS_E_EXISTS, "another mailbox has the id that %s is to get", op->name);
	if (is_new_identity(box, op) && box->row_count > 0)
		return ps_fail(PS_E_INVALID, "mailbox %s is not empty", op->name);
	box = make_own(draft, box);
	if (!is_zero(&op->mailbox_id))
		box->id = op->mailbox_id;
	if (op->uid_validity)
		box->uid_validity = op->uid_validity;
	if (box->uid_validity > version->last_validity)
		version->last_validity = box->uid_validity;
	if (op->uid_next > box->uid_next)
		box->uid_next = op->uid_next;
	box->gone_count = 0;
	result->uid_validity = box->uid_validity;
	result->modseq = box->vanished_since = note_change(draft, box);
	return 0;
}

/* ---- tokens -------------------------------------------------------------------------------- */

static bool has_token(struct mail *mail, struct ps_bytes token)
{
	struct token **at = &mail->tokens;
	time_t oldest = time(NULL) - PS_TOKEN_SECONDS;

	while (*at && (*at)->when >= oldest) {
		if (ps_bytes_eq(ps_bytes((*at)->octets, (*at)->len), token))
			return true;
		at = &(*at)->next;
	}
	while (*at) { /* from here on they are too old */
		struct token *old = *at;

		*at = old->next;
		free(old);
	}
	return false;
}

static void keep_token(struct mail *mail, struct ps_bytes token)
{
	struct token *kept = ps_zalloc(sizeof *kept);

	kept->when = time(NULL);
	kept->len = token.len;
	memcpy(kept->octets, token.ptr, token.len);
	kept->next = mail->tokens;
	mail->tokens = kept;
}

/* ---- commit -------------------------------------------------------------------------------- */

static int (*const operations[])(struct draft *draft, const struct ps_op *op, struct ps_op_result *result) = {
	[PS_OP_APPEND] = op_append,       [PS_OP_FLAGS] = op_flags,
	[PS_OP_EXPUNGE] = op_expunge,     [PS_OP_COPY] = op_copy,
	[PS_OP_MOVE] = op_move,           [PS_OP_CREATE] = op_create,
	[PS_OP_RENAME] = op_rename,       [PS_OP_DELETE] = op_delete,
	[PS_OP_SUBSCRIBE] = op_subscribe, [PS_OP_ATTRIBUTES] = op_attributes,
	[PS_OP_IDENTITY] = op_identity,
};

static int run_batch(struct draft *draft, struct ps_batch *batch)
{
	int r = 0;

	for (size_t i = 0; i < batch->count && r == 0; i++) {
		batch->err_op = i;
		r = operations[batch->ops[i].kind](draft, &batch->ops[i], &batch->results[i]);
	}
	for (size_t i = 0; i < draft->version->box_count; i++)
		if (draft->own[i])
			box_count(draft->version->boxes[i]);
	return r;
}

static void publish(struct mail *mail, struct version *version)
{
	struct version *old;

	pthread_mutex_lock(&mail->lock);
	old = mail->version;
	mail->version = version;
	pthread_mutex_unlock(&mail->lock);
	version_unref(old);
}

void memory_apply(struct mail *mail, struct ps_batch *batch)
{
	struct draft draft = {.version = version_copy(mail->version), .batch = batch};

	draft.own = ps_zalloc(draft.version->box_count);
	batch->err = run_batch(&draft, batch);
	if (batch->err) {
		memset(batch->results, 0, batch->count * sizeof *batch->results);
		version_unref(draft.version);
	} else {
		publish(mail, draft.version);
	}
	free(draft.own);
}

static void commit_batch(struct mail *mail, struct ps_batch *batch)
{
	batch->repeated = batch->token.len > 0 && has_token(mail, batch->token);
	batch->err = 0;
	if (batch->token.len > PS_TOKEN_MAX)
		batch->err = ps_fail(PS_E_INVALID, "a token of %zu octets", batch->token.len);
	else if (!batch->repeated)
		memory_apply(mail, batch);
	if (batch->err == 0 && batch->token.len > 0 && !batch->repeated)
		keep_token(mail, batch->token);
}

static void drop_staged(const struct ps_batch *batch)
{
	for (size_t i = 0; i < batch->count; i++) {
		if (batch->ops[i].staged) {
			ps_buf_finish(&batch->ops[i].staged->octets);
			free(batch->ops[i].staged);
		}
	}
}

int memory_commit(struct ps_store *store, struct ps_batch *const *batches, size_t count)
{
	struct mail *mail = store->mail;
	int r = 0;

	pthread_mutex_lock(&mail->commit_lock);
	if (store->generation != mail->generation)
		r = ps_fail(PS_E_MOVED, "the store of %s has another generation", mail->user);
	for (size_t i = 0; i < count; i++) {
		if (r == 0)
			commit_batch(mail, batches[i]);
		else
			batches[i]->err = r;
		drop_staged(batches[i]);
	}
	pthread_mutex_unlock(&mail->commit_lock);
	return r;
}
