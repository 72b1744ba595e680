/* SPDX-License-Identifier: MIT */
/* The control socket, master's side. Peers are root or ourselves; still, what they send has limits. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include "auth/nets.h"
#include "auth/names.h"
#include "core/process/master.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/pool.h"

#define ASKERS_MAX  16
#define REQUEST_MAX 4096
#define WHO_WAIT_MS 3000
#define ASK_WAIT_MS 9000

struct asker {
	struct control *control;
	int fd; /* -1: free */
	struct ps_watch *watch;
	struct ps_buf in, out;
	/* A request to other processes that is under way: */
	uint64_t request;                  /* 0: none */
	void (*over)(struct asker *asker); /* its time is over */
	struct ps_timer *timer;
	unsigned missing; /* of `who` and `kick`: processes that have not told all */
	uint64_t kicked;
	json_t *sessions;
};

struct control {
	struct master *master;
	int fd;
	char *path;
	struct ps_watch *watch;
	uint64_t last_request;
	struct asker askers[ASKERS_MAX];
};

/* ---- answers ---------------------------------------------------------------------------------------- */

static void drop(struct asker *asker)
{
	ps_watch_close(asker->watch);
	ps_timer_close(asker->timer);
	ps_closep(&asker->fd);
	ps_buf_finish(&asker->in);
	ps_buf_finish(&asker->out);
	json_decref(asker->sessions);
	*asker = (struct asker){.control = asker->control, .fd = -1};
}

/* False: the asker has gone. */
static bool flush(struct asker *asker)
{
	while (asker->out.len) {
		ssize_t n = send(asker->fd, asker->out.ptr, asker->out.len, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EAGAIN) {
			drop(asker);
			return false;
		}
		if (n < 0)
			break;
		ps_buf_consume(&asker->out, (size_t)n);
	}
	ps_watch_set(asker->watch, PS_READABLE | (asker->out.len ? PS_WRITABLE : 0));
	return true;
}

/* Takes the object over. */
static void answer(struct asker *asker, json_t *object)
{
	char *text = json_dumps(object, JSON_COMPACT);

	json_decref(object);
	if (text) {
		ps_buf_str(&asker->out, text);
		ps_buf_char(&asker->out, '\n');
	}
	free(text);
}

static void answer_error(struct asker *asker, const char *error)
{
	answer(asker, json_pack("{s:b, s:s}", "ok", 0, "error", error));
}

/* ---- requests --------------------------------------------------------------------------------------- */

static void do_ping(struct asker *asker, const json_t *request)
{
	(void)request;
	answer(asker, json_pack("{s:b, s:i}", "ok", 1, "pid", (int)getpid()));
}

static void do_reload(struct asker *asker, const json_t *request)
{
	(void)request;
	if (master_reload(asker->control->master) < 0)
		answer_error(asker, ps_last_error());
	else
		answer(asker, json_pack("{s:b}", "ok", 1));
}

static void do_stop(struct asker *asker, const json_t *request)
{
	struct master *master = asker->control->master;

	(void)request;
	/* Stopping closes this socket, so the answer goes first. */
	answer(asker, json_pack("{s:b}", "ok", 1));
	if (flush(asker))
		master_stop(master);
}

static void do_users_changed(struct asker *asker, const json_t *request)
{
	(void)request;
	secrets_send(asker->control->master, PS_SECRET_USERS);
	secrets_send(asker->control->master, PS_SECRET_APPS);
	answer(asker, json_pack("{s:b}", "ok", 1));
}

static void on_timer(void *arg)
{
	struct asker *asker = arg;

	asker->over(asker);
}

static void do_user_forget(struct asker *asker, const json_t *request)
{
	const struct ps_msg_user_forget message = {.name = json_string_value(json_object_get(request, "user"))};

	if (message.name && strlen(message.name) > PS_USER_NAME_MAX) {
		answer_error(asker, "the user's name is too long");
		return;
	}
	children_send(asker->control->master, PS_ROLE_AUTH, PS_MSG_USER_FORGET, &message);
	answer(asker, json_pack("{s:b}", "ok", 1));
}

