/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include "core/base/hash.h"
#include "core/message/subject.h"
#include "core/store/subjects.h"
#include "postern/pool.h"

#define NONE UINT32_MAX

struct subject {
	struct ps_hash hash; /* of the base subject, folded */
	bool empty, reply;
};

struct slot {
	uint32_t message; /* one that has the subject; NONE: empty */
	uint32_t entry;
};

struct ps_subjects {
	struct subject *subjects;
	struct slot *table; /* open addressing */
	size_t slots;
	struct ps_hash_key key;
	struct ps_buf text, folded;
};

struct ps_subjects *ps_subjects_create(size_t messages)
{
	struct ps_subjects *subjects = ps_zalloc(sizeof *subjects);

	for (subjects->slots = 16; subjects->slots < 2 * messages;)
		subjects->slots *= 2;
	subjects->subjects = ps_malloc((messages + 1) * sizeof *subjects->subjects);
	subjects->table = ps_malloc(subjects->slots * sizeof *subjects->table);
	memset(subjects->table, 0xff, subjects->slots * sizeof *subjects->table);
	ps_hash_key_init(&subjects->key);
	return subjects;
}

void ps_subjects_destroy(struct ps_subjects *subjects)
{
	if (!subjects)
		return;
	free(subjects->subjects);
	free(subjects->table);
	ps_buf_finish(&subjects->text);
	ps_buf_finish(&subjects->folded);
	free(subjects);
}

void ps_subjects_add(struct ps_subjects *subjects, uint32_t message, const struct ps_cache *cache)
{
	bool reply = false;

	ps_buf_reset(&subjects->text);
	ps_buf_reset(&subjects->folded);
	if (cache)
		ps_cache_base_subject(cache, &subjects->text, &reply);
	ps_casefold(ps_buf_view(&subjects->text), &subjects->folded);
	subjects->subjects[message] = (struct subject){
		.hash = ps_hash(&subjects->key, ps_buf_view(&subjects->folded)),
		.empty = subjects->folded.len == 0,
		.reply = reply,
	};
}

bool ps_subjects_empty(const struct ps_subjects *subjects, uint32_t message)
{
	return subjects->subjects[message].empty;
}

bool ps_subjects_reply(const struct ps_subjects *subjects, uint32_t message)
{
	return subjects->subjects[message].reply;
}

uint32_t *ps_subjects_entry(struct ps_subjects *subjects, uint32_t message)
{
	const struct ps_hash *hash = &subjects->subjects[message].hash;
	size_t at = (size_t)hash->h[0] & (subjects->slots - 1);
	struct slot *slot;

	while ((slot = &subjects->table[at])->message != NONE &&
	       !ps_hash_eq(&subjects->subjects[slot->message].hash, hash))
		at = (at + 1) & (subjects->slots - 1);
	slot->message = message;
	return &slot->entry;
}
