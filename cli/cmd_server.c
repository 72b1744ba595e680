/* SPDX-License-Identifier: MIT */
/* postern who|reload|stop: what the running server is asked. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>
#include "cli/cli.h"
#include "core/process/control.h"

json_t *cli_ask(struct cli *cli, json_t *request)
{
	PS_CLEANUP(ps_freep) char *line = json_dumps(request, JSON_COMPACT);
	struct ps_buf answer = {0};
	json_t *json = NULL;
	const char *error;
	int r;

	json_decref(request);
	if (!line || cli_load(cli) < 0)
		return NULL;
	r = ps_control_ask_line(ps_conf_str(ps_config_root(cli->config), "run_dir"), line, &answer);
	if (r == PS_E_NOTFOUND)
		cli_error("no server runs with this configuration");
	else if (r < 0)
		cli_failed();
	else if (!(json = json_loadb(ps_buf_cstr(&answer), answer.len, 0, NULL)))
		cli_error("the server gave an answer that is not JSON");
	ps_buf_finish(&answer);
	if (json_is_true(json_object_get(json, "ok")))
		return json;
	error = json_string_value(json_object_get(json, "error"));
	if (json)
		cli_error("%s", error ? error : "the server refused, and gave no reason");
	json_decref(json);
	return NULL;
}

static json_t *ask(struct cli *cli, const char *what)
{
	return cli_ask(cli, json_pack("{s:s}", "do", what));
}

static const char *text_of(const json_t *session, const char *key)
{
	const char *text = json_string_value(json_object_get(session, key));

	return text ? text : "-";
}

static void print_session(const json_t *s)
{
	const char *user = text_of(s, "user");

	printf("%-*s %-8s %-4s %-28s since %-8s idle %-8s %s\n", cli_width(user, 32), user, text_of(s, "protocol"),
	       json_is_true(json_object_get(s, "tls")) ? "TLS" : "", text_of(s, "remote"),
	       cli_age(json_integer_value(json_object_get(s, "age"))),
	       cli_age(json_integer_value(json_object_get(s, "idle"))), text_of(s, "sid"));
}

int cli_who(struct cli *cli)
{
	json_t *answer = ask(cli, "who"), *sessions = json_object_get(answer, "sessions"), *session;
	size_t i;
	int code = CLI_OK;

	if (!answer)
		return CLI_FAILED;
	if (cli_json(cli)) {
		code = cli_print_json(json_incref(sessions));
	} else {
		json_array_foreach(sessions, i, session) print_session(session);
		if (json_array_size(sessions) == 0)
			printf("nobody\n");
	}
	json_decref(answer);
	return code;
}

int cli_reload(struct cli *cli)
{
	json_t *answer = ask(cli, "reload");

	json_decref(answer);
	if (!answer)
		return CLI_FAILED;
	printf("the server has read its configuration again\n");
	return CLI_OK;
}

/* Whether the process ends in time. */
static bool wait_for_end(pid_t pid)
{
	enum {
		TIMES = 600
	};
	struct timespec pause = {.tv_nsec = 100 * 1000 * 1000};

	for (int i = 0; i < TIMES; i++) {
		if (kill(pid, 0) < 0 && errno == ESRCH)
			return true;
		nanosleep(&pause, NULL);
	}
	return false;
}

int cli_stop(struct cli *cli)
{
	json_t *ping = ask(cli, "ping"), *answer = ping ? ask(cli, "stop") : NULL;
	pid_t pid = (pid_t)json_integer_value(json_object_get(ping, "pid"));
	bool asked = answer;

	json_decref(ping);
	json_decref(answer);
	if (!asked)
		return CLI_FAILED;
	if (pid > 0 && !wait_for_end(pid)) {
		cli_error("the server was told to stop, but process %ld is still there", (long)pid);
		return CLI_FAILED;
	}
	printf("the server has stopped\n");
	return CLI_OK;
}
