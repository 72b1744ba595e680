/* SPDX-License-Identifier: MIT */
/* Flags and keywords, both ways. */
#include "postern/error.h"
#include "protocols/imap/imap.h"

enum {
	KEYWORD_LEN_MAX = 255
};

static const struct {
	const char *name;
	uint32_t flag;
} system_flags[] = {
	{"\\Answered", PS_FLAG_ANSWERED}, {"\\Flagged", PS_FLAG_FLAGGED}, {"\\Deleted", PS_FLAG_DELETED},
	{"\\Seen", PS_FLAG_SEEN},         {"\\Draft", PS_FLAG_DRAFT},
};

static int parse_system_flag(struct imap_args *args, uint32_t *flags)
{
	struct ps_bytes name;

	if (imap_args_atom(args, &name) < 0)
		return PS_E_SYNTAX;
	for (size_t i = 0; i < PS_ARRAY_LEN(system_flags); i++) {
		if (ps_bytes_caseeq_str(name, system_flags[i].name + 1)) {
			*flags |= system_flags[i].flag;
			return 0;
		}
	}
	return ps_fail(PS_E_SYNTAX, "no such system flag");
}

int imap_keyword_parse(struct imap_args *args, struct ps_pool *pool, const char **ret_keyword)
{
	struct ps_bytes name;

	if (imap_args_atom(args, &name) < 0)
		return PS_E_SYNTAX;
	if (name.len > KEYWORD_LEN_MAX)
		return ps_fail(PS_E_LIMIT, "a keyword of more than %d octets", KEYWORD_LEN_MAX);
	*ret_keyword = ps_pool_strndup(pool, (const char *)name.ptr, name.len);
	return 0;
}

int imap_flags_parse(struct imap_args *args, bool bare, struct ps_pool *pool, struct imap_flags *ret_flags)
{
	bool listed = imap_args_take(args, '(');
	const char **keywords = NULL;
	size_t used = 0, cap = 0;
	uint32_t system = 0;
	int r = 0;

	if (!listed && !bare)
		return ps_fail(PS_E_SYNTAX, "a list of flags is missing");
	for (bool empty = listed && imap_args_peek(args) == ')'; r == 0 && !empty;) {
		/* One more than the names in use, for the NULL at the end. */
		keywords = ps_pool_grow(pool, keywords, used + 1, &cap, sizeof *keywords);
		if (imap_args_take(args, '\\'))
			r = parse_system_flag(args, &system);
		else if (used > PS_KEYWORDS_MAX)
			r = ps_fail(PS_E_LIMIT, "more than %d keywords", PS_KEYWORDS_MAX);
		else if ((r = imap_keyword_parse(args, pool, &keywords[used])) == 0)
			used++;
		if (r == 0 && !imap_args_take(args, ' '))
			break;
	}
	if (r == 0 && listed && !imap_args_take(args, ')'))
		r = ps_fail(PS_E_SYNTAX, "a list of flags does not end");
	if (r < 0)
		return r;
	keywords = ps_pool_grow(pool, keywords, used, &cap, sizeof *keywords);
	keywords[used] = NULL;
	*ret_flags = (struct imap_flags){.system = system, .keywords = keywords};
	return 0;
}

static void put_word(struct ps_buf *out, const char *word, bool *first)
{
	if (!*first)
		ps_buf_char(out, ' ');
	*first = false;
	ps_buf_str(out, word);
}

void imap_put_flags(const struct imap *imap, struct ps_buf *out, uint32_t system, uint64_t keywords, bool recent)
{
	bool first = true;

	ps_buf_char(out, '(');
	for (size_t i = 0; i < PS_ARRAY_LEN(system_flags); i++)
		if (system & system_flags[i].flag)
			put_word(out, system_flags[i].name, &first);
	if (recent && !(imap->enabled & IMAP_REV2))
		put_word(out, "\\Recent", &first);
	for (size_t i = 0; keywords && i < imap->mailbox.keyword_count; i++, keywords >>= 1)
		if ((keywords & 1) && imap->mailbox.keywords[i][0])
			put_word(out, imap->mailbox.keywords[i], &first);
	ps_buf_char(out, ')');
}

void imap_put_mailbox_flags(const struct imap *imap, struct ps_buf *out)
{
	size_t used = 0;

	for (size_t i = 0; i < imap->mailbox.keyword_count; i++)
		used += imap->mailbox.keywords[i][0] != '\0';
	ps_buf_str(out, "* FLAGS ");
	imap_put_flags(imap, out, PS_FLAG_ALL, UINT64_MAX, false);
	ps_buf_str(out, "\r\n* OK [PERMANENTFLAGS ");
	if (imap->mailbox.read_only) {
		ps_buf_str(out, "()] Read-only\r\n");
		return;
	}
	imap_put_flags(imap, out, PS_FLAG_ALL, UINT64_MAX, false);
	if (used < PS_KEYWORDS_MAX) { /* there is room for new keywords */
		out->len--;
		ps_buf_str(out, " \\*)");
	}
	ps_buf_str(out, "] Flags permitted\r\n");
}
