/* SPDX-License-Identifier: MIT */
/*
 * core/delivery/deliver.h - puts a message into a user's mailbox (mail role).
 */
#ifndef CORE_DELIVERY_DELIVER_H
#define CORE_DELIVERY_DELIVER_H

#include "postern/store.h"

struct ps_deliver_args {
	struct ps_user_info user;
	const char *
		mailbox; /* as somebody typed it behind the user's name; NULL: INBOX, and so where there is no such mailbox */
	const char *reverse_path; /* for Return-Path */
	const char *recipient;    /* for Delivered-To */
	bool refuse_loop;         /* a message that has been here before, by its own Delivered-To: PS_E_CONFLICT */
	struct ps_bytes token;    /* a delivery that is tried again is not doubled */
	int file;                 /* the message in CRLF form, from its start */
	uint64_t size;
};

/* Durable when it returns. Blocks on disk. */
int ps_deliver(const struct ps_conf *core_conf, const struct ps_deliver_args *args);

/* Whether it would be taken: 0, or why not, such as PS_E_QUOTA. `file` and what goes with it do not count; size 0: not known. */
int ps_deliver_ask(const struct ps_conf *core_conf, const struct ps_deliver_args *args);

#endif
