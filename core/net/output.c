/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/sendfile.h>
#include <unistd.h>
#include "core/net/compress.h"
#include "core/net/output.h"
#include "postern/error.h"
#include "postern/pool.h"

enum {
	FLUSH_MAX = 1024 * 1024,
	COPY_SIZE = 16 * 1024,
	DEFLATE_MAX = 128 * 1024,  /* octets compressed in one flush: some milliseconds */
	DEFLATE_READY = 16 * 1024, /* so much is sent before more is compressed */
};

struct out_item {
	struct out_item *next;
	uint8_t *memory; /* owned; NULL: a file */
	int fd;          /* owned */
	uint64_t offset;
	uint64_t length; /* still to be sent, from offset */
};

static void item_destroy(struct out_item *item)
{
	free(item->memory);
	if (item->fd >= 0)
		close(item->fd);
	free(item);
}

static void add_item(struct output *out, struct out_item item)
{
	struct out_item *copy = ps_malloc(sizeof *copy);

	*copy = item;
	copy->next = NULL;
	if (out->last)
		out->last->next = copy;
	else
		out->first = copy;
	out->last = copy;
	out->queued += item.length;
}

static void drop_first(struct output *out)
{
	struct out_item *item = out->first;

	out->first = item->next;
	if (!out->first)
		out->last = NULL;
	item_destroy(item);
}

/* What was written so far becomes an item, and the protocol gets an empty buffer. */
static void cut_tail(struct output *out, size_t sent)
{
	struct ps_buf *tail = &out->tail;

	if (tail->len > sent) {
		add_item(out,
			 (struct out_item){.memory = tail->ptr, .fd = -1, .offset = sent, .length = tail->len - sent});
		*tail = (struct ps_buf){.limit = tail->limit, .failed = tail->failed};
	}
}

void output_finish(struct output *out)
{
	while (out->first)
		drop_first(out);
	out->queued = 0;
	deflater_destroy(out->deflater);
	out->deflater = NULL;
	ps_buf_finish(&out->tail);
}

int output_add_file(struct output *out, int fd, uint64_t offset, uint64_t length)
{
	int copy;

	if (length == 0)
		return 0;
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (copy < 0)
		return ps_fail_errno("keep a file open to send it");
	cut_tail(out, 0);
	add_item(out, (struct out_item){.fd = copy, .offset = offset, .length = length});
	return 0;
}

void output_compress(struct output *out, int level)
{
	cut_tail(out, 0);
	out->plain = out->queued;
	out->deflater = deflater_create(level);
}

void output_compress_end(struct output *out)
{
	out->ending = out->deflater != NULL;
}

/* What makes it readable is to be added. */
static bool to_be_synced(const struct output *out)
{
	return deflater_is_dirty(out->deflater) || (out->ending && !deflater_has_ended(out->deflater));
}

/* The sync that ends an answer is work, and counts as an octet. */
static uint64_t to_be_deflated(const struct output *out)
{
	if (!out->deflater)
		return 0;
	return out->queued - out->plain + out->tail.len + to_be_synced(out);
}

bool output_is_work(const struct output *out)
{
	return (out->first && !out->first->memory) || to_be_deflated(out) > 0;
}

uint64_t output_pending(const struct output *out)
{
	uint64_t pending = out->queued + out->tail.len;

	if (out->deflater)
		pending += deflater_ready(out->deflater).len + to_be_synced(out);
	return pending;
}

/* For files or sockets that sendfile() does not know, and for TLS. */
static ssize_t send_copied(struct out_item *item, struct stream *stream)
{
	uint8_t copy[COPY_SIZE];
	size_t want = item->length < sizeof copy ? (size_t)item->length : sizeof copy;
	ssize_t n = pread(item->fd, copy, want, (off_t)item->offset);

	if (n < 0)
		return ps_fail_errno("read a file to send it");
	return n == 0 ? 0 : stream_send(stream, ps_bytes(copy, (size_t)n), false);
}

static ssize_t send_file(struct out_item *item, struct stream *stream)
{
	size_t want = item->length < FLUSH_MAX ? (size_t)item->length : FLUSH_MAX;
	off_t offset = (off_t)item->offset;
	ssize_t n;

	if (stream->tls)
		return send_copied(item, stream);
	n = sendfile(stream->fd, item->fd, &offset, want);
	if (n >= 0)
		return n;
	if (errno == EINVAL || errno == ENOSYS)
		return send_copied(item, stream);
	if (errno == EAGAIN || errno == EINTR)
		return PS_E_AGAIN;
	return ps_fail(PS_E_CLOSED, "sendfile: %s", strerror(errno));
}

/* Octets of the first item have gone. */
static void count_first(struct output *out, uint64_t n)
{
	struct out_item *item = out->first;

	item->offset += n;
	item->length -= n;
	out->queued -= n;
	out->plain -= out->plain < n ? out->plain : n;
	if (item->length == 0)
		drop_first(out);
}

