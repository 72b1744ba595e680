/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include "core/sync/both.h"

static int by_from(const void *a, const void *b)
{
	const struct match *x = a, *y = b;

	return x->uid[0] < y->uid[0] ? -1 : x->uid[0] > y->uid[0];
}

static int by_to(const void *a, const void *b)
{
	const struct match *x = a, *y = b;

	return x->uid[1] < y->uid[1] ? -1 : x->uid[1] > y->uid[1];
}

void both_map_read(struct both_map *map, const struct sync_last *last)
{
	*map = (struct both_map){0};
	for (size_t i = 0; last && i < last->run_count; i++)
		for (uint32_t n = 0; n < last->runs[i].count; n++)
			both_map_add(map, last->runs[i].from + n, last->runs[i].to + n);
	both_map_settle(map, NULL, NULL);
}

void both_map_finish(struct both_map *map)
{
	free(map->pairs[0]);
	free(map->pairs[1]);
	*map = (struct both_map){0};
}

void both_map_add(struct both_map *map, uint32_t from, uint32_t to)
{
	if (map->count == map->cap) {
		map->cap = map->cap ? map->cap * 2 : 64;
		map->pairs[0] = ps_realloc(map->pairs[0], map->cap * sizeof(struct match));
		map->pairs[1] = ps_realloc(map->pairs[1], map->cap * sizeof(struct match));
	}
	map->pairs[0][map->count++] = (struct match){{from, to}};
}

void both_map_settle(struct both_map *map, bool (*drop)(void *arg, const struct match *match), void *arg)
{
	size_t n = 0;

	for (size_t i = 0; i < map->count; i++)
		if (!drop || !drop(arg, &map->pairs[0][i]))
			map->pairs[0][n++] = map->pairs[0][i];
	map->count = n;
	if (n == 0)
		return;
	qsort(map->pairs[0], n, sizeof(struct match), by_from);
	memcpy(map->pairs[1], map->pairs[0], n * sizeof(struct match));
	qsort(map->pairs[1], n, sizeof(struct match), by_to);
}

uint32_t both_map_partner(const struct both_map *map, int end, uint32_t uid)
{
	struct match key = {{uid, uid}};
	const struct match *found =
		map->count == 0 ? NULL
				: bsearch(&key, map->pairs[end], map->count, sizeof key, end == 0 ? by_from : by_to);

	return found ? found->uid[1 - end] : 0;
}

void both_map_write(const struct both_map *map, struct ps_pool *pool, struct sync_last *last)
{
	last->runs = NULL;
	last->run_count = last->run_cap = 0;
	for (size_t i = 0; i < map->count; i++) {
		const struct match *match = &map->pairs[0][i];
		struct sync_run *run = last->run_count > 0 ? &last->runs[last->run_count - 1] : NULL;

		if (run && run->from + run->count == match->uid[0] && run->to + run->count == match->uid[1]) {
			run->count++;
			continue;
		}
		last->runs = ps_pool_grow(pool, last->runs, last->run_count, &last->run_cap, sizeof *last->runs);
		last->runs[last->run_count++] = (struct sync_run){match->uid[0], match->uid[1], 1};
	}
}
