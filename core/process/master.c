/* SPDX-License-Identifier: MIT */
/* The master process: start, reload, stop. */
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "auth/passwdfile.h"
#include "core/process/certificate.h"
#include "core/process/master.h"
#include "core/process/master_run.h"
#include "core/process/role.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/pool.h"

/* Clean stop, in all: what has not ended by then is ended. */
#define STOP_MS 10000

#define POLL_MS 250

#define REKEY_MS (12u * 60 * 60 * 1000) /* where no session is resumed anyway */

/* ---- configuration ---------------------------------------------------------------------------------- */

static int read_text(const char *path, struct ps_buf *out)
{
	PS_CLEANUP(ps_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);

	struct stat st;

	if (fd < 0)
		return ps_fail_errno("%s", path);
	if (fstat(fd, &st) == 0 && (st.st_mode & (S_IWOTH | S_IWGRP)))
		ps_logf(PS_LOG_WARNING, "config_exposed", NULL, "%s has mode %04o: others may change it", path,
			(unsigned)st.st_mode & 07777);
	return ps_passwd_read_fd(fd, path, out);
}

/* Each error is a line of its own. */
static void log_errors(struct ps_buf *errors)
{
	struct ps_bytes rest = ps_buf_view(errors), line;

	while (ps_passwd_line(&rest, &line))
		ps_logf(PS_LOG_ERROR, "config_error", NULL, "%.*s", (int)line.len, (const char *)line.ptr);
}

/* Passwords of user databases stand in it. */
static void tell_if_readable(const char *path, const struct ps_conf *conf)
{
	struct stat st;

	if (ps_conf_section_count(conf, "userdb") > 0 && stat(path, &st) == 0 && (st.st_mode & S_IROTH))
		ps_logf(PS_LOG_WARNING, "config_exposed", NULL, "%s has mode %04o: others may read what is in userdb",
			path, (unsigned)st.st_mode & 07777);
}

/* The roles get the text that was read here, so that all of them see the same. */
static int read_config(struct master *master)
{
	struct ps_buf text = {0}, errors = {0};
	struct ps_config *config;
	int r = read_text(master->config_path, &text);

	if (r == 0) {
		r = ps_config_read(master->config_path, ps_buf_view(&text), &errors, &config);
		if (r < 0)
			log_errors(&errors);
	}
	ps_buf_finish(&errors);
	if (r < 0) {
		ps_buf_finish(&text);
		return r;
	}
	ps_config_destroy(master->config);
	ps_buf_finish(&master->text);
	master->config = config;
	master->conf = ps_config_root(config);
	master->text = text;
	tell_if_readable(master->config_path, master->conf);
	ps_log_set_level(ps_log_level_of(master->conf));
	return 0;
}

static int check_certificate(const struct master *master)
{
	const struct ps_conf *tls = ps_conf_section(master->conf, "tls", 0);
	const char *certificate = ps_conf_str(tls, "certificate"), *key = ps_conf_str(tls, "key");

	return certificate && key ? ps_certificate_check_files(certificate, key) : 0;
}

static long long resumption_time(const struct ps_conf *root)
{
	return ps_conf_int(ps_conf_section(root, "tls", 0), "resumption_time");
}

/* What session tickets were sealed with before nobody can open afterwards. */
static int renew_resumption_key(struct master *master)
{
	long long seconds = resumption_time(master->conf);

	if (gnutls_rnd(GNUTLS_RND_KEY, master->resumption_key, sizeof master->resumption_key) < 0)
		return ps_fail(PS_E_INTERNAL, "no random octets");
	ps_timer_set(master->rekey, seconds ? (uint64_t)seconds * 1000 : REKEY_MS, 0);
	return 0;
}

