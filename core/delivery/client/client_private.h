/* SPDX-License-Identifier: MIT */
/*
 * core/delivery/client/client_private.h - shared by the files of this folder.
 *
 * A transfer is one call of ps_send(): who is to get what, and the hosts that may take it (hosts.c). A session is one connection
 * (session.c); dialogue.c says what is sent on it and what a reply means, message.c carries mail transactions out. A session works for one
 * transfer at a time, or is idle.
 */
#ifndef CORE_DELIVERY_CLIENT_CLIENT_PRIVATE_H
#define CORE_DELIVERY_CLIENT_CLIENT_PRIVATE_H

#include <arpa/inet.h>
#include "core/delivery/client/caps.h"
#include "core/delivery/client/client.h"
#include "core/delivery/client/outgoing.h"
#include "core/delivery/client/reply.h"
#include "core/delivery/client/sts.h"
#include "core/delivery/client/tlsrpt.h"
#include "core/delivery/client/wire.h"
#include "core/dns/resolver.h"
#include "postern/envelope.h"
#include "postern/pool.h"

enum {
	BATCH_MAX = 100, /* recipients of one transaction: RFC 5321 section 4.5.3.1.8 */
	TRIES_MAX = 20,  /* addresses for one transfer */
	PENDING_MAX = BATCH_MAX + 4,
};

struct ps_sender {
	struct ps_loop *loop;
	struct ps_sender_options options;
	char *hostname, *ca_file;
	struct tls_trust *trust;
	struct sts *sts;       /* NULL: not asked for */
	struct tlsrpt *report; /* NULL: nothing is counted */
	struct smtp_transfer *transfers;
	struct smtp_session *sessions;
};

/* Something that is wrong, and what follows from it for those who are not settled yet. */
struct trouble {
	enum ps_send_outcome outcome;
	unsigned code;
	const char *enhanced, *text, *host;
};

enum recipient_state {
	RCPT_OPEN,     /* to be asked for, or asked for */
	RCPT_ACCEPTED, /* in the transaction under way */
	RCPT_SETTLED,
};

struct recipient {
	const char *address, *orcpt;
	uint32_t notify;
	enum recipient_state state;
	bool asked; /* in the transaction under way */
};

/* What is expected of TLS; each is more than the one before. */
enum smtp_need {
	NEED_NOTHING,
	NEED_TLS,      /* to whoever it is */
	NEED_VERIFIED, /* a certificate of the host's name, by an authority */
	NEED_DANE,     /* one that the TLSA records vouch for */
};

struct smtp_transfer {
	struct ps_sender *sender;
	struct smtp_transfer *next, **at;
	struct ps_pool *pool;
	struct ps_timer *timer; /* for the first step */

	/* What was asked for. */
	struct ps_hop hop;
	bool lmtp;
	const char *reverse_path, *envid, *id;
	uint32_t options;
	int file;
	uint64_t size;
	struct recipient *recipients;
	struct ps_send_result *results;
	size_t count, open;
	ps_sent_fn done;
	void *arg;

	/* Whether it has octets above 127. */
	bool looked, eight_header, eight_body;
	bool converts; /* there are none any more once it is converted */

	/* Where to. */
	struct ps_lookup *lookup;
	struct sts_wait *wait;
	struct sts_policy *sts; /* NULL: the domain has none */
	bool by_mx, implicit;
	struct ps_mx *hosts;
	size_t host_count, host_at;
	struct sockaddr_storage *addresses;
	size_t address_count, address_at;
	unsigned tries;
	bool mx_secure, host_secure; /* DNSSEC vouches for the list of hosts; for the addresses of this one */
	const char *host_name;       /* of this host, behind its aliases */
	enum smtp_need need;
	struct dns_record *tlsa;
	size_t tlsa_count, tlsa_base;
	bool tlsa_failed; /* they could not be had */
	bool clear_only;  /* TLS failed with this address, and need not be */
	struct smtp_session *session;

	/* What came of it. */
	struct trouble put_off, refused; /* the last of each kind; text NULL: none */
	enum ps_send_verdict verdict;
	const char *tls;

	/* Nothing is sent, but told: NULL otherwise. */
	json_t *story;
	ps_explained_fn explained;
};

enum command {
	CMD_GREETING,
	CMD_EHLO,
	CMD_HELO,
	CMD_STARTTLS,
	CMD_AUTH,
	CMD_MAIL,
	CMD_RCPT,
	CMD_DATA,
	CMD_BDAT,
	CMD_END, /* of the message */
	CMD_RSET,
	CMD_QUIT,
};

struct smtp_session {
	struct ps_sender *sender;
	struct smtp_session *next, **at;
	struct wire *wire;
	struct smtp_transfer *transfer; /* NULL: idle, or quitting */
	char key[PS_HOP_KEY_MAX];
	char host[DNS_NAME_SIZE], address[INET6_ADDRSTRLEN];
	struct smtp_reply reply;
	struct smtp_caps caps;
	struct pending {
		enum command command;
		size_t recipient; /* CMD_RCPT, and CMD_END of LMTP */
	} pending[PENDING_MAX];   /* sent, without a reply */
	size_t pending_first, pending_count;
	bool gone; /* freed when the event under way is over */
	unsigned busy;

	enum smtp_need need;
	bool fresh;    /* no transfer before had it */
	bool answered; /* something, to this transfer */
	bool connected;
	bool handshaking, secured, tls_refused, logged_in, implicit_tls;
	unsigned auth_step;
	bool login; /* AUTH LOGIN, not PLAIN */

