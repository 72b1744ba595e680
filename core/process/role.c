/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "auth/passwdfile.h"
#include "core/process/confine.h"
#include "core/process/own_mail.h"
#include "core/process/role.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/pool.h"

enum {
	ARENAS = 2,
	TRIM_EVERY_MS = 60 * 1000
};

/* Nothing is flushed or freed at the end: what must last was made durable when it was acknowledged. */
_Noreturn void ps_role_end(struct ps_role *role, int status)
{
	(void)role;
	_exit(status);
}

static _Noreturn void give_up(const char *what)
{
	ps_log(PS_LOG_ERROR, "role_failed", "doing", what, "msg", ps_last_error(), NULL);
	_exit(EXIT_FAILURE);
}

/* ---- configuration ---------------------------------------------------------------------------------- */

enum ps_log_level ps_log_level_of(const struct ps_conf *conf)
{
	static const char *const words[] = {"error", "warning", "info", "debug"};
	const char *word = ps_conf_str(conf, "log_level");

	for (int i = 0; i < (int)PS_ARRAY_LEN(words); i++)
		if (word && strcmp(word, words[i]) == 0)
			return (enum ps_log_level)i;
	return PS_LOG_INFO;
}

/* Whose process it is does not change. */
static void keep_user(struct ps_msg_config *about, const struct ps_msg_config *message)
{
	const char *user = about->user, *root = about->root;

	*about = *message;
	about->user = user || !message->user ? user : ps_strdup(message->user);
	about->root = root || !message->root ? root : ps_strdup(message->root);
}

/* The former configuration stays in memory: sessions read from it until they end. So who is told to load the same again, for the sake of a
 * certificate, keeps the one that is there. */
static int read_config(struct ps_role *role, const char *path, struct ps_buf *text)
{
	struct ps_config *config;
	int r;

	if (role->config && ps_bytes_eq(ps_buf_view(text), ps_buf_view(&role->text)))
		return 0;
	r = ps_config_read(path, ps_buf_view(text), NULL, &config);
	if (r < 0)
		return r;
	role->config = config;
	role->conf = ps_config_root(config);
	ps_buf_finish(&role->text);
	role->text = *text;
	*text = (struct ps_buf){0};
	return 0;
}

static int take_config(struct ps_role *role, const struct ps_msg_config *message)
{
	struct ps_buf text = {0};
	int r = ps_passwd_read_fd(message->text, message->path, &text);

	if (r == 0)
		r = read_config(role, message->path, &text);
	ps_buf_finish(&text);
	if (r < 0)
		return r;
	keep_user(&role->about, message);
	role->about.path = NULL;
	role->about.text = -1;
	ps_log_set_level(ps_log_level_of(role->conf));
	return 0;
}

/* ---- peers ------------------------------------------------------------------------------------------ */

struct ps_channel *ps_role_peer(struct ps_role *role, uint32_t peer, unsigned index)
{
	for (size_t i = 0; i < role->peer_count; i++)
		if (role->peers[i] && ps_channel_peer(role->peers[i]) == peer &&
		    ps_channel_index(role->peers[i]) == index)
			return role->peers[i];
	return NULL;
}

static void drop_peer(struct ps_role *role, struct ps_channel *channel)
{
	uint32_t peer = ps_channel_peer(channel);
	unsigned index = ps_channel_index(channel);

	for (size_t i = 0; i < role->peer_count; i++)
		if (role->peers[i] == channel)
			role->peers[i] = NULL;
	ps_channel_destroy(channel);
	if (role->ops->peer_went)
		role->ops->peer_went(role, peer, index);
}

void ps_role_drop_peer(struct ps_role *role, uint32_t peer, unsigned index)
{
	struct ps_channel *channel = ps_role_peer(role, peer, index);

	if (channel)
		drop_peer(role, channel);
}

