/* SPDX-License-Identifier: MIT */
#include "postern/error.h"
#include "protocols/imap/args.h"

/* RFC 3501 section 9: which octets may stand where. */
enum {
	ATOM = 1,
	ASTRING = 2,
	PATTERN = 4,
	TAG = 8,
	SET = 16
};

static unsigned classes(int c)
{
	unsigned atom = ATOM | ASTRING | PATTERN | TAG;

	if (c <= ' ' || c >= 0x7f)
		return 0;
	switch (c) {
	case '(':
	case ')':
	case '{':
	case '"':
	case '\\': return 0;
	case '%': return PATTERN;
	case '*': return PATTERN | SET;
	case ']': return ASTRING | PATTERN | TAG;
	case '+': return ATOM | ASTRING | PATTERN;
	case ':':
	case ',': return atom | SET;
	default: return ps_isdigit(c) ? atom | SET : atom;
	}
}

bool imap_is_atom_char(int c)
{
	return classes(c) & ATOM;
}

static int bad(const char *what)
{
	return ps_fail(PS_E_SYNTAX, "%s", what);
}

struct imap_args imap_args(struct ps_bytes text)
{
	const uint8_t *at = text.len > 0 ? text.ptr : (const uint8_t *)""; /* an empty line may lie nowhere */

	return (struct imap_args){.at = at, .end = at + text.len};
}

bool imap_args_done(const struct imap_args *args)
{
	return args->at == args->end;
}

struct ps_bytes imap_args_rest(const struct imap_args *args)
{
	return ps_bytes(args->at, (size_t)(args->end - args->at));
}

int imap_args_peek(const struct imap_args *args)
{
	return args->at < args->end ? *args->at : -1;
}

bool imap_args_take(struct imap_args *args, char c)
{
	if (imap_args_peek(args) != (unsigned char)c)
		return false;
	args->at++;
	return true;
}

bool imap_args_take_word(struct imap_args *args, const char *word)
{
	size_t len = strlen(word);
	struct ps_bytes rest = imap_args_rest(args);

	if (rest.len < len || !ps_bytes_caseeq_str(ps_bytes(rest.ptr, len), word) ||
	    (rest.len > len && (classes(rest.ptr[len]) & ATOM)))
		return false;
	args->at += len;
	return true;
}

int imap_args_space(struct imap_args *args)
{
	return imap_args_take(args, ' ') ? 0 : bad("a space is missing");
}

int imap_args_end(const struct imap_args *args)
{
	return imap_args_done(args) ? 0 : bad("more arguments than expected");
}

/* The longest run of octets of a class, at least one. */
static int take_run(struct imap_args *args, unsigned class, struct ps_bytes *ret_run)
{
	const uint8_t *from = args->at;

	while (args->at < args->end && (classes(*args->at) & class))
		args->at++;
	if (args->at == from)
		return bad("an argument is missing or starts with a character it cannot have");
	*ret_run = ps_bytes(from, (size_t)(args->at - from));
	return 0;
}

int imap_args_tag(struct imap_args *args, struct ps_bytes *ret_tag)
{
	return take_run(args, TAG, ret_tag);
}

int imap_args_atom(struct imap_args *args, struct ps_bytes *ret_atom)
{
	return take_run(args, ATOM, ret_atom);
}

/* Length of a quoted string's inside, or -1; *ret_escapes: how many backslashes it has. */
static ptrdiff_t quoted_length(const struct imap_args *args, size_t *ret_escapes)
{
	const uint8_t *p = args->at + 1;

	*ret_escapes = 0;
	for (; p < args->end && *p != '"'; p++) {
		if (*p == '\\') {
			if (++p == args->end || (*p != '"' && *p != '\\'))
				return -1;
			++*ret_escapes;
		}
		if (*p == '\r' || *p == '\n' || *p == '\0' || (*p >= 0x80 && !args->utf8))
			return -1;
	}
	return p < args->end ? p - args->at - 1 : -1;
}

static int take_quoted(struct imap_args *args, struct ps_pool *pool, struct ps_bytes *ret_string)
{
	size_t escapes, used = 0;
	ptrdiff_t len = quoted_length(args, &escapes);
	const uint8_t *from = args->at + 1;
	uint8_t *copy;

	if (len < 0 || (args->utf8 && !ps_utf8_valid(ps_bytes(from, (size_t)len))))
		return bad("a quoted string does not end, or has an octet it cannot have");
	args->at += len + 2;
	*ret_string = ps_bytes(from, (size_t)len);
	if (escapes == 0)
		return 0;
	copy = ps_pool_alloc(pool, (size_t)len - escapes);
	for (ptrdiff_t i = 0; i < len; i++) {
		if (from[i] == '\\')
			i++;
		copy[used++] = from[i];
	}
	*ret_string = ps_bytes(copy, used);
	return 0;
}

