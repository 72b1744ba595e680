/* SPDX-License-Identifier: MIT */
/* What an entity's header says of it, as BODYSTRUCTURE tells it (RFC 3501 section 7.4.2). */
#include <stdlib.h>
#include "core/message/envelope.h"
#include "core/message/param.h"
#include "core/message/tree.h"

#define NIL_ENVELOPE "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)"
#define PLAIN_HEAD   "\"text\" \"plain\" (\"charset\" \"us-ascii\")"
#define PLAIN_SINGLE PLAIN_HEAD " NIL NIL \"7bit\""

void tree_finish(struct tree *tree)
{
	free(tree->entities);
	ps_buf_finish(&tree->texts);
}

/* Texts are written to the end of tree->texts; this makes a reference of what was written since
 * `start`. */
static struct text_ref ref_since(const struct tree *tree, size_t start)
{
	return (struct text_ref){(uint32_t)start, (uint32_t)(tree->texts.len - start)};
}

static struct text_ref ref_lower(struct tree *tree, struct ps_bytes text)
{
	size_t start = tree->texts.len;

	for (size_t i = 0; i < text.len; i++)
		ps_buf_char(&tree->texts, (char)ps_tolower(text.ptr[i]));
	return ref_since(tree, start);
}

/* "type/subtype" as written, and its parameters. */
struct content_type {
	struct ps_buf type, subtype;
	struct lex params;
	bool given; /* false: absent or not of the grammar, so text/plain; charset=us-ascii (RFC
		       2045 section 5.2) */
};

static void content_type_set(struct content_type *ct, const char *type, const char *subtype)
{
	ps_buf_reset(&ct->type);
	ps_buf_reset(&ct->subtype);
	ps_buf_str(&ct->type, type);
	ps_buf_str(&ct->subtype, subtype);
}

static bool content_type_parse(struct content_type *ct, struct ps_bytes value)
{
	struct lex *lex = &ct->params;

	*lex = lex_start(value);
	lex_skip_cfws(lex, NULL);
	if (!lex_token(lex, &ct->type) || ct->type.len > TYPE_MAX)
		return false;
	lex_skip_cfws(lex, NULL);
	if (!lex_take(lex, '/'))
		return false;
	lex_skip_cfws(lex, NULL);
	return lex_token(lex, &ct->subtype) && ct->subtype.len <= TYPE_MAX;
}

static void content_type_init(struct content_type *ct, const struct header *header, bool in_digest)
{
	struct ps_bytes value = header_value(header, FIELD_CONTENT_TYPE);

	*ct = (struct content_type){0};
	ct->given = value.ptr && content_type_parse(ct, value);
	if (ct->given)
		return;
	ct->params = lex_start(ps_bytes(NULL, 0));
	if (in_digest && !value.ptr)
		content_type_set(ct, "message", "rfc822");
	else
		content_type_set(ct, "text", "plain");
}

static void content_type_finish(struct content_type *ct)
{
	ps_buf_finish(&ct->type);
	ps_buf_finish(&ct->subtype);
}

static bool type_is(const struct content_type *ct, const char *type)
{
	return ps_bytes_caseeq_str(ps_buf_view(&ct->type), type);
}

static bool subtype_is(const struct content_type *ct, const char *subtype)
{
	return ps_bytes_caseeq_str(ps_buf_view(&ct->subtype), subtype);
}

/* Appends ("name" "value" ...) or NIL, and shows each parameter to two who want one. */
static void write_params(struct ps_buf *out, struct lex lex, struct param_gather *one, struct param_gather *other)
{
	struct param_list list;
	bool any = false;

	param_list_init(&list, lex);
	while (param_next(&list)) {
		ps_buf_char(out, any ? ' ' : '(');
		any = true;
		imap_nstring(out, ps_buf_view(&list.name));
		ps_buf_char(out, ' ');
		imap_nstring(out, ps_bytes(list.value.len ? list.value.ptr : (uint8_t *)"", list.value.len));
		if (one)
			param_gather(one, &list);
		if (other)
			param_gather(other, &list);
	}
	ps_buf_str(out, any ? ")" : "NIL");
	param_list_finish(&list);
}

static void write_field(struct ps_buf *out, const struct header *header, enum field field)
{
	struct ps_bytes value = header_value(header, field);
	struct ps_buf text = {0};

	if (value.ptr)
		text_unfold(value, &text);
	imap_nstring(out, text.len ? ps_buf_view(&text) : ps_bytes(NULL, 0));
	ps_buf_finish(&text);
}

static void write_disposition(struct ps_buf *out, const struct header *header)
{
	struct ps_bytes value = header_value(header, FIELD_CONTENT_DISPOSITION);
	struct lex lex = lex_start(value);
	struct ps_buf type = {0};

	lex_skip_cfws(&lex, NULL);
	if (!value.ptr || !lex_token(&lex, &type)) {
		ps_buf_str(out, "NIL");
	} else {
		ps_buf_char(out, '(');
		imap_nstring(out, ps_buf_view(&type));
		ps_buf_char(out, ' ');
		write_params(out, lex, NULL, NULL);
		ps_buf_char(out, ')');
	}
	ps_buf_finish(&type);
}