static void peer_closed(void *arg, struct ps_channel *channel, bool offence)
{
	struct ps_role *role = arg;
	struct ps_msg_offence message = {.role = ps_channel_peer(channel), .index = ps_channel_index(channel)};

	if (offence && message.role == PS_ROLE_FRONT)
		ps_channel_send(role->master, PS_MSG_OFFENCE, &message);
	drop_peer(role, channel);
}

static void keep_peer(struct ps_role *role, struct ps_channel *channel)
{
	size_t i = 0;

	while (i < PS_PEERS_MAX && role->peers[i])
		i++;
	if (i == PS_PEERS_MAX) {
		ps_log(PS_LOG_ERROR, "too_many_peers", NULL);
		ps_channel_destroy(channel);
		return;
	}
	role->peers[i] = channel;
	if (i >= role->peer_count)
		role->peer_count = i + 1;
	if (role->ops->peer_came)
		role->ops->peer_came(role, channel);
}

static void on_peer(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct ps_role *role = arg;
	struct ps_msg_peer *peer = &message->peer;
	struct ps_channel *channel, *former;
	struct ps_channel_args args = {
		.self = peer->self,
		.peer = peer->role,
		.index = peer->index,
		.handlers = role->ops->from_peers,
		.phase = &role->phase,
		.closed = peer_closed,
		.arg = role,
	};

	(void)from;
	if (role->ops->take_peer && role->ops->take_peer(role, peer))
		return;
	former = ps_role_peer(role, peer->role, peer->index);
	if (former)
		drop_peer(role, former);
	args.fd = ps_take_fd(&peer->socket);
	if (ps_channel_open(role->loop, &args, &channel) < 0) {
		ps_log(PS_LOG_ERROR, "peer_failed", "msg", ps_last_error(), NULL);
		return;
	}
	/* A peer may serve before we do; what it says waits. */
	ps_channel_pause(channel, role->phase == PS_PHASE_STARTING);
	keep_peer(role, channel);
}

/* ---- what master says ------------------------------------------------------------------------------- */

static void on_config(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct ps_role *role = arg;

	(void)from;
	if (take_config(role, &message->config) < 0)
		ps_log(PS_LOG_ERROR, "reload_failed", "msg", ps_last_error(), NULL);
	else
		role->ops->reconfigure(role);
}

static void on_start(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct ps_role *role = arg;

	(void)from;
	(void)message;
	role->phase = PS_PHASE_SERVING;
	for (size_t i = 0; i < role->peer_count; i++)
		if (role->peers[i])
			ps_channel_pause(role->peers[i], false);
	if (role->ops->serve(role) < 0)
		give_up("serve");
}

static void on_stop(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct ps_role *role = arg;

	(void)from;
	(void)message;
	if (role->phase == PS_PHASE_STOPPING)
		return;
	role->phase = PS_PHASE_STOPPING;
	role->ops->stop(role);
}

static void master_closed(void *arg, struct ps_channel *channel, bool offence)
{
	(void)channel;
	(void)offence;
	ps_log(PS_LOG_ERROR, "master_gone", NULL);
	ps_role_end(arg, EXIT_FAILURE);
}

void ps_role_ready(struct ps_role *role)
{
	struct ps_msg_ready message = {};

	ps_channel_send(role->master, PS_MSG_READY, &message);
}

static const struct ps_handler common_handlers[] = {
	{PS_MSG_CONFIG, on_config}, {PS_MSG_PEER, on_peer}, {PS_MSG_START, on_start}, {PS_MSG_STOP, on_stop}, {0, NULL},
};

/* The common handlers and the role's own, in one table. */
static const struct ps_handler *join_handlers(const struct ps_handler *own)
{
	size_t common = PS_ARRAY_LEN(common_handlers) - 1, n = 0;
	struct ps_handler *joined;

	while (own && own[n].type)
		n++;
	joined = ps_zalloc(sizeof *joined * (common + n + 1));
	memcpy(joined, common_handlers, sizeof *joined * common);
	if (n)
		memcpy(joined + common, own, sizeof *joined * n);
	return joined;
}

/* ---- start ------------------------------------------------------------------------------------------ */

