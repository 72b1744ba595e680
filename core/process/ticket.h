/* SPDX-License-Identifier: MIT */
/*
 * core/process/ticket.h - auth's word to mail that a log-in was right, carried by a front that cannot change it.
 *
 * A ticket is the packed row TICKET of messages.def with an HMAC-SHA256 behind it. The key is made by master at start
 * and known to auth and mail only. It names the mail process that may take it, holds for PS_TICKET_LIFETIME_MS, and is
 * taken once.
 */
#ifndef CORE_PROCESS_TICKET_H
#define CORE_PROCESS_TICKET_H

#include "core/process/messages.h"

#define PS_TICKET_KEY_SIZE    32
#define PS_TICKET_LIFETIME_MS 30000u

/* The service of a ticket that lets one message into a user's mail, and nobody log in. */
#define PS_SERVICE_DELIVERY "delivery"
/* That of who logs in at another server: there is no ticket for it. */
#define PS_SERVICE_AUTH "auth"

struct ps_ticket_key {
	uint8_t octets[PS_TICKET_KEY_SIZE];
};

/* Sets `expires` and `nonce` itself; now_ms is CLOCK_MONOTONIC. */
int ps_ticket_seal(const struct ps_ticket_key *key, struct ps_msg_ticket *ticket, uint64_t now_ms, struct ps_buf *out);

/* Whether it is sealed and holds; it is not taken. The texts of the message point into `sealed`. PS_E_AUTH with the reason. */
int ps_ticket_look(const struct ps_ticket_key *key, struct ps_bytes sealed, uint64_t now_ms,
		   union ps_message *ret_message);

/* What a mail process has taken. It refuses tickets from before `since_ms`, as it cannot know whether a process that
 * was in its place then had taken them; and those for another process, or, if it is `user`'s own, for others. */
struct ps_ticket_book;
struct ps_ticket_book *ps_ticket_book_create(uint32_t mail, const char *user, uint64_t since_ms);
void ps_ticket_book_destroy(struct ps_ticket_book *book);

/* Checks everything and takes it. The texts of ret_ticket point into `sealed`. PS_E_AUTH with the reason. */
int ps_ticket_take(struct ps_ticket_book *book, const struct ps_ticket_key *key, struct ps_bytes sealed,
		   uint64_t now_ms, struct ps_msg_ticket *ret_ticket);

/*
 * A pass: auth's word to relay that the user of a session has logged in to send mail. It goes along with each message of the session, so it is
 * not taken but looked at, and holds for PS_PASS_LIFETIME_MS. Its key only auth and relay have, so it opens nobody's mail.
 */
#define PS_SERVICE_SUBMISSION "submission"
#define PS_PASS_LIFETIME_MS   (24u * 60 * 60 * 1000)

/* Sets `expires` itself. */
int ps_pass_seal(const struct ps_ticket_key *key, struct ps_msg_pass *pass, uint64_t now_ms, struct ps_buf *out);
/* The texts of ret_pass point into `sealed`. PS_E_AUTH: it is none, or not this session's, or no more. */
int ps_pass_check(const struct ps_ticket_key *key, struct ps_bytes sealed, const char *sid, uint64_t now_ms,
		  struct ps_msg_pass *ret_pass);

/* CLOCK_MONOTONIC in milliseconds. */
uint64_t ps_monotonic_ms(void);

#endif
