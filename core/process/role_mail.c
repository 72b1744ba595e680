/* SPDX-License-Identifier: MIT */
/*
 * The mail role: takes connections that fronts hand over with a ticket from auth, and serves them until they end.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "auth/revoked.h"
#include "core/delivery/deliver.h"
#include "core/delivery/notice.h"
#include "core/net/mail.h"
#include "core/process/plugins.h"
#include "core/process/role.h"
#include "core/process/sessions.h"
#include "core/process/ticket.h"
#include "postern/store.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/message.h"
#include "postern/pool.h"

enum {
	IDLE_EVERY_MS = 2000
};

struct mail {
	struct ps_mail *mail;
	struct ps_ticket_key key;
	struct ps_ticket_book *book;
	struct ps_revoked *revoked;
	struct ps_timer *idle; /* of a user's own process */
	uint64_t idle_since;   /* 0: it has something to do */
};

static void on_ticket_key(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct ps_role *role = arg;
	struct mail *mail = role->state;

	(void)from;
	if (message->ticket_key.key.len == sizeof mail->key.octets)
		memcpy(mail->key.octets, message->ticket_key.key.ptr, sizeof mail->key.octets);
	if (!mail->book)
		mail->book = ps_ticket_book_create(role->about.index, role->about.user, message->ticket_key.since);
}

/* ---- hand-over -------------------------------------------------------------------------------------- */

static int take(struct ps_role *role, uint32_t from, struct ps_msg_hand_over *message)
{
	struct mail *mail = role->state;
	const struct ps_protocol *protocol = ps_protocol_find(message->protocol);
	struct ps_msg_ticket ticket;
	struct ps_handover handover;
	struct ps_hash credential;
	int r = ps_ticket_take(mail->book, &mail->key, message->ticket, ps_monotonic_ms(), &ticket);

	if (r < 0)
		return r;
	if (!protocol || !protocol->mail)
		return ps_fail(PS_E_NOTFOUND, "no protocol \"%s\" with a mail half", message->protocol);
	if (strcmp(ticket.sid, message->sid) != 0 || strcmp(ticket.service, protocol->service) != 0)
		return ps_fail(PS_E_AUTH, "ticket: for another session");
	credential = ps_credential_from(ticket.credential);
	if (ps_revoked_has(mail->revoked, ticket.user, &credential, ticket.expires - PS_TICKET_LIFETIME_MS))
		return ps_fail(PS_E_AUTH, "ticket: the credential was revoked");
	handover = (struct ps_handover){
		.protocol = protocol,
		.protocol_conf = ps_conf_plugin(role->conf, "protocol", message->protocol),
		.sid = message->sid,
		.remote = message->remote,
		.local = message->local,
		.is_tls = message->is_tls,
		.fd = ps_take_fd(&message->connection),
		.from = from,
		.number = message->number,
		.user = {.name = ticket.user,
			 .uid = ticket.uid,
			 .gid = ticket.gid,
			 .home = ticket.home,
			 .backend = ticket.backend,
			 .root = ticket.root,
			 .fields = ticket.fields},
		.credential = credential,
		.sessions = ticket.sessions,
		.is_admin = ticket.admin,
		.unread = message->unread,
		.blob = message->blob,
	};
	return ps_mail_take(mail->mail, &handover);
}

static void on_hand_over(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct ps_msg_hand_over *hand_over = &message->hand_over;

	struct ps_msg_session_over over = {.number = hand_over->number};

	if (take(arg, ps_channel_index(from), hand_over) == 0)
		return;
	ps_log(PS_LOG_ERROR, "hand_over_refused", "sid", hand_over->sid, "msg", ps_last_error(), NULL);
	ps_channel_send(from, PS_MSG_SESSION_OVER, &over);
}

static int hand_back(void *arg, uint32_t from, uint64_t number, int fd, struct ps_bytes unread)
{
	struct ps_channel *front = ps_role_peer(arg, PS_ROLE_FRONT, from);
	struct ps_msg_hand_back message = {.number = number, .unread = unread, .connection = fd};

	if (front)
		return ps_channel_send(front, PS_MSG_HAND_BACK, &message);
	close(fd);
	return ps_fail(PS_E_CLOSED, "front process %u is not there", from);
}

static void session_over(void *arg, uint32_t from, uint64_t number)
{
	struct ps_channel *front = ps_role_peer(arg, PS_ROLE_FRONT, from);
	struct ps_msg_session_over message = {.number = number};

	if (front)
		ps_channel_send(front, PS_MSG_SESSION_OVER, &message);
}

static void peer_went(struct ps_role *role, uint32_t peer, unsigned index)
{
	struct mail *mail = role->state;

	if (peer == PS_ROLE_FRONT)
		ps_mail_from_gone(mail->mail, index);
}

/* ---- delivery --------------------------------------------------------------------------------------- */

