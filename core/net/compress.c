/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <zlib.h>
#include "core/net/compress.h"
#include "postern/error.h"
#include "postern/pool.h"

enum {
	RAW = -15,            /* windowBits of inflate: no zlib header, and whatever window the other side chose */
	DEFLATE_WINDOW = -14, /* 16 KiB: with the tables 130 KiB while it works; twice that gains a few per cent */
	DEFLATE_MEMORY = 7,
	HISTORY_MAX = 32 * 1024,
	TABLES_MAX = 160 * 1024, /* of either; what is not touched takes no memory */
	PIECE = 4 * 1024,
};

static int no_memory(const char *what)
{
	return ps_fail(PS_E_LIMIT, "%s: no memory", what);
}

/*
 * zlib's tables, in pages of their own: what malloc() takes back stays with the process as long as something small lies
 * above it, and a rest would gain nothing.
 */
struct tables {
	uint8_t *pages; /* NULL: none */
	size_t used;
};

static void *tables_alloc(void *opaque, uInt items, uInt size)
{
	struct tables *tables = opaque;
	size_t want = ((size_t)items * size + 15) & ~(size_t)15;
	void *table;

	if (!tables->pages || want > TABLES_MAX - tables->used)
		return NULL;
	table = tables->pages + tables->used;
	tables->used += want;
	return table;
}

/* They go together. */
static void tables_free(void *opaque, void *table)
{
	(void)opaque;
	(void)table;
}

