/* SPDX-License-Identifier: MIT */
/*
 * auth/service.h - answers authentications: SASL exchanges, user look-up, hashing in worker threads, delays.
 *
 * It lives on a loop and knows nothing of processes; the auth role connects it with the fronts, and unit tests with
 * functions.
 */
#ifndef AUTH_SERVICE_H
#define AUTH_SERVICE_H

#include "auth/apps.h"
#include "auth/databases.h"
#include "auth/revoked.h"
#include "auth/scram.h"
#include "core/event/loop.h"
#include "postern/session.h"

struct ps_auth_service;
struct ps_token_keys;

/* Who asks: the front's index, its number for the session, and which of that session's exchanges it is. */
struct ps_auth_from {
	unsigned front;
	uint64_t number;
	uint32_t turn;
};

struct ps_auth_request {
	struct ps_auth_from from;
	const char *sid, *service, *mechanism, *remote;
	bool is_tls, plaintext_ok;
	const char *certificate_user;          /* whom the client's certificate names; NULL: nobody */
	uint64_t certificate_expires;          /* when it does; seconds since 1970 */
	struct ps_bytes bindings[PS_BINDINGS]; /* what the TLS connection has that "-PLUS" may be bound to */
	struct ps_bytes initial;
};

struct ps_auth_answer {
	struct ps_auth_from from;
	enum ps_auth_status status;
	struct ps_bytes data;
	/* With PS_AUTH_OK. */
	const struct ps_user_info *user;
	const char *sid, *service;
	const char *owner;         /* of the credential: the user, or a master user */
	unsigned database;         /* that the user is in */
	struct ps_hash credential; /* its mark */
	bool is_app;               /* it is one that no database knows: an app password, a token, a certificate */
	uint64_t expires;          /* when it does, in seconds since 1970; 0: not by itself */
	bool is_admin;             /* a master user's own password or the like, whoever the user is */
	uint32_t sessions;         /* that the user may have at a time; 0: any number */
};

struct ps_auth_service_args {
	struct ps_loop *loop;
	const struct ps_conf *conf; /* the root */
	void (*answer)(void *arg, const struct ps_auth_answer *answer);
	/* A credential does not hold any more: sessions that it opened are to end. NULL: nobody wants to know. */
	void (*revoked)(void *arg, const char *user, const struct ps_hash *credential);
	void *arg;
	struct ps_databases_hooks databases;
};

int ps_auth_service_create(const struct ps_auth_service_args *args, struct ps_auth_service **ret_service);
void ps_auth_service_destroy(struct ps_auth_service *service);
void ps_auth_service_reconfigure(struct ps_auth_service *service, const struct ps_conf *conf);
/* What marks of credentials are made with, before the first log-in: always the same while sessions of before go on. */
void ps_auth_service_set_mark_key(struct ps_auth_service *service, const struct ps_hash_key *key);
struct ps_hash ps_auth_service_mark(const struct ps_auth_service *service, const struct ps_user_entry *entry);
/* Whether a credential with this mark may be one that opens sessions of this user: the user's own, an app password, a master user's. Of a
 * token or certificate nothing is known any more. */
bool ps_auth_service_may_be(const struct ps_auth_service *service, const struct ps_user_entry *entry,
			    const struct ps_hash *mark, uint64_t *ret_expires);
/* The user's credential with this mark (NULL: each one) is changed or removed. What is being checked by it fails. */
void ps_auth_service_revoke(struct ps_auth_service *service, const char *user, const struct ps_hash *credential);
/* Takes the file over; the former is destroyed, and what it has more or other than the new one is revoked. NULL: until there is one,
 * answers are PS_AUTH_TEMPFAIL. */
void ps_auth_service_set_users(struct ps_auth_service *service, struct ps_passwd_file *users);

/* PS_SERVES_* (auth/passwords.h): which kinds of mechanisms some user can use. */
unsigned ps_auth_service_serves(const struct ps_auth_service *service);
/* Takes the keys of access tokens over; NULL: there are none. */
void ps_auth_service_set_token_keys(struct ps_auth_service *service, struct ps_token_keys *keys);
/* What the salts of users are made from who have none, as they do not exist, or are known by a password in clear text. The same octets give the
 * same salts; it should be a secret that lasts. Until it is given, each process has its own. */
void ps_auth_service_set_salt_key(struct ps_auth_service *service, struct ps_bytes octets);

/* Where users are looked for; it is configured by the caller. */
struct ps_databases *ps_auth_service_databases(struct ps_auth_service *service);
/* What is remembered of the user (NULL: of all) is forgotten. */
void ps_auth_service_forget(struct ps_auth_service *service, const char *name);

/* App passwords; taken over, the former are destroyed, and those that are not there any more revoked. */
void ps_auth_service_set_apps(struct ps_auth_service *service, struct ps_apps *apps);
/* Where their uses are noted; taken over. */
void ps_auth_service_set_app_uses(struct ps_auth_service *service, int fd);

/* Whether there is such a user, for mail to it: as ps_databases_find(). `pool` lives as long as the search. */
void ps_auth_service_find(struct ps_auth_service *service, const char *name, struct ps_pool *pool,
			  struct ps_looking *looking);

/* One exchange per number at a time: a start ends a former one. A step without a start is answered PS_AUTH_FAILED. */
void ps_auth_service_start(struct ps_auth_service *service, const struct ps_auth_request *request);
void ps_auth_service_step(struct ps_auth_service *service, struct ps_auth_from from, struct ps_bytes response);
void ps_auth_service_cancel(struct ps_auth_service *service, struct ps_auth_from from);
/* The front has gone, and with it all its exchanges. */
void ps_auth_service_drop_front(struct ps_auth_service *service, unsigned front);

#endif
