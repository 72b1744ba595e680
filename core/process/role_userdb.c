/* SPDX-License-Identifier: MIT */
/*
 * The userdb role: asks one user database, for auth. There is one such process for each section `userdb`.
 *
 * Questions are answered by a few threads. Each has the database open for itself while it asks, so as many handles are opened as are
 * needed at a time; one that failed is closed, and the next question opens another. Calls into a library cannot be broken off: when one takes
 * much too long the process ends, and master starts another.
 */
#include <pthread.h>
#include <stdlib.h>
#include "core/event/workers.h"
#include "core/process/plugins.h"
#include "core/process/role.h"
#include "core/process/ticket.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/pool.h"

enum {
	HANDLES_MAX = 64, /* as `connections` may say */
	FIELDS_MAX = 16384,
	HANG_FACTOR = 3, /* who waits has been told long before */
	TICK_MS = 1000,
};

struct handle {
	void *db;
	unsigned generation; /* of the configuration that it was opened by */
	bool used;
};

struct userdb {
	struct ps_role *role;
	const struct ps_userdb *ops;
	struct ps_workers *workers;
	struct ps_timer *tick;
	struct question *first; /* all under way */
	pthread_mutex_t lock;   /* of what follows */
	const struct ps_conf *conf;
	unsigned generation;
	struct handle idle[HANDLES_MAX];
	size_t idle_count;
};

/* Belongs to a worker until it is done. */
struct question {
	struct question *next;
	struct userdb *userdb;
	struct ps_pool *pool;
	uint64_t number, came, timeout_ms;
	_Atomic uint64_t began; /* 0: it waits for a worker */
	struct ps_userdb_login login;
	struct ps_bytes token; /* there: it is what is asked about */
	struct ps_buf fields;
	bool bad_field;
	int r;
};

/* ---- handles ---------------------------------------------------------------------------------------- */

static int take_handle(struct userdb *userdb, struct handle *handle)
{
	const struct ps_conf *conf;

	pthread_mutex_lock(&userdb->lock);
	*handle = (struct handle){.generation = userdb->generation};
	conf = userdb->conf;
	if (userdb->idle_count)
		*handle = userdb->idle[--userdb->idle_count];
	pthread_mutex_unlock(&userdb->lock);
	return handle->db ? 0 : userdb->ops->open(conf, &handle->db);
}

static void give_handle(struct userdb *userdb, struct handle *handle, bool usable)
{
	pthread_mutex_lock(&userdb->lock);
	handle->used = true;
	usable = usable && handle->generation == userdb->generation && userdb->idle_count < HANDLES_MAX;
	if (usable)
		userdb->idle[userdb->idle_count++] = *handle;
	pthread_mutex_unlock(&userdb->lock);
	if (!usable)
		userdb->ops->close(handle->db);
}

/* ---- a question ------------------------------------------------------------------------------------- */

static void put_field(void *arg, const char *field, struct ps_bytes value)
{
	struct question *question = arg;

	if (ps_bytes_find(value, '\0') >= 0)
		question->bad_field = true;
	ps_buf_append(&question->fields, field, strlen(field) + 1);
	ps_buf_bytes(&question->fields, value);
	ps_buf_char(&question->fields, '\0');
}

static int find(struct question *question, void *db)
{
	const struct ps_userdb *ops = question->userdb->ops;
	const struct ps_userdb_fields fields = {put_field, question};
	int r = question->token.ptr ? ops->token(db, question->token, &fields)
				    : ops->find(db, question->login.name, &fields);

	if (r < 0)
		return r;
	if (question->bad_field || question->fields.failed)
		return ps_fail(PS_E_INVALID, "the fields hold a NUL, or are too long");
	return 0;
}

static int ask(struct question *question, void *db)
{
	const struct ps_userdb *ops = question->userdb->ops;

	if (question->token.ptr && !ops->token)
		return ps_fail(PS_E_UNSUPPORTED, "it knows no tokens");
	if (!question->login.password.ptr)
		return find(question, db);
	return ops->verify ? ops->verify(db, &question->login) : ps_fail(PS_E_UNSUPPORTED, "it knows no passwords");
}

static bool is_answer(int r)
{
	return r == 0 || r == PS_E_NOTFOUND || r == PS_E_AUTH;
}

/* A connection may have been lost since it was used last: a fresh one decides. */
static void question_work(void *arg)
{
	struct question *question = arg;
	struct userdb *userdb = question->userdb;
	struct handle handle;
	bool was_used = false;

	if (ps_monotonic_ms() - question->came >= question->timeout_ms) {
		question->r = PS_E_AGAIN; /* nobody waits any more */
		return;
	}
	question->began = ps_monotonic_ms();
	do {
		ps_buf_reset(&question->fields);
		if ((question->r = take_handle(userdb, &handle)) < 0)
			break;
		was_used = handle.used;
		question->r = ask(question, handle.db);
		give_handle(userdb, &handle, is_answer(question->r));
		if (is_answer(question->r))
			return;
	} while (was_used);
	ps_log(PS_LOG_ERROR, "userdb_error", "user", question->login.name, "msg", ps_last_error(), NULL);
}

