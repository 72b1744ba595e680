/* SPDX-License-Identifier: MIT */
/* A log-in, from the front's first question to the answer. */
#include <gnutls/crypto.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include "auth/names.h"
#include "auth/nets.h"
#include "auth/passwords.h"
#include "auth/service_private.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/pool.h"

/* Hashing costs by intention, so what waits for a worker is bounded; more are told to come back. */
#define CHECKING_MAX 1024u

/* A wrong password, and a name that nobody has, are told of at ticks since the client's last word: what it took to find out, in whichever
 * database or in none, cannot be seen. Most of what is asked takes less than one. */
#define REFUSAL_TICK_MS 100u

/* One log-in under way: the user is looked for, the password checked by a worker or by the user's database, and who logs in as another
 * is given that user. While a worker checks the password, only the worker touches `stored`, `padding`, `sasl.password`
 * and `r`; an exchange that was cancelled meanwhile is freed when the worker is done. */
struct ps_exchange {
	struct ps_exchange *next; /* in its bucket */
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
	void (*found)(struct ps_exchange *x, const struct ps_user_entry *entry); /* when it is over */

	uint8_t salt[PS_SCRAM_SALT_SIZE]; /* where there is none in `stored` */
	struct ps_scram_secret secret;
	char *stored;       /* what the password is checked against, or the secret made from; NULL: there is no user */
	char *padding;      /* what is checked too, for the time that it takes, if `stored` costs none; or NULL */
	const char *known;  /* the name of who logs in, as looked up; NULL: not lawful */
	const char *proof;  /* of a token or certificate: what its credential is made from */
	const char *app;    /* id of the app password that it is; NULL: none */
	const char *target; /* of the other user as whom; NULL: as oneself */
	struct ps_user_entry user;
	struct ps_hash credential; /* what `stored`, or the token or certificate, is known by */
	uint64_t expires;          /* when it does, in seconds since 1970; 0: not by itself */
	uint64_t certificate_expires;
	uint64_t looked_up;         /* when it was */
	uint64_t asked;             /* when the client said its last word */
	const char *reason;         /* why not, whatever the password; NULL: it decides */
	const char *refused;        /* right, but may not log in: why, for the log; or NULL */
	const char *text;           /* and for the user */
	int r;                      /* of ps_password_check(), or the database's */
	enum ps_auth_status status; /* to answer after the delay */
};

/* ---- exchanges -------------------------------------------------------------------------------------- */

static struct ps_exchange **bucket_of(struct ps_auth_service *service, struct ps_auth_from from)
{
	return &service->buckets[((from.number + from.turn) * 31 + from.front) % PS_EXCHANGE_BUCKETS];
}

static bool same_from(struct ps_auth_from a, struct ps_auth_from b)
{
	return a.front == b.front && a.number == b.number && a.turn == b.turn;
}

static struct ps_exchange *find(struct ps_auth_service *service, struct ps_auth_from from)
{
	struct ps_exchange *x = *bucket_of(service, from);

	while (x && !same_from(x->from, from))
		x = x->next;
	return x;
}

static struct ps_exchange *create(struct ps_auth_service *service, const struct ps_auth_request *request)
{
	struct ps_pool *pool = ps_pool_create("authentication");
	struct ps_exchange *x = PS_NEW(pool, struct ps_exchange);
	struct ps_exchange **bucket = bucket_of(service, request->from);

	x->pool = pool;
	x->service = service;
	x->from = request->from;
	x->sid = ps_pool_strdup(pool, request->sid);
	x->service_name = ps_pool_strdup(pool, request->service);
	x->mechanism = ps_pool_strdup(pool, request->mechanism);
	x->remote = ps_pool_strdup(pool, request->remote);
	x->is_tls = request->is_tls;
	x->certificate_expires = request->certificate_expires;
	x->next = *bucket;
	*bucket = x;
	service->count++;
	return x;
}

static void unlink_exchange(struct ps_exchange *x)
{
	struct ps_exchange **at = bucket_of(x->service, x->from);

	while (*at && *at != x)
		at = &(*at)->next;
	if (!*at)
		return;
	*at = x->next;
	x->service->count--;
}

static void destroy(struct ps_exchange *x)
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