/* Other processes are asked: nothing else is done for the asker until they have answered, or the time is over. */
static int begin_wait(struct asker *asker, void (*over)(struct asker *asker))
{
	if (!asker->timer && ps_timer_open(asker->control->master->loop, on_timer, asker, &asker->timer) < 0) {
		answer_error(asker, ps_last_error());
		return PS_E_LIMIT;
	}
	asker->request = ++asker->control->last_request;
	asker->over = over;
	return 0;
}

static void end_wait(struct asker *asker)
{
	ps_timer_stop(asker->timer);
	asker->request = 0;
}

static void who_over(struct asker *asker)
{
	end_wait(asker);
	answer(asker,
	       json_pack("{s:b, s:b, s:o}", "ok", 1, "complete", asker->missing == 0, "sessions", asker->sessions));
	asker->sessions = NULL;
	flush(asker);
}

/* To all who have sessions; `asker` waits for each of them. */
static void ask_session_roles(struct asker *asker, uint32_t type, const void *message)
{
	asker->missing = children_ask_sessions(asker->control->master, type, message);
	ps_timer_set(asker->timer, asker->missing ? WHO_WAIT_MS : 1, 0);
}

static void one_has_told(struct asker *asker)
{
	if (asker->missing && --asker->missing == 0)
		asker->over(asker);
}

static void do_who(struct asker *asker, const json_t *request)
{
	struct ps_msg_who message;

	(void)request;
	if (begin_wait(asker, who_over) < 0)
		return;
	message.request = asker->request;
	json_decref(asker->sessions);
	asker->sessions = json_array();
	ask_session_roles(asker, PS_MSG_WHO, &message);
}

static struct asker *asker_of(struct master *master, uint64_t request)
{
	for (size_t i = 0; master->control && request && i < ASKERS_MAX; i++)
		if (master->control->askers[i].request == request)
			return &master->control->askers[i];
	return NULL;
}

void control_who_row(struct master *master, const struct child *child, const struct ps_msg_who_row *row)
{
	struct asker *asker = asker_of(master, row->request);

	if (asker && asker->over == who_over)
		json_array_append_new(asker->sessions,
				      json_pack("{s:s, s:s, s:s, s:s, s:b, s:I, s:I, s:i}", "sid", row->sid, "user",
						row->user, "protocol", row->protocol, "remote", row->remote, "tls",
						row->is_tls, "age", (json_int_t)(row->age_ms / 1000), "idle",
						(json_int_t)(row->idle_ms / 1000), "pid", (int)child->pid));
}

void control_who_end(struct master *master, const struct ps_msg_who_end *end)
{
	struct asker *asker = asker_of(master, end->request);

	if (asker && asker->over == who_over)
		one_has_told(asker);
}

/* ---- sessions that are to end ----------------------------------------------------------------------- */

static void kick_over(struct asker *asker)
{
	end_wait(asker);
	answer(asker, json_pack("{s:b, s:b, s:I}", "ok", 1, "complete", asker->missing == 0, "ended",
				(json_int_t)asker->kicked));
	flush(asker);
}

static void do_kick(struct asker *asker, const json_t *request)
{
	struct ps_msg_kick message = {
		.user = json_string_value(json_object_get(request, "user")),
		.nets = json_string_value(json_object_get(request, "address")),
		.protocol = json_string_value(json_object_get(request, "protocol")),
		.sid = json_string_value(json_object_get(request, "session")),
	};

	if (!message.user && !message.nets && !message.protocol && !message.sid) {
		answer_error(asker, "say whose sessions: \"user\", \"address\", \"protocol\" or \"session\"");
		return;
	}
	if (message.nets && !ps_nets_valid(message.nets)) {
		answer_error(asker, "an address is one like 192.0.2.1, or a network like 2001:db8::/32");
		return;
	}
	if (begin_wait(asker, kick_over) < 0)
		return;
	message.request = asker->request;
	asker->kicked = 0;
	ps_log(PS_LOG_INFO, "kick", "user", message.user, "address", message.nets, "protocol", message.protocol,
	       "session", message.sid, NULL);
	ask_session_roles(asker, PS_MSG_KICK, &message);
}

