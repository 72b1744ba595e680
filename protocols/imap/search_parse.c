/* SPDX-License-Identifier: MIT */
#include <time.h>
#include "postern/error.h"
#include "protocols/imap/object_id.h"
#include "protocols/imap/search_parse.h"

enum {
	DEPTH_MAX = 32,
	NODES_MAX = 2000,
	OBJECT_ID_MAX = 255,
};

enum argument {
	ARG_NONE,
	ARG_STRING,
	ARG_DATE,
	ARG_NUMBER,
	ARG_KEYWORD,
	ARG_HEADER,
	ARG_ONE_KEY,
	ARG_TWO_KEYS,
	ARG_UIDS,
	ARG_MODSEQ,
	ARG_EMAILID,
	ARG_THREADID,
	ARG_SECONDS
};

static const struct key {
	const char *name;
	enum ps_search_kind kind;
	enum argument argument;
	uint32_t flag;
	const char *field;
	bool negate;
} keys[] = {
	{"ALL", PS_SEARCH_ALL, ARG_NONE, 0, NULL, false},
	{"ANSWERED", PS_SEARCH_FLAG, ARG_NONE, PS_FLAG_ANSWERED, NULL, false},
	{"BCC", PS_SEARCH_HEADER, ARG_STRING, 0, "Bcc", false},
	{"BEFORE", PS_SEARCH_BEFORE, ARG_DATE, 0, NULL, false},
	{"BODY", PS_SEARCH_BODY, ARG_STRING, 0, NULL, false},
	{"CC", PS_SEARCH_HEADER, ARG_STRING, 0, "Cc", false},
	{"DELETED", PS_SEARCH_FLAG, ARG_NONE, PS_FLAG_DELETED, NULL, false},
	{"DRAFT", PS_SEARCH_FLAG, ARG_NONE, PS_FLAG_DRAFT, NULL, false},
	{"EMAILID", PS_SEARCH_EMAILID, ARG_EMAILID, 0, NULL, false},
	{"FLAGGED", PS_SEARCH_FLAG, ARG_NONE, PS_FLAG_FLAGGED, NULL, false},
	{"FROM", PS_SEARCH_HEADER, ARG_STRING, 0, "From", false},
	{"HEADER", PS_SEARCH_HEADER, ARG_HEADER, 0, NULL, false},
	{"KEYWORD", PS_SEARCH_KEYWORD, ARG_KEYWORD, 0, NULL, false},
	{"LARGER", PS_SEARCH_LARGER, ARG_NUMBER, 0, NULL, false},
	{"MODSEQ", PS_SEARCH_MODSEQ, ARG_MODSEQ, 0, NULL, false},
	{"NOT", PS_SEARCH_NOT, ARG_ONE_KEY, 0, NULL, false},
	{"OLD", PS_SEARCH_RECENT, ARG_NONE, 0, NULL, true},
	{"OLDER", PS_SEARCH_OLDER, ARG_SECONDS, 0, NULL, false},
	{"ON", PS_SEARCH_ON, ARG_DATE, 0, NULL, false},
	{"OR", PS_SEARCH_OR, ARG_TWO_KEYS, 0, NULL, false},
	{"RECENT", PS_SEARCH_RECENT, ARG_NONE, 0, NULL, false},
	{"SAVEDATESUPPORTED", PS_SEARCH_ALL, ARG_NONE, 0, NULL, false}, /* by each backend, RFC 8514 */
	{"SAVEDBEFORE", PS_SEARCH_SAVEDBEFORE, ARG_DATE, 0, NULL, false},
	{"SAVEDON", PS_SEARCH_SAVEDON, ARG_DATE, 0, NULL, false},
	{"SAVEDSINCE", PS_SEARCH_SAVEDSINCE, ARG_DATE, 0, NULL, false},
	{"SEEN", PS_SEARCH_FLAG, ARG_NONE, PS_FLAG_SEEN, NULL, false},
	{"SENTBEFORE", PS_SEARCH_SENTBEFORE, ARG_DATE, 0, NULL, false},
	{"SENTON", PS_SEARCH_SENTON, ARG_DATE, 0, NULL, false},
	{"SENTSINCE", PS_SEARCH_SENTSINCE, ARG_DATE, 0, NULL, false},
	{"SINCE", PS_SEARCH_SINCE, ARG_DATE, 0, NULL, false},
	{"SMALLER", PS_SEARCH_SMALLER, ARG_NUMBER, 0, NULL, false},
	{"SUBJECT", PS_SEARCH_HEADER, ARG_STRING, 0, "Subject", false},
	{"TEXT", PS_SEARCH_TEXT, ARG_STRING, 0, NULL, false},
	{"THREADID", PS_SEARCH_EMAILID, ARG_THREADID, 0, NULL, false},
	{"TO", PS_SEARCH_HEADER, ARG_STRING, 0, "To", false},
	{"UID", PS_SEARCH_SEQ, ARG_UIDS, 0, NULL, false},
	{"UNANSWERED", PS_SEARCH_FLAG, ARG_NONE, PS_FLAG_ANSWERED, NULL, true},
	{"UNDELETED", PS_SEARCH_FLAG, ARG_NONE, PS_FLAG_DELETED, NULL, true},
	{"UNDRAFT", PS_SEARCH_FLAG, ARG_NONE, PS_FLAG_DRAFT, NULL, true},
	{"UNFLAGGED", PS_SEARCH_FLAG, ARG_NONE, PS_FLAG_FLAGGED, NULL, true},
	{"UNKEYWORD", PS_SEARCH_KEYWORD, ARG_KEYWORD, 0, NULL, true},
	{"UNSEEN", PS_SEARCH_FLAG, ARG_NONE, PS_FLAG_SEEN, NULL, true},
	{"YOUNGER", PS_SEARCH_YOUNGER, ARG_SECONDS, 0, NULL, false},
};