/* The one spelling of a name that a client sent; NULL: not lawful. */
static const char *spell(struct ps_exchange *x, struct ps_bytes name)
{
	struct ps_buf out = {0};
	const char *spelt = NULL;

	if (ps_user_name_normalise(name, ps_conf_str(x->service->args.conf, "default_domain"), &out) == 0)
		spelt = ps_pool_strdup(x->pool, ps_buf_cstr(&out));
	ps_buf_finish(&out);
	return spelt;
}

static bool is_master(struct ps_exchange *x, const char *name)
{
	const struct ps_conf *conf = x->service->args.conf;

	for (size_t i = 0; i < ps_conf_list_size(conf, "master_users"); i++) {
		const char *master = spell(x, ps_bytes_str(ps_conf_list_nth(conf, "master_users", i)));

		if (master && strcmp(master, name) == 0)
			return true;
	}
	return false;
}

static void answer(struct ps_exchange *x, enum ps_auth_status status, struct ps_bytes data)
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
		a.is_app = x->app || x->trusted;
		a.expires = x->expires;
		a.is_admin = !x->app && is_master(x, x->known);
	}
	x->service->args.answer(x->service->args.arg, &a);
	if (status != PS_AUTH_CONTINUE)
		destroy(x);
}

/* ---- the end of an exchange ------------------------------------------------------------------------- */

static void log_end(const struct ps_exchange *x, const char *reason)
{
	const char *event = reason ? "login_failed" : "login";

	ps_log(reason ? PS_LOG_WARNING : PS_LOG_INFO, event, "sid", x->sid, "user", x->target ? x->target : x->known,
	       "master", x->target ? x->known : NULL, "app_password", x->app, "service", x->service_name, "remote",
	       x->remote, "tls", x->is_tls ? "yes" : "no", "mechanism", x->mechanism, "reason", reason, NULL);
}

static void delay_over(void *arg)
{
	struct ps_exchange *x = arg;

	/* What was right when it was checked may have been changed since. */
	if (x->status == PS_AUTH_OK &&
	    ps_revoked_has(x->service->revoked, x->user.info.name, &x->credential, x->looked_up)) {
		log_end(x, "revoked");
		x->status = PS_AUTH_FAILED;
	}
	answer(x, x->status, x->status == PS_AUTH_REFUSED ? ps_bytes_str(x->text) : ps_bytes(NULL, 0));
}

/* Right answers are held back as long as wrong ones: the delay says nothing. */
static void answer_after_delay(struct ps_exchange *x, enum ps_auth_status status, uint64_t delay)
{
	x->status = status;
	if (delay && ps_timer_open(x->service->args.loop, delay_over, x, &x->timer) == 0)
		ps_timer_set(x->timer, delay, 0);
	else
		delay_over(x);
}

/* `reason` NULL: the log-in is right. */
static void finish(struct ps_exchange *x, enum ps_auth_status status, const char *reason)
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
	if (of_name > delay)
		delay = of_name;
	if (status == PS_AUTH_FAILED)
		delay += REFUSAL_TICK_MS - (now - x->asked) % REFUSAL_TICK_MS;
	if (x->cancelled)
		destroy(x);
	else
		answer_after_delay(x, status, delay);
}

/* What was never tried is no failure that counts. */
static void refuse(struct ps_exchange *x, enum ps_auth_status status, const char *reason)
{
	log_end(x, reason);
	answer(x, status, ps_bytes(NULL, 0));
}

/* ---- the password ----------------------------------------------------------------------------------- */

static void check_work(void *arg)
{
	struct ps_exchange *x = arg;

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
	struct ps_exchange *x = arg;

	if (r == 0)
		ps_entry_copy(x->pool, entry, &x->user);
	if (r == 0)
		finish(x, PS_AUTH_OK, NULL);
	else if (r == PS_E_NOTFOUND)
		finish(x, PS_AUTH_FAILED, "unknown_user");
	else
		finish(x, PS_AUTH_TEMPFAIL, "users_unavailable");
}

static void succeed(struct ps_exchange *x)
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
static void conclude(struct ps_exchange *x)
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

static struct ps_verified_login login_of(const struct ps_exchange *x)
{
	return (struct ps_verified_login){
		.user = x->known,
		.service = x->service_name,
		.stored = x->stored,
		.password = ps_buf_view(&x->sasl.password),
	};
}

static bool was_verified(const struct ps_exchange *x)
{
	struct ps_verified_login login = login_of(x);

	return x->service->verified_ms && !x->reason &&
	       ps_verified_has(x->service->verified, &login, ps_loop_now(x->service->args.loop));
}

