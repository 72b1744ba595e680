/* SPDX-License-Identifier: MIT */
/*
 * The auth role: reads the secrets that master opened, answers log-ins with tickets, signs for TLS. Passwords are hashed by
 * worker threads (auth/service.c), signatures made by others (signer.c); all else runs on the loop.
 */
#include <stdlib.h>
#include "auth/live.h"
#include "auth/service.h"
#include "auth/tokens.h"
#include "core/net/tls.h"
#include "core/process/auth_ask.h"
#include "core/process/certificates.h"
#include "core/process/place.h"
#include "core/process/role.h"
#include "core/process/signer.h"
#include "core/process/ticket.h"
#include "core/store/pending.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/pool.h"

struct auth {
	struct ps_role *role;
	struct ps_auth_service *service;
	struct ps_signer *signer;
	struct ps_ticket_key key, pass_key;
	bool has_key, has_pass_key;
	struct certificates *certificates;
	struct ps_live *live;
};

/* ---- log-ins ---------------------------------------------------------------------------------------- */

static int seal(struct auth *auth, const struct ps_auth_answer *answer, uint32_t mail, struct ps_buf *ticket)
{
	struct ps_msg_ticket content = {
		.sid = answer->sid,
		.service = answer->service,
		.user = answer->user->name,
		.uid = answer->user->uid,
		.gid = answer->user->gid,
		.home = answer->user->home,
		.backend = answer->user->backend,
		.root = answer->user->root,
		.fields = answer->user->fields,
		.mail = mail,
		.sessions = answer->sessions,
		.admin = answer->is_admin,
		.credential = ps_credential_octets(&answer->credential),
	};

	return ps_ticket_seal(&auth->key, &content, ps_monotonic_ms(), ticket);
}

/* What the front may show others: to a mail process, or, of who has logged in to send mail, to relay. */
static int seal_log_in(struct auth *auth, const struct ps_auth_answer *answer, uint32_t mail, struct ps_buf *out)
{
	struct ps_msg_pass pass = {
		.sid = answer->sid,
		.user = answer->user->name,
		.credential = ps_credential_octets(&answer->credential),
	};

	if (strcmp(answer->service, PS_SERVICE_SUBMISSION) == 0)
		return ps_pass_seal(&auth->pass_key, &pass, ps_monotonic_ms(), out);
	return seal(auth, answer, mail, out);
}

static void send_answer(void *arg, const struct ps_auth_answer *answer)
{
	struct auth *auth = arg;
	struct ps_channel *front = ps_role_peer(auth->role, PS_ROLE_FRONT, answer->from.front);
	struct ps_msg_auth_answer message = {.number = answer->from.number,
					     .turn = answer->from.turn,
					     .status = answer->status,
					     .data = answer->data};
	struct ps_buf ticket = {0};

	if (!front)
		return;
	if (answer->status == PS_AUTH_OK) {
		message.mail = ps_place_of(answer->user->name, auth->role->about.mails);
		if (strcmp(answer->service, PS_SERVICE_AUTH) != 0 &&
		    seal_log_in(auth, answer, message.mail, &ticket) < 0) {
			ps_log(PS_LOG_ERROR, "ticket", "sid", answer->sid, "msg", ps_last_error(), NULL);
			message.status = PS_AUTH_TEMPFAIL;
		}
		message.ticket = ps_buf_view(&ticket);
		message.user = answer->user->name;
		if (strcmp(answer->service, PS_SERVICE_SUBMISSION) == 0)
			message.sessions = answer->sessions;
		message.credential = ps_credential_octets(&answer->credential);
		ps_live_add(auth->live, answer);
	}
	if (ps_channel_send(front, PS_MSG_AUTH_ANSWER, &message) < 0)
		ps_log(PS_LOG_ERROR, "answer_lost", "msg", ps_last_error(), NULL);
	ps_buf_wipe(&ticket);
}

static void call_up(void *arg, uint64_t round)
{
	struct auth *auth = arg;
	struct ps_msg_roll_call message = {.round = round};

	ps_channel_send(auth->role->master, PS_MSG_ROLL_CALL, &message); /* else the next one */
}

