/* SPDX-License-Identifier: MIT */
/* Auth wants to know by which credentials sessions are live; master, who has channels to all, asks as for `postern who`. */
#include "core/process/master.h"

/* Requests of the control socket are small numbers. */
#define ROLL_CALL (UINT64_C(1) << 63)

void roll_call(struct master *master, uint64_t round)
{
	struct ps_msg_who message = {.request = round | ROLL_CALL};

	master->roll.round = round;
	master->roll.missing = children_ask_sessions(master, PS_MSG_WHO, &message);
}

bool roll_row(struct master *master, const struct ps_msg_who_row *row)
{
	struct ps_msg_live message = {.user = row->user, .credential = row->credential};

	if (!(row->request & ROLL_CALL))
		return false;
	children_send(master, PS_ROLE_AUTH, PS_MSG_LIVE, &message);
	return true;
}

bool roll_end(struct master *master, const struct ps_msg_who_end *end)
{
	struct ps_msg_roll_called message = {.round = master->roll.round};

	if (!(end->request & ROLL_CALL))
		return false;
	if ((end->request & ~ROLL_CALL) == master->roll.round && master->roll.missing && --master->roll.missing == 0)
		children_send(master, PS_ROLE_AUTH, PS_MSG_ROLL_CALLED, &message);
	return true;
}
