/* SPDX-License-Identifier: MIT */
/*
 * core/net/output.h - what waits to be sent on a connection: pieces of memory and ranges of files,
 * in order, and at the end the buffer that a protocol is writing to. It may be compressed on its way out.
 */
#ifndef CORE_NET_OUTPUT_H
#define CORE_NET_OUTPUT_H

#include <stdbool.h>
#include <stdint.h>
#include "core/net/stream.h"
#include "postern/buf.h"

struct deflater;
struct out_item;

struct output {
	struct out_item *first; /* before tail; NULL: none */
	struct out_item *last;
	struct ps_buf tail;
	uint64_t queued;           /* octets of the items that are still to be sent */
	uint64_t sent;             /* octets as they go out, since the beginning */
	uint64_t plain;            /* of those queued, octets that were there before compression began */
	struct deflater *deflater; /* NULL: nothing is compressed */
	bool ending;               /* what is written is the last that is compressed */
};

void output_finish(struct output *out);
/* The descriptor is duplicated. */
int output_add_file(struct output *out, int fd, uint64_t offset, uint64_t length);
/* Sends what the socket takes of the tail and of `data`, and keeps a copy only of what it does not take. As output_flush(). */
int output_write(struct output *out, struct stream *stream, struct ps_bytes data);
/* What is written from now on is compressed. */
void output_compress(struct output *out, int level);
/* Compression ends with what is written. */
void output_compress_end(struct output *out);
/* Sending is more than a system call that does not block: a file is next, or something must be compressed. */
bool output_is_work(const struct output *out);
/* Octets to be sent; of those not compressed yet, how many they are now. */
uint64_t output_pending(const struct output *out);
/* Sends what the socket takes, up to a megabyte, so that one connection cannot hold a thread. 0:
 * nothing is left; PS_E_AGAIN: there is; else the connection is of no use any more. */
int output_flush(struct output *out, struct stream *stream);
/* Gives memory back when nothing is pending. */
void output_release(struct output *out);
/* The same for the tables of the compression, which are many times more and take a while to make. */
void output_rest(struct output *out);

#endif
