/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "auth/live.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/pool.h"

enum {
	BUCKETS = 4096,
	TICK_MS = 100,
	TICK_MAX = 20,              /* questions that begin in a tick: 200 a second */
	ASKING_MAX = 16,            /* questions without an answer */
	PAUSE_MS = 10 * 1000,       /* of a database that could not tell */
	FIRST_CALL_MS = 1000,       /* after the start */
	CALL_MS = 60 * 1000,        /* between two calls */
	ON_THE_WAY_MS = 120 * 1000, /* a session may be so young that no process tells of it yet */
};

struct credential {
	struct credential *next; /* in its bucket */
	bool is_app;             /* or a token, or a master user's: only that the owner is there is looked at */
	bool in_file;            /* the owner: there is nothing to ask */
	bool from_before;        /* a former process has checked it, and it is not known what it is */
	struct ps_hash mark;
	uint64_t expires;      /* seconds since 1970; 0: not by itself */
	uint64_t added, asked; /* when */
	uint64_t seen;         /* in which round, at last */
	unsigned database;     /* that told of the owner at last, or could not */
	bool asking;
	char owner[];
};

struct ps_live {
	struct ps_live_args args;
	struct ps_timer *tick;
	struct credential *buckets[BUCKETS]; /* by mark */
	size_t count, at;                    /* the bucket to go on with */
	unsigned asking;
	uint64_t interval;                 /* 0: nobody is asked */
	uint64_t paused[PS_DATABASES_MAX]; /* until when they are not asked, as they could not tell */
	uint64_t round, called;
	uint64_t soonest; /* no credential expires before */
};

struct question {
	struct ps_looking looking;
	struct ps_live *live;
	bool is_app, from_before;
	struct ps_hash mark;
	char owner[];
};

static struct credential **find(struct ps_live *live, const struct ps_hash *mark)
{
	struct credential **at = &live->buckets[mark->h[0] % BUCKETS];

	while (*at && !ps_hash_eq(&(*at)->mark, mark))
		at = &(*at)->next;
	return at;
}

static void drop(struct ps_live *live, struct credential **at)
{
	struct credential *credential = *at;

	*at = credential->next;
	free(credential);
	live->count--;
}

/* ---- questions -------------------------------------------------------------------------------------- */

static bool holds(struct ps_live *live, const struct question *question, const struct ps_user_entry *entry,
		  uint64_t *ret_expires)
{
	struct ps_hash now = ps_auth_service_mark(live->args.service, entry);

	if (question->from_before)
		return ps_auth_service_may_be(live->args.service, entry, &question->mark, ret_expires);
	return question->is_app || ps_hash_eq(&now, &question->mark);
}

static void set_expiry(struct ps_live *live, struct credential *credential, uint64_t expires)
{
	credential->expires = expires;
	if (expires && expires < live->soonest)
		live->soonest = expires;
}

/* It is known what it is now; and of the passwd-file's, changes are seen elsewhere. */
static void settle(struct ps_live *live, struct credential **at, const struct ps_user_entry *entry, uint64_t expires)
{
	struct ps_hash now = ps_auth_service_mark(live->args.service, entry);

	if (!*at || !(*at)->from_before)
		return;
	(*at)->from_before = false;
	(*at)->is_app = !ps_hash_eq(&now, &(*at)->mark);
	(*at)->in_file = entry->line;
	set_expiry(live, *at, expires);
	if (entry->line && !expires)
		drop(live, at);
}

/* `entry` NULL: there is no such user any more. */
static void judge(struct ps_live *live, const struct question *question, const struct ps_user_entry *entry)
{
	struct ps_auth_service *service = live->args.service;
	bool gone = !entry || entry->nologin;
	uint64_t expires = 0;

	if (!gone && holds(live, question, entry, &expires)) {
		settle(live, find(live, &question->mark), entry, expires);
		return;
	}
	if (gone)
		ps_auth_service_revoke(service, question->owner, NULL);
	ps_auth_service_revoke(service, question->owner, &question->mark);
	if (*find(live, &question->mark))
		drop(live, find(live, &question->mark));
}

/* Who cannot be asked for has not changed: sessions go on. */
static void told(void *arg, int r, const struct ps_user_entry *entry)
{
	struct question *question = arg;
	struct ps_live *live = question->live;
	struct credential *credential = *find(live, &question->mark);
	unsigned database = (entry ? entry->database : question->looking.database) % PS_DATABASES_MAX;

	live->asking--;
	if (credential) {
		credential->asking = false;
		credential->database = database;
	}
	if (r == 0 || r == PS_E_NOTFOUND)
		judge(live, question, r == 0 ? entry : NULL);
	else
		live->paused[database] = ps_loop_now(live->args.loop) + PAUSE_MS;
	free(question);
}

static void ask(struct ps_live *live, struct credential *credential, uint64_t now)
{
	struct ps_databases *databases = ps_auth_service_databases(live->args.service);
	size_t size = strlen(credential->owner) + 1;
	struct question *question = ps_zalloc(sizeof *question + size);

	question->live = live;
	question->mark = credential->mark;
	question->is_app = credential->is_app;
	question->from_before = credential->from_before;
	memcpy(question->owner, credential->owner, size);
	question->looking.done = told;
	question->looking.arg = question;
	credential->asking = true;
	credential->asked = now;
	live->asking++;
	ps_databases_forget(databases, question->owner);
	ps_databases_find(databases, question->owner, &question->looking);
}

