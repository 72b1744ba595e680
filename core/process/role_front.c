/* SPDX-License-Identifier: MIT */
/*
 * The front role: talks to strangers. What needs another process (passwords, private keys, mail) goes out as messages; the
 * rest is core/net.
 */
#include <stdlib.h>
#include <unistd.h>
#include "auth/revoked.h"
#include "auth/sasl.h"
#include "core/net/front.h"
#include "core/net/session.h"
#include "core/process/front_mail.h"
#include "core/process/placing.h"
#include "core/process/plugins.h"
#include "core/process/role.h"
#include "core/process/sessions.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/pool.h"

/* Auth answers at once unless it is being started again; a handshake does not wait for that. */
#define SIGN_TIMEOUT_MS 5000

struct listener {
	struct listener *next;
	char *name;
	int fd; /* -1: core/net has it */
};

/* A session's number, and which of its authentications. */
struct exchange {
	uint64_t number;
	uint32_t turn;
};

struct front {
	struct ps_role *role; /* first: front_mail.h */
	struct ps_front *front;
	struct listener *listeners;
	bool has_certificate, certificates_known, ready;
	unsigned serves;          /* PS_SERVES_*: what auth's users have; 0: not known yet */
	struct ps_buf mechanisms; /* as last asked for */
	struct ps_placing *placing;
	int sign_fd;
	uint64_t sign_number;
	struct ps_inbox *sign_inbox;
	/* Sessions that wait for an answer of auth: they get one even if auth dies. */
	struct exchange *waiting;
	size_t waiting_count, waiting_cap;
};

/* ---- log-in ----------------------------------------------------------------------------------------- */

static void wait_for(struct front *front, struct exchange exchange)
{
	if (front->waiting_count == front->waiting_cap) {
		front->waiting_cap = front->waiting_cap ? 2 * front->waiting_cap : 64;
		front->waiting = ps_realloc(front->waiting, front->waiting_cap * sizeof *front->waiting);
	}
	front->waiting[front->waiting_count++] = exchange;
}

static bool wait_over(struct front *front, struct exchange exchange)
{
	for (size_t i = 0; i < front->waiting_count; i++) {
		if (front->waiting[i].number != exchange.number || front->waiting[i].turn != exchange.turn)
			continue;
		front->waiting[i] = front->waiting[--front->waiting_count];
		return true;
	}
	return false;
}

static void fail_all(struct front *front)
{
	while (front->waiting_count) {
		struct exchange exchange = front->waiting[--front->waiting_count];

		ps_front_auth_answer(front->front, exchange.number, exchange.turn,
				     &(struct ps_front_auth){.status = PS_AUTH_TEMPFAIL});
	}
}

/* A question that could not be put. */
struct unasked {
	struct front *front;
	struct exchange exchange;
	enum ps_auth_status status;
};

static void answer_unasked(void *arg)
{
	struct unasked *unasked = arg;

	if (wait_over(unasked->front, unasked->exchange))
		ps_front_auth_answer(unasked->front->front, unasked->exchange.number, unasked->exchange.turn,
				     &(struct ps_front_auth){.status = unasked->status});
	free(unasked);
}

/* Answers later in any case: core/net does not expect an answer while it asks. */
static void answer_later(struct front *front, struct exchange exchange, enum ps_auth_status status)
{
	struct unasked *unasked = ps_zalloc(sizeof *unasked);

	*unasked = (struct unasked){front, exchange, status};
	ps_loop_post(front->role->loop, answer_unasked, unasked);
}

/* `response`: of the client's, in the message. One that no message holds is no password either. */
static void ask_auth(struct front *front, struct exchange exchange, uint32_t type, const void *message,
		     struct ps_bytes response)
{
	struct ps_channel *auth = ps_role_peer(front->role, PS_ROLE_AUTH, 0);