int imap_literal_at_end(struct ps_bytes line, struct imap_literal *ret_literal)
{
	size_t end = line.len, at;
	bool synchronising = true, binary;
	uint64_t octets;

	if (end == 0 || line.ptr[--end] != '}')
		return 0;
	if (end > 0 && line.ptr[end - 1] == '+') {
		synchronising = false;
		end--;
	}
	for (at = end; at > 0 && ps_isdigit(line.ptr[at - 1]); at--)
		;
	if (at == end || at == 0 || line.ptr[at - 1] != '{')
		return 0;
	/* The caller must know that a literal follows even when its length fits no number. */
	binary = at >= 2 && line.ptr[at - 2] == '~';
	*ret_literal = (struct imap_literal){UINT64_MAX, synchronising, binary, line.len - at + 1 + binary};
	if (ps_bytes_u64(ps_bytes(line.ptr + at, end - at), &octets) < 0 || octets > INT64_MAX)
		return ps_fail(PS_E_LIMIT, "a literal of more than 2^63 octets");
	ret_literal->octets = octets;
	return 1;
}

static int take_literal(struct imap_args *args, struct ps_bytes *ret_string)
{
	struct ps_bytes rest = imap_args_rest(args);
	ptrdiff_t lf = ps_bytes_find(rest, '\n');
	size_t line = lf > 0 && rest.ptr[lf - 1] == '\r' ? (size_t)lf - 1 : (size_t)lf;
	struct imap_literal literal;

	if (lf < 0 || imap_literal_at_end(ps_bytes(rest.ptr, line), &literal) != 1 || literal.header != line ||
	    literal.octets > rest.len - (size_t)lf - 1)
		return bad("a literal is not whole");
	*ret_string = ps_bytes(rest.ptr + lf + 1, (size_t)literal.octets);
	args->at += (size_t)lf + 1 + literal.octets;
	return 0;
}

int imap_args_string(struct imap_args *args, struct ps_pool *pool, struct ps_bytes *ret_string)
{
	switch (imap_args_peek(args)) {
	case '"': return take_quoted(args, pool, ret_string);
	case '{': return take_literal(args, ret_string);
	default: return bad("a string is missing");
	}
}

static int take_string_or(struct imap_args *args, unsigned class, struct ps_pool *pool, struct ps_bytes *ret_string)
{
	int c = imap_args_peek(args);

	if (c == '"' || c == '{')
		return imap_args_string(args, pool, ret_string);
	return take_run(args, class, ret_string);
}

int imap_args_astring(struct imap_args *args, struct ps_pool *pool, struct ps_bytes *ret_string)
{
	return take_string_or(args, ASTRING, pool, ret_string);
}

int imap_args_pattern(struct imap_args *args, struct ps_pool *pool, struct ps_bytes *ret_pattern)
{
	return take_string_or(args, PATTERN, pool, ret_pattern);
}

int imap_args_nstring(struct imap_args *args, struct ps_pool *pool, struct ps_bytes *ret_string)
{
	if (imap_args_take_word(args, "NIL")) {
		*ret_string = ps_bytes(NULL, 0);
		return 0;
	}
	return imap_args_string(args, pool, ret_string);
}

static struct ps_bytes digits(const struct imap_args *args)
{
	const uint8_t *at = args->at;

	while (at < args->end && ps_isdigit(*at))
		at++;
	return ps_bytes(args->at, (size_t)(at - args->at));
}

int imap_args_number(struct imap_args *args, uint32_t *ret_number)
{
	struct ps_bytes text = digits(args);

	if (ps_bytes_u32(text, ret_number) < 0)
		return bad("a number is missing or too large");
	args->at += text.len;
	return 0;
}

int imap_args_number64(struct imap_args *args, uint64_t *ret_number)
{
	struct ps_bytes text = digits(args);
	uint64_t number;

	if (ps_bytes_u64(text, &number) < 0 || number > INT64_MAX)
		return bad("a number is missing or too large");
	args->at += text.len;
	*ret_number = number;
	return 0;
}

int imap_args_set(struct imap_args *args, struct ps_bytes *ret_set)
{
	const uint8_t *from = args->at;

	if (!imap_args_take(args, '$'))
		return take_run(args, SET, ret_set);
	*ret_set = ps_bytes(from, 1);
	return 0;
}