static int bad(const char *what)
{
	return ps_fail(PS_E_SYNTAX, "SEARCH: %s", what);
}

static int parse_key(struct imap_search_parser *p, struct ps_search_node **ret_node);

static int new_node(struct imap_search_parser *p, enum ps_search_kind kind, struct ps_search_node **ret_node)
{
	if (++p->nodes > NODES_MAX)
		return ps_fail(PS_E_LIMIT, "SEARCH: more than %d keys", NODES_MAX);
	*ret_node = PS_NEW(p->pool, struct ps_search_node);
	(*ret_node)->kind = kind;
	return 0;
}

static int negate(struct imap_search_parser *p, struct ps_search_node **node)
{
	struct ps_search_node * not ;
	int r = new_node(p, PS_SEARCH_NOT, &not );

	if (r < 0)
		return r;
	not ->children = *node;
	*node = not ;
	return 0;
}

/* A string in the charset of the search, as UTF-8. */
static int parse_text(struct imap_search_parser *p, struct ps_bytes *ret_text)
{
	struct ps_buf utf8 = {0};
	struct ps_bytes text;
	int r = imap_args_astring(p->args, p->pool, &text);

	if (r < 0)
		return r;
	if (!p->charset) {
		/* US-ASCII it should be; what is UTF-8 all the same can mean one thing only. */
		*ret_text = text;
		return ps_utf8_valid(text) ? 0 : bad("8-bit text without a charset");
	}
	r = ps_charset_to_utf8(p->charset, text, &utf8);
	if (r == 0)
		*ret_text = ps_bytes(ps_pool_memdup(p->pool, utf8.ptr, utf8.len), utf8.len);
	ps_buf_finish(&utf8);
	return r;
}

static int parse_field(struct imap_search_parser *p, struct ps_search_node *node)
{
	struct ps_bytes name;

	if (imap_args_astring(p->args, p->pool, &name) < 0 || imap_args_space(p->args) < 0)
		return bad("HEADER takes a field name and a text");
	for (size_t i = 0; i < name.len; i++)
		if (name.ptr[i] <= ' ' || name.ptr[i] >= 0x7f || name.ptr[i] == ':')
			return bad("a field name with a character it cannot have");
	node->name = ps_pool_strndup(p->pool, (const char *)name.ptr, name.len);
	return parse_text(p, &node->text);
}

static int parse_day(struct imap_search_parser *p, struct ps_search_node *node)
{
	struct ps_bytes text;

	if (imap_args_astring(p->args, p->pool, &text) < 0)
		return bad("a date is missing");
	return ps_imap_day_parse(text, &node->date);
}

static int parse_number(struct imap_search_parser *p, struct ps_search_node *node)
{
	return imap_args_number64(p->args, &node->number) < 0 ? bad("a number is missing") : 0;
}

