/* SPDX-License-Identifier: MIT */
/* Rows of the databases, and what must hold between them. */
#include "core/delivery/queue/queue_private.h"
#include "postern/error.h"
#include "postern/log.h"

static MDB_dbi dbi(const struct change *change, enum db db)
{
	return ps_index_database(change->queue->index, db);
}

static MDB_val val(const void *data, size_t len)
{
	return (MDB_val){.mv_size = len, .mv_data = (void *)(uintptr_t)data};
}

int row_get(struct change *change, enum db db, const void *key, size_t len, struct ps_bytes *ret_value)
{
	MDB_val k = val(key, len), v;
	int rc = mdb_get(change->lmdb, dbi(change, db), &k, &v);

	if (rc == MDB_NOTFOUND)
		return ps_fail(PS_E_NOTFOUND, "the queue has no such row");
	if (rc)
		return ps_index_failed(rc, "the queue");
	*ret_value = ps_bytes(v.mv_data, v.mv_size);
	return 0;
}

int row_put(struct change *change, enum db db, const void *key, size_t len, struct ps_bytes value)
{
	MDB_val k = val(key, len), v = val(value.ptr, value.len);
	int rc = mdb_put(change->lmdb, dbi(change, db), &k, &v, 0);

	return rc ? ps_index_failed(rc, "the queue") : 0;
}

int row_del(struct change *change, enum db db, const void *key, size_t len)
{
	MDB_val k = val(key, len);
	int rc = mdb_del(change->lmdb, dbi(change, db), &k, NULL);

	return rc && rc != MDB_NOTFOUND ? ps_index_failed(rc, "the queue") : 0;
}

int row_seek(struct change *change, enum db db, void *key, size_t len, struct ps_bytes *ret_value)
{
	MDB_val k = val(key, len), v;
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(change->lmdb, dbi(change, db), &cursor);

	if (rc)
		return ps_index_failed(rc, "the queue");
	rc = mdb_cursor_get(cursor, &k, &v, MDB_SET_RANGE);
	mdb_cursor_close(cursor);
	if (rc == MDB_NOTFOUND)
		return PS_E_NOTFOUND; /* what is at the end of many a walk is worth no sentence */
	if (rc)
		return ps_index_failed(rc, "the queue");
	if (k.mv_size != len)
		return ps_fail(PS_E_CORRUPT, "the queue has a key of %zu octets, not %zu", k.mv_size, len);
	memcpy(key, k.mv_data, len);
	if (ret_value)
		*ret_value = ps_bytes(v.mv_data, v.mv_size);
	return 0;
}

uint64_t row_count(struct change *change, enum db db)
{
	MDB_stat stat = {0};

	mdb_stat(change->lmdb, dbi(change, db), &stat);
	return stat.ms_entries;
}

int count_add(struct change *change, const char *name, int64_t by)
{
	uint64_t n;
	int r = ps_index_number(change->txn, name, &n);

	if (r < 0)
		return r;
	if (by < 0 && n < (uint64_t)-by)
		n = (uint64_t)-by;
	return by ? ps_index_number_put(change->txn, name, n + (uint64_t)by) : 0;
}

/* ---- messages ---------------------------------------------------------------------------------- */

int message_get(struct change *change, uint64_t number, struct message *ret_message)
{
	uint64_t key = htobe64(number);
	struct ps_bytes value;
	int r;

	if ((r = row_get(change, DB_MESSAGES, &key, sizeof key, &value)) < 0 ||
	    (r = message_decode(value, change->pool, ret_message)) < 0)
		return r;
	ret_message->number = number;
	return 0;
}

int message_put(struct change *change, const struct message *message)
{
	uint64_t key = htobe64(message->number);
	struct ps_buf octets = {0};
	int r = message_encode(message, &octets);

	if (r == 0)
		r = row_put(change, DB_MESSAGES, &key, sizeof key, ps_buf_view(&octets));
	ps_buf_finish(&octets);
	if (r == 0)
		r = row_put(change, DB_IDS, message->m.id, strlen(message->m.id), ps_bytes(&key, sizeof key));
	return r < 0 ? r : count_add(change, "octets", (int64_t)message->m.size);
}

int message_remove(struct change *change, const struct message *message)
{
	uint64_t key = htobe64(message->number);
	int r;

	if ((r = row_del(change, DB_MESSAGES, &key, sizeof key)) < 0 ||
	    (r = row_del(change, DB_IDS, message->m.id, strlen(message->m.id))) < 0)
		return r;
	change->gone =
		ps_pool_grow(change->pool, change->gone, change->gone_count, &change->gone_cap, sizeof *change->gone);
	change->gone[change->gone_count++] = message->number;
	return count_add(change, "octets", -(int64_t)message->m.size);
}

/* ---- destinations ------------------------------------------------------------------------------ */