static void on_live(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct auth *auth = ((struct ps_role *)arg)->state;
	struct ps_hash credential = ps_credential_from(message->live.credential);

	(void)from;
	ps_live_seen(auth->live, message->live.user, &credential);
}

static void on_roll_called(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct auth *auth = ((struct ps_role *)arg)->state;

	(void)from;
	ps_live_called(auth->live, message->roll_called.round);
}

static void send_revoked(void *arg, const char *user, const struct ps_hash *credential)
{
	struct auth *auth = arg;
	struct ps_msg_revoked message = {.user = user, .at = ps_monotonic_ms()};

	if (credential)
		message.credential = ps_credential_octets(credential);
	ps_log(PS_LOG_INFO, "credential_revoked", "user", user, "which", credential ? "one" : "all", NULL);
	if (ps_channel_send(auth->role->master, PS_MSG_REVOKED, &message) < 0)
		ps_log(PS_LOG_ERROR, "revocation_lost", "user", user, "msg", ps_last_error(), NULL);
}

static struct ps_auth_from from_of(struct ps_channel *channel, uint64_t number, uint32_t turn)
{
	return (struct ps_auth_from){ps_channel_index(channel), number, turn};
}

static void on_auth_start(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct ps_role *role = arg;
	struct auth *auth = role->state;
	const struct ps_msg_auth_start *start = &message->auth_start;
	struct ps_auth_request request = {
		.from = from_of(from, start->number, start->turn),
		.sid = start->sid,
		.service = start->service,
		.mechanism = start->mechanism,
		.remote = start->remote,
		.is_tls = start->is_tls,
		.plaintext_ok = start->plaintext_ok,
		.certificate_user = start->certificate_user,
		.certificate_expires = start->certificate_expires,
		.bindings = {[PS_BINDING_EXPORTER] = start->exporter,
			     [PS_BINDING_UNIQUE] = start->unique,
			     [PS_BINDING_END_POINT] = start->end_point},
		.initial = start->initial,
	};

	ps_auth_service_start(auth->service, &request);
}

static void on_auth_step(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct ps_role *role = arg;
	struct auth *auth = role->state;

	ps_auth_service_step(auth->service, from_of(from, message->auth_step.number, message->auth_step.turn),
			     message->auth_step.response);
}

static void on_auth_cancel(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct ps_role *role = arg;
	struct auth *auth = role->state;

	ps_auth_service_cancel(auth->service, from_of(from, message->auth_cancel.number, message->auth_cancel.turn));
}

/* ---- users that mail comes for ----------------------------------------------------------------------- */

struct lookup {
	struct auth *auth;
	struct ps_pool *pool;
	struct ps_looking looking;
	uint64_t number;
	const char *sid;
	bool ticket;
};

static enum ps_lookup_status describe(const struct lookup *lookup, const struct ps_user_info *user,
				      struct ps_msg_lookup_answer *answer, struct ps_buf *ticket)
{
	struct ps_auth_answer sealed = {.sid = lookup->sid, .service = PS_SERVICE_DELIVERY, .user = user};

	answer->user = user->name;
	answer->mail = ps_place_of(user->name, lookup->auth->role->about.mails);
	if (lookup->ticket && seal(lookup->auth, &sealed, answer->mail, ticket) < 0)
		return PS_LOOKUP_TEMPFAIL;
	return !lookup->ticket && ps_extensions_concern(user, lookup->auth->role->conf) ? PS_LOOKUP_LIMITED
											: PS_LOOKUP_FOUND;
}

static void looked_up(void *arg, int r, const struct ps_user_entry *entry)
{
	struct lookup *lookup = arg;
	struct ps_channel *relay = ps_role_peer(lookup->auth->role, PS_ROLE_RELAY, 0);
	struct ps_msg_lookup_answer answer = {.number = lookup->number, .user = ""};
	struct ps_buf ticket = {0};

	if (r == 0)
		answer.status = describe(lookup, &entry->info, &answer, &ticket);
	else
		answer.status = r == PS_E_NOTFOUND ? PS_LOOKUP_UNKNOWN : PS_LOOKUP_TEMPFAIL;
	answer.ticket = ps_buf_view(&ticket);
	if (relay && ps_channel_send(relay, PS_MSG_LOOKUP_ANSWER, &answer) < 0)
		ps_log(PS_LOG_ERROR, "answer_lost", "msg", ps_last_error(), NULL);
	ps_buf_wipe(&ticket);
	ps_pool_destroy(lookup->pool);
}