static int shrunk(const struct out_item *item)
{
	/* The client was told a length and waits for it: there is no way on from here. */
	return ps_fail(PS_E_CORRUPT, "a file is %ju octets shorter than it was", (uintmax_t)item->length);
}

static int send_first(struct output *out, struct stream *stream)
{
	struct out_item *item = out->first;
	ssize_t n;

	if (item->memory)
		n = stream_send(stream, ps_bytes(item->memory + item->offset, (size_t)item->length),
				item->next != NULL);
	else
		n = send_file(item, stream);
	if (n < 0)
		return (int)n;
	if (n == 0)
		return shrunk(item);
	out->sent += (uint64_t)n;
	count_first(out, (uint64_t)n);
	return 0;
}

static int send_tail(struct output *out, struct stream *stream)
{
	ssize_t n = stream_send(stream, ps_buf_view(&out->tail), false);

	if (n < 0)
		return (int)n;
	out->sent += (uint64_t)n;
	if ((size_t)n == out->tail.len)
		out->tail.len = 0;
	else
		cut_tail(out, (size_t)n);
	return 0;
}

int output_write(struct output *out, struct stream *stream, struct ps_bytes data)
{
	ssize_t n = 0;

	if (!out->first && !out->tail.failed && !out->deflater)
		n = stream_send_two(stream, ps_buf_view(&out->tail), data);
	if (n < 0 && n != PS_E_AGAIN)
		return (int)n;
	if (n > 0) {
		size_t of_tail = (size_t)n < out->tail.len ? (size_t)n : out->tail.len;

		out->sent += (uint64_t)n;
		ps_buf_consume(&out->tail, of_tail);
		data = ps_bytes_skip(data, (size_t)n - of_tail);
	}
	ps_buf_bytes(&out->tail, data);
	return output_pending(out) > 0 ? PS_E_AGAIN : 0;
}

/* ---- compressed ----------------------------------------------------------------------------------- */

/* Compresses some of the first item. Positive: so many octets. */
static ssize_t deflate_first(struct output *out)
{
	struct out_item *item = out->first;
	size_t want = item->length < COPY_SIZE ? (size_t)item->length : COPY_SIZE;
	uint8_t copy[COPY_SIZE];
	ssize_t n = (ssize_t)want;
	int r;

	if (!item->memory)
		n = pread(item->fd, copy, want, (off_t)item->offset);
	if (n < 0)
		return ps_fail_errno("read a file to send it");
	if (n == 0)
		return shrunk(item);
	r = deflater_feed(out->deflater, ps_bytes(item->memory ? item->memory + item->offset : copy, (size_t)n));
	if (r < 0)
		return r;
	count_first(out, (uint64_t)n);
	return n;
}

/* Compresses what is next, and after the last of it what makes it readable. */
static ssize_t deflate_some(struct output *out)
{
	ssize_t n;
	int r;

	if (out->tail.len > COPY_SIZE)
		cut_tail(out, 0);
	if (out->first)
		return deflate_first(out);
	n = (ssize_t)out->tail.len;
	if (n > 0)
		r = deflater_feed(out->deflater, ps_buf_view(&out->tail));
	else
		r = out->ending ? deflater_end(out->deflater) : deflater_sync(out->deflater);
	if (r < 0)
		return r;
	out->tail.len = 0;
	return n;
}

/* Sends what is compressed, and compresses more ahead of that where it is little. */
static int send_deflated(struct output *out, struct stream *stream, size_t *budget)
{
	ssize_t n = 0;

	while (*budget > 0 && to_be_deflated(out) > 0 && deflater_ready(out->deflater).len < DEFLATE_READY) {
		n = deflate_some(out);
		if (n < 0)
			return (int)n;
		*budget -= *budget < (size_t)n ? *budget : (size_t)n;
	}
	if (deflater_ready(out->deflater).len == 0)
		return 0;
	n = stream_send(stream, deflater_ready(out->deflater), false);
	if (n < 0)
		return (int)n;
	out->sent += (uint64_t)n;
	deflater_sent(out->deflater, (size_t)n);
	return 0;
}

static int send_some(struct output *out, struct stream *stream, size_t *budget)
{
	if (out->deflater && out->plain == 0)
		return send_deflated(out, stream, budget);
	return out->first ? send_first(out, stream) : send_tail(out, stream);
}

int output_flush(struct output *out, struct stream *stream)
{
	uint64_t stop = out->sent + FLUSH_MAX;
	size_t budget = DEFLATE_MAX;
	int r = 0;

	if (out->tail.failed)
		return ps_fail(PS_E_LIMIT, "more output at once than %zu octets", out->tail.limit);
	while (r == 0 && output_pending(out) > 0 && out->sent < stop && budget > 0)
		r = send_some(out, stream, &budget);
	if (r == 0)
		r = output_pending(out) > 0 ? PS_E_AGAIN : stream_flush(stream);
	return r;
}

void output_release(struct output *out)
{
	if (out->tail.len == 0)
		ps_buf_finish(&out->tail);
}

void output_rest(struct output *out)
{
	if (out->deflater)
		deflater_rest(out->deflater);
}
