/* SPDX-License-Identifier: MIT */
/*
 * core/process/front_mail.h - a front's transactions: questions to the relay role, and its answers.
 */
#ifndef CORE_PROCESS_FRONT_MAIL_H
#define CORE_PROCESS_FRONT_MAIL_H

#include "core/net/front.h"
#include "core/process/role.h"

/* For struct ps_front_hooks; `arg` points to a struct that begins with a pointer to the role. */
int front_mail_from(void *arg, uint64_t number, uint32_t turn, struct ps_session *s,
		    const struct ps_mail_sender *sender, struct ps_bytes ticket);
int front_mail_rcpt(void *arg, uint64_t number, uint32_t turn, const struct ps_mail_recipient *recipient);
int front_mail_data(void *arg, uint64_t number, uint32_t turn);
int front_mail_room(void *arg, uint64_t number, uint32_t turn);
int front_mail_end(void *arg, uint64_t number, uint32_t turn, uint64_t size, bool whole, struct ps_bytes octets);
void front_mail_reset(void *arg, uint64_t number, uint32_t turn);

#endif
