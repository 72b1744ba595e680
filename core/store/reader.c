/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include "core/store/reader.h"
#include "postern/log.h"

struct ps_reader {
	struct ps_mailbox *mailbox; /* the view's when it was opened; the view may follow a store that moves */
	struct ps_read *read;       /* NULL until something is asked */
	struct ps_derive *derive;   /* holds a cache that was missing */
};

int ps_reader_open(struct ps_view *view, struct ps_reader **ret_reader)
{
	struct ps_reader *reader = ps_zalloc(sizeof *reader);

	reader->mailbox = ps_mailbox_ref(view->mailbox);
	*ret_reader = reader;
	return 0;
}

static void end_read(struct ps_reader *reader)
{
	if (reader->read)
		reader->mailbox->user->ops->read_end(reader->read);
	reader->read = NULL;
}

void ps_reader_close(struct ps_reader *reader)
{
	if (!reader)
		return;
	end_read(reader);
	ps_derive_destroy(reader->derive);
	ps_mailbox_close(reader->mailbox);
	free(reader);
}

int ps_derive_body(const struct ps_body *body, struct ps_derive **ret_derive, uint64_t *ret_size,
		   struct ps_bytes *ret_cache)
{
	struct ps_derive *derive = ps_derive_create();
	struct ps_bytes octets;
	uint8_t space[32768];
	int r;

	for (uint64_t at = 0; at < body->length; at += octets.len) {
		if ((r = ps_body_piece(body, at, space, sizeof space, &octets)) < 0) {
			ps_derive_destroy(derive);
			return r;
		}
		ps_derive_feed(derive, octets);
	}
	ps_derive_finish(derive, ret_size, ret_cache);
	*ret_derive = derive;
	return 0;
}

static int derive_now(struct ps_reader *reader, uint32_t uid, struct ps_bytes *ret_cache)
{
	struct ps_mailbox *mailbox = reader->mailbox;
	const struct ps_backend *ops = mailbox->user->ops;
	struct ps_body body;
	uint64_t size;
	int r = ops->body(mailbox->mbox, uid, &body);

	if (r < 0)
		return r;
	r = ps_derive_body(&body, &reader->derive, &size, ret_cache);
	ops->body_close(&body);
	if (r < 0)
		return r;
	end_read(reader); /* cache_put() may not meet a read of this thread */
	if (ops->cache_put(mailbox->mbox, uid, *ret_cache) < 0)
		ps_log(PS_LOG_DEBUG, "cache_put_failed", "error", ps_last_error(), NULL);
	return 0;
}

static int cached(struct ps_reader *reader, uint32_t uid, struct ps_cache *ret_cache)
{
	struct ps_mailbox *mailbox = reader->mailbox;
	const struct ps_backend *ops = mailbox->user->ops;
	struct ps_bytes octets;
	int r;

	if (!reader->read && (r = ops->read_begin(mailbox->user->store, &reader->read)) < 0)
		return r;
	if ((r = ops->cache(reader->read, mailbox->mbox, uid, &octets)) < 0)
		return r;
	return ps_cache_open(ret_cache, octets);
}

int ps_reader_cache_kept(struct ps_reader *reader, uint32_t uid, struct ps_cache *ret_cache)
{
	int r = cached(reader, uid, ret_cache);

	return r == PS_E_CORRUPT ? ps_fail(PS_E_NOTFOUND, "the cache is of no use") : r;
}

int ps_reader_cache(struct ps_reader *reader, uint32_t uid, struct ps_cache *ret_cache)
{
	struct ps_bytes octets;
	int r;

	ps_derive_destroy(reader->derive);
	reader->derive = NULL;
	r = cached(reader, uid, ret_cache);
	if (r != PS_E_NOTFOUND && r != PS_E_CORRUPT)
		return r;
	if ((r = derive_now(reader, uid, &octets)) < 0)
		return r;
	return ps_cache_open(ret_cache, octets);
}

int ps_view_body(struct ps_view *view, uint32_t uid, struct ps_body *ret_body)
{
	int r = view->mailbox->user->ops->body(view->mailbox->mbox, uid, ret_body);

	view->bodies += r == 0;
	return r;
}

void ps_view_body_close(struct ps_view *view, struct ps_body *body)
{
	view->bodies--;
	view->mailbox->user->ops->body_close(body);
}

void ps_view_body_rest(struct ps_view *view, struct ps_body *body)
{
	const struct ps_backend *ops = view->mailbox->user->ops;

	if (ops->body_rest)
		ops->body_rest(body);
}
