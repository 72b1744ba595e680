/* SPDX-License-Identifier: MIT */
/* Master's children: starting, introducing, watching, ending them. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>
#include "auth/databases.h"
#include "core/base/sealed.h"
#include "core/net/counts.h"
#include "core/process/master.h"
#include "core/process/role.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/pool.h"

/* A role that lived shorter is started again after a pause that doubles each time. */
#define QUICK_DEATH_MS   10000u
#define FIRST_RESTART_MS 100u
#define LAST_RESTART_MS  10000u
#define LAST_END_MS      15000u /* sessions get less to say goodbye */

/* Who talks to whom, beside master with all. The first is the one who asks. */
static const struct pairing {
	uint32_t one, other;
	uint32_t other_self; /* which role of the other process the channel is for */
} pairings[] = {
	{PS_ROLE_FRONT, PS_ROLE_AUTH, PS_ROLE_AUTH},    {PS_ROLE_FRONT, PS_ROLE_AUTH, PS_ROLE_SIGNER},
	{PS_ROLE_FRONT, PS_ROLE_MAIL, PS_ROLE_MAIL},    {PS_ROLE_FRONT, PS_ROLE_RELAY, PS_ROLE_RELAY},
	{PS_ROLE_RELAY, PS_ROLE_AUTH, PS_ROLE_AUTH},    {PS_ROLE_RELAY, PS_ROLE_MAIL, PS_ROLE_MAIL},
	{PS_ROLE_AUTH, PS_ROLE_USERDB, PS_ROLE_USERDB},
};

/* ---- sending ---------------------------------------------------------------------------------------- */

void child_send(struct child *child, uint32_t type, const void *message)
{
	if (ps_channel_send(child->channel, type, message) < 0)
		ps_log(PS_LOG_ERROR, "message_lost", "to", ps_role_name(child->role), "msg", ps_last_error(), NULL);
}

void children_send(struct master *master, uint32_t roles, uint32_t type, const void *message)
{
	for (size_t i = 0; i < master->child_count; i++)
		if (master->children[i].channel && (master->children[i].role & roles) && !master->children[i].ending)
			child_send(&master->children[i], type, message);
}

unsigned children_ask_sessions(struct master *master, uint32_t type, const void *message)
{
	const uint32_t roles = PS_ROLE_FRONT | PS_ROLE_MAIL;
	unsigned count = 0;

	for (size_t i = 0; i < master->child_count; i++)
		count += master->children[i].channel && (master->children[i].role & roles) &&
			 !master->children[i].ending;
	children_send(master, roles, type, message);
	return count;
}

/* A place for a user database that the configuration does not have. */
static bool is_spare(const struct child *child)
{
	return child->role == PS_ROLE_USERDB && !child->section;
}

static unsigned count_of(const struct master *master, uint32_t role)
{
	unsigned n = 0;

	for (size_t i = 0; i < master->child_count; i++)
		n += master->children[i].role == role && !is_spare(&master->children[i]);
	return n;
}

static uint32_t former_databases(const struct master *master)
{
	uint32_t former = 0;

	for (size_t i = 0; i < master->child_count; i++)
		former |= (uint32_t)master->children[i].is_former << (master->children[i].index % PS_DATABASES_MAX);
	return former;
}

/* Of user databases a role sees its own section, or none: there are passwords in them. */
static void text_for(const struct child *child, struct ps_buf *out)
{
	ps_config_text_without_userdb(ps_buf_view(&child->master->text),
				      child->role == PS_ROLE_USERDB ? child->index : SIZE_MAX, out);
}

static void send_config(struct child *child)
{
	const struct master *master = child->master;
	struct ps_buf text = {0};
	struct ps_msg_config message = {
		.path = master->config_path,
		.user = child->user,
		.root = child->root,
		.mail_uid = child->user ? child->uid : master->mail_uid,
		.mail_gid = child->user ? child->gid : master->mail_gid,
		.index = child->index,
		.fronts = count_of(master, PS_ROLE_FRONT),
		.mails = master->users ? 0 : count_of(master, PS_ROLE_MAIL),
		.userdbs = count_of(master, PS_ROLE_USERDB),
		.former_userdbs = former_databases(master),
		.privileged = master->privileged,
	};
	int r;

	text_for(child, &text);
	r = ps_sealed_file("postern configuration", ps_buf_view(&text), &message.text);
	ps_buf_wipe(&text);
	if (r < 0)
		ps_log(PS_LOG_ERROR, "memfd", "msg", ps_last_error(), NULL);
	else
		child_send(child, PS_MSG_CONFIG, &message);
}

