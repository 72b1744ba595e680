/* SPDX-License-Identifier: MIT */
/*
 * core/store/search.h - looking for texts in a message, all of them in one pass.
 */
#ifndef CORE_STORE_SEARCH_H
#define CORE_STORE_SEARCH_H

#include "postern/message.h"
#include "postern/store.h"

/* A text that is looked for; `folded` is never empty. */
struct ps_needle {
	struct ps_needle *next;
	struct ps_bytes folded; /* by i;unicode-casemap */
	bool in_header;         /* TEXT: the message's own header counts too */
	bool found;
};

/* Sets `found` of each. Stops reading when all are found. */
int ps_search_texts(const struct ps_body *body, const struct ps_cache *cache, struct ps_pool *pool,
		    struct ps_needle *needles);
/* Room for the text of one field after the other; a zeroed one is valid. */
struct ps_search_value {
	struct ps_buf decoded, folded;
};
/* A header field's value, decoded and folded; valid until the next one. */
int ps_search_value(struct ps_search_value *search, struct ps_bytes value, struct ps_bytes *ret_folded);
void ps_search_value_finish(struct ps_search_value *search);
bool ps_bytes_contain(struct ps_bytes text, struct ps_bytes part);
/* Of text that is all ASCII, as it is, and a part that is folded: false if it is not in it. True if it is, and where finding out would be long. */
bool ps_ascii_may_contain(struct ps_bytes text, struct ps_bytes folded);

#endif
