/* SPDX-License-Identifier: MIT */
/* core/delivery/client/http.h - one answer of an HTTP server (RFC 9112), gathered before it is read. */
#ifndef CORE_DELIVERY_CLIENT_HTTP_H
#define CORE_DELIVERY_CLIENT_HTTP_H

#include "postern/buf.h"

struct http_answer {
	unsigned status;
	struct ps_bytes type; /* Content-Type; absent when there is none */
	struct ps_bytes body; /* in `octets`, from which the frames of chunks have been taken */
};

/* Reads an answer to GET in place. `ended`: the server has closed. 1; 0: more is needed; PS_E_SYNTAX: it is none. */
int http_read(struct ps_buf *octets, bool ended, struct http_answer *ret_answer);

#endif
