/* SPDX-License-Identifier: MIT */
#include "postern/error.h"
#include "protocols/imap/fetch_parse.h"
#include "protocols/imap/imap.h"

struct parser {
	struct imap_args *args;
	struct ps_pool *pool;
	struct imap_fetch *fetch;
	struct imap_section **last;
};

static int bad(const char *what)
{
	return ps_fail(PS_E_SYNTAX, "FETCH: %s", what);
}

static const struct {
	const char *name;
	unsigned items;
	bool alone; /* a macro: not within a list */
} names[] = {
	{"UID", IMAP_FETCH_UID, false},
	{"FLAGS", IMAP_FETCH_FLAGS, false},
	{"INTERNALDATE", IMAP_FETCH_DATE, false},
	{"RFC822.SIZE", IMAP_FETCH_SIZE, false},
	{"ENVELOPE", IMAP_FETCH_ENVELOPE, false},
	{"BODYSTRUCTURE", IMAP_FETCH_STRUCTURE, false},
	{"BODY", IMAP_FETCH_BODY, false},
	{"MODSEQ", IMAP_FETCH_MODSEQ, false},
	{"EMAILID", IMAP_FETCH_EMAILID, false},
	{"THREADID", IMAP_FETCH_THREADID, false},
	{"SAVEDATE", IMAP_FETCH_SAVEDATE, false},
	{"FAST", IMAP_FETCH_FLAGS | IMAP_FETCH_DATE | IMAP_FETCH_SIZE, true},
	{"ALL", IMAP_FETCH_FLAGS | IMAP_FETCH_DATE | IMAP_FETCH_SIZE | IMAP_FETCH_ENVELOPE, true},
	{"FULL", IMAP_FETCH_FLAGS | IMAP_FETCH_DATE | IMAP_FETCH_SIZE | IMAP_FETCH_ENVELOPE | IMAP_FETCH_BODY, true},
};

/* The names of before MIME: sections with other labels. */
static const struct {
	const char *name;
	enum ps_section what;
	bool peek;
} old_names[] = {
	{"RFC822", PS_SECTION_ALL, false},
	{"RFC822.HEADER", PS_SECTION_HEADER, true},
	{"RFC822.TEXT", PS_SECTION_TEXT, false},
};

static struct imap_section *add_section(struct parser *p)
{
	struct imap_section *section = PS_NEW(p->pool, struct imap_section);

	*p->last = section;
	p->last = &section->next;
	return section;
}

static void note_seen(struct parser *p, const struct imap_section *section)
{
	if (!section->peek)
		p->fetch->sets_seen = true;
}

/* ---- BODY[...] -------------------------------------------------------------------------------- */

/* "1.2." in front of a word, or "1.2" alone. */
static int parse_part(struct parser *p, struct imap_section *section)
{
	uint32_t part[IMAP_PART_DEPTH_MAX];
	size_t depth = 0;

	while (ps_isdigit(imap_args_peek(p->args))) {
		if (depth == IMAP_PART_DEPTH_MAX)
			return bad("a part number that deep");
		if (imap_args_number(p->args, &part[depth]) < 0 || part[depth] == 0)
			return bad("a part number of 0, or too large");
		depth++;
		if (!imap_args_take(p->args, '.'))
			break;
		if (imap_args_peek(p->args) == ']')
			return bad("a part number that ends with a dot");
	}
	section->depth = depth;
	section->part = ps_pool_memdup(p->pool, part, depth * sizeof *part);
	return 0;
}

/* "(From To)" behind HEADER.FIELDS. */
static int parse_names(struct parser *p, struct imap_section *section)
{
	const char **list = NULL;
	size_t used = 0, cap = 0;
	struct ps_bytes name;

	if (imap_args_space(p->args) < 0 || !imap_args_take(p->args, '('))
		return bad("a list of field names is missing");
	do {
		if (imap_args_astring(p->args, p->pool, &name) < 0 || name.len == 0)
			return bad("a field name is missing");
		for (size_t i = 0; i < name.len; i++) /* RFC 5322 section 2.2 */
			if (name.ptr[i] <= ' ' || name.ptr[i] >= 0x7f || name.ptr[i] == ':')
				return bad("a field name with a character it cannot have");
		list = ps_pool_grow(p->pool, list, used, &cap, sizeof *list);
		list[used++] = ps_pool_strndup(p->pool, (const char *)name.ptr, name.len);
	} while (imap_args_take(p->args, ' '));
	if (!imap_args_take(p->args, ')'))
		return bad("a list of field names does not end");
	section->names = list;
	section->name_count = used;
	return 0;
}