	wait_for(front, exchange);
	if (response.len > PS_SASL_RESPONSE_MAX)
		answer_later(front, exchange, PS_AUTH_FAILED);
	else if (!auth || ps_channel_send(auth, type, message) < 0)
		answer_later(front, exchange, PS_AUTH_TEMPFAIL);
}

static struct ps_bytes present(const struct ps_buf *buf)
{
	return buf->len > 0 ? ps_buf_view(buf) : ps_bytes(NULL, 0);
}

/* Another server's client has a TLS connection with that. */
static bool is_bindable(const struct ps_session *s)
{
	return ps_session_is_tls(s) && !s->client;
}

/* One longer than a name can be is nobody's. */
static const char *certificate_user(const struct ps_session *s)
{
	const char *user = is_bindable(s) ? ps_session_certificate_user(s) : NULL;

	return user && strlen(user) < 256 ? user : NULL;
}

static void auth_start(void *arg, uint64_t number, uint32_t turn, struct ps_session *s, const char *mechanism,
		       struct ps_bytes initial)
{
	struct ps_buf bindings[PS_BINDINGS] = {0};
	/* To have them takes as much as a quarter of a handshake: the certificate is read and digested, the exporter asked. */
	bool binds = is_bindable(s) && ps_sasl_is_bound(mechanism);
	struct ps_msg_auth_start message = {
		.number = number,
		.turn = turn,
		.sid = ps_session_sid(s),
		.service = s->protocol->service,
		.mechanism = mechanism,
		.remote = s->client ? s->client : ps_session_remote(s),
		.local = ps_session_local(s),
		.is_tls = is_bindable(s),
		.certificate_user = certificate_user(s),
		.certificate_expires = ps_front_certificate_expires(s),
		.plaintext_ok = ps_session_plaintext_ok(s),
		.initial = initial,
	};

	for (unsigned i = 0; i < PS_BINDINGS && binds; i++)
		ps_front_binding(s, (enum ps_binding)i, &bindings[i]);
	message.exporter = present(&bindings[PS_BINDING_EXPORTER]);
	message.unique = present(&bindings[PS_BINDING_UNIQUE]);
	message.end_point = present(&bindings[PS_BINDING_END_POINT]);
	ask_auth(arg, (struct exchange){number, turn}, PS_MSG_AUTH_START, &message, initial);
	for (unsigned i = 0; i < PS_BINDINGS; i++)
		ps_buf_wipe(&bindings[i]);
}

static void auth_step(void *arg, uint64_t number, uint32_t turn, struct ps_bytes response)
{
	struct ps_msg_auth_step message = {.number = number, .turn = turn, .response = response};

	ask_auth(arg, (struct exchange){number, turn}, PS_MSG_AUTH_STEP, &message, response);
}

static void auth_cancel(void *arg, uint64_t number, uint32_t turn)
{
	struct front *front = arg;
	struct ps_channel *auth = ps_role_peer(front->role, PS_ROLE_AUTH, 0);
	struct ps_msg_auth_cancel message = {.number = number, .turn = turn};

	wait_over(front, (struct exchange){number, turn});
	if (auth)
		ps_channel_send(auth, PS_MSG_AUTH_CANCEL, &message);
}

static const char *mechanisms(void *arg, struct ps_session *s)
{
	struct front *front = arg;
	struct ps_sasl_terms terms = {
		.conf = front->role->conf,
		.plaintext_ok = ps_session_plaintext_ok(s),
		.is_tls = is_bindable(s),
		.certificate_user = certificate_user(s),
		.serves = front->serves,
	};

	ps_buf_reset(&front->mechanisms);
	ps_sasl_put_names(&terms, &front->mechanisms);
	return ps_buf_cstr(&front->mechanisms);
}

