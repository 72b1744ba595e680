/* SPDX-License-Identifier: MIT */
/*
 * Conversion of mail's charsets to UTF-8, streaming.
 *
 * Only charsets of a list are converted: a stranger names them, each is a shared object that iconv loads, and a confined
 * process can load none but those ps_charset_preload() has loaded.
 */
#ifndef CORE_MESSAGE_CHARSET_H
#define CORE_MESSAGE_CHARSET_H

#include <iconv.h>
#include "postern/buf.h"

enum charset_mode {
	CHARSET_UTF8,  /* what is not valid becomes U+FFFD */
	CHARSET_GUESS, /* UTF-8 where it is valid, else windows-1252 */
	CHARSET_ICONV, /* what is not valid becomes U+FFFD */
};

struct charset {
	enum charset_mode mode;
	iconv_t iconv;
	uint8_t held[16]; /* the start of a character that is not yet whole */
	size_t held_len;
	bool strict;   /* PS_E_SYNTAX instead of U+FFFD */
	bool restarts; /* behind what is not valid it begins anew */
};

/* PS_E_UNSUPPORTED for a charset that is not known; then nothing needs finishing. NULL and US-ASCII are guessed. */
int charset_init(struct charset *charset, const char *name);
/* Never fails. */
void charset_init_guess(struct charset *charset);
void charset_finish(struct charset *charset);
int charset_feed(struct charset *charset, struct ps_bytes in, struct ps_buf *out);
/* What is held at the end is not whole and will not be. */
int charset_end(struct charset *charset, struct ps_buf *out);

bool charset_is_ascii(struct ps_bytes text);
/* Octets of the UTF-8 character ahead: 0 if it is none, -1 if it may become one with more octets. */
int utf8_ahead(struct ps_bytes text);

#endif
