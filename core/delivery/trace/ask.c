/* SPDX-License-Identifier: MIT */
/* Looking into the journal. */
#include <stdlib.h>
#include "core/delivery/trace/private.h"
#include "postern/error.h"

enum {
	MESSAGES = 20, /* when nobody says how many */
	MESSAGES_MAX = 100,
	EVENTS_MAX = 200, /* told of a message: the first half of them and the last */
	LOOKED_AT_MAX = 10000,
	ANSWER_MAX = 100000, /* octets, about; an answer travels between processes in one message */
};

struct search {
	struct trace_view view;
	struct ps_pool *pool;
	const char *ids[MESSAGES_MAX];
	size_t count, most;
	bool more;
};

/* ---- which messages -------------------------------------------------------------------------- */

static void note_id(struct search *search, const struct trace_record *record)
{
	struct ps_bytes id = record->texts[TRACE_ID];

	for (size_t i = 0; i < search->count; i++)
		if (ps_bytes_eq_str(id, search->ids[i]))
			return;
	if (search->count == search->most)
		search->more = true;
	else
		search->ids[search->count++] = ps_pool_strndup(search->pool, (const char *)id.ptr, id.len);
}

/* All numbers under a key, from the last. */
static int find_under(struct search *search, struct ps_bytes key)
{
	MDB_val k = {key.len, (void *)key.ptr}, seq;
	struct trace_record record;
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(search->view.txn, search->view.index, &cursor);

	if (rc)
		return ps_fail(PS_E_CORRUPT, "trace: %s", mdb_strerror(rc));
	if ((rc = mdb_cursor_get(cursor, &k, &seq, MDB_SET)) == 0)
		rc = mdb_cursor_get(cursor, &k, &seq, MDB_LAST_DUP);
	for (size_t n = 0; rc == 0 && !search->more; n++) {
		if (n == LOOKED_AT_MAX)
			search->more = true;
		else if (trace_view_get(&search->view, seq, &record) == 0)
			note_id(search, &record);
		rc = mdb_cursor_get(cursor, &k, &seq, MDB_PREV_DUP);
	}
	mdb_cursor_close(cursor);
	return 0;
}

static int find_messages(struct search *search, const char *what)
{
	static const char kinds[] = {'i', 'm', 'a'};
	struct ps_bytes text = ps_bytes_str(what);
	uint8_t room[TRACE_KEY_MAX];
	int r = 0;

	if (text.len > 2 && text.ptr[0] == '<' && text.ptr[text.len - 1] == '>')
		text = ps_bytes(text.ptr + 1, text.len - 2);
	for (size_t i = 0; i < sizeof kinds && r == 0; i++)
		r = find_under(search, trace_key(kinds[i], text, room));
	return r;
}

/* ---- what became of them --------------------------------------------------------------------- */

/* The first ones and the last: of many attempts those between say the least. */
static void drop_middle(json_t *events)
{
	size_t count = json_array_size(events);

	for (size_t i = EVENTS_MAX; i < count; i++)
		json_array_remove(events, EVENTS_MAX / 2);
}

static json_t *tell_message(struct search *search, const char *id)
{
	uint8_t room[TRACE_KEY_MAX];
	struct ps_bytes key = trace_key('i', ps_bytes_str(id), room);
	MDB_val k = {key.len, (void *)key.ptr}, seq;
	struct trace_record record;
	json_t *events = json_array();
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(search->view.txn, search->view.index, &cursor);

	if (rc == 0) {
		rc = mdb_cursor_get(cursor, &k, &seq, MDB_SET);
		for (size_t n = 0; rc == 0 && n < LOOKED_AT_MAX; n++) {
			/* Under its id are also events of others that name it. */
			if (trace_view_get(&search->view, seq, &record) == 0 &&
			    ps_bytes_eq_str(record.texts[TRACE_ID], id))
				json_array_append_new(events, trace_json(&record));
			rc = mdb_cursor_get(cursor, &k, &seq, MDB_NEXT_DUP);
		}
		mdb_cursor_close(cursor);
	}
	drop_middle(events);
	return json_pack("{s:s, s:o}", "id", id, "events", events);
}

static size_t octets_of(const json_t *object)
{
	return json_dumpb(object, NULL, 0, JSON_COMPACT);
}

static json_t *tell_all(struct search *search)
{
	json_t *messages = json_array();
	size_t octets = 0;

	for (size_t i = 0; i < search->count; i++) {
		json_t *message = tell_message(search, search->ids[i]);

		octets += octets_of(message);
		if (octets > ANSWER_MAX) {
			search->more = true;
			/* A message with much to tell is cut to its ends. */
			for (json_t *events = json_object_get(message, "events");
			     i == 0 && octets > ANSWER_MAX && json_array_size(events) > 2; octets = octets_of(message))
				json_array_remove(events, json_array_size(events) / 2);
		}
		if (octets <= ANSWER_MAX)
			json_array_append(messages, message);
		json_decref(message);
		if (search->more && octets > ANSWER_MAX)
			break;
	}
	return json_pack("{s:b, s:b, s:o}", "ok", 1, "more", search->more, "messages", messages);
}

static json_t *error(const char *text)
{
	return json_pack("{s:b, s:s}", "ok", 0, "error", text);
}

static json_t *look(struct trace_journal *journal, const char *what, json_int_t most)
{
	PS_CLEANUP(ps_pool_destroyp) struct ps_pool *pool = ps_pool_create("trace");
	struct search search = {.pool = pool};
	json_t *answer;

	search.most = most < 1 ? MESSAGES : most > MESSAGES_MAX ? MESSAGES_MAX : (size_t)most;
	if (trace_view_open(journal, &search.view) < 0)
		return error(ps_last_error());
	answer = find_messages(&search, what) < 0 ? error(ps_last_error()) : tell_all(&search);
	trace_view_close(&search.view);
	return answer;
}

char *trace_answer(struct trace_journal *journal, const char *request)
{
	json_t *object = json_loads(request, JSON_REJECT_DUPLICATES, NULL), *answer;
	const char *what = json_string_value(json_object_get(object, "what"));
	char *text;

	if (!what || !*what)
		answer = error("expected {\"what\": an id, a Message-ID or an address}");
	else
		answer = look(journal, what, json_integer_value(json_object_get(object, "most")));
	text = json_dumps(answer, JSON_COMPACT);
	json_decref(answer);
	json_decref(object);
	return text;
}