void control_kicked(struct master *master, const struct ps_msg_kicked *kicked)
{
	struct asker *asker = asker_of(master, kicked->request);

	if (!asker || asker->over != kick_over)
		return;
	asker->kicked += kicked->count;
	one_has_told(asker);
}

/* ---- what relay and auth are asked--------------------------------------------------------------------- */

static void ask_over(struct asker *asker)
{
	end_wait(asker);
	answer_error(asker, "the process that knows does not answer");
	flush(asker);
}

static bool is_there(const struct master *master, uint32_t role)
{
	for (size_t i = 0; i < master->child_count; i++)
		if (master->children[i].channel && master->children[i].role == role)
			return true;
	return false;
}

/* {"do": SUBJECT, ...}: the whole object goes to the role. */
static void ask(struct asker *asker, const json_t *request, uint32_t role)
{
	struct master *master = asker->control->master;
	PS_CLEANUP(ps_freep) char *line = json_dumps(request, JSON_COMPACT);
	struct ps_msg_ask message = {
		.subject = json_string_value(json_object_get(request, "do")),
		.line = line,
	};

	if (!line || strlen(line) >= REQUEST_MAX) {
		answer_error(asker, "the request is too long");
		return;
	}
	if (begin_wait(asker, ask_over) < 0)
		return;
	message.request = asker->request;
	children_send(master, role, PS_MSG_ASK, &message);
	ps_timer_set(asker->timer, ASK_WAIT_MS, 0);
}

static void do_ask_relay(struct asker *asker, const json_t *request)
{
	if (is_there(asker->control->master, PS_ROLE_RELAY))
		ask(asker, request, PS_ROLE_RELAY);
	else
		answer_error(asker,
			     "this server takes no mail: spool_dir is not set, or the relay process is not there");
}

static void do_ask_auth(struct asker *asker, const json_t *request)
{
	if (is_there(asker->control->master, PS_ROLE_AUTH))
		ask(asker, request, PS_ROLE_AUTH);
	else
		answer_error(asker, "the auth process is not there");
}

void control_ask_answer(struct master *master, const struct ps_msg_ask_answer *message)
{
	struct asker *asker = asker_of(master, message->request);

	if (!asker || asker->over != ask_over)
		return;
	end_wait(asker);
	ps_buf_str(&asker->out, message->line);
	ps_buf_char(&asker->out, '\n');
	flush(asker);
}

static const struct {
	const char *name;
	void (*run)(struct asker *asker, const json_t *request);
} requests[] = {
	{"ping", do_ping},
	{"who", do_who},
	{"kick", do_kick},
	{"reload", do_reload},
	{"stop", do_stop},
	{"users-changed", do_users_changed},
	{"user-forget", do_user_forget},
	{"user", do_ask_auth},
	{"trace", do_ask_relay},
	{"queue", do_ask_relay},
	{"tls-report", do_ask_relay},
};

static void run_request(struct asker *asker, const char *line, size_t len)
{
	json_t *object = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	const char *name = json_string_value(json_object_get(object, "do"));
	void (*run)(struct asker * asker, const json_t *request) = NULL;

	for (size_t i = 0; name && i < PS_ARRAY_LEN(requests); i++)
		if (strcmp(requests[i].name, name) == 0)
			run = requests[i].run;
	if (run)
		run(asker, object);
	else
		answer_error(asker, "expected {\"do\": \"ping\", \"who\", \"kick\", \"reload\", \"stop\", "
				    "\"users-changed\", \"user-forget\", \"user\", "
				    "\"trace\" or \"queue\"}");
	json_decref(object);
}

/* ---- sockets ---------------------------------------------------------------------------------------- */

