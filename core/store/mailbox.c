/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include "core/store/column.h"
#include "core/store/mailbox.h"
#include "core/store/mount.h"
#include "core/store/view.h"
#include "postern/log.h"

/* Mailboxes that nobody uses now are kept, so many for each user: what was read of them, and their directories, which mail comes into all day. */
enum {
	UNUSED_MAX = 4
};

/* ---- keyword tables ------------------------------------------------------------------------ */

struct ps_keywords *ps_keywords_create(const char *const *names, size_t count)
{
	size_t size = sizeof(struct ps_keywords) + count * sizeof(char *);
	struct ps_keywords *keywords;
	char *text;

	for (size_t i = 0; i < count; i++)
		size += strlen(names[i]) + 1;
	keywords = ps_malloc(size);
	atomic_init(&keywords->refs, 1);
	keywords->count = count;
	text = (char *)&keywords->names[count];
	for (size_t i = 0; i < count; i++) {
		keywords->names[i] = text;
		text = stpcpy(text, names[i]) + 1;
	}
	return keywords;
}

struct ps_keywords *ps_keywords_ref(struct ps_keywords *keywords)
{
	atomic_fetch_add_explicit(&keywords->refs, 1, memory_order_relaxed);
	return keywords;
}

void ps_keywords_unref(struct ps_keywords *keywords)
{
	if (keywords && atomic_fetch_sub_explicit(&keywords->refs, 1, memory_order_acq_rel) == 1)
		free(keywords);
}

bool ps_keywords_eq(const struct ps_keywords *keywords, const char *const *names, size_t count)
{
	if (!keywords || keywords->count != count)
		return false;
	for (size_t i = 0; i < count; i++)
		if (strcmp(keywords->names[i], names[i]) != 0)
			return false;
	return true;
}

int ps_keyword_bit(const char *const *names, size_t count, const char *name)
{
	for (size_t i = 0; i < count; i++)
		if (*name && ps_strcasecmp(names[i], name) == 0)
			return (int)i;
	return -1;
}

/* ---- state --------------------------------------------------------------------------------- */

void ps_mailbox_state_finish(struct ps_mailbox_state *state)
{
	ps_snapshot_unref(state->snapshot);
	ps_keywords_unref(state->keywords);
	free(state->name);
	*state = (struct ps_mailbox_state){0};
}

int ps_mailbox_state(struct ps_mailbox *mailbox, struct ps_mailbox_state *ret_state)
{
	bool gone;

	pthread_mutex_lock(&mailbox->lock);
	gone = mailbox->gone;
	if (!gone) {
		*ret_state = mailbox->state;
		ret_state->name = ps_strdup(mailbox->state.name);
		ps_snapshot_ref(ret_state->snapshot);
		ps_keywords_ref(ret_state->keywords);
	}
	pthread_mutex_unlock(&mailbox->lock);
	return gone ? ps_fail(PS_E_GONE, "the mailbox is no more") : 0;
}

/* ---- the mailboxes of a user --------------------------------------------------------------- */

static struct ps_mailbox *mailbox_create(struct ps_user *user, struct ps_mbox *mbox, const struct ps_mailbox_info *info)
{
	struct ps_mailbox *mailbox = ps_zalloc(sizeof *mailbox);

	mailbox->user = user;
	mailbox->mbox = mbox;
	mailbox->id = info->id;
	mailbox->uid_validity = info->uid_validity;
	mailbox->refs = 1;
	pthread_mutex_init(&mailbox->pull_lock, NULL);
	pthread_mutex_init(&mailbox->lock, NULL);
	pthread_mutex_init(&mailbox->notify_lock, NULL);
	return mailbox;
}

static void mailbox_destroy(struct ps_mailbox *mailbox)
{
	mailbox->user->ops->mailbox_close(mailbox->mbox);
	ps_columns_drop(&mailbox->columns);
	ps_mailbox_state_finish(&mailbox->state);
	pthread_mutex_destroy(&mailbox->notify_lock);
	pthread_mutex_destroy(&mailbox->lock);
	pthread_mutex_destroy(&mailbox->pull_lock);
	free(mailbox);
}

