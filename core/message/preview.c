/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <unistr.h>
#include "core/message/html.h"
#include "core/message/preview.h"
#include "postern/message.h"
#include "postern/pool.h"

enum {
	LINE_MAX = 1000,       /* what is longer comes in pieces */
	ATTRIBUTION_LINES = 3, /* "On Monday, Alice\nwrote:" */
};

/* Text that grows up to PREVIEW_CHARS, with blanks folded. */
struct extract {
	struct ps_buf text;
	unsigned chars;
	bool blank; /* ahead of what comes next */
};

/* Where a paragraph of plain text began: one that ends with a colon, ahead of a quote, says who is quoted. */
struct paragraph {
	size_t text;
	unsigned chars, lines;
	bool ended, colon;
};

struct preview {
	/* What was found so far. */
	struct ps_buf found;
	bool found_html;
	uint32_t found_alternatives;
	bool encrypted; /* there is text, but none that can be read */

	/* The part under way; decode NULL: none is, or it has said enough. */
	struct preview_part part;
	struct ps_decode *decode;
	size_t left, left_of_message;
	struct extract own, quoted;
	struct ps_buf decoded;
	struct html html;
	/* Of plain text. */
	struct ps_buf line;
	bool in_line;   /* the line began earlier */
	bool in_quote;  /* it is quoted */
	bool in_armour; /* between "-----BEGIN PGP SIGNED MESSAGE-----" and the text */
	struct paragraph paragraph;
	bool enough;
};

struct preview *preview_create(void)
{
	struct preview *p = ps_zalloc(sizeof *p);

	p->left_of_message = PREVIEW_MESSAGE_MAX;
	return p;
}

static void part_finish(struct preview *p)
{
	ps_decode_destroy(p->decode);
	p->decode = NULL;
	ps_buf_reset(&p->decoded);
	ps_buf_reset(&p->line);
	ps_buf_reset(&p->own.text);
	ps_buf_reset(&p->quoted.text);
}

void preview_destroy(struct preview *p)
{
	if (!p)
		return;
	part_finish(p);
	ps_buf_finish(&p->decoded);
	ps_buf_finish(&p->line);
	ps_buf_finish(&p->own.text);
	ps_buf_finish(&p->quoted.text);
	ps_buf_finish(&p->found);
	free(p);
}

/* ---- characters ------------------------------------------------------------------------------- */

