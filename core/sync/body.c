/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include "core/sync/sync_private.h"
#include "postern/message.h"

enum {
	PIECE = 64 << 10
};

struct reading {
	uint8_t in[PIECE];
	uint8_t out[2 * PIECE];
	bool after_cr;
};

static struct ps_bytes with_crlf(struct reading *r, struct ps_bytes piece)
{
	size_t n = 0;

	for (size_t i = 0; i < piece.len; i++) {
		if (piece.ptr[i] == '\n' && !r->after_cr)
			r->out[n++] = '\r';
		r->after_cr = piece.ptr[i] == '\r';
		r->out[n++] = piece.ptr[i];
	}
	return ps_bytes(r->out, n);
}

int sync_body_each(const struct ps_sync_end *end, const struct ps_body *body,
		   int (*put)(void *arg, struct ps_bytes octets), void *arg)
{
	PS_CLEANUP(ps_freep) struct reading *reading = ps_malloc(sizeof *reading);
	int r = 0;

	reading->after_cr = false;
	for (uint64_t at = 0; at < body->length && r == 0;) {
		struct ps_bytes piece;

		sync_on(end);
		if (ps_body_piece(body, at, reading->in, PIECE, &piece) < 0)
			return PS_E_CORRUPT;
		at += piece.len;
		r = put(arg, body->wire_form ? piece : with_crlf(reading, piece));
	}
	return r;
}