/* For core/net a ticket is octets: the mail process's number is put before what auth sealed. */
static void pass_answer(struct front *front, const struct ps_msg_auth_answer *answer)
{
	struct ps_buf ticket = {0};

	if (!wait_over(front, (struct exchange){answer->number, answer->turn}))
		return;
	if (answer->ticket.ptr) {
		ps_buf_append(&ticket, &answer->mail, sizeof answer->mail);
		ps_buf_bytes(&ticket, answer->ticket);
	}
	ps_front_auth_answer(front->front, answer->number, answer->turn,
			     &(struct ps_front_auth){
				     .status = (enum ps_auth_status)answer->status,
				     .data = answer->data,
				     .ticket = ps_buf_view(&ticket),
				     .user = answer->user,
				     .sessions = answer->sessions,
				     .credential = ps_credential_from(answer->credential),
			     });
	ps_buf_wipe(&ticket);
}

static void on_auth_answer(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct front *front = ((struct ps_role *)arg)->state;
	const struct ps_msg_auth_answer *answer = &message->auth_answer;

	(void)from;
	if (ps_placing_must(front->placing, answer->ticket))
		ps_placing_ask(front->placing, PS_MSG_AUTH_ANSWER, answer, answer->ticket);
	else
		pass_answer(front, answer);
}

static void placed(struct ps_role *role, union ps_message *message, int error, uint32_t mail)
{
	struct ps_msg_auth_answer *answer = &message->auth_answer;
	const struct ps_msg_auth_answer none = {
		.number = answer->number, .turn = answer->turn, .status = PS_AUTH_TEMPFAIL};

	answer->mail = mail;
	pass_answer(role->state, error ? &none : answer);
}

static void on_placed(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct front *front = ((struct ps_role *)arg)->state;

	(void)from;
	ps_placing_answer(front->placing, &message->placed);
}

/* ---- hand-over and signatures ----------------------------------------------------------------------- */

static int hand_over(void *arg, struct ps_session *s, const struct ps_front_handover *what, uint32_t *ret_holder)
{
	struct front *front = arg;
	struct ps_channel *mail;
	uint32_t index = UINT32_MAX;
	struct ps_msg_hand_over message = {
		.number = what->number,
		.protocol = what->protocol,
		.sid = ps_session_sid(s),
		.remote = ps_session_remote(s),
		.local = ps_session_local(s),
		.is_tls = ps_session_is_tls(s),
		.unread = what->unread,
		.blob = what->blob,
		.connection = what->fd,
	};

	if (what->ticket.len > sizeof index) {
		memcpy(&index, what->ticket.ptr, sizeof index);
		message.ticket = ps_bytes_skip(what->ticket, sizeof index);
	}
	*ret_holder = index;
	mail = ps_role_peer(front->role, PS_ROLE_MAIL, index);
	if (!mail) {
		close(what->fd);
		return ps_fail(PS_E_CLOSED, "mail process %u is not there", index);
	}
	return ps_channel_send(mail, PS_MSG_HAND_OVER, &message);
}

static void on_hand_back(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct ps_role *role = arg;
	struct front *front = role->state;
	struct ps_msg_hand_back *back = &message->hand_back;

	if (ps_front_hand_back(front->front, ps_channel_index(from), back->number, ps_take_fd(&back->connection),
			       back->unread) < 0)
		ps_log(PS_LOG_ERROR, "hand_back_refused", "mail", ps_num(ps_channel_index(from)), "msg",
		       ps_last_error(), NULL);
}

static void on_session_over(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct ps_role *role = arg;
	struct front *front = role->state;

	ps_front_over(front->front, ps_channel_index(from), message->session_over.number);
}

static int receive_signature(struct front *front, uint64_t number, struct ps_buf *out)
{
	const struct ps_msg_signature *answer = &front->sign_inbox->message.signature;
	int r;

	do
		r = ps_wait_receive(front->sign_fd, SIGN_TIMEOUT_MS, PS_ROLE_SIGNER, PS_ROLE_FRONT, PS_PHASE_SERVING,
				    front->sign_inbox);
	while (r == 0 && answer->number != number);
	if (r < 0)
		return r;
	if (!answer->signature.ptr)
		return ps_fail(PS_E_AUTH, "auth refused to sign");
	return ps_buf_bytes(out, answer->signature);
}

