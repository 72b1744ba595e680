/* SPDX-License-Identifier: MIT */
/* postern queue list|show|hold|...: mail that waits, as the running server's relay process has it. */
#include <stdio.h>
#include <stdlib.h>
#include "cli/cli.h"

enum {
	PAGE = 100,
};

/* ---- asking ------------------------------------------------------------------------------------ */

/* "90s", "5min", "2h", "3d"; a number alone is of seconds. */
static bool read_age(const char *text, json_int_t *ret_seconds)
{
	static const struct {
		const char *name;
		json_int_t seconds;
	} units[] = {{"", 1}, {"s", 1}, {"min", 60}, {"h", 3600}, {"d", 86400}};
	size_t digits = strspn(text, "0123456789");
	uint32_t n;

	for (size_t i = 0; i < PS_ARRAY_LEN(units); i++) {
		if (strcmp(text + digits, units[i].name) != 0 || ps_bytes_u32(ps_bytes(text, digits), &n) < 0)
			continue;
		*ret_seconds = n * units[i].seconds;
		return n > 0 && *ret_seconds <= INT32_MAX;
	}
	return false;
}

static const struct {
	enum cli_option_id option;
	const char *name;
	enum {
		TEXT,
		AGE,
		FLAG
	} kind;
} filters[] = {
	{CLI_OPT_SENDER, "sender", TEXT},   {CLI_OPT_RECIPIENT, "recipient", TEXT},
	{CLI_OPT_SUBMITTER, "user", TEXT},  {CLI_OPT_DESTINATION, "destination", TEXT},
	{CLI_OPT_OLDER, "older_than", AGE}, {CLI_OPT_YOUNGER, "younger_than", AGE},
	{CLI_OPT_HELD, "held", FLAG},
};

static bool has_filter(const struct cli *cli)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(filters); i++)
		if (cli->option[filters[i].option])
			return true;
	return false;
}

/* NULL: told already. */
static json_t *make_request(const struct cli *cli, const char *what)
{
	json_t *request = json_pack("{s:s, s:s}", "do", "queue", "what", what);

	for (size_t i = 0; i < PS_ARRAY_LEN(filters); i++) {
		const char *value = cli->option[filters[i].option];
		json_int_t seconds = 0;

		if (!value)
			continue;
		if (filters[i].kind == AGE && !read_age(value, &seconds)) {
			cli_error("\"%s\" is not an age: 90s, 5min, 2h, 3d", value);
			json_decref(request);
			return NULL;
		}
		json_object_set_new(request, filters[i].name,
				    filters[i].kind == TEXT  ? json_string(value)
				    : filters[i].kind == AGE ? json_integer(seconds)
							     : json_true());
	}
	return request;
}

/* Asks for page after page. `most`: rows in all; 0: as many as there are; -1: it is no list. */
static int each_page(struct cli *cli, json_t *request, json_int_t most, void (*fn)(void *arg, const json_t *answer),
		     void *arg)
{
	json_int_t after = 0;

	do {
		json_t *answer;

		json_object_set_new(request, "after", json_integer(after));
		if (most >= 0)
			json_object_set_new(request, "most", json_integer(most < PAGE ? most : PAGE));
		answer = cli_ask(cli, json_incref(request));
		if (!answer) {
			json_decref(request);
			return CLI_FAILED;
		}
		after = json_integer_value(json_object_get(answer, "next"));
		if (most > 0 && (most -= (json_int_t)json_array_size(json_object_get(answer, "rows"))) <= 0)
			after = 0;
		fn(arg, answer);
		json_decref(answer);
	} while (after);
	json_decref(request);
	return CLI_OK;
}

/* ---- showing ----------------------------------------------------------------------------------- */

static const char *text_of(const json_t *row, const char *key)
{
	return json_string_value(json_object_get(row, key));
}

static json_int_t number_of(const json_t *row, const char *key)
{
	return json_integer_value(json_object_get(row, key));
}

static void put(struct ps_buf *out, const char *before, const char *text, const char *after)
{
	if (!text)
		return;
	ps_buf_str(out, before);
	cli_put_safe(text, out);
	ps_buf_str(out, after);
}

/* "; mx.example.org said 450 4.2.0 later" */
static void put_result(struct ps_buf *out, const char *before, const json_t *result)
{
	json_int_t code = number_of(result, "code");

	if (!json_is_object(result))
		return;
	ps_buf_str(out, before);
	put(out, "", text_of(result, "host"), " said");
	if (code)
		ps_buf_printf(out, "%s%03d", text_of(result, "host") ? " " : "", (int)(code % 1000));
	put(out, " ", text_of(result, "enhanced"), "");
	put(out, " ", text_of(result, "text"), "");
}

