/* SPDX-License-Identifier: MIT */
#include <gnutls/crypto.h>
#include <stdatomic.h>
#include <stdlib.h>
#include "auth/names.h"
#include "auth/nets.h"
#include "auth/passwords.h"
#include "auth/sasl.h"
#include "auth/service.h"
#include "auth/throttle.h"
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

/* One log-in under way. While a worker checks its password, only the worker touches `stored`, `padding`, `sasl.password`
 * and `r`; an exchange that was cancelled meanwhile is freed when the worker is done. */
struct exchange {
	struct exchange *next; /* in its bucket */
	struct ps_auth_service *service;
	struct ps_auth_from from;
	struct ps_pool *pool;
	const char *sid, *service_name, *mechanism, *remote;
	bool is_tls, checking;
	void (*done)(void *x);  /* when the worker has */
	_Atomic bool cancelled; /* nobody waits for the answer any more: the worker need not begin */
	struct ps_sasl sasl;
	struct ps_timer *timer; /* holds the answer back */

	uint8_t salt[PS_SCRAM_SALT_SIZE]; /* where there is none in `stored` */
	struct ps_scram_secret secret;
	char *stored;      /* what the password is checked against, or the secret made from; NULL: there is no user */
	char *padding;     /* what is checked too, for the time that it takes, if `stored` costs none; or NULL */
	const char *known; /* the user's name as looked up; NULL: not lawful */
	struct ps_user_info user;
	struct ps_hash credential;  /* what `stored` is known by */
	uint64_t looked_up;         /* when it was */
	const char *reason;         /* why not, whatever the password; NULL: it decides */
	bool refused;               /* right, but may not log in */
	int r;                      /* of ps_password_check() */
	enum ps_auth_status status; /* to answer after the delay */
};

struct ps_auth_service {
	struct ps_auth_service_args args;
	struct ps_workers *workers;
	struct ps_throttle *throttle;
	struct ps_passwd_file *users;
	struct ps_hash_key mark_key;
	struct ps_revoked *revoked;
	struct ps_verified *verified;
	uint64_t verified_ms; /* 0: nothing is kept */
	uint8_t salt_key[32];
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
	ps_timer_close(x->timer);
	ps_sasl_finish(&x->sasl);
	explicit_bzero(&x->secret, sizeof x->secret);
	ps_pool_destroy(x->pool);
}

static void answer(struct exchange *x, enum ps_auth_status status, struct ps_bytes data)
{
	struct ps_auth_answer a = {.from = x->from, .status = status, .data = data};

	if (status == PS_AUTH_OK) {
		a.user = &x->user;
		a.sid = x->sid;
		a.service = x->service_name;
		a.credential = x->credential;
	}
	x->service->args.answer(x->service->args.arg, &a);
	if (status != PS_AUTH_CONTINUE)
		destroy(x);
}

/* ---- the end of an exchange ------------------------------------------------------------------------- */

static void log_end(const struct exchange *x, const char *reason)
{
	const char *event = reason ? "login_failed" : "login";

	ps_log(reason ? PS_LOG_WARNING : PS_LOG_INFO, event, "sid", x->sid, "user", x->known, "service",
	       x->service_name, "remote", x->remote, "tls", x->is_tls ? "yes" : "no", "mechanism", x->mechanism,
	       "reason", reason, NULL);
}

static struct ps_bytes text_for(enum ps_auth_status status)
{
	return status == PS_AUTH_REFUSED ? ps_bytes_str("This account may not log in.") : ps_bytes(NULL, 0);
}

