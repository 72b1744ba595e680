/* SPDX-License-Identifier: MIT */
/*
 * core/process/own_mail.h - the folders of one user's mail, for a process that is to reach nothing else.
 */
#ifndef CORE_PROCESS_OWN_MAIL_H
#define CORE_PROCESS_OWN_MAIL_H

#include "core/process/confine.h"
#include "core/process/messages.h"
#include "postern/pool.h"

/* Before confinement: the mail location of the user in `about`, and what is mounted in it. Those that are missing are made, and
 * given to the user. PS_E_ACCESS: one is somebody else's, or a link. */
int ps_own_mail(const struct ps_msg_config *about, const struct ps_conf *conf, struct ps_pool *pool,
		struct ps_confine_user *ret_user);

#endif