/* A terminal's ^C goes to all of its processes; master alone decides what it means. */
static void ignore_signals(void)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE, SIGQUIT};

	for (size_t i = 0; i < PS_ARRAY_LEN(signals); i++)
		signal(signals[i], SIG_IGN);
}

/*
 * glibc raises by itself the size from which on an allocation gets pages of its own. LMDB allocates 3 MiB for each
 * environment and uses little of it: in pages of its own that costs nothing, out of the heap calloc() writes it all.
 */
static void set_up_heap(void)
{
#ifdef M_MMAP_THRESHOLD
	mallopt(M_MMAP_THRESHOLD, 512 * 1024);
	mallopt(M_TRIM_THRESHOLD, 1024 * 1024);
	mallopt(M_ARENA_MAX, ARENAS); /* what one thread gave back another can have */
#endif
}

/* After many sessions or a large message, pages amid those in use are free, too: the kernel gets them back now and then. */
static void trim_heap(void *arg)
{
	(void)arg;
#ifdef M_TRIM_THRESHOLD
	malloc_trim(0);
#endif
}

static void first_config(struct ps_role *role, struct ps_inbox *inbox)
{
	if (ps_wait_receive(PS_MASTER_FD, 10000, PS_ROLE_MASTER, role->ops->role, PS_PHASE_STARTING, inbox) < 0)
		give_up("wait for the configuration");
	if (inbox->row->type != PS_MSG_CONFIG) {
		ps_fail(PS_E_INTERNAL, "master sent %s first", inbox->row->name);
		give_up("wait for the configuration");
	}
	if (take_config(role, &inbox->message.config) < 0)
		give_up("read the configuration");
	ps_inbox_close(inbox);
}

static void confine(struct ps_role *role)
{
	PS_CLEANUP(ps_pool_destroyp) struct ps_pool *pool = ps_pool_create("confine");
	struct ps_confine_user user;
	char empty[4096];
	struct ps_confine_args args = {
		.role = role->ops->role, .conf = role->conf, .empty = empty, .privileged = role->about.privileged};

	snprintf(empty, sizeof empty, "%s/empty", ps_conf_str(role->conf, "run_dir"));
	tzset(); /* reads its file now, as it may not be reached later */
	if (role->ops->load && role->ops->load(role->conf) < 0)
		give_up("load");
	if (role->about.user && ps_own_mail(&role->about, role->conf, pool, &user) < 0)
		give_up("find the user's mail");
	if (role->about.user)
		args.user = &user;
	if (ps_confine(&args) < 0)
		give_up("confine");
}

static void name_peers(struct ps_role *role)
{
	struct ps_channel_args args = {
		.fd = PS_MASTER_FD,
		.self = role->ops->role,
		.peer = PS_ROLE_MASTER,
		.handlers = join_handlers(role->ops->from_master),
		.phase = &role->phase,
		.closed = master_closed,
		.arg = role,
	};

	if (ps_loop_create(&role->loop) < 0 || role->ops->start(role) < 0 ||
	    ps_channel_open(role->loop, &args, &role->master) < 0 ||
	    ps_timer_open(role->loop, trim_heap, NULL, &role->trimming) < 0)
		give_up("start");
	ps_timer_set(role->trimming, TRIM_EVERY_MS, TRIM_EVERY_MS);
}

_Noreturn void ps_role_run(const struct ps_role_ops *ops)
{
	static struct ps_role role;
	struct ps_inbox *inbox = ps_malloc(sizeof *inbox);

	role.ops = ops;
	role.phase = PS_PHASE_STARTING;
	set_up_heap();
	ignore_signals();
	fcntl(PS_MASTER_FD, F_SETFD, FD_CLOEXEC);
	umask(077);
	first_config(&role, inbox);
	free(inbox);

	/* In this order: confine and drop rights, name the peers, enter the loop. */
	confine(&role);
	name_peers(&role);
	ps_loop_run(role.loop);
	ps_role_end(&role, EXIT_FAILURE);
}
