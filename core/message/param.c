/* SPDX-License-Identifier: MIT */
#include "core/message/param.h"
#include "core/message/transfer.h"

void param_list_init(struct param_list *list, struct lex lex)
{
	*list = (struct param_list){.lex = lex, .left = PARAMS_MAX};
}

void param_list_finish(struct param_list *list)
{
	ps_buf_finish(&list->name);
	ps_buf_finish(&list->value);
}

/* Whether "name=" is ahead: then a semicolon was forgotten, and the value does not go on here. */
static bool param_ahead(struct lex lex)
{
	const uint8_t *start = lex.at;

	while (!lex_done(&lex) && !lex_is_blank(*lex.at) && !strchr("()<>@,;:\\\"/[]?=", *lex.at))
		lex.at++;
	return lex.at != start && lex_peek(&lex) == '=';
}

/* Without quotes, blanks within count: "name=my file.txt" is common. */
static void take_bare_value(struct lex *lex, struct ps_buf *out)
{
	for (;;) {
		const uint8_t *start = lex->at, *blank;

		while (!lex_done(lex) && !lex_is_blank(*lex->at) && *lex->at != ';')
			lex->at++;
		ps_buf_append(out, start, (size_t)(lex->at - start));
		blank = lex->at;
		while (!lex_done(lex) && lex_is_blank(*lex->at))
			lex->at++;
		if (lex_done(lex) || *lex->at == ';' || *lex->at == '(' || param_ahead(*lex))
			return;
		for (; blank < lex->at; blank++)
			if (*blank != '\r' && *blank != '\n')
				ps_buf_char(out, (char)*blank);
	}
}

static bool take_param(struct param_list *list)
{
	struct lex *lex = &list->lex;

	ps_buf_reset(&list->name);
	ps_buf_reset(&list->value);
	if (!lex_token(lex, &list->name))
		return false;
	lex_skip_cfws(lex, NULL);
	if (!lex_take(lex, '='))
		return false;
	lex_skip_cfws(lex, NULL);
	if (lex_peek(lex) == '"')
		lex_quoted(lex, &list->value);
	else
		take_bare_value(lex, &list->value);
	return true;
}

bool param_next(struct param_list *list)
{
	struct lex *lex = &list->lex;

	while (list->left) {
		lex_skip_cfws(lex, NULL);
		if (lex_done(lex))
			return false;
		if (lex_take(lex, ';'))
			continue;
		if (take_param(list)) {
			list->left--;
			return true;
		}
		while (!lex_done(lex) && lex_peek(lex) != ';')
			lex->at++;
	}
	return false;
}

static void append_percent(struct ps_buf *out, struct ps_bytes text)
{
	for (size_t i = 0; i < text.len; i++) {
		int high = text.ptr[i] == '%' && text.len - i > 2 ? hex_value(text.ptr[i + 1]) : -1;
		int low = high >= 0 ? hex_value(text.ptr[i + 2]) : -1;

		if (low >= 0)
			i += 2;
		ps_buf_char(out, (char)(low >= 0 ? high * 16 + low : text.ptr[i]));
	}
}

/* charset'language'text */
static struct ps_bytes skip_charset(struct ps_bytes text)
{
	ptrdiff_t first = ps_bytes_find(text, '\''), second;

	if (first < 0)
		return text;
	second = ps_bytes_find(ps_bytes_skip(text, (size_t)first + 1), '\'');
	return second < 0 ? text : ps_bytes_skip(text, (size_t)(first + second) + 2);
}

void param_gather(struct param_gather *gather, const struct param_list *list)
{
	struct ps_bytes name = ps_buf_view(&list->name), value = ps_buf_view(&list->value);
	size_t base = strlen(gather->name);
	bool coded;
	uint32_t piece = 0;

	if (gather->whole || name.len < base || !ps_bytes_caseeq_str(ps_bytes(name.ptr, base), gather->name))
		return;
	name = ps_bytes_skip(name, base);
	if (name.len == 0) {
		gather->whole = true;
		ps_buf_reset(&gather->value);
		ps_buf_bytes(&gather->value, value);
		return;
	}
	if (name.ptr[0] != '*')
		return;
	name = ps_bytes_skip(name, 1);
	coded = name.len == 0 || name.ptr[name.len - 1] == '*';
	if (name.len && coded)
		name.len--;
	if ((name.len && ps_bytes_u32(name, &piece) < 0) || piece != gather->pieces)
		return;
	gather->pieces++;
	if (coded)
		append_percent(&gather->value, piece == 0 ? skip_charset(value) : value);
	else
		ps_buf_bytes(&gather->value, value);
}