void children_send_config(struct master *master)
{
	for (size_t i = 0; i < master->child_count; i++)
		if (master->children[i].channel)
			send_config(&master->children[i]);
}

static void send_listener(struct child *child, const struct listener *listener, bool gone)
{
	struct ps_msg_listener_gone gone_message = {.name = listener->name};
	struct ps_msg_listener message = {.name = listener->name};

	if (gone) {
		child_send(child, PS_MSG_LISTENER_GONE, &gone_message);
		return;
	}
	message.socket = fcntl(listener->fd, F_DUPFD_CLOEXEC, 0);
	if (message.socket >= 0)
		child_send(child, PS_MSG_LISTENER, &message);
}

void children_send_listener(struct master *master, const struct listener *listener, bool gone)
{
	for (size_t i = 0; i < master->child_count; i++)
		if (master->children[i].channel && master->children[i].role == PS_ROLE_FRONT)
			send_listener(&master->children[i], listener, gone);
}

static void send_secret(struct child *child, struct secret *secret)
{
	struct ps_msg_secret message = {.kind = secret->kind, .slot = secret->slot, .path = secret->path};

	message.file = secret_open(secret);
	if (message.file < 0)
		ps_log(PS_LOG_ERROR, "secret_unreadable", "msg", ps_last_error(), NULL);
	else
		child_send(child, PS_MSG_SECRET, &message);
}

void children_send_secret(struct master *master, struct secret *secret)
{
	for (size_t i = 0; i < master->child_count; i++)
		if (master->children[i].channel && master->children[i].role == secret_reader(secret->kind))
			send_secret(&master->children[i], secret);
}

void children_send_resumption_key(struct master *master)
{
	struct ps_msg_resumption_key message = {.key = ps_bytes(master->resumption_key, sizeof master->resumption_key)};

	children_send(master, PS_ROLE_FRONT, PS_MSG_RESUMPTION_KEY, &message);
}

/* ---- counts of connections ------------------------------------------------------------------------- */

/* A front may write its own table and cannot cut it off, so that others may read it without fear. */
static int make_counts(void)
{
	int fd = memfd_create("postern counts", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0 || ftruncate(fd, counts_table_size) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
		ps_closep(&fd);
		return -1;
	}
	return fd;
}

static int read_only(int fd)
{
	char path[64];

	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	return open(path, O_RDONLY | O_CLOEXEC);
}

static void send_counts(struct child *to, const struct child *of)
{
	struct ps_msg_counts message = {.index = of->index, .own = to == of, .seed = to->master->counts_seed};

	message.table = message.own ? fcntl(of->counts, F_DUPFD_CLOEXEC, 0) : read_only(of->counts);
	if (message.table >= 0)
		child_send(to, PS_MSG_COUNTS, &message);
	else
		ps_log(PS_LOG_ERROR, "counts", "msg", strerror(errno), NULL);
}

/* A new front gets a new table: what its predecessor had is over. */
static void share_counts(struct child *child)
{
	struct master *master = child->master;

	ps_closep(&child->counts);
	child->counts = make_counts();
	if (child->counts < 0) {
		ps_log(PS_LOG_ERROR, "counts", "msg", strerror(errno), NULL);
		return;
	}
	send_counts(child, child);
	for (size_t i = 0; i < master->child_count; i++) {
		struct child *other = &master->children[i];

		if (other == child || other->role != PS_ROLE_FRONT || !other->channel || other->counts < 0)
			continue;
		send_counts(child, other);
		send_counts(other, child);
	}
}

/* ---- introducing ------------------------------------------------------------------------------------ */