static void on_lookup(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct ps_role *role = arg;
	struct auth *auth = role->state;
	struct ps_pool *pool = ps_pool_create("lookup");
	struct lookup *lookup = PS_NEW(pool, struct lookup);

	(void)from;
	*lookup = (struct lookup){
		.auth = auth,
		.pool = pool,
		.looking = {.done = looked_up, .arg = lookup},
		.number = message->lookup.number,
		.sid = ps_pool_strdup(pool, message->lookup.sid),
		.ticket = message->lookup.ticket,
	};
	ps_auth_service_find(auth->service, message->lookup.name, pool, &lookup->looking);
}

/* ---- what the fronts offer ---------------------------------------------------------------------------- */

static void publish_serves(struct auth *auth, struct ps_channel *front)
{
	struct ps_msg_serves message = {.kinds = ps_auth_service_serves(auth->service)};

	if (ps_channel_send(front, PS_MSG_SERVES, &message) < 0)
		ps_log(PS_LOG_ERROR, "serves", "msg", ps_last_error(), NULL);
}

/* To the fronts, which offer mechanisms; relay does not. */
static void publish(struct auth *auth, void (*tell)(struct auth *auth, struct ps_channel *front))
{
	for (size_t i = 0; i < auth->role->peer_count; i++)
		if (auth->role->peers[i] && ps_channel_peer(auth->role->peers[i]) == PS_ROLE_FRONT)
			tell(auth, auth->role->peers[i]);
}

/* ---- user databases ---------------------------------------------------------------------------------- */

static int ask_database(void *arg, unsigned database, const struct ps_database_question *question)
{
	struct auth *auth = arg;
	struct ps_channel *userdb = ps_role_peer(auth->role, PS_ROLE_USERDB, database);
	const struct ps_userdb_login *login = &question->login;
	struct ps_msg_userdb_ask message = {
		.number = question->number,
		.name = login->name,
		.password = login->password,
		.service = login->service ? login->service : "",
		.remote = login->remote ? login->remote : "",
		.token = question->token,
	};

	return userdb ? ps_channel_send(userdb, PS_MSG_USERDB_ASK, &message)
		      : ps_fail(PS_E_CLOSED, "its process is not there");
}

static void on_userdb_answer(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct ps_role *role = arg;
	struct auth *auth = role->state;
	const struct ps_msg_userdb_answer *said = &message->userdb_answer;
	const struct ps_database_answer answer = {
		.number = said->number,
		.error = -(int)said->error,
		.fields = said->fields,
		.verifies = said->verifies,
		.tokens = said->tokens,
	};
	unsigned serves = ps_auth_service_serves(auth->service);

	ps_databases_answer(ps_auth_service_databases(auth->service), ps_channel_index(from), &answer);
	if (ps_auth_service_serves(auth->service) != serves)
		publish(auth, publish_serves);
}

static void on_user_forget(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct ps_role *role = arg;
	struct auth *auth = role->state;

	(void)from;
	ps_auth_service_forget(auth->service, message->user_forget.name);
}

static void on_ask(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct auth *auth = ((struct ps_role *)arg)->state;

	auth_ask(auth->service, from, &message->ask);
}

static void configure_databases(struct auth *auth)
{
	const struct ps_role *role = auth->role;
	struct ps_user_defaults defaults;

	ps_user_defaults_from(role->conf, role->about.mail_uid, role->about.mail_gid, &defaults);
	ps_databases_configure(ps_auth_service_databases(auth->service), role->conf, &defaults, role->about.userdbs);
	ps_live_reconfigure(auth->live, role->conf);
}

/* ---- secrets ---------------------------------------------------------------------------------------- */

