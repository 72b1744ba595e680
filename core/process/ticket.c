/* SPDX-License-Identifier: MIT */
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "core/process/ticket.h"
#include "postern/error.h"
#include "postern/pool.h"

#define MAC_SIZE   32
#define NONCE_SIZE 16
#define BUCKETS    1024

struct taken {
	struct taken *next;
	uint64_t expires;
	uint8_t nonce[NONCE_SIZE];
};

struct ps_ticket_book {
	uint32_t mail;
	char *user; /* NULL: of whoever is sent to `mail` */
	uint64_t since;
	struct taken *buckets[BUCKETS];
};

uint64_t ps_monotonic_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* The packed message of this type, and behind it an HMAC of it. */
static int seal(const struct ps_ticket_key *key, uint32_t type, const void *message, struct ps_buf *out)
{
	uint8_t mac[MAC_SIZE];
	struct ps_packed packed;
	int r = ps_message_pack(type, message, &packed);

	if (r < 0)
		return r;
	if (gnutls_hmac_fast(GNUTLS_MAC_SHA256, key->octets, sizeof key->octets, packed.octets.ptr, packed.octets.len,
			     mac) < 0)
		r = ps_fail(PS_E_INTERNAL, "HMAC-SHA256 is not to be had");
	if (r == 0 && (r = ps_buf_bytes(out, ps_buf_view(&packed.octets))) == 0)
		r = ps_buf_append(out, mac, sizeof mac);
	ps_buf_finish(&packed.octets);
	return r;
}

int ps_ticket_seal(const struct ps_ticket_key *key, struct ps_msg_ticket *ticket, uint64_t now_ms, struct ps_buf *out)
{
	uint8_t nonce[NONCE_SIZE];
	int r;

	if (gnutls_rnd(GNUTLS_RND_NONCE, nonce, sizeof nonce) < 0)
		return ps_fail(PS_E_INTERNAL, "no random octets");
	ticket->expires = now_ms + PS_TICKET_LIFETIME_MS;
	ticket->nonce = ps_bytes(nonce, sizeof nonce);
	r = seal(key, PS_MSG_TICKET, ticket, out);
	ticket->nonce = ps_bytes(NULL, 0);
	return r;
}

struct ps_ticket_book *ps_ticket_book_create(uint32_t mail, const char *user, uint64_t since_ms)
{
	struct ps_ticket_book *book = ps_zalloc(sizeof *book);

	book->mail = mail;
	book->user = user ? ps_strdup(user) : NULL;
	book->since = since_ms;
	return book;
}

void ps_ticket_book_destroy(struct ps_ticket_book *book)
{
	for (size_t i = 0; book && i < BUCKETS; i++) {
		while (book->buckets[i]) {
			struct taken *next = book->buckets[i]->next;

			free(book->buckets[i]);
			book->buckets[i] = next;
		}
	}
	if (book)
		free(book->user);
	free(book);
}

/* Enters the nonce; forgets those of the same bucket that have expired. */
static int enter(struct ps_ticket_book *book, const struct ps_msg_ticket *ticket, uint64_t now_ms)
{
	struct taken **at = &book->buckets[(ticket->nonce.ptr[0] | ticket->nonce.ptr[1] << 8) % BUCKETS], *taken;

	while ((taken = *at)) {
		if (memcmp(taken->nonce, ticket->nonce.ptr, NONCE_SIZE) == 0)
			return ps_fail(PS_E_AUTH, "ticket: taken before");
		if (taken->expires < now_ms) {
			*at = taken->next;
			free(taken);
		} else {
			at = &taken->next;
		}
	}
	taken = ps_zalloc(sizeof *taken);
	taken->expires = ticket->expires;
	memcpy(taken->nonce, ticket->nonce.ptr, NONCE_SIZE);
	*at = taken;
	return 0;
}

/* What seal() made. The message's texts point into `sealed`. */
static int unseal(const struct ps_ticket_key *key, uint32_t type, struct ps_bytes sealed, union ps_message *ret_message)
{
	uint8_t mac[MAC_SIZE];

	if (sealed.len < MAC_SIZE)
		return ps_fail(PS_E_AUTH, "ticket: too short");
	if (gnutls_hmac_fast(GNUTLS_MAC_SHA256, key->octets, sizeof key->octets, sealed.ptr, sealed.len - MAC_SIZE,
			     mac) < 0)
		return ps_fail(PS_E_INTERNAL, "HMAC-SHA256 is not to be had");
	if (gnutls_memcmp(mac, sealed.ptr + sealed.len - MAC_SIZE, MAC_SIZE) != 0)
		return ps_fail(PS_E_AUTH, "ticket: not sealed with our key");
	sealed.len -= MAC_SIZE;
	if (ps_message_type(sealed) != type || ps_message_unpack(sealed, NULL, 0, ret_message) < 0)
		return ps_fail(PS_E_AUTH, "ticket: not packed as one");
	return 0;
}

int ps_ticket_look(const struct ps_ticket_key *key, struct ps_bytes sealed, uint64_t now_ms,
		   union ps_message *ret_message)
{
	int r = unseal(key, PS_MSG_TICKET, sealed, ret_message);

	if (r < 0)
		return r;
	if (ret_message->ticket.nonce.len != NONCE_SIZE)
		return ps_fail(PS_E_AUTH, "ticket: without a nonce");
	if (ret_message->ticket.expires < now_ms)
		return ps_fail(PS_E_AUTH, "ticket: expired");
	return 0;
}

static int check_place(const struct ps_ticket_book *book, const struct ps_msg_ticket *ticket)
{
	if (book->user && strcmp(ticket->user, book->user) != 0)
		return ps_fail(PS_E_AUTH, "ticket: for user %s, this is the process of %s", ticket->user, book->user);
	if (!book->user && ticket->mail != book->mail)
		return ps_fail(PS_E_AUTH, "ticket: for mail process %u, this is %u", ticket->mail, book->mail);
	return 0;
}

int ps_ticket_take(struct ps_ticket_book *book, const struct ps_ticket_key *key, struct ps_bytes sealed,
		   uint64_t now_ms, struct ps_msg_ticket *ret_ticket)
{
	const struct ps_msg_ticket *ticket;
	union ps_message message;
	int r = ps_ticket_look(key, sealed, now_ms, &message);

	if (r < 0)
		return r;
	ticket = &message.ticket;
	if ((r = check_place(book, ticket)) < 0)
		return r;
	if (book->since > 0 && ticket->expires < book->since + PS_TICKET_LIFETIME_MS)
		return ps_fail(PS_E_AUTH, "ticket: older than this process");
	r = enter(book, ticket, now_ms);
	if (r == 0)
		*ret_ticket = *ticket;
	return r;
}

int ps_pass_seal(const struct ps_ticket_key *key, struct ps_msg_pass *pass, uint64_t now_ms, struct ps_buf *out)
{
	pass->expires = now_ms + PS_PASS_LIFETIME_MS;
	return seal(key, PS_MSG_PASS, pass, out);
}

int ps_pass_check(const struct ps_ticket_key *key, struct ps_bytes sealed, const char *sid, uint64_t now_ms,
		  struct ps_msg_pass *ret_pass)
{
	union ps_message message;
	int r = unseal(key, PS_MSG_PASS, sealed, &message);

	if (r < 0)
		return r;
	if (strcmp(message.pass.sid, sid) != 0)
		return ps_fail(PS_E_AUTH, "pass: for another session");
	if (message.pass.expires < now_ms)
		return ps_fail(PS_E_AUTH, "pass: expired");
	*ret_pass = message.pass;
	return 0;
}