int dest_get(struct change *change, uint64_t key, struct dest *ret_dest)
{
	uint64_t be = htobe64(key);
	struct ps_bytes value;
	int r = row_get(change, DB_DESTS, &be, sizeof be, &value);

	*ret_dest = (struct dest){.name = ""};
	if (r == 0)
		r = dest_decode(value, change->pool, ret_dest);
	if (r == PS_E_CORRUPT) /* what it knew is learned again; `head` and `wake` are put right when they are met */
		ps_log(PS_LOG_ERROR, "queue_record_damaged", "what", "destination", "msg", ps_last_error(), NULL);
	ret_dest->key = key;
	return r == PS_E_NOTFOUND || r == PS_E_CORRUPT ? 0 : r;
}

static int put_dest(struct change *change, const struct dest *dest)
{
	uint64_t be = htobe64(dest->key);
	struct ps_buf octets = {0};
	int r;

	if (dest->parts == 0 && dest->until == 0 && dest->head == 0)
		return row_del(change, DB_DESTS, &be, sizeof be);
	if ((r = dest_encode(dest, &octets)) == 0)
		r = row_put(change, DB_DESTS, &be, sizeof be, ps_buf_view(&octets));
	ps_buf_finish(&octets);
	return r;
}

/* The order of its first part that may be attempted; 0: there is none. */
static int first_ready(struct change *change, uint64_t key, uint64_t *ret_order)
{
	struct ready_key first = {.dest = htobe64(key)};
	int r = row_seek(change, DB_READY, &first, sizeof first, NULL);

	if (r < 0 && r != PS_E_NOTFOUND)
		return r;
	*ret_order = r == 0 && be64toh(first.dest) == key ? be64toh(first.order) : 0;
	return 0;
}

static int move_head(struct change *change, struct dest *dest, uint64_t head)
{
	struct head_key old = {htobe64(dest->head), htobe64(dest->key)}, new = {htobe64(head), htobe64(dest->key)};
	int r = 0;

	if (dest->head == head)
		return 0;
	if (dest->head)
		r = row_del(change, DB_HEADS, &old, sizeof old);
	if (r == 0 && head)
		r = row_put(change, DB_HEADS, &new, sizeof new, ps_bytes("", 0));
	dest->head = head;
	return r;
}

static struct time_key time_key(uint64_t when, enum time_kind kind, uint64_t dest, uint64_t number, uint32_t part)
{
	return (struct time_key){htobe64(when), (uint8_t)kind, htobe64(dest), htobe64(number), htobe32(part)};
}

static int move_time(struct change *change, struct time_key key, uint64_t from, uint64_t to)
{
	int r = 0;

	if (from == to)
		return 0;
	key.when = htobe64(from);
	if (from)
		r = row_del(change, DB_TIMES, &key, sizeof key);
	key.when = htobe64(to);
	if (r == 0 && to)
		r = row_put(change, DB_TIMES, &key, sizeof key, ps_bytes("", 0));
	return r;
}

int dest_settle(struct change *change, struct dest *dest)
{
	uint64_t first, wake;
	int r;

	if (dest->key == SETTLE_DEST)
		return 0;
	if (dest->until && dest->until <= change->now)
		dest->until = 0;
	if ((r = first_ready(change, dest->key, &first)) < 0)
		return r;
	if ((r = move_head(change, dest, dest->until ? 0 : first)) < 0)
		return r;
	wake = dest->until;
	if ((r = move_time(change, time_key(0, TIME_WAKE, dest->key, 0, 0), dest->wake, wake)) < 0)
		return r;
	dest->wake = wake;
	return put_dest(change, dest);
}

/* ---- parts ------------------------------------------------------------------------------------- */

int part_get(struct change *change, uint64_t number, uint32_t index, struct part *ret_part)
{
	struct part_key key = part_key(number, index);
	struct ps_bytes value;
	int r;

	if ((r = row_get(change, DB_PARTS, &key, sizeof key, &value)) < 0 ||
	    (r = part_decode(value, change->pool, ret_part)) < 0)
		return r;
	ret_part->number = number;
	ret_part->index = index;
	return 0;
}

int part_next(struct change *change, uint64_t number, uint32_t index, struct part *ret_part, uint32_t *ret_index)
{
	struct part_key key = part_key(number, index);
	struct ps_bytes value;
	int r = row_seek(change, DB_PARTS, &key, sizeof key, &value);

	if (r < 0)
		return r;
	if (be64toh(key.number) != number)
		return PS_E_NOTFOUND;
	*ret_index = be32toh(key.part);
	if ((r = part_decode(value, change->pool, ret_part)) < 0)
		return r;
	ret_part->number = number;
	ret_part->index = *ret_index;
	return 0;
}