static void delay_over(void *arg)
{
	struct exchange *x = arg;

	/* What was right when it was checked may have been changed since. */
	if (x->status == PS_AUTH_OK &&
	    ps_revoked_has(x->service->revoked, x->user.name, &x->credential, x->looked_up)) {
		log_end(x, "revoked");
		x->status = PS_AUTH_FAILED;
	}
	answer(x, x->status, text_for(x->status));
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
	uint64_t now = ps_loop_now(x->service->args.loop);
	uint64_t delay = ps_throttle_delay(x->service->throttle, x->remote, now);

	log_end(x, reason);
	if (status == PS_AUTH_FAILED)
		ps_throttle_failed(x->service->throttle, x->remote, now);
	if (x->cancelled)
		destroy(x);
	else
		answer_after_delay(x, status, delay);
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

/* The password was checked, or need not be. */
static void conclude(struct exchange *x)
{
	if (x->r == PS_E_CLOSED)
		finish(x, PS_AUTH_FAILED, "client_gone");
	else if (x->reason)
		finish(x, PS_AUTH_FAILED, x->reason);
	else if (x->r == PS_E_UNSUPPORTED)
		finish(x, PS_AUTH_TEMPFAIL, "unusable_hash");
	else if (x->r < 0)
		finish(x, PS_AUTH_FAILED, "bad_password");
	else if (x->refused)
		finish(x, PS_AUTH_REFUSED, "nologin");
	else
		finish(x, PS_AUTH_OK, NULL);
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

	if (x->service->verified_ms && !x->reason && x->r == 0)
		ps_verified_add(x->service->verified, &login,
				ps_loop_now(x->service->args.loop) + x->service->verified_ms);
}

static void check_done(void *arg)
{
	struct exchange *x = arg;

	remember_verified(x);
	conclude(x);
}

static void take_user(struct exchange *x, const struct ps_passwd_user *user)
{
	x->user = (struct ps_user_info){
		.name = ps_pool_strdup(x->pool, user->info.name),
		.uid = user->info.uid,
		.gid = user->info.gid,
		.home = ps_pool_strdup(x->pool, user->info.home),
		.backend = ps_pool_strdup(x->pool, user->info.backend),
		.root = ps_pool_strdup(x->pool, user->info.root),
		.fields = ps_pool_strdup(x->pool, user->info.fields),
	};
	x->credential = ps_credential_mark(&x->service->mark_key, user->info.name, user->password);
	x->looked_up = ps_loop_now(x->service->args.loop);
	x->refused = user->nologin;
	if (user->allow_nets && !ps_nets_contain(user->allow_nets, x->remote))
		x->reason = "not_from_this_net";
}

/* The one spelling of a name that a client sent; NULL: not lawful. */
static const char *spell(struct exchange *x, const struct ps_buf *name)
{
	struct ps_buf out = {0};
	const char *spelt = NULL;

	if (ps_user_name_normalise(ps_buf_view(name), ps_conf_str(x->service->args.conf, "default_domain"), &out) == 0)
		spelt = ps_pool_strdup(x->pool, ps_buf_cstr(&out));
	ps_buf_finish(&out);
	return spelt;
}

/* What the password is checked against. Where there is no user, somebody else's hash is, so that it takes as long; and
 * where the user's own hash costs no time, that one beside it. */
static void choose_hash(struct exchange *x, const struct ps_passwd_user *user)
{
	const char *stand_in = ps_passwd_file_stand_in(x->service->users);

	x->stored = ps_pool_strdup(x->pool, user ? user->password : stand_in ? stand_in : "{PLAIN}");
	if (user && stand_in && ps_password_cost(user->password).len == 0 && ps_password_cost(stand_in).len > 0)
		x->padding = ps_pool_strdup(x->pool, stand_in);
}

static const struct ps_passwd_user *look_up(struct exchange *x)
{
	const struct ps_passwd_user *user = NULL;
	const char *authzid;

	x->known = spell(x, &x->sasl.authcid);
	if (x->known)
		user = ps_passwd_file_find(x->service->users, x->known);
	if (!x->known)
		x->reason = "bad_name";
	else if (!user)
		x->reason = "unknown_user";
	else
		take_user(x, user);
	if (x->sasl.authzid.len) {
		authzid = spell(x, &x->sasl.authzid);
		if (!authzid || !x->known || strcmp(authzid, x->known) != 0)
			x->reason = "authzid";
	}
	return user;
}

/* Whether somebody can be looked up now; if not, that is the answer. */
static bool is_able(struct exchange *x)
{
	if (!x->service->users)
		finish(x, PS_AUTH_TEMPFAIL, "no_users_loaded");
	else if (x->service->checking >= CHECKING_MAX)
		finish(x, PS_AUTH_TEMPFAIL, "too_busy");
	else
		return true;
	return false;
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
	x->checking = true;
	x->done = then;
	x->service->checking++;
	ps_workers_run(x->service->workers, work, done, x);
}

static void check(struct exchange *x)
{
	if (!is_able(x))
		return;
	choose_hash(x, look_up(x));
	if (was_verified(x))
		conclude(x);
	else
		run(x, check_work, check_done);
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

static void find_secret(struct exchange *x)
{
	const struct ps_passwd_user *user;

	if (!is_able(x))
		return;
	user = look_up(x);
	x->stored = user ? ps_pool_strdup(x->pool, user->password) : NULL;
	make_salt(x);
	run(x, secret_work, secret_done);
}

static void prove(struct exchange *x, int r)
{
	x->r = r;
	conclude(x);
}

static void take_response(struct exchange *x, struct ps_bytes data)
{
	switch (ps_sasl_step(&x->sasl, data)) {
	case PS_SASL_CHALLENGE: answer(x, PS_AUTH_CONTINUE, ps_buf_view(&x->sasl.challenge)); break;
	case PS_SASL_PASSWORD: check(x); break;
	case PS_SASL_SECRET: find_secret(x); break;
	case PS_SASL_VERIFIED: prove(x, 0); break;
	case PS_SASL_WRONG: prove(x, PS_E_AUTH); break;
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

	if (!x || x->checking || x->timer)
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

void ps_auth_service_reconfigure(struct ps_auth_service *service, const struct ps_conf *conf)
{
	const struct ps_conf *limits = ps_conf_section(conf, "limits", 0);

	service->args.conf = conf;
	service->count_max = (unsigned)ps_conf_int(limits, "connections");
	service->verified_ms = (uint64_t)ps_conf_int(limits, "auth_cache_time") * 1000;
	ps_verified_forget(service->verified, UINT64_MAX); /* also when it was made shorter */
	ps_throttle_set(service->throttle, (unsigned)ps_conf_int(limits, "auth_failures_per_minute"),
			(uint64_t)ps_conf_int(limits, "auth_delay_max") * 1000);
}

static void on_forget(void *arg)
{
	struct ps_auth_service *service = arg;

	ps_verified_forget(service->verified, ps_loop_now(service->args.loop));
}

int ps_auth_service_create(const struct ps_auth_service_args *args, struct ps_auth_service **ret_service)
{
	struct ps_auth_service *service = ps_zalloc(sizeof *service);
	int r;

	service->args = *args;
	if ((r = ps_timer_open(args->loop, on_forget, service, &service->forget)) < 0 ||
	    (r = ps_workers_create(args->loop, (unsigned)ps_conf_int(args->conf, "auth_workers"), &service->workers)) <
		    0) {
		ps_timer_close(service->forget);
		free(service);
		return r;
	}
	ps_timer_set(service->forget, FORGET_MS, FORGET_MS);
	service->throttle = ps_throttle_create(0, 0);
	service->verified = ps_verified_create();
	service->revoked = ps_revoked_create(EXCHANGE_MS);
	gnutls_rnd(GNUTLS_RND_KEY, service->salt_key, sizeof service->salt_key);
	ps_auth_service_reconfigure(service, args->conf);
	*ret_service = service;
	return 0;
}

unsigned ps_auth_service_serves(const struct ps_auth_service *service)
{
	return PS_SERVES_PASSWORD | (service->users ? ps_passwd_file_serves(service->users) : 0);
}

void ps_auth_service_set_salt_key(struct ps_auth_service *service, struct ps_bytes octets)
{
	static const char purpose[] = "salts of SCRAM";

	gnutls_hmac_fast(GNUTLS_MAC_SHA256, purpose, sizeof purpose, octets.ptr, octets.len, service->salt_key);
}

int ps_auth_service_find(struct ps_auth_service *service, const char *name, const struct ps_user_info **ret_info)
{
	const struct ps_passwd_user *user = NULL;
	struct ps_buf spelt = {0};

	if (!service->users)
		return ps_fail(PS_E_AGAIN, "no users are loaded");
	/* A name that cannot be is nobody's. */
	if (ps_user_name_normalise(ps_bytes_str(name), NULL, &spelt) == 0)
		user = ps_passwd_file_find(service->users, ps_buf_cstr(&spelt));
	ps_buf_finish(&spelt);
	if (!user)
		return ps_fail(PS_E_NOTFOUND, "no user %s", name);
	*ret_info = &user->info;
	return 0;
}

/* ---- what does not hold any more -------------------------------------------------------------------- */

void ps_auth_service_set_mark_key(struct ps_auth_service *service, const struct ps_hash_key *key)
{
	service->mark_key = *key;
}

void ps_auth_service_revoke(struct ps_auth_service *service, const char *user, const char *stored)
{
	struct ps_revocation revocation = {.user = user, .at_ms = ps_loop_now(service->args.loop)};
	struct ps_hash mark;

	if (stored) {
		mark = ps_credential_mark(&service->mark_key, user, stored);
		revocation.credential = &mark;
	}
	ps_revoked_add(service->revoked, &revocation);
	if (service->args.revoked)
		service->args.revoked(service->args.arg, user, revocation.credential);
}

static void revoke_changes(struct ps_auth_service *service, const struct ps_passwd_file *before,
			   const struct ps_passwd_file *after)
{
	for (size_t i = 0; before && after && i < ps_passwd_file_count(before); i++) {
		const struct ps_passwd_user *old = ps_passwd_file_nth(before, i);
		const struct ps_passwd_user *new = ps_passwd_file_find(after, old->info.name);

		if (!new || (new->nologin && !old->nologin))
			ps_auth_service_revoke(service, old->info.name, NULL);
		else if (strcmp(new->password, old->password) != 0)
			ps_auth_service_revoke(service, old->info.name, old->password);
	}
}

void ps_auth_service_set_users(struct ps_auth_service *service, struct ps_passwd_file *users)
{
	revoke_changes(service, service->users, users);
	ps_passwd_file_destroy(service->users);
	service->users = users;
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
	ps_throttle_destroy(service->throttle);
	ps_passwd_file_destroy(service->users);
	explicit_bzero(service->salt_key, sizeof service->salt_key);
	free(service);
}
