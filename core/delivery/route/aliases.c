/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include "core/delivery/route/aliases.h"
#include "postern/error.h"

struct ps_aliases {
	struct ps_pool *pool;
	struct ps_alias *rows; /* sorted by key */
	size_t count, cap;
};

struct parse {
	struct ps_aliases *aliases;
	const struct ps_alias_rules *rules;
	struct ps_buf *errors;
	size_t wrong;
	struct ps_buf entry; /* a line and what goes on with it; a line's end is a blank there */
	unsigned line;       /* where the entry begins */
};

static void __attribute__((format(printf, 3, 4))) wrong(struct parse *parse, unsigned line, const char *fmt, ...)
{
	char text[400];
	va_list ap;

	parse->wrong++;
	if (!parse->errors)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	ps_buf_printf(parse->errors, "%s:%u: %s\n", parse->rules->path, line, text);
}

/* ---- words ----------------------------------------------------------------------------------- */

static bool is_blank(uint8_t c)
{
	return c == ' ' || c == '\t' || c == '\r';
}

static struct ps_bytes trim(struct ps_bytes text)
{
	while (text.len && is_blank(text.ptr[0]))
		text = ps_bytes_skip(text, 1);
	while (text.len && is_blank(text.ptr[text.len - 1]))
		text.len--;
	return text;
}

/* Up to the first octet of `ends` that is not in quotes, which is left in *text. */
static struct ps_bytes take_word(struct ps_bytes *text, const char *ends)
{
	struct ps_bytes word = *text;
	bool quoted = false;
	size_t at = 0;

	for (; at < text->len; at++) {
		uint8_t c = text->ptr[at];

		if (quoted && c == '\\')
			at++;
		else if (c == '"')
			quoted = !quoted;
		else if (!quoted && c && strchr(ends, c))
			break;
	}
	word.len = at < text->len ? at : text->len;
	*text = ps_bytes_skip(*text, word.len);
	return word;
}

static int parse_domain(struct parse *parse, struct ps_bytes domain, const char **ret_domain)
{
	struct ps_buf out = {.limit = PS_DOMAIN_MAX + 1};
	int r = ps_domain_normalise(domain, &out);

	if (r == 0)
		*ret_domain = ps_pool_strdup(parse->aliases->pool, ps_buf_cstr(&out));
	ps_buf_finish(&out);
	return r;
}

/* "local@domain", "local", or "@domain", which has no local part. */
static int parse_address(struct parse *parse, struct ps_bytes word, struct ps_alias_target *target)
{
	struct ps_mail_address address;
	int r;

	if (word.len && word.ptr[0] == '@')
		return parse_domain(parse, ps_bytes_skip(word, 1), &target->domain);
	if ((r = ps_mail_address_parse(word, parse->aliases->pool, &address)) < 0)
		return r;
	if (!address.domain && !parse->rules->default_domain)
		return ps_fail(PS_E_SYNTAX, "there is no domain, and no default_domain is set");
	if (address.literal)
		return ps_fail(PS_E_SYNTAX, "an address literal cannot be");
	target->local = address.local;
	target->domain =
		address.domain ? address.domain : ps_pool_strdup(parse->aliases->pool, parse->rules->default_domain);
	return 0;
}

/* ---- entries --------------------------------------------------------------------------------- */

static const char *why_not_target(struct ps_bytes word)
{
	struct ps_bytes rest = word;

	if (word.len == 0)
		return "a target is missing";
	if (word.ptr[0] == '|' || (word.ptr[0] == '"' && word.len > 1 && word.ptr[1] == '|'))
		return "mail is not given to programs";
	if (word.ptr[0] == '/' || word.ptr[0] == ':')
		return "files and lists are not read: expected an address";
	take_word(&rest, " \t\r");
	return rest.len ? "expected a comma between two targets" : NULL;
}

static int parse_target(struct parse *parse, struct ps_bytes word, bool whole_domain, struct ps_alias_target *target)
{
	const char *why = why_not_target(word);

	if (why)
		wrong(parse, parse->line, "%s", why);
	else if (parse_address(parse, word, target) < 0)
		wrong(parse, parse->line, "\"%.*s\": %s", (int)(word.len < 100 ? word.len : 100),
		      (const char *)word.ptr, ps_last_error());
	else if (!target->local && !whole_domain)
		wrong(parse, parse->line, "@%s as a target needs @domain before it", target->domain);
	else
		return 0;
	return PS_E_SYNTAX;
}

static void parse_targets(struct parse *parse, struct ps_bytes rest, struct ps_alias *alias)
{
	size_t cap = 0;

	for (;;) {
		struct ps_alias_target target = {0};

		if (parse_target(parse, trim(take_word(&rest, ",")), alias->whole_domain, &target) < 0) {
			alias->broken = true;
			return;
		}
		alias->targets = ps_pool_grow(parse->aliases->pool, alias->targets, alias->count, &cap, sizeof target);
		alias->targets[alias->count++] = target;
		if (rest.len == 0)
			return;
		rest = ps_bytes_skip(rest, 1);
	}
}

