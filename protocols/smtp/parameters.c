/* SPDX-License-Identifier: MIT */
#include "postern/envelope.h"
#include "postern/error.h"
#include "postern/pool.h"
#include "protocols/smtp/parameters.h"
#include "protocols/smtp/path.h"

enum {
	ENVID_MAX = 100, /* RFC 3461 section 4.4 */
	ORCPT_MAX = 500, /* and section 4.2 */
};

static int take_one(const struct smtp_parameter *table, size_t count, uint64_t *seen, struct ps_bytes keyword,
		    struct ps_bytes value, void *arg)
{
	for (size_t i = 0; i < count; i++) {
		if (!ps_bytes_caseeq_str(keyword, table[i].keyword))
			continue;
		if (*seen & UINT64_C(1) << i)
			return ps_fail(PS_E_SYNTAX, "%s: twice", table[i].keyword);
		*seen |= UINT64_C(1) << i;
		return table[i].take(arg, value);
	}
	return ps_fail(PS_E_UNSUPPORTED, "a parameter that is not known");
}

int smtp_read_parameters(struct ps_bytes argument, const struct smtp_parameter *table, size_t count, void *arg)
{
	struct ps_bytes keyword, value;
	uint64_t seen = 0;
	int r = 0;

	while (r == 0 && smtp_take_parameter(&argument, &keyword, &value, &r))
		if (r == 0)
			r = take_one(table, count, &seen, keyword, value, arg);
	return r;
}

/* ---- MAIL ------------------------------------------------------------------------------------ */

/* RFC 1870 section 4: up to 20 digits. */
static int take_size(void *arg, struct ps_bytes value)
{
	struct smtp_mail_args *args = arg;
	int r = ps_bytes_u64(value, &args->size);

	if (r < 0)
		return r;
	return args->size_limit && args->size > args->size_limit ? ps_fail(PS_E_LIMIT, "SIZE: too large") : 0;
}

struct word {
	const char *word;
	uint32_t bit;
};

static int take_choice(struct smtp_mail_args *args, struct ps_bytes value, const struct word *words, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (ps_bytes_caseeq_str(value, words[i].word)) {
			args->options |= words[i].bit;
			return 0;
		}
	}
	return ps_fail(PS_E_SYNTAX, "a value that is not known");
}

/* RFC 6152, RFC 3030 */
static int take_body(void *arg, struct ps_bytes value)
{
	static const struct word words[] = {
		{"7BIT", 0}, {"8BITMIME", PS_MAIL_8BITMIME}, {"BINARYMIME", PS_MAIL_BINARYMIME}};

	return take_choice(arg, value, words, PS_ARRAY_LEN(words));
}

/* RFC 3461 section 4.3 */
static int take_ret(void *arg, struct ps_bytes value)
{
	static const struct word words[] = {{"FULL", PS_MAIL_RET_FULL}, {"HDRS", PS_MAIL_RET_HDRS}};

	return take_choice(arg, value, words, PS_ARRAY_LEN(words));
}

static int take_envid(void *arg, struct ps_bytes value)
{
	struct smtp_mail_args *args = arg;

	if (value.len == 0 || value.len > ENVID_MAX)
		return ps_fail(PS_E_SYNTAX, "ENVID: too long, or nothing");
	return smtp_xtext_decode(value, false, &args->envid);
}

/* RFC 6531 section 3.4 */
static int take_utf8(void *arg, struct ps_bytes value)
{
	struct smtp_mail_args *args = arg;

	args->options |= PS_MAIL_SMTPUTF8;
	return value.ptr ? ps_fail(PS_E_SYNTAX, "SMTPUTF8: takes no value") : 0;
}

