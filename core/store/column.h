/* SPDX-License-Identifier: MIT */
/*
 * core/store/column.h - the texts of one header field in a mailbox, decoded, folded, one behind the other.
 *
 * Searches make them out of what they have read anyway, so that the next one, for another word or a longer one, reads 50
 * octets a message instead of its cache. A message's octets never change and its UID is never given to another: what a
 * column has of a message is right for as long as the mailbox is known, and changes need not be followed. Of which
 * messages it has nothing is for the search to find out.
 *
 * Columns live as long as the mailbox's rows, and all of a process take so much memory at most: those that were not
 * searched for longest go first. Any thread may call any of these.
 */
#ifndef CORE_STORE_COLUMN_H
#define CORE_STORE_COLUMN_H

#include "postern/buf.h"

/* Octets that all columns of the process may take. */
#define PS_COLUMNS_MAX (32u << 20)

enum {
	PS_COLUMN_UNKNOWN = -1
};

struct ps_column;
struct ps_column_search;

/* One search of one column, for messages by UID ascending. `columns` is the mailbox's list; `name` one that
 * ps_cache_has_field() knows; `folded` is not empty and outlives the search. */
struct ps_column_search *ps_column_open(struct ps_column **columns, const char *name, struct ps_bytes folded);
/* What was noted goes into the column. */
void ps_column_close(struct ps_column_search *search); /* close(NULL) does nothing */

/* Whether a field of the message contains the text: 1, 0 or PS_COLUMN_UNKNOWN. */
int ps_column_find(struct ps_column_search *search, uint32_t uid);
/* Of one that was unknown: the texts of its fields, in any number, then that these are all. */
void ps_column_note(struct ps_column_search *search, uint32_t uid, struct ps_bytes folded);
void ps_column_noted(struct ps_column_search *search, uint32_t uid);

/* All of a mailbox that goes. Searches that are under way may go on. */
void ps_columns_drop(struct ps_column **columns);

/* What all take now, and another limit, for tests. */
size_t ps_columns_size(void);
void ps_columns_limit(size_t octets);

#endif