static void introduce(struct child *one, struct child *other, const struct pairing *pairing)
{
	struct ps_msg_peer to_one = {.self = one->role, .role = pairing->other_self, .index = other->index};
	struct ps_msg_peer to_other = {.self = pairing->other_self, .role = one->role, .index = one->index};
	int fds[2];

	if (ps_channel_pair(fds) < 0) {
		ps_log(PS_LOG_ERROR, "channel", "msg", ps_last_error(), NULL);
		return;
	}
	to_one.socket = fds[0];
	to_other.socket = fds[1];
	child_send(one, PS_MSG_PEER, &to_one);
	child_send(other, PS_MSG_PEER, &to_other);
}

/* Gives a new child its channels to those that run already. */
static void introduce_all(struct child *child)
{
	struct master *master = child->master;

	for (size_t p = 0; p < PS_ARRAY_LEN(pairings); p++) {
		for (size_t i = 0; i < master->child_count; i++) {
			struct child *other = &master->children[i];

			if (!other->channel || other == child)
				continue;
			if (child->role == pairings[p].one && other->role == pairings[p].other)
				introduce(child, other, &pairings[p]);
			else if (child->role == pairings[p].other && other->role == pairings[p].one)
				introduce(other, child, &pairings[p]);
		}
	}
}

/* ---- what children say ------------------------------------------------------------------------------ */

static void on_ready(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct child *child = arg;

	(void)from;
	(void)message;
	child->state = CHILD_SERVING;
	child->phase = PS_PHASE_SERVING;
	ps_log(PS_LOG_DEBUG, "role_ready", "role_name", ps_role_name(child->role), "index", ps_num(child->index), NULL);
	master_child_ready(child->master);
}

static void on_offence(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct child *child = arg;
	struct master *master = child->master;

	(void)from;
	/* Only fronts are complained about: one that has been taken over must not have others ended. */
	if (message->offence.role != PS_ROLE_FRONT)
		return;
	for (size_t i = 0; i < master->child_count; i++) {
		struct child *other = &master->children[i];

		if (other->role != message->offence.role || other->index != message->offence.index || !other->pid)
			continue;
		ps_log(PS_LOG_ERROR, "role_killed", "role_name", ps_role_name(other->role), "child", ps_num(other->pid),
		       "msg", "it broke the rules of its channel", NULL);
		kill(other->pid, SIGKILL);
	}
}

static void on_who_row(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct child *child = arg;

	(void)from;
	if (!roll_row(child->master, &message->who_row))
		control_who_row(child->master, child, &message->who_row);
}

static void on_who_end(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct child *child = arg;

	(void)from;
	if (!roll_end(child->master, &message->who_end))
		control_who_end(child->master, &message->who_end);
}

static void on_kicked(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct child *child = arg;

	(void)from;
	control_kicked(child->master, &message->kicked);
}

static void on_roll_call(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct child *child = arg;

	(void)from;
	roll_call(child->master, message->roll_call.round);
}

/* Auth has no channel to mail, so it goes this way to all. */
static void on_revoked(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct child *child = arg;

	(void)from;
	if (child->master->users)
		users_revoke(child->master, &message->revoked);
	children_send(child->master, PS_ROLE_FRONT | PS_ROLE_MAIL | PS_ROLE_RELAY, PS_MSG_REVOKED, &message->revoked);
}

static void on_ask_answer(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct child *child = arg;

	(void)from;
	control_ask_answer(child->master, &message->ask_answer);
}

static void on_place(void *arg, struct ps_channel *from, union ps_message *message)
{
	(void)from;
	users_place(arg, &message->place);
}

static void on_idle(void *arg, struct ps_channel *from, union ps_message *message)
{
	(void)from;
	users_idle(arg, message->idle.for_ms);
}

static const struct ps_handler handlers[] = {
	{PS_MSG_READY, on_ready},
	{PS_MSG_OFFENCE, on_offence},
	{PS_MSG_WHO_ROW, on_who_row},
	{PS_MSG_WHO_END, on_who_end},
	{PS_MSG_ASK_ANSWER, on_ask_answer},
	{PS_MSG_KICKED, on_kicked},
	{PS_MSG_REVOKED, on_revoked},
	{PS_MSG_ROLL_CALL, on_roll_call},
	{PS_MSG_PLACE, on_place},
	{PS_MSG_IDLE, on_idle},
	{0, NULL},
};

static void drop_channel(struct child *child)
{
	ps_channel_destroy(child->channel);
	child->channel = NULL;
}