/* So many seconds before now, RFC 5032. */
static int parse_seconds(struct imap_search_parser *p, struct ps_search_node *node)
{
	uint32_t seconds;

	if (imap_args_number(p->args, &seconds) < 0 || seconds == 0)
		return bad("a number of seconds is missing, or 0");
	node->date = (int64_t)time(NULL) - seconds;
	return 0;
}

static int parse_keyword(struct imap_search_parser *p, struct ps_search_node *node)
{
	return imap_args_atom(p->args, &node->text) < 0 ? bad("a keyword is missing") : 0;
}

static int parse_set(struct imap_search_parser *p, bool by_uid, struct ps_search_node *node)
{
	struct ps_bytes text;

	if (imap_args_set(p->args, &text) < 0)
		return bad("a set of messages is missing");
	return p->resolve(p->arg, text, by_uid, &node->set);
}

/* ["/flags/\\\\seen" SP ("priv" / "shared" / "all") SP] n: there is one mod-sequence for all flags of a message. */
static int parse_modseq(struct imap_search_parser *p, struct ps_search_node *node)
{
	static const char *const types[] = {"priv", "shared", "all"};
	struct ps_bytes entry, type;
	size_t i = 0;

	if (imap_args_peek(p->args) == '"') {
		if (imap_args_string(p->args, p->pool, &entry) < 0 || imap_args_space(p->args) < 0 ||
		    imap_args_atom(p->args, &type) < 0 || imap_args_space(p->args) < 0)
			return bad("MODSEQ takes an entry, its type, and a mod-sequence");
		while (i < PS_ARRAY_LEN(types) && !ps_bytes_caseeq_str(type, types[i]))
			i++;
		if (i == PS_ARRAY_LEN(types) || entry.len < 7 ||
		    !ps_bytes_caseeq_str(ps_bytes(entry.ptr, 7), "/flags/"))
			return bad("no such entry");
	}
	p->modseq = true;
	return imap_args_number64(p->args, &node->number) < 0 ? bad("a mod-sequence is missing") : 0;
}

static int parse_keys(struct imap_search_parser *p, int count, struct ps_search_node *node)
{
	struct ps_search_node **last = &node->children;
	int r;

	while (count-- > 0) {
		if ((r = parse_key(p, last)) < 0)
			return r;
		last = &(*last)->next;
		if (count > 0 && imap_args_space(p->args) < 0)
			return bad("OR takes two keys");
	}
	return 0;
}

/* RFC 8474 section 7. One that is not of our making is no message's. */
static int parse_object_id(struct imap_search_parser *p, char prefix, struct ps_search_node *node)
{
	struct ps_bytes text;
	struct ps_id id;

	if (imap_args_atom(p->args, &text) < 0 || text.len > OBJECT_ID_MAX)
		return bad("an object id is missing");
	for (size_t i = 0; i < text.len; i++)
		if (!ps_isalpha(text.ptr[i]) && !ps_isdigit(text.ptr[i]) && text.ptr[i] != '_' && text.ptr[i] != '-')
			return bad("an object id with a character it cannot have");
	if (imap_object_id_parse(text, prefix, &id))
		node->text = ps_bytes(ps_pool_memdup(p->pool, id.octets, sizeof id.octets), sizeof id.octets);
	return 0;
}

static int parse_argument(struct imap_search_parser *p, const struct key *key, struct ps_search_node *node)
{
	node->number = key->flag;
	node->name = key->field;
	if (key->argument == ARG_NONE)
		return 0;
	if (imap_args_space(p->args) < 0)
		return bad("a key lacks its argument");
	switch (key->argument) {
	case ARG_STRING: return parse_text(p, &node->text);
	case ARG_DATE: return parse_day(p, node);
	case ARG_NUMBER: return parse_number(p, node);
	case ARG_KEYWORD: return parse_keyword(p, node);
	case ARG_HEADER: return parse_field(p, node);
	case ARG_ONE_KEY: return parse_keys(p, 1, node);
	case ARG_TWO_KEYS: return parse_keys(p, 2, node);
	case ARG_UIDS: return parse_set(p, true, node);
	case ARG_MODSEQ: return parse_modseq(p, node);
	case ARG_EMAILID: return parse_object_id(p, IMAP_EMAIL_ID, node);
	case ARG_THREADID: return parse_object_id(p, '\0', node); /* no message has one */
	case ARG_SECONDS: return parse_seconds(p, node);
	case ARG_NONE: break;
	}
	return 0;
}