static void remember_verified(const struct ps_exchange *x)
{
	struct ps_verified_login login = login_of(x);
	uint64_t ms = x->user.password || x->app ? x->service->verified_ms : x->service->elsewhere_ms;

	if (ms && !x->reason && x->r == 0)
		ps_verified_add(x->service->verified, &login, ps_loop_now(x->service->args.loop) + ms);
}

static void check_done(void *arg)
{
	struct ps_exchange *x = arg;

	remember_verified(x);
	conclude(x);
}

static void done(void *arg)
{
	struct ps_exchange *x = arg;

	x->checking = false;
	x->service->checking--;
	x->done(x);
}

/* Has a worker do it. */
static void run(struct ps_exchange *x, void (*work)(void *x), void (*then)(void *x))
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
	struct ps_exchange *x = arg;

	(void)entry;
	x->r = r == 0 || r == PS_E_AUTH ? r : PS_E_AGAIN;
	remember_verified(x);
	conclude(x);
}

static void check_elsewhere(struct ps_exchange *x)
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

static void check_password(struct ps_exchange *x, bool elsewhere)
{
	if (was_verified(x))
		conclude(x);
	else if (elsewhere)
		check_elsewhere(x);
	else
		run(x, check_work, check_done);
}

/* ---- the user --------------------------------------------------------------------------------------- */

static void take_user(struct ps_exchange *x, const struct ps_user_entry *entry)
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
static void choose_hash(struct ps_exchange *x, const struct ps_user_entry *entry)
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
	struct ps_exchange *x = arg;

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

/* As whom somebody wants to log in: oneself, or, for a master user, anybody. */
static void set_target(struct ps_exchange *x, struct ps_bytes name)
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
static void read_names(struct ps_exchange *x)
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
static void look_up(struct ps_exchange *x, void (*then)(struct ps_exchange *x, const struct ps_user_entry *entry))
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
static bool is_for_database(struct ps_exchange *x)
{
	return x->known && ps_password_cost(x->stored).len == 0 && ps_databases_nobody(x->service->databases, &x->user);
}

