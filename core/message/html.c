/* SPDX-License-Identifier: MIT */
#include <string.h>
#include "core/message/html.h"
#include "postern/buf.h"
#include "postern/pool.h"

/* ---- characters by name ----------------------------------------------------------------------- */

/* U+00A0 to U+00FF, in order. */
static const char *const latin1[] = {
	"nbsp",   "iexcl",  "cent",   "pound",  "curren", "yen",    "brvbar", "sect",   "uml",    "copy",   "ordf",
	"laquo",  "not",    "shy",    "reg",    "macr",   "deg",    "plusmn", "sup2",   "sup3",   "acute",  "micro",
	"para",   "middot", "cedil",  "sup1",   "ordm",   "raquo",  "frac14", "frac12", "frac34", "iquest", "Agrave",
	"Aacute", "Acirc",  "Atilde", "Auml",   "Aring",  "AElig",  "Ccedil", "Egrave", "Eacute", "Ecirc",  "Euml",
	"Igrave", "Iacute", "Icirc",  "Iuml",   "ETH",    "Ntilde", "Ograve", "Oacute", "Ocirc",  "Otilde", "Ouml",
	"times",  "Oslash", "Ugrave", "Uacute", "Ucirc",  "Uuml",   "Yacute", "THORN",  "szlig",  "agrave", "aacute",
	"acirc",  "atilde", "auml",   "aring",  "aelig",  "ccedil", "egrave", "eacute", "ecirc",  "euml",   "igrave",
	"iacute", "icirc",  "iuml",   "eth",    "ntilde", "ograve", "oacute", "ocirc",  "otilde", "ouml",   "divide",
	"oslash", "ugrave", "uacute", "ucirc",  "uuml",   "yacute", "thorn",  "yuml",
};
_Static_assert(sizeof latin1 / sizeof *latin1 == 96, "a name for each");

/* Of the others, those that mail uses. */
static const struct {
	const char *name;
	uint32_t c;
} others[] = {
	{"amp", '&'},       {"lt", '<'},        {"gt", '>'},        {"quot", '"'},      {"apos", '\''},
	{"OElig", 0x152},   {"oelig", 0x153},   {"Scaron", 0x160},  {"scaron", 0x161},  {"Yuml", 0x178},
	{"fnof", 0x192},    {"circ", 0x2c6},    {"tilde", 0x2dc},   {"ensp", 0x2002},   {"emsp", 0x2003},
	{"thinsp", 0x2009}, {"zwnj", 0x200c},   {"zwj", 0x200d},    {"lrm", 0x200e},    {"rlm", 0x200f},
	{"ndash", 0x2013},  {"mdash", 0x2014},  {"lsquo", 0x2018},  {"rsquo", 0x2019},  {"sbquo", 0x201a},
	{"ldquo", 0x201c},  {"rdquo", 0x201d},  {"bdquo", 0x201e},  {"dagger", 0x2020}, {"Dagger", 0x2021},
	{"bull", 0x2022},   {"hellip", 0x2026}, {"permil", 0x2030}, {"prime", 0x2032},  {"lsaquo", 0x2039},
	{"rsaquo", 0x203a}, {"euro", 0x20ac},   {"trade", 0x2122},  {"larr", 0x2190},   {"rarr", 0x2192},
	{"minus", 0x2212},  {"infin", 0x221e},  {"ne", 0x2260},     {"le", 0x2264},     {"ge", 0x2265},
};

/* &#128; to &#159; are meant as windows-1252 has them; 0: that has none. */
static const uint16_t windows1252[32] = {
	0x20ac, 0,      0x201a, 0x192,  0x201e, 0x2026, 0x2020, 0x2021, 0x2c6,  0x2030, 0x160,
	0x2039, 0x152,  0,      0x17d,  0,      0,      0x2018, 0x2019, 0x201c, 0x201d, 0x2022,
	0x2013, 0x2014, 0x2dc,  0x2122, 0x161,  0x203a, 0x153,  0,      0x17e,  0x178,
};

static int digit(char c, uint32_t base)
{
	int value = ps_isdigit(c) ? c - '0' : base == 16 && ps_isalpha(c) ? ps_tolower(c) - 'a' + 10 : 99;

	return value < (int)base ? value : -1;
}

/* "#233" or "#xe9"; 0: no character. */
static uint32_t by_number(const char *text)
{
	uint32_t base = ps_tolower(text[1]) == 'x' ? 16 : 10, c = 0;

	for (text += base == 16 ? 2 : 1; *text; text++) {
		int value = digit(*text, base);

		if (value < 0 || c > 0x10ffff)
			return 0;
		c = c * base + (uint32_t)value;
	}
	if (c >= 0x80 && c < 0xa0)
		return windows1252[c - 0x80];
	return c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? 0 : c;
}

static uint32_t by_name(const char *name)
{
	for (uint32_t i = 0; i < PS_ARRAY_LEN(latin1); i++)
		if (strcmp(name, latin1[i]) == 0)
			return 0xa0 + i;
	for (size_t i = 0; i < PS_ARRAY_LEN(others); i++)
		if (strcmp(name, others[i].name) == 0)
			return others[i].c;
	return 0;
}

/* ---- elements --------------------------------------------------------------------------------- */

/* Text in these is not shown. */
static const char *const hidden[] = {"style", "script", "title", "template", "textarea", "xmp", "svg", "math"};

/* All others part words. */
static const char *const within_words[] = {
	"a",      "abbr",   "acronym", "b",   "bdi", "bdo",   "big", "cite", "code", "del",   "dfn",
	"em",     "font",   "i",       "ins", "kbd", "label", "q",   "s",    "samp", "small", "span",
	"strike", "strong", "sub",     "sup", "tt",  "u",     "var", "wbr",  "mark",
};