/* One language is a string, several are a list. */
static void write_languages(struct ps_buf *out, const struct header *header)
{
	struct lex lex = lex_start(header_value(header, FIELD_CONTENT_LANGUAGE));
	struct ps_buf tags = {0}, tag = {0};
	unsigned count = 0;

	while (count < PARAMS_MAX) {
		lex_skip_cfws(&lex, NULL);
		ps_buf_reset(&tag);
		if (lex_token(&lex, &tag)) {
			if (count++)
				ps_buf_char(&tags, ' ');
			imap_nstring(&tags, ps_buf_view(&tag));
		} else if (!lex_done(&lex)) {
			lex.at++;
		} else {
			break;
		}
	}
	if (count > 1)
		ps_buf_char(out, '(');
	ps_buf_bytes(out, count ? ps_buf_view(&tags) : ps_bytes_str("NIL"));
	if (count > 1)
		ps_buf_char(out, ')');
	ps_buf_finish(&tags);
	ps_buf_finish(&tag);
}

/* Disposition, language, location: how the extension data of every kind ends. */
static void write_tail(struct ps_buf *out, const struct header *header, bool terse)
{
	if (terse) {
		ps_buf_str(out, "NIL NIL NIL");
		return;
	}
	write_disposition(out, header);
	ps_buf_char(out, ' ');
	write_languages(out, header);
	ps_buf_char(out, ' ');
	write_field(out, header, FIELD_CONTENT_LOCATION);
}

static void take_encoding(const struct header *header, struct ps_buf *out)
{
	struct lex lex = lex_start(header_value(header, FIELD_CONTENT_TRANSFER_ENCODING));

	lex_skip_cfws(&lex, NULL);
	if (lex_done(&lex) || !lex_token(&lex, out) || out->len > TYPE_MAX) {
		ps_buf_reset(out);
		ps_buf_str(out, "7bit");
	}
}

/* type subtype params id description encoding */
static void describe_single(struct tree *tree, struct entity *entity, const struct header *header,
			    const struct content_type *ct, bool terse)
{
	struct param_gather charset = {.name = "charset"};
	struct ps_buf *out = &tree->texts, encoding = {0}, params = {0};
	size_t start = out->len;

	write_params(&params, ct->params, &charset, NULL);
	take_encoding(header, &encoding);
	imap_nstring(out, ps_buf_view(&ct->type));
	ps_buf_char(out, ' ');
	imap_nstring(out, ps_buf_view(&ct->subtype));
	ps_buf_char(out, ' ');
	if (!ct->given && type_is(ct, "text"))
		ps_buf_str(out, "(\"charset\" \"us-ascii\")");
	else
		ps_buf_bytes(out, terse ? ps_bytes_str("NIL") : ps_buf_view(&params));
	if (terse) {
		ps_buf_str(out, " NIL NIL");
	} else {
		ps_buf_char(out, ' ');
		write_field(out, header, FIELD_CONTENT_ID);
		ps_buf_char(out, ' ');
		write_field(out, header, FIELD_CONTENT_DESCRIPTION);
	}
	ps_buf_char(out, ' ');
	imap_nstring(out, ps_buf_view(&encoding));
	entity->head = ref_since(tree, start);
	entity->encoding = ref_lower(tree, ps_buf_view(&encoding));
	if (charset.value.len && charset.value.len <= TYPE_MAX)
		entity->charset = ref_lower(tree, ps_buf_view(&charset.value));
	else if (!ct->given && type_is(ct, "text"))
		entity->charset = ref_lower(tree, ps_bytes_str("us-ascii"));
	start = out->len;
	if (terse)
		ps_buf_str(out, "NIL");
	else
		write_field(out, header, FIELD_CONTENT_MD5);
	ps_buf_char(out, ' ');
	write_tail(out, header, terse);
	entity->tail = ref_since(tree, start);
	ps_buf_finish(&encoding);
	ps_buf_finish(&params);
	ps_buf_finish(&charset.value);
}

