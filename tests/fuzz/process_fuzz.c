/* SPDX-License-Identifier: MIT */
/* What a front in a stranger's hand may send: messages, and in them SASL responses and user names. */
#include <limits.h>
#include <stdlib.h>
#include "auth/names.h"
#include "auth/passwords.h"
#include "auth/sasl.h"
#include "auth/tokens.h"
#include "core/config/config.h"
#include "core/process/messages.h"
#include "postern/error.h"
#include "postern/pool.h"
#include "tests/fuzz/fuzz.h"

static void must(bool holds)
{
	if (!holds)
		abort();
}

/* What was unpacked can be packed again, to the same octets. */
static void read_message(struct ps_bytes octets)
{
	const struct ps_message_row *row = ps_message_row(ps_message_type(octets));
	int fds[PS_MESSAGE_FDS_MAX] = {100, 101, 102, 103};
	union ps_message message;
	struct ps_packed packed;

	if (!row || ps_message_unpack(octets, fds, row->fd_count, &message) < 0)
		return;
	must(ps_message_pack(row->type, &message, &packed) == 0);
	must(ps_bytes_eq(ps_buf_view(&packed.octets), octets));
	ps_buf_finish(&packed.octets);
}

static const struct ps_scram_secret *secret_of(const struct ps_scram_hash *hash)
{
	static struct ps_scram_secret secret;

	if (secret.hash != hash)
		must(ps_scram_secret_derive(hash, ps_bytes_str("pass"), ps_bytes_str("salt"), 1, &secret) == 0);
	return &secret;
}

/* Responses are separated by 0xff. */
static void read_sasl(const char *mechanism, struct ps_bytes octets)
{
	struct ps_sasl_terms terms = {.plaintext_ok = true, .is_tls = true, .serves = UINT_MAX};
	enum ps_sasl_result r = PS_SASL_CHALLENGE;
	struct ps_sasl sasl = {0};

	must(ps_sasl_start(&sasl, mechanism, &terms, NULL) == 0);
	for (int i = 0; i < 8 && r == PS_SASL_CHALLENGE; i++) {
		ptrdiff_t at = ps_bytes_find(octets, 0xff);
		struct ps_bytes response = ps_bytes(octets.ptr, at < 0 ? octets.len : (size_t)at);

		if ((r = ps_sasl_step(&sasl, response)) == PS_SASL_SECRET) {
			ps_sasl_set_secret(&sasl, secret_of(ps_sasl_hash(&sasl)), false);
			r = PS_SASL_CHALLENGE;
		}
		if (r == PS_SASL_TOKEN && sasl.token.len > 1) {
			ps_sasl_refuse_token(&sasl);
			r = PS_SASL_CHALLENGE;
		}
		octets = ps_bytes_skip(octets, response.len + (at >= 0));
	}
	must(r != PS_SASL_CHALLENGE && r != PS_SASL_VERIFIED); /* who does not know our nonce proves nothing */
	if (r == PS_SASL_PASSWORD)
		must(sasl.authcid.len > 0 && sasl.password.len > 0 && sasl.password.len <= 1024);
	must(r != PS_SASL_TOKEN || sasl.token.len == 1);
	ps_sasl_finish(&sasl);
}

/* The key is that of RFC 7515, appendix A.3. What it has signed is in the corpus. */
static void read_token(struct ps_bytes token)
{
	static const char jwks[] = "{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\","
				   "\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
				   "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}";
	static struct ps_token_keys *keys;
	static struct ps_config *config;
	struct ps_token_holder holder = {0};
	const struct ps_conf *oauth;
	int r;

	if (!keys)
		must(ps_token_keys_parse(ps_bytes_str(jwks), "jwks", &keys) == 0 &&
		     ps_config_read(
			     "fuzz",
			     ps_bytes_str("mail_root = \"/srv/mail\"\noauth { issuer = \"joe\" audience = \"a\" }\n"),
			     NULL, &config) == 0);
	oauth = ps_conf_section(ps_config_root(config), "oauth", 0);
	r = ps_token_check(keys, oauth, 1300819000, token, &holder);
	must((r == PS_E_AUTH || r == PS_E_NOTFOUND) && holder.user.len == 0);
	r = ps_token_introspected(token, oauth, 1300819000, &holder);
	must(r < 0 || holder.user.len > 0);
	ps_buf_finish(&holder.user);
}

static void read_name(struct ps_bytes name)
{
	struct ps_buf once = {0}, twice = {0};

	if (ps_user_name_normalise(name, "example.test", &once) == 0) {
		must(!memchr(once.ptr, '/', once.len) && !memchr(once.ptr, '\0', once.len));
		must(!memmem(once.ptr, once.len, "..", 2) && once.ptr[0] != '.');
		must(ps_user_name_normalise(ps_buf_view(&once), "other.test", &twice) == 0);
		must(ps_bytes_eq(ps_buf_view(&once), ps_buf_view(&twice)));
	}
	ps_buf_finish(&once);
	ps_buf_finish(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct ps_bytes rest;

	if (size == 0)
		return 0;
	rest = ps_bytes(data + 1, size - 1);
	switch (data[0] % 9) {
	case 0: read_message(rest); break;
	case 1: read_sasl("PLAIN", rest); break;
	case 2: read_sasl("LOGIN", rest); break;
	case 3: read_name(rest); break;
	case 4: read_sasl("SCRAM-SHA-256", rest); break;
	case 5: read_sasl("SCRAM-SHA-1", rest); break;
	case 6: read_sasl("OAUTHBEARER", rest); break;
	case 7: read_sasl("XOAUTH2", rest); break;
	case 8: read_token(rest); break;
	}
	return 0;
}