static bool is_among(const char *name, const char *const *names, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

static void put(struct html *html, uint32_t c)
{
	html->put(html->arg, c, html->blockquotes > 0);
}

static void begin_name(struct html *html)
{
	html->name_len = 0;
	html->name[0] = '\0';
}

/* One that is too long is cut at a length that no name has. */
static void add_to_name(struct html *html, uint32_t c)
{
	if (html->name_len == HTML_NAME_MAX)
		return;
	html->name[html->name_len++] = c < 0x80 ? (char)c : '?';
	html->name[html->name_len] = '\0';
}

static void lower_name(struct html *html)
{
	for (unsigned i = 0; i < html->name_len; i++)
		html->name[i] = (char)ps_tolower(html->name[i]);
}

static void tag_done(struct html *html)
{
	html->state = HTML_TEXT;
	lower_name(html);
	if (!html->closing && is_among(html->name, hidden, PS_ARRAY_LEN(hidden))) {
		memcpy(html->raw, html->name, sizeof html->raw);
		html->state = HTML_RAW;
	}
	if (strcmp(html->name, "blockquote") == 0) {
		if (!html->closing)
			html->blockquotes++;
		else if (html->blockquotes > 0)
			html->blockquotes--;
	}
	if (!is_among(html->name, within_words, PS_ARRAY_LEN(within_words)))
		put(html, ' ');
}

/* ---- states ----------------------------------------------------------------------------------- */

static bool is_blank(uint32_t c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f';
}

static bool is_letter(uint32_t c)
{
	return c < 0x80 && ps_isalpha((int)c);
}

static void in_text(struct html *html, uint32_t c)
{
	begin_name(html);
	if (c == '<')
		html->state = HTML_OPEN;
	else if (c == '&')
		html->state = HTML_ENTITY;
	else
		put(html, c);
}

static void in_open(struct html *html, uint32_t c)
{
	html->closing = c == '/';
	if (c == '!') {
		html->state = HTML_MARKUP;
	} else if (c == '/') {
		html->state = HTML_NAME;
	} else if (c == '?' || is_letter(c)) {
		html->state = HTML_NAME;
		add_to_name(html, c);
	} else {
		put(html, '<');
		html->state = HTML_TEXT;
		in_text(html, c);
	}
}

static void in_rest(struct html *html, uint32_t c)
{
	html->state = HTML_REST;
	if (c == '>') {
		tag_done(html);
	} else if (c == '"' || c == '\'') {
		html->quote = c;
		html->state = HTML_VALUE;
	}
}

static void in_name(struct html *html, uint32_t c)
{
	if (c == '>' || c == '/' || is_blank(c))
		in_rest(html, c);
	else
		add_to_name(html, c);
}

/* "<!--" begins a comment, "<!" anything else something that ends with '>'. */
static void in_markup(struct html *html, uint32_t c)
{
	add_to_name(html, c);
	html->dashes = 0;
	if (strcmp(html->name, "--") == 0)
		html->state = HTML_COMMENT;
	else if (c == '>')
		html->state = HTML_TEXT;
}

static void in_comment(struct html *html, uint32_t c)
{
	if (c == '-')
		html->dashes++;
	else if (c == '>' && html->dashes >= 2)
		html->state = HTML_TEXT;
	else
		html->dashes = 0;
}

/* Puts the character that was named, or what stands there if it is none: false. */
static bool entity_done(struct html *html)
{
	uint32_t c = html->name[0] == '#' ? by_number(html->name) : by_name(html->name);

	html->state = HTML_TEXT;
	if (c) {
		put(html, c);
		return true;
	}
	put(html, '&');
	for (unsigned i = 0; i < html->name_len; i++)
		put(html, (unsigned char)html->name[i]);
	return false;
}

static void in_entity(struct html *html, uint32_t c)
{
	bool named = c < 0x80 && (ps_isalpha((int)c) || ps_isdigit((int)c) || (c == '#' && html->name_len == 0));

	if (named && html->name_len < HTML_NAME_MAX) {
		add_to_name(html, c);
		return;
	}
	if (!entity_done(html) || c != ';')
		in_text(html, c);
}

static void in_raw(struct html *html, uint32_t c)
{
	if (c != '<')
		return;
	begin_name(html);
	html->state = HTML_RAW_END;
}

/* "</style" ends what "<style>" has begun. */
static void in_raw_end(struct html *html, uint32_t c)
{
	if (html->name_len == 0 && c == '/') {
		add_to_name(html, c);
	} else if (html->name_len > 0 && is_letter(c)) {
		add_to_name(html, c);
	} else {
		lower_name(html);
		if (html->name_len > 0 && strcmp(html->name + 1, html->raw) == 0) {
			begin_name(html);
			html->closing = true;
			in_rest(html, c);
			return;
		}
		html->state = HTML_RAW;
		in_raw(html, c);
	}
}

void html_feed(struct html *html, uint32_t c)
{
	switch (html->state) {
	case HTML_TEXT: in_text(html, c); break;
	case HTML_OPEN: in_open(html, c); break;
	case HTML_NAME: in_name(html, c); break;
	case HTML_REST: in_rest(html, c); break;
	case HTML_VALUE:
		if (c == html->quote)
			html->state = HTML_REST;
		break;
	case HTML_MARKUP: in_markup(html, c); break;
	case HTML_COMMENT: in_comment(html, c); break;
	case HTML_ENTITY: in_entity(html, c); break;
	case HTML_RAW: in_raw(html, c); break;
	case HTML_RAW_END: in_raw_end(html, c); break;
	}
}

void html_end(struct html *html)
{
	if (html->state == HTML_ENTITY)
		entity_done(html);
	else if (html->state == HTML_OPEN)
		put(html, '<');
}
