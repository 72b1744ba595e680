/* SPDX-License-Identifier: MIT */
/*
 * A node is a message id; it has a message, or is a dummy that was only referred to. Links go from child to parent, so
 * nothing here descends, however deep a thread is. Of an id its hash is kept, under a key that nobody knows.
 *
 * Two limits guard against mail that is made to cost. Both give messages that belong together different threads at
 * worst: how many dummies there may be, and how many steps may be spent on looking for loops.
 */
#include <stdlib.h>
#include "core/base/hash.h"
#include "core/message/msgid.h"
#include "core/message/subject.h"
#include "core/store/references.h"
#include "postern/pool.h"

#define NONE UINT32_MAX

enum {
	DUMMIES_PER_MESSAGE = 4,
	DUMMIES_MIN = 1 << 16,
	STEPS_PER_MESSAGE = 1000,
	STEPS_MIN = 1 << 20,
};

struct node {
	struct ps_hash id;
	uint32_t parent;
	uint32_t message;  /* NONE: a dummy */
	uint32_t children; /* of a dummy that is kept: messages it will have */
	uint32_t given;    /* of such a one: what it is called outside */
};

struct ps_references {
	struct node *nodes;
	size_t count, cap;
	uint32_t *table; /* open addressing; NONE: empty */
	size_t slots;    /* a power of two, at least twice the nodes with an id */
	size_t named;
	uint32_t *of_message;
	size_t messages, dummies, dummies_max;
	uint64_t steps; /* that may still be spent */
	uint32_t given;
	struct ps_hash_key key;
	struct ps_buf field, id;
};

struct ps_references *ps_references_create(size_t messages)
{
	struct ps_references *refs = ps_zalloc(sizeof *refs);

	refs->messages = messages;
	refs->dummies_max = messages * DUMMIES_PER_MESSAGE + DUMMIES_MIN;
	refs->steps = (uint64_t)messages * STEPS_PER_MESSAGE + STEPS_MIN;
	refs->of_message = ps_malloc((messages + 1) * sizeof *refs->of_message);
	ps_hash_key_init(&refs->key);
	return refs;
}

void ps_references_destroy(struct ps_references *refs)
{
	if (!refs)
		return;
	free(refs->nodes);
	free(refs->table);
	free(refs->of_message);
	ps_buf_finish(&refs->field);
	ps_buf_finish(&refs->id);
	free(refs);
}

/* ---- nodes ------------------------------------------------------------------------------------- */

static uint32_t add_node(struct ps_references *refs, const struct ps_hash *id)
{
	if (refs->count == refs->cap) {
		refs->cap = refs->cap ? refs->cap * 2 : 64;
		refs->nodes = ps_realloc(refs->nodes, refs->cap * sizeof *refs->nodes);
	}
	refs->nodes[refs->count] = (struct node){.id = *id, .parent = NONE, .message = NONE, .given = NONE};
	return (uint32_t)refs->count++;
}

static uint32_t *slot_of(struct ps_references *refs, const struct ps_hash *id)
{
	size_t at = (size_t)id->h[0] & (refs->slots - 1);

	while (refs->table[at] != NONE && !ps_hash_eq(&refs->nodes[refs->table[at]].id, id))
		at = (at + 1) & (refs->slots - 1);
	return &refs->table[at];
}

static void grow_table(struct ps_references *refs)
{
	uint32_t *old = refs->table;
	size_t slots = refs->slots;

	refs->slots = slots ? slots * 2 : 256;
	refs->table = ps_malloc(refs->slots * sizeof *refs->table);
	memset(refs->table, 0xff, refs->slots * sizeof *refs->table);
	for (size_t i = 0; i < slots; i++)
		if (old[i] != NONE)
			*slot_of(refs, &refs->nodes[old[i]].id) = old[i];
	free(old);
}

/* The node of an id; `create`: if there is none, a dummy. */
static uint32_t find_node(struct ps_references *refs, struct ps_bytes id, bool create)
{
	struct ps_hash hash = ps_hash(&refs->key, id);
	uint32_t *slot;

	if (refs->named * 2 >= refs->slots)
		grow_table(refs);
	slot = slot_of(refs, &hash);
	if (*slot == NONE && create) {
		*slot = add_node(refs, &hash);
		refs->named++;
		refs->dummies++;
	}
	return *slot;
}

/* ---- links ------------------------------------------------------------------------------------- */

/* Whether `parent` is `child` or below it. A node without children is above nothing, and that is most of them. */
static bool is_below(struct ps_references *refs, uint32_t parent, uint32_t child)
{
	if (parent == child)
		return true;
	if (refs->nodes[child].children == 0)
		return false;
	while ((parent = refs->nodes[parent].parent) != NONE) {
		if (parent == child || refs->steps == 0)
			return true;
		refs->steps--;
	}
	return false;
}

