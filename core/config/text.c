/* SPDX-License-Identifier: MIT */
/*
 * A look at the text before libconfuse has it. libconfuse takes an open comment or section at the end of the file
 * for a closed one, passes over stray octets, counts lines wrongly after comments, replaces ${NAME} by the
 * environment (which differs from role to role, so that they would not read the same), and knows one table of
 * settings for a section name, where each of our plugins has its own. So comments are blanked, what is not of the
 * grammar is refused, and plugin sections get names of their own.
 */
#include "core/config/conf.h"

#define TEXT_MAX  (256 * 1024)
#define DEPTH_MAX 8

enum token_kind {
	TOKEN_END,
	TOKEN_WORD,
	TOKEN_STRING,
	TOKEN_OPEN,
	TOKEN_CLOSE,
	TOKEN_OTHER,
	TOKEN_BAD
};

struct token {
	enum token_kind kind;
	char *start, *end;
	int line;
	const char *wrong; /* BAD: what */
};

static const char no_environment[] = "${...} is not replaced by anything here; in single quotes it stands for itself";

struct scanner {
	char *at;
	int line;
};

static void step(struct scanner *s)
{
	if (*s->at++ == '\n')
		s->line++;
}

/* Overwrites with blanks, so that no line gets another number. */
static void blank(char *from, const char *to)
{
	for (; from < to; from++)
		if (*from != '\n')
			*from = ' ';
}

/* Blanks and comments. False: a comment that does not end. */
static bool skip_blank(struct scanner *s)
{
	for (;;) {
		const char *end = s->at + strspn(s->at, " \t\r\n");

		if (end > s->at) {
			while (s->at < end)
				step(s);
			continue;
		}
		if (s->at[0] == '#' || (s->at[0] == '/' && s->at[1] == '/'))
			end = s->at + strcspn(s->at, "\n");
		else if (s->at[0] != '/' || s->at[1] != '*')
			return true;
		else if (!(end = strstr(s->at + 2, "*/")))
			return false;
		else
			end += 2;
		blank(s->at, end);
	}
}

static struct token bad(struct token token, const char *wrong)
{
	token.kind = TOKEN_BAD;
	token.wrong = wrong;
	return token;
}

static struct token next_string(struct scanner *s, struct token token)
{
	char quote = *s->at;

	token.kind = TOKEN_STRING;
	step(s);
	while (*s->at && *s->at != quote) {
		if (quote == '"' && s->at[0] == '$' && s->at[1] == '{')
			return bad(token, no_environment);
		if (s->at[0] == '\\' && s->at[1])
			step(s);
		step(s);
	}
	if (!*s->at)
		return bad(token, "the string that starts here is not closed");
	step(s);
	token.end = s->at;
	return token;
}

static size_t word_length(const char *at)
{
	return strcspn(at, " \t\r\n#\"'={}()+,*");
}

static struct token next_sign(struct scanner *s, struct token token)
{
	switch (*s->at) {
	case '{': token.kind = TOKEN_OPEN; break;
	case '}': token.kind = TOKEN_CLOSE; break;
	case '=':
	case ',': break;
	case '+':
		if (s->at[1] == '=')
			break;
		/* fall through */
	default: return bad(token, "( ) * and + must be in quotes");
	}
	s->at++;
	return token;
}

static struct token next_token(struct scanner *s)
{
	bool closed = skip_blank(s);
	struct token token = {.start = s->at, .end = s->at, .line = s->line, .kind = TOKEN_OTHER};
	size_t len = word_length(s->at);

	if (!closed)
		return bad(token, "the comment that starts here is not closed");
	if (!*s->at) {
		token.kind = TOKEN_END;
		return token;
	}
	if (*s->at == '"' || *s->at == '\'')
		return next_string(s, token);
	token.end = s->at + (len ? len : 1);
	if (len == 0)
		return next_sign(s, token);
	if (token.end[-1] == '$' && token.end[0] == '{')
		return bad(token, no_environment);
	token.kind = TOKEN_WORD;
	s->at = token.end;
	return token;
}

static bool token_is(struct token token, const char *word)
{
	return ps_bytes_eq_str(ps_bytes(token.start, (size_t)(token.end - token.start)), word);
}