static int sign(void *arg, uint32_t key, unsigned algorithm, bool is_hash, struct ps_bytes data, struct ps_buf *out)
{
	struct front *front = arg;
	struct ps_msg_sign message = {
		.number = ++front->sign_number, .key = key, .algorithm = algorithm, .is_hash = is_hash, .data = data};
	int r;

	if (front->sign_fd < 0)
		return ps_fail(PS_E_CLOSED, "auth is not there");
	r = ps_wait_send(front->sign_fd, PS_MSG_SIGN, &message);
	if (r == 0)
		r = receive_signature(front, message.number, out);
	if (r == PS_E_CLOSED) {
		ps_closep(&front->sign_fd);
		front->sign_fd = -1;
	}
	if (r < 0)
		ps_log(PS_LOG_ERROR, "sign_failed", "msg", ps_last_error(), NULL);
	return r;
}

/* ---- listeners -------------------------------------------------------------------------------------- */

static const struct ps_conf *conf_of(const struct ps_conf *root, const char *name)
{
	size_t n = ps_conf_section_count(root, "listener");

	for (size_t i = 0; i < n; i++) {
		const struct ps_conf *conf = ps_conf_section(root, "listener", i);

		if (strcmp(ps_conf_title(conf), name) == 0)
			return conf;
	}
	return NULL;
}

/* As one list. */
static void put_proxies(const struct ps_conf *listener, struct ps_buf *out)
{
	for (size_t i = 0; listener && i < ps_conf_list_size(listener, "proxy"); i++)
		ps_buf_printf(out, "%s%s", i ? "," : "", ps_conf_list_nth(listener, "proxy", i));
}

static void open_listener(struct front *front, struct listener *listener)
{
	const struct ps_conf *root = front->role->conf, *conf = conf_of(root, listener->name);
	struct ps_buf proxies = {0};
	const char *protocol = conf ? ps_conf_str(conf, "protocol") : "", *tls = conf ? ps_conf_str(conf, "tls") : "";
	const char *client = conf ? ps_conf_str(conf, "client_certificate") : "none";
	struct ps_front_listener args = {
		.fd = listener->fd,
		.name = listener->name,
		.protocol = ps_protocol_find(protocol),
		.protocol_name = protocol,
		.protocol_conf = ps_conf_plugin(root, "protocol", protocol),
		.implicit_tls = strcmp(tls, "implicit") == 0,
		.tls_available = strcmp(tls, "none") != 0,
		.asks_client = strcmp(client, "none") != 0,
		.needs_client = strcmp(client, "required") == 0,
	};

	if (!args.protocol || !args.protocol->front) {
		ps_log(PS_LOG_ERROR, "listener", "name", listener->name, "msg", "its protocol is not there", NULL);
		return;
	}
	listener->fd = -1;
	put_proxies(conf, &proxies);
	args.proxies = ps_buf_cstr(&proxies);
	if (ps_front_listen(front->front, &args) < 0)
		ps_log(PS_LOG_ERROR, "listener", "name", listener->name, "msg", ps_last_error(), NULL);
	ps_buf_finish(&proxies);
}

static void on_listener(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct ps_role *role = arg;
	struct front *front = role->state;
	struct listener *listener = ps_zalloc(sizeof *listener);

	(void)from;
	listener->name = ps_strdup(message->listener.name);
	listener->fd = ps_take_fd(&message->listener.socket);
	listener->next = front->listeners;
	front->listeners = listener;
	if (front->ready)
		open_listener(front, listener);
}

static void on_listener_gone(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct ps_role *role = arg;
	struct front *front = role->state;

	(void)from;
	for (struct listener **at = &front->listeners; *at; at = &(*at)->next) {
		struct listener *listener = *at;

		if (strcmp(listener->name, message->listener_gone.name) != 0)
			continue;
		if (listener->fd < 0)
			ps_front_unlisten(front->front, listener->name);
		ps_closep(&listener->fd);
		*at = listener->next;
		free(listener->name);
		free(listener);
		return;
	}
}