static int move_ready(struct change *change, const struct part *part, uint64_t dest, uint64_t from, uint64_t to)
{
	struct ready_key key = {.dest = htobe64(dest), .number = htobe64(part->number), .part = htobe32(part->index)};
	int r = 0;

	if (from == to)
		return 0;
	key.order = htobe64(from);
	if (from)
		r = row_del(change, DB_READY, &key, sizeof key);
	key.order = htobe64(to);
	if (r == 0 && to)
		r = row_put(change, DB_READY, &key, sizeof key, ps_bytes("", 0));
	return r;
}

static int store_part(struct change *change, const struct part *part)
{
	struct part_key key = part_key(part->number, part->index);
	struct ps_buf octets = {0};
	int r = part_encode(part, &octets);

	if (r == 0)
		r = row_put(change, DB_PARTS, &key, sizeof key, ps_buf_view(&octets));
	ps_buf_finish(&octets);
	return r;
}

static int count_in_dest(struct change *change, const struct part *part, int by)
{
	struct dest dest;
	int r = dest_get(change, part->dest, &dest);

	if (r < 0)
		return r;
	dest.name = part->destination;
	dest.parts = by < 0 && dest.parts == 0 ? 0 : dest.parts + (uint64_t)by;
	return dest_settle(change, &dest);
}

int part_save(struct change *change, const struct part *from, const struct part *to)
{
	static const struct part none;
	const struct part *any = to ? to : from, *a = from ? from : &none, *b = to ? to : &none;
	struct part_key key = part_key(any->number, any->index);
	int held = !!(b->flags & PART_HELD) - !!(a->flags & PART_HELD), parts = !!to - !!from, r;

	if ((r = move_ready(change, any, any->dest, a->order, b->order)) < 0 ||
	    (r = move_ready(change, any, SETTLE_DEST, a->settle, b->settle)) < 0 ||
	    (r = move_time(change, time_key(0, TIME_DUE, any->dest, any->number, any->index), a->due, b->due)) < 0 ||
	    (r = move_time(change, time_key(0, TIME_DEADLINE, any->dest, any->number, any->index), a->deadline,
			   b->deadline)) < 0 ||
	    (r = to ? store_part(change, to) : row_del(change, DB_PARTS, &key, sizeof key)) < 0 ||
	    (r = count_add(change, "held", held)) < 0)
		return r;
	return a->order != b->order || parts ? count_in_dest(change, any, parts) : 0;
}

/* ---- what cannot be read ----------------------------------------------------------------------- */

static int set_aside(struct change *change, enum db db, char kind, const void *key, size_t len)
{
	char aside[64];
	struct ps_bytes value;
	int r = row_get(change, db, key, len, &value);

	if (r < 0)
		return r == PS_E_NOTFOUND ? 0 : r;
	aside[0] = kind;
	memcpy(aside + 1, key, len);
	/* LMDB moves its pages when it is written to. */
	value.ptr = ps_pool_memdup(change->pool, value.ptr, value.len);
	r = row_put(change, DB_DAMAGED, aside, len + 1, value);
	return r < 0 ? r : row_del(change, db, key, len);
}

int set_aside_part(struct change *change, uint64_t number, uint32_t index)
{
	struct part_key key = part_key(number, index);
	char name[40];

	snprintf(name, sizeof name, "%016llx.%u", (unsigned long long)number, index);
	ps_log(PS_LOG_ERROR, "queue_record_damaged", "what", name, NULL);
	return set_aside(change, DB_PARTS, 'P', &key, sizeof key);
}

int set_aside_message(struct change *change, uint64_t number)
{
	uint64_t key = htobe64(number);
	uint32_t index = 0;
	struct part part;
	char name[20];
	int r;

	snprintf(name, sizeof name, "%016llx", (unsigned long long)number);
	/* Its body stays where it is: bodies_sweep() looks here. */
	ps_log(PS_LOG_ERROR, "queue_record_damaged", "what", name, NULL);
	while ((r = part_next(change, number, index, &part, &index)) != PS_E_NOTFOUND) {
		struct part_key part_of = part_key(number, index);

		if (r < 0 && r != PS_E_CORRUPT)
			return r;
		/* A copy goes aside; what leads to it goes with part_save(). */
		if (r == 0) {
			struct ps_buf octets = {0};
			char aside[1 + sizeof part_of] = "P";

			memcpy(aside + 1, &part_of, sizeof part_of);
			r = part_encode(&part, &octets);
			if (r == 0)
				r = row_put(change, DB_DAMAGED, aside, sizeof aside, ps_buf_view(&octets));
			ps_buf_finish(&octets);
			if (r == 0)
				r = part_save(change, &part, NULL);
		} else {
			r = set_aside(change, DB_PARTS, 'P', &part_of, sizeof part_of);
		}
		if (r < 0)
			return r;
		index++;
	}
	return set_aside(change, DB_MESSAGES, 'M', &key, sizeof key);
}