static void question_done(void *arg)
{
	struct question *question = arg;
	struct userdb *userdb = question->userdb;
	struct ps_channel *auth = ps_role_peer(userdb->role, PS_ROLE_AUTH, 0);
	struct question **at = &userdb->first;
	struct ps_msg_userdb_answer message = {
		.number = question->number,
		.error = (uint32_t) - (is_answer(question->r) ? question->r : PS_E_AGAIN),
		.fields = ps_buf_view(&question->fields),
		.verifies = userdb->ops->verify != NULL,
		.tokens = userdb->ops->token != NULL,
	};

	while (*at != question)
		at = &(*at)->next;
	*at = question->next;
	if (auth && ps_channel_send(auth, PS_MSG_USERDB_ANSWER, &message) < 0)
		ps_log(PS_LOG_ERROR, "answer_lost", "msg", ps_last_error(), NULL);
	ps_buf_wipe(&question->fields);
	ps_pool_destroy(question->pool);
}

static void on_ask(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct ps_role *role = arg;
	struct userdb *userdb = role->state;
	const struct ps_msg_userdb_ask *ask = &message->userdb_ask;
	struct ps_pool *pool = ps_pool_create("question");
	struct question *question = PS_NEW(pool, struct question);

	(void)from;
	question->pool = pool;
	question->userdb = userdb;
	question->number = ask->number;
	question->came = ps_monotonic_ms();
	question->timeout_ms = (uint64_t)ps_conf_int(ps_conf_section(role->conf, "limits", 0), "userdb_timeout") * 1000;
	question->login = (struct ps_userdb_login){
		.name = ps_pool_strdup(pool, ask->name),
		.service = ps_pool_strdup(pool, ask->service),
		.remote = ps_pool_strdup(pool, ask->remote),
	};
	if (ask->password.ptr)
		question->login.password =
			ps_bytes(ps_pool_memdup(pool, ask->password.ptr, ask->password.len), ask->password.len);
	if (ask->token.ptr)
		question->token = ps_bytes(ps_pool_memdup(pool, ask->token.ptr, ask->token.len), ask->token.len);
	question->fields.limit = FIELDS_MAX;
	question->next = userdb->first;
	userdb->first = question;
	ps_workers_run(userdb->workers, question_work, question_done, question);
}

static void on_tick(void *arg)
{
	struct userdb *userdb = arg;
	uint64_t now = ps_monotonic_ms();

	for (const struct question *q = userdb->first; q; q = q->next) {
		uint64_t began = q->began;

		if (began == 0 || now - began < HANG_FACTOR * q->timeout_ms)
			continue;
		ps_log(PS_LOG_ERROR, "userdb_hangs", "user", q->login.name, "msg", "this process ends for it", NULL);
		ps_role_end(userdb->role, EXIT_FAILURE);
	}
}

/* ---- the role --------------------------------------------------------------------------------------- */

static void take_conf(struct userdb *userdb)
{
	pthread_mutex_lock(&userdb->lock);
	userdb->conf = ps_conf_section(userdb->role->conf, "userdb", 0);
	userdb->generation++;
	while (userdb->idle_count)
		userdb->ops->close(userdb->idle[--userdb->idle_count].db);
	pthread_mutex_unlock(&userdb->lock);
}

static int start(struct ps_role *role)
{
	struct userdb *userdb = ps_zalloc(sizeof *userdb);
	const struct ps_conf *conf = ps_conf_section(role->conf, "userdb", 0);
	int r;

	userdb->role = role;
	role->state = userdb;
	if (!conf || !(userdb->ops = ps_userdb_find(ps_conf_str(conf, "driver"))))
		return ps_fail(PS_E_NOTFOUND, "no such user database, or no driver for it");
	pthread_mutex_init(&userdb->lock, NULL);
	take_conf(userdb);
	if ((r = ps_workers_create(role->loop, (unsigned)ps_conf_int(conf, "connections"), &userdb->workers)) < 0 ||
	    (r = ps_timer_open(role->loop, on_tick, userdb, &userdb->tick)) < 0)
		return r;
	ps_timer_set(userdb->tick, TICK_MS, TICK_MS);
	ps_log(PS_LOG_INFO, "userdb", "name", ps_conf_title(conf), "driver", ps_conf_str(conf, "driver"), "database",
	       ps_num(role->about.index), NULL);
	return 0;
}

static int serve(struct ps_role *role)
{
	ps_role_ready(role);
	return 0;
}

/* So that mechanisms are offered which nobody has tried yet. */
static void peer_came(struct ps_role *role, struct ps_channel *channel)
{
	const struct userdb *userdb = role->state;
	struct ps_msg_userdb_answer message = {
		.verifies = userdb->ops->verify != NULL,
		.tokens = userdb->ops->token != NULL,
	};

	if (ps_channel_send(channel, PS_MSG_USERDB_ANSWER, &message) < 0)
		ps_log(PS_LOG_ERROR, "answer_lost", "msg", ps_last_error(), NULL);
}

static void reconfigure(struct ps_role *role)
{
	if (ps_conf_section(role->conf, "userdb", 0))
		take_conf(role->state);
}

static void stop(struct ps_role *role)
{
	ps_role_end(role, EXIT_SUCCESS);
}

static const struct ps_handler from_peers[] = {
	{PS_MSG_USERDB_ASK, on_ask},
	{0, NULL},
};

const struct ps_role_ops ps_role_userdb = {
	.role = PS_ROLE_USERDB,
	.from_peers = from_peers,
	.start = start,
	.serve = serve,
	.peer_came = peer_came,
	.reconfigure = reconfigure,
	.stop = stop,
};
