/* SPDX-License-Identifier: MIT */
/*
 * core/delivery/client/client.h - the SMTP client: takes a message to the host that is next on its way.
 *
 * Everything runs on the loop and waits for nothing. All that other servers say is taken for hostile: a reply has at most 100 lines of 2 KiB,
 * its text is kept escaped, each wait has its limit. What is sent has CR LF at the end of each line and no bare CR or LF anywhere.
 *
 * Of a host without a usable answer (not reached, 421, nonsense, gone) the next address is tried, of the same host and then of the next by
 * preference, 20 in all. What a host says of a message or a recipient counts: 4yz puts off, 5yz is final. When a connection ends after the whole
 * message was sent and before the reply, nobody knows: the recipients are put off, and no other host is tried.
 */
#ifndef CORE_DELIVERY_CLIENT_CLIENT_H
#define CORE_DELIVERY_CLIENT_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "core/delivery/route/route.h"

struct ps_loop;
struct ps_resolver;
struct ps_sender;

/* Milliseconds; RFC 5321 section 4.5.3.2 where it says something. */
struct ps_sender_times {
	unsigned connect;   /* 30 s */
	unsigned greeting;  /* 5 min */
	unsigned handshake; /* TLS: 30 s */
	unsigned command;   /* EHLO, STARTTLS, AUTH, MAIL, RCPT, RSET: 5 min */
	unsigned data;      /* DATA: 2 min */
	unsigned block;     /* for a piece of the message to be taken: 3 min */
	unsigned end;       /* the reply to the message: 10 min */
	unsigned quit;      /* 10 s: nobody waits for it */
	unsigned idle;      /* a connection is kept for the next message: 10 s */
};

struct ps_sender_options {
	const char *hostname;         /* what EHLO says; an MX of this name is ourselves */
	struct ps_resolver *resolver; /* outlives the sender */
	const char *ca_file;          /* whom to believe where a certificate is verified; NULL: the system's */
	bool allow_loopback;          /* an MX may be this machine: test networks */
	bool mta_sts;                 /* the policies of domains are asked for */
	const char *sts_folder;       /* where they are kept, made when needed; NULL: in memory */
	const char *report_folder;    /* where results of TLS are counted, made when needed; NULL: they are not */
	uint16_t sts_port;            /* 0: 443 */
	uint16_t mx_port;             /* 0: 25 */
	unsigned connection_messages; /* that one connection carries; 0: 100 */
	struct ps_sender_times times; /* 0: as above */
};

int ps_sender_create(struct ps_loop *loop, const struct ps_sender_options *options, struct ps_sender **ret_sender);
/* Ends connections and what is under way, without a call of its function. Not from such a call. destroy(NULL) does nothing. */
void ps_sender_destroy(struct ps_sender *sender);
/* Connections that wait for the next message are closed: after a change of the configuration, as keys of hops may mean others. */
void ps_sender_forget(struct ps_sender *sender);
void ps_sender_set_hostname(struct ps_sender *sender, const char *hostname);

struct ps_send_recipient {
	const char *address;
	uint32_t notify;   /* PS_NOTIFY_*, 0: not given */
	const char *orcpt; /* "rfc822;joe@example.org", not encoded; NULL: none */
};

struct ps_send {
	const struct ps_hop *hop;
	bool lmtp;                /* the hop speaks LMTP, RFC 2033 */
	const char *reverse_path; /* "": null */
	uint32_t options;         /* PS_MAIL_* */
	const char *envid;        /* not encoded; NULL: none */
	const struct ps_send_recipient *recipients;
	size_t count;
	int file; /* the message from its beginning, lines ended by CR LF; read by pread() until the end of the call */
	uint64_t size;
	const char *id; /* for the log */
};

enum ps_send_outcome {
	PS_SEND_DELIVERED, /* taken over by the next host */
	PS_SEND_DEFERRED,  /* to be tried again */
	PS_SEND_FAILED,    /* for good */
};

struct ps_send_result {
	enum ps_send_outcome outcome;
	unsigned code;        /* of the reply; 0: it is we who say so */
	const char *enhanced; /* "5.1.1", RFC 3463; never empty */
	const char *text;     /* one line of printable ASCII */
	const char *host;     /* who said so, or was tried last; NULL: nobody */
	bool relayed_dsn; /* it took NOTIFY and ORCPT along, and is to report success itself (RFC 3461 section 5.2.3) */
};

/* What the schedule learns about the destination. */
enum ps_send_verdict {
	PS_SEND_HOST_GOOD,    /* a host took a transaction up, whatever it said of it */
	PS_SEND_HOST_BUSY,    /* one was reached and did not want to (421, 4yz greeting, gone in the middle) */
	PS_SEND_HOST_DEAD,    /* none was reached */
	PS_SEND_HOST_UNKNOWN, /* DNS: there is none, or nobody could say */
};

struct ps_send_report {
	const struct ps_send_result *results; /* one for each recipient, in their order */
	enum ps_send_verdict verdict;
	const char *tls; /* "TLS1.3 ..." of the connection that was used last; NULL: in the clear */
};

/* Called once, on the loop, after ps_send() has returned; valid until it returns. */
typedef void (*ps_sent_fn)(void *arg, const struct ps_send_report *report);
/* All of `send` is copied but `file`, which stays the caller's. */
void ps_send(struct ps_sender *sender, const struct ps_send *send, ps_sent_fn done, void *arg);

/* What came of TLS with other servers, as tlsrpt.h says. PS_E_UNSUPPORTED: it is not counted. */
int ps_sender_tls_report(struct ps_sender *sender, const char *day, const char *after, size_t most, json_t **ret_page);

/*
 * What would become of a message to this recipient: a transfer that goes its way, and where it would connect notes that instead. The story:
 *   mx { status, secure, null, implicit, count }     not where the hop names a host
 *   mta_sts { mode, max_age, mx }, mta_sts_problem   where there is one
 *   hosts [ { host, preference, addresses, addresses_secure, tlsa { name, status, secure, records }, and either
 *             port, tls ("none", "opportunistic", "required", "verified", "dane") or problem, enhanced } ]
 *   outcome: "sent" to the first of these that takes it; or "deferred", "failed" with enhanced and text
 * Called once, on the loop, later; the story is the called function's to free.
 */
typedef void (*ps_explained_fn)(void *arg, json_t *story);
void ps_explain(struct ps_sender *sender, const struct ps_hop *hop, const char *recipient, uint32_t options,
		ps_explained_fn done, void *arg);

#endif