static void link_nodes(struct ps_references *refs, uint32_t parent, uint32_t child)
{
	if (is_below(refs, parent, child))
		return;
	refs->nodes[child].parent = parent;
	refs->nodes[parent].children++;
}

static void unlink_node(struct ps_references *refs, uint32_t child)
{
	uint32_t parent = refs->nodes[child].parent;

	if (parent != NONE)
		refs->nodes[parent].children--;
	refs->nodes[child].parent = NONE;
}

/* ---- step 1 ------------------------------------------------------------------------------------ */

/* The first message of an id has it; all others get one that is nobody's. */
static uint32_t node_of_message(struct ps_references *refs, const struct ps_cache *cache)
{
	static const struct ps_hash nobodys;
	struct ps_bytes value;
	uint32_t node = NONE;

	if (cache && ps_cache_first_field(cache, "Message-ID", &refs->field, &value) &&
	    ps_msgid_next(&value, &refs->id))
		node = find_node(refs, ps_buf_view(&refs->id), true);
	if (node == NONE || refs->nodes[node].message != NONE)
		return add_node(refs, &nobodys);
	refs->dummies--;
	return node;
}

/* Each reference is the parent of the next, unless that has one. The last one; NONE: there are no valid ids. */
static uint32_t link_references(struct ps_references *refs, struct ps_bytes value)
{
	uint32_t last = NONE;

	while (ps_msgid_next(&value, &refs->id)) {
		uint32_t node = find_node(refs, ps_buf_view(&refs->id), refs->dummies < refs->dummies_max);

		if (node == NONE)
			continue;
		if (last != NONE && refs->nodes[node].parent == NONE)
			link_nodes(refs, last, node);
		last = node;
	}
	return last;
}

static uint32_t last_reference(struct ps_references *refs, const struct ps_cache *cache)
{
	struct ps_bytes value;
	uint32_t last = NONE;

	if (ps_cache_first_field(cache, "References", &refs->field, &value))
		last = link_references(refs, value);
	/* The first one only: senders put other addresses in brackets there, too. */
	if (last == NONE && ps_cache_first_field(cache, "In-Reply-To", &refs->field, &value) &&
	    ps_msgid_next(&value, &refs->id))
		last = find_node(refs, ps_buf_view(&refs->id), refs->dummies < refs->dummies_max);
	return last;
}

void ps_references_add(struct ps_references *refs, uint32_t message, const struct ps_cache *cache)
{
	uint32_t node = node_of_message(refs, cache);
	uint32_t parent;

	refs->nodes[node].message = message;
	refs->of_message[message] = node;
	parent = cache ? last_reference(refs, cache) : NONE;
	unlink_node(refs, node);
	if (parent != NONE)
		link_nodes(refs, parent, node);
}

/* ---- steps 2 and 3 ----------------------------------------------------------------------------- */

static bool passed_over(const struct ps_references *refs, uint32_t node)
{
	return refs->nodes[node].message == NONE && refs->nodes[node].parent != NONE;
}

/* The nearest above that is a message, or else the topmost. The dummies passed are linked to it, so that each is passed
 * once. */
static uint32_t kept_above(struct ps_references *refs, uint32_t node)
{
	uint32_t kept = refs->nodes[node].parent;

	if (kept == NONE)
		return NONE;
	while (passed_over(refs, kept))
		kept = refs->nodes[kept].parent;
	for (uint32_t at = refs->nodes[node].parent, next; at != kept; at = next) {
		next = refs->nodes[at].parent;
		refs->nodes[at].parent = kept;
	}
	return kept;
}

void ps_references_prune(struct ps_references *refs, uint32_t message)
{
	uint32_t kept = kept_above(refs, refs->of_message[message]);

	if (kept == NONE || refs->nodes[kept].message != NONE)
		return;
	/* What was counted before, were links. */
	if (refs->nodes[kept].given == NONE) {
		refs->nodes[kept].given = 0;
		refs->nodes[kept].children = 0;
	}
	refs->nodes[kept].children++;
}

uint32_t ps_references_parent(struct ps_references *refs, uint32_t message)
{
	uint32_t kept = kept_above(refs, refs->of_message[message]);
	struct node *node = kept == NONE ? NULL : &refs->nodes[kept];

	if (!node || (node->message == NONE && node->children == 1))
		return PS_NO_PARENT;
	if (node->message != NONE)
		return node->message;
	if (node->given == 0)
		node->given = (uint32_t)refs->messages + refs->given++;
	return node->given;
}

uint32_t ps_references_dummies(const struct ps_references *refs)
{
	return refs->given;
}

size_t ps_references_nodes(const struct ps_references *refs)
{
	return refs->count;
}