/* Its end is seen by SIGCHLD; a child that only shut its channel, or broke the rules, is ended here. */
static void closed(void *arg, struct ps_channel *channel, bool offence)
{
	struct child *child = arg;

	(void)channel;
	drop_channel(child);
	if (offence && child->pid)
		kill(child->pid, SIGKILL);
}

/* ---- starting --------------------------------------------------------------------------------------- */

/* In the child, between fork and exec. */
static _Noreturn void become_role(const struct child *child, int fd)
{
	char program[] = "posternd", option[] = "--role", name[16], with[] = "--driver";
	char *argv[] = {program, option, name, NULL, NULL, NULL};
	sigset_t none;

	snprintf(name, sizeof name, "%s", ps_role_name(child->role));
	if (child->driver) {
		argv[1] = with;
		argv[2] = child->driver;
		argv[3] = option;
		argv[4] = name;
	}
	/* dup2() to itself would leave close-on-exec set */
	if ((fd == PS_MASTER_FD && fcntl(fd, F_SETFD, 0) < 0) || (fd != PS_MASTER_FD && dup2(fd, PS_MASTER_FD) < 0))
		_exit(127);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	execv("/proc/self/exe", argv);
	_exit(127);
}

static int fork_role(struct child *child)
{
	struct ps_channel_args args = {
		.self = PS_ROLE_MASTER,
		.peer = child->role,
		.index = child->index,
		.handlers = handlers,
		.phase = &child->phase,
		.closed = closed,
		.arg = child,
	};
	int fds[2], r = ps_channel_pair(fds);

	if (r < 0)
		return r;
	child->pid = fork();
	if (child->pid == 0)
		become_role(child, fds[1]);
	close(fds[1]);
	if (child->pid < 0) {
		child->pid = 0;
		close(fds[0]);
		return ps_fail_errno("fork");
	}
	args.fd = fds[0];
	return ps_channel_open(child->master->loop, &args, &child->channel);
}

int child_start(struct child *child)
{
	struct master *master = child->master;
	struct ps_msg_ticket_key key = {.key = ps_bytes(master->ticket_key.octets, sizeof master->ticket_key.octets)};
	struct ps_msg_pass_key pass_key = {.key = ps_bytes(master->pass_key.octets, sizeof master->pass_key.octets)};
	struct ps_msg_resumption_key resumption_key = {
		.key = ps_bytes(master->resumption_key, sizeof master->resumption_key)};
	struct ps_msg_start start_message = {};
	int r;

	child->phase = PS_PHASE_STARTING;
	child->state = CHILD_STARTING;
	child->started_ms = ps_monotonic_ms();
	key.since = child->since_ms;
	r = fork_role(child);
	if (r < 0)
		return r;
	send_config(child);
	if (child->role & (PS_ROLE_AUTH | PS_ROLE_MAIL))
		child_send(child, PS_MSG_TICKET_KEY, &key);
	if (child->role & (PS_ROLE_AUTH | PS_ROLE_RELAY))
		child_send(child, PS_MSG_PASS_KEY, &pass_key);
	if (child->role == PS_ROLE_FRONT)
		child_send(child, PS_MSG_RESUMPTION_KEY, &resumption_key);
	for (size_t i = 0; i < master->secret_count; i++)
		if (child->role == secret_reader(master->secrets[i].kind))
			send_secret(child, &master->secrets[i]);
	for (size_t i = 0; child->role == PS_ROLE_FRONT && i < master->listener_count; i++)
		send_listener(child, &master->listeners[i], false);
	if (child->role == PS_ROLE_FRONT)
		share_counts(child);
	introduce_all(child);
	child_send(child, PS_MSG_START, &start_message);
	return 0;
}

int children_start(struct master *master)
{
	int r = 0;

	for (size_t i = 0; i < master->child_count && r == 0; i++)
		if (!master->children[i].of_user && !is_spare(&master->children[i]))
			r = child_start(&master->children[i]);
	return r;
}

bool children_all_serving(const struct master *master)
{
	for (size_t i = 0; i < master->child_count; i++) {
		const struct child *child = &master->children[i];

		if (child->state != CHILD_SERVING && !child->of_user && !is_spare(child))
			return false;
	}
	return true;
}

