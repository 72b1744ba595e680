/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <idn2.h>
#include <stdlib.h>
#include <unicase.h>
#include "core/delivery/route/address.h"
#include "postern/error.h"

static int syntax(const char *what)
{
	return ps_fail(PS_E_SYNTAX, "address: %s", what);
}

static bool is_ascii(struct ps_bytes text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] >= 0x80)
			return false;
	return true;
}

/* ---- domains --------------------------------------------------------------------------------- */

static bool is_label(struct ps_bytes label)
{
	for (size_t i = 0; i < label.len; i++)
		if (!ps_isalpha(label.ptr[i]) && !ps_isdigit(label.ptr[i]) && label.ptr[i] != '-' &&
		    label.ptr[i] != '_')
			return false;
	return label.len > 0 && label.len <= 63 && label.ptr[0] != '-' && label.ptr[label.len - 1] != '-';
}

static bool is_domain(struct ps_bytes domain)
{
	if (domain.len > PS_DOMAIN_MAX)
		return false;
	for (;;) {
		ptrdiff_t dot = ps_bytes_find(domain, '.');
		struct ps_bytes label = dot < 0 ? domain : ps_bytes(domain.ptr, (size_t)dot);

		if (!is_label(label))
			return false;
		if (dot < 0)
			return true;
		domain = ps_bytes_skip(domain, label.len + 1);
	}
}

/* "[192.0.2.1]", "[IPv6:2001:db8::1]" */
static bool is_literal(struct ps_bytes domain)
{
	char text[INET6_ADDRSTRLEN + 8];
	uint8_t octets[16];

	if (domain.len < 3 || domain.len - 2 >= sizeof text || domain.ptr[0] != '[' ||
	    domain.ptr[domain.len - 1] != ']' || memchr(domain.ptr, 0, domain.len))
		return false;
	memcpy(text, domain.ptr + 1, domain.len - 2);
	text[domain.len - 2] = '\0';
	if (inet_pton(AF_INET, text, octets) == 1)
		return true;
	return strlen(text) > 5 && ps_bytes_caseeq_str(ps_bytes(text, 5), "IPv6:") &&
	       inet_pton(AF_INET6, text + 5, octets) == 1;
}

static int put_ascii(struct ps_bytes domain, struct ps_buf *out)
{
	if (!is_domain(domain))
		return syntax("not a domain");
	for (size_t i = 0; i < domain.len; i++)
		ps_buf_char(out, (char)ps_tolower(domain.ptr[i]));
	return out->failed ? PS_E_LIMIT : 0;
}

/* What libidn2 maps to may hold anything, an '@' too: it is checked like every other domain. */
static int put_international(struct ps_bytes domain, struct ps_buf *out)
{
	char text[PS_DOMAIN_MAX + 1], *ascii = NULL;
	int r;

	if (domain.len > PS_DOMAIN_MAX || memchr(domain.ptr, 0, domain.len) || !ps_utf8_valid(domain))
		return syntax("not a domain");
	memcpy(text, domain.ptr, domain.len);
	text[domain.len] = '\0';
	r = idn2_to_ascii_8z(text, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL);
	if (r != IDN2_OK)
		return ps_fail(PS_E_SYNTAX, "address: domain: %s", idn2_strerror(r));
	r = put_ascii(ps_bytes_str(ascii), out);
	idn2_free(ascii);
	return r;
}

int ps_domain_normalise(struct ps_bytes domain, struct ps_buf *out)
{
	if (domain.len == 0)
		return syntax("no domain after the @");
	if (domain.ptr[0] == '[' && is_literal(domain)) {
		for (size_t i = 0; i < domain.len; i++)
			ps_buf_char(out, (char)ps_tolower(domain.ptr[i]));
		return out->failed ? PS_E_LIMIT : 0;
	}
	return is_ascii(domain) ? put_ascii(domain, out) : put_international(domain, out);
}

bool ps_domain_same(const char *a, const char *b)
{
	struct ps_buf x = {.limit = PS_DOMAIN_MAX + 1}, y = {.limit = PS_DOMAIN_MAX + 1};
	bool same = ps_strcasecmp(a, b) == 0;

	if (!same && !(is_ascii(ps_bytes_str(a)) && is_ascii(ps_bytes_str(b))))
		same = ps_domain_normalise(ps_bytes_str(a), &x) == 0 && ps_domain_normalise(ps_bytes_str(b), &y) == 0 &&
		       ps_bytes_eq(ps_buf_view(&x), ps_buf_view(&y));
	ps_buf_finish(&x);
	ps_buf_finish(&y);
	return same;
}