static bool is_blank(uint32_t c)
{
	return c <= ' ' || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 ||
	       c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

/* Characters that are not seen: controls, those that would turn the direction of a client's list, and what newsletters fill
 * their previews with. */
static bool is_hidden(uint32_t c)
{
	return (c >= 0x7f && c < 0xa0) || c == 0xad || c == 0x34f || c == 0x61c || c == 0x115f || c == 0x1160 ||
	       c == 0x17b4 || c == 0x17b5 || c == 0x180e || c == 0x200b || c == 0x200e || c == 0x200f ||
	       (c >= 0x202a && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0x3164 || c == 0xfeff ||
	       c == 0xffa0 || (c >= 0xfff0 && c <= 0xfffb) || (c >= 0xe0000 && c <= 0xe007f);
}

/* Joiners matter between letters only. */
static bool is_joiner(uint32_t c)
{
	return c == 0x200c || c == 0x200d;
}

static void extract_put(struct extract *extract, uint32_t c)
{
	uint8_t octets[6];
	int n;

	if (is_blank(c)) {
		extract->blank = extract->chars > 0;
		return;
	}
	if (is_hidden(c) || (is_joiner(c) && (extract->blank || extract->chars == 0)))
		return;
	if (extract->chars + extract->blank >= PREVIEW_CHARS) {
		extract->chars = PREVIEW_CHARS;
		return;
	}
	n = u8_uctomb(octets, c, sizeof octets);
	if (n <= 0)
		return;
	if (extract->blank)
		ps_buf_char(&extract->text, ' ');
	ps_buf_append(&extract->text, octets, (size_t)n);
	extract->chars += 1u + extract->blank;
	extract->blank = false;
}

static void extract_text(struct extract *extract, struct ps_bytes utf8)
{
	while (utf8.len > 0) {
		ucs4_t c;
		int n = u8_mbtouc(&c, utf8.ptr, utf8.len);

		extract_put(extract, c);
		utf8 = ps_bytes_skip(utf8, (size_t)n);
	}
}

/* ---- HTML ------------------------------------------------------------------------------------- */

static void put_html(void *arg, uint32_t c, bool quoted)
{
	struct preview *p = arg;

	extract_put(quoted ? &p->quoted : &p->own, c);
}

static void take_html(struct preview *p)
{
	struct ps_bytes utf8 = ps_buf_view(&p->decoded);

	while (utf8.len > 0 && p->own.chars < PREVIEW_CHARS) {
		ucs4_t c;
		int n = u8_mbtouc(&c, utf8.ptr, utf8.len);

		html_feed(&p->html, c);
		utf8 = ps_bytes_skip(utf8, (size_t)n);
	}
	ps_buf_reset(&p->decoded);
}

/* ---- plain text ------------------------------------------------------------------------------- */

static bool starts_with(struct ps_bytes line, const char *text)
{
	size_t len = strlen(text);

	return line.len >= len && memcmp(line.ptr, text, len) == 0;
}

static struct ps_bytes without_blanks(struct ps_bytes line)
{
	while (line.len > 0 && line.ptr[line.len - 1] <= ' ')
		line.len--;
	return line;
}

/* A quote begins: what stands right ahead of it may only say who is quoted. */
static void drop_attribution(struct preview *p)
{
	struct paragraph *paragraph = &p->paragraph;

	if (!paragraph->colon || paragraph->lines > ATTRIBUTION_LINES)
		return;
	p->own.text.len = paragraph->text;
	p->own.chars = paragraph->chars;
	*paragraph = (struct paragraph){.ended = true};
}

static void note_line(struct preview *p, struct ps_bytes line)
{
	struct paragraph *paragraph = &p->paragraph;

	if (line.len == 0) {
		paragraph->ended = true;
		return;
	}
	if (paragraph->ended || paragraph->lines == 0)
		*paragraph = (struct paragraph){.text = p->own.text.len, .chars = p->own.chars};
	paragraph->lines++;
	paragraph->colon = line.ptr[line.len - 1] == ':';
}

/* Lines that are no text. True: this is one. */
static bool is_armour(struct preview *p, struct ps_bytes line)
{
	if (p->in_armour) {
		p->in_armour = line.len > 0;
		return true;
	}
	if (starts_with(line, "-----BEGIN PGP SIGNED MESSAGE-----")) {
		p->in_armour = true;
		return true;
	}
	if (starts_with(line, "-----BEGIN PGP MESSAGE-----"))
		p->encrypted = p->enough = true;
	else if (starts_with(line, "-----BEGIN PGP SIGNATURE-----"))
		p->enough = true;
	/* RFC 3676 section 4.3: what follows is a signature */
	else if (ps_bytes_eq_str(line, "--") && p->own.chars > 0)
		p->enough = true;
	return p->enough;
}

/* What stands in front of the text of a quoted line. */
static struct ps_bytes without_marks(struct ps_bytes line)
{
	while (line.len > 0 && (line.ptr[0] == '>' || line.ptr[0] == ' '))
		line = ps_bytes_skip(line, 1);
	return line;
}

static bool is_quoted(struct ps_bytes line)
{
	size_t i = 0;

	while (i < line.len && line.ptr[i] == ' ')
		i++;
	return i < line.len && line.ptr[i] == '>';
}

static void begin_line(struct preview *p, struct ps_bytes *line)
{
	struct ps_bytes text = without_blanks(*line);

	p->in_quote = false;
	if (is_armour(p, text)) {
		line->len = 0;
		return;
	}
	p->in_quote = is_quoted(text);
	if (p->in_quote) {
		drop_attribution(p);
		*line = without_marks(*line);
	} else {
		note_line(p, text);
	}
}

/* A line, or a piece of a long one. */
static void take_line(struct preview *p, bool ended)
{
	struct ps_bytes line = ps_buf_view(&p->line);
	struct extract *extract;

	if (!p->in_line)
		begin_line(p, &line);
	extract = p->in_quote ? &p->quoted : &p->own;
	if (!p->enough)
		extract_text(extract, line);
	if (ended)
		extract_put(extract, ' ');
	p->in_line = !ended;
	ps_buf_reset(&p->line);
}

static void take_plain(struct preview *p)
{
	struct ps_bytes utf8 = ps_buf_view(&p->decoded);

	while (utf8.len > 0 && !p->enough) {
		ucs4_t c;
		int n = u8_mbtouc(&c, utf8.ptr, utf8.len);

		if (c == '\n') {
			take_line(p, true);
		} else {
			ps_buf_append(&p->line, utf8.ptr, (size_t)n);
			if (p->line.len >= LINE_MAX)
				take_line(p, false);
		}
		utf8 = ps_bytes_skip(utf8, (size_t)n);
		/* A quote may yet take back an attribution. */
		p->enough |= p->own.chars >= PREVIEW_CHARS && (p->paragraph.lines > ATTRIBUTION_LINES || p->in_line);
	}
	ps_buf_reset(&p->decoded);
}

/* ---- parts ------------------------------------------------------------------------------------ */

static bool wanted(const struct preview *p, const struct preview_part *part)
{
	if (p->encrypted || p->left_of_message == 0)
		return false;
	if (p->found.len == 0)
		return true;
	return p->found_html && !part->html && part->alternatives && part->alternatives == p->found_alternatives;
}

void preview_begin(struct preview *p, const struct preview_part *part)
{
	if (!wanted(p, part))
		return;
	part_finish(p);
	p->part = *part;
	p->decode = ps_decode_create(part->encoding, part->charset ? part->charset : "unknown-8bit");
	p->left = p->left_of_message < PREVIEW_PART_MAX ? p->left_of_message : PREVIEW_PART_MAX;
	p->own.chars = p->quoted.chars = 0;
	p->own.blank = p->quoted.blank = false;
	p->html = (struct html){.put = put_html, .arg = p};
	p->in_line = p->in_quote = p->in_armour = p->enough = false;
	p->paragraph = (struct paragraph){0};
}

static void take_decoded(struct preview *p)
{
	if (p->part.html)
		take_html(p);
	else
		take_plain(p);
	p->enough |= p->part.html && p->own.chars >= PREVIEW_CHARS;
}

void preview_feed(struct preview *p, struct ps_bytes octets)
{
	if (!p->decode || p->enough || p->left == 0)
		return;
	if (octets.len > p->left)
		octets.len = p->left;
	while (octets.len > 0 && !p->enough) {
		size_t n = octets.len < LINE_MAX ? octets.len : LINE_MAX;

		ps_decode_feed(p->decode, ps_bytes(octets.ptr, n), &p->decoded);
		octets = ps_bytes_skip(octets, n);
		p->left -= n;
		p->left_of_message -= n;
		take_decoded(p);
	}
}

void preview_end(struct preview *p)
{
	const struct ps_buf *text;

	if (!p->decode)
		return;
	if (!p->enough) {
		ps_decode_finish(p->decode, &p->decoded);
		take_decoded(p);
		if (p->part.html)
			html_end(&p->html);
		else if (!p->enough)
			take_line(p, true);
	}
	text = p->own.text.len > 0 ? &p->own.text : &p->quoted.text;
	if (p->encrypted) {
		ps_buf_reset(&p->found);
	} else if (text->len > 0) {
		ps_buf_reset(&p->found);
		ps_buf_bytes(&p->found, ps_buf_view(text));
		p->found_html = p->part.html;
		p->found_alternatives = p->part.alternatives;
	}
	part_finish(p);
}

struct ps_bytes preview_text(const struct preview *p)
{
	return ps_buf_view(&p->found);
}
