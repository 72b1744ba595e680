/* SPDX-License-Identifier: MIT */
/*
 * A column is a list of blocks, each for so many UIDs. A block never changes: who has learnt more of its messages puts a new one in its
 * place. So the lock is held for finding and replacing blocks only, and not while texts are searched.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/queue.h>
#include "core/store/column.h"
#include "core/store/search.h"

enum {
	BLOCK_UIDS = 512,
	MESSAGE_MAX = 4096 /* octets of one message's fields; one with more is not noted */
};

/* One field's text ends here and the next begins. A message without such fields has one without text. */
struct entry {
	uint32_t uid, end;
};

struct block {
	atomic_uint refs;
	uint32_t number; /* UID / BLOCK_UIDS */
	uint32_t count;
	const uint8_t *text; /* behind the entries */
	struct entry entries[];
};

struct ps_column {
	/* Under all.lock. */
	unsigned refs; /* the mailbox's, and one for each search */
	bool dropped;
	struct ps_column *next;
	TAILQ_ENTRY(ps_column) used; /* while there are blocks */
	struct block **blocks;       /* by number */
	size_t count, cap, size;

	char name[];
};

static struct {
	pthread_mutex_t lock;
	TAILQ_HEAD(column_list, ps_column) columns; /* the last used first */
	size_t size, limit;
} all = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.columns = TAILQ_HEAD_INITIALIZER(all.columns),
	.limit = PS_COLUMNS_MAX,
};

/* What was read of messages of one block. */
struct noted {
	struct entry *entries;
	size_t count, cap;
	struct ps_buf text;
	size_t message; /* entries before the message that is being noted */
};

struct ps_column_search {
	struct ps_column *column;
	struct ps_bytes folded;
	uint32_t number;     /* of the block that is looked at; UINT32_MAX: none yet */
	struct block *block; /* NULL: there is none */
	uint32_t at;         /* the entry looked at last */
	uint32_t hit;        /* the first from there on that contains the text, once `looked`; count: none */
	bool looked;
	struct noted noted;
};

/* ---- blocks -------------------------------------------------------------------------------- */

static uint32_t entry_start(const struct entry *entries, size_t i)
{
	return i > 0 ? entries[i - 1].end : 0;
}

static size_t block_size(size_t count, size_t text)
{
	return sizeof(struct block) + count * sizeof(struct entry) + text;
}

static size_t block_octets(const struct block *block)
{
	return block_size(block->count, entry_start(block->entries, block->count));
}

static struct block *block_ref(struct block *block)
{
	if (block)
		atomic_fetch_add_explicit(&block->refs, 1, memory_order_relaxed);
	return block;
}

static void block_unref(struct block *block)
{
	if (block && atomic_fetch_sub_explicit(&block->refs, 1, memory_order_acq_rel) == 1)
		free(block);
}

static void put_entry(struct block *block, uint8_t **text, const struct entry *entries, size_t i, const uint8_t *from)
{
	uint32_t start = entry_start(entries, i), length = entries[i].end - start;
	uint32_t end = entry_start(block->entries, block->count) + length;

	if (length > 0)
		memcpy(*text, from + start, length);
	*text += length;
	block->entries[block->count++] = (struct entry){entries[i].uid, end};
}

/* A block with what `base` (NULL: nothing) has and what was noted of other messages. */
static struct block *block_merge(const struct block *base, const struct noted *noted, uint32_t number)
{
	size_t i = 0, j = 0, count = base ? base->count : 0;
	size_t octets = (base ? entry_start(base->entries, count) : 0) + noted->text.len;
	struct block *block = ps_malloc(block_size(count + noted->count, octets));
	uint8_t *text = (uint8_t *)&block->entries[count + noted->count];

	atomic_init(&block->refs, 1);
	block->number = number;
	block->count = 0;
	block->text = text;
	while (i < count || j < noted->count) {
		if (j == noted->count || (i < count && base->entries[i].uid < noted->entries[j].uid)) {
			put_entry(block, &text, base->entries, i++, base->text);
		} else if (i == count || noted->entries[j].uid < base->entries[i].uid) {
			put_entry(block, &text, noted->entries, j++, noted->text.ptr);
		} else { /* another search has noted the same message */
			uint32_t uid = noted->entries[j].uid;

			while (j < noted->count && noted->entries[j].uid == uid)
				j++;
		}
	}
	return block;
}

