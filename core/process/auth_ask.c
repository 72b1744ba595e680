/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include "auth/entry_json.h"
#include "core/process/auth_ask.h"
#include "postern/error.h"
#include "postern/log.h"

struct question {
	struct ps_pool *pool;
	struct ps_channel *master; /* is there as long as the process */
	uint64_t request;
	struct ps_looking looking;
};

/* Takes the object over, and ends the question. */
static void tell(struct question *question, json_t *answer)
{
	PS_CLEANUP(ps_freep) char *line = json_dumps(answer, JSON_COMPACT);
	struct ps_msg_ask_answer message = {.request = question->request, .line = line};

	json_decref(answer);
	if (!line || ps_channel_send(question->master, PS_MSG_ASK_ANSWER, &message) < 0)
		ps_log(PS_LOG_ERROR, "answer_lost", "msg", ps_last_error(), NULL);
	ps_pool_destroy(question->pool);
}

static void found(void *arg, int r, const struct ps_user_entry *entry)
{
	if (r == 0)
		tell(arg, json_pack("{s:b, s:o}", "ok", 1, "user", ps_entry_to_json(entry)));
	else if (r == PS_E_NOTFOUND)
		tell(arg, json_pack("{s:b, s:n}", "ok", 1, "user"));
	else
		tell(arg, json_pack("{s:b, s:s}", "ok", 0, "error",
				    "the user databases cannot tell now; the server's log says why"));
}

void auth_ask(struct ps_auth_service *service, struct ps_channel *master, const struct ps_msg_ask *ask)
{
	struct ps_pool *pool = ps_pool_create("question");
	struct question *question = PS_NEW(pool, struct question);
	json_t *request = json_loads(ask->line, JSON_REJECT_DUPLICATES, NULL);
	const char *name = ps_pool_strdup(pool, json_string_value(json_object_get(request, "name")));

	json_decref(request);
	*question = (struct question){.pool = pool, .master = master, .request = ask->request};
	question->looking = (struct ps_looking){.done = found, .arg = question};
	if (name)
		ps_auth_service_find(service, name, pool, &question->looking);
	else
		tell(question, json_pack("{s:b, s:s}", "ok", 0, "error", "say whom: \"name\""));
}
