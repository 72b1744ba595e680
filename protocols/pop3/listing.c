/* SPDX-License-Identifier: MIT */
/* STAT, LIST, UIDL, DELE, RSET: what is answered from the rows. */
#include <inttypes.h>
#include "protocols/pop3/pop3.h"

static bool is_deleted(const struct pop3 *pop3, uint32_t number)
{
	return pop3->marks[number - 1] & POP3_DELETED;
}

uint32_t pop3_number(struct pop3 *pop3, struct ps_bytes argument)
{
	uint32_t number;

	if (ps_bytes_u32(argument, &number) < 0 || number == 0 || number > pop3->count)
		pop3_err(pop3, "No such message");
	else if (is_deleted(pop3, number))
		pop3_err(pop3, "That message is deleted");
	else
		return number;
	return 0;
}

/* How many are not deleted, and their octets. */
static uint32_t count_left(const struct pop3 *pop3, uint64_t *ret_size)
{
	uint32_t count = 0;

	*ret_size = 0;
	for (uint32_t number = 1; number <= pop3->count; number++) {
		if (is_deleted(pop3, number))
			continue;
		count++;
		*ret_size += ps_view_row(pop3->view, number)->size;
	}
	return count;
}

enum pop3_next pop3_stat(struct pop3 *pop3, struct ps_bytes argument)
{
	uint64_t size;
	uint32_t count = count_left(pop3, &size);

	if (argument.len > 0)
		return pop3_err(pop3, "STAT takes no argument");
	ps_session_printf(pop3->session, "+OK %" PRIu32 " %" PRIu64 "\r\n", count, size);
	pop3->errors = 0;
	return POP3_NEXT;
}

/* ---- a line for each -------------------------------------------------------------------------- */

typedef void line_fn(struct pop3 *pop3, uint32_t number);

static void put_size(struct pop3 *pop3, uint32_t number)
{
	ps_session_printf(pop3->session, "%" PRIu32 " %" PRIu64 "\r\n", number, ps_view_row(pop3->view, number)->size);
}

static void put_uid(struct pop3 *pop3, uint32_t number)
{
	char id[POP3_UIDL_SIZE];

	pop3_uidl_format(pop3->uidl, ps_view_row(pop3->view, number), pop3->uid_validity, id);
	ps_session_printf(pop3->session, "%" PRIu32 " %s\r\n", number, id);
}

static enum pop3_next put_all(struct pop3 *pop3, line_fn *put)
{
	while (pop3->at <= pop3->count) {
		uint32_t number = pop3->at++;

		if (!is_deleted(pop3, number))
			put(pop3, number);
		if (number % 256 == 0 && pop3_should_yield(pop3))
			return POP3_WAIT;
	}
	ps_session_printf(pop3->session, ".\r\n");
	return POP3_NEXT;
}

static enum pop3_next put_all_sizes(struct pop3 *pop3)
{
	return put_all(pop3, put_size);
}

static enum pop3_next put_all_uids(struct pop3 *pop3)
{
	return put_all(pop3, put_uid);
}

static enum pop3_next put_one(struct pop3 *pop3, struct ps_bytes argument, line_fn *put)
{
	uint32_t number = pop3_number(pop3, argument);

	if (number == 0)
		return POP3_NEXT;
	ps_session_printf(pop3->session, "+OK ");
	put(pop3, number);
	pop3->errors = 0;
	return POP3_NEXT;
}

enum pop3_next pop3_list(struct pop3 *pop3, struct ps_bytes argument)
{
	uint64_t size;

	if (argument.len > 0)
		return put_one(pop3, argument, put_size);
	ps_session_printf(pop3->session, "+OK %" PRIu32 " messages", count_left(pop3, &size));
	ps_session_printf(pop3->session, " (%" PRIu64 " octets)\r\n", size);
	pop3->at = 1;
	pop3->go_on = put_all_sizes;
	return put_all_sizes(pop3);
}

enum pop3_next pop3_uidl(struct pop3 *pop3, struct ps_bytes argument)
{
	if (argument.len > 0)
		return put_one(pop3, argument, put_uid);
	pop3_ok(pop3, "Unique-ids follow");
	pop3->at = 1;
	pop3->go_on = put_all_uids;
	return put_all_uids(pop3);
}

/* ---- marks ------------------------------------------------------------------------------------- */

enum pop3_next pop3_dele(struct pop3 *pop3, struct ps_bytes argument)
{
	uint32_t number = pop3_number(pop3, argument);

	if (number == 0)
		return POP3_NEXT;
	pop3->marks[number - 1] |= POP3_DELETED;
	return pop3_ok(pop3, "Deleted, when you QUIT");
}

enum pop3_next pop3_rset(struct pop3 *pop3, struct ps_bytes argument)
{
	if (argument.len > 0)
		return pop3_err(pop3, "RSET takes no argument");
	for (uint32_t i = 0; i < pop3->count; i++)
		pop3->marks[i] &= (uint8_t)~POP3_DELETED;
	return pop3_ok(pop3, "Nothing is deleted");
}