static void print_line(struct ps_buf *line)
{
	printf("%s\n", ps_buf_cstr(line));
	ps_buf_finish(line);
}

static void put_state(struct ps_buf *out, const json_t *row)
{
	if (json_is_true(json_object_get(row, "held")))
		ps_buf_str(out, "held");
	else if (json_is_true(json_object_get(row, "active")))
		ps_buf_str(out, "is being sent");
	else if (json_is_integer(json_object_get(row, "next")))
		ps_buf_printf(out, "next attempt in %s", cli_age(number_of(row, "next")));
	else
		ps_buf_str(out, "is to be sent");
}

static void print_message(const json_t *row)
{
	const json_t *to = json_object_get(row, "to"), *address;
	json_int_t more = number_of(row, "open") - (json_int_t)json_array_size(to);
	struct ps_buf line = {0}, second = {0};
	size_t i;

	put(&line, "", text_of(row, "id"), "");
	ps_buf_printf(&line, "  %s  %s", cli_age(number_of(row, "age")), cli_octets((uint64_t)number_of(row, "size")));
	put(&line, "  from <", text_of(row, "sender"), ">");
	put(&line, ", user ", text_of(row, "user"), "");
	print_line(&line);
	json_array_foreach(to, i, address) put(&second, i ? ", " : "    to ", json_string_value(address), "");
	if (more > 0)
		ps_buf_printf(&second, " and %lld more", (long long)more);
	put(&second, " by ", text_of(row, "destination"), ": ");
	put_state(&second, row);
	put_result(&second, "; ", json_object_get(row, "last"));
	print_line(&second);
}

static void print_part(const json_t *part)
{
	const json_t *recipient;
	struct ps_buf line = {0};
	size_t i;

	put(&line, "  by ", text_of(part, "destination"), ": ");
	put(&line, "", text_of(part, "state"), "");
	ps_buf_printf(&line, ", %lld attempts", (long long)number_of(part, "attempts"));
	if (json_is_integer(json_object_get(part, "next")))
		ps_buf_printf(&line, ", the next in %s", cli_age(number_of(part, "next")));
	put_result(&line, "; ", json_object_get(part, "last"));
	print_line(&line);
	json_array_foreach(json_object_get(part, "recipients"), i, recipient)
	{
		put(&line, "    ", text_of(recipient, "address"), "");
		put(&line, ": ", text_of(recipient, "state"), "");
		print_line(&line);
	}
}

static void print_destination(const json_t *row)
{
	struct ps_buf line = {0};

	put(&line, "", text_of(row, "destination"), "");
	ps_buf_printf(&line, "  %lld waiting", (long long)number_of(row, "parts"));
	if (json_is_integer(json_object_get(row, "unreachable_for")))
		ps_buf_printf(&line, ", not reached for %s", cli_age(number_of(row, "unreachable_for")));
	if (json_is_integer(json_object_get(row, "blocked_for")))
		ps_buf_printf(&line, ", left alone for %s", cli_age(number_of(row, "blocked_for")));
	put_result(&line, "; ", json_object_get(row, "reason"));
	print_line(&line);
}

struct listing {
	bool json;
	void (*print)(const json_t *row);
	size_t count;
};

/* JSON comes as one array, however many pages it is. */
static void print_rows(void *arg, const json_t *answer)
{
	struct listing *listing = arg;
	const json_t *row;
	size_t i;

	json_array_foreach(json_object_get(answer, "rows"), i, row)
	{
		if (listing->json) {
			printf("%s", listing->count ? ",\n" : "");
			json_dumpf(row, stdout, JSON_INDENT(2));
		} else {
			listing->print(row);
		}
		listing->count++;
	}
}

static int list(struct cli *cli, const char *what, void (*print)(const json_t *row))
{
	struct listing listing = {.json = cli_json(cli), .print = print};
	const char *most = cli->option[CLI_OPT_MOST];
	json_t *request = make_request(cli, what);
	uint32_t n = 0;
	int code;

	if (most && (ps_bytes_u32(ps_bytes_str(most), &n) < 0 || n == 0)) {
		cli_error("--most takes a number above 0");
		json_decref(request);
		return CLI_USAGE;
	}
	if (!request)
		return CLI_USAGE;
	if (listing.json)
		printf("[");
	code = each_page(cli, request, n, print_rows, &listing);
	if (listing.json)
		printf("]\n");
	else if (code == CLI_OK && listing.count == 0)
		printf("nothing\n");
	return code;
}

int cli_queue_list(struct cli *cli)
{
	return list(cli, "list", print_message);
}

