/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include "auth/databases.h"
#include "auth/found.h"
#include "auth/passwords.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/pool.h"

enum {
	WAITING_MAX = 1024, /* questions to one database that have no answer yet */
	TICK_MS = 500,
};

struct ps_databases {
	struct ps_databases_hooks hooks;
	struct ps_loop *loop;
	struct ps_timer *tick;
	struct ps_user_defaults defaults;
	struct ps_passwd_file *file;
	bool file_wanted; /* without it nothing can be told */
	char *stand_in;   /* a password that costs time, of some user of a database; NULL: none was met yet */
	unsigned count;
	uint32_t issuers;  /* a bit for each that knows tokens, as it has said */
	unsigned verifier; /* one more than that of a database which checks passwords; 0: none was met yet */
	uint64_t last, timeout_ms, keep_ms;
	struct ps_looking waiting; /* a ring, by the time of their ends; this is no question */
	unsigned waiting_count[PS_DATABASES_MAX];
	struct ps_found *found;
};

/* ---- questions ------------------------------------------------------------------------------------- */

static void wait_for(struct ps_databases *databases, struct ps_looking *looking)
{
	struct ps_looking *last = databases->waiting.before;

	looking->databases = databases;
	looking->until = ps_loop_now(databases->loop) + databases->timeout_ms;
	looking->before = last;
	looking->next = &databases->waiting;
	last->next = databases->waiting.before = looking;
	databases->waiting_count[looking->database]++;
}

void ps_looking_cancel(struct ps_looking *looking)
{
	if (!looking->databases)
		return;
	looking->databases->waiting_count[looking->database]--;
	looking->before->next = looking->next;
	looking->next->before = looking->before;
	looking->databases = NULL;
}

static void end(struct ps_looking *looking, int r, const struct ps_user_entry *entry)
{
	ps_looking_cancel(looking);
	looking->done(looking->arg, r, entry);
}

static void ask_issuer(struct ps_databases *databases, struct ps_looking *looking, unsigned first);

/* The next one may know it: tokens of the others hold on while one of several issuers is away. */
static void go_past_issuer(struct ps_looking *looking, bool unsure)
{
	struct ps_databases *databases = looking->databases;

	ps_looking_cancel(looking);
	looking->unsure |= unsure;
	ask_issuer(databases, looking, looking->database + 1);
}

/* Not an answer of the database's. */
static void give_up(struct ps_looking *looking, const char *why)
{
	ps_log(PS_LOG_ERROR, "userdb_failed", "database", ps_num(looking->database), "user", looking->login.name, "msg",
	       why, NULL);
	if (looking->token.ptr)
		go_past_issuer(looking, true);
	else
		end(looking, PS_E_AGAIN, NULL);
}

static void ask(struct ps_databases *databases, struct ps_looking *looking)
{
	struct ps_database_question question = {
		.number = ++databases->last, .login = looking->login, .token = looking->token};

	looking->number = question.number;
	wait_for(databases, looking);
	if (databases->waiting_count[looking->database] > WAITING_MAX)
		give_up(looking, "too many questions wait for an answer");
	else if (databases->hooks.ask(databases->hooks.arg, looking->database, &question) < 0)
		give_up(looking, ps_last_error());
}

static bool is_issuer(const struct ps_databases *databases, unsigned database)
{
	return database < PS_DATABASES_MAX && (databases->issuers & UINT32_C(1) << database);
}

static void ask_issuer(struct ps_databases *databases, struct ps_looking *looking, unsigned first)
{
	looking->database = first;
	while (looking->database < databases->count && !is_issuer(databases, looking->database))
		looking->database++;
	if (looking->database < databases->count)
		ask(databases, looking);
	else
		end(looking, looking->unsure ? PS_E_AGAIN : PS_E_AUTH, NULL);
}

/* The next database, or the end. */
static void go_on(struct ps_databases *databases, struct ps_looking *looking)
{
	while (is_issuer(databases, looking->database))
		looking->database++;
	if (looking->database < databases->count)
		ask(databases, looking);
	else
		end(looking, PS_E_NOTFOUND, NULL);
}