/* RFC 8689 section 2: not known without TLS. */
static int take_require_tls(void *arg, struct ps_bytes value)
{
	struct smtp_mail_args *args = arg;

	if (!args->is_tls)
		return ps_fail(PS_E_UNSUPPORTED, "REQUIRETLS: this session has no TLS");
	args->options |= PS_MAIL_REQUIRETLS;
	return value.ptr ? ps_fail(PS_E_SYNTAX, "REQUIRETLS: takes no value") : 0;
}

/* RFC 4954 section 5: who sent it first. We answer for our own users only, so it is as if "<>" had been said. */
static int take_auth(void *arg, struct ps_bytes value)
{
	struct ps_buf decoded = {0};
	int r = value.len == 0 ? ps_fail(PS_E_SYNTAX, "AUTH: takes a value") : smtp_xtext_decode(value, true, &decoded);

	(void)arg;
	ps_buf_finish(&decoded);
	return r;
}

const struct smtp_parameter smtp_mail_parameters[] = {
	{"SIZE", take_size},
	{"BODY", take_body},
	{"RET", take_ret},
	{"ENVID", take_envid},
	{"SMTPUTF8", take_utf8},
	{"AUTH", take_auth},
	{"REQUIRETLS", take_require_tls},
};
const size_t smtp_mail_parameter_count = PS_ARRAY_LEN(smtp_mail_parameters);

/* ---- RCPT ------------------------------------------------------------------------------------ */

static uint32_t notify_bit(struct ps_bytes word)
{
	static const struct {
		const char *word;
		uint32_t bit;
	} words[] = {{"NEVER", PS_NOTIFY_NEVER},
		     {"SUCCESS", PS_NOTIFY_SUCCESS},
		     {"FAILURE", PS_NOTIFY_FAILURE},
		     {"DELAY", PS_NOTIFY_DELAY}};

	for (size_t i = 0; i < PS_ARRAY_LEN(words); i++)
		if (ps_bytes_caseeq_str(word, words[i].word))
			return words[i].bit;
	return 0;
}

/* RFC 3461 section 4.1: "NEVER" or a list of the others */
static int take_notify(void *arg, struct ps_bytes value)
{
	struct smtp_rcpt_args *args = arg;

	for (;;) {
		ptrdiff_t comma = ps_bytes_find(value, ',');
		uint32_t bit = notify_bit(comma < 0 ? value : ps_bytes(value.ptr, (size_t)comma));

		if (bit == 0)
			return ps_fail(PS_E_SYNTAX, "NOTIFY: not known");
		args->notify |= bit;
		if (comma < 0)
			break;
		value = ps_bytes_skip(value, (size_t)comma + 1);
	}
	if ((args->notify & PS_NOTIFY_NEVER) && args->notify != PS_NOTIFY_NEVER)
		return ps_fail(PS_E_SYNTAX, "NOTIFY: never, and more");
	return 0;
}

/* RFC 3461 section 4.2: addr-type ";" xtext */
static int take_orcpt(void *arg, struct ps_bytes value)
{
	struct smtp_rcpt_args *args = arg;
	ptrdiff_t semicolon = ps_bytes_find(value, ';');

	if (semicolon <= 0 || value.len > ORCPT_MAX || (size_t)semicolon + 1 == value.len)
		return ps_fail(PS_E_SYNTAX, "ORCPT: not type;address");
	for (size_t i = 0; i < (size_t)semicolon; i++)
		if (!ps_isalpha(value.ptr[i]) && !ps_isdigit(value.ptr[i]) && value.ptr[i] != '-')
			return ps_fail(PS_E_SYNTAX, "ORCPT: not type;address");
	ps_buf_append(&args->orcpt, value.ptr, (size_t)semicolon + 1);
	return smtp_xtext_decode(ps_bytes_skip(value, (size_t)semicolon + 1), args->utf8, &args->orcpt);
}

const struct smtp_parameter smtp_rcpt_parameters[] = {{"NOTIFY", take_notify}, {"ORCPT", take_orcpt}};
const size_t smtp_rcpt_parameter_count = PS_ARRAY_LEN(smtp_rcpt_parameters);
