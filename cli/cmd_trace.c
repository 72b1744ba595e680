/* SPDX-License-Identifier: MIT */
/* postern trace: what became of messages. */
#include <stdio.h>
#include "cli/cli.h"

enum {
	MOST_MAX = 100, /* of the server's */
};

static const char *text_of(const json_t *event, const char *key)
{
	return json_string_value(json_object_get(event, key));
}

static void put(struct ps_buf *out, const char *before, const char *text, const char *after)
{
	if (!text)
		return;
	ps_buf_str(out, before);
	cli_put_safe(text, out);
	ps_buf_str(out, after);
}

/* "550 5.1.1 no such user" */
static void put_reply(struct ps_buf *out, const json_t *event)
{
	json_int_t code = json_integer_value(json_object_get(event, "code"));

	if (code)
		ps_buf_printf(out, " %03d", (int)(code % 1000));
	put(out, " ", text_of(event, "enhanced"), "");
	put(out, " ", text_of(event, "text"), "");
}

static void tell_received(struct ps_buf *out, const json_t *event)
{
	const char *sender = text_of(event, "sender");

	put(out, " from <", sender, ">");
	put(out, ", by ", text_of(event, "source"), "");
	put(out, ", user ", text_of(event, "user"), "");
	put(out, ", session ", text_of(event, "sid"), "");
	put(out, ", Message-ID <", text_of(event, "message_id"), ">");
	if (json_integer_value(json_object_get(event, "size")))
		ps_buf_printf(out, ", %lld octets", (long long)json_integer_value(json_object_get(event, "size")));
}

static void tell_recipient(struct ps_buf *out, const json_t *event)
{
	put(out, " ", text_of(event, "recipient"), "");
	put(out, " (was ", text_of(event, "orcpt"), ")");
	put(out, " in ", text_of(event, "mailbox"), "");
	if (text_of(event, "host") || text_of(event, "text") || text_of(event, "enhanced")) {
		put(out, ": ", text_of(event, "host"), "");
		ps_buf_char(out, ':');
		put_reply(out, event);
	}
}

static void tell_reported(struct ps_buf *out, const json_t *event)
{
	put(out, " ", text_of(event, "recipient"), "");
	put(out, " to the sender, by message ", text_of(event, "other"), "");
}

static void tell_event(const json_t *event)
{
	const char *time = text_of(event, "time"), *name = text_of(event, "event");
	struct ps_buf line = {0};

	ps_buf_printf(&line, "  %.10s %.12s  %-9s", time ? time : "", time && strlen(time) > 11 ? time + 11 : "",
		      name ? name : "?");
	if (name && strcmp(name, "received") == 0)
		tell_received(&line, event);
	else if (name && strcmp(name, "reported") == 0)
		tell_reported(&line, event);
	else
		tell_recipient(&line, event);
	printf("%s\n", ps_buf_cstr(&line));
	ps_buf_finish(&line);
}

static void tell_messages(const json_t *answer)
{
	const json_t *messages = json_object_get(answer, "messages"), *message, *event;
	size_t i, j;

	json_array_foreach(messages, i, message)
	{
		printf("%s%s\n", i ? "\n" : "", text_of(message, "id"));
		json_array_foreach(json_object_get(message, "events"), j, event) tell_event(event);
	}
	if (json_is_true(json_object_get(answer, "more")))
		printf("\nThere are more; these are the newest.\n");
}

/* The journal is in UTC, and so is what is printed. */
int cli_trace(struct cli *cli)
{
	const char *most = cli->option[CLI_OPT_MOST];
	uint64_t n = 0;
	json_t *answer;
	int code = CLI_OK;

	if (most && (ps_bytes_u64(ps_bytes_str(most), &n) < 0 || n == 0 || n > MOST_MAX)) {
		cli_error("--most takes a number from 1 to %d", MOST_MAX);
		return CLI_USAGE;
	}
	answer = cli_ask(cli, json_pack("{s:s, s:s, s:I}", "do", "trace", "what", cli->args[0], "most", (json_int_t)n));
	if (!answer)
		return CLI_FAILED;
	if (cli_json(cli)) {
		code = cli_print_json(json_incref(json_object_get(answer, "messages")));
	} else if (json_array_size(json_object_get(answer, "messages")) == 0) {
		cli_error("nothing is known of %s", cli->args[0]);
		code = CLI_FAILED;
	} else {
		tell_messages(answer);
	}
	json_decref(answer);
	return code;
}
