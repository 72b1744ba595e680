/* SPDX-License-Identifier: MIT */
#include "postern/error.h"
#include "postern/log.h"
#include "protocols/imap/commands.h"

/* RFC 2971 section 3.3 */
enum {
	PAIRS_MAX = 30,
	FIELD_MAX = 30,
	VALUE_MAX = 1024,
	LOGGED_MAX = 100
};

/* What is worth a place in the log. */
static const char *const logged[] = {"name", "version", "os", "vendor"};

struct client {
	const char *values[PS_ARRAY_LEN(logged)];
};

static int parse_pair(struct imap_cmd *cmd, struct client *client)
{
	struct ps_bytes field, value;

	if (imap_args_string(&cmd->args, cmd->pool, &field) < 0 || imap_args_space(&cmd->args) < 0 ||
	    imap_args_nstring(&cmd->args, cmd->pool, &value) < 0)
		return PS_E_SYNTAX;
	if (field.len > FIELD_MAX || value.len > VALUE_MAX)
		return ps_fail(PS_E_SYNTAX, "an ID field or value that is too long");
	for (size_t i = 0; i < PS_ARRAY_LEN(logged); i++)
		if (value.ptr && ps_bytes_caseeq_str(field, logged[i]))
			client->values[i] = ps_pool_strndup(cmd->pool, (const char *)value.ptr,
							    value.len < LOGGED_MAX ? value.len : LOGGED_MAX);
	return 0;
}

static int parse(struct imap_cmd *cmd, struct client *client)
{
	if (imap_args_space(&cmd->args) < 0)
		return PS_E_SYNTAX;
	if (imap_args_take_word(&cmd->args, "NIL"))
		return imap_args_end(&cmd->args);
	if (!imap_args_take(&cmd->args, '('))
		return PS_E_SYNTAX;
	if (imap_args_take(&cmd->args, ')'))
		return imap_args_end(&cmd->args);
	for (int pairs = 0; pairs < PAIRS_MAX; pairs++) {
		if (parse_pair(cmd, client) < 0)
			return PS_E_SYNTAX;
		if (imap_args_take(&cmd->args, ')'))
			return imap_args_end(&cmd->args);
		if (imap_args_space(&cmd->args) < 0)
			return PS_E_SYNTAX;
	}
	return PS_E_SYNTAX;
}

/* ID (RFC 2971):  "ID" SP ("(" [string SP nstring *(SP string SP nstring)] ")" / nil) */
static enum imap_next cmd_id(struct imap_cmd *cmd)
{
	struct client client = {0};

	if (parse(cmd, &client) < 0)
		return imap_bad(cmd, "ID takes NIL or a list of at most 30 fields and values");
	ps_log(PS_LOG_INFO, "client_id", "sid", ps_session_sid(cmd->imap->session), logged[0], client.values[0],
	       logged[1], client.values[1], logged[2], client.values[2], logged[3], client.values[3], NULL);
	ps_buf_str(imap_output(cmd->imap), "* ID (\"name\" \"Postern\")\r\n");
	return imap_ok(cmd, "ID completed");
}

const struct imap_command imap_cmd_id = {
	.name = "ID",
	.states = IMAP_ANY_STATE,
	.run = cmd_id,
};