static void on_counts(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct ps_role *role = arg;
	struct front *front = role->state;
	const struct ps_msg_counts *counts = &message->counts;

	(void)from;
	if (ps_front_share_counts(front->front, counts->index, counts->own, counts->seed, counts->table) < 0)
		ps_log(PS_LOG_ERROR, "counts", "msg", ps_last_error(), NULL);
}

static bool needs_certificate(const struct ps_conf *root)
{
	size_t n = ps_conf_section_count(root, "listener");

	for (size_t i = 0; i < n; i++)
		if (strcmp(ps_conf_str(ps_conf_section(root, "listener", i), "tls"), "none") != 0)
			return true;
	return false;
}

/* Nobody is accepted before there is a certificate to greet him with, and mechanisms to offer; who comes earlier waits in the kernel. */
static void try_ready(struct front *front)
{
	struct ps_role *role = front->role;

	if (front->ready || role->phase != PS_PHASE_SERVING || !front->serves ||
	    (needs_certificate(role->conf) && !front->certificates_known))
		return;
	front->ready = true;
	for (struct listener *listener = front->listeners; listener; listener = listener->next)
		open_listener(front, listener);
	ps_role_ready(role);
}

static void on_certificate(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct ps_role *role = arg;
	struct front *front = role->state;
	const struct ps_msg_certificate *msg = &message->certificate;
	const struct tls_certificate certificate = {.key = msg->key, .pem = msg->pem, .ocsp = msg->ocsp};

	(void)from;
	if (ps_front_set_certificate(front->front, &certificate) < 0)
		ps_log(PS_LOG_ERROR, "certificate", "msg", ps_last_error(), NULL);
	front->has_certificate |= msg->pem.ptr != NULL;
	/* That of slot 0 comes last. */
	front->certificates_known |= front->has_certificate && PS_KEY_SLOT(msg->key) == 0;
	try_ready(front);
}

static void on_serves(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct front *front = ((struct ps_role *)arg)->state;

	(void)from;
	front->serves = message->serves.kinds;
	try_ready(front);
}

static void on_authorities(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct front *front = ((struct ps_role *)arg)->state;

	(void)from;
	if (ps_front_set_client_authorities(front->front, message->authorities.pem) < 0)
		ps_log(PS_LOG_ERROR, "client_authorities", "msg", ps_last_error(), NULL);
}

static void on_resumption_key(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct front *front = ((struct ps_role *)arg)->state;

	(void)from;
	ps_front_set_ticket_key(front->front, message->resumption_key.key);
}

/* ---- mail that is taken ------------------------------------------------------------------------------ */

static void on_mail_reply(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct front *front = ((struct ps_role *)arg)->state;
	const struct ps_msg_mail_reply *msg = &message->mail_reply;
	const struct ps_mail_reply reply = {msg->code, msg->enhanced, msg->text};

	(void)from;
	ps_front_mail_reply(front->front, msg->number, msg->turn, &reply, msg->id);
}

static void on_mail_file(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct front *front = ((struct ps_role *)arg)->state;

	(void)from;
	ps_front_mail_file(front->front, message->mail_file.number, message->mail_file.turn,
			   ps_take_fd(&message->mail_file.file));
}

static void on_mail_no_file(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct front *front = ((struct ps_role *)arg)->state;

	(void)from;
	ps_front_mail_file(front->front, message->mail_no_file.number, message->mail_no_file.turn, -1);
}

/* ---- who is there, and who shall not be -------------------------------------------------------------- */

static void on_who(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct front *front = ((struct ps_role *)arg)->state;
	struct who_asked who = {from, message->who.request};

	ps_front_each(front->front, sessions_tell, &who);
	sessions_told(&who);
}

static void on_kick(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct front *front = ((struct ps_role *)arg)->state;
	struct ps_session_choice choice = sessions_to_kick(&message->kick);

	sessions_kicked(from, &message->kick, ps_front_end(front->front, &choice));
}