/* Where the statement ends whose first token was read: NAME = VALUE, NAME = { ... }, NAME TITLE { ... }. */
static char *statement_end(struct scanner s)
{
	struct token token = next_token(&s);
	int depth = 0;

	if (token.kind == TOKEN_OTHER) {
		if (*token.start == '+')
			token = next_token(&s);
		token = next_token(&s);
	} else if (token.kind == TOKEN_WORD || token.kind == TOKEN_STRING) {
		token = next_token(&s);
	}
	if (token.kind != TOKEN_OPEN)
		return token.end;
	for (;; token = next_token(&s)) {
		depth += (token.kind == TOKEN_OPEN) - (token.kind == TOKEN_CLOSE);
		if (depth == 0 || token.kind == TOKEN_END || token.kind == TOKEN_BAD)
			return token.end;
	}
}

bool conf_text_remove(char *text, int line, const char *name)
{
	struct scanner s = {text, 1};
	bool in_list = false;
	char before = '\n';

	for (;;) {
		struct token token = next_token(&s);

		if (token.kind == TOKEN_END || token.kind == TOKEN_BAD || token.line > line)
			return false;
		in_list = token.kind == TOKEN_OPEN ? before == '=' : in_list && token.kind != TOKEN_CLOSE;
		if (token.kind == TOKEN_WORD && token.line == line && token_is(token, name) && before != '=' &&
		    !in_list) {
			blank(token.start, statement_end(s));
			return true;
		}
		before = *token.start;
	}
}

static const uint32_t kinds[] = {PS_PLUGIN_BACKEND, PS_PLUGIN_PROTOCOL, PS_PLUGIN_EXTENSION};

bool conf_kind_has_section(uint32_t kind)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(kinds); i++)
		if (kinds[i] == kind)
			return true;
	return false;
}

/* If `first` begins a plugin's section, gives its title and the brace after it. */
static bool plugin_section(struct scanner s, struct token first, uint32_t *ret_kind, struct token *ret_title)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(kinds); i++) {
		if (first.kind != TOKEN_WORD || !token_is(first, conf_kind_word(kinds[i])))
			continue;
		*ret_title = next_token(&s);
		*ret_kind = kinds[i];
		return (ret_title->kind == TOKEN_WORD || ret_title->kind == TOKEN_STRING) &&
		       next_token(&s).kind == TOKEN_OPEN;
	}
	return false;
}

static bool is_plugin_name(const char *name, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!ps_isalpha(name[i]) && !ps_isdigit(name[i]) && name[i] != '-' && name[i] != '_')
			return false;
	return len > 0;
}

/* `backend  "maildir" {` becomes `backend/maildir    {`. A role that loads no plugin of a kind cannot check such
 * sections, and does without them: master has. */
static void join_plugin_name(struct conf_errors *errors, struct scanner s, struct token first, uint32_t kind,
			     struct token title)
{
	bool quoted = title.kind == TOKEN_STRING;
	const char *name = title.start + quoted;
	size_t len = (size_t)(title.end - title.start) - 2 * quoted;
	char *joint = first.end;

	if (!is_plugin_name(name, len)) {
		conf_error(errors, title.line, "\"%.*s\" is no name of a %s", (int)len, name, conf_kind_word(kind));
		return;
	}
	if (!conf_kind_loaded(kind)) {
		blank(first.start, statement_end(s));
		return;
	}
	if (title.line != first.line) {
		conf_error(errors, first.line, "the name of the %s must be in this line", conf_kind_word(kind));
		return;
	}
	memmove(joint + 1, name, len);
	*joint = '/';
	blank(joint + 1 + len, title.end);
}

void ps_config_text_without_userdb(struct ps_bytes text, size_t n, struct ps_buf *out)
{
	PS_CLEANUP(ps_pool_destroyp) struct ps_pool *pool = ps_pool_create("configuration");
	char *copy = ps_pool_strndup(pool, (const char *)text.ptr, text.len);
	struct scanner s = {copy, 1};
	struct token token;
	size_t seen = 0;

	while ((token = next_token(&s)).kind != TOKEN_END && token.kind != TOKEN_BAD) {
		char *end = statement_end(s);

		if (token.kind == TOKEN_WORD && token_is(token, "userdb") && seen++ != n)
			blank(token.start, end);
		s.at = end;
	}
	ps_buf_str(out, copy);
}

