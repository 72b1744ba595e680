/* SPDX-License-Identifier: MIT */
/*
 * core/process/placing.h - where each user has a mail process of their own: which one that is, for who has a ticket.
 *
 * Master, shown the ticket, starts the process if there is none, sends the channel to it, and then its number. What has to wait for that,
 * auth's answer with the ticket, waits here.
 */
#ifndef CORE_PROCESS_PLACING_H
#define CORE_PROCESS_PLACING_H

#include "core/process/role.h"

struct ps_placing;

/* The message that has waited. error 0: `mail` is the process; else there is none to be had now. */
typedef void (*ps_placed_fn)(struct ps_role *role, union ps_message *message, int error, uint32_t mail);

struct ps_placing *ps_placing_create(struct ps_role *role, ps_placed_fn placed);
/* Whether a message with this ticket must wait: users have processes of their own, and it is a ticket for one. */
bool ps_placing_must(const struct ps_placing *placing, struct ps_bytes ticket);
/* The message, which has no descriptors, is copied. If master cannot be asked it is given back at once. */
void ps_placing_ask(struct ps_placing *placing, uint32_t type, const void *message, struct ps_bytes ticket);
void ps_placing_answer(struct ps_placing *placing, const struct ps_msg_placed *answer);

#endif