size_t children_running(const struct master *master)
{
	size_t n = 0;

	for (size_t i = 0; i < master->child_count; i++)
		n += master->children[i].pid != 0;
	return n;
}

/* ---- their end -------------------------------------------------------------------------------------- */

static void on_timer(void *arg)
{
	struct child *child = arg;

	if (child->master->stopping)
		return;
	if (child->ending) { /* others may wait for its place */
		ps_log(PS_LOG_ERROR, "role_killed", "role_name", ps_role_name(child->role), "child", ps_num(child->pid),
		       "msg", "it does not end", NULL);
		kill(child->pid, SIGKILL);
		return;
	}
	if (child_start(child) < 0) {
		ps_log(PS_LOG_ERROR, "role_start", "role_name", ps_role_name(child->role), "msg", ps_last_error(),
		       NULL);
		ps_timer_set(child->restart, LAST_RESTART_MS, 0);
	}
}

static uint64_t restart_delay(struct child *child)
{
	uint64_t delay = 0;

	if (ps_monotonic_ms() - child->started_ms >= QUICK_DEATH_MS)
		child->quick_deaths = 0;
	else
		delay = (uint64_t)FIRST_RESTART_MS << (child->quick_deaths < 10 ? child->quick_deaths : 10);
	child->quick_deaths++;
	return delay < LAST_RESTART_MS ? delay : LAST_RESTART_MS;
}

