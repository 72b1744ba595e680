/* SPDX-License-Identifier: MIT */
/* Unique-ids, as those servers make them that clients come from. They are made of what never changes. */
#include <inttypes.h>
#include <stdio.h>
#include "protocols/pop3/pop3.h"

struct pop3_uidl {
	const char *name;
	void (*format)(const struct ps_row *row, uint32_t uid_validity, char *ret_id);
};

#define FORMAT(function, text, ...)                                                                                    \
	static void function(const struct ps_row *row, uint32_t uid_validity, char *ret_id)                            \
	{                                                                                                              \
		(void)uid_validity;                                                                                    \
		snprintf(ret_id, POP3_UIDL_SIZE, text, __VA_ARGS__);                                                   \
	}

FORMAT(dovecot, "%08" PRIx32 "%08" PRIx32, row->uid, uid_validity)
FORMAT(uw, "%08" PRIx32 "%08" PRIx32, uid_validity, row->uid)
FORMAT(cyrus, "%" PRIu32 ".%" PRIu32, uid_validity, row->uid)
FORMAT(cyrus_old, "%" PRIu32, row->uid)
FORMAT(courier, "UID%" PRIu32 "-%" PRIu32, row->uid, uid_validity)
FORMAT(courier_old, "%" PRIu32 "-%" PRIu32, uid_validity, row->uid)

/* The UID goes along: a copy has the email id of what it was copied from. */
static void email_id(const struct ps_row *row, uint32_t uid_validity, char *ret_id)
{
	struct ps_buf hex = {0};

	(void)uid_validity;
	ps_hex_encode(&hex, ps_bytes(row->email_id.octets, sizeof row->email_id.octets));
	snprintf(ret_id, POP3_UIDL_SIZE, "%s.%" PRIu32, ps_buf_cstr(&hex), row->uid);
	ps_buf_finish(&hex);
}

static const struct pop3_uidl formats[] = {
	{"dovecot", dovecot},     {"uw", uw},           {"cyrus", cyrus},
	{"cyrus-old", cyrus_old}, {"courier", courier}, {"courier-old", courier_old},
	{"email-id", email_id},
};

const struct pop3_uidl *pop3_uidl_find(const char *name)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(formats); i++)
		if (strcmp(formats[i].name, name) == 0)
			return &formats[i];
	return NULL;
}

void pop3_uidl_format(const struct pop3_uidl *uidl, const struct ps_row *row, uint32_t uid_validity,
		      char ret_id[POP3_UIDL_SIZE])
{
	uidl->format(row, uid_validity, ret_id);
}
