/* SPDX-License-Identifier: MIT */
#include "core/message/address.h"
#include "postern/error.h"
#include "postern/message.h"

void address_list_init(struct address_list *list, struct ps_bytes value)
{
	*list = (struct address_list){.lex = lex_start(value)};
}

void address_list_finish(struct address_list *list)
{
	ps_buf_finish(&list->name);
	ps_buf_finish(&list->local);
	ps_buf_finish(&list->host);
	ps_buf_finish(&list->route);
	ps_buf_finish(&list->comment);
}

static bool is_atom_char(int c)
{
	return c >= 0 && !lex_is_blank(c) && !strchr("()<>[]:;@\\,.\"", c);
}

static void take_atom(struct lex *lex, struct ps_buf *out)
{
	const uint8_t *start = lex->at;

	while (lex->at < lex->end && is_atom_char(*lex->at))
		lex->at++;
	ps_buf_append(out, start, (size_t)(lex->at - start));
}

/* A word, a dot, or an octet that has no business here and is kept as text. */
static void take_word(struct lex *lex, struct ps_buf *out)
{
	if (lex_peek(lex) == '"')
		lex_quoted(lex, out);
	else if (is_atom_char(lex_peek(lex)))
		take_atom(lex, out);
	else
		ps_buf_char(out, (char)*lex->at++);
}

/* Blanks between the words of a name become one; round the dots of a local part they go (RFC 5322
 * section 4.4). */
static void add_space(struct ps_buf *out, bool blank, bool dot_ahead)
{
	if (blank && out->len && out->ptr[out->len - 1] != '.' && !dot_ahead)
		ps_buf_char(out, ' ');
}

static void take_domain(struct address_list *list)
{
	struct lex *lex = &list->lex;

	for (;;) {
		lex_skip_cfws(lex, &list->comment);
		if (lex_peek(lex) == '[') {
			while (!lex_done(lex) && lex_peek(lex) != ']' && lex_peek(lex) != '>')
				ps_buf_char(&list->host, (char)*lex->at++);
			if (lex_take(lex, ']'))
				ps_buf_char(&list->host, ']');
		} else if (lex_take(lex, '.')) {
			ps_buf_char(&list->host, '.');
		} else if (is_atom_char(lex_peek(lex)) &&
			   (list->host.len == 0 || list->host.ptr[list->host.len - 1] == '.')) {
			take_atom(lex, &list->host);
		} else {
			return;
		}
	}
}

/* "@one,@two:" ahead of the address proper, obsolete. */
static void take_route(struct address_list *list)
{
	const uint8_t *start = list->lex.at, *colon = start;

	while (colon < list->lex.end && *colon != ':' && *colon != '>' && *colon != '<')
		colon++;
	if (colon == list->lex.end || *colon != ':')
		return;
	for (const uint8_t *at = start; at < colon; at++)
		if (!lex_is_blank(*at))
			ps_buf_char(&list->route, (char)*at);
	list->lex.at = colon + 1;
}

/* Behind '<'. Without '>' it ends at a comma, or with the value. */
static void take_angle(struct address_list *list)
{
	struct lex *lex = &list->lex;

	ps_buf_reset(&list->local);
	ps_buf_reset(&list->host);
	lex_skip_cfws(lex, NULL);
	if (lex_peek(lex) == '@')
		take_route(list);
	for (;;) {
		bool blank = lex_skip_cfws(lex, NULL);
		int c = lex_peek(lex);

		if (c < 0 || c == '>' || c == ',')
			break;
		if (lex_take(lex, '<'))
			continue;
		if (lex_take(lex, '@')) {
			take_domain(list);
			break;
		}
		add_space(&list->local, blank, c == '.');
		take_word(lex, &list->local);
	}
	while (!lex_done(lex) && lex_peek(lex) != '>' && lex_peek(lex) != ',')
		lex->at++;
	while (lex_take(lex, '>'))
		;
	lex_skip_cfws(lex, &list->comment);
}

static void mailbox(struct address_list *list, bool named, struct address *ret)
{
	*ret = (struct address){.kind = ADDRESS_MAILBOX,
				.local = ps_bytes(list->local.len ? list->local.ptr : (uint8_t *)"", list->local.len),
				.host = ps_bytes(list->host.len ? list->host.ptr : (uint8_t *)"", list->host.len)};
	if (named && list->name.len)
		ret->name = ps_buf_view(&list->name);
	else if (list->comment.len)
		ret->name = ps_buf_view(&list->comment);
	if (list->route.len)
		ret->route = ps_buf_view(&list->route);
}

/* What is ahead is an address or a group's name: words, until something tells which. */
static void take_address(struct address_list *list, struct address *ret)
{
	struct lex *lex = &list->lex;
	bool at_sign = false;

	for (;;) {
		bool blank = lex_skip_cfws(lex, &list->comment);
		int c = lex_peek(lex);
		size_t mark;

		if (c < 0 || c == ',' || c == ';') {
			mailbox(list, false, ret);
			return;
		}
		if (lex_take(lex, '<')) {
			take_angle(list);
			mailbox(list, true, ret);
			return;
		}
		if (c == ':' && !list->in_group && !at_sign) {
			lex->at++;
			list->in_group = true;
			*ret = (struct address){
				.kind = ADDRESS_GROUP,
				.name = ps_bytes(list->name.len ? list->name.ptr : (uint8_t *)"", list->name.len)};
			return;
		}
		/* "name@host <real@host>": all of it is kept as the name until it proves to be the
		 * address. */
		if (c == '@' && !at_sign) {
			at_sign = true;
			lex->at++;
			take_domain(list);
			ps_buf_char(&list->name, '@');
			ps_buf_bytes(&list->name, ps_buf_view(&list->host));
			continue;
		}
		if (blank && list->name.len)
			ps_buf_char(&list->name, ' ');
		mark = list->name.len;
		take_word(lex, &list->name);
		if (!at_sign && list->name.len > mark) {
			add_space(&list->local, blank, c == '.');
			ps_buf_append(&list->local, list->name.ptr + mark, list->name.len - mark);
		}
	}
}

bool address_next(struct address_list *list, struct address *ret)
{
	ps_buf_reset(&list->name);
	ps_buf_reset(&list->local);
	ps_buf_reset(&list->host);
	ps_buf_reset(&list->route);
	ps_buf_reset(&list->comment);
	for (;;) {
		lex_skip_cfws(&list->lex, &list->comment);
		if (lex_take(&list->lex, ','))
			continue;
		if (lex_done(&list->lex) || lex_peek(&list->lex) == ';') {
			bool at_end = !lex_take(&list->lex, ';');

			if (list->in_group) {
				list->in_group = false;
				*ret = (struct address){.kind = ADDRESS_GROUP_END};
				return true;
			}
			if (at_end)
				return false;
			continue;
		}
		take_address(list, ret);
		return true;
	}
}

int ps_addresses_count(struct ps_bytes value, size_t *ret_count)
{
	struct address_list list;
	struct address address;
	size_t count = 0;
	int r = 0;

	address_list_init(&list, value);
	while (r == 0 && address_next(&list, &address)) {
		if (address.kind != ADDRESS_MAILBOX)
			continue;
		count++;
		if (address.local.len == 0 || address.host.len == 0)
			r = ps_fail(PS_E_SYNTAX, "an address that is not local-part@domain");
	}
	address_list_finish(&list);
	if (r == 0)
		*ret_count = count;
	return r;
}