static void on_revoked(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct front *front = ((struct ps_role *)arg)->state;
	struct ps_hash credential;
	struct ps_session_choice choice = sessions_revoked(&message->revoked, &credential);

	(void)from;
	ps_front_end(front->front, &choice);
}

/* ---- the role --------------------------------------------------------------------------------------- */

static bool take_peer(struct ps_role *role, struct ps_msg_peer *peer)
{
	struct front *front = role->state;

	if (peer->role != PS_ROLE_SIGNER)
		return false;
	ps_closep(&front->sign_fd);
	front->sign_fd = ps_take_fd(&peer->socket);
	return true;
}

static void peer_went(struct ps_role *role, uint32_t peer, unsigned index)
{
	struct front *front = role->state;

	if (peer == PS_ROLE_AUTH)
		fail_all(front);
	if (peer == PS_ROLE_MAIL)
		ps_front_holder_gone(front->front, index);
	if (peer == PS_ROLE_RELAY)
		ps_front_mail_lost(front->front);
}

static int start(struct ps_role *role)
{
	struct front *front = ps_zalloc(sizeof *front);
	struct ps_front_hooks hooks = {
		.auth_start = auth_start,
		.auth_step = auth_step,
		.auth_cancel = auth_cancel,
		.mechanisms = mechanisms,
		.hand_over = hand_over,
		.mail_from = front_mail_from,
		.mail_rcpt = front_mail_rcpt,
		.mail_data = front_mail_data,
		.mail_room = front_mail_room,
		.mail_end = front_mail_end,
		.mail_reset = front_mail_reset,
		.sign = sign,
		.arg = front,
	};

	front->role = role;
	front->sign_fd = -1;
	front->placing = ps_placing_create(role, placed);
	front->sign_inbox = ps_malloc(sizeof *front->sign_inbox);
	role->state = front;
	return ps_front_create(role->loop, role->conf, &hooks, &front->front);
}

static int serve(struct ps_role *role)
{
	try_ready(role->state);
	return 0;
}

static void reconfigure(struct ps_role *role)
{
	struct front *front = role->state;

	ps_front_reconfigure(front->front, role->conf);
}

static void empty(void *arg)
{
	ps_role_end(arg, EXIT_SUCCESS);
}

static void stop(struct ps_role *role)
{
	struct front *front = role->state;

	ps_front_stop(front->front, empty, role);
}

static const struct ps_handler from_master[] = {
	{PS_MSG_LISTENER, on_listener},
	{PS_MSG_LISTENER_GONE, on_listener_gone},
	{PS_MSG_COUNTS, on_counts},
	{PS_MSG_RESUMPTION_KEY, on_resumption_key},
	{PS_MSG_WHO, on_who},
	{PS_MSG_KICK, on_kick},
	{PS_MSG_REVOKED, on_revoked},
	{PS_MSG_PLACED, on_placed},
	{0, NULL},
};

static const struct ps_handler from_peers[] = {
	{PS_MSG_AUTH_ANSWER, on_auth_answer},   {PS_MSG_CERTIFICATE, on_certificate},
	{PS_MSG_AUTHORITIES, on_authorities},   {PS_MSG_SERVES, on_serves},
	{PS_MSG_HAND_BACK, on_hand_back},       {PS_MSG_SESSION_OVER, on_session_over},
	{PS_MSG_MAIL_REPLY, on_mail_reply},     {PS_MSG_MAIL_FILE, on_mail_file},
	{PS_MSG_MAIL_NO_FILE, on_mail_no_file}, {0, NULL},
};

const struct ps_role_ops ps_role_front = {
	.role = PS_ROLE_FRONT,
	.from_master = from_master,
	.from_peers = from_peers,
	.start = start,
	.serve = serve,
	.reconfigure = reconfigure,
	.peer_went = peer_went,
	.take_peer = take_peer,
	.stop = stop,
};