/* Behind the parts: subtype params disposition language location. False without a boundary. */
static bool describe_multipart(struct tree *tree, struct entity *entity, const struct header *header,
			       const struct content_type *ct, bool terse, struct ps_buf *ret_boundary)
{
	struct param_gather boundary = {.name = "boundary"};
	struct ps_buf *out = &tree->texts;
	struct ps_buf params = {0};
	size_t start = out->len;

	write_params(&params, ct->params, &boundary, NULL);
	while (boundary.value.len && lex_is_blank(boundary.value.ptr[boundary.value.len - 1]))
		boundary.value.len--;
	if (boundary.value.len && boundary.value.len <= ret_boundary->limit) {
		ps_buf_bytes(ret_boundary, ps_buf_view(&boundary.value));
		imap_nstring(out, ps_buf_view(&ct->subtype));
		ps_buf_char(out, ' ');
		ps_buf_bytes(out, terse ? ps_bytes_str("NIL") : ps_buf_view(&params));
		ps_buf_char(out, ' ');
		write_tail(out, header, terse);
		entity->tail = ref_since(tree, start);
		entity->kind = ENTITY_MULTIPART;
		entity->digest = subtype_is(ct, "digest");
		entity->alternative = subtype_is(ct, "alternative");
	}
	ps_buf_finish(&params);
	ps_buf_finish(&boundary.value);
	return entity->kind == ENTITY_MULTIPART;
}

static void describe_envelope(struct tree *tree, struct entity *entity, const struct header *header, bool terse)
{
	size_t start = tree->texts.len;

	if (terse)
		ps_buf_str(&tree->texts, NIL_ENVELOPE);
	else
		envelope_write(header, &tree->texts);
	entity->envelope = ref_since(tree, start);
}

/* A type that has parts, but none that we may or can tell: RFC 2045 section 5.2 makes it plain
 * text. */
static void make_plain(struct content_type *ct)
{
	content_type_set(ct, "text", "plain");
	ct->params = lex_start(ps_bytes(NULL, 0));
	ct->given = false;
}

void entity_describe(struct tree *tree, struct entity *entity, const struct header *header, bool in_digest, bool leaf,
		     struct ps_buf *ret_boundary)
{
	bool root = entity == tree->entities;
	bool message = root || tree->entities[entity->parent].kind == ENTITY_MESSAGE;
	bool terse = !root && tree->texts.len > TREE_TEXTS_MAX;
	struct content_type ct;
	size_t start;

	if (message)
		describe_envelope(tree, entity, header, terse);
	content_type_init(&ct, header, in_digest);
	entity->kind = ENTITY_LEAF;
	if (type_is(&ct, "message") && (subtype_is(&ct, "rfc822") || subtype_is(&ct, "global"))) {
		if (leaf)
			content_type_set(&ct, "application", "octet-stream");
		else
			entity->kind = ENTITY_MESSAGE;
	} else if (type_is(&ct, "multipart")) {
		if (leaf || !describe_multipart(tree, entity, header, &ct, terse, ret_boundary))
			make_plain(&ct);
	}
	if (entity->kind != ENTITY_MULTIPART)
		describe_single(tree, entity, header, &ct, terse);
	entity->text = type_is(&ct, "text");
	start = tree->texts.len;
	ref_lower(tree, ps_buf_view(&ct.type));
	ps_buf_char(&tree->texts, '/');
	ref_lower(tree, ps_buf_view(&ct.subtype));
	entity->type = ref_since(tree, start);
	content_type_finish(&ct);
}

static void write_ref(const struct tree *tree, struct text_ref ref, struct ps_buf *out)
{
	ps_buf_append(out, tree->texts.ptr + ref.at, ref.len);
}

static void write_size(const struct entity *entity, struct ps_buf *out)
{
	ps_buf_char(out, ' ');
	ps_buf_u64(out, entity->end.wire - entity->body.wire);
}

static void write_lines(const struct entity *entity, struct ps_buf *out)
{
	ps_buf_char(out, ' ');
	ps_buf_u64(out, entity->end.lines - entity->body.lines);
}

/* Recursion is as deep as the tree, which is bounded. Returns the entity behind this one and all it
 * has. */
static uint32_t write_entity(const struct tree *tree, uint32_t at, struct ps_buf *out)
{
	const struct entity *entity = &tree->entities[at++];

	ps_buf_char(out, '(');
	if (entity->kind == ENTITY_MULTIPART) {
		for (uint32_t i = 0; i < entity->children; i++)
			at = write_entity(tree, at, out);
	} else if (entity->plain) {
		ps_buf_str(out, PLAIN_SINGLE);
		write_size(entity, out);
		write_lines(entity, out);
		ps_buf_str(out, " NIL NIL NIL NIL)");
		return at;
	} else {
		write_ref(tree, entity->head, out);
		write_size(entity, out);
		if (entity->kind == ENTITY_MESSAGE) {
			ps_buf_char(out, ' ');
			write_ref(tree, tree->entities[at].envelope, out);
			ps_buf_char(out, ' ');
			at = write_entity(tree, at, out);
		}
		if (entity->kind == ENTITY_MESSAGE || entity->text)
			write_lines(entity, out);
	}
	ps_buf_char(out, ' ');
	write_ref(tree, entity->tail, out);
	ps_buf_char(out, ')');
	return at;
}

void tree_write_structure(const struct tree *tree, struct ps_buf *out)
{
	write_entity(tree, 0, out);
}
