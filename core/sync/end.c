/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <unistd.h>
#include "core/sync/sync_private.h"

/* seteuid() rather than setuid(): the other end may belong to somebody else, and its turn comes next. */
static void act_as(uid_t uid, gid_t gid)
{
	if (geteuid() == uid && getegid() == gid)
		return;
	if (geteuid() != 0 && seteuid(0) < 0)
		abort();
	/* Going on with other rights than those asked for could give root's files to a user, or the reverse. */
	if (setegid(gid) < 0 || seteuid(uid) < 0)
		abort();
}

const struct ps_backend *sync_on(const struct ps_sync_end *end)
{
	if (end->as_owner)
		act_as(end->uid, end->gid);
	return end->ops;
}

int ps_sync_end_open(struct ps_sync_end *end, const struct ps_store_args *args)
{
	int r = sync_on(end)->open(args, &end->store);

	if (r < 0 && end->as_owner)
		act_as(0, 0);
	return r;
}

void ps_sync_end_close(struct ps_sync_end *end)
{
	if (!end->store)
		return;
	sync_on(end)->close(end->store);
	end->store = NULL;
	if (end->as_owner)
		act_as(0, 0);
}

/* ---- listing --------------------------------------------------------------------------------- */

struct listing {
	struct sync_boxes *boxes;
	struct ps_pool *pool;
};

static int take_box(void *arg, const struct ps_mailbox_info *info)
{
	struct listing *l = arg;
	struct sync_boxes *boxes = l->boxes;

	boxes->ptr = ps_pool_grow(l->pool, boxes->ptr, boxes->count, &boxes->cap, sizeof *boxes->ptr);
	boxes->ptr[boxes->count] = *info;
	boxes->ptr[boxes->count++].name = ps_pool_strdup(l->pool, info->name);
	return 0;
}

static int by_name(const void *a, const void *b)
{
	const struct ps_mailbox_info *x = a, *y = b;

	return strcmp(x->name, y->name);
}

static int list(const struct ps_sync_end *end, struct ps_pool *pool, struct sync_boxes *ret_boxes)
{
	struct sync_boxes boxes = {0};
	struct listing l = {&boxes, pool};
	struct ps_read *read;
	int r = sync_on(end)->read_begin(end->store, &read);

	if (r < 0)
		return r;
	r = sync_on(end)->list(read, take_box, &l);
	sync_on(end)->read_end(read);
	if (r < 0)
		return r;
	if (boxes.count > 0)
		qsort(boxes.ptr, boxes.count, sizeof *boxes.ptr, by_name);
	*ret_boxes = boxes;
	return 0;
}

/* 1: there was something. */
static int take_in(const struct ps_sync_end *end, struct ps_mbox *mbox)
{
	int r = sync_on(end)->stale(end->store, mbox);

	if (r <= 0)
		return r;
	r = sync_on(end)->sync(end->store, mbox);
	return r < 0 ? r : 1;
}

static int take_in_named(const struct ps_sync_end *end, const char *name)
{
	struct ps_mbox *mbox;
	int r = sync_on(end)->mailbox_open(end->store, name, &mbox);

	if (r < 0)
		return r == PS_E_NOTFOUND || r == PS_E_GONE ? 0 : r;
	r = take_in(end, mbox);
	sync_on(end)->mailbox_close(mbox);
	return r == PS_E_GONE ? 0 : r;
}

int sync_look(const struct ps_sync_end *end, struct ps_pool *pool, struct sync_boxes *ret_boxes)
{
	struct sync_boxes boxes;
	bool news = false;
	int r = take_in(end, NULL);

	if (r < 0 || (r = list(end, pool, &boxes)) < 0)
		return r;
	for (size_t i = 0; i < boxes.count; i++) {
		if (!sync_exists(&boxes.ptr[i]))
			continue;
		if ((r = take_in_named(end, boxes.ptr[i].name)) < 0)
			return r;
		news = news || r > 0;
	}
	if (news && (r = list(end, pool, &boxes)) < 0)
		return r;
	*ret_boxes = boxes;
	return 0;
}

struct ps_mailbox_info *sync_box_named(const struct sync_boxes *boxes, const char *name)
{
	struct ps_mailbox_info key = {.name = name};

	return boxes->count > 0 ? bsearch(&key, boxes->ptr, boxes->count, sizeof key, by_name) : NULL;
}

struct ps_mailbox_info *sync_box_with_id(const struct sync_boxes *boxes, const struct ps_id *id)
{
	for (size_t i = 0; i < boxes->count; i++)
		if (sync_exists(&boxes->ptr[i]) && sync_same_id(&boxes->ptr[i].id, id))
			return &boxes->ptr[i];
	return NULL;
}

bool sync_exists(const struct ps_mailbox_info *info)
{
	return info->attributes & PS_MBOX_EXISTS;
}

bool sync_same_id(const struct ps_id *a, const struct ps_id *b)
{
	return memcmp(a, b, sizeof *a) == 0;
}

/* ---- mailboxes ------------------------------------------------------------------------------- */

static int check_id(const struct ps_sync_end *end, const struct ps_mailbox_info *info, struct ps_mbox *mbox)
{
	struct ps_mailbox_info now;
	struct ps_read *read;
	bool same;
	int r = sync_on(end)->read_begin(end->store, &read);

	if (r < 0)
		return r;
	r = sync_on(end)->info(read, mbox, &now);
	same = r == 0 && sync_same_id(&now.id, &info->id);
	sync_on(end)->read_end(read);
	if (r == 0 && !same)
		r = ps_fail(PS_E_NOTFOUND, "%s: mailbox %s is another by now", end->name, info->name);
	return r == PS_E_GONE ? PS_E_NOTFOUND : r;
}

int sync_mailbox_open(const struct ps_sync_end *end, const struct ps_mailbox_info *info, struct ps_mbox **ret_mbox)
{
	struct ps_mbox *mbox;
	int r = sync_on(end)->mailbox_open(end->store, info->name, &mbox);

	if (r < 0)
		return r;
	if ((r = check_id(end, info, mbox)) < 0)
		sync_on(end)->mailbox_close(mbox);
	else
		*ret_mbox = mbox;
	return r;
}

void sync_mailbox_close(const struct ps_sync_end *end, struct ps_mbox *mbox)
{
	if (mbox)
		sync_on(end)->mailbox_close(mbox);
}
