/* SPDX-License-Identifier: MIT */
/*
 * With isolation = per-user: a mail process for each user who is there, confined to that user's mail. A front or relay shows master the ticket that auth
 * sealed, and is sent the process's number, after the channel to it.
 *
 * A ticket holds for half a minute. So a process that says it has nothing to do, and for which none was shown for so long, cannot be
 * given anything any more without master's knowing, and may be ended. There is one process for a user at a time: whoever
 * asks while one is ending waits for its end.
 */
#include <stdlib.h>
#include <string.h>
#include "auth/revoked.h"
#include "core/process/confine.h"
#include "core/process/master.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/pool.h"

enum {
	WAITING_MAX = 4096
};

/* A question that is answered when some process has ended. */
struct waiting {
	struct waiting *next;
	uint32_t role;
	unsigned index;
	uint64_t number;
	struct ps_buf ticket;
};

struct users {
	struct ps_revoked *revoked;
	struct waiting *first, **end;
	unsigned count;
};

void users_create(struct master *master)
{
	struct users *users = ps_zalloc(sizeof *users);

	users->revoked = ps_revoked_create(PS_TICKET_LIFETIME_MS);
	users->end = &users->first;
	master->users = users;
}

static void waiting_destroy(struct waiting *waiting)
{
	ps_buf_wipe(&waiting->ticket);
	free(waiting);
}

void users_destroy(struct master *master)
{
	struct users *users = master->users;
	struct waiting *waiting;

	if (!users)
		return;
	while ((waiting = users->first)) {
		users->first = waiting->next;
		waiting_destroy(waiting);
	}
	ps_revoked_destroy(users->revoked);
	free(users);
}

/* Mail processes that are started later have not heard of it. */
void users_revoke(struct master *master, const struct ps_msg_revoked *message)
{
	struct ps_hash credential = ps_credential_from(message->credential);
	struct ps_revocation revocation = {message->user, message->credential.ptr ? &credential : NULL, message->at};

	ps_revoked_add(master->users->revoked, &revocation);
}

/* ---- whose process ----------------------------------------------------------------------------- */

static void forget_user(struct child *child)
{
	free(child->user);
	free(child->root);
	child->user = child->root = NULL;
}

static struct child *process_of(struct master *master, const char *user)
{
	for (size_t i = 0; i < master->child_count; i++) {
		struct child *child = &master->children[i];

		if (child->of_user && child->user && strcmp(child->user, user) == 0)
			return child;
	}
	return NULL;
}

/* One that died is its user's until the tickets that it took have expired: it must not be forgotten that they were taken. */
static struct child *free_process(struct master *master, uint64_t now)
{
	for (size_t i = 0; i < master->child_count; i++) {
		struct child *child = &master->children[i];

		if (child->of_user && !child->pid && (!child->user || now >= child->since_ms + PS_TICKET_LIFETIME_MS))
			return child;
	}
	return NULL;
}

static bool is_idle(const struct child *child)
{
	return child->of_user && child->state == CHILD_SERVING && !child->ending &&
	       child->idle_ms >= child->placed_ms + PS_TICKET_LIFETIME_MS;
}

/* The one that has not been asked for longest. NULL: all are in use. */
static struct child *idlest(struct master *master)
{
	struct child *found = NULL;

	for (size_t i = 0; i < master->child_count; i++) {
		struct child *child = &master->children[i];

		if (is_idle(child) && (!found || child->placed_ms < found->placed_ms))
			found = child;
	}
	return found;
}

static bool any_ending(const struct master *master)
{
	for (size_t i = 0; i < master->child_count; i++)
		if (master->children[i].ending)
			return true;
	return false;
}

static int make_room(struct master *master, uint64_t now, struct child **ret_child)
{
	struct child *old;

	if ((*ret_child = free_process(master, now)))
		return 0;
	if (!any_ending(master)) {
		if (!(old = idlest(master)))
			return ps_fail(PS_E_LIMIT, "user_processes are all in use");
		child_end(old);
	}
	return PS_E_AGAIN;
}

/* ---- starting one ------------------------------------------------------------------------------ */

/* Auth reads them in a user database; whoever has taken that over is not to become another role, or root. */
static int check_uid(const struct master *master, const struct ps_msg_ticket *ticket)
{
	static const uint32_t others[] = {PS_ROLE_FRONT, PS_ROLE_AUTH, PS_ROLE_RELAY};
	uid_t uid;
	gid_t gid;

	if (ticket->uid == master->mail_uid && ticket->gid == master->mail_gid)
		return 0;
	if (!master->privileged)
		return ps_fail(PS_E_ACCESS, "user %s has uid %u; the server was not started by root", ticket->user,
			       ticket->uid);
	if (ticket->uid == 0 || ticket->gid == 0)
		return ps_fail(PS_E_ACCESS, "user %s has uid %u and gid %u", ticket->user, ticket->uid, ticket->gid);
	for (size_t i = 0; i < PS_ARRAY_LEN(others); i++)
		if (ps_confine_user(master->conf, others[i], &uid, &gid) == 0 && uid == ticket->uid)
			return ps_fail(PS_E_ACCESS, "user %s has the uid of role %s", ticket->user,
				       ps_role_name(others[i]));
	return 0;
}