/* A question may be answered at once, and the list be another then; so one of a bucket at a time. */
static bool ask_one_of(struct ps_live *live, struct credential *first, uint64_t now)
{
	for (struct credential *credential = first; credential; credential = credential->next) {
		if ((!live->interval || credential->in_file) && !credential->from_before)
			continue;
		if (credential->asking || credential->asked + live->interval > now ||
		    live->paused[credential->database] > now)
			continue;
		ask(live, credential, now);
		return true;
	}
	return false;
}

static void ask_some(struct ps_live *live, uint64_t now)
{
	unsigned begun = 0;

	for (size_t i = 0; i < BUCKETS; i++) {
		while (begun < TICK_MAX && live->asking < ASKING_MAX && ask_one_of(live, live->buckets[live->at], now))
			begun++;
		if (begun == TICK_MAX || live->asking == ASKING_MAX)
			return;
		live->at = (live->at + 1) % BUCKETS;
	}
}

/* ---- what expires ----------------------------------------------------------------------------------- */

static void expire(struct ps_live *live, struct credential **at)
{
	const struct credential *credential = *at;

	ps_log(PS_LOG_INFO, "credential_expired", "user", credential->owner, NULL);
	ps_auth_service_revoke(live->args.service, credential->owner, &credential->mark);
	drop(live, at);
}

static void end_expired(struct ps_live *live)
{
	uint64_t now = (uint64_t)time(NULL);

	if (now < live->soonest)
		return;
	live->soonest = UINT64_MAX;
	for (size_t i = 0; i < BUCKETS; i++) {
		struct credential **at = &live->buckets[i];

		while (*at) {
			uint64_t expires = (*at)->expires;

			if (expires && expires <= now) {
				expire(live, at);
				continue;
			}
			if (expires && expires < live->soonest)
				live->soonest = expires;
			at = &(*at)->next;
		}
	}
}

/* ---- the call --------------------------------------------------------------------------------------- */

static void on_tick(void *arg)
{
	struct ps_live *live = arg;
	uint64_t now = ps_loop_now(live->args.loop);

	if (!live->count && live->round)
		return;
	if (now >= live->called + (live->round ? CALL_MS : FIRST_CALL_MS)) {
		live->called = now;
		live->args.call_up(live->args.arg, ++live->round);
	}
	end_expired(live);
	ask_some(live, now);
}

static struct credential *add(struct ps_live *live, struct credential **at, const char *owner,
			      const struct ps_hash *mark)
{
	size_t size = strlen(owner) + 1;
	struct credential *credential = ps_zalloc(sizeof *credential + size);

	credential->mark = *mark;
	memcpy(credential->owner, owner, size);
	*at = credential;
	live->count++;
	return credential;
}

void ps_live_seen(struct ps_live *live, const char *user, const struct ps_hash *mark)
{
	struct credential **at = find(live, mark);

	if (!*at && live->round == 1)
		add(live, at, user, mark)->from_before = true;
	if (*at)
		(*at)->seen = live->round;
}

void ps_live_called(struct ps_live *live, uint64_t round)
{
	uint64_t now = ps_loop_now(live->args.loop);

	if (round != live->round)
		return;
	for (size_t i = 0; i < BUCKETS; i++) {
		struct credential **at = &live->buckets[i];

		while (*at) {
			if ((*at)->seen != round && (*at)->added + ON_THE_WAY_MS < now)
				drop(live, at);
			else
				at = &(*at)->next;
		}
	}
}

/* ---- the whole -------------------------------------------------------------------------------------- */

void ps_live_add(struct ps_live *live, const struct ps_auth_answer *answer)
{
	const struct ps_passwd_file *file = ps_databases_file(ps_auth_service_databases(live->args.service));
	struct credential **at = find(live, &answer->credential), *credential = *at;
	bool in_file = file && ps_passwd_file_find(file, answer->owner);

	if (in_file && !answer->expires)
		return;
	if (!credential)
		credential = add(live, at, answer->owner, &answer->credential);
	credential->from_before = false;
	credential->in_file = in_file;
	credential->added = credential->asked = ps_loop_now(live->args.loop);
	credential->is_app = answer->is_app;
	credential->database = answer->database % PS_DATABASES_MAX;
	set_expiry(live, credential, answer->expires);
	live->paused[credential->database] = 0; /* it could tell */
}

void ps_live_reconfigure(struct ps_live *live, const struct ps_conf *conf)
{
	live->interval = (uint64_t)ps_conf_int(ps_conf_section(conf, "limits", 0), "userdb_check_time") * 1000;
	live->interval -= live->interval / 4; /* so that the answer is there in time */
}

int ps_live_create(const struct ps_live_args *args, struct ps_live **ret_live)
{
	struct ps_live *live = ps_zalloc(sizeof *live);
	int r;

	live->args = *args;
	live->soonest = UINT64_MAX;
	r = ps_timer_open(args->loop, on_tick, live, &live->tick);
	if (r < 0) {
		free(live);
		return r;
	}
	live->called = ps_loop_now(args->loop);
	ps_timer_set(live->tick, TICK_MS, TICK_MS);
	*ret_live = live;
	return 0;
}