static void log_end(const struct child *child, int status)
{
	struct ps_buf how = {0};

	if (WIFSIGNALED(status))
		ps_buf_printf(&how, "signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
	else
		ps_buf_printf(&how, "status %d", WEXITSTATUS(status));
	ps_log(PS_LOG_ERROR, "role_died", "role_name", ps_role_name(child->role), "index", ps_num(child->index),
	       "child", ps_num(child->pid), "how", ps_buf_cstr(&how), NULL);
	ps_buf_finish(&how);
}

static void ended(struct child *child, int status)
{
	struct master *master = child->master;
	bool was_serving = child->state == CHILD_SERVING, asked = child->ending && status == 0;

	if (!master->stopping && !asked)
		log_end(child, status);
	child->pid = 0;
	child->state = CHILD_DOWN;
	child->ending = false;
	child->is_former = false;
	child->since_ms = asked ? 0 : ps_monotonic_ms();
	child->rest_ms = asked ? 0 : restart_delay(child);
	drop_channel(child);
	ps_timer_stop(child->restart);
	if (master->stopping)
		return;
	if (child->of_user) {
		users_ended(child, asked);
		return;
	}
	if (is_spare(child))
		return;
	if (!master->ready && !was_serving) {
		/* What hinders it from starting would hinder it again: tell the administrator at once. */
		master->failed = true;
		master_stop(master);
		return;
	}
	ps_timer_set(child->restart, child->rest_ms, 0);
}

static void on_sigchld(void *arg, int signum)
{
	struct master *master = arg;
	bool alive = false;

	(void)signum;
	for (size_t i = 0; i < master->child_count; i++) {
		struct child *child = &master->children[i];
		int status;

		if (child->pid && waitpid(child->pid, &status, WNOHANG) == child->pid)
			ended(child, status);
	}
	for (size_t i = 0; i < master->child_count; i++)
		alive = alive || master->children[i].pid;
	if (master->stopping && !alive)
		master_children_gone(master);
}

/* It has nothing to do; or does it for somebody who is another by now. */
void child_end(struct child *child)
{
	struct ps_msg_stop message = {};

	child_send(child, PS_MSG_STOP, &message);
	child->ending = true;
	ps_timer_set(child->restart, LAST_END_MS, 0);
}

/* Auth goes last: the others may still need it. Their channels' ends tell it nothing. */
void children_stop(struct master *master)
{
	struct ps_msg_stop message = {};
	bool alive = false;

	children_send(master, PS_ROLES, PS_MSG_STOP, &message);
	for (size_t i = 0; i < master->child_count; i++)
		alive = alive || master->children[i].pid;
	if (!alive)
		master_children_gone(master);
}

void children_kill(struct master *master)
{
	for (size_t i = 0; i < master->child_count; i++) {
		const struct child *child = &master->children[i];

		if (!child->pid)
			continue;
		ps_log(PS_LOG_WARNING, "role_killed", "role_name", ps_role_name(child->role), "child",
		       ps_num(child->pid), NULL);
		kill(child->pid, SIGKILL);
	}
}

/* ---- the table of them ------------------------------------------------------------------------------ */

static size_t processes_of(const struct ps_conf *conf, const char *setting)
{
	long cores = sysconf(_SC_NPROCESSORS_ONLN);
	size_t n = (size_t)ps_conf_int(conf, setting);

	return n ? n : cores > 0 ? (size_t)cores : 1;
}

/* Takes what the configuration says of the database. Whether that is something new. */
static bool take_section(struct child *child)
{
	const struct ps_conf *conf = ps_conf_section(child->master->conf, "userdb", child->index);
	struct ps_buf text = {0};
	bool same;

	ps_config_text_of_userdb(ps_buf_view(&child->master->text), child->index, &text);
	same = conf && child->section ? strcmp(child->section, ps_buf_cstr(&text)) == 0 : !conf && !child->section;
	if (!same) {
		free(child->driver);
		free(child->section);
		child->driver = conf ? ps_strdup(ps_conf_str(conf, "driver")) : NULL;
		child->section = conf ? ps_strdup(ps_buf_cstr(&text)) : NULL;
	}
	ps_buf_wipe(&text);
	return !same;
}

/* A process is confined to what its section says, so for another section there is another process. */
void children_configure_databases(struct master *master)
{
	for (size_t i = 0; i < master->child_count; i++) {
		struct child *child = &master->children[i];

		if (child->role != PS_ROLE_USERDB || !take_section(child))
			continue;
		child->is_former = child->pid;
		if (child->channel)
			child_end(child);
		else if (!child->pid && !is_spare(child))
			ps_timer_set(child->restart, 0, 0);
		else if (!child->pid)
			ps_timer_stop(child->restart);
	}
}

/* Auth first, so that what starts later finds it; the fronts last. */
int children_create(struct master *master)
{
	const bool own = strcmp(ps_conf_str(master->conf, "isolation"), "per-user") == 0;
	const size_t mails = own ? (size_t)ps_conf_int(master->conf, "user_processes")
				 : processes_of(master->conf, "mail_processes");
	const struct {
		uint32_t role;
		size_t count;
	} kinds[] = {
		{PS_ROLE_AUTH, 1},
		{PS_ROLE_USERDB, PS_DATABASES_MAX},
		{PS_ROLE_MAIL, mails},
		{PS_ROLE_RELAY, ps_conf_str(master->conf, "spool_dir") != NULL},
		{PS_ROLE_FRONT, processes_of(master->conf, "front_processes")},
	};
	size_t n = 0;

	for (size_t k = 0; k < PS_ARRAY_LEN(kinds); k++)
		n += kinds[k].count;
	if (n > PS_PEERS_MAX)
		return ps_fail(PS_E_LIMIT, "%zu processes are more than %d", n, PS_PEERS_MAX);
	if (own)
		users_create(master);
	master->children = ps_zalloc(n * sizeof *master->children);
	for (size_t k = 0; k < PS_ARRAY_LEN(kinds); k++) {
		for (unsigned i = 0; i < kinds[k].count; i++) {
			struct child *child = &master->children[master->child_count++];

			*child = (struct child){.master = master, .role = kinds[k].role, .index = i, .counts = -1};
			child->of_user = own && child->role == PS_ROLE_MAIL;
			if (child->role == PS_ROLE_USERDB)
				take_section(child);
			if (ps_timer_open(master->loop, on_timer, child, &child->restart) < 0)
				return PS_E_LIMIT;
		}
	}
	return ps_signal_watch(master->loop, SIGCHLD, on_sigchld, master);
}

void children_destroy(struct master *master)
{
	for (size_t i = 0; i < master->child_count; i++) {
		drop_channel(&master->children[i]);
		ps_timer_close(master->children[i].restart);
		ps_closep(&master->children[i].counts);
		free(master->children[i].driver);
		free(master->children[i].section);
		free(master->children[i].user);
		free(master->children[i].root);
	}
	users_destroy(master);
	free(master->children);
}
