/* SPDX-License-Identifier: MIT */
/* The numbers that outlive the index, in postern-control/state; generations. */
#include "core/store/catalogue/catalogue_private.h"

enum {
	STATE_SIZE = 24,
	MODSEQ_BLOCK =
		10000, /* how far ahead modseqs are reserved. A crash that loses the index skips what is left of a block */
	MODSEQ_PER_SECOND = 1000000
};

static void take_state(struct ps_catalogue *cat, const uint8_t state[STATE_SIZE])
{
	const struct ps_catalogue_layout *at = &cat->files->layout;

	memcpy(&cat->modseq_reserved, state + at->modseq, sizeof cat->modseq_reserved);
	memcpy(&cat->stored_generation, state + at->generation, sizeof cat->stored_generation);
	memcpy(&cat->uid_validity_high, state + at->uid_validity, sizeof cat->uid_validity_high);
	if (cat->stored_generation == 0) /* of before there were any */
		cat->stored_generation = 1;
}

int catalogue_write_state(struct ps_catalogue *cat)
{
	const struct ps_catalogue_layout *at = &cat->files->layout;
	uint8_t state[STATE_SIZE] = {0};

	memcpy(state + at->modseq, &cat->modseq_reserved, sizeof cat->modseq_reserved);
	memcpy(state + at->generation, &cat->stored_generation, sizeof cat->stored_generation);
	memcpy(state + at->uid_validity, &cat->uid_validity_high, sizeof cat->uid_validity_high);
	return ps_state_write(cat->control_fd, PS_CATALOGUE_STATE, state, sizeof state);
}

/* A store that had a state and lost it goes on above all it can have told: a modseq from the clock. */
static int make_state(struct ps_store *store, bool lost)
{
	struct ps_catalogue *cat = ps_catalogue_of(store);
	uint64_t known = 0, generation = 0;
	int r;

	if (lost && ((r = catalogue_number(store, "modseq", &known)) < 0 ||
		     (r = catalogue_number(store, "generation", &generation)) < 0))
		return r;
	cat->uid_validity_high = (uint32_t)ps_catalogue_now();
	cat->modseq_reserved = 0;
	cat->stored_generation = 1;
	if (lost) {
		ps_log(PS_LOG_WARNING, "state_lost", "backend", cat->files->name, "user", cat->user, NULL);
		cat->modseq_reserved = (uint64_t)ps_catalogue_now() * MODSEQ_PER_SECOND;
		if (known > cat->modseq_reserved)
			cat->modseq_reserved = known + MODSEQ_PER_SECOND;
		if (generation > 0)
			cat->stored_generation = generation;
	}
	return catalogue_write_state(cat);
}

int catalogue_read_state(struct ps_store *store)
{
	struct ps_catalogue *cat = ps_catalogue_of(store);
	uint8_t state[STATE_SIZE];
	int r = ps_state_read(cat->control_fd, PS_CATALOGUE_STATE, state, sizeof state);

	if (r == 0)
		take_state(cat, state);
	if (r == PS_E_CORRUPT || r == PS_E_NOTFOUND)
		return make_state(store, r == PS_E_CORRUPT || cat->files->had_state(store));
	return r;
}

int ps_catalogue_reserve(struct ps_catalogue_txn *t)
{
	struct ps_catalogue *cat = ps_catalogue_of(t->store);
	uint64_t old = cat->modseq_reserved;
	int r;

	if (t->modseq <= old)
		return 0;
	cat->modseq_reserved = t->modseq + MODSEQ_BLOCK;
	if ((r = catalogue_write_state(cat)) < 0)
		cat->modseq_reserved = old;
	return r;
}

static int next_validity(const struct ps_catalogue *cat, uint32_t *ret_validity)
{
	int64_t now = ps_catalogue_now();

	if (cat->uid_validity_high == UINT32_MAX)
		return ps_fail(PS_E_LIMIT, "no UIDVALIDITY is left");
	*ret_validity = cat->uid_validity_high + 1;
	if (now > *ret_validity && now < UINT32_MAX)
		*ret_validity = (uint32_t)now;
	return 0;
}

int ps_catalogue_uid_validity(struct ps_catalogue_txn *t, uint32_t wanted, uint32_t *ret_uid_validity)
{
	struct ps_catalogue *cat = ps_catalogue_of(t->store);
	uint32_t validity = wanted, old = cat->uid_validity_high;
	int r;

	if (validity == 0 && (r = next_validity(cat, &validity)) < 0)
		return r;
	if (validity > old) {
		cat->uid_validity_high = validity;
		if ((r = catalogue_write_state(cat)) < 0) {
			cat->uid_validity_high = old;
			return r;
		}
	}
	*ret_uid_validity = validity;
	return 0;
}

/* ---- generations ----------------------------------------------------------------------------- */

int catalogue_check_generation(const struct ps_catalogue *cat)
{
	if (cat->generation == 0 || cat->generation == cat->stored_generation)
		return 0;
	return ps_fail(PS_E_MOVED, "the store of %s has generation %llu, not %llu", cat->user,
		       (unsigned long long)cat->stored_generation, (unsigned long long)cat->generation);
}

int ps_catalogue_generation(struct ps_store *store, uint64_t *ret_generation)
{
	struct ps_catalogue *cat = ps_catalogue_of(store);
	uint8_t state[STATE_SIZE];
	uint64_t generation;
	int r = ps_state_read(cat->control_fd, PS_CATALOGUE_STATE, state, sizeof state);

	if (r < 0)
		return r;
	memcpy(&generation, state + cat->files->layout.generation, sizeof generation);
	*ret_generation = generation ? generation : 1;
	return 0;
}

/* For the day when the state file is lost. */
static void note_generation(struct ps_store *store, uint64_t generation)
{
	struct ps_catalogue_txn t;

	if (ps_catalogue_txn_begin(store, &t) < 0)
		return;
	if (ps_index_number_put(t.txn, "generation", generation) < 0)
		ps_catalogue_txn_end(&t);
	else
		ps_catalogue_txn_commit(&t);
}

static int set_generation(struct ps_store *store, uint64_t generation)
{
	struct ps_catalogue *cat = ps_catalogue_of(store);
	uint64_t old = cat->stored_generation;
	int r;

	if (generation <= old)
		return ps_fail(PS_E_INVALID, "generation %llu is not above the present one",
			       (unsigned long long)generation);
	cat->stored_generation = generation;
	if ((r = catalogue_write_state(cat)) < 0) {
		cat->stored_generation = old;
		return r;
	}
	cat->generation = generation;
	note_generation(store, generation);
	return 0;
}

int ps_catalogue_set_generation(struct ps_store *store, uint64_t generation)
{
	int r = ps_catalogue_lock(store);

	if (r < 0)
		return r;
	r = set_generation(store, generation);
	ps_catalogue_unlock(store);
	return r;
}
