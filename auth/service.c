/* SPDX-License-Identifier: MIT */
#include <gnutls/crypto.h>
#include <stdlib.h>
#include <time.h>
#include "auth/names.h"
#include "auth/passwords.h"
#include "auth/service_private.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/pool.h"

#define FORGET_MS 10000u /* what is over is wiped so often */

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
	service->revoked = ps_revoked_create(PS_EXCHANGE_MS);
	gnutls_rnd(GNUTLS_RND_KEY, service->salt_key, sizeof service->salt_key);
	ps_auth_service_reconfigure(service, args->conf);
	*ret_service = service;
	return 0;
}

unsigned ps_auth_service_serves(const struct ps_auth_service *service)
{
	const struct ps_passwd_file *file = ps_databases_file(service->databases);
	const struct ps_conf *conf = service->args.conf;
	bool has_tokens = service->token_keys || ps_databases_have_tokens(service->databases);
	unsigned tokens = has_tokens ? PS_SERVES_TOKEN : 0;

	/* Clients take the strongest that they see: who could not use it would not get in. So it is one that all can use, or that was named. */
	if (ps_conf_list_size(conf, "sasl_mechanisms") > 0)
		return PS_SERVES_ALL | tokens;
	if (!file || ps_databases_have_users(service->databases))
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

static bool is_app_of(const struct ps_auth_service *service, const char *user, const struct ps_hash *mark,
		      uint64_t *ret_expires)
{
	const struct ps_app *app;

	if (!service->apps) /* they may just not have been read */
		return ps_conf_str(service->args.conf, "app_password_file");
	for (size_t i = 0; (app = ps_apps_nth(service->apps, i)); i++) {
		struct ps_hash own = ps_credential_mark(&service->mark_key, app->user, app->hash);

		if (strcmp(app->user, user) != 0 || !ps_hash_eq(&own, mark))
			continue;
		*ret_expires = app->expires;
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
			    const struct ps_hash *mark, uint64_t *ret_expires)
{
	struct ps_hash own = ps_auth_service_mark(service, entry);

	*ret_expires = 0;
	return ps_hash_eq(&own, mark) || is_app_of(service, entry->info.name, mark, ret_expires) ||
	       is_of_master(service, mark);
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
		if (!new || strcmp(new->user, old->user) != 0 || strcmp(new->hash, old->hash) != 0 ||
		    new->expires != old->expires)
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
	ps_exchanges_end(service);
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