static int parse_key(struct parse *parse, struct ps_bytes word, struct ps_alias *alias)
{
	struct ps_alias_target name = {0};

	if (word.len && word.ptr[word.len - 1] == ':')
		word.len--;
	if (parse_address(parse, word, &name) < 0) {
		wrong(parse, parse->line, "\"%.*s\": %s", (int)(word.len < 100 ? word.len : 100),
		      (const char *)word.ptr, ps_last_error());
		return PS_E_SYNTAX;
	}
	if (!parse->rules->is_local(parse->rules->arg, name.domain)) {
		wrong(parse, parse->line,
		      "%s is not a domain of this server: expected default_domain, or a domain section", name.domain);
		return PS_E_SYNTAX;
	}
	alias->whole_domain = !name.local;
	alias->key = ps_mail_address_key(name.local ? name.local : "", name.domain, parse->aliases->pool);
	return 0;
}

static void parse_entry(struct parse *parse)
{
	struct ps_aliases *aliases = parse->aliases;
	struct ps_bytes rest = trim(ps_buf_view(&parse->entry));
	struct ps_alias alias = {.line = parse->line};

	if (rest.len == 0)
		return;
	if (memchr(rest.ptr, 0, rest.len)) {
		wrong(parse, parse->line, "an octet 0");
		return;
	}
	if (parse_key(parse, take_word(&rest, " \t\r"), &alias) < 0)
		return;
	parse_targets(parse, trim(rest), &alias);
	aliases->rows = ps_pool_grow(aliases->pool, aliases->rows, aliases->count, &aliases->cap, sizeof alias);
	aliases->rows[aliases->count++] = alias;
}

/* ---- the file -------------------------------------------------------------------------------- */

static struct ps_bytes take_line(struct ps_bytes *rest)
{
	ptrdiff_t lf = ps_bytes_find(*rest, '\n');
	struct ps_bytes line = lf < 0 ? *rest : ps_bytes(rest->ptr, (size_t)lf);

	*rest = ps_bytes_skip(*rest, line.len + (lf >= 0));
	return line;
}

static void parse_line(struct parse *parse, struct ps_bytes line, unsigned number)
{
	struct ps_bytes content = trim(line);

	if (content.len == 0 || content.ptr[0] == '#')
		return;
	if (!is_blank(line.ptr[0])) {
		parse_entry(parse);
		ps_buf_reset(&parse->entry);
		parse->line = number;
	} else if (parse->entry.len == 0) {
		wrong(parse, number, "a line that begins with a blank goes on with the one before, and there is none");
		return;
	}
	ps_buf_char(&parse->entry, ' ');
	ps_buf_bytes(&parse->entry, content);
}

static int by_key(const void *a, const void *b)
{
	const struct ps_alias *x = a, *y = b;
	int order = strcmp(x->key, y->key);

	return order ? order : x->line < y->line ? -1 : x->line > y->line;
}

/* Of two with one key the first of the file counts. */
static void sort_rows(struct parse *parse)
{
	struct ps_aliases *aliases = parse->aliases;
	size_t kept = 0;

	if (aliases->count)
		qsort(aliases->rows, aliases->count, sizeof *aliases->rows, by_key);
	for (size_t i = 0; i < aliases->count; i++) {
		struct ps_alias *row = &aliases->rows[i];

		if (kept > 0 && strcmp(aliases->rows[kept - 1].key, row->key) == 0)
			wrong(parse, row->line, "%s is there already, in line %u", row->key,
			      aliases->rows[kept - 1].line);
		else
			aliases->rows[kept++] = *row;
	}
	aliases->count = kept;
}

struct ps_aliases *ps_aliases_parse(struct ps_bytes text, const struct ps_alias_rules *rules, struct ps_buf *errors,
				    size_t *ret_wrong)
{
	struct parse parse = {.aliases = ps_zalloc(sizeof *parse.aliases), .rules = rules, .errors = errors};
	unsigned line = 0;

	parse.aliases->pool = ps_pool_create("aliases");
	while (text.len)
		parse_line(&parse, take_line(&text), ++line);
	parse_entry(&parse);
	ps_buf_finish(&parse.entry);
	sort_rows(&parse);
	*ret_wrong = parse.wrong;
	return parse.aliases;
}

void ps_aliases_destroy(struct ps_aliases *aliases)
{
	if (!aliases)
		return;
	ps_pool_destroy(aliases->pool);
	free(aliases);
}

static int find_key(const void *key, const void *row)
{
	return strcmp(key, ((const struct ps_alias *)row)->key);
}

const struct ps_alias *ps_aliases_find(const struct ps_aliases *aliases, const char *key)
{
	return aliases && aliases->count ? bsearch(key, aliases->rows, aliases->count, sizeof *aliases->rows, find_key)
					 : NULL;
}

const struct ps_alias *ps_aliases_nth(const struct ps_aliases *aliases, size_t n)
{
	return aliases && n < aliases->count ? &aliases->rows[n] : NULL;
}