/* A message on its way into a mailbox. */
struct job {
	struct ps_role *role;
	struct ps_pool *pool;
	uint64_t number;
	const char *id;
	struct ps_deliver_args args;
	bool probe; /* whether it would be taken */
	int result;
	const char *why;
};

static void job_work(void *arg)
{
	struct job *job = arg;

	if (job->probe)
		job->result = ps_deliver_ask(job->role->conf, &job->args);
	else
		job->result = ps_deliver(job->role->conf, &job->args);
	if (job->result < 0)
		job->why = ps_pool_strdup(job->pool, ps_last_error());
}

static void answer_delivery(struct ps_role *role, uint64_t number, int result)
{
	struct ps_channel *relay = ps_role_peer(role, PS_ROLE_RELAY, 0);
	struct ps_msg_delivered message = {.number = number, .error = (uint32_t)-result};

	if (relay && ps_channel_send(relay, PS_MSG_DELIVERED, &message) < 0)
		ps_log(PS_LOG_ERROR, "answer_lost", "msg", ps_last_error(), NULL);
}

static void log_failure(const char *id, int result, const char *why)
{
	ps_log(result == PS_E_QUOTA ? PS_LOG_WARNING : PS_LOG_ERROR, "delivery_failed", "id", id, "error",
	       ps_err_name(result), "msg", why, NULL);
}

/* Of a probe what nobody can act on is for the delivery to meet. */
static void job_done(void *arg)
{
	struct job *job = arg;
	int result = job->probe && job->result != PS_E_QUOTA ? 0 : job->result;

	if (result < 0 && !job->probe)
		log_failure(job->id, result, job->why);
	answer_delivery(job->role, job->number, result);
	ps_closep(&job->args.file);
	ps_pool_destroy(job->pool);
}

static struct ps_user_info copy_user(struct ps_pool *pool, const struct ps_msg_ticket *ticket)
{
	return (struct ps_user_info){
		.name = ps_pool_strdup(pool, ticket->user),
		.uid = ticket->uid,
		.gid = ticket->gid,
		.home = ps_pool_strdup(pool, ticket->home),
		.backend = ps_pool_strdup(pool, ticket->backend),
		.root = ps_pool_strdup(pool, ticket->root),
		.fields = ps_pool_strdup(pool, ticket->fields),
	};
}

/* With the user whom the ticket names. */
static int job_create(struct ps_role *role, struct ps_bytes sealed, const char *id, const char *mailbox,
		      struct job **ret_job)
{
	struct mail *mail = role->state;
	struct ps_msg_ticket ticket;
	struct ps_pool *pool;
	struct job *job;
	int r = ps_ticket_take(mail->book, &mail->key, sealed, ps_monotonic_ms(), &ticket);

	if (r < 0)
		return r;
	if (strcmp(ticket.service, PS_SERVICE_DELIVERY) != 0)
		return ps_fail(PS_E_AUTH, "ticket: not for a delivery");
	pool = ps_pool_create("delivery");
	job = PS_NEW(pool, struct job);
	*job = (struct job){
		.role = role,
		.pool = pool,
		.id = ps_pool_strdup(pool, id),
		.args = {.user = copy_user(pool, &ticket), .mailbox = ps_pool_strdup(pool, mailbox), .file = -1},
	};
	*ret_job = job;
	return 0;
}

static int start_job(struct ps_role *role, struct ps_msg_deliver *message)
{
	struct mail *mail = role->state;
	struct job *job;
	int r = job_create(role, message->ticket, message->sid, message->mailbox, &job);

	if (r < 0)
		return r;
	job->number = message->number;
	job->args.reverse_path = ps_pool_strdup(job->pool, message->reverse_path);
	job->args.recipient = ps_pool_strdup(job->pool, message->recipient);
	job->args.refuse_loop = message->refuse_loop;
	job->args.token =
		ps_bytes(ps_pool_memdup(job->pool, message->token.ptr, message->token.len), message->token.len);
	job->args.file = ps_take_fd(&message->file);
	job->args.size = message->size;
	ps_mail_run(mail->mail, job->args.user.name, job_work, job_done, job);
	return 0;
}

static void on_deliver(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct ps_msg_deliver *deliver = &message->deliver;
	int r = start_job(arg, deliver);

	(void)from;
	if (r < 0) {
		log_failure(deliver->sid, r, ps_last_error());
		answer_delivery(arg, deliver->number, r);
	}
}

static void on_probe(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct ps_role *role = arg;
	struct mail *mail = role->state;
	const struct ps_msg_probe *probe = &message->probe;
	struct job *job;

	(void)from;
	if (job_create(role, probe->ticket, probe->sid, probe->mailbox, &job) < 0) {
		answer_delivery(role, probe->number, 0);
		return;
	}
	job->number = probe->number;
	job->probe = true;
	job->args.size = probe->size;
	ps_mail_run(mail->mail, job->args.user.name, job_work, job_done, job);
}

/* ---- notices ---------------------------------------------------------------------------------------- */

struct notice {
	struct ps_role *role;
	struct ps_pool *pool;
	struct ps_msg_notice message;
};

