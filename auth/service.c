/* SPDX-License-Identifier: MIT */
#include <gnutls/crypto.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include "auth/databases.h"
#include "auth/names.h"
#include "auth/nets.h"
#include "auth/passwords.h"
#include "auth/sasl.h"
#include "auth/service.h"
#include "auth/throttle.h"
#include "auth/tokens.h"
#include "auth/verified.h"
#include "core/event/workers.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/pool.h"

#define BUCKETS 1024u

/* Hashing costs by intention, so what waits for a worker is bounded; more are told to come back. */
#define CHECKING_MAX 1024u

#define EXCHANGE_MS (60u * 60 * 1000) /* longer than any: passwords wait for a worker, answers are held back */
#define FORGET_MS   10000u            /* what is over is wiped so often */

/* One log-in under way: the user is looked for, the password checked by a worker or by the user's database, and who logs in as another
 * is given that user. While a worker checks the password, only the worker touches `stored`, `padding`, `sasl.password`
 * and `r`; an exchange that was cancelled meanwhile is freed when the worker is done. */
struct exchange {
	struct exchange *next; /* in its bucket */
	struct ps_auth_service *service;
	struct ps_auth_from from;
	struct ps_pool *pool;
	const char *sid, *service_name, *mechanism, *remote;
	bool is_tls, checking;
	bool trusted;           /* the name was proved, and is one as it stands */
	void (*done)(void *x);  /* when the worker has */
	_Atomic bool cancelled; /* nobody waits for the answer any more: the worker need not begin */
	struct ps_sasl sasl;
	struct ps_timer *timer; /* holds the answer back */
	struct ps_looking looking;
	void (*found)(struct exchange *x, const struct ps_user_entry *entry); /* when it is over */

	uint8_t salt[PS_SCRAM_SALT_SIZE]; /* where there is none in `stored` */
	struct ps_scram_secret secret;
	char *stored;       /* what the password is checked against, or the secret made from; NULL: there is no user */
	char *padding;      /* what is checked too, for the time that it takes, if `stored` costs none; or NULL */
	const char *known;  /* the name of who logs in, as looked up; NULL: not lawful */
	const char *app;    /* id of the app password that it is; NULL: none */
	const char *target; /* of the other user as whom; NULL: as oneself */
	struct ps_user_entry user;
	struct ps_hash credential;  /* what `stored` is known by */
	uint64_t looked_up;         /* when it was */
	const char *reason;         /* why not, whatever the password; NULL: it decides */
	const char *refused;        /* right, but may not log in: why, for the log; or NULL */
	const char *text;           /* and for the user */
	int r;                      /* of ps_password_check(), or the database's */
	enum ps_auth_status status; /* to answer after the delay */
};

struct ps_auth_service {
	struct ps_auth_service_args args;
	struct ps_workers *workers;
	struct ps_throttle *clients, *names;
	struct ps_databases *databases;
	struct ps_apps *apps;
	int app_uses; /* -1: not noted */
	struct ps_hash_key mark_key;
	struct ps_revoked *revoked;
	struct ps_verified *verified;
	uint64_t verified_ms, elsewhere_ms; /* 0: nothing is kept; of passwords that a database has checked */
	uint8_t salt_key[32];
	struct ps_token_keys *token_keys; /* NULL: there are none */
	struct ps_sasl_tokens tokens;
	struct ps_timer *forget;
	struct exchange *buckets[BUCKETS];
	unsigned count, count_max, checking;
};

/* ---- exchanges -------------------------------------------------------------------------------------- */

static struct exchange **bucket_of(struct ps_auth_service *service, struct ps_auth_from from)
{
	return &service->buckets[(from.number * 31 + from.front) % BUCKETS];
}

static bool same_from(struct ps_auth_from a, struct ps_auth_from b)
{
	return a.front == b.front && a.number == b.number;
}

static struct exchange *find(struct ps_auth_service *service, struct ps_auth_from from)
{
	struct exchange *x = *bucket_of(service, from);

	while (x && !same_from(x->from, from))
		x = x->next;
	return x;
}

static struct exchange *create(struct ps_auth_service *service, const struct ps_auth_request *request)
{
	struct ps_pool *pool = ps_pool_create("authentication");
	struct exchange *x = PS_NEW(pool, struct exchange);
	struct exchange **bucket = bucket_of(service, request->from);