static const struct {
	const char *word;
	enum ps_section what;
	bool fields, except;
} words[] = {
	{"HEADER", PS_SECTION_HEADER, false, false},
	{"HEADER.FIELDS", PS_SECTION_HEADER, true, false},
	{"HEADER.FIELDS.NOT", PS_SECTION_HEADER, true, true},
	{"TEXT", PS_SECTION_TEXT, false, false},
	{"MIME", PS_SECTION_MIME, false, false},
};

static int parse_word(struct parser *p, struct imap_section *section)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(words); i++) {
		if (!imap_args_take_word(p->args, words[i].word))
			continue;
		section->what = words[i].what;
		section->fields = words[i].fields;
		section->except = words[i].except;
		if (section->what == PS_SECTION_MIME && section->depth == 0)
			return bad("MIME without a part number");
		return section->fields ? parse_names(p, section) : 0;
	}
	return bad("no such section");
}

/* "<0.1024>" */
static int parse_partial(struct parser *p, struct imap_section *section)
{
	if (!imap_args_take(p->args, '<'))
		return 0;
	if (imap_args_number64(p->args, &section->from) < 0 || !imap_args_take(p->args, '.') ||
	    imap_args_number64(p->args, &section->length) < 0 || section->length == 0 || !imap_args_take(p->args, '>'))
		return bad("a partial range is not <offset.octets>");
	section->partial = true;
	return 0;
}

static const char *word_of(const struct imap_section *section)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(words); i++)
		if (words[i].what == section->what && words[i].fields == section->fields &&
		    words[i].except == section->except)
			return words[i].word;
	return "";
}

static void put_names(struct ps_buf *out, const struct imap_section *section)
{
	for (size_t i = 0; i < section->name_count; i++) {
		ps_buf_str(out, i == 0 ? " (" : " ");
		imap_put_astring(out, ps_bytes_str(section->names[i]));
	}
	ps_buf_char(out, ')');
}

static void make_label(struct parser *p, struct imap_section *section)
{
	struct ps_buf label = {0};

	ps_buf_str(&label, section->size_only ? "BINARY.SIZE[" : section->decoded ? "BINARY[" : "BODY[");
	for (size_t i = 0; i < section->depth; i++) {
		if (i > 0)
			ps_buf_char(&label, '.');
		ps_buf_u64(&label, section->part[i]);
	}
	if (section->what != PS_SECTION_ALL) {
		if (section->depth > 0)
			ps_buf_char(&label, '.');
		ps_buf_str(&label, word_of(section));
	}
	if (section->fields)
		put_names(&label, section);
	ps_buf_char(&label, ']');
	if (section->partial) {
		ps_buf_char(&label, '<');
		ps_buf_u64(&label, section->from);
		ps_buf_char(&label, '>');
	}
	section->label = ps_bytes(ps_pool_memdup(p->pool, label.ptr, label.len), label.len);
	ps_buf_finish(&label);
}

/* What follows "BODY" or "BODY.PEEK", from '[' on. */
static int parse_section(struct parser *p, bool peek)
{
	struct imap_section *section;
	int r;

	if (!imap_args_take(p->args, '['))
		return bad("a section is missing");
	section = add_section(p);
	section->peek = peek;
	section->what = PS_SECTION_ALL;
	if ((r = parse_part(p, section)) < 0)
		return r;
	if (imap_args_peek(p->args) != ']' && (r = parse_word(p, section)) < 0)
		return r;
	if (!imap_args_take(p->args, ']'))
		return bad("a section does not end");
	if ((r = parse_partial(p, section)) < 0)
		return r;
	make_label(p, section);
	note_seen(p, section);
	return 0;
}

/* What follows "BINARY", RFC 3516: only part numbers. */
static int parse_binary(struct parser *p, bool peek, bool size_only)
{
	struct imap_section *section = add_section(p);
	int r;

	imap_args_take(p->args, '[');
	section->decoded = true;
	section->size_only = size_only;
	section->peek = peek;
	section->what = PS_SECTION_ALL;
	if ((r = parse_part(p, section)) < 0)
		return r;
	if (!imap_args_take(p->args, ']'))
		return bad("a section of BINARY is a part number");
	if (!size_only && (r = parse_partial(p, section)) < 0)
		return r;
	make_label(p, section);
	note_seen(p, section);
	return 0;
}

/* ---- items ------------------------------------------------------------------------------------ */

static int parse_old_name(struct parser *p)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(old_names); i++) {
		struct imap_section *section;

		if (!imap_args_take_word(p->args, old_names[i].name))
			continue;
		section = add_section(p);
		section->what = old_names[i].what;
		section->peek = old_names[i].peek;
		section->label = ps_bytes_str(old_names[i].name);
		note_seen(p, section);
		return 0;
	}
	return bad("no such item");
}

