/* SPDX-License-Identifier: MIT */
/* What the command line asks the relay, by master. */
#include <stdlib.h>
#include "core/delivery/client/client.h"
#include "core/delivery/relay.h"
#include "core/delivery/trace/trace.h"
#include "core/process/relay_ask.h"
#include "postern/error.h"
#include "postern/pool.h"

struct question {
	struct ps_channel *master; /* is there as long as the process */
	uint64_t request;
};

/* A line that is too long would not go through the channel. */
static void tell(void *arg, const char *line)
{
	struct question *question = arg;
	struct ps_msg_ask_answer message = {
		.request = question->request,
		.line = strlen(line) <= PS_ASK_ANSWER_MAX ? line
							  : "{\"ok\":false,\"error\":\"the answer is too long\"}",
	};

	ps_channel_send(question->master, PS_MSG_ASK_ANSWER, &message);
	free(question);
}

static void ask_trace(void *role, const char *line, void (*done)(void *arg, const char *answer), void *arg)
{
	(void)role;
	ps_trace_ask(line, done, arg);
}

static struct ps_queue *queue;
static struct ps_sender *sender;

void relay_ask_of(struct ps_relay *relay)
{
	queue = relay ? ps_relay_queue(relay) : NULL;
	sender = relay ? ps_relay_sender(relay) : NULL;
}

static void ask_queue(void *role, const char *line, void (*done)(void *arg, const char *answer), void *arg)
{
	(void)role;
	if (queue)
		ps_queue_ask(queue, line, done, arg);
	else
		done(arg, "{\"ok\":false,\"error\":\"the relay has no queue\"}");
}

/* {"do": "tls-report", "day": "2026-11-23", "after": domain}, the last two optional. */
static int page_of_tls(const char *line, json_t **ret_page)
{
	enum {
		ROWS = 100 /* as many as an answer has room for */
	};
	json_t *request = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
	const char *subject, *day = NULL, *after = NULL;
	int r;

	if (!sender)
		r = ps_fail(PS_E_CLOSED, "the relay is ending");
	else if (json_unpack(request, "{s:s, s?s, s?s !}", "do", &subject, "day", &day, "after", &after) < 0)
		r = ps_fail(PS_E_SYNTAX, "not a request");
	else
		r = ps_sender_tls_report(sender, day, after, ROWS, ret_page);
	json_decref(request);
	return r;
}

static void ask_tls(void *role, const char *line, void (*done)(void *arg, const char *answer), void *arg)
{
	json_t *page;
	char *text;

	(void)role;
	if (page_of_tls(line, &page) < 0)
		page = json_pack("{s:b, s:s}", "ok", 0, "error", ps_last_error());
	text = json_dumps(page, JSON_COMPACT);
	done(arg, text);
	free(text);
	json_decref(page);
}

/* Who answers what: a row each. */
static const struct {
	const char *subject;
	void (*ask)(void *relay, const char *line, void (*done)(void *arg, const char *answer), void *arg);
} subjects[] = {
	{"trace", ask_trace},
	{"queue", ask_queue},
	{"tls-report", ask_tls},
};

void relay_on_ask(void *arg, struct ps_channel *from, union ps_message *message)
{
	struct question *question = ps_malloc(sizeof *question);

	*question = (struct question){from, message->ask.request};
	for (size_t i = 0; i < PS_ARRAY_LEN(subjects); i++) {
		if (strcmp(subjects[i].subject, message->ask.subject) == 0) {
			subjects[i].ask(arg, message->ask.line, tell, question);
			return;
		}
	}
	tell(question, "{\"ok\":false,\"error\":\"the relay knows nothing of that\"}");
}
