/* SPDX-License-Identifier: MIT */
/*
 * core/message/body.h - reading many parts of one message in the order in which they lie.
 *
 * Where the cache has places of the CRLF form and the body lies with bare LFs, a place is only found by counting from one
 * that is known. Who reads part after part keeps what was counted, so that all of them together cost one reading.
 */
#ifndef CORE_MESSAGE_BODY_H
#define CORE_MESSAGE_BODY_H

#include "postern/message.h"

/* Of one body; zero at the start. */
struct ps_body_place {
	bool known;         /* `bare` is */
	bool bare;          /* the body has to be counted in */
	bool cr;            /* the octet before is CR */
	uint64_t wire, raw; /* the same place in both forms */
};

/* ps_body_read() from a place; takes it along. */
int ps_body_read_on(const struct ps_body *body, struct ps_body_place *place, const struct ps_span *span, uint64_t len,
		    int (*write)(void *arg, struct ps_bytes octets), void *arg);

#endif
