/* SPDX-License-Identifier: MIT */
/* postern kick: ends sessions of the running server. */
#include <stdio.h>
#include <string.h>
#include "auth/names.h"
#include "cli/cli.h"

static const char *const kinds[] = {"user", "address", "protocol", "session"};

static const char *kind_of(const char *word)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(kinds); i++)
		if (strcmp(kinds[i], word) == 0)
			return kinds[i];
	return NULL;
}

/* A user is named as for a log-in. */
static int put_value(struct cli *cli, const char *kind, const char *value, json_t *request)
{
	struct ps_buf name = {0};
	int r = 0;

	if (strcmp(kind, "user") == 0)
		r = ps_user_name_normalise(ps_bytes_str(value),
					   ps_conf_str(ps_config_root(cli->config), "default_domain"), &name);
	else
		ps_buf_str(&name, value);
	if (r < 0)
		cli_error("\"%s\" is no user's name", value);
	else
		json_object_set_new(request, kind, json_string(ps_buf_cstr(&name)));
	ps_buf_finish(&name);
	return r < 0 ? CLI_FAILED : CLI_OK;
}

static int put_all(struct cli *cli, json_t *request)
{
	int code = CLI_OK;

	for (int i = 0; i < cli->arg_count && code == CLI_OK; i += 2) {
		const char *kind = kind_of(cli->args[i]);

		if (kind && i + 1 < cli->arg_count && !json_object_get(request, kind)) {
			code = put_value(cli, kind, cli->args[i + 1], request);
		} else {
			cli_error("name each once, with its value: user NAME, address ADDRESS, protocol NAME, session "
				  "ID");
			code = CLI_USAGE;
		}
	}
	return code;
}

int cli_kick(struct cli *cli)
{
	json_t *request = json_pack("{s:s}", "do", "kick"), *answer;
	json_int_t ended;
	int code = cli_load(cli) < 0 ? CLI_FAILED : put_all(cli, request);

	if (code != CLI_OK) {
		json_decref(request);
		return code;
	}
	answer = cli_ask(cli, request);
	if (!answer)
		return CLI_FAILED;
	ended = json_integer_value(json_object_get(answer, "ended"));
	if (!json_is_true(json_object_get(answer, "complete"))) {
		cli_error("some processes did not answer in time; their sessions may end later");
		code = CLI_FAILED;
	}
	printf("%lld session%s ended\n", (long long)ended, ended == 1 ? "" : "s");
	json_decref(answer);
	return code;
}