/* One of the user's app passwords is checked in place of the user's own. */
static bool choose_app(struct ps_exchange *x)
{
	char spelt[PS_APP_PASSWORD_LEN + 1];
	const struct ps_apps *apps = x->service->apps;
	const struct ps_app *app = apps ? ps_apps_meant(apps, x->known, ps_buf_view(&x->sasl.password), spelt) : NULL;

	if (app) {
		x->app = ps_pool_strdup(x->pool, app->id);
		x->stored = ps_pool_strdup(x->pool, app->hash);
		x->expires = app->expires;
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

static void check(struct ps_exchange *x, const struct ps_user_entry *entry)
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
	struct ps_exchange *x = arg;

	x->r = PS_E_CLOSED;
	if (!atomic_load(&x->cancelled))
		x->r = ps_password_scram(x->stored, ps_sasl_hash(&x->sasl), ps_bytes(x->salt, sizeof x->salt),
					 &x->secret);
}

/* Who cannot log in is shown a salt all the same, and fails with the proof. */
static void secret_done(void *arg)
{
	struct ps_exchange *x = arg;

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
static void make_salt(struct ps_exchange *x)
{
	const struct ps_buf *name = &x->sasl.authcid;
	uint8_t mac[32] = {0};

	gnutls_hmac_fast(GNUTLS_MAC_SHA256, x->service->salt_key, sizeof x->service->salt_key,
			 x->known ? (const void *)x->known : name->ptr, x->known ? strlen(x->known) : name->len, mac);
	memcpy(x->salt, mac, sizeof x->salt);
}

static void make_secret(struct ps_exchange *x, const struct ps_user_entry *entry)
{
	x->stored = entry ? ps_pool_strdup(x->pool, entry->password) : NULL;
	make_salt(x);
	run(x, secret_work, secret_done);
}

static void prove(struct ps_exchange *x, int r)
{
	x->r = r;
	conclude(x);
}

static void accept_known(struct ps_exchange *x, const struct ps_user_entry *entry)
{
	if (entry)
		x->credential = ps_credential_mark(&x->service->mark_key, x->known, x->proof);
	prove(x, entry ? 0 : PS_E_AUTH);
}

/* `proof`: what this credential has and no other. */
static void trust(struct ps_exchange *x, const char *proof, uint64_t expires)
{
	x->trusted = true;
	x->proof = proof;
	x->expires = expires;
	look_up(x, accept_known);
}

static void trust_certificate(struct ps_exchange *x)
{
	trust(x, ps_pool_printf(x->pool, "certificate until %" PRIu64, x->certificate_expires), x->certificate_expires);
}

static void trust_token(struct ps_exchange *x, struct ps_bytes user, uint64_t expires)
{
	ps_buf_bytes(&x->sasl.authcid, user);
	trust(x, ps_pool_printf(x->pool, "token %s", ps_buf_cstr(&x->sasl.token)), expires);
}

static void refuse_token(struct ps_exchange *x)
{
	ps_sasl_refuse_token(&x->sasl);
	answer(x, PS_AUTH_CONTINUE, ps_buf_view(&x->sasl.challenge));
}

static void issuer_told(void *arg, int r, const struct ps_user_entry *entry)
{
	struct ps_exchange *x = arg;

	(void)entry;
	if (r == 0)
		trust_token(x, x->looking.holder, x->looking.expires);
	else if (r == PS_E_AUTH)
		refuse_token(x);
	else
		finish(x, PS_AUTH_TEMPFAIL, "issuer_unavailable");
}

/* By the keys of the file, then by who can tell. */
static void check_token(struct ps_exchange *x)
{
	const struct ps_token_keys *keys = x->service->token_keys; /* NULL: they may just have gone */
	struct ps_bytes token = ps_buf_view(&x->sasl.token);
	struct ps_token_holder holder = {.user.limit = PS_USER_NAME_MAX};
	bool holds = keys && ps_token_check(keys, ps_conf_section(x->service->args.conf, "oauth", 0), time(NULL), token,
					    &holder) == 0;

	if (holds) {
		trust_token(x, ps_buf_view(&holder.user), (uint64_t)holder.expires);
	} else {
		if (keys)
			ps_log(PS_LOG_INFO, "token_refused", "sid", x->sid, "msg", ps_last_error(), NULL);
		x->looking.done = issuer_told;
		x->looking.arg = x;
		ps_databases_check_token(x->service->databases, token, &x->looking);
	}
	ps_buf_finish(&holder.user);
}

static void take_response(struct ps_exchange *x, struct ps_bytes data)
{
	x->asked = ps_loop_now(x->service->args.loop);
	switch (ps_sasl_step(&x->sasl, data)) {
	case PS_SASL_CHALLENGE: answer(x, PS_AUTH_CONTINUE, ps_buf_view(&x->sasl.challenge)); break;
	case PS_SASL_PASSWORD: look_up(x, check); break;
	case PS_SASL_SECRET: look_up(x, make_secret); break;
	case PS_SASL_TOKEN: check_token(x); break;
	case PS_SASL_TRUSTED: trust_certificate(x); break;
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

static int start_sasl(struct ps_exchange *x, const struct ps_auth_request *request)
{
	struct ps_sasl_terms terms = {
		.conf = x->service->args.conf,
		.plaintext_ok = request->plaintext_ok,
		.is_tls = request->is_tls,
		.certificate_user = request->certificate_user,
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
	struct ps_exchange *x = find(service, request->from);
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
	struct ps_exchange *x = find(service, from);

	if (!x || x->checking || x->timer || x->looking.databases)
		answer_none(service, from, PS_AUTH_FAILED);
	else
		take_response(x, response.ptr ? response : ps_bytes("", 0));
}

void ps_auth_service_cancel(struct ps_auth_service *service, struct ps_auth_from from)
{
	struct ps_exchange *x = find(service, from);

	if (x)
		destroy(x);
}

void ps_auth_service_drop_front(struct ps_auth_service *service, unsigned front)
{
	for (unsigned i = 0; i < PS_EXCHANGE_BUCKETS; i++) {
		struct ps_exchange *next;

		for (struct ps_exchange *x = service->buckets[i]; x; x = next) {
			next = x->next;
			if (x->from.front == front)
				destroy(x);
		}
	}
}

void ps_exchanges_end(struct ps_auth_service *service)
{
	for (unsigned i = 0; i < PS_EXCHANGE_BUCKETS; i++)
		while (service->buckets[i])
			destroy(service->buckets[i]);
}
