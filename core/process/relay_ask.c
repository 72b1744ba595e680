/* SPDX-License-Identifier: MIT */
/* What the command line asks the relay, by master. */
#include <stdlib.h>
#include "core/delivery/queue/queue.h"
#include "core/delivery/trace/trace.h"
#include "core/process/relay_ask.h"
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

void relay_ask_set_queue(struct ps_queue *the_queue)
{
	queue = the_queue;
}

static void ask_queue(void *role, const char *line, void (*done)(void *arg, const char *answer), void *arg)
{
	(void)role;
	if (queue)
		ps_queue_ask(queue, line, done, arg);
	else
		done(arg, "{\"ok\":false,\"error\":\"the relay has no queue\"}");
}

/* Who answers what: a row each. */
static const struct {
	const char *subject;
	void (*ask)(void *relay, const char *line, void (*done)(void *arg, const char *answer), void *arg);
} subjects[] = {
	{"trace", ask_trace},
	{"queue", ask_queue},
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
