/* SPDX-License-Identifier: MIT */
/*
 * Address lists (RFC 5322 section 3.4 and 4.4), read leniently: what people and programs really
 * send. Each call takes one address from the value; every octet is looked at a bounded number of
 * times.
 */
#ifndef CORE_MESSAGE_ADDRESS_H
#define CORE_MESSAGE_ADDRESS_H

#include "core/message/lex.h"

enum address_kind {
	ADDRESS_MAILBOX,
	ADDRESS_GROUP, /* only `name` */
	ADDRESS_GROUP_END,
};

struct address_list {
	struct lex lex;
	bool in_group;
	struct ps_buf name, local, host, route, comment;
};

/* Points into the list's buffers; valid until the next call. `name` and `route` may be absent. */
struct address {
	enum address_kind kind;
	struct ps_bytes name, route, local, host;
};

void address_list_init(struct address_list *list, struct ps_bytes value);
void address_list_finish(struct address_list *list);
/* False at the end. */
bool address_next(struct address_list *list, struct address *ret_address);

#endif