	x->pool = pool;
	x->service = service;
	x->from = request->from;
	x->sid = ps_pool_strdup(pool, request->sid);
	x->service_name = ps_pool_strdup(pool, request->service);
	x->mechanism = ps_pool_strdup(pool, request->mechanism);
	x->remote = ps_pool_strdup(pool, request->remote);
	x->is_tls = request->is_tls;
	x->next = *bucket;
	*bucket = x;
	service->count++;
	return x;
}

static void unlink_exchange(struct exchange *x)
{
	struct exchange **at = bucket_of(x->service, x->from);

	while (*at && *at != x)
		at = &(*at)->next;
	if (!*at)
		return;
	*at = x->next;
	x->service->count--;
}

static void destroy(struct exchange *x)
{
	unlink_exchange(x);
	if (x->checking) {
		x->cancelled = true;
		return;
	}
	ps_looking_cancel(&x->looking);
	ps_timer_close(x->timer);
	ps_sasl_finish(&x->sasl);
	explicit_bzero(&x->secret, sizeof x->secret);
	ps_pool_destroy(x->pool);
}

static void answer(struct exchange *x, enum ps_auth_status status, struct ps_bytes data)
{
	struct ps_auth_answer a = {.from = x->from, .status = status, .data = data};

	if (status == PS_AUTH_OK) {
		a.user = &x->user.info;
		a.sessions = x->user.sessions;
		a.sid = x->sid;
		a.service = x->service_name;
		a.owner = x->known;
		a.database = x->user.database;
		a.credential = x->credential;
		a.is_app = x->app != NULL;
	}
	x->service->args.answer(x->service->args.arg, &a);
	if (status != PS_AUTH_CONTINUE)
		destroy(x);
}

/* ---- the end of an exchange ------------------------------------------------------------------------- */

static void log_end(const struct exchange *x, const char *reason)
{
	const char *event = reason ? "login_failed" : "login";

	ps_log(reason ? PS_LOG_WARNING : PS_LOG_INFO, event, "sid", x->sid, "user", x->target ? x->target : x->known,
	       "master", x->target ? x->known : NULL, "app_password", x->app, "service", x->service_name, "remote",
	       x->remote, "tls", x->is_tls ? "yes" : "no", "mechanism", x->mechanism, "reason", reason, NULL);
}

static void delay_over(void *arg)
{
	struct exchange *x = arg;

	/* What was right when it was checked may have been changed since. */
	if (x->status == PS_AUTH_OK &&
	    ps_revoked_has(x->service->revoked, x->user.info.name, &x->credential, x->looked_up)) {
		log_end(x, "revoked");
		x->status = PS_AUTH_FAILED;
	}
	answer(x, x->status, x->status == PS_AUTH_REFUSED ? ps_bytes_str(x->text) : ps_bytes(NULL, 0));
}

/* Right answers are held back as long as wrong ones: the delay says nothing. */
static void answer_after_delay(struct exchange *x, enum ps_auth_status status, uint64_t delay)
{
	x->status = status;
	if (delay && ps_timer_open(x->service->args.loop, delay_over, x, &x->timer) == 0)
		ps_timer_set(x->timer, delay, 0);
	else
		delay_over(x);
}

/* `reason` NULL: the log-in is right. */
static void finish(struct exchange *x, enum ps_auth_status status, const char *reason)
{
	struct ps_auth_service *service = x->service;
	struct ps_throttle_key client = ps_throttle_client(x->remote), name = ps_throttle_user(x->known);
	uint64_t now = ps_loop_now(service->args.loop);
	uint64_t delay = ps_throttle_delay(service->clients, client, now);
	uint64_t of_name = ps_throttle_delay(service->names, name, now);

	log_end(x, reason);
	if (status == PS_AUTH_FAILED) {
		ps_throttle_failed(service->clients, client, now);
		ps_throttle_failed(service->names, name, now);
	}
	if (x->cancelled)
		destroy(x);
	else
		answer_after_delay(x, status, delay > of_name ? delay : of_name);
}

/* What was never tried is no failure that counts. */
static void refuse(struct exchange *x, enum ps_auth_status status, const char *reason)
{
	log_end(x, reason);
	answer(x, status, ps_bytes(NULL, 0));
}

/* ---- the password ----------------------------------------------------------------------------------- */

static void check_work(void *arg)
{
	struct exchange *x = arg;

	if (atomic_load(&x->cancelled)) {
		x->r = PS_E_CLOSED;
		return;
	}
	x->r = ps_password_check(x->stored, ps_buf_view(&x->sasl.password));
	if (x->r == PS_E_UNSUPPORTED && !x->reason)
		ps_logf(PS_LOG_ERROR, "password_hash", x->sid, "user %s: %s", x->known, ps_last_error());
	if (x->r < 0 && x->padding)
		ps_password_check(x->padding, ps_buf_view(&x->sasl.password));
}