/* ---- local parts ----------------------------------------------------------------------------- */

static bool is_atext(uint8_t c)
{
	return ps_isalpha(c) || ps_isdigit(c) || c >= 0x80 || (c && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

/* Dot-string, RFC 5321 section 4.1.2. */
static bool is_dot_string(struct ps_bytes text)
{
	for (size_t i = 0; i < text.len; i++)
		if (!is_atext(text.ptr[i]) &&
		    (text.ptr[i] != '.' || i == 0 || i + 1 == text.len || text.ptr[i + 1] == '.'))
			return false;
	return text.len > 0;
}

/* Takes what is before the '@' that counts. */
static int take_quoted(struct ps_bytes *path, struct ps_buf *out)
{
	size_t at = 1;

	for (; at < path->len && path->ptr[at] != '"'; at++) {
		if (path->ptr[at] == '\\' && ++at == path->len)
			break;
		ps_buf_char(out, (char)path->ptr[at]);
	}
	if (at >= path->len)
		return syntax("a quote is not closed");
	*path = ps_bytes_skip(*path, at + 1);
	return 0;
}

static int take_local(struct ps_bytes *path, struct ps_buf *out)
{
	ptrdiff_t at = ps_bytes_find(*path, '@');
	struct ps_bytes local = at < 0 ? *path : ps_bytes(path->ptr, (size_t)at);

	if (path->len && path->ptr[0] == '"')
		return take_quoted(path, out);
	if (!is_dot_string(local))
		return syntax(local.len ? "a local part with what may not be there" : "no local part");
	*path = ps_bytes_skip(*path, local.len);
	return ps_buf_bytes(out, local);
}

static int check_local(const struct ps_buf *local)
{
	for (size_t i = 0; i < local->len; i++)
		if (local->ptr[i] < 0x20 || local->ptr[i] == 0x7f)
			return syntax("a control octet in the local part");
	if (local->len == 0)
		return syntax("no local part");
	if (local->failed || local->len > PS_LOCAL_PART_MAX)
		return syntax("the local part is too long");
	return ps_utf8_valid(ps_buf_view(local)) ? 0 : syntax("the local part is not UTF-8");
}

int ps_mail_address_parse(struct ps_bytes path, struct ps_pool *pool, struct ps_mail_address *ret_address)
{
	struct ps_buf local = {.limit = PS_LOCAL_PART_MAX + 1}, domain = {.limit = PS_DOMAIN_MAX + 1};
	struct ps_mail_address address = {0};
	int r = take_local(&path, &local);

	if (r == 0)
		r = check_local(&local);
	if (r == 0 && path.len > 0)
		r = path.ptr[0] == '@' ? ps_domain_normalise(ps_bytes_skip(path, 1), &domain)
				       : syntax("something between the quoted local part and the @");
	if (r == 0) {
		address.local = ps_pool_strndup(pool, ps_buf_cstr(&local), local.len);
		address.domain = domain.len ? ps_pool_strdup(pool, ps_buf_cstr(&domain)) : NULL;
		address.literal = domain.len && domain.ptr[0] == '[';
		*ret_address = address;
	}
	ps_buf_finish(&local);
	ps_buf_finish(&domain);
	return r;
}

void ps_mail_address_write(const char *local, const char *domain, struct ps_buf *out)
{
	bool quotes = !is_dot_string(ps_bytes_str(local));

	if (quotes)
		ps_buf_char(out, '"');
	for (const char *at = local; *at; at++) {
		if (quotes && (*at == '"' || *at == '\\'))
			ps_buf_char(out, '\\');
		ps_buf_char(out, *at);
	}
	if (quotes)
		ps_buf_char(out, '"');
	if (domain)
		ps_buf_printf(out, "@%s", domain);
}

const char *ps_mail_address_key(const char *local, const char *domain, struct ps_pool *pool)
{
	size_t len = strlen(local), domain_len = strlen(domain), folded_len;
	uint8_t *folded = NULL;
	char *key;

	if (!is_ascii(ps_bytes(local, len)))
		folded = u8_casefold((const uint8_t *)local, len, NULL, UNINORM_NFC, NULL, &folded_len);
	if (folded)
		len = folded_len;
	key = ps_pool_alloc(pool, len + 1 + domain_len + 1);
	memcpy(key, folded ? (const char *)folded : local, len);
	key[len] = '@';
	memcpy(key + len + 1, domain, domain_len + 1);
	for (char *at = key; *at; at++)
		*at = (char)ps_tolower((uint8_t)*at);
	free(folded);
	return key;
}
