/* SPDX-License-Identifier: MIT */
/* The same by lines of JSON. */
#include <stdlib.h>
#include "core/delivery/queue/queue_private.h"
#include "postern/error.h"

struct question {
	void (*done)(void *arg, const char *answer);
	void *arg;
};

/* Takes the object over. */
static void answer(struct question *question, json_t *object)
{
	char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;

	json_decref(object);
	question->done(question->arg, text ? text : "{\"ok\": false, \"error\": \"no memory\"}");
	free(text);
	free(question);
}

static void answer_error(struct question *question, const char *error)
{
	answer(question, json_pack("{s:b, s:s}", "ok", 0, "error", error));
}

static void on_page(void *arg, int error, struct ps_queue_page *page)
{
	json_t *object;

	if (error < 0) {
		answer_error(arg, ps_last_error());
		return;
	}
	object =
		json_pack("{s:b, s:I, s:I}", "ok", 1, "count", (json_int_t)page->count, "next", (json_int_t)page->next);
	if (object && page->rows)
		json_object_set(object, "rows", page->rows);
	answer(arg, object);
}

static void on_stats(void *arg, const struct ps_queue_stats *stats)
{
	answer(arg,
	       json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:i, s:I, s:I}", "ok", 1, "messages",
			 (json_int_t)stats->messages, "parts", (json_int_t)stats->parts, "octets",
			 (json_int_t)stats->octets, "held", (json_int_t)stats->held, "ready", (json_int_t)stats->ready,
			 "destinations", (json_int_t)stats->destinations, "damaged", (json_int_t)stats->damaged,
			 "oldest", (json_int_t)(stats->oldest_ms / 1000), "active", (int)stats->active, "added",
			 (json_int_t)stats->added, "finished", (json_int_t)stats->finished));
}

/* ---- requests ---------------------------------------------------------------------------------- */

struct request {
	const char *verb;
	struct ps_queue_filter filter;
	json_int_t after, most;
};

static int read_request(json_t *object, struct request *ret_request)
{
	struct ps_queue_filter *filter = &ret_request->filter;
	int held = 0, older = 0, younger = 0;
	const char *subject;
	json_error_t error;

	if (json_unpack_ex(object, &error, JSON_STRICT, "{s?s, s:s, s?s, s?s, s?s, s?s, s?s, s?i, s?i, s?b, s?I, s?I}",
			   "do", &subject, "what", &ret_request->verb, "id", &filter->id, "sender", &filter->sender,
			   "recipient", &filter->recipient, "user", &filter->user, "destination", &filter->destination,
			   "older_than", &older, "younger_than", &younger, "held", &held, "after", &ret_request->after,
			   "most", &ret_request->most) < 0)
		return ps_fail(PS_E_SYNTAX, "%s", error.text);
	if (older < 0 || younger < 0 || ret_request->after < 0 || ret_request->most < 0)
		return ps_fail(PS_E_SYNTAX, "a number below 0");
	filter->older_than = (unsigned)older;
	filter->younger_than = (unsigned)younger;
	filter->held = held;
	return 0;
}

static const struct {
	const char *verb;
	enum ps_queue_act act;
} acts[] = {
	{"hold", PS_QUEUE_HOLD},     {"release", PS_QUEUE_RELEASE}, {"retry", PS_QUEUE_RETRY},
	{"remove", PS_QUEUE_REMOVE}, {"bounce", PS_QUEUE_BOUNCE},
};

static bool run_act(struct ps_queue *queue, const struct request *request, struct question *question)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(acts); i++) {
		if (strcmp(acts[i].verb, request->verb) != 0)
			continue;
		ps_queue_act(queue, acts[i].act, &request->filter, (uint64_t)request->after, on_page, question);
		return true;
	}
	return false;
}

static void run(struct ps_queue *queue, const struct request *request, struct question *question)
{
	uint64_t after = (uint64_t)request->after;
	unsigned most = request->most < 1000 ? (unsigned)request->most : 1000;

	if (strcmp(request->verb, "list") == 0)
		ps_queue_list(queue, &request->filter, after, most, false, on_page, question);
	else if (strcmp(request->verb, "show") == 0)
		ps_queue_list(queue, &request->filter, after, 1, true, on_page, question);
	else if (strcmp(request->verb, "destinations") == 0)
		ps_queue_destinations(queue, after, most, on_page, question);
	else if (strcmp(request->verb, "stats") == 0)
		ps_queue_stats(queue, on_stats, question);
	else if (!run_act(queue, request, question))
		answer_error(question, "the queue knows no such request");
}

void ps_queue_ask(struct ps_queue *queue, const char *request_text, void (*done)(void *arg, const char *answer),
		  void *arg)
{
	struct question *question = ps_malloc(sizeof *question);
	json_t *object = json_loads(request_text, JSON_REJECT_DUPLICATES, NULL);
	struct request request = {0};

	*question = (struct question){done, arg};
	if (!object)
		answer_error(question, "a request is a line of JSON");
	else if (read_request(object, &request) < 0)
		answer_error(question, ps_last_error());
	else
		run(queue, &request, question);
	json_decref(object);
}
