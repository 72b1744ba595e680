/* SPDX-License-Identifier: MIT */
/*
 * Mailbox names: what is lawful, and LIST patterns.
 */
#include <stdlib.h>
#include <uninorm.h>
#include <unistr.h>
#include "postern/store.h"

enum {
	NAME_MAX_OCTETS = 1000,
	NAME_MAX_COMPONENTS = 32
};

/* RFC 9051 section 5.1: no C0 or C1 controls, no DELETE, no line or paragraph separator. */
static bool character_is_lawful(ucs4_t c)
{
	return c >= 0x20 && !(c >= 0x7f && c <= 0x9f) && c != 0x2028 && c != 0x2029;
}

static bool component_is_lawful(const char *component, size_t len)
{
	return len > 0 && !(len == 1 && component[0] == '.') &&
	       !(len == 2 && component[0] == '.' && component[1] == '.');
}

static int check_components(const char *name)
{
	size_t components = 0;

	for (;;) {
		size_t len = strcspn(name, "/");

		if (!component_is_lawful(name, len))
			return ps_fail(PS_E_INVALID, "mailbox name: a component is empty, \".\" or \"..\"");
		if (++components > NAME_MAX_COMPONENTS)
			return ps_fail(PS_E_INVALID, "mailbox name: more than %d levels", NAME_MAX_COMPONENTS);
		if (name[len] == '\0')
			return 0;
		name += len + 1;
	}
}

static bool is_inbox(const char *name, size_t len)
{
	return len == 5 && ps_bytes_caseeq_str(ps_bytes(name, len), "INBOX");
}

int ps_mailbox_name_check(const char *name)
{
	size_t len = strlen(name), first = strcspn(name, "/");
	const uint8_t *at = (const uint8_t *)name;
	ucs4_t c;

	if (len == 0)
		return ps_fail(PS_E_INVALID, "mailbox name: empty");
	if (len > NAME_MAX_OCTETS)
		return ps_fail(PS_E_INVALID, "mailbox name: longer than %d octets", NAME_MAX_OCTETS);
	if (u8_check(at, len))
		return ps_fail(PS_E_INVALID, "mailbox name: not UTF-8");
	while ((at = u8_next(&c, at)))
		if (!character_is_lawful(c))
			return ps_fail(PS_E_INVALID, "mailbox name: control character U+%04X", (unsigned)c);
	if (is_inbox(name, first) && memcmp(name, "INBOX", 5) != 0)
		return ps_fail(PS_E_INVALID, "mailbox name: INBOX is written in capitals");
	return check_components(name);
}

int ps_mailbox_name_normalise(struct ps_bytes utf8, struct ps_pool *pool, const char **ret_name)
{
	PS_CLEANUP(ps_freep) uint8_t *nfc = NULL;
	size_t len = 0;
	char *name;
	int r;

	/* NFC of a text is at least a third of its length: no need to look at more. */
	if (utf8.len > NAME_MAX_OCTETS * 3)
		return ps_fail(PS_E_INVALID, "mailbox name: longer than %d octets", NAME_MAX_OCTETS);
	if (utf8.len == 0 || memchr(utf8.ptr, '\0', utf8.len) || u8_check(utf8.ptr, utf8.len))
		return ps_fail(PS_E_INVALID, "mailbox name: empty, with NUL, or not UTF-8");
	nfc = u8_normalize(UNINORM_NFC, utf8.ptr, utf8.len, NULL, &len);
	if (!nfc)
		return ps_fail_errno("mailbox name: normalise");

	name = ps_pool_strndup(pool, (const char *)nfc, len);
	if (is_inbox(name, strcspn(name, "/")))
		memcpy(name, "INBOX", 5);
	if ((r = ps_mailbox_name_check(name)) < 0)
		return r;
	*ret_name = name;
	return 0;
}

/* ---- LIST patterns ------------------------------------------------------------------------- */

static bool is_wildcard(char c)
{
	return c == '*' || c == '%';
}

bool ps_mailbox_name_is_below(const char *name, const char *top)
{
	size_t len = strlen(top);

	return strncmp(name, top, len) == 0 && (name[len] == '\0' || name[len] == '/');
}

/* A run of wildcards is as good as one: "*" if there is one among them. Fails when the pattern needs more
 * characters than there can be in a name, so that what is left is at most twice as long as the name. */
static bool collapse(const char *pattern, size_t name_len, char *ret_pattern)
{
	size_t literals = 0, n = 0;

	for (; *pattern; pattern++) {
		if (!is_wildcard(*pattern)) {
			if (++literals > name_len)
				return false;
			ret_pattern[n++] = *pattern;
		} else if (n == 0 || !is_wildcard(ret_pattern[n - 1])) {
			ret_pattern[n++] = *pattern;
		} else if (*pattern == '*') {
			ret_pattern[n - 1] = '*';
		}
	}
	ret_pattern[n] = '\0';
	return true;
}

/* A wildcard may match nothing, so who stands before it stands behind it too. */
static void pass_wildcards(const char *pattern, size_t len, bool *at)
{
	for (size_t i = 0; i < len; i++)
		if (at[i] && is_wildcard(pattern[i]))
			at[i + 1] = true;
}

/* The pattern as a machine: at[i] says that pattern[0..i) can match what was read of the name. */
static void match_char(const char *pattern, size_t len, char c, bool *at)
{
	bool came = false; /* whether at[i] is reached from at[i - 1] by this character */

	for (size_t i = 0; i <= len; i++) {
		bool stays = at[i] && (pattern[i] == '*' || (pattern[i] == '%' && c != '/'));
		bool goes = at[i] && i < len && !is_wildcard(pattern[i]) && pattern[i] == c;

		at[i] = stays || came;
		came = goes;
	}
	pass_wildcards(pattern, len, at);
}

bool ps_mailbox_name_match(const char *pattern, const char *name)
{
	enum {
		PATTERN_MAX = 2 * NAME_MAX_OCTETS + 2
	};
	char collapsed[PATTERN_MAX];
	bool at[PATTERN_MAX] = {true};
	size_t len, name_len = strlen(name);

	if (name_len > NAME_MAX_OCTETS || !collapse(pattern, name_len, collapsed))
		return false;
	len = strlen(collapsed);
	pass_wildcards(collapsed, len, at);
	for (; *name; name++)
		match_char(collapsed, len, *name, at);
	return at[len];
}