void ps_config_text_of_userdb(struct ps_bytes text, size_t n, struct ps_buf *out)
{
	PS_CLEANUP(ps_pool_destroyp) struct ps_pool *pool = ps_pool_create("configuration");
	struct scanner s = {ps_pool_strndup(pool, (const char *)text.ptr, text.len), 1};
	struct token token;

	while ((token = next_token(&s)).kind != TOKEN_END && token.kind != TOKEN_BAD) {
		char *end = statement_end(s);

		if (token.kind == TOKEN_WORD && token_is(token, "userdb") && n-- == 0) {
			ps_buf_append(out, token.start, (size_t)(end - token.start));
			return;
		}
		s.at = end;
	}
}

struct open_section {
	int line;
	const char *name;
	int len;
};

static bool open_section(struct conf_errors *errors, struct open_section *open, size_t *depth, struct token token,
			 struct token name)
{
	if (*depth == DEPTH_MAX) {
		conf_error(errors, token.line, "more than %d sections within each other", DEPTH_MAX);
		return false;
	}
	open[(*depth)++] = (struct open_section){token.line, name.start, (int)(name.end - name.start)};
	return true;
}

static void tell_open(struct conf_errors *errors, const struct open_section *open)
{
	int joint = open->len > 1 && open->name[0] == '/'; /* the name of a plugin */

	if (open->len > 0)
		conf_error(errors, open->line, "the section or list after %.*s is not closed: a } is missing",
			   open->len - joint, open->name + joint);
	else
		conf_error(errors, open->line, "this { is not closed");
}

/* Strings, comments and braces; joins plugin sections. */
static void scan(struct conf_errors *errors, char *text)
{
	struct open_section open[DEPTH_MAX];
	struct scanner s = {text, 1};
	struct token token, title, name = {0};
	size_t depth = 0;
	uint32_t kind;

	for (;;) {
		token = next_token(&s);
		if (token.kind == TOKEN_BAD) {
			conf_error(errors, token.line, "%s", token.wrong);
			return;
		}
		if (token.kind == TOKEN_END)
			break;
		if (depth == 0 && plugin_section(s, token, &kind, &title))
			join_plugin_name(errors, s, token, kind, title);
		if (token.kind == TOKEN_OPEN && !open_section(errors, open, &depth, token, name))
			return;
		if (token.kind == TOKEN_CLOSE && depth > 0)
			depth--;
		if (token.kind == TOKEN_WORD || token.kind == TOKEN_STRING)
			name = token;
	}
	if (depth > 0)
		tell_open(errors, &open[depth - 1]);
}

/* Octets that no text has; each line is looked at by itself, so that the error can name it. */
static bool is_text(struct ps_bytes line)
{
	for (size_t i = 0; i < line.len; i++)
		if ((line.ptr[i] < ' ' && line.ptr[i] != '\t' && line.ptr[i] != '\r') || line.ptr[i] == 0x7f)
			return false;
	return ps_utf8_valid(line);
}

static void check_octets(struct conf_errors *errors, struct ps_bytes text)
{
	for (int line = 1; text.len > 0; line++) {
		ptrdiff_t end = ps_bytes_find(text, '\n');
		size_t len = end < 0 ? text.len : (size_t)end;

		if (!is_text(ps_bytes(text.ptr, len)))
			conf_error(errors, line, "this line is not UTF-8, or holds a control octet");
		text = ps_bytes_skip(text, end < 0 ? len : len + 1);
	}
}

char *conf_text_prepare(struct conf_errors *errors, struct ps_bytes text, struct ps_pool *pool)
{
	char *copy;

	if (text.len > TEXT_MAX)
		conf_error(errors, 1, "the file has more than %d octets", TEXT_MAX);
	else
		check_octets(errors, text);
	if (errors->count > 0)
		return NULL;
	copy = ps_pool_strndup(pool, text.len ? (const char *)text.ptr : "", text.len);
	scan(errors, copy);
	return errors->count > 0 ? NULL : copy;
}
