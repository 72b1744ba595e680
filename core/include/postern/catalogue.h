/* SPDX-License-Identifier: MIT */
/*
 * postern/catalogue.h - for backends whose files are the truth, and whose index can be thrown away.     [in-tree]
 */
#ifndef POSTERN_CATALOGUE_H
#define POSTERN_CATALOGUE_H

#include "postern/index.h"
#include "postern/pool.h"

/*
 * ---- modseqs that a batch brought along ---------------------------------------------------------
 *
 * A batch for a copy of another store says which modseqs its messages get, and no file keeps them: they are in the index alone. So where
 * such a batch changes files, the backend's record of what it is about to do has them too; and should the index not learn of the
 * batch, because the process died or it could not be written, the next scan of the mailbox gives messages the modseqs that
 * they were to have, and not new ones.
 */
struct ps_brought {
	uint64_t key;    /* of the mailbox */
	uint64_t batch;  /* the batch's modseq */
	uint64_t modseq; /* the message's */
	uint32_t uid;
	uint32_t spare;
};
/* What a record says of one mailbox, for a scan of it. */
struct ps_brought_table {
	struct ps_brought *rows; /* by UID */
	size_t count;
};

/* One that has nothing to say, as it would get the same modseq anyway, is left out. */
void ps_brought_put(struct ps_buf *record, const struct ps_batch *batch, const struct ps_brought *one);
/* Of `record` (any number of struct ps_brought) what is about this mailbox, if the index does not know of the batch yet; then the box's
 * highest_modseq and *modseq, the last one given, become at least the batch's. */
void ps_brought_find(struct ps_bytes record, struct ps_index_box *box, struct ps_pool *pool, uint64_t *modseq,
		     struct ps_brought_table *ret_table);
uint64_t ps_brought_modseq(const struct ps_brought_table *table, uint32_t uid); /* 0: none */

#endif
