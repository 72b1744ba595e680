/* SPDX-License-Identifier: MIT */
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>
#include <string.h>
#include "auth/verified.h"
#include "postern/pool.h"

enum {
	MARK_SIZE = 32,
	SETS = 2048,
	WAYS = 4, /* entries of a set; the mark chooses the set */
};

struct entry {
	uint8_t mark[MARK_SIZE];
	uint64_t until; /* 0: empty */
};

struct ps_verified {
	uint8_t key[MARK_SIZE];
	bool usable; /* there is a key */
	struct entry sets[SETS][WAYS];
};

struct ps_verified *ps_verified_create(void)
{
	struct ps_verified *verified = ps_zalloc(sizeof *verified);

	verified->usable = gnutls_rnd(GNUTLS_RND_KEY, verified->key, sizeof verified->key) == 0;
	return verified;
}

void ps_verified_destroy(struct ps_verified *verified)
{
	if (!verified)
		return;
	explicit_bzero(verified, sizeof *verified);
	free(verified);
}

/* The strings end in NUL and the password is last, so no two log-ins are the same octets. */
static bool make_mark(const struct ps_verified *verified, const struct ps_verified_login *login,
		      uint8_t mark[MARK_SIZE])
{
	const char *const texts[] = {login->user, login->service, login->stored};
	gnutls_hmac_hd_t hmac;
	bool ok = true;

	if (!verified->usable || gnutls_hmac_init(&hmac, GNUTLS_MAC_SHA256, verified->key, sizeof verified->key) != 0)
		return false;
	for (size_t i = 0; i < PS_ARRAY_LEN(texts) && ok; i++)
		ok = gnutls_hmac(hmac, texts[i], strlen(texts[i]) + 1) == 0;
	ok = ok && gnutls_hmac(hmac, login->password.ptr, login->password.len) == 0;
	gnutls_hmac_deinit(hmac, mark);
	return ok;
}

static size_t set_of(const uint8_t mark[MARK_SIZE])
{
	return (mark[0] | (size_t)mark[1] << 8) % SETS;
}

void ps_verified_add(struct ps_verified *verified, const struct ps_verified_login *login, uint64_t until_ms)
{
	uint8_t mark[MARK_SIZE];
	struct entry *set, *first;

	if (!make_mark(verified, login, mark))
		return;
	set = first = verified->sets[set_of(mark)];
	for (size_t i = 1; i < WAYS; i++)
		if (set[i].until < first->until)
			first = &set[i];
	memcpy(first->mark, mark, sizeof mark);
	first->until = until_ms;
}

bool ps_verified_has(const struct ps_verified *verified, const struct ps_verified_login *login, uint64_t now_ms)
{
	uint8_t mark[MARK_SIZE];
	const struct entry *set;
	bool has = false;

	if (!make_mark(verified, login, mark))
		return false;
	set = verified->sets[set_of(mark)];
	for (size_t i = 0; i < WAYS; i++)
		has |= (set[i].until > now_ms) & (gnutls_memcmp(set[i].mark, mark, sizeof mark) == 0);
	return has;
}

void ps_verified_forget(struct ps_verified *verified, uint64_t now_ms)
{
	for (size_t i = 0; i < SETS; i++)
		for (size_t j = 0; j < WAYS; j++)
			if (verified->sets[i][j].until && verified->sets[i][j].until <= now_ms)
				explicit_bzero(&verified->sets[i][j], sizeof verified->sets[i][j]);
}