static const struct key *find_key(struct ps_bytes name)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(keys); i++)
		if (ps_bytes_caseeq_str(name, keys[i].name))
			return &keys[i];
	return NULL;
}

/* NEW means RECENT UNSEEN. */
static int make_new(struct imap_search_parser *p, struct ps_search_node **ret_node)
{
	struct ps_search_node *both, *recent, *unseen;
	int r;

	if ((r = new_node(p, PS_SEARCH_AND, &both)) < 0 || (r = new_node(p, PS_SEARCH_RECENT, &recent)) < 0 ||
	    (r = new_node(p, PS_SEARCH_FLAG, &unseen)) < 0)
		return r;
	unseen->number = PS_FLAG_SEEN;
	if ((r = negate(p, &unseen)) < 0)
		return r;
	both->children = recent;
	recent->next = unseen;
	*ret_node = both;
	return 0;
}

static int parse_named(struct imap_search_parser *p, struct ps_search_node **ret_node)
{
	struct ps_search_node *node;
	const struct key *key;
	struct ps_bytes name;
	int r;

	if (imap_args_atom(p->args, &name) < 0)
		return bad("a key is missing");
	if (ps_bytes_caseeq_str(name, "NEW"))
		return make_new(p, ret_node);
	key = find_key(name);
	if (!key)
		return bad("no such key");
	if ((r = new_node(p, key->kind, &node)) < 0 || (r = parse_argument(p, key, node)) < 0 ||
	    (key->negate && (r = negate(p, &node)) < 0))
		return r;
	*ret_node = node;
	return 0;
}

/* Keys with blanks between them, all of which must hold. */
static int parse_all(struct imap_search_parser *p, struct ps_search_node **ret_node)
{
	struct ps_search_node *all, **last;
	int r = new_node(p, PS_SEARCH_AND, &all);

	if (r < 0)
		return r;
	last = &all->children;
	do {
		if ((r = parse_key(p, last)) < 0)
			return r;
		last = &(*last)->next;
	} while (imap_args_take(p->args, ' '));
	*ret_node = all;
	return 0;
}

static int parse_list(struct imap_search_parser *p, struct ps_search_node **ret_node)
{
	int r = parse_all(p, ret_node);

	return r == 0 && !imap_args_take(p->args, ')') ? bad("a list of keys does not end") : r;
}

static int parse_key(struct imap_search_parser *p, struct ps_search_node **ret_node)
{
	int c = imap_args_peek(p->args), r;

	if (p->depth == DEPTH_MAX)
		return ps_fail(PS_E_LIMIT, "SEARCH: nested deeper than %d", DEPTH_MAX);
	p->depth++;
	if (imap_args_take(p->args, '('))
		r = parse_list(p, ret_node);
	else if (ps_isdigit(c) || c == '*' || c == '$')
		r = (r = new_node(p, PS_SEARCH_SEQ, ret_node)) < 0 ? r : parse_set(p, false, *ret_node);
	else
		r = parse_named(p, ret_node);
	p->depth--;
	return r;
}

static int take_charset(struct imap_search_parser *p)
{
	struct ps_buf nothing = {0};
	struct ps_bytes name;
	int r;

	if (imap_args_astring(p->args, p->pool, &name) < 0 || imap_args_space(p->args) < 0)
		return bad("a charset takes a name, and keys follow it");
	if (p->utf8 && (!p->charset_first || !ps_bytes_caseeq_str(name, "UTF-8")))
		return bad("a charset, where UTF8=ACCEPT is enabled");
	p->charset = ps_pool_strndup(p->pool, (const char *)name.ptr, name.len);
	r = ps_charset_to_utf8(p->charset, ps_bytes("", 0), &nothing);
	ps_buf_finish(&nothing);
	return r;
}

static int parse_charset(struct imap_search_parser *p)
{
	if (p->charset_first)
		return take_charset(p);
	if (!imap_args_take_word(p->args, "CHARSET"))
		return 0;
	return imap_args_space(p->args) < 0 ? bad("CHARSET takes a name") : take_charset(p);
}

int imap_search_parse(struct imap_search_parser *parser, struct ps_search_node **ret_root)
{
	int r;

	if ((r = parse_charset(parser)) < 0 || (r = parse_all(parser, ret_root)) < 0)
		return r;
	return imap_args_end(parser->args);
}