static void found_target(void *arg, int r, const struct ps_user_entry *entry)
{
	struct exchange *x = arg;

	if (r == 0)
		ps_entry_copy(x->pool, entry, &x->user);
	if (r == 0)
		finish(x, PS_AUTH_OK, NULL);
	else if (r == PS_E_NOTFOUND)
		finish(x, PS_AUTH_FAILED, "unknown_user");
	else
		finish(x, PS_AUTH_TEMPFAIL, "users_unavailable");
}

static void succeed(struct exchange *x)
{
	if (x->app && x->service->app_uses >= 0)
		ps_app_note_use(x->service->app_uses, x->app, (uint64_t)time(NULL));
	if (!x->target) {
		finish(x, PS_AUTH_OK, NULL);
		return;
	}
	x->looking.done = found_target;
	ps_databases_find(x->service->databases, x->target, &x->looking);
}

/* The password was checked, or need not be. */
static void conclude(struct exchange *x)
{
	if (x->r == PS_E_CLOSED)
		finish(x, PS_AUTH_FAILED, "client_gone");
	else if (x->reason)
		finish(x, PS_AUTH_FAILED, x->reason);
	else if (x->r == PS_E_UNSUPPORTED)
		finish(x, PS_AUTH_TEMPFAIL, "unusable_hash");
	else if (x->r == PS_E_AGAIN)
		finish(x, PS_AUTH_TEMPFAIL, "users_unavailable");
	else if (x->r < 0)
		finish(x, PS_AUTH_FAILED, "bad_password");
	else if (x->refused)
		finish(x, PS_AUTH_REFUSED, x->refused);
	else
		succeed(x);
}

static struct ps_verified_login login_of(const struct exchange *x)
{
	return (struct ps_verified_login){
		.user = x->known,
		.service = x->service_name,
		.stored = x->stored,
		.password = ps_buf_view(&x->sasl.password),
	};
}

static bool was_verified(const struct exchange *x)
{
	struct ps_verified_login login = login_of(x);

	return x->service->verified_ms && !x->reason &&
	       ps_verified_has(x->service->verified, &login, ps_loop_now(x->service->args.loop));
}

static void remember_verified(const struct exchange *x)
{
	struct ps_verified_login login = login_of(x);
	uint64_t ms = x->user.password || x->app ? x->service->verified_ms : x->service->elsewhere_ms;

	if (ms && !x->reason && x->r == 0)
		ps_verified_add(x->service->verified, &login, ps_loop_now(x->service->args.loop) + ms);
}

static void check_done(void *arg)
{
	struct exchange *x = arg;

	remember_verified(x);
	conclude(x);
}

static void done(void *arg)
{
	struct exchange *x = arg;

	x->checking = false;
	x->service->checking--;
	x->done(x);
}

/* Has a worker do it. */
static void run(struct exchange *x, void (*work)(void *x), void (*then)(void *x))
{
	if (x->service->checking >= CHECKING_MAX) {
		finish(x, PS_AUTH_TEMPFAIL, "too_busy");
		return;
	}
	x->checking = true;
	x->done = then;
	x->service->checking++;
	ps_workers_run(x->service->workers, work, done, x);
}

static void checked_elsewhere(void *arg, int r, const struct ps_user_entry *entry)
{
	struct exchange *x = arg;

	(void)entry;
	x->r = r == 0 || r == PS_E_AUTH ? r : PS_E_AGAIN;
	remember_verified(x);
	conclude(x);
}

static void check_elsewhere(struct exchange *x)
{
	const struct ps_userdb_login login = {
		.name = x->known,
		.password = ps_buf_view(&x->sasl.password),
		.service = x->service_name,
		.remote = x->remote,
	};

	x->looking.done = checked_elsewhere;
	ps_databases_verify(x->service->databases, &x->user, &login, &x->looking);
}

static void check_password(struct exchange *x, bool elsewhere)
{
	if (was_verified(x))
		conclude(x);
	else if (elsewhere)
		check_elsewhere(x);
	else
		run(x, check_work, check_done);
}

/* ---- the user --------------------------------------------------------------------------------------- */

