/* SPDX-License-Identifier: MIT */
/*
 * core/process/messages.h - messages between processes, packed and unpacked from one table (messages.def).
 *
 * The front process talks to strangers and may be theirs one day, so what it sends is unpacked with every length
 * checked. Octets are in the machine's order: a message never leaves it.
 */
#ifndef CORE_PROCESS_MESSAGES_H
#define CORE_PROCESS_MESSAGES_H

#include <stdbool.h>
#include <stdint.h>
#include "core/process/messages.def"
#include "postern/buf.h"

/* Most octets of a message; a hand-over's unread input is at most half of it. */
#define PS_MESSAGE_MAX     (128u * 1024)
#define PS_MESSAGE_FDS_MAX 4

enum {
	PS_ROLE_MASTER = 1,
	PS_ROLE_FRONT = 2,
	PS_ROLE_AUTH = 4,
	PS_ROLE_SIGNER = 8,
	PS_ROLE_MAIL = 16,
	PS_ROLE_RELAY = 32,
	PS_ROLE_USERDB = 64,
	PS_ROLES = PS_ROLE_FRONT | PS_ROLE_AUTH | PS_ROLE_MAIL | PS_ROLE_RELAY |
		   PS_ROLE_USERDB, /* those that are processes of their own */
};
/* "front"; static. */
const char *ps_role_name(uint32_t role);

enum ps_phase {
	PS_PHASE_STARTING = 1, /* until START */
	PS_PHASE_SERVING = 2,
	PS_PHASE_STOPPING = 4,
	PS_PHASE_ANY = 7,
};

enum ps_secret_kind {
	PS_SECRET_USERS,
	PS_SECRET_APPS,     /* app passwords */
	PS_SECRET_APP_USES, /* when these were used; the one file that auth writes */
	PS_SECRET_CERTIFICATE,
	PS_SECRET_KEY,
	PS_SECRET_OCSP,
	PS_SECRET_JWKS,
	PS_SECRET_AUTHORITIES, /* of clients' certificates */
	PS_SECRET_ALIASES,     /* relay reads it; the others are auth's */
	PS_SECRET_SMARTHOST,
	PS_SECRETS
};

enum ps_lookup_status {
	PS_LOOKUP_FOUND,
	PS_LOOKUP_UNKNOWN,
	PS_LOOKUP_TEMPFAIL, /* cannot tell now */
	PS_LOOKUP_LIMITED,  /* found; and an extension has a say in what is stored for them */
};

enum ps_field_type {
	PS_FIELD_U32,
	PS_FIELD_U64,
	PS_FIELD_BOOL,
	PS_FIELD_STR,
	PS_FIELD_OSTR,
	PS_FIELD_BYTES,
	PS_FIELD_FD
};

typedef uint32_t ps_field_U32;
typedef uint64_t ps_field_U64;
typedef bool ps_field_BOOL;
typedef const char *ps_field_STR;
typedef const char *ps_field_OSTR;
typedef struct ps_bytes ps_field_BYTES;
typedef int ps_field_FD;

enum ps_message_type {
	PS_MSG_NONE,
#define M(NAME, name, from, to, phases) PS_MSG_##NAME,
	PS_MESSAGES(M)
#undef M
	PS_MSG_COUNT,
};

/* struct ps_msg_config and so on. After unpacking, texts and octets point into what was unpacked. */
#define F(S, type, name, max) ps_field_##type name;
#define M(NAME, name, from, to, phases)                                                                                \
	struct ps_msg_##name {                                                                                         \
		PS_FIELDS_##NAME(F, struct ps_msg_##name)                                                              \
	};
PS_MESSAGES(M)
#undef M
#undef F

union ps_message {
#define M(NAME, name, from, to, phases) struct ps_msg_##name name;
	PS_MESSAGES(M)
#undef M
};

struct ps_message_field {
	const char *name;
	enum ps_field_type type;
	uint32_t max;
	size_t offset; /* in the message's struct */
};

struct ps_message_row {
	uint32_t type;
	const char *name;
	uint32_t from, to, phases;
	const struct ps_message_field *fields;
	size_t field_count, fd_count;
};

/* NULL: no such type. */
const struct ps_message_row *ps_message_row(uint32_t type);

/* A message as it is sent: the type, then the fields one after the other. */
struct ps_packed {
	struct ps_buf octets;
	int fds[PS_MESSAGE_FDS_MAX]; /* not duplicated */
	size_t fd_count;
};

/* `message` is the struct of `type`. PS_E_LIMIT: a field is longer than its row says. On failure `out` holds
 * nothing. The caller finishes out->octets. */
int ps_message_pack(uint32_t type, const void *message, struct ps_packed *out);

/* The type of packed octets, 0 if there is none known. */
uint32_t ps_message_type(struct ps_bytes octets);

/* Fills the struct of the type. Descriptors are put into its fields, still the caller's to close. PS_E_SYNTAX with
 * what is wrong; ret_message is untouched then. */
int ps_message_unpack(struct ps_bytes octets, const int *fds, size_t fd_count, union ps_message *ret_message);

/* Whether `from` may send this row to `to`, whose phase is `phase`; PS_E_ACCESS. */
int ps_message_permitted(const struct ps_message_row *row, uint32_t from, uint32_t to, enum ps_phase phase);

#endif