static void send_notice(void *arg)
{
	struct notice *notice = arg;
	struct ps_channel *relay = ps_role_peer(notice->role, PS_ROLE_RELAY, 0);

	if (relay && ps_channel_send(relay, PS_MSG_NOTICE, &notice->message) < 0)
		ps_log(PS_LOG_ERROR, "notice_lost", "msg", ps_last_error(), NULL);
	ps_pool_destroy(notice->pool);
}

static void pass_notice(void *arg, const char *user, const char *subject, const char *text)
{
	struct ps_pool *pool = ps_pool_create("notice");
	struct notice *notice = PS_NEW(pool, struct notice);

	notice->role = arg;
	notice->pool = pool;
	notice->message = (struct ps_msg_notice){.user = ps_pool_strdup(pool, user),
						 .subject = ps_pool_strdup(pool, subject),
						 .text = ps_pool_strdup(pool, text)};
	ps_loop_post(notice->role->loop, send_notice, notice);
}

/* ---- who is there, and who shall not be -------------------------------------------------------------- */

static void on_who(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct mail *mail = ((struct ps_role *)arg)->state;
	struct who_asked who = {from, message->who.request};

	ps_mail_each(mail->mail, sessions_tell, &who);
	sessions_told(&who);
}

static void on_kick(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct mail *mail = ((struct ps_role *)arg)->state;
	struct ps_session_choice choice = sessions_to_kick(&message->kick);

	sessions_kicked(from, &message->kick, ps_mail_end(mail->mail, &choice));
}

/* Tickets that were sealed before may still be on their way. */
static void on_revoked(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct mail *mail = ((struct ps_role *)arg)->state;
	struct ps_hash credential;
	struct ps_session_choice choice = sessions_revoked(&message->revoked, &credential);
	struct ps_revocation revocation = {message->revoked.user, choice.credential, message->revoked.at};

	(void)from;
	ps_revoked_add(mail->revoked, &revocation);
	ps_mail_end(mail->mail, &choice);
}

/* ---- a process of one user's ------------------------------------------------------------------------- */

/* Master ends it when nobody can be on the way to it. */
static void look_idle(void *arg)
{
	struct ps_role *role = arg;
	struct mail *mail = role->state;
	uint64_t now = ps_monotonic_ms();
	struct ps_msg_idle message;

	if (!ps_mail_is_idle(mail->mail)) {
		mail->idle_since = 0;
		return;
	}
	if (!mail->idle_since)
		mail->idle_since = now;
	message.for_ms = now - mail->idle_since;
	ps_channel_send(role->master, PS_MSG_IDLE, &message);
}

/* ---- the role --------------------------------------------------------------------------------------- */

static int start(struct ps_role *role)
{
	struct mail *mail = ps_zalloc(sizeof *mail);
	int r;

	role->state = mail;
	ps_notices_to(pass_notice, role);
	mail->revoked = ps_revoked_create(PS_TICKET_LIFETIME_MS);
	r = ps_mail_create(role->loop, role->conf, (unsigned)ps_conf_int(role->conf, "worker_threads"), &mail->mail);
	if (r == 0 && role->about.user && (r = ps_timer_open(role->loop, look_idle, role, &mail->idle)) == 0)
		ps_timer_set(mail->idle, IDLE_EVERY_MS, IDLE_EVERY_MS);
	if (r == 0)
		ps_mail_set_hooks(mail->mail, &(struct ps_mail_hooks){hand_back, session_over, role});
	return r;
}

static int serve(struct ps_role *role)
{
	ps_role_ready(role);
	return 0;
}

static void reconfigure(struct ps_role *role)
{
	struct mail *mail = role->state;

	ps_mail_reconfigure(mail->mail, role->conf);
}

static void empty(void *arg)
{
	ps_users_close_kept(true);
	ps_role_end(arg, EXIT_SUCCESS);
}

static void stop(struct ps_role *role)
{
	struct mail *mail = role->state;

	ps_mail_stop(mail->mail, empty, role);
}

static const struct ps_handler from_master[] = {
	{PS_MSG_TICKET_KEY, on_ticket_key},
	{PS_MSG_WHO, on_who},
	{PS_MSG_KICK, on_kick},
	{PS_MSG_REVOKED, on_revoked},
	{0, NULL},
};

static const struct ps_handler from_peers[] = {
	{PS_MSG_HAND_OVER, on_hand_over},
	{PS_MSG_DELIVER, on_deliver},
	{PS_MSG_PROBE, on_probe},
	{0, NULL},
};

static int load(const struct ps_conf *conf)
{
	(void)conf;
	ps_charset_preload();
	return 0;
}

const struct ps_role_ops ps_role_mail = {
	.role = PS_ROLE_MAIL,
	.from_master = from_master,
	.from_peers = from_peers,
	.load = load,
	.start = start,
	.serve = serve,
	.reconfigure = reconfigure,
	.peer_went = peer_went,
	.stop = stop,
};