static void take_user(struct exchange *x, const struct ps_user_entry *entry)
{
	ps_entry_copy(x->pool, entry, &x->user);
	x->credential = ps_auth_service_mark(x->service, entry);
	x->looked_up = ps_loop_now(x->service->args.loop);
	if (entry->nologin) {
		x->refused = "nologin";
		x->text = x->user.reason ? x->user.reason : "This account may not log in.";
	} else if (!ps_entry_allows(entry, x->service_name)) {
		x->refused = "protocol";
		x->text = "This account may not log in by this protocol.";
	}
	if (entry->allow_nets && !ps_nets_contain(entry->allow_nets, x->remote))
		x->reason = "not_from_this_net";
}

/* What the password is checked against. Where there is no user, somebody else's hash is, so that it takes as long; and
 * where the user's own hash costs no time, that one beside it. A database that checks by itself has none. */
static void choose_hash(struct exchange *x, const struct ps_user_entry *entry)
{
	const char *stand_in = ps_databases_stand_in(x->service->databases);
	const char *own = entry ? entry->password : NULL;

	if (entry && !own)
		x->stored = ps_pool_printf(x->pool, "{DATABASE}%u", entry->database);
	else
		x->stored = ps_pool_strdup(x->pool, own ? own : stand_in ? stand_in : "{PLAIN}");
	if (own && stand_in && ps_password_cost(own).len == 0 && ps_password_cost(stand_in).len > 0)
		x->padding = ps_pool_strdup(x->pool, stand_in);
}

static void found(void *arg, int r, const struct ps_user_entry *entry)
{
	struct exchange *x = arg;

	if (r < 0 && r != PS_E_NOTFOUND) {
		finish(x, PS_AUTH_TEMPFAIL, "users_unavailable");
		return;
	}
	if (entry)
		take_user(x, entry);
	else if (!x->reason)
		x->reason = "unknown_user";
	x->found(x, entry);
}

/* The one spelling of a name that a client sent; NULL: not lawful. */
static const char *spell(struct exchange *x, struct ps_bytes name)
{
	struct ps_buf out = {0};
	const char *spelt = NULL;

	if (ps_user_name_normalise(name, ps_conf_str(x->service->args.conf, "default_domain"), &out) == 0)
		spelt = ps_pool_strdup(x->pool, ps_buf_cstr(&out));
	ps_buf_finish(&out);
	return spelt;
}

static bool is_master(struct exchange *x, const char *name)
{
	const struct ps_conf *conf = x->service->args.conf;

	for (size_t i = 0; i < ps_conf_list_size(conf, "master_users"); i++) {
		const char *master = spell(x, ps_bytes_str(ps_conf_list_nth(conf, "master_users", i)));

		if (master && strcmp(master, name) == 0)
			return true;
	}
	return false;
}

/* As whom somebody wants to log in: oneself, or, for a master user, anybody. */
static void set_target(struct exchange *x, struct ps_bytes name)
{
	const char *target = spell(x, name);

	if (!target || !x->known)
		x->reason = "authzid";
	else if (strcmp(target, x->known) == 0)
		return;
	else if (is_master(x, x->known))
		x->target = target;
	else
		x->reason = "authzid";
}

/* "master%user", in which no name can hold the sign, is the same as an authorization identity. */
static void read_names(struct exchange *x)
{
	struct ps_bytes authcid = ps_buf_view(&x->sasl.authcid), authzid = ps_buf_view(&x->sasl.authzid);
	ptrdiff_t sign = x->trusted ? -1 : ps_bytes_find(authcid, '%');

	x->known = spell(x, sign < 0 ? authcid : ps_bytes(authcid.ptr, (size_t)sign));
	if (sign >= 0)
		set_target(x, ps_bytes_skip(authcid, (size_t)sign + 1));
	if (authzid.len && !x->target)
		set_target(x, authzid);
	if (!x->known)
		x->reason = "bad_name";
}

/* then() gets who it is: NULL for nobody, and there is a reason then. */
static void look_up(struct exchange *x, void (*then)(struct exchange *x, const struct ps_user_entry *entry))
{
	read_names(x);
	x->found = then;
	x->looking.done = found;
	x->looking.arg = x;
	if (x->known)
		ps_databases_find(x->service->databases, x->known, &x->looking);
	else
		found(x, PS_E_NOTFOUND, NULL);
}

/* Who does not exist is asked for all the same, where no hash is known that would take as long as a database. */
static bool is_for_database(struct exchange *x)
{
	return x->known && ps_password_cost(x->stored).len == 0 && ps_databases_nobody(x->service->databases, &x->user);
}