static void load_users(struct auth *auth, const char *path, struct ps_buf *text)
{
	struct ps_user_defaults defaults;
	struct ps_passwd_file *users;

	ps_user_defaults_from(auth->role->conf, auth->role->about.mail_uid, auth->role->about.mail_gid, &defaults);
	if (ps_passwd_file_parse(ps_buf_view(text), path, &defaults, &users) == 0) {
		ps_log(PS_LOG_INFO, "users_loaded", "file", path, "users",
		       ps_num((long long)ps_passwd_file_count(users)), NULL);
		ps_auth_service_set_users(auth->service, users);
		publish(auth, publish_serves);
	}
	ps_buf_wipe(text);
}

static void load_apps(struct auth *auth, const char *path, struct ps_buf *text)
{
	ps_auth_service_set_apps(auth->service, ps_apps_parse(ps_buf_view(text), path));
	ps_buf_wipe(text);
}

static void load_token_keys(struct auth *auth, const char *path, struct ps_buf *text)
{
	struct ps_token_keys *keys;

	if (ps_token_keys_parse(ps_buf_view(text), path, &keys) == 0) {
		ps_log(PS_LOG_INFO, "token_keys_loaded", "file", path, "keys",
		       ps_num((long long)ps_token_keys_count(keys)), NULL);
		ps_auth_service_set_token_keys(auth->service, keys);
		publish(auth, publish_serves);
	} else {
		ps_log(PS_LOG_ERROR, "token_keys_not_used", "msg", ps_last_error(), NULL);
	}
	ps_buf_finish(text);
}

static void on_secret(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct ps_role *role = arg;
	struct auth *auth = role->state;
	const struct ps_msg_secret *secret = &message->secret;
	struct ps_buf text = {0};

	(void)from;
	if (secret->kind >= PS_SECRETS || secret->slot >= PS_KEY_SLOTS)
		return;
	if (secret->kind == PS_SECRET_APP_USES) {
		ps_auth_service_set_app_uses(auth->service, ps_take_fd(&message->secret.file));
		return;
	}
	if (ps_passwd_read_fd(secret->file, secret->path, &text) < 0) {
		ps_log(PS_LOG_ERROR, "secret_unreadable", "msg", ps_last_error(), NULL);
		ps_buf_wipe(&text);
		return;
	}
	if (secret->kind == PS_SECRET_USERS)
		load_users(auth, secret->path, &text);
	else if (secret->kind == PS_SECRET_APPS)
		load_apps(auth, secret->path, &text);
	else if (secret->kind == PS_SECRET_JWKS)
		load_token_keys(auth, secret->path, &text);
	else if (certificates_take(auth->certificates, (enum ps_secret_kind)secret->kind, secret->slot, &text) &&
		 secret->slot == 0)
		ps_auth_service_set_salt_key(auth->service, certificates_key(auth->certificates, 0));
}

/* Of both keys, as only auth has both: a front must not find out by trying what a mark stands for, nor must anyone else. */
static void make_mark_key(struct auth *auth)
{
	struct ps_hash_key key;
	uint64_t other[PS_ARRAY_LEN(key.k)];

	if (!auth->has_key || !auth->has_pass_key)
		return;
	memcpy(key.k, auth->key.octets, sizeof key.k);
	memcpy(other, auth->pass_key.octets, sizeof other);
	for (size_t i = 0; i < PS_ARRAY_LEN(key.k); i++)
		key.k[i] ^= other[i];
	ps_auth_service_set_mark_key(auth->service, &key);
	explicit_bzero(&key, sizeof key);
	explicit_bzero(other, sizeof other);
}

static void on_ticket_key(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct ps_role *role = arg;
	struct auth *auth = role->state;

	(void)from;
	if (message->ticket_key.key.len != sizeof auth->key.octets)
		return;
	memcpy(auth->key.octets, message->ticket_key.key.ptr, sizeof auth->key.octets);
	auth->has_key = true;
	make_mark_key(auth);
}

static void on_pass_key(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct ps_role *role = arg;
	struct auth *auth = role->state;

	(void)from;
	if (message->pass_key.key.len != sizeof auth->pass_key.octets)
		return;
	memcpy(auth->pass_key.octets, message->pass_key.key.ptr, sizeof auth->pass_key.octets);
	auth->has_pass_key = true;
	make_mark_key(auth);
}

/* ---- the role --------------------------------------------------------------------------------------- */