static z_stream tables_map(struct tables *tables)
{
	void *pages = mmap(NULL, TABLES_MAX, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	*tables = (struct tables){.pages = pages == MAP_FAILED ? NULL : pages};
	return (z_stream){.zalloc = tables_alloc, .zfree = tables_free, .opaque = tables};
}

static void tables_unmap(struct tables *tables)
{
	if (tables->pages)
		munmap(tables->pages, TABLES_MAX);
	*tables = (struct tables){0};
}

/* ---- what is sent --------------------------------------------------------------------------------- */

struct deflater {
	z_stream z;
	struct tables tables;
	int level;
	bool working; /* z is set up */
	bool dirty;
	bool ended;
	struct ps_buf ready;
	size_t sent; /* of ready */
};

struct deflater *deflater_create(int level)
{
	struct deflater *deflater = ps_zalloc(sizeof *deflater);

	deflater->level = level;
	return deflater;
}

void deflater_destroy(struct deflater *deflater)
{
	if (!deflater)
		return;
	tables_unmap(&deflater->tables);
	ps_buf_finish(&deflater->ready);
	free(deflater);
}

/* What begins here refers to nothing before it, so it continues any stream that ended with a sync. */
static int work(struct deflater *deflater)
{
	if (deflater->working)
		return 0;
	deflater->z = tables_map(&deflater->tables);
	if (deflateInit2(&deflater->z, deflater->level, Z_DEFLATED, DEFLATE_WINDOW, DEFLATE_MEMORY,
			 Z_DEFAULT_STRATEGY) != Z_OK) {
		tables_unmap(&deflater->tables);
		return no_memory("deflate");
	}
	deflater->working = true;
	return 0;
}

static int deflate_all(struct deflater *deflater, int flush)
{
	z_stream *z = &deflater->z;

	do {
		uint8_t *room = ps_buf_reserve(&deflater->ready, PIECE);

		if (!room)
			return no_memory("deflate");
		z->next_out = room;
		z->avail_out = PIECE;
		deflate(z, flush); /* it can fail only for want of room, and there is more then */
		deflater->ready.len += PIECE - z->avail_out;
	} while (z->avail_out == 0);
	return 0;
}

int deflater_feed(struct deflater *deflater, struct ps_bytes octets)
{
	int r = work(deflater);

	if (r < 0)
		return r;
	deflater->z.next_in = (uint8_t *)(uintptr_t)octets.ptr;
	deflater->z.avail_in = (uInt)octets.len;
	deflater->dirty = true;
	return deflate_all(deflater, Z_NO_FLUSH);
}

int deflater_sync(struct deflater *deflater)
{
	int r;

	if (!deflater->dirty)
		return 0;
	deflater->z.avail_in = 0;
	r = deflate_all(deflater, Z_SYNC_FLUSH);
	if (r == 0)
		deflater->dirty = false;
	return r;
}

int deflater_end(struct deflater *deflater)
{
	int r = work(deflater);

	deflater->z.avail_in = 0;
	if (r == 0)
		r = deflate_all(deflater, Z_FINISH);
	deflater->dirty = false;
	deflater->ended = true;
	return r;
}

bool deflater_has_ended(const struct deflater *deflater)
{
	return deflater->ended;
}

bool deflater_is_dirty(const struct deflater *deflater)
{
	return deflater->dirty;
}

struct ps_bytes deflater_ready(const struct deflater *deflater)
{
	return ps_bytes_skip(ps_buf_view(&deflater->ready), deflater->sent);
}

void deflater_sent(struct deflater *deflater, size_t octets)
{
	deflater->sent += octets;
	if (deflater->sent < deflater->ready.len)
		return;
	deflater->sent = 0;
	ps_buf_reset(&deflater->ready);
}

void deflater_rest(struct deflater *deflater)
{
	if (deflater->dirty || deflater->ready.len > 0)
		return;
	ps_buf_finish(&deflater->ready);
	tables_unmap(&deflater->tables);
	deflater->working = false;
}

/* ---- what is received ----------------------------------------------------------------------------- */

struct inflater {
	z_stream z;
	struct tables tables;
	bool working; /* z is set up */
	bool pending; /* it holds octets that had no room */
	bool ended;
	bool stuck;            /* nothing moved */
	bool marked;           /* the last block was empty, and ended with an octet */
	struct ps_buf raw;     /* not inflated yet */
	struct ps_buf history; /* while resting */
};

struct inflater *inflater_create(void)
{
	return ps_zalloc(sizeof(struct inflater));
}

static void stop(struct inflater *inflater)
{
	tables_unmap(&inflater->tables);
	inflater->working = false;
}

void inflater_destroy(struct inflater *inflater)
{
	if (!inflater)
		return;
	stop(inflater);
	ps_buf_wipe(&inflater->raw);
	ps_buf_wipe(&inflater->history);
	free(inflater);
}

int inflater_put(struct inflater *inflater, struct ps_bytes octets)
{
	return ps_buf_bytes(&inflater->raw, octets) < 0 ? no_memory("inflate") : 0;
}

/* zlib.h, inflate(): in data_type, the bits left of the last octet; 64 in the last block; 128 between two blocks. */
static bool between_blocks(const z_stream *z)
{
	return z->data_type & 128;
}

static bool in_last_block(const z_stream *z)
{
	return z->data_type & 64;
}

static bool between_octets(const z_stream *z)
{
	return (z->data_type & 63) == 0;
}

bool inflater_has_more(const struct inflater *inflater)
{
	/* The end of the last block is one step, and the end of the stream another. */
	bool last = between_blocks(&inflater->z) && in_last_block(&inflater->z);

	return !inflater->ended && (inflater->pending || inflater->raw.len > 0 || last);
}

bool inflater_has_ended(const struct inflater *inflater)
{
	return inflater->ended;
}

static int wake(struct inflater *inflater)
{
	struct ps_buf *history = &inflater->history;

	if (inflater->working)
		return 0;
	inflater->z = tables_map(&inflater->tables);
	if (inflateInit2(&inflater->z, RAW) != Z_OK) {
		tables_unmap(&inflater->tables);
		return no_memory("inflate");
	}
	inflater->working = true;
	if (history->len > 0 && inflateSetDictionary(&inflater->z, history->ptr, (uInt)history->len) != Z_OK)
		return no_memory("inflate");
	ps_buf_wipe(history);
	return 0;
}

/* Up to the end of a block, and not beyond: the stream may end with it (inflater_end()). Negative: a ps_err. */
static ssize_t inflate_block(struct inflater *inflater, void *ret_octets, size_t len)
{
	z_stream *z = &inflater->z;
	size_t had = inflater->raw.len;
	int r;

	z->next_in = inflater->raw.ptr;
	z->avail_in = (uInt)had;
	z->next_out = ret_octets;
	z->avail_out = (uInt)len;
	r = inflate(z, Z_BLOCK);
	ps_buf_consume(&inflater->raw, had - z->avail_in);
	if (inflater->raw.len == 0)
		ps_buf_finish(&inflater->raw);
	inflater->pending = z->avail_out == 0 && !between_blocks(z);
	inflater->ended = r == Z_STREAM_END;
	inflater->stuck = inflater->raw.len == had && z->avail_out == len;
	inflater->marked = !inflater->stuck && z->avail_out == len && between_blocks(z) && between_octets(z);
	if (r == Z_MEM_ERROR)
		return no_memory("inflate");
	if (r != Z_OK && r != Z_STREAM_END && r != Z_BUF_ERROR)
		return ps_fail(PS_E_SYNTAX, "inflate: %s", z->msg ? z->msg : "not DEFLATE");
	return (ssize_t)(len - z->avail_out);
}

ssize_t inflater_take(struct inflater *inflater, void *ret_octets, size_t len)
{
	ssize_t n = wake(inflater);

	inflater->stuck = false;
	while (n == 0 && inflater_has_more(inflater) && !inflater->stuck)
		n = inflate_block(inflater, ret_octets, len);
	return n;
}

void inflater_rest(struct inflater *inflater)
{
	uInt len = HISTORY_MAX;
	uint8_t *history;

	if (!inflater->working || inflater_has_more(inflater) || !between_blocks(&inflater->z) ||
	    !between_octets(&inflater->z))
		return;
	history = ps_malloc(HISTORY_MAX);
	if (inflateGetDictionary(&inflater->z, history, &len) == Z_OK &&
	    ps_buf_append(&inflater->history, history, len) == 0)
		stop(inflater);
	explicit_bzero(history, HISTORY_MAX);
	free(history);
}

int inflater_end(struct inflater *inflater, struct ps_bytes *ret_rest)
{
	uint8_t octet;
	ssize_t n = wake(inflater);

	inflater->stuck = false;
	while (n == 0 && inflater_has_more(inflater) && !inflater->marked && !inflater->stuck) {
		/* Between two octets, the empty block that is to come starts with a zero, and no line of text does. */
		if (between_blocks(&inflater->z) && between_octets(&inflater->z) && inflater->raw.len > 0 &&
		    inflater->raw.ptr[0] != 0)
			inflater->marked = true;
		else
			n = inflate_block(inflater, &octet, 1);
	}
	if (n < 0)
		return (int)n;
	if (n > 0)
		return ps_fail(PS_E_SYNTAX, "inflate: the stream goes on");
	if (!inflater->ended && !inflater->marked)
		return 0;
	*ret_rest = ps_buf_view(&inflater->raw);
	return 1;
}