/* One of the user's app passwords is checked in place of the user's own. */
static bool choose_app(struct exchange *x)
{
	char spelt[PS_APP_PASSWORD_LEN + 1];
	const struct ps_apps *apps = x->service->apps;
	const struct ps_app *app = apps ? ps_apps_meant(apps, x->known, ps_buf_view(&x->sasl.password), spelt) : NULL;

	if (app) {
		x->app = ps_pool_strdup(x->pool, app->id);
		x->stored = ps_pool_strdup(x->pool, app->hash);
		x->credential = ps_credential_mark(&x->service->mark_key, x->known, app->hash);
		ps_buf_reset(&x->sasl.password);
		ps_buf_str(&x->sasl.password, spelt);
		if (!x->reason)
			x->reason = x->target ? "app_password_of_master"
					      : ps_app_refuses(app, x->service_name, x->remote, (uint64_t)time(NULL));
	}
	explicit_bzero(spelt, sizeof spelt);
	return app;
}

static void check(struct exchange *x, const struct ps_user_entry *entry)
{
	if (entry && choose_app(x)) {
		check_password(x, false);
		return;
	}
	choose_hash(x, entry);
	check_password(x, entry ? !entry->password : is_for_database(x));
}

/* ---- the secret for SCRAM --------------------------------------------------------------------------- */

static void secret_work(void *arg)
{
	struct exchange *x = arg;

	x->r = PS_E_CLOSED;
	if (!atomic_load(&x->cancelled))
		x->r = ps_password_scram(x->stored, ps_sasl_hash(&x->sasl), ps_bytes(x->salt, sizeof x->salt),
					 &x->secret);
}

/* Who cannot log in is shown a salt all the same, and fails with the proof. */
static void secret_done(void *arg)
{
	struct exchange *x = arg;

	if (x->r == PS_E_CLOSED || x->cancelled) {
		finish(x, PS_AUTH_FAILED, "client_gone");
		return;
	}
	if (x->r < 0 && x->r != PS_E_UNSUPPORTED) {
		finish(x, PS_AUTH_TEMPFAIL, "no_secret_now");
		return;
	}
	if (x->r < 0 && !x->reason)
		x->reason = "no_secret";
	ps_sasl_set_secret(&x->sasl, &x->secret, x->reason != NULL);
	answer(x, PS_AUTH_CONTINUE, ps_buf_view(&x->sasl.challenge));
}

/* RFC 5802 section 9: steady, so that it does not tell who is there. */
static void make_salt(struct exchange *x)
{
	const struct ps_buf *name = &x->sasl.authcid;
	uint8_t mac[32] = {0};

	gnutls_hmac_fast(GNUTLS_MAC_SHA256, x->service->salt_key, sizeof x->service->salt_key,
			 x->known ? (const void *)x->known : name->ptr, x->known ? strlen(x->known) : name->len, mac);
	memcpy(x->salt, mac, sizeof x->salt);
}

static void make_secret(struct exchange *x, const struct ps_user_entry *entry)
{
	x->stored = entry ? ps_pool_strdup(x->pool, entry->password) : NULL;
	make_salt(x);
	run(x, secret_work, secret_done);
}

static void prove(struct exchange *x, int r)
{
	x->r = r;
	conclude(x);
}

static void accept_known(struct exchange *x, const struct ps_user_entry *entry)
{
	prove(x, entry ? 0 : PS_E_AUTH);
}

static void trust(struct exchange *x)
{
	x->trusted = true;
	look_up(x, accept_known);
}

static void take_response(struct exchange *x, struct ps_bytes data)
{
	switch (ps_sasl_step(&x->sasl, data)) {
	case PS_SASL_CHALLENGE: answer(x, PS_AUTH_CONTINUE, ps_buf_view(&x->sasl.challenge)); break;
	case PS_SASL_PASSWORD: look_up(x, check); break;
	case PS_SASL_SECRET: look_up(x, make_secret); break;
	case PS_SASL_TRUSTED: trust(x); break;
	case PS_SASL_VERIFIED: prove(x, 0); break;
	case PS_SASL_WRONG:
		x->reason = x->sasl.reason ? x->sasl.reason : x->reason;
		prove(x, PS_E_AUTH);
		break;
	case PS_SASL_BAD: finish(x, PS_AUTH_FAILED, "bad_response"); break;
	}
}

/* ---- what the fronts ask ---------------------------------------------------------------------------- */

