/* SPDX-License-Identifier: MIT */
#include "postern/error.h"
#include "postern/store.h"
#include "protocols/imap/names.h"

/* Changes '/' and the separator for each other; its own inverse. */
static void swap_separators(const struct imap_names *names, char *text)
{
	for (; *text; text++) {
		if (*text == names->separator)
			*text = '/';
		else if (*text == '/')
			*text = names->separator;
	}
}

static const char *prefix_to_match(const struct imap_names *names, struct ps_pool *pool)
{
	char *prefix = ps_pool_strdup(pool, names->prefix);

	swap_separators(names, prefix);
	return prefix;
}

static int from_utf8(struct ps_bytes wire, struct ps_buf *text)
{
	if (!ps_utf8_valid(wire))
		return ps_fail(PS_E_INVALID, "a mailbox name that is not UTF-8");
	return ps_buf_bytes(text, wire);
}

static int decode(const struct imap_names *names, struct ps_bytes wire, struct ps_pool *pool, char **ret_text)
{
	struct ps_buf text = {.limit = 8192};
	int r = names->utf8 ? from_utf8(wire, &text) : ps_mutf7_decode(wire, &text);

	if (r == 0 && ps_bytes_find(ps_buf_view(&text), '\0') >= 0)
		r = ps_fail(PS_E_INVALID, "a mailbox name with a NUL");
	if (r == 0)
		*ret_text = ps_pool_strndup(pool, (const char *)text.ptr, text.len);
	else if (r == PS_E_SYNTAX)
		r = PS_E_INVALID; /* of IMAP's grammar it is; the name is not lawful */
	ps_buf_finish(&text);
	return r;
}

int imap_name_from_wire(const struct imap_names *names, struct ps_bytes wire, struct ps_pool *pool,
			const char **ret_name)
{
	const char *prefix = prefix_to_match(names, pool);
	size_t prefix_len = strlen(prefix), len;
	char *text;
	int r = decode(names, wire, pool, &text);

	if (r < 0)
		return r;
	swap_separators(names, text);
	len = strlen(text);
	if (len > 1 && text[len - 1] == '/')
		text[--len] = '\0';
	if (ps_strcasecmp(text, "INBOX") != 0) {
		if (strncmp(text, prefix, prefix_len) != 0)
			return ps_fail(PS_E_INVALID, "a mailbox name outside the namespace");
		text += prefix_len;
	}
	return ps_mailbox_name_normalise(ps_bytes_str(text), pool, ret_name);
}

void imap_text_to_wire(const struct imap_names *names, const char *text, struct ps_buf *out)
{
	if (names->utf8)
		ps_buf_str(out, text);
	else
		ps_mutf7_encode(ps_bytes_str(text), out);
}

void imap_name_to_wire(const struct imap_names *names, const char *name, struct ps_buf *out)
{
	size_t size = strlen(name) + 1;
	char *swapped;

	if (strcmp(name, "INBOX") == 0) {
		ps_buf_str(out, name);
		return;
	}
	swapped = memcpy(ps_malloc(size), name, size);
	swap_separators(names, swapped);
	imap_text_to_wire(names, names->prefix, out);
	imap_text_to_wire(names, swapped, out);
	ps_freep(&swapped);
}

const char *imap_name_to_match(const struct imap_names *names, const char *name, struct ps_pool *pool)
{
	if (names->prefix[0] == '\0' || strcmp(name, "INBOX") == 0)
		return name;
	return ps_pool_printf(pool, "%s%s", prefix_to_match(names, pool), name);
}

/* RFC 3501 section 6.3.8: INBOX in any case. A pattern that begins so means the one mailbox. */
static void upcase_inbox(char *pattern)
{
	if (ps_bytes_caseeq_str(ps_bytes(pattern, strnlen(pattern, 5)), "INBOX") &&
	    (pattern[5] == '\0' || pattern[5] == '/' || pattern[5] == '%' || pattern[5] == '*'))
		memcpy(pattern, "INBOX", 5);
}

int imap_pattern_to_match(const struct imap_names *names, struct ps_bytes reference, struct ps_bytes pattern,
			  struct ps_pool *pool, const char **ret_pattern)
{
	char *both = ps_pool_alloc(pool, reference.len + pattern.len + 1), *text;
	int r;

	memcpy(both, reference.ptr ? reference.ptr : (const uint8_t *)"", reference.len);
	memcpy(both + reference.len, pattern.ptr, pattern.len);
	r = decode(names, ps_bytes(both, reference.len + pattern.len), pool, &text);
	if (r < 0)
		return r;
	swap_separators(names, text);
	upcase_inbox(text);
	*ret_pattern = text;
	return 0;
}

const char *imap_pattern_top(const struct imap_names *names, const char *pattern, struct ps_pool *pool)
{
	const char *prefix = prefix_to_match(names, pool);
	size_t len = strlen(prefix), certain;

	if (strncmp(pattern, prefix, len) == 0)
		pattern += len;
	certain = strcspn(pattern, "*%");
	if (pattern[certain] == '\0')
		return ps_pool_strdup(pool, pattern);
	while (certain > 0 && pattern[certain - 1] != '/')
		certain--;
	return certain > 1 ? ps_pool_strndup(pool, pattern, certain - 1) : NULL;
}
