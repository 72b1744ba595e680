/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <stdbool.h>
#include <string.h>
#include "postern/envelope.h"
#include "postern/error.h"
#include "protocols/smtp/path.h"

static int syntax(const char *what)
{
	return ps_fail(PS_E_SYNTAX, "path: %s", what);
}

static void skip_blanks(struct ps_bytes *argument)
{
	while (argument->len > 0 && argument->ptr[0] == ' ')
		*argument = ps_bytes_skip(*argument, 1);
}

int smtp_take_word(struct ps_bytes *argument, const char *word)
{
	size_t len = strlen(word);

	for (size_t i = 0; i < len; i++)
		if (i >= argument->len || (argument->ptr[i] | ('a' <= word[i] && word[i] <= 'z' ? 0x20 : 0)) != word[i])
			return syntax("the word before it is missing");
	*argument = ps_bytes_skip(*argument, len);
	/* RFC 5321 section 3.3 has no blank here; many clients do. */
	skip_blanks(argument);
	return 0;
}

/* ---- the parts of a mailbox ------------------------------------------------------------------ */

static bool is_letter_or_digit(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static bool is_atext(uint8_t c, bool utf8)
{
	return is_letter_or_digit(c) || (c && strchr("!#$%&'*+-/=?^_`{|}~", c)) || (utf8 && c >= 0x80);
}

/* Dot-string: its length, 0 if there is none. */
static size_t dot_string(struct ps_bytes in, bool utf8)
{
	size_t at = 0;

	for (;;) {
		size_t from = at;

		while (at < in.len && is_atext(in.ptr[at], utf8))
			at++;
		if (at == from)
			return 0;
		if (at == in.len || in.ptr[at] != '.')
			return at;
		at++;
	}
}

/* Quoted-string: what it stands for. */
static int quoted_string(struct ps_bytes *in, bool utf8, struct ps_buf *out)
{
	size_t at = 1;

	for (; at < in->len && in->ptr[at] != '"'; at++) {
		if (in->ptr[at] == '\\' && ++at == in->len)
			break;
		if (in->ptr[at] < ' ' || in->ptr[at] == 0x7f || (in->ptr[at] >= 0x80 && !utf8))
			return syntax("an octet in the quotes that may not be there");
		ps_buf_char(out, (char)in->ptr[at]);
	}
	if (at >= in->len)
		return syntax("a quote is not closed");
	*in = ps_bytes_skip(*in, at + 1);
	return 0;
}

/* Writes a local part back: in quotes only where it must be. */
static void put_local(struct ps_bytes local, bool utf8, struct ps_buf *out)
{
	if (dot_string(local, utf8) == local.len && local.len > 0) {
		ps_buf_bytes(out, local);
		return;
	}
	ps_buf_char(out, '"');
	for (size_t i = 0; i < local.len; i++) {
		if (local.ptr[i] == '"' || local.ptr[i] == '\\')
			ps_buf_char(out, '\\');
		ps_buf_char(out, (char)local.ptr[i]);
	}
	ps_buf_char(out, '"');
}

static int take_local(struct ps_bytes *in, bool utf8, struct ps_buf *out)
{
	size_t len = dot_string(*in, utf8);
	struct ps_buf unquoted = {0};
	int r = 0;

	if (len > 0) {
		ps_buf_append(out, in->ptr, len);
		*in = ps_bytes_skip(*in, len);
		return 0;
	}
	if (in->len == 0 || in->ptr[0] != '"')
		return syntax("no local part");
	if ((r = quoted_string(in, utf8, &unquoted)) == 0)
		put_local(ps_buf_view(&unquoted), utf8, out);
	ps_buf_finish(&unquoted);
	return r;
}

static bool is_label(struct ps_bytes label, bool utf8)
{
	for (size_t i = 0; i < label.len; i++)
		if (!is_letter_or_digit(label.ptr[i]) && label.ptr[i] != '-' && label.ptr[i] != '_' &&
		    !(utf8 && label.ptr[i] >= 0x80))
			return false;
	return label.len > 0 && label.len <= 63 && label.ptr[0] != '-' && label.ptr[label.len - 1] != '-';
}

/* What inet_pton() reads; as text it is bounded. */
static bool is_address(int family, struct ps_bytes text)
{
	char copy[INET6_ADDRSTRLEN];
	uint8_t address[16];

	if (text.len == 0 || text.len >= sizeof copy || memchr(text.ptr, '\0', text.len))
		return false;
	memcpy(copy, text.ptr, text.len);
	copy[text.len] = '\0';
	return inet_pton(family, copy, address) == 1;
}

/* RFC 5321 section 4.1.3. Literals of a tag nobody has defined are not known here. */
static bool is_literal(struct ps_bytes domain)
{
	static const char tag[] = "IPv6:";
	struct ps_bytes text;

	if (domain.len < 3 || domain.ptr[domain.len - 1] != ']')
		return false;
	text = ps_bytes(domain.ptr + 1, domain.len - 2);
	if (text.len > sizeof tag - 1 && ps_bytes_caseeq_str(ps_bytes(text.ptr, sizeof tag - 1), tag))
		return is_address(AF_INET6, ps_bytes_skip(text, sizeof tag - 1));
	return is_address(AF_INET, text);
}

bool smtp_is_domain(struct ps_bytes domain, bool utf8)
{
	if (domain.len == 0 || domain.len > 255)
		return false;
	if (domain.ptr[0] == '[')
		return is_literal(domain);
	while (domain.len > 0) {
		ptrdiff_t dot = ps_bytes_find(domain, '.');
		struct ps_bytes label = dot < 0 ? domain : ps_bytes(domain.ptr, (size_t)dot);

		if (!is_label(label, utf8) || (dot >= 0 && (size_t)dot + 1 == domain.len))
			return false;
		domain = ps_bytes_skip(domain, label.len + (dot >= 0));
	}
	return true;
}

const char *smtp_path_domain(const char *path)
{
	const char *at = strrchr(path, '@');

	/* An '@' within the quotes of a local part is followed by the quote. */
	return at && !strchr(at, '"') ? at + 1 : NULL;
}

/* ---- paths ----------------------------------------------------------------------------------- */

/* "@a,@b:" is to be taken and passed over, RFC 5321 appendix C. */
static int skip_route(struct ps_bytes *path)
{
	ptrdiff_t colon;

	if (path->len == 0 || path->ptr[0] != '@')
		return 0;
	colon = ps_bytes_find(*path, ':');
	if (colon < 0)
		return syntax("a source route without its end");
	*path = ps_bytes_skip(*path, (size_t)colon + 1);
	return 0;
}

static int take_mailbox(struct ps_bytes path, bool utf8, struct ps_buf *out)
{
	size_t from = out->len;
	int r;

	if ((r = skip_route(&path)) < 0 || (r = take_local(&path, utf8, out)) < 0)
		return r;
	if (out->len - from > 256)
		return ps_fail(PS_E_LIMIT, "path: the local part is too long");
	if (path.len == 0)
		return 0; /* <postmaster> */
	if (path.ptr[0] != '@' || !smtp_is_domain(ps_bytes_skip(path, 1), utf8))
		return syntax("no domain behind the local part");
	ps_buf_bytes(out, path);
	return out->len - from > PS_PATH_MAX ? ps_fail(PS_E_LIMIT, "path: too long") : 0;
}

/* The index of the '>' that ends a path, or the length. */
static size_t path_end(struct ps_bytes in)
{
	bool quoted = false;

	for (size_t i = 0; i < in.len; i++) {
		if (quoted && in.ptr[i] == '\\')
			i++;
		else if (in.ptr[i] == '"')
			quoted = !quoted;
		else if (in.ptr[i] == '>' && !quoted)
			return i;
	}
	return in.len;
}

int smtp_take_path(struct ps_bytes *argument, bool utf8, struct ps_buf *out)
{
	struct ps_bytes path;
	size_t end;
	int r = 0;

	if (argument->len == 0 || argument->ptr[0] != '<')
		return syntax("it must be in angle brackets");
	end = path_end(*argument);
	if (end == argument->len)
		return syntax("no closing angle bracket");
	path = ps_bytes(argument->ptr + 1, end - 1);
	if (utf8 && !ps_utf8_valid(path))
		return syntax("not UTF-8");
	if (path.len > 0)
		r = take_mailbox(path, utf8, out);
	*argument = ps_bytes_skip(*argument, end + 1);
	if (r == 0 && argument->len > 0 && argument->ptr[0] != ' ')
		r = syntax("something behind the angle bracket");
	return r;
}

/* RFC 5321 section 4.1.2: esmtp-keyword ["=" esmtp-value]; RFC 6531 section 3.3 adds octets above 127 to a value. */
static bool is_parameter(struct ps_bytes keyword, struct ps_bytes value, bool has_value)
{
	for (size_t i = 0; i < keyword.len; i++)
		if (!is_letter_or_digit(keyword.ptr[i]) && !(keyword.ptr[i] == '-' && i > 0))
			return false;
	for (size_t i = 0; i < value.len; i++)
		if (value.ptr[i] <= ' ' || value.ptr[i] == '=' || value.ptr[i] == 0x7f)
			return false;
	return keyword.len > 0 && (value.len > 0 || !has_value);
}

bool smtp_take_parameter(struct ps_bytes *argument, struct ps_bytes *ret_keyword, struct ps_bytes *ret_value,
			 int *ret_error)
{
	struct ps_bytes word;
	ptrdiff_t blank, equals;

	*ret_error = 0;
	skip_blanks(argument);
	if (argument->len == 0)
		return false;
	blank = ps_bytes_find(*argument, ' ');
	word = blank < 0 ? *argument : ps_bytes(argument->ptr, (size_t)blank);
	*argument = ps_bytes_skip(*argument, word.len);
	equals = ps_bytes_find(word, '=');
	*ret_keyword = equals < 0 ? word : ps_bytes(word.ptr, (size_t)equals);
	*ret_value = equals < 0 ? ps_bytes(NULL, 0) : ps_bytes_skip(word, (size_t)equals + 1);
	if (!is_parameter(*ret_keyword, *ret_value, equals >= 0))
		*ret_error = syntax("a parameter that is none");
	return true;
}

/* ---- xtext ----------------------------------------------------------------------------------- */

/* Upper case only, RFC 3461 section 4. */
static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int smtp_xtext_decode(struct ps_bytes text, bool utf8, struct ps_buf *out)
{
	for (size_t i = 0; i < text.len; i++) {
		int octet = text.ptr[i];

		if (octet == '+') {
			int high = i + 2 < text.len ? hex_digit(text.ptr[i + 1]) : -1;
			int low = i + 2 < text.len ? hex_digit(text.ptr[i + 2]) : -1;

			octet = high < 0 || low < 0 ? -1 : high * 16 + low;
			i += 2;
		} else if (octet == '=' || octet == ' ' || (octet >= 0x80 && !utf8)) {
			octet = -1;
		}
		if (octet < ' ' || octet == 0x7f)
			return ps_fail(PS_E_SYNTAX, "xtext: not as RFC 3461 has it");
		ps_buf_char(out, (char)octet);
	}
	return 0;
}

bool smtp_is_ascii(struct ps_bytes text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] >= 0x80)
			return false;
	return true;
}