static void answer_none(struct ps_auth_service *service, struct ps_auth_from from, enum ps_auth_status status)
{
	struct ps_auth_answer a = {.from = from, .status = status};

	service->args.answer(service->args.arg, &a);
}

static int start_sasl(struct exchange *x, const struct ps_auth_request *request)
{
	struct ps_sasl_terms terms = {
		.conf = x->service->args.conf,
		.plaintext_ok = request->plaintext_ok,
		.is_tls = request->is_tls,
		.certificate_user = request->certificate_user,
		.tokens = &x->service->tokens,
		.serves = ps_auth_service_serves(x->service),
	};
	struct ps_bytes bindings[PS_BINDINGS];

	for (size_t i = 0; i < PS_BINDINGS; i++) {
		struct ps_bytes binding = request->bindings[i];

		bindings[i] = binding;
		if (binding.ptr)
			bindings[i].ptr = ps_pool_memdup(x->pool, binding.ptr, binding.len);
	}
	return ps_sasl_start(&x->sasl, request->mechanism, &terms, bindings);
}

void ps_auth_service_start(struct ps_auth_service *service, const struct ps_auth_request *request)
{
	struct exchange *x = find(service, request->from);
	int r;

	if (x)
		destroy(x);
	if (service->count >= service->count_max) {
		answer_none(service, request->from, PS_AUTH_TEMPFAIL);
		return;
	}
	x = create(service, request);
	r = start_sasl(x, request);
	if (r == PS_E_NOTFOUND)
		refuse(x, PS_AUTH_UNKNOWN_MECHANISM, "unknown_mechanism");
	else if (r < 0)
		refuse(x, PS_AUTH_PRIVACY, "privacy");
	else
		take_response(x, request->initial);
}

void ps_auth_service_step(struct ps_auth_service *service, struct ps_auth_from from, struct ps_bytes response)
{
	struct exchange *x = find(service, from);

	if (!x || x->checking || x->timer || x->looking.databases)
		answer_none(service, from, PS_AUTH_FAILED);
	else
		take_response(x, response.ptr ? response : ps_bytes("", 0));
}

void ps_auth_service_cancel(struct ps_auth_service *service, struct ps_auth_from from)
{
	struct exchange *x = find(service, from);

	if (x)
		destroy(x);
}

void ps_auth_service_drop_front(struct ps_auth_service *service, unsigned front)
{
	for (unsigned i = 0; i < BUCKETS; i++) {
		struct exchange *next;

		for (struct exchange *x = service->buckets[i]; x; x = next) {
			next = x->next;
			if (x->from.front == front)
				destroy(x);
		}
	}
}

/* ---- the service ------------------------------------------------------------------------------------ */

static void set_throttle(struct ps_throttle *throttle, const struct ps_conf *limits)
{
	ps_throttle_set(throttle, (unsigned)ps_conf_int(limits, "auth_failures_per_minute"),
			(uint64_t)ps_conf_int(limits, "auth_delay_max") * 1000);
}

void ps_auth_service_reconfigure(struct ps_auth_service *service, const struct ps_conf *conf)
{
	const struct ps_conf *limits = ps_conf_section(conf, "limits", 0);

	service->args.conf = conf;
	service->count_max = (unsigned)ps_conf_int(limits, "connections");
	service->verified_ms = (uint64_t)ps_conf_int(limits, "auth_cache_time") * 1000;
	service->elsewhere_ms = (uint64_t)ps_conf_int(limits, "userdb_cache_time") * 1000;
	if (service->elsewhere_ms > service->verified_ms)
		service->elsewhere_ms = service->verified_ms;
	ps_verified_forget(service->verified, UINT64_MAX); /* also when it was made shorter */
	set_throttle(service->clients, limits);
	set_throttle(service->names, limits);
}

static void on_forget(void *arg)
{
	struct ps_auth_service *service = arg;

	ps_verified_forget(service->verified, ps_loop_now(service->args.loop));
}

static int check_token(void *arg, struct ps_bytes token, struct ps_buf *ret_user)
{
	struct ps_auth_service *service = arg;
	int r;

	if (!service->token_keys) /* they went while the exchange was under way */
		return ps_fail(PS_E_AUTH, "there are no keys");
	r = ps_token_check(service->token_keys, ps_conf_section(service->args.conf, "oauth", 0), time(NULL), token,
			   ret_user);
	if (r < 0)
		ps_log(PS_LOG_INFO, "token_refused", "msg", ps_last_error(), NULL);
	return r;
}