/* Takes `word` where '[' follows at once; '[' is an atom character, so take_word() would not. */
static bool take_before_bracket(struct imap_args *args, const char *word)
{
	struct ps_bytes rest = imap_args_rest(args);
	size_t len = strlen(word);

	if (rest.len <= len || rest.ptr[len] != '[' || !ps_bytes_caseeq_str(ps_bytes(rest.ptr, len), word))
		return false;
	args->at += len;
	return true;
}

/* RFC 8970:  "PREVIEW" [SP "(" preview-mod *(SP preview-mod) ")"] */
static int parse_preview(struct parser *p)
{
	struct imap_args before = *p->args;

	p->fetch->items |= IMAP_FETCH_PREVIEW;
	if (!imap_args_take(p->args, ' '))
		return 0;
	/* What follows a single item are the modifiers of FETCH, if it is not LAZY. */
	if (!imap_args_take(p->args, '(') || !imap_args_take_word(p->args, "LAZY")) {
		*p->args = before;
		return 0;
	}
	while (imap_args_take(p->args, ' '))
		if (!imap_args_take_word(p->args, "LAZY"))
			return bad("no such modifier of PREVIEW");
	p->fetch->lazy = true;
	return imap_args_take(p->args, ')') ? 0 : bad("a list of modifiers does not end");
}

static int parse_item(struct parser *p, bool listed)
{
	if (imap_args_take_word(p->args, "PREVIEW"))
		return parse_preview(p);
	if (take_before_bracket(p->args, "BODY"))
		return parse_section(p, false);
	if (take_before_bracket(p->args, "BODY.PEEK"))
		return parse_section(p, true);
	if (take_before_bracket(p->args, "BINARY"))
		return parse_binary(p, false, false);
	if (take_before_bracket(p->args, "BINARY.PEEK"))
		return parse_binary(p, true, false);
	if (take_before_bracket(p->args, "BINARY.SIZE"))
		return parse_binary(p, true, true);
	for (size_t i = 0; i < PS_ARRAY_LEN(names); i++) {
		if ((names[i].alone && listed) || !imap_args_take_word(p->args, names[i].name))
			continue;
		p->fetch->items |= names[i].items;
		return 0;
	}
	return parse_old_name(p);
}

/* ---- modifiers -------------------------------------------------------------------------------- */

static int parse_changed_since(struct parser *p)
{
	if (imap_args_space(p->args) < 0 || imap_args_number64(p->args, &p->fetch->changed_since) < 0)
		return bad("CHANGEDSINCE takes a mod-sequence");
	p->fetch->items |= IMAP_FETCH_MODSEQ;
	return 0;
}

static int parse_vanished(struct parser *p)
{
	p->fetch->vanished = true;
	return 0;
}

/* RFC 9394 */
static int parse_places(struct parser *p)
{
	return imap_args_space(p->args) < 0 ? PS_E_SYNTAX : imap_partial_parse(p->args, &p->fetch->partial);
}

static const struct modifier {
	const char *name;
	int (*parse)(struct parser *p);
} modifiers[] = {
	{"CHANGEDSINCE", parse_changed_since},
	{"VANISHED", parse_vanished},
	{"PARTIAL", parse_places},
};

static int parse_modifier(struct parser *p, unsigned *given)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(modifiers); i++) {
		if (!imap_args_take_word(p->args, modifiers[i].name))
			continue;
		if (*given & (1u << i))
			return bad("a modifier is given twice");
		*given |= 1u << i;
		return modifiers[i].parse(p);
	}
	return bad("no such modifier");
}

/* SP "(" modifier *(SP modifier) ")" */
static int parse_modifiers(struct parser *p)
{
	unsigned given = 0;
	int r;

	if (imap_args_done(p->args))
		return 0;
	if (imap_args_space(p->args) < 0 || !imap_args_take(p->args, '('))
		return bad("a list of modifiers does not begin");
	do {
		if ((r = parse_modifier(p, &given)) < 0)
			return r;
	} while (imap_args_take(p->args, ' '));
	if (!imap_args_take(p->args, ')'))
		return bad("a list of modifiers does not end");
	return p->fetch->vanished && p->fetch->changed_since == 0 ? bad("VANISHED without CHANGEDSINCE") : 0;
}

int imap_fetch_parse(struct imap_args *args, struct ps_pool *pool, struct imap_fetch *ret_fetch)
{
	struct imap_fetch fetch = {0};
	struct parser p = {.args = args, .pool = pool, .fetch = &fetch, .last = &fetch.sections};
	bool listed = imap_args_take(args, '(');
	int r;

	do {
		r = parse_item(&p, listed);
	} while (r == 0 && listed && imap_args_take(args, ' '));
	if (r == 0 && listed && !imap_args_take(args, ')'))
		r = bad("a list of items does not end");
	if (r == 0)
		r = parse_modifiers(&p);
	if (r == 0)
		r = imap_args_end(args);
	if (r == 0)
		*ret_fetch = fetch;
	return r;
}