void ps_databases_find(struct ps_databases *databases, const char *name, struct ps_looking *looking)
{
	const struct ps_user_entry *entry = databases->file ? ps_passwd_file_find(databases->file, name) : NULL;

	looking->login = (struct ps_userdb_login){.name = name};
	looking->token = (struct ps_bytes){0};
	looking->database = 0;
	if (databases->file_wanted && !databases->file) {
		end(looking, PS_E_AGAIN, NULL);
		return;
	}
	if (!entry)
		entry = ps_found_get(databases->found, name, ps_loop_now(databases->loop));
	if (entry)
		end(looking, 0, entry);
	else
		go_on(databases, looking);
}

void ps_databases_verify(struct ps_databases *databases, const struct ps_user_entry *entry,
			 const struct ps_userdb_login *login, struct ps_looking *looking)
{
	looking->login = *login;
	looking->token = (struct ps_bytes){0};
	looking->database = entry->database;
	if (entry->verifies && entry->database < databases->count)
		ask(databases, looking);
	else
		end(looking, PS_E_AUTH, NULL);
}

void ps_databases_check_token(struct ps_databases *databases, struct ps_bytes token, struct ps_looking *looking)
{
	looking->login = (struct ps_userdb_login){.name = ""};
	looking->token = token;
	looking->unsure = false;
	ask_issuer(databases, looking, 0);
}

bool ps_databases_have_tokens(const struct ps_databases *databases)
{
	return databases->issuers;
}

bool ps_databases_have_users(const struct ps_databases *databases)
{
	unsigned database = 0;

	while (database < databases->count && is_issuer(databases, database))
		database++;
	return database < databases->count;
}

/* ---- answers --------------------------------------------------------------------------------------- */

static struct ps_looking *waiting_for(struct ps_databases *databases, unsigned database, uint64_t number)
{
	struct ps_looking *looking = databases->waiting.next;

	while (looking != &databases->waiting && looking->number != number)
		looking = looking->next;
	return looking != &databases->waiting && looking->database == database ? looking : NULL;
}

static void keep_stand_in(struct ps_databases *databases, const struct ps_user_entry *entry)
{
	if (!databases->stand_in && entry->password && ps_password_cost(entry->password).len > 0)
		databases->stand_in = ps_strdup(entry->password);
}

static void take_found(struct ps_databases *databases, struct ps_looking *looking,
		       const struct ps_database_answer *answer)
{
	PS_CLEANUP(ps_pool_destroyp) struct ps_pool *pool = ps_pool_create("user");
	struct ps_user_entry entry;
	struct ps_entry_maker maker = {.pool = pool, .defaults = &databases->defaults, .entry = &entry};

	ps_entry_begin(&maker, looking->login.name);
	if (ps_entry_set_all(&maker, answer->fields) < 0) {
		give_up(looking, ps_last_error());
		return;
	}
	entry.database = looking->database;
	entry.verifies = answer->verifies;
	keep_stand_in(databases, &entry);
	ps_found_put(databases->found, &entry, ps_loop_now(databases->loop) + databases->keep_ms);
	end(looking, 0, &entry);
}

static void take_holder(struct ps_looking *looking, const struct ps_database_answer *answer)
{
	struct ps_bytes fields = answer->fields;

	looking->holder = ps_bytes("", 0);
	looking->expires = 0;
	while (answer->error == 0 && fields.len) {
		struct ps_bytes name, value;

		ps_field_next(&fields, &name, &value);
		if (ps_bytes_eq_str(name, "user"))
			looking->holder = value;
		else if (ps_bytes_eq_str(name, "expires") && ps_bytes_u64(value, &looking->expires) < 0)
			looking->holder = ps_bytes("", 0);
	}
	if (answer->error == 0 && looking->holder.len > 0)
		end(looking, 0, NULL);
	else
		go_past_issuer(looking, answer->error != PS_E_AUTH && answer->error != PS_E_NOTFOUND);
}

/* In the place of one there may be another by now. */
static void note_kind(struct ps_databases *databases, unsigned database, const struct ps_database_answer *answer)
{
	if (answer->verifies)
		databases->verifier = database + 1;
	else if (databases->verifier == database + 1)
		databases->verifier = 0;
	if (database < PS_DATABASES_MAX) {
		databases->issuers &= ~(UINT32_C(1) << database);
		databases->issuers |= (uint32_t)answer->tokens << database;
	}
}