void ps_auth_service_set_token_keys(struct ps_auth_service *service, struct ps_token_keys *keys)
{
	ps_token_keys_destroy(service->token_keys);
	service->token_keys = keys;
}

int ps_auth_service_create(const struct ps_auth_service_args *args, struct ps_auth_service **ret_service)
{
	struct ps_auth_service *service = ps_zalloc(sizeof *service);
	int r;

	service->args = *args;
	service->app_uses = -1;
	if ((r = ps_timer_open(args->loop, on_forget, service, &service->forget)) < 0 ||
	    (r = ps_workers_create(args->loop, (unsigned)ps_conf_int(args->conf, "auth_workers"), &service->workers)) <
		    0) {
		ps_timer_close(service->forget);
		free(service);
		return r;
	}
	ps_timer_set(service->forget, FORGET_MS, FORGET_MS);
	service->clients = ps_throttle_create(0, 0);
	service->names = ps_throttle_create(0, 0);
	service->databases = ps_databases_create(args->loop, &args->databases);
	service->verified = ps_verified_create();
	service->revoked = ps_revoked_create(EXCHANGE_MS);
	gnutls_rnd(GNUTLS_RND_KEY, service->salt_key, sizeof service->salt_key);
	service->tokens = (struct ps_sasl_tokens){.check = check_token, .arg = service};
	ps_auth_service_reconfigure(service, args->conf);
	*ret_service = service;
	return 0;
}

unsigned ps_auth_service_serves(const struct ps_auth_service *service)
{
	const struct ps_passwd_file *file = ps_databases_file(service->databases);
	const struct ps_conf *conf = service->args.conf;
	unsigned tokens = service->token_keys ? PS_SERVES_TOKEN : 0;

	/* Clients take the strongest that they see: who could not use it would not get in. So it is one that all can use, or that was named. */
	if (ps_conf_list_size(conf, "sasl_mechanisms") > 0)
		return PS_SERVES_ALL | tokens;
	if (!file || ps_conf_section_count(conf, "userdb") > 0)
		return PS_SERVES_PASSWORD | tokens;
	return PS_SERVES_PASSWORD | tokens | ps_passwd_file_serves(file);
}

void ps_auth_service_set_salt_key(struct ps_auth_service *service, struct ps_bytes octets)
{
	static const char purpose[] = "salts of SCRAM";

	gnutls_hmac_fast(GNUTLS_MAC_SHA256, purpose, sizeof purpose, octets.ptr, octets.len, service->salt_key);
}

void ps_auth_service_find(struct ps_auth_service *service, const char *name, struct ps_pool *pool,
			  struct ps_looking *looking)
{
	struct ps_buf spelt = {0};
	const char *known = NULL;

	/* A name that cannot be is nobody's. */
	if (ps_user_name_normalise(ps_bytes_str(name), NULL, &spelt) == 0)
		known = ps_pool_strdup(pool, ps_buf_cstr(&spelt));
	ps_buf_finish(&spelt);
	if (known)
		ps_databases_find(service->databases, known, looking);
	else
		looking->done(looking->arg, PS_E_NOTFOUND, NULL);
}

struct ps_databases *ps_auth_service_databases(struct ps_auth_service *service)
{
	return service->databases;
}

/* ---- what does not hold any more -------------------------------------------------------------------- */

void ps_auth_service_set_mark_key(struct ps_auth_service *service, const struct ps_hash_key *key)
{
	service->mark_key = *key;
}

/* Of one whose password only the database knows, it is that of the user being there. */
struct ps_hash ps_auth_service_mark(const struct ps_auth_service *service, const struct ps_user_entry *entry)
{
	return ps_credential_mark(&service->mark_key, entry->info.name, entry->password ? entry->password : "");
}

static bool is_app_of(const struct ps_auth_service *service, const char *user, const struct ps_hash *mark)
{
	const struct ps_app *app;

	if (!service->apps) /* they may just not have been read */
		return ps_conf_str(service->args.conf, "app_password_file");
	for (size_t i = 0; (app = ps_apps_nth(service->apps, i)); i++) {
		struct ps_hash own = ps_credential_mark(&service->mark_key, app->user, app->hash);

		if (strcmp(app->user, user) == 0 && ps_hash_eq(&own, mark))
			return true;
	}
	return false;
}