static bool take_peer(struct ps_role *role, struct ps_msg_peer *peer)
{
	struct auth *auth = role->state;

	if (peer->self != PS_ROLE_SIGNER)
		return false;
	if (ps_signer_serve(auth->signer, ps_take_fd(&peer->socket), peer->index) < 0)
		ps_log(PS_LOG_ERROR, "signer", "msg", ps_last_error(), NULL);
	return true;
}

static void peer_came(struct ps_role *role, struct ps_channel *channel)
{
	struct auth *auth = role->state;

	if (ps_channel_peer(channel) != PS_ROLE_FRONT)
		return;
	publish_serves(auth, channel); /* first: with the certificate a front begins */
	certificates_publish(auth->certificates, channel);
}

static void peer_went(struct ps_role *role, uint32_t peer, unsigned index)
{
	struct auth *auth = role->state;

	if (peer == PS_ROLE_FRONT)
		ps_auth_service_drop_front(auth->service, index);
	else if (peer == PS_ROLE_USERDB)
		ps_databases_lost(ps_auth_service_databases(auth->service), index);
}

static int start(struct ps_role *role)
{
	struct auth *auth = ps_zalloc(sizeof *auth);
	struct ps_auth_service_args args = {
		.loop = role->loop,
		.conf = role->conf,
		.answer = send_answer,
		.revoked = send_revoked,
		.arg = auth,
		.databases = {ask_database, auth},
	};
	int r;

	auth->role = role;
	auth->signer = ps_signer_create();
	auth->certificates = certificates_create(role, auth->signer);
	role->state = auth;
	r = ps_auth_service_create(&args, &auth->service);
	if (r == 0)
		r = ps_live_create(&(struct ps_live_args){role->loop, auth->service, call_up, auth}, &auth->live);
	if (r == 0)
		configure_databases(auth);
	return r;
}

static int serve(struct ps_role *role)
{
	ps_role_ready(role);
	return 0;
}

/* What one knows that is to be another, or none, is not true any more: that it does not know a user, say, whom the other one knows. */
static void drop_former_databases(struct ps_role *role)
{
	for (unsigned i = 0; i < PS_DATABASES_MAX; i++)
		if (role->about.former_userdbs & UINT32_C(1) << i)
			ps_role_drop_peer(role, PS_ROLE_USERDB, i);
}

/* Master sends the secrets again after a reload: their paths and the users' defaults may be others. */
static void reconfigure(struct ps_role *role)
{
	struct auth *auth = role->state;

	drop_former_databases(role);
	ps_auth_service_reconfigure(auth->service, role->conf);
	configure_databases(auth);
	certificates_reconfigure(auth->certificates);
	if (!ps_conf_str(ps_conf_section(role->conf, "oauth", 0), "jwks"))
		ps_auth_service_set_token_keys(auth->service, NULL);
	publish(auth, publish_serves);
}

static void stop(struct ps_role *role)
{
	ps_role_end(role, EXIT_SUCCESS);
}

static const struct ps_handler from_master[] = {
	{PS_MSG_TICKET_KEY, on_ticket_key},
	{PS_MSG_PASS_KEY, on_pass_key},
	{PS_MSG_SECRET, on_secret},
	{PS_MSG_USER_FORGET, on_user_forget},
	{PS_MSG_LIVE, on_live},
	{PS_MSG_ROLL_CALLED, on_roll_called},
	{PS_MSG_ASK, on_ask},
	{0, NULL},
};

static const struct ps_handler from_peers[] = {
	{PS_MSG_AUTH_START, on_auth_start},       {PS_MSG_LOOKUP, on_lookup},
	{PS_MSG_AUTH_STEP, on_auth_step},         {PS_MSG_AUTH_CANCEL, on_auth_cancel},
	{PS_MSG_USERDB_ANSWER, on_userdb_answer}, {0, NULL},
};

const struct ps_role_ops ps_role_auth = {
	.role = PS_ROLE_AUTH,
	.from_master = from_master,
	.from_peers = from_peers,
	.start = start,
	.serve = serve,
	.reconfigure = reconfigure,
	.peer_came = peer_came,
	.peer_went = peer_went,
	.take_peer = take_peer,
	.stop = stop,
};