	unsigned messages;
	bool open_mail; /* MAIL was taken: RSET before another */
	bool utf8;      /* the transaction under way is one of SMTPUTF8 */
	size_t batch_max, accepted, asked;
	enum outgoing_form form;
	bool sending, ended; /* the message; to its end */
	struct outgoing body;
	uint64_t body_limit; /* on the loop's clock */
};

/* session.c */
/* Begins to connect for the transfer's current address. A failure is told by hosts_failed(). */
void smtp_session_open(struct smtp_transfer *transfer, const struct sockaddr_storage *to, const char *host);
struct smtp_session *smtp_session_idle(struct ps_sender *sender, const char *key); /* NULL: none */
void smtp_session_take(struct smtp_session *session, struct smtp_transfer *transfer);
void smtp_session_destroy(struct smtp_session *session);
/* Adds to what is expected; the command itself is in wire_out(). */
void smtp_session_expect(struct smtp_session *session, enum command command, size_t recipient);
void smtp_session_send(struct smtp_session *session, enum command command, size_t recipient, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
void smtp_session_flush(struct smtp_session *session);
/* The transfer is at its end here: for the next, or QUIT. */
void smtp_session_release(struct smtp_session *session);
void smtp_session_quit(struct smtp_session *session);
/* This host is of no use (any more) for the transfer, which goes on with the next. */
void smtp_session_failed(struct smtp_session *session, enum ps_send_outcome outcome, unsigned code,
			 const char *enhanced, const char *format, ...) __attribute__((format(printf, 5, 6)));
/* The same for what the reply says. */
void smtp_session_refused(struct smtp_session *session);

/* dialogue.c */
void dialogue_connected(struct smtp_session *session);
void dialogue_secured(struct smtp_session *session);
/* The oldest pending command was answered. */
void dialogue_reply(struct smtp_session *session, struct pending pending);

/* message.c */
void message_begin(struct smtp_session *session); /* MAIL, RCPT: those that are open */
void message_on_mail(struct smtp_session *session);
void message_on_rcpt(struct smtp_session *session, size_t recipient);
void message_on_data(struct smtp_session *session);
void message_on_bdat(struct smtp_session *session);
void message_on_end(struct smtp_session *session, size_t recipient);
/* A reply that came while the message was being sent. */
void message_interrupted(struct smtp_session *session);
void message_send_more(struct smtp_session *session);
/* The connection has ended. */
void message_cut(struct smtp_session *session, const char *reason);

/* envelope.c: the commands with their parameters. */
/* PS_E_UNSUPPORTED: the address needs SMTPUTF8. PS_E_INVALID: it is none. */
int envelope_mail(const struct smtp_session *session, struct ps_buf *out);
int envelope_rcpt(const struct smtp_session *session, const struct recipient *recipient, struct ps_buf *out);
bool envelope_is_ascii(const char *text);

/* hosts.c */
void hosts_begin(struct smtp_transfer *transfer);
/* The address that was tried is of no use. */
void hosts_failed(struct smtp_transfer *transfer, const struct trouble *trouble);
void hosts_next(struct smtp_transfer *transfer);
/* The same address again, without TLS. */
void hosts_again_clear(struct smtp_transfer *transfer);
/* The host is ourselves: nor are those of its preference and above tried. */
void hosts_ourselves(struct smtp_transfer *transfer, const char *host);

/* The policy for the host is known. */
void hosts_connect(struct smtp_transfer *transfer);
/* Nothing of this host is tried. */
void hosts_pass_over(struct smtp_transfer *transfer, const struct trouble *trouble);
uint16_t hosts_port(const struct smtp_transfer *transfer);

/* policy.c */
/* Finds out what is needed of the host of which the addresses are known; then hosts_connect() or hosts_pass_over(). */
void policy_for_host(struct smtp_transfer *transfer);
/* What the domain wants; then hosts_next(). */
void policy_for_domain(struct smtp_transfer *transfer);
/* A failure of TLS in the words of RFC 8460 section 4.3; NULL: a success. Counted where the domain's MX were looked for. */
void policy_count(const struct smtp_transfer *transfer, const char *failure);
/* After the handshake: 0, or PS_E_ACCESS. */
int policy_verify(struct smtp_session *session);

/* explain.c: what is found out goes into the story, where there is one. */
void explain_mx(struct smtp_transfer *transfer, const struct ps_mx_list *list);
void explain_sts(struct smtp_transfer *transfer, const struct sts_policy *policy, const char *why);
void explain_addresses(struct smtp_transfer *transfer, const struct sockaddr_storage *list, size_t count, bool secure);
void explain_tlsa(struct smtp_transfer *transfer, const char *name, const struct dns_answer *answer);
void explain_trouble(struct smtp_transfer *transfer, const struct trouble *trouble);
/* True: it is not connected to the addresses of this host. */
bool explain_connect(struct smtp_transfer *transfer);
void explain_end(struct smtp_transfer *transfer);

/* sender.c */
void smtp_transfer_settle(struct smtp_transfer *transfer, size_t recipient, const struct trouble *what);
void smtp_transfer_settle_open(struct smtp_transfer *transfer, const struct trouble *what);
void smtp_transfer_seen(struct smtp_transfer *transfer, enum ps_send_verdict verdict);
/* Tells the caller; the transfer is gone then. All are settled. */
void smtp_transfer_finish(struct smtp_transfer *transfer);

#endif