static int check_ticket(struct master *master, const struct ps_msg_ticket *ticket)
{
	struct ps_hash credential = ps_credential_from(ticket->credential);

	if (ps_revoked_has(master->users->revoked, ticket->user, &credential, ticket->expires - PS_TICKET_LIFETIME_MS))
		return ps_fail(PS_E_AUTH, "ticket: the credential was revoked");
	return check_uid(master, ticket);
}

/* What the database says may have changed since it was started. */
static bool fits(const struct child *child, const struct ps_msg_ticket *ticket)
{
	return child->uid == ticket->uid && child->gid == ticket->gid && strcmp(child->root, ticket->root) == 0;
}

static int start_for(struct child *child, const struct ps_msg_ticket *ticket)
{
	int r;

	if (!child->user || strcmp(child->user, ticket->user) != 0) {
		child->since_ms = 0;
		child->quick_deaths = 0;
	}
	forget_user(child);
	child->user = ps_strdup(ticket->user);
	child->root = ps_strdup(ticket->root);
	child->uid = ticket->uid;
	child->gid = ticket->gid;
	child->idle_ms = 0;
	r = child_start(child);
	ps_log(PS_LOG_DEBUG, "user_process", "user", child->user, "uid", ps_num(child->uid), "child",
	       ps_num(child->pid), NULL);
	return r;
}

/* PS_E_AGAIN: when some process has ended. */
static int find_place(struct master *master, struct ps_bytes sealed, struct child **ret_child)
{
	uint64_t now = ps_monotonic_ms();
	union ps_message message;
	const struct ps_msg_ticket *ticket = &message.ticket;
	struct child *child;
	int r;

	if ((r = ps_ticket_look(&master->ticket_key, sealed, now, &message)) < 0 ||
	    (r = check_ticket(master, ticket)) < 0)
		return r;
	child = process_of(master, ticket->user);
	if (child && child->ending)
		return PS_E_AGAIN;
	if (child && child->pid && !fits(child, ticket)) {
		child_end(child);
		return PS_E_AGAIN;
	}
	if (child && !child->pid && now < child->since_ms + child->rest_ms)
		return ps_fail(PS_E_BUSY, "the process of user %s died just now", ticket->user);
	if (!child && (r = make_room(master, now, &child)) < 0)
		return r;
	if (!child->pid && (r = start_for(child, ticket)) < 0)
		return r;
	child->placed_ms = now;
	*ret_child = child;
	return 0;
}

/* ---- who asks ---------------------------------------------------------------------------------- */

static int wait_for_end(struct users *users, const struct child *asker, const struct ps_msg_place *question)
{
	struct waiting *waiting;

	if (users->count == WAITING_MAX)
		return ps_fail(PS_E_LIMIT, "too many wait for a mail process");
	waiting = ps_zalloc(sizeof *waiting);
	waiting->role = asker->role;
	waiting->index = asker->index;
	waiting->number = question->number;
	ps_buf_bytes(&waiting->ticket, question->ticket);
	*users->end = waiting;
	users->end = &waiting->next;
	users->count++;
	return 0;
}

void users_place(struct child *asker, const struct ps_msg_place *question)
{
	struct master *master = asker->master;
	struct ps_msg_placed answer = {.number = question->number};
	struct child *child = NULL;
	int r = master->stopping || !master->users ? ps_fail(PS_E_CLOSED, "no user has a process here")
						   : find_place(master, question->ticket, &child);

	if (r == PS_E_AGAIN && (r = wait_for_end(master->users, asker, question)) == 0)
		return;
	if (r < 0)
		ps_log(PS_LOG_ERROR, "user_process_refused", "msg", ps_last_error(), NULL);
	else
		answer.mail = child->index;
	answer.error = (uint32_t)-r;
	child_send(asker, PS_MSG_PLACED, &answer);
}

static struct child *asker_of(struct master *master, const struct waiting *waiting)
{
	for (size_t i = 0; i < master->child_count; i++) {
		struct child *child = &master->children[i];

		if (child->role == waiting->role && child->index == waiting->index && child->channel)
			return child;
	}
	return NULL;
}

static void ask_again(struct master *master)
{
	struct users *users = master->users;
	struct waiting *waiting = users->first, *next;

	users->first = NULL;
	users->end = &users->first;
	users->count = 0;
	for (; waiting; waiting = next) {
		struct child *asker = asker_of(master, waiting);
		const struct ps_msg_place question = {.number = waiting->number,
						      .ticket = ps_buf_view(&waiting->ticket)};

		next = waiting->next;
		if (asker)
			users_place(asker, &question);
		waiting_destroy(waiting);
	}
}

/* ---- their end --------------------------------------------------------------------------------- */

void users_idle(struct child *child, uint64_t for_ms)
{
	uint64_t seconds = (uint64_t)ps_conf_int(child->master->conf, "user_process_idle");

	if (!child->of_user || child->ending)
		return;
	child->idle_ms = ps_monotonic_ms();
	if (is_idle(child) && for_ms >= seconds * 1000 && child->idle_ms - child->placed_ms >= seconds * 1000)
		child_end(child);
}

void users_ended(struct child *child, bool asked)
{
	if (asked)
		forget_user(child);
	ask_again(child->master);
}
