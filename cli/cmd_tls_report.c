/* SPDX-License-Identifier: MIT */
/* `postern smtp tls-report`: what came of TLS with which domain, as relay has counted it. */
#include <stdio.h>
#include "cli/cli.h"

static void print_row(const json_t *row)
{
	const char *kind, *sign = ": ";
	json_t *failed = json_object_get(row, "failed"), *count;
	json_int_t failures = 0;

	json_object_foreach(failed, kind, count) failures += json_integer_value(count);
	printf("%-30s  %-16s  %6lld successful, %lld failed", json_string_value(json_object_get(row, "domain")),
	       json_string_value(json_object_get(row, "policy-type")),
	       (long long)json_integer_value(json_object_get(row, "successful")), (long long)failures);
	json_object_foreach(failed, kind, count)
	{
		printf("%s%s %lld", sign, kind, (long long)json_integer_value(count));
		sign = ", ";
	}
	printf("\n");
}

static void print_rows(const json_t *rows)
{
	const json_t *row;
	size_t i;

	json_array_foreach(rows, i, row) print_row(row);
	if (json_array_size(rows) == 0)
		printf("nothing\n");
}

/* All pages, one behind the other. NULL: told. */
static json_t *fetch(struct cli *cli)
{
	const char *day = cli->arg_count > 0 ? cli->args[0] : NULL;
	json_t *rows = json_array(), *answer = NULL;
	const char *after = NULL;

	do {
		json_t *request = json_pack("{s:s, s:s*, s:s*}", "do", "tls-report", "day", day, "after", after);

		json_decref(answer);
		answer = cli_ask(cli, request);
		if (!answer) {
			json_decref(rows);
			return NULL;
		}
		json_array_extend(rows, json_object_get(answer, "rows"));
		after = json_string_value(json_object_get(answer, "next"));
	} while (after);
	json_decref(answer);
	return rows;
}

int cli_smtp_tls_report(struct cli *cli)
{
	json_t *rows = fetch(cli);

	if (!rows)
		return CLI_FAILED;
	if (cli_json(cli))
		return cli_print_json(rows);
	print_rows(rows);
	json_decref(rows);
	return CLI_OK;
}
