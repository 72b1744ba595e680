/* SPDX-License-Identifier: MIT */
/*
 * The text of HTML, for a preview: characters in, those that a reader would see out.
 *
 * It does what a preview needs and nothing a stranger could make costly: no tree, no memory that grows, one look at each
 * character. Whatever it is given, it never fails.
 */
#ifndef CORE_MESSAGE_HTML_H
#define CORE_MESSAGE_HTML_H

#include <stdbool.h>
#include <stdint.h>

enum {
	HTML_NAME_MAX = 16 /* a longer name of a tag or a character is none that we know */
};

struct html {
	/* Each character that is to be seen; `quoted`: it is within a blockquote. Where a block begins or ends, ' '. */
	void (*put)(void *arg, uint32_t c, bool quoted);
	void *arg;
	/* Private. */
	enum {
		HTML_TEXT,
		HTML_OPEN,    /* behind '<' */
		HTML_NAME,    /* of a tag */
		HTML_REST,    /* of a tag: attributes */
		HTML_VALUE,   /* of an attribute, in quotes */
		HTML_MARKUP,  /* behind "<!" */
		HTML_COMMENT, /* behind "<!--" */
		HTML_ENTITY,  /* behind '&' */
		HTML_RAW,     /* in an element whose text is not shown, up to its end tag */
		HTML_RAW_END, /* there, behind '<' */
	} state;
	char name[HTML_NAME_MAX + 1]; /* of the tag or the character */
	unsigned name_len;
	bool closing; /* the tag is an end tag */
	uint32_t quote, dashes;
	char raw[HTML_NAME_MAX + 1]; /* the element whose text is not shown */
	unsigned blockquotes;
};

/* A zeroed struct with put and arg is ready. */
void html_feed(struct html *html, uint32_t c);
void html_end(struct html *html);

#endif