void ps_databases_answer(struct ps_databases *databases, unsigned database, const struct ps_database_answer *answer)
{
	struct ps_looking *looking = waiting_for(databases, database, answer->number);
	bool search;

	note_kind(databases, database, answer);
	if (!looking)
		return;
	if (looking->token.ptr) {
		take_holder(looking, answer);
		return;
	}
	search = !looking->login.password.ptr;
	if (answer->error == 0 && search) {
		take_found(databases, looking, answer);
	} else if (answer->error == PS_E_NOTFOUND && search) {
		ps_looking_cancel(looking);
		looking->database++;
		go_on(databases, looking);
	} else {
		end(looking, answer->error, NULL);
	}
}

void ps_databases_lost(struct ps_databases *databases, unsigned database)
{
	struct ps_looking *looking = databases->waiting.next;

	while (looking != &databases->waiting) {
		if (looking->database == database) {
			give_up(looking, "its process has ended");
			looking = databases->waiting.next; /* done() may have ended others */
		} else {
			looking = looking->next;
		}
	}
}

static void on_tick(void *arg)
{
	struct ps_databases *databases = arg;
	uint64_t now = ps_loop_now(databases->loop);

	while (databases->waiting.next != &databases->waiting && databases->waiting.next->until <= now)
		give_up(databases->waiting.next, "no answer in time");
	ps_found_drop_old(databases->found, now);
}

/* ---- the whole ------------------------------------------------------------------------------------- */

struct ps_databases *ps_databases_create(struct ps_loop *loop, const struct ps_databases_hooks *hooks)
{
	struct ps_databases *databases = ps_zalloc(sizeof *databases);

	databases->hooks = *hooks;
	databases->loop = loop;
	databases->waiting.next = databases->waiting.before = &databases->waiting;
	databases->found = ps_found_create();
	databases->file_wanted = true;
	if (ps_timer_open(loop, on_tick, databases, &databases->tick) == 0)
		ps_timer_set(databases->tick, TICK_MS, TICK_MS);
	return databases;
}

void ps_databases_destroy(struct ps_databases *databases)
{
	if (!databases)
		return;
	while (databases->waiting.next != &databases->waiting)
		ps_looking_cancel(databases->waiting.next);
	ps_timer_close(databases->tick);
	ps_found_destroy(databases->found);
	ps_passwd_file_destroy(databases->file);
	if (databases->stand_in)
		explicit_bzero(databases->stand_in, strlen(databases->stand_in));
	free(databases->stand_in);
	free(databases);
}

void ps_databases_configure(struct ps_databases *databases, const struct ps_conf *conf,
			    const struct ps_user_defaults *defaults, unsigned count)
{
	const struct ps_conf *limits = ps_conf_section(conf, "limits", 0);

	databases->defaults = *defaults;
	databases->file_wanted = ps_conf_str(conf, "passwd_file") || count == 0;
	databases->count = count < PS_DATABASES_MAX ? count : PS_DATABASES_MAX;
	if (databases->count < PS_DATABASES_MAX)
		databases->issuers &= (UINT32_C(1) << databases->count) - 1;
	databases->timeout_ms = (uint64_t)ps_conf_int(limits, "userdb_timeout") * 1000;
	databases->keep_ms = (uint64_t)ps_conf_int(limits, "userdb_cache_time") * 1000;
	ps_found_drop(databases->found, NULL);
}

void ps_databases_set_file(struct ps_databases *databases, struct ps_passwd_file *file)
{
	ps_passwd_file_destroy(databases->file);
	databases->file = file;
}

const struct ps_passwd_file *ps_databases_file(const struct ps_databases *databases)
{
	return databases->file;
}

const char *ps_databases_stand_in(const struct ps_databases *databases)
{
	const char *of_file = databases->file ? ps_passwd_file_stand_in(databases->file) : NULL;

	return of_file && ps_password_cost(of_file).len > 0 ? of_file
	       : databases->stand_in                        ? databases->stand_in
							    : of_file;
}

bool ps_databases_nobody(const struct ps_databases *databases, struct ps_user_entry *ret_entry)
{
	if (databases->verifier == 0 || databases->verifier > databases->count)
		return false;
	*ret_entry = (struct ps_user_entry){.database = databases->verifier - 1, .verifies = true};
	return true;
}

void ps_databases_forget(struct ps_databases *databases, const char *name)
{
	ps_found_drop(databases->found, name);
}