/* One who is not in the passwd-file may be in a database, and have any. */
static bool is_of_master(const struct ps_auth_service *service, const struct ps_hash *mark)
{
	const struct ps_conf *conf = service->args.conf;
	const struct ps_passwd_file *file = ps_databases_file(service->databases);
	bool may_be = false;

	for (size_t i = 0; i < ps_conf_list_size(conf, "master_users") && !may_be; i++) {
		const struct ps_user_entry *master = NULL;
		struct ps_buf name = {0};
		struct ps_hash own;

		if (ps_user_name_normalise(ps_bytes_str(ps_conf_list_nth(conf, "master_users", i)),
					   ps_conf_str(conf, "default_domain"), &name) == 0 &&
		    file)
			master = ps_passwd_file_find(file, ps_buf_cstr(&name));
		if (master)
			own = ps_auth_service_mark(service, master);
		may_be = !master || ps_hash_eq(&own, mark);
		ps_buf_finish(&name);
	}
	return may_be;
}

bool ps_auth_service_may_be(const struct ps_auth_service *service, const struct ps_user_entry *entry,
			    const struct ps_hash *mark)
{
	struct ps_hash own = ps_auth_service_mark(service, entry);

	return ps_hash_eq(&own, mark) || is_app_of(service, entry->info.name, mark) || is_of_master(service, mark);
}

void ps_auth_service_revoke(struct ps_auth_service *service, const char *user, const struct ps_hash *credential)
{
	struct ps_revocation revocation = {user, credential, ps_loop_now(service->args.loop)};

	ps_revoked_add(service->revoked, &revocation);
	if (service->args.revoked)
		service->args.revoked(service->args.arg, user, credential);
}

/* Of who is not there any more, the own sessions, and those that a master user has opened with the password. */
static void revoke_changes(struct ps_auth_service *service, const struct ps_passwd_file *before,
			   const struct ps_passwd_file *after)
{
	for (size_t i = 0; before && after && i < ps_passwd_file_count(before); i++) {
		const struct ps_user_entry *old = ps_passwd_file_nth(before, i);
		const struct ps_user_entry *new = ps_passwd_file_find(after, old->info.name);
		struct ps_hash mark = ps_auth_service_mark(service, old);
		bool gone = !new || (new->nologin && !old->nologin);

		if (gone)
			ps_auth_service_revoke(service, old->info.name, NULL);
		if (gone || strcmp(new->password, old->password) != 0)
			ps_auth_service_revoke(service, old->info.name, &mark);
	}
}

void ps_auth_service_set_users(struct ps_auth_service *service, struct ps_passwd_file *users)
{
	revoke_changes(service, ps_databases_file(service->databases), users);
	ps_databases_set_file(service->databases, users);
	ps_verified_forget(service->verified, UINT64_MAX);
}

void ps_auth_service_set_apps(struct ps_auth_service *service, struct ps_apps *apps)
{
	const struct ps_app *old, *new;
	struct ps_hash mark;

	for (size_t i = 0; service->apps && (old = ps_apps_nth(service->apps, i)); i++) {
		new = ps_apps_by_id(apps, old->id);
		mark = ps_credential_mark(&service->mark_key, old->user, old->hash);
		if (!new || strcmp(new->user, old->user) != 0 || strcmp(new->hash, old->hash) != 0)
			ps_auth_service_revoke(service, old->user, &mark);
	}
	ps_apps_destroy(service->apps);
	service->apps = apps;
	ps_verified_forget(service->verified, UINT64_MAX);
}

void ps_auth_service_set_app_uses(struct ps_auth_service *service, int fd)
{
	ps_closep(&service->app_uses);
	service->app_uses = fd;
}

void ps_auth_service_forget(struct ps_auth_service *service, const char *name)
{
	ps_databases_forget(service->databases, name);
	ps_verified_forget(service->verified, UINT64_MAX);
}

void ps_auth_service_destroy(struct ps_auth_service *service)
{
	if (!service)
		return;
	for (unsigned i = 0; i < BUCKETS; i++)
		while (service->buckets[i])
			destroy(service->buckets[i]);
	ps_workers_destroy(service->workers);
	ps_timer_close(service->forget);
	ps_verified_destroy(service->verified);
	ps_revoked_destroy(service->revoked);
	ps_throttle_destroy(service->clients);
	ps_throttle_destroy(service->names);
	ps_databases_destroy(service->databases);
	ps_apps_destroy(service->apps);
	ps_closep(&service->app_uses);
	explicit_bzero(service->salt_key, sizeof service->salt_key);
	ps_token_keys_destroy(service->token_keys);
	free(service);
}