static void run_lines(struct asker *asker)
{
	ptrdiff_t lf;

	while (asker->fd >= 0 && !asker->request && (lf = ps_bytes_find(ps_buf_view(&asker->in), '\n')) >= 0) {
		char line[REQUEST_MAX];

		memcpy(line, asker->in.ptr, (size_t)lf);
		ps_buf_consume(&asker->in, (size_t)lf + 1);
		run_request(asker, line, (size_t)lf);
	}
}

static void read_requests(struct asker *asker)
{
	char octets[REQUEST_MAX];
	ssize_t n = recv(asker->fd, octets, sizeof octets, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0 || ps_buf_append(&asker->in, octets, (size_t)n) < 0) {
		drop(asker);
		return;
	}
	run_lines(asker);
	if (asker->fd >= 0)
		flush(asker);
}

static void on_asker(void *arg, unsigned events)
{
	struct asker *asker = arg;

	if ((events & PS_WRITABLE) && !flush(asker))
		return;
	if (events & (PS_READABLE | PS_HANGUP))
		read_requests(asker);
}

/* The socket's mode keeps others out already; this holds also where somebody changes it. */
static bool may_ask(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof peer;

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && (peer.uid == 0 || peer.uid == geteuid());
}

static struct asker *free_asker(struct control *control)
{
	for (size_t i = 0; i < ASKERS_MAX; i++)
		if (control->askers[i].fd < 0)
			return &control->askers[i];
	return NULL;
}

static void on_connection(void *arg, unsigned events)
{
	struct control *control = arg;
	PS_CLEANUP(ps_closep) int fd = accept4(control->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct asker *asker = free_asker(control);

	(void)events;
	if (fd < 0 || !asker || !may_ask(fd))
		return;
	if (ps_watch_open(control->master->loop, fd, on_asker, asker, &asker->watch) < 0)
		return;
	asker->fd = fd;
	asker->in.limit = REQUEST_MAX;
	fd = -1;
	ps_watch_set(asker->watch, PS_READABLE);
}

static int listen_at(const char *path)
{
	PS_CLEANUP(ps_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	mode_t mask;
	int r;

	if (fd < 0)
		return ps_fail_errno("socket");
	if (strlen(path) >= sizeof address.sun_path)
		return ps_fail(PS_E_LIMIT,
			       "%s: longer than the %zu octets of a socket's name; choose a shorter run_dir", path,
			       sizeof address.sun_path - 1);
	strcpy(address.sun_path, path);
	unlink(path); /* ours: we hold the pid file's lock */
	mask = umask(0177);
	r = bind(fd, (struct sockaddr *)&address, sizeof address);
	umask(mask);
	if (r < 0 || listen(fd, ASKERS_MAX) < 0)
		return ps_fail_errno("control socket %s", path);
	r = fd;
	fd = -1;
	return r;
}

int control_open(struct master *master)
{
	struct control *control = ps_zalloc(sizeof *control);
	int r;

	for (size_t i = 0; i < ASKERS_MAX; i++)
		control->askers[i] = (struct asker){.control = control, .fd = -1};
	control->master = master;
	master->control = control;
	if (asprintf(&control->path, "%s/control", master->run_dir) < 0)
		return ps_fail(PS_E_LIMIT, "no memory");
	control->fd = listen_at(control->path);
	if (control->fd < 0)
		return control->fd;
	r = ps_watch_open(master->loop, control->fd, on_connection, control, &control->watch);
	if (r == 0)
		ps_watch_set(control->watch, PS_READABLE);
	return r;
}

void control_close(struct master *master)
{
	struct control *control = master->control;

	if (!control)
		return;
	master->control = NULL;
	for (size_t i = 0; i < ASKERS_MAX; i++)
		drop(&control->askers[i]);
	ps_watch_close(control->watch);
	if (control->fd >= 0)
		unlink(control->path);
	ps_closep(&control->fd);
	free(control->path);
	free(control);
}
