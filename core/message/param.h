/* SPDX-License-Identifier: MIT */
/*
 * Content-Type and Content-Disposition: a value and its parameters (RFC 2045 section 5.1, RFC 2183,
 * RFC 2231).
 */
#ifndef CORE_MESSAGE_PARAM_H
#define CORE_MESSAGE_PARAM_H

#include "core/message/lex.h"

enum {
	PARAMS_MAX = 1000, /* per field; those behind are left out */
	TYPE_MAX = 127,    /* octets of a type or subtype, RFC 6838 section 4.2 */
};

struct param_list {
	struct lex lex;
	unsigned left;
	struct ps_buf name, value;
};

/* The cursor stands behind the value proper. */
void param_list_init(struct param_list *list, struct lex lex);
void param_list_finish(struct param_list *list);
/* The next parameter, in list->name and list->value: as written, so that RFC 2231 names keep their
 * asterisks. */
bool param_next(struct param_list *list);

/*
 * Gathers the value of one parameter that may come in pieces or with a charset (RFC 2231): "name",
 * "name*", "name*0", "name*0*" and so on, in the order of their numbers as they are found. Give it
 * each parameter of the list.
 */
struct param_gather {
	const char *name;
	struct ps_buf value;
	unsigned pieces;
	bool whole; /* a plain "name" was there: it is preferred */
};

void param_gather(struct param_gather *gather, const struct param_list *list);

#endif
