/* SPDX-License-Identifier: MIT */
/*
 * core/delivery/trace/private.h - what the files of this folder share.
 */
#ifndef CORE_DELIVERY_TRACE_PRIVATE_H
#define CORE_DELIVERY_TRACE_PRIVATE_H

#include <jansson.h>
#include <lmdb.h>
#include "core/delivery/trace/trace.h"
#include "postern/pool.h"

enum {
	TRACE_TEXT_MAX = 1000, /* octets of each text */
	TRACE_KEY_MAX = 200,   /* of an index key; what is longer is found by its beginning */
};

/* ---- record.c: an event as it is kept */

/* Each text: its octets, as they lie in the record; absent: not known. */
enum trace_text {
	TRACE_ID,
	TRACE_MESSAGE_ID,
	TRACE_SENDER,
	TRACE_SOURCE,
	TRACE_USER,
	TRACE_SID,
	TRACE_RECIPIENT,
	TRACE_ORCPT,
	TRACE_MAILBOX,
	TRACE_HOST,
	TRACE_ENHANCED,
	TRACE_TEXT,
	TRACE_OTHER,
	TRACE_TEXTS,
};

struct trace_record {
	uint64_t time; /* ms since 1970 */
	enum ps_trace_kind kind;
	uint32_t code;
	uint64_t size;
	struct ps_bytes texts[TRACE_TEXTS];
};

void trace_pack(const struct ps_trace_event *event, uint64_t time, struct ps_buf *out);
/* PS_E_CORRUPT. */
int trace_unpack(struct ps_bytes octets, struct trace_record *ret_record);
json_t *trace_json(const struct trace_record *record);

/* By what a record is found: calls fn for each key. */
int trace_keys(const struct trace_record *record, int (*fn)(void *arg, struct ps_bytes key), void *arg);
/* A key: its kind ('i': id, 'm': message-id, 'a': address), and the text in lower case. */
struct ps_bytes trace_key(char kind, struct ps_bytes text, uint8_t room[TRACE_KEY_MAX]);

/* ---- journal.c: on disk */

struct trace_journal;
int trace_journal_open(const char *dir, uint64_t octets, struct trace_journal **ret_journal);
void trace_journal_close(struct trace_journal *journal);
/* Called now and then: where it was not used since the last time, LMDB gives back the pages that the largest change took. */
void trace_journal_rest(struct trace_journal *journal);
/* Records, each after its length (four octets), in one transaction; and removes what is older than `oldest`, or too much. */
int trace_journal_add(struct trace_journal *journal, struct ps_bytes records, uint64_t oldest, uint64_t octets);
/* For reading: a transaction, and its tables. */
struct trace_view {
	MDB_txn *txn;
	MDB_dbi events, index;
};
int trace_view_open(struct trace_journal *journal, struct trace_view *ret_view);
void trace_view_close(struct trace_view *view);
/* PS_E_NOTFOUND. The record lasts as long as the view. */
int trace_view_get(const struct trace_view *view, MDB_val seq, struct trace_record *ret_record);

/* ---- ask.c */
char *trace_answer(struct trace_journal *journal, const char *request);

#endif