/* The first entry from `from` on that contains the text; count if none. */
static uint32_t block_find(const struct block *block, uint32_t from, struct ps_bytes folded)
{
	uint32_t end = entry_start(block->entries, block->count);

	while (from < block->count) {
		uint32_t start = entry_start(block->entries, from), high = block->count;
		const uint8_t *found = memmem(block->text + start, end - start, folded.ptr, folded.len);
		uint32_t place;

		if (!found)
			break;
		place = (uint32_t)(found - block->text);
		while (high - from > 1) { /* the last entry that starts at or before it */
			uint32_t middle = from + (high - from) / 2;

			if (entry_start(block->entries, middle) <= place)
				from = middle;
			else
				high = middle;
		}
		if (place + folded.len <= block->entries[from].end)
			return from;
		from++; /* it began in one text and ended in another */
	}
	return block->count;
}

/* ---- columns ------------------------------------------------------------------------------- */

/* These with the lock. */

/* Where the block is or would be. */
static size_t place_of(const struct ps_column *column, uint32_t number)
{
	size_t low = 0, high = column->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (column->blocks[middle]->number < number)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static struct block *block_at(const struct ps_column *column, uint32_t number)
{
	size_t at = place_of(column, number);

	return at < column->count && column->blocks[at]->number == number ? column->blocks[at] : NULL;
}

static void column_clear(struct ps_column *column)
{
	if (column->count > 0)
		TAILQ_REMOVE(&all.columns, column, used);
	for (size_t i = 0; i < column->count; i++)
		block_unref(column->blocks[i]);
	free(column->blocks);
	all.size -= column->size;
	column->blocks = NULL;
	column->count = column->cap = column->size = 0;
}

static void column_unref(struct ps_column *column)
{
	if (--column->refs == 0)
		free(column);
}

static struct ps_column *column_create(const char *name)
{
	size_t length = strlen(name) + 1;
	struct ps_column *column = ps_zalloc(sizeof *column + length);

	memcpy(column->name, name, length);
	column->refs = 1;
	return column;
}

/* Makes room at the cost of the other columns. */
static bool make_room(const struct ps_column *column, size_t size)
{
	struct ps_column *last = TAILQ_LAST(&all.columns, column_list);

	while (last && all.size + size > all.limit) {
		struct ps_column *before = TAILQ_PREV(last, column_list, used);

		if (last != column)
			column_clear(last);
		last = before;
	}
	return all.size + size <= all.limit;
}

static void insert_block(struct ps_column *column, struct block *block)
{
	size_t at = place_of(column, block->number), size = block_octets(block);

	if (column->count == column->cap) {
		column->cap = column->cap ? column->cap * 2 : 8;
		column->blocks = ps_realloc(column->blocks, column->cap * sizeof(struct block *));
	}
	memmove(column->blocks + at + 1, column->blocks + at, (column->count - at) * sizeof(struct block *));
	column->blocks[at] = block;
	if (column->count++ == 0)
		TAILQ_INSERT_HEAD(&all.columns, column, used);
	column->size += size;
	all.size += size;
}

static void remove_block(struct ps_column *column, struct block *block)
{
	size_t at = place_of(column, block->number), size = block_octets(block);

	if (--column->count == 0)
		TAILQ_REMOVE(&all.columns, column, used);
	memmove(column->blocks + at, column->blocks + at + 1, (column->count - at) * sizeof(struct block *));
	column->size -= size;
	all.size -= size;
	block_unref(block);
}

/* Takes over the reference. What another search has put there meanwhile stays. */
static void replace_block(struct ps_column *column, struct block *old, struct block *block)
{
	if (column->dropped || block_at(column, block->number) != old) {
		block_unref(block);
		return;
	}
	if (old)
		remove_block(column, old);
	if (make_room(column, block_octets(block)))
		insert_block(column, block);
	else
		block_unref(block);
}

void ps_columns_drop(struct ps_column **columns)
{
	struct ps_column *column;

	pthread_mutex_lock(&all.lock);
	while ((column = *columns)) {
		*columns = column->next;
		column_clear(column);
		column->dropped = true;
		column_unref(column);
	}
	pthread_mutex_unlock(&all.lock);
}

size_t ps_columns_size(void)
{
	size_t size;

	pthread_mutex_lock(&all.lock);
	size = all.size;
	pthread_mutex_unlock(&all.lock);
	return size;
}

void ps_columns_limit(size_t octets)
{
	pthread_mutex_lock(&all.lock);
	all.limit = octets;
	make_room(NULL, 0);
	pthread_mutex_unlock(&all.lock);
}

/* ---- searches ------------------------------------------------------------------------------ */

struct ps_column_search *ps_column_open(struct ps_column **columns, const char *name, struct ps_bytes folded)
{
	struct ps_column_search *search = ps_zalloc(sizeof *search);
	struct ps_column *column;

	search->folded = folded;
	search->number = UINT32_MAX;
	pthread_mutex_lock(&all.lock);
	for (column = *columns; column && ps_strcasecmp(column->name, name) != 0; column = column->next)
		;
	if (!column) {
		column = column_create(name);
		column->next = *columns;
		*columns = column;
	} else if (column->count > 0) {
		TAILQ_REMOVE(&all.columns, column, used);
		TAILQ_INSERT_HEAD(&all.columns, column, used);
	}
	column->refs++;
	search->column = column;
	pthread_mutex_unlock(&all.lock);
	return search;
}

/* What was noted of the block goes into the column. */
static void leave_block(struct ps_column_search *search)
{
	struct noted *noted = &search->noted;
	struct block *block;

	if (noted->count > 0) {
		block = block_merge(search->block, noted, search->number);
		pthread_mutex_lock(&all.lock);
		replace_block(search->column, search->block, block);
		pthread_mutex_unlock(&all.lock);
	}
	noted->count = noted->message = 0;
	ps_buf_reset(&noted->text);
	block_unref(search->block);
	search->block = NULL;
}

static void enter_block(struct ps_column_search *search, uint32_t number)
{
	leave_block(search);
	search->number = number;
	search->at = 0;
	search->looked = false;
	pthread_mutex_lock(&all.lock);
	search->block = block_ref(block_at(search->column, number));
	pthread_mutex_unlock(&all.lock);
}

int ps_column_find(struct ps_column_search *search, uint32_t uid)
{
	const struct block *block;

	if (uid / BLOCK_UIDS != search->number)
		enter_block(search, uid / BLOCK_UIDS);
	if (!(block = search->block))
		return PS_COLUMN_UNKNOWN;
	while (search->at < block->count && block->entries[search->at].uid < uid)
		search->at++;
	if (search->at == block->count || block->entries[search->at].uid != uid)
		return PS_COLUMN_UNKNOWN;
	if (!search->looked || (search->hit < block->count && block->entries[search->hit].uid < uid))
		search->hit = block_find(block, search->at, search->folded);
	search->looked = true;
	return search->hit < block->count && block->entries[search->hit].uid == uid;
}

void ps_column_note(struct ps_column_search *search, uint32_t uid, struct ps_bytes folded)
{
	struct noted *noted = &search->noted;

	if (noted->count == noted->cap) {
		noted->cap = noted->cap ? noted->cap * 2 : 64;
		noted->entries = ps_realloc(noted->entries, noted->cap * sizeof *noted->entries);
	}
	ps_buf_bytes(&noted->text, folded);
	noted->entries[noted->count++] = (struct entry){uid, (uint32_t)noted->text.len};
}

void ps_column_noted(struct ps_column_search *search, uint32_t uid)
{
	struct noted *noted = &search->noted;
	uint32_t start = entry_start(noted->entries, noted->message);

	if (noted->count == noted->message)
		ps_column_note(search, uid, ps_bytes("", 0));
	if (noted->text.failed || noted->text.len - start > MESSAGE_MAX) {
		noted->count = noted->message;
		noted->text.len = start;
		noted->text.failed = false;
	}
	noted->message = noted->count;
}

void ps_column_close(struct ps_column_search *search)
{
	if (!search)
		return;
	leave_block(search);
	pthread_mutex_lock(&all.lock);
	column_unref(search->column);
	pthread_mutex_unlock(&all.lock);
	free(search->noted.entries);
	ps_buf_finish(&search->noted.text);
	free(search);
}
