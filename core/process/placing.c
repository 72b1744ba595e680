/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <sys/queue.h>
#include "core/process/placing.h"
#include "postern/error.h"
#include "postern/pool.h"

struct waiting {
	LIST_ENTRY(waiting) link;
	uint64_t number;
	struct ps_packed packed;
};

struct ps_placing {
	struct ps_role *role;
	ps_placed_fn placed;
	uint64_t last;
	LIST_HEAD(, waiting) waiting;
};

struct ps_placing *ps_placing_create(struct ps_role *role, ps_placed_fn placed)
{
	struct ps_placing *placing = ps_zalloc(sizeof *placing);

	placing->role = role;
	placing->placed = placed;
	return placing;
}

/* A pass is shown to relay, and opens nobody's mail. */
bool ps_placing_must(const struct ps_placing *placing, struct ps_bytes ticket)
{
	return placing->role->about.mails == 0 && ps_message_type(ticket) == PS_MSG_TICKET;
}

static void give_back(struct ps_placing *placing, struct waiting *waiting, int error, uint32_t mail)
{
	union ps_message message;

	LIST_REMOVE(waiting, link);
	if (ps_message_unpack(ps_buf_view(&waiting->packed.octets), NULL, 0, &message) == 0)
		placing->placed(placing->role, &message, error, mail);
	ps_buf_wipe(&waiting->packed.octets);
	free(waiting);
}

void ps_placing_ask(struct ps_placing *placing, uint32_t type, const void *message, struct ps_bytes ticket)
{
	struct waiting *waiting = ps_zalloc(sizeof *waiting);
	struct ps_msg_place place = {.number = ++placing->last, .ticket = ticket};

	waiting->number = place.number;
	LIST_INSERT_HEAD(&placing->waiting, waiting, link);
	/* It came packed, and is no longer now. */
	if (ps_message_pack(type, message, &waiting->packed) < 0 ||
	    ps_channel_send(placing->role->master, PS_MSG_PLACE, &place) < 0)
		give_back(placing, waiting, PS_E_CLOSED, 0);
}

void ps_placing_answer(struct ps_placing *placing, const struct ps_msg_placed *answer)
{
	struct waiting *waiting;

	LIST_FOREACH(waiting, &placing->waiting, link)
	{
		if (waiting->number != answer->number)
			continue;
		give_back(placing, waiting, -(int)answer->error, answer->mail);
		return;
	}
}