/* With user->lock. */
static void unlist(struct ps_mailbox *mailbox)
{
	struct ps_mailbox **at = &mailbox->user->mailboxes;

	if (!mailbox->listed)
		return;
	while (*at != mailbox)
		at = &(*at)->next;
	*at = mailbox->next;
	mailbox->listed = false;
}

static void list_first(struct ps_mailbox *mailbox)
{
	unlist(mailbox);
	mailbox->next = mailbox->user->mailboxes;
	mailbox->user->mailboxes = mailbox;
	mailbox->listed = true;
}

static bool is_gone(struct ps_mailbox *mailbox)
{
	bool gone;

	pthread_mutex_lock(&mailbox->lock);
	gone = mailbox->gone;
	pthread_mutex_unlock(&mailbox->lock);
	return gone;
}

/* With user->lock. */
static struct ps_mailbox *find_mailbox(struct ps_user *user, const struct ps_mailbox_info *info)
{
	for (struct ps_mailbox *m = user->mailboxes; m; m = m->next)
		if (memcmp(&m->id, &info->id, sizeof m->id) == 0 && m->uid_validity == info->uid_validity &&
		    !is_gone(m))
			return m;
	return NULL;
}

/* Opens the backend's handle and asks who it is; the name in *ret_info is not valid. */
static int open_handle(struct ps_user *user, const char *name, struct ps_mbox **ret_mbox,
		       struct ps_mailbox_info *ret_info)
{
	const struct ps_backend *ops = user->ops;
	struct ps_mbox *mbox;
	struct ps_read *read;
	int r = ops->mailbox_open(user->store, name, &mbox);

	if (r == PS_E_NOTFOUND && ps_user_look(user, NULL) >= 0)
		r = ops->mailbox_open(user->store, name, &mbox);
	if (r < 0)
		return r;
	if ((r = ops->read_begin(user->store, &read)) == 0) {
		r = ops->info(read, mbox, ret_info);
		if (r == 0 && !(ret_info->attributes & PS_MBOX_EXISTS))
			r = ps_fail(PS_E_NOTFOUND, "mailbox %s does not exist", name);
		ops->read_end(read);
	}
	if (r < 0) {
		ops->mailbox_close(mbox);
		return r == PS_E_GONE ? PS_E_NOTFOUND : r;
	}
	*ret_mbox = mbox;
	return 0;
}

int ps_mailbox_open(struct ps_user *user, const char *name, struct ps_mailbox **ret_mailbox)
{
	struct ps_mailbox_info info;
	struct ps_mailbox *mailbox;
	struct ps_mbox *mbox;
	int r;

	if ((r = ps_mount_resolve(user, name, &user, &name)) < 0 || (r = open_handle(user, name, &mbox, &info)) < 0)
		return r;
	pthread_mutex_lock(&user->lock);
	mailbox = find_mailbox(user, &info);
	if (mailbox) {
		mailbox->refs++;
	} else {
		mailbox = mailbox_create(user, mbox, &info);
		mbox = NULL;
	}
	list_first(mailbox);
	pthread_mutex_unlock(&user->lock);
	if (mbox)
		user->ops->mailbox_close(mbox);
	*ret_mailbox = mailbox;
	return 0;
}

struct ps_mailbox *ps_mailbox_ref(struct ps_mailbox *mailbox)
{
	pthread_mutex_lock(&mailbox->user->lock);
	mailbox->refs++;
	pthread_mutex_unlock(&mailbox->user->lock);
	return mailbox;
}

/* With user->lock: takes out the one that was not used for longest, if there are too many. */
static struct ps_mailbox *take_surplus(struct ps_user *user)
{
	struct ps_mailbox *last = NULL;
	size_t unused = 0;

