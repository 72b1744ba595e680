/* SPDX-License-Identifier: MIT */
/*
 * A record of the queue. The first octet says of which kind, and whether the length and the checksum are put right first, so that what is
 * behind them is reached. What can be read is written again as it was.
 */
#include <stdlib.h>
#include "core/delivery/queue/queue_private.h"
#include "postern/io.h"
#include "tests/fuzz/fuzz.h"

enum {
	HEADER = 12,
	AS_IT_IS = 4, /* of the first octet */
};

static int message_again(struct ps_bytes octets, struct ps_pool *pool, struct ps_buf *out)
{
	struct message message;
	int r = message_decode(octets, pool, &message);

	return r < 0 ? r : message_encode(&message, out);
}

static int part_again(struct ps_bytes octets, struct ps_pool *pool, struct ps_buf *out)
{
	struct part part;
	int r = part_decode(octets, pool, &part);

	return r < 0 ? r : part_encode(&part, out);
}

static int dest_again(struct ps_bytes octets, struct ps_pool *pool, struct ps_buf *out)
{
	struct dest dest;
	int r = dest_decode(octets, pool, &dest);

	return r < 0 ? r : dest_encode(&dest, out);
}

static const struct {
	char kind;
	int (*again)(struct ps_bytes octets, struct ps_pool *pool, struct ps_buf *out);
} kinds[] = {{'M', message_again}, {'P', part_again}, {'D', dest_again}};

static void put_right(uint8_t *record, size_t size, char kind)
{
	uint32_t len = htobe32((uint32_t)(size - HEADER)), crc = htobe32(ps_crc32c(0, record + HEADER, size - HEADER));

	record[0] = 'Q';
	record[1] = (uint8_t)kind;
	record[2] = 0;
	record[3] = 1;
	memcpy(record + 4, &len, sizeof len);
	memcpy(record + 8, &crc, sizeof crc);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ps_pool *pool = ps_pool_create("fuzz");
	struct ps_buf again = {0};
	uint8_t *record;
	size_t kind;

	if (size > HEADER + 1) {
		kind = data[0] % AS_IT_IS % PS_ARRAY_LEN(kinds);
		record = ps_pool_memdup(pool, data + 1, size - 1);
		if (!(data[0] & AS_IT_IS))
			put_right(record, size - 1, kinds[kind].kind);
		if (kinds[kind].again(ps_bytes(record, size - 1), pool, &again) == 0 &&
		    (again.len != size - 1 || memcmp(again.ptr, record, again.len) != 0))
			abort();
	}
	ps_buf_finish(&again);
	ps_pool_destroy(pool);
	return 0;
}
