/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include "postern/index.h"

enum {
	KEYWORD_MAX = 250
};

void ps_keyword_table_finish(struct ps_keyword_table *table)
{
	for (int bit = 0; bit < PS_KEYWORDS_MAX; bit++)
		free(table->names[bit]);
	*table = (struct ps_keyword_table){0};
}

int ps_keyword_table_load(struct ps_index_txn *txn, uint64_t key, struct ps_keyword_table *ret_table)
{
	struct ps_keyword_table table = {0};
	struct ps_bytes names;
	int r = ps_index_keywords(txn, key, &names);

	if (r < 0)
		return r;
	for (int bit = 0; names.len > 0 && bit < PS_KEYWORDS_MAX; bit++) {
		const char *name = (const char *)names.ptr;
		size_t len = strlen(name);

		if (len > 0)
			table.names[bit] = ps_strdup(name);
		names = ps_bytes_skip(names, len + 1);
	}
	*ret_table = table;
	return 0;
}

static int last_bit(const struct ps_keyword_table *table)
{
	int bit = PS_KEYWORDS_MAX - 1;

	while (bit >= 0 && !table->names[bit])
		bit--;
	return bit;
}

int ps_keyword_table_save(struct ps_index_txn *txn, uint64_t key, const struct ps_keyword_table *table)
{
	struct ps_buf names = {0};
	int last = last_bit(table), r;

	for (int bit = 0; bit <= last; bit++) {
		ps_buf_str(&names, table->names[bit] ? table->names[bit] : "");
		ps_buf_char(&names, '\0');
	}
	r = ps_index_keywords_put(txn, key, ps_buf_view(&names));
	ps_buf_finish(&names);
	return r;
}

bool ps_keyword_lawful(struct ps_bytes name)
{
	if (name.len == 0 || name.len > KEYWORD_MAX)
		return false;
	for (size_t i = 0; i < name.len; i++)
		if (name.ptr[i] <= ' ' || name.ptr[i] == 0x7f)
			return false;
	return true;
}

int ps_keyword_table_find(const struct ps_keyword_table *table, const char *name)
{
	for (int bit = 0; bit < PS_KEYWORDS_MAX; bit++)
		if (table->names[bit] && ps_strcasecmp(table->names[bit], name) == 0)
			return bit;
	return -1;
}

uint64_t ps_keyword_table_known(const struct ps_keyword_table *table)
{
	uint64_t mask = 0;

	for (int bit = 0; bit < PS_KEYWORDS_MAX; bit++)
		if (table->names[bit])
			mask |= UINT64_C(1) << bit;
	return mask;
}

int ps_keyword_table_add(struct ps_keyword_table *table, const char *name, uint64_t taken)
{
	if (!ps_keyword_lawful(ps_bytes_str(name)))
		return ps_fail(PS_E_INVALID, "not a keyword");
	for (int bit = 0; bit < PS_KEYWORDS_MAX; bit++) {
		if (table->names[bit] || (taken & UINT64_C(1) << bit))
			continue;
		table->names[bit] = ps_strdup(name);
		table->changed = true;
		return bit;
	}
	return ps_fail(PS_E_LIMIT, "a mailbox has at most %d keywords", PS_KEYWORDS_MAX);
}