	for (struct ps_mailbox *m = user->mailboxes; m; m = m->next) {
		if (m->refs > 0)
			continue;
		unused++;
		last = m;
	}
	if (unused <= UNUSED_MAX)
		return NULL;
	unlist(last);
	return last;
}

void ps_mailbox_close(struct ps_mailbox *mailbox)
{
	struct ps_mailbox *surplus = NULL;
	struct ps_user *user;

	if (!mailbox)
		return;
	user = mailbox->user;
	pthread_mutex_lock(&user->lock);
	if (--mailbox->refs == 0) {
		if (is_gone(mailbox)) {
			unlist(mailbox);
			surplus = mailbox;
		} else {
			list_first(mailbox);
			surplus = take_surplus(user);
		}
	}
	pthread_mutex_unlock(&user->lock);
	if (surplus)
		mailbox_destroy(surplus);
}

void ps_mailboxes_destroy(struct ps_user *user)
{
	while (user->mailboxes) {
		struct ps_mailbox *mailbox = user->mailboxes;

		unlist(mailbox);
		mailbox_destroy(mailbox);
	}
}

/* ---- who is told --------------------------------------------------------------------------- */

void ps_mailbox_add_view(struct ps_mailbox *mailbox, struct ps_view *view)
{
	pthread_mutex_lock(&mailbox->notify_lock);
	view->next = mailbox->views;
	mailbox->views = view;
	atomic_fetch_add(&mailbox->view_count, 1);
	pthread_mutex_unlock(&mailbox->notify_lock);
}

void ps_mailbox_remove_view(struct ps_mailbox *mailbox, struct ps_view *view)
{
	struct ps_view **at = &mailbox->views;

	pthread_mutex_lock(&mailbox->notify_lock);
	while (*at != view)
		at = &(*at)->next;
	*at = view->next;
	atomic_fetch_sub(&mailbox->view_count, 1);
	pthread_mutex_unlock(&mailbox->notify_lock);
}

void ps_mailbox_refresh(struct ps_mailbox *mailbox, const struct ps_view *except)
{
	int r;

	if (atomic_load(&mailbox->view_count) == 0)
		return;
	r = ps_mailbox_pull(mailbox, except);
	if (r < 0 && r != PS_E_GONE)
		ps_log(PS_LOG_WARNING, "mailbox_pull_failed", "user", mailbox->user->name, "error", ps_last_error(),
		       NULL);
}

/* Those that somebody looks at, each with a reference. */
static struct ps_mailbox **watched_mailboxes(struct ps_user *user, size_t *ret_count)
{
	struct ps_mailbox **watched;
	size_t count = 0;

	pthread_mutex_lock(&user->lock);
	for (struct ps_mailbox *m = user->mailboxes; m; m = m->next)
		count++;
	watched = ps_malloc((count + 1) * sizeof(struct ps_mailbox *));
	count = 0;
	for (struct ps_mailbox *m = user->mailboxes; m; m = m->next) {
		if (atomic_load(&m->view_count) == 0)
			continue;
		m->refs++;
		watched[count++] = m;
	}
	pthread_mutex_unlock(&user->lock);
	*ret_count = count;
	return watched;
}

void ps_mailboxes_refresh(struct ps_user *user)
{
	size_t count;
	struct ps_mailbox **watched = watched_mailboxes(user, &count);

	for (size_t i = 0; i < count; i++) {
		ps_mailbox_refresh(watched[i], NULL);
		ps_mailbox_close(watched[i]);
	}
	free(watched);
}

void ps_mailboxes_notify(struct ps_user *user)
{
	size_t count;
	struct ps_mailbox **watched = watched_mailboxes(user, &count);

	for (size_t i = 0; i < count; i++) {
		ps_mailbox_notify(watched[i], NULL);
		ps_mailbox_close(watched[i]);
	}
	free(watched);
}
