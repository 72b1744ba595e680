/* SPDX-License-Identifier: MIT */
/*
 * core/delivery/notice.h - what the server has to tell a user of its own accord, as mail.
 *
 * An extension says it in a mail process (ps_tell_user(), postern/extension.h); the process passes it on to relay, which makes a message of it
 * and queues it with the null reverse-path, for the routes: so it goes where the user's mail goes.
 */
#ifndef CORE_DELIVERY_NOTICE_H
#define CORE_DELIVERY_NOTICE_H

#include "postern/buf.h"

#define PS_NOTICE_SUBJECT_MAX 200
#define PS_NOTICE_TEXT_MAX    8000

/* Who passes on what is said in this process; called from any thread. Without, it is only logged. */
void ps_notices_to(void (*pass)(void *arg, const char *user, const char *subject, const char *text), void *arg);

struct ps_notice {
	const char *user, *subject, *text; /* text: UTF-8 with LF */
	const char *hostname, *id;
	int64_t time;
};
/* The message, in CRLF form. */
void ps_notice_write(const struct ps_notice *notice, struct ps_buf *out);

#endif