int cli_queue_destinations(struct cli *cli)
{
	return list(cli, "destinations", print_destination);
}

int cli_queue_show(struct cli *cli)
{
	json_t *answer = cli_ask(cli, json_pack("{s:s, s:s, s:s}", "do", "queue", "what", "show", "id", cli->args[0]));
	const json_t *row = json_array_get(json_object_get(answer, "rows"), 0), *part;
	size_t i;
	int code = CLI_OK;

	if (!answer)
		return CLI_FAILED;
	if (!row) {
		cli_error("message %s cannot be read", cli->args[0]);
		code = CLI_FAILED;
	} else if (cli_json(cli)) {
		code = cli_print_json(json_deep_copy(row));
	} else {
		print_message(row);
		json_array_foreach(json_object_get(row, "parts"), i, part) print_part(part);
	}
	json_decref(answer);
	return code;
}

/* ---- acts -------------------------------------------------------------------------------------- */

struct acting {
	json_int_t count;
};

static void add_count(void *arg, const json_t *answer)
{
	struct acting *acting = arg;

	acting->count += number_of(answer, "count");
}

static int act_on_ids(struct cli *cli, const char *what, struct acting *acting)
{
	int code = CLI_OK;

	for (int i = 0; i < cli->arg_count; i++) {
		json_t *request = make_request(cli, what);

		if (!request)
			return CLI_USAGE;
		json_object_set_new(request, "id", json_string(cli->args[i]));
		if (each_page(cli, request, -1, add_count, acting) != CLI_OK)
			code = CLI_FAILED;
	}
	return code;
}

static int act_on_all(struct cli *cli, const char *what, struct acting *acting)
{
	json_t *request = make_request(cli, what);

	return request ? each_page(cli, request, -1, add_count, acting) : CLI_USAGE;
}

static int act(struct cli *cli, const char *what, const char *done, const char *question)
{
	bool every = cli->option[CLI_OPT_EVERY];
	struct acting acting = {0};
	int code;

	if (cli->arg_count == 0 && !has_filter(cli) && !every) {
		cli_error("which messages? Give their ids, or options that say; --every for all");
		return CLI_USAGE;
	}
	if (question && cli->arg_count == 0 && !cli->option[CLI_OPT_YES] && !cli_confirm(question))
		return CLI_FAILED;
	code = cli->arg_count ? act_on_ids(cli, what, &acting) : act_on_all(cli, what, &acting);
	if (code == CLI_USAGE)
		return code;
	if (cli_json(cli))
		cli_print_json(json_pack("{s:I}", what, acting.count));
	else
		printf("%lld message%s %s\n", (long long)acting.count, acting.count == 1 ? "" : "s", done);
	return code;
}

int cli_queue_hold(struct cli *cli)
{
	return act(cli, "hold", "held", NULL);
}

int cli_queue_release(struct cli *cli)
{
	return act(cli, "release", "released", NULL);
}

int cli_queue_retry(struct cli *cli)
{
	return act(cli, "retry", "to be attempted now", NULL);
}

int cli_queue_remove(struct cli *cli)
{
	return act(cli, "remove", "removed", "Remove all these messages, without telling anybody?");
}

int cli_queue_bounce(struct cli *cli)
{
	return act(cli, "bounce", "to be returned", "Return all these messages to their senders?");
}

/* ---- figures ----------------------------------------------------------------------------------- */

int cli_queue_stats(struct cli *cli)
{
	static const struct {
		const char *key, *text;
	} figures[] = {
		{"messages", "messages"},
		{"held", "parts that are held"},
		{"ready", "parts that may be attempted now"},
		{"parts", "parts in all: one for each message and destination"},
		{"destinations", "destinations"},
		{"active", "attempts under way"},
		{"added", "messages taken since the start"},
		{"finished", "attempts made since the start"},
		{"damaged", "records that could not be read and were set aside"},
	};
	json_t *answer = cli_ask(cli, json_pack("{s:s, s:s}", "do", "queue", "what", "stats"));
	int code = CLI_OK;

	if (!answer)
		return CLI_FAILED;
	json_object_del(answer, "ok");
	if (cli_json(cli)) {
		code = cli_print_json(json_incref(answer));
	} else {
		for (size_t i = 0; i < PS_ARRAY_LEN(figures); i++)
			printf("%10lld %s\n", (long long)number_of(answer, figures[i].key), figures[i].text);
		printf("%10s in bodies\n%10s is the oldest's age\n", cli_octets((uint64_t)number_of(answer, "octets")),
		       cli_age(number_of(answer, "oldest")));
	}
	json_decref(answer);
	return code;
}
