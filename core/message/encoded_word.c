/* SPDX-License-Identifier: MIT */
/* Encoded words in header fields (RFC 2047, with the language of RFC 2231 section 5). */
#include "core/message/charset.h"
#include "core/message/lex.h"
#include "core/message/transfer.h"
#include "postern/message.h"

enum {
	CHARSET_NAME_MAX = 40
};

/* "=?charset?encoding?text?=" */
struct word {
	char charset[CHARSET_NAME_MAX + 1];
	bool base64;
	struct ps_bytes text;
	const uint8_t *end;
};

struct decoding {
	const uint8_t *end;
	const uint8_t *close; /* the first "?=" at or behind where it was last searched; `end` if there is none */
	struct charset charset;
	char charset_name[CHARSET_NAME_MAX + 1]; /* of the last word; "" if what came last is plain text */
	struct ps_buf octets;
	struct ps_buf *out;
};

/* Asked with growing `from`, and remembered, so that many beginnings of words with one end cost no
 * more than one. */
static const uint8_t *find_close(struct decoding *d, const uint8_t *from)
{
	const uint8_t *at = from;

	if (d->close && d->close >= from)
		return d->close;
	while ((at = at < d->end ? memchr(at, '?', (size_t)(d->end - at)) : NULL)) {
		if (d->end - at >= 2 && at[1] == '=')
			break;
		at++;
	}
	d->close = at ? at : d->end;
	return d->close;
}

static bool parse_charset(struct lex *lex, struct word *word)
{
	size_t n = 0;
	int c;

	while ((c = lex_peek(lex)) > ' ' && c < 0x7f && c != '?' && c != '*' && n < CHARSET_NAME_MAX) {
		word->charset[n++] = (char)ps_tolower(c);
		lex->at++;
	}
	word->charset[n] = '\0';
	if (lex_take(lex, '*'))
		for (n = 0; n < CHARSET_NAME_MAX && (c = lex_peek(lex)) > ' ' && c != '?'; n++)
			lex->at++;
	return word->charset[0] && lex_take(lex, '?');
}

/* `lex` is behind "=?". */
static bool parse_word(struct decoding *d, struct lex lex, struct word *word)
{
	int encoding;

	if (!parse_charset(&lex, word) || lex_done(&lex))
		return false;
	encoding = ps_tolower(*lex.at++);
	if ((encoding != 'b' && encoding != 'q') || !lex_take(&lex, '?'))
		return false;
	word->base64 = encoding == 'b';
	word->end = find_close(d, lex.at);
	if (word->end == d->end)
		return false;
	word->text = ps_bytes(lex.at, (size_t)(word->end - lex.at));
	word->end += 2;
	return true;
}

static void decode_q(struct ps_bytes text, struct ps_buf *out)
{
	for (size_t i = 0; i < text.len; i++) {
		int c = text.ptr[i];
		int high = c == '=' && text.len - i > 2 ? hex_value(text.ptr[i + 1]) : -1;
		int low = high >= 0 ? hex_value(text.ptr[i + 2]) : -1;

		if (low >= 0) {
			c = high * 16 + low;
			i += 2;
		}
		ps_buf_char(out, (char)(c == '_' ? ' ' : c));
	}
}

static void decode_b(struct ps_bytes text, struct ps_buf *out)
{
	struct transfer transfer;

	transfer_init(&transfer, "base64");
	transfer_feed(&transfer, text, out);
	transfer_end(&transfer, out);
	transfer_finish(&transfer);
}

/* The words so far are over: what of a character is missing stays missing. */
static void end_words(struct decoding *d)
{
	if (!d->charset_name[0])
		return;
	charset_end(&d->charset, d->out);
	charset_finish(&d->charset);
	d->charset_name[0] = '\0';
}

/* Words of one charset that follow each other are one text: people's programs cut characters in two. */
static bool decode_word(struct decoding *d, const struct word *word)
{
	if (strcmp(word->charset, d->charset_name) != 0) {
		struct charset charset;

		if (charset_init(&charset, word->charset) < 0)
			return false;
		end_words(d);
		d->charset = charset;
		memcpy(d->charset_name, word->charset, sizeof d->charset_name);
	}
	ps_buf_reset(&d->octets);
	if (word->base64)
		decode_b(word->text, &d->octets);
	else
		decode_q(word->text, &d->octets);
	charset_feed(&d->charset, ps_buf_view(&d->octets), d->out);
	return true;
}

static void plain_text(struct decoding *d, const uint8_t *from, const uint8_t *to)
{
	struct charset utf8 = {.mode = CHARSET_UTF8};

	if (from == to)
		return;
	end_words(d);
	charset_feed(&utf8, ps_bytes(from, (size_t)(to - from)), d->out);
	charset_end(&utf8, d->out);
}

static const uint8_t *skip_blanks(const uint8_t *from, const uint8_t *end)
{
	while (from < end && lex_is_blank(*from))
		from++;
	return from;
}

/* Blanks between two words are not part of the text (RFC 2047 section 6.2). */
static void decode_text(struct decoding *d, struct ps_bytes text)
{
	const uint8_t *plain = text.ptr, *at = text.ptr, *ink = at;
	struct word word;

	while (at < d->end && (at = memchr(at, '=', (size_t)(d->end - at)))) {
		bool between = d->charset_name[0] && ink >= at;

		if (d->end - at < 2 || at[1] != '?' || !parse_word(d, (struct lex){at + 2, d->end}, &word)) {
			at++;
			continue;
		}
		if (!between)
			plain_text(d, plain, at);
		if (decode_word(d, &word)) {
			plain = at = word.end;
			ink = skip_blanks(plain, d->end);
			continue;
		}
		if (!between)
			plain = ink = at;
		at += 2;
	}
	plain_text(d, plain, d->end);
}

/* On one line, ASCII, and without encoded words, as most values are: there is nothing to decode. */
static bool is_plain(struct ps_bytes value)
{
	for (struct ps_bytes rest = value; rest.len;) {
		ptrdiff_t at = ps_bytes_find(rest, '=');

		if (at < 0)
			break;
		rest = ps_bytes_skip(rest, (size_t)at + 1);
		if (rest.len && rest.ptr[0] == '?')
			return false;
	}
	return ps_bytes_find(value, '\n') < 0 && charset_is_ascii(value);
}

int ps_header_decode(struct ps_bytes value, struct ps_buf *out)
{
	struct ps_buf text = {0};
	struct decoding d = {.out = out};

	if (is_plain(value)) {
		text_unfold(value, out);
		return out->failed ? PS_E_LIMIT : 0;
	}
	text_unfold(value, &text);
	if (text.len) {
		d.end = text.ptr + text.len;
		decode_text(&d, ps_buf_view(&text));
		end_words(&d);
	}
	ps_buf_finish(&d.octets);
	ps_buf_finish(&text);
	return out->failed ? PS_E_LIMIT : 0;
}