static void on_rekey(void *arg)
{
	struct master *master = arg;

	if (renew_resumption_key(master) < 0)
		ps_log(PS_LOG_ERROR, "rekey", "msg", ps_last_error(), NULL);
	else
		children_send_resumption_key(master);
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool same_list(const struct ps_conf *old, const struct ps_conf *new, const char *name)
{
	size_t count = ps_conf_list_size(old, name);
	bool same = count == ps_conf_list_size(new, name);

	for (size_t i = 0; same && i < count; i++)
		same = same_text(ps_conf_list_nth(old, name, i), ps_conf_list_nth(new, name, i));
	return same;
}

static void tell_restart(const char *setting)
{
	ps_log(PS_LOG_WARNING, "reload_incomplete", "setting", setting, "msg", "takes effect at the next start", NULL);
}

/* Settings that a running server cannot take. */
static const struct fixed {
	const char *section; /* NULL: none */
	const char *name;
	enum ps_setting_type type;
} fixed[] = {
	{NULL, "mail_root", PS_SET_STRING},
	{NULL, "run_dir", PS_SET_STRING},
	{NULL, "user_net", PS_SET_STRING},
	{NULL, "user_auth", PS_SET_STRING},
	{NULL, "user_mail", PS_SET_STRING},
	{NULL, "user_relay", PS_SET_STRING},
	{NULL, "spool_dir", PS_SET_STRING},
	{NULL, "front_processes", PS_SET_INT},
	{NULL, "mail_processes", PS_SET_INT},
	{NULL, "isolation", PS_SET_STRING},
	{NULL, "user_processes", PS_SET_INT},
	{NULL, "worker_threads", PS_SET_INT},
	{NULL, "auth_workers", PS_SET_INT},
	{"relay", "resolvers", PS_SET_LIST},
	{"relay", "resolvers_validate", PS_SET_BOOL},
	{"relay", "ca_file", PS_SET_STRING},
	{"relay", "mta_sts", PS_SET_BOOL},
	{"relay", "mx_port", PS_SET_INT},
	{"relay", "allow_loopback", PS_SET_BOOL},
};

static bool is_same(const struct fixed *row, const struct ps_conf *old, const struct ps_conf *new)
{
	if (row->section) {
		old = ps_conf_section(old, row->section, 0);
		new = ps_conf_section(new, row->section, 0);
	}
	if (row->type == PS_SET_LIST)
		return same_list(old, new, row->name);
	if (row->type == PS_SET_BOOL)
		return ps_conf_bool(old, row->name) == ps_conf_bool(new, row->name);
	if (row->type == PS_SET_INT)
		return ps_conf_int(old, row->name) == ps_conf_int(new, row->name);
	return same_text(ps_conf_str(old, row->name), ps_conf_str(new, row->name));
}

static void warn_of_restart(const struct ps_conf *old, const struct ps_conf *new)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(fixed); i++)
		if (!is_same(&fixed[i], old, new))
			tell_restart(fixed[i].name);
}

int master_reload(struct master *master)
{
	struct ps_config *old = master->config;
	bool rekey;
	int r;

	if (master->stopping)
		return ps_fail(PS_E_BUSY, "the server is stopping");
	master->config = NULL; /* kept for the comparison */
	r = read_config(master);
	if (r < 0) {
		master->config = old;
		ps_log(PS_LOG_ERROR, "reload_failed", "msg", ps_last_error(), NULL);
		return r;
	}
	notify("RELOADING=1");
	warn_of_restart(ps_config_root(old), master->conf);
	rekey = resumption_time(ps_config_root(old)) != resumption_time(master->conf);
	ps_config_destroy(old);
	if (check_certificate(master) < 0)
		ps_log(PS_LOG_WARNING, "certificate_not_used", "msg", ps_last_error(), NULL);
	secrets_configure(master);
	children_configure_databases(master);
	children_send_config(master);
	for (size_t i = 0; i < master->secret_count; i++)
		children_send_secret(master, &master->secrets[i]);
	if (rekey)
		on_rekey(master);
	listeners_apply(master);
	ps_log(PS_LOG_INFO, "reloaded", "config", master->config_path, NULL);
	notify("READY=1");
	return 0;
}

/* ---- stop ------------------------------------------------------------------------------------------- */

void master_children_gone(struct master *master)
{
	ps_loop_stop(master->loop);
}

static void stop_now(void *arg)
{
	children_kill(arg);
}

void master_stop(struct master *master)
{
	if (master->stopping) {
		children_kill(master);
		return;
	}
	ps_log(PS_LOG_INFO, "stopping", NULL);
	notify("STOPPING=1");
	master->stopping = true;
	ps_timer_stop(master->poll);
	ps_timer_set(master->kill, STOP_MS, 0);
	control_close(master);
	children_stop(master);
}

static void on_signal(void *arg, int signum)
{
	if (signum == SIGHUP)
		master_reload(arg);
	else
		master_stop(arg);
}

/* ---- start ------------------------------------------------------------------------------------------ */

void master_child_ready(struct master *master)
{
	if (master->ready || !children_all_serving(master))
		return;
	master->ready = true;
	ps_log(PS_LOG_INFO, "ready", "config", master->config_path, "processes",
	       ps_num((long long)children_running(master)), NULL);
	notify("READY=1");
	if (master->ready_pipe >= 0 && write(master->ready_pipe, "", 1) < 0)
		ps_log(PS_LOG_WARNING, "starter_gone", NULL);
	ps_closep(&master->ready_pipe);
}

