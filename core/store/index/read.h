/* SPDX-License-Identifier: MIT */
/* A read of a backend that has its metadata in an index. */
#ifndef CORE_STORE_INDEX_READ_H
#define CORE_STORE_INDEX_READ_H

#include "postern/indexed.h"

struct ps_ledger;

struct ps_read {
	struct ps_index *index;
	struct ps_index_txn *txn;
	struct ps_pool *pool;
	const char **subscribed; /* in order; NULL: not made yet, or there are none */
	size_t subscribed_count;
	unsigned subscribed_asked; /* how often it was asked for one of them */
	struct ps_ledger *ledger;  /* whose caches may wait; or NULL */
};

#endif
