/* SPDX-License-Identifier: MIT */
/*
 * core/process/relay_ask.h - what the command line asks the relay, by master.
 */
#ifndef CORE_PROCESS_RELAY_ASK_H
#define CORE_PROCESS_RELAY_ASK_H

#include "core/process/role.h"

struct ps_relay;

/* The relay that is asked; NULL: none. */
void relay_ask_of(struct ps_relay *relay);
/* The handler of ASK. Subjects are rows of a table in relay_ask.c. */
void relay_on_ask(void *arg, struct ps_channel *from, union ps_message *message);

#endif