static void poll_secrets(void *arg)
{
	secrets_poll(arg);
}

/* A connection is a descriptor, of a logged-in TLS session two. The roles inherit the limit. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
}

static int watch_signals(struct master *master)
{
	static const int signals[] = {SIGHUP, SIGTERM, SIGINT};
	int r = 0;

	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < PS_ARRAY_LEN(signals) && r == 0; i++)
		r = ps_signal_watch(master->loop, signals[i], on_signal, master);
	return r;
}

static int start(struct master *master)
{
	int r;

	if ((r = surroundings_prepare(master)) < 0 || (r = pid_file_take(master)) < 0 ||
	    (r = check_certificate(master)) < 0 || (r = ps_loop_create(&master->loop)) < 0 ||
	    (r = watch_signals(master)) < 0 ||
	    (r = ps_timer_open(master->loop, poll_secrets, master, &master->poll)) < 0 ||
	    (r = ps_timer_open(master->loop, stop_now, master, &master->kill)) < 0 ||
	    (r = ps_timer_open(master->loop, on_rekey, master, &master->rekey)) < 0 ||
	    (r = renew_resumption_key(master)) < 0)
		return r;
	if (gnutls_rnd(GNUTLS_RND_KEY, master->ticket_key.octets, sizeof master->ticket_key.octets) < 0 ||
	    gnutls_rnd(GNUTLS_RND_KEY, master->pass_key.octets, sizeof master->pass_key.octets) < 0 ||
	    gnutls_rnd(GNUTLS_RND_NONCE, &master->counts_seed, sizeof master->counts_seed) < 0)
		return ps_fail(PS_E_INTERNAL, "no random octets");
	secrets_configure(master);
	raise_descriptor_limit();
	if ((r = listeners_apply(master)) < 0 || (r = children_create(master)) < 0 || (r = control_open(master)) < 0 ||
	    (r = children_start(master)) < 0)
		return r;
	ps_timer_set(master->poll, POLL_MS, POLL_MS);
	return 0;
}

static void finish(struct master *master)
{
	control_close(master);
	children_destroy(master);
	listeners_destroy(master);
	ps_timer_close(master->poll);
	ps_timer_close(master->kill);
	ps_timer_close(master->rekey);
	ps_loop_destroy(master->loop);
	secrets_destroy(master);
	if (master->run_dir)
		pid_file_drop(master);
	ps_config_destroy(master->config);
	ps_buf_finish(&master->text);
	free(master->run_dir);
	explicit_bzero(&master->ticket_key, sizeof master->ticket_key);
	explicit_bzero(&master->pass_key, sizeof master->pass_key);
	explicit_bzero(master->resumption_key, sizeof master->resumption_key);
}

/* Goes on in a child. The starter waits until the server serves, so that its exit status tells. */
static int go_to_background(struct master *master)
{
	char octet;
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return ps_fail_errno("pipe");
	pid = fork();
	if (pid < 0)
		return ps_fail_errno("fork");
	if (pid > 0) {
		close(fds[1]);
		_exit(read(fds[0], &octet, 1) == 1 ? EXIT_SUCCESS : EXIT_FAILURE);
	}
	close(fds[0]);
	master->ready_pipe = fds[1];
	if (setsid() < 0 || chdir("/") < 0)
		return ps_fail_errno("go to the background");
	return 0;
}

static void close_standard_io(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	/* Standard error stays: it is the log. */
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		dup2(null, STDOUT_FILENO);
	}
	ps_closep(&null);
}

int ps_master_run(const char *config_path, bool foreground)
{
	struct master master = {.pid_file = -1, .ready_pipe = -1, .privileged = geteuid() == 0};
	PS_CLEANUP(ps_freep) char *path = realpath(config_path, NULL);
	int r;

	master.config_path = path ? path : config_path;
	r = read_config(&master);
	if (r == 0 && !foreground)
		r = go_to_background(&master);
	if (r == 0) {
		close_standard_io();
		umask(022);
		r = start(&master);
	}
	if (r < 0) {
		ps_log(PS_LOG_ERROR, "start_failed", "msg", ps_last_error(), NULL);
		master.failed = true;
		master.stopping = true;
		if (master.loop && master.child_count)
			children_kill(&master);
	} else {
		ps_loop_run(master.loop);
		ps_log(PS_LOG_INFO, "stopped", NULL);
	}
	finish(&master);
	return master.failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
