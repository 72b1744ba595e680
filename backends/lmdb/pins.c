/* SPDX-License-Identifier: MIT */
/*
 * Whoever has a body open, or has staged one ahead, holds a shared lock on one octet of the file mail-pins: the one at
 * the body's number. Who removes a body holds the exclusive lock of its octet until that is committed. The kernel
 * gives the locks of a dead process back, and a reader needs no transaction while it waits for a slow client.
 *
 * A lock belongs to the open file, so within a store handle the pins are counted here.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include "backends/lmdb/lmdb_private.h"

static int lock_octet(const struct ps_store *store, uint64_t body, short type)
{
	struct flock lock = {
		.l_type = type, .l_whence = SEEK_SET, .l_start = (off_t)ps_ledger_number(body), .l_len = 1};

	return fcntl(store->pins_fd, F_OFD_SETLK, &lock);
}

static struct pin *find_pin(struct ps_store *store, uint64_t body)
{
	for (size_t i = 0; i < store->pin_count; i++)
		if (store->pins[i].body == body)
			return &store->pins[i];
	return NULL;
}

static void add_pin(struct ps_store *store, struct pin pin)
{
	if (store->pin_count == store->pin_cap) {
		store->pin_cap = store->pin_cap ? store->pin_cap * 2 : 8;
		store->pins = ps_realloc(store->pins, store->pin_cap * sizeof *store->pins);
	}
	store->pins[store->pin_count++] = pin;
}

static void remove_pin(struct ps_store *store, struct pin *pin)
{
	lock_octet(store, pin->body, F_UNLCK);
	*pin = store->pins[--store->pin_count];
}

int pin_take(struct ps_store *store, uint64_t body)
{
	struct pin *pin;
	int r = 0;

	pthread_mutex_lock(&store->lock);
	pin = find_pin(store, body);
	if (pin && !pin->doomed)
		pin->count++;
	else if (pin || (lock_octet(store, body, F_RDLCK) < 0 && (errno == EAGAIN || errno == EACCES)))
		r = ps_fail(PS_E_GONE, "the message was expunged");
	else if (lock_octet(store, body, F_RDLCK) < 0)
		r = ps_fail_errno("lock a message of %s", store->user);
	else
		add_pin(store, (struct pin){.body = body, .count = 1});
	pthread_mutex_unlock(&store->lock);
	return r;
}

void pin_drop(struct ps_store *store, uint64_t body)
{
	struct pin *pin;

	pthread_mutex_lock(&store->lock);
	pin = find_pin(store, body);
	if (pin && --pin->count == 0)
		remove_pin(store, pin);
	pthread_mutex_unlock(&store->lock);
}

bool pin_doom(struct ps_store *store, uint64_t body)
{
	bool alone;

	pthread_mutex_lock(&store->lock);
	alone = !find_pin(store, body) && lock_octet(store, body, F_WRLCK) == 0;
	if (alone)
		add_pin(store, (struct pin){.body = body, .doomed = true});
	pthread_mutex_unlock(&store->lock);
	return alone;
}

void pin_undoom(struct ps_store *store, uint64_t body)
{
	struct pin *pin;

	pthread_mutex_lock(&store->lock);
	pin = find_pin(store, body);
	if (pin)
		remove_pin(store, pin);
	pthread_mutex_unlock(&store->lock);
}
