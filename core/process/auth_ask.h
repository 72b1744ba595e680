/* SPDX-License-Identifier: MIT */
/* core/process/auth_ask.h - what the command line asks auth, by master: who a user is. */
#ifndef CORE_PROCESS_AUTH_ASK_H
#define CORE_PROCESS_AUTH_ASK_H

#include "auth/service.h"
#include "core/process/channel.h"

/* {"do": "user", "name": NAME in its one spelling}. */
void auth_ask(struct ps_auth_service *service, struct ps_channel *master, const struct ps_msg_ask *ask);

#endif
