/* SPDX-License-Identifier: MIT */
/*
 * What the files of the catalogue share.
 */
#ifndef CORE_STORE_CATALOGUE_PRIVATE_H
#define CORE_STORE_CATALOGUE_PRIVATE_H

#include "postern/catalogue.h"
#include "postern/io.h"
#include "postern/log.h"

/* ---- state.c: what outlives the index -------------------------------------------------------------- */

int catalogue_read_state(struct ps_store *store); /* with the lock; makes it when it is not there */
int catalogue_write_state(struct ps_catalogue *cat);
int catalogue_check_generation(const struct ps_catalogue *cat); /* PS_E_MOVED */

/* ---- index.c -------------------------------------------------------------------------------------------- */

bool catalogue_index_is_there(struct ps_store *store);
/* Opens the index and fills it if it is new. */
int catalogue_open_index(struct ps_store *store);
/* *ret_number is 0 when there is none, or no index that can be trusted. */
int catalogue_number(struct ps_store *store, const char *name, uint64_t *ret_number);

/* ---- lock.c --------------------------------------------------------------------------------------------- */

/* As ps_catalogue_lock(), but what was left to be done is left. */
int catalogue_lock_to_commit(struct ps_store *store);

/* ---- txn.c ------------------------------------------------------------------------------------------------ */

/* Notes a transaction of this handle; `began`: at its begin, else at its commit. */
void catalogue_note_txn(struct ps_catalogue *cat, uint64_t id, bool began);

#endif
