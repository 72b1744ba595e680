/* SPDX-License-Identifier: MIT */
#include "auth/names.h"
#include "auth/sasl.h"
#include "postern/error.h"
#include "postern/pool.h"

enum {
	PLAINTEXT = 1,    /* shows the password to whoever listens */
	BOUND = 2,        /* to the TLS connection */
	CLIENT_FIRST = 4, /* without an initial response an empty challenge is due */
	CERTIFIED = 8,    /* the client has shown a certificate; only where the configuration names it */
};

/* States of SCRAM. */
enum {
	CLIENT_FIRST_MESSAGE,
	AWAITS_SECRET,
	CLIENT_FINAL_MESSAGE,
	PROVED,
};

struct ps_sasl_mechanism {
	const char *name;
	unsigned needs; /* PS_SERVES_*: what a user must have for it */
	unsigned flags;
	enum ps_sasl_result (*step)(struct ps_sasl *sasl, struct ps_bytes data);
};

static enum ps_sasl_result bad(const char *what)
{
	ps_fail(PS_E_SYNTAX, "%s", what);
	return PS_SASL_BAD;
}

static enum ps_sasl_result challenge(struct ps_sasl *sasl, const char *text)
{
	ps_buf_reset(&sasl->challenge);
	ps_buf_str(&sasl->challenge, text);
	return PS_SASL_CHALLENGE;
}

static struct ps_bytes until(struct ps_bytes *rest, uint8_t end)
{
	ptrdiff_t at = ps_bytes_find(*rest, end);
	struct ps_bytes field = at < 0 ? *rest : ps_bytes(rest->ptr, (size_t)at);

	*rest = ps_bytes_skip(*rest, field.len + (at >= 0));
	return field;
}

static enum ps_sasl_result check_password(struct ps_sasl *sasl)
{
	if (sasl->authcid.failed || sasl->authzid.failed || sasl->authcid.len == 0)
		return bad("no user name, or too long");
	if (sasl->password.failed || sasl->password.len == 0)
		return bad("no password, or too long");
	if (ps_bytes_find(ps_buf_view(&sasl->password), '\0') >= 0)
		return bad("NUL in the password");
	return PS_SASL_PASSWORD;
}

/* RFC 4616: [authzid] NUL authcid NUL passwd */
static enum ps_sasl_result plain_step(struct ps_sasl *sasl, struct ps_bytes data)
{
	ps_buf_bytes(&sasl->authzid, until(&data, '\0'));
	ps_buf_bytes(&sasl->authcid, until(&data, '\0'));
	ps_buf_bytes(&sasl->password, data);
	return check_password(sasl);
}

/* draft-murchison-sasl-login; a first response may hold the name. */
static enum ps_sasl_result login_step(struct ps_sasl *sasl, struct ps_bytes data)
{
	if (sasl->state == 0) {
		sasl->state = 1;
		if (!data.ptr)
			return challenge(sasl, "Username:");
	}
	if (sasl->state == 1) {
		sasl->state = 2;
		ps_buf_bytes(&sasl->authcid, data);
		return challenge(sasl, "Password:");
	}
	ps_buf_bytes(&sasl->password, data);
	return check_password(sasl);
}

/* RFC 4422, appendix A */
static enum ps_sasl_result external_step(struct ps_sasl *sasl, struct ps_bytes data)
{
	ps_buf_bytes(&sasl->authzid, data);
	if (sasl->authzid.failed || sasl->authcid.failed)
		return bad("a name that is too long");
	return PS_SASL_TRUSTED;
}

/* RFC 5802 section 5 */
static enum ps_sasl_result scram_step(struct ps_sasl *sasl, struct ps_bytes data)
{
	int r;

	switch (sasl->state++) {
	case CLIENT_FIRST_MESSAGE:
		r = ps_scram_client_first(&sasl->scram, data, &sasl->channel, &sasl->authzid, &sasl->authcid);
		return r < 0 || sasl->authcid.len == 0 ? PS_SASL_BAD : PS_SASL_SECRET;
	case CLIENT_FINAL_MESSAGE:
		ps_buf_reset(&sasl->challenge);
		r = ps_scram_client_final(&sasl->scram, data, &sasl->challenge);
		return r == 0 ? PS_SASL_CHALLENGE : r == PS_E_AUTH ? PS_SASL_WRONG : PS_SASL_BAD;
	/* The client has seen that we know the secret, too. */
	case PROVED: return data.len == 0 ? PS_SASL_VERIFIED : bad("a response to the server's signature");
	default: return bad("out of turn");
	}
}

static bool take_prefix(struct ps_bytes *text, const char *prefix)
{
	size_t length = strlen(prefix);

	if (text->len < length || memcmp(text->ptr, prefix, length) != 0)
		return false;
	*text = ps_bytes_skip(*text, length);
	return true;
}

/* The value of "auth", in fields with ^A behind them, and its token; the name of the scheme is in any case (RFC 6750). */
static bool find_token(struct ps_bytes fields, struct ps_bytes *ret_token)
{
	while (fields.len > 0) {
		struct ps_bytes field = until(&fields, 1), scheme;

		if (!take_prefix(&field, "auth="))
			continue;
		scheme = until(&field, ' ');
		*ret_token = field;
		return ps_bytes_caseeq_str(scheme, "Bearer");
	}
	return false;
}

/* RFC 6750 section 2.1 has fewer; no octet that a header could not hold. */
static bool is_token(struct ps_bytes text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] <= ' ' || text.ptr[i] > '~')
			return false;
	return text.len > 0;
}

static enum ps_sasl_result take_token(struct ps_sasl *sasl, struct ps_bytes fields)
{
	struct ps_bytes token;

	if (sasl->authzid.failed || !find_token(fields, &token) || !is_token(token))
		return bad("no access token");
	return ps_buf_bytes(&sasl->token, token) < 0 ? bad("a token that is too long") : PS_SASL_TOKEN;
}

/* RFC 7628 section 3.2.2 */
void ps_sasl_refuse_token(struct ps_sasl *sasl)
{
	sasl->reason = "bad_token";
	challenge(sasl, "{\"status\":\"invalid_token\"}");
}

/* RFC 7628 section 3.1: gs2-header ^A fields ^A */
static enum ps_sasl_result oauthbearer_step(struct ps_sasl *sasl, struct ps_bytes data)
{
	struct ps_bytes header = until(&data, 1), name;

	if (sasl->state++ > 0)
		return PS_SASL_WRONG;
	if (!take_prefix(&header, "n,") && !take_prefix(&header, "y,"))
		return bad("no gs2-header");
	name = until(&header, ',');
	if (take_prefix(&name, "a=") && ps_scram_put_name(&sasl->authzid, name) < 0)
		return PS_SASL_BAD;
	return take_token(sasl, data);
}

/* As Google and Microsoft describe it: "user=" name ^A fields ^A */
static enum ps_sasl_result xoauth2_step(struct ps_sasl *sasl, struct ps_bytes data)
{
	struct ps_bytes name = until(&data, 1);

	if (sasl->state++ > 0)
		return PS_SASL_WRONG;
	if (!take_prefix(&name, "user="))
		return bad("no user");
	ps_buf_bytes(&sasl->authzid, name);
	return take_token(sasl, data);
}

static const struct ps_sasl_mechanism mechanisms[] = {
	{"EXTERNAL", 0, CLIENT_FIRST | CERTIFIED, external_step},
	{"SCRAM-SHA-256-PLUS", PS_SERVES_SCRAM_SHA_256, CLIENT_FIRST | BOUND, scram_step},
	{"SCRAM-SHA-256", PS_SERVES_SCRAM_SHA_256, CLIENT_FIRST, scram_step},
	{"SCRAM-SHA-1-PLUS", PS_SERVES_SCRAM_SHA_1, CLIENT_FIRST | BOUND, scram_step},
	{"SCRAM-SHA-1", PS_SERVES_SCRAM_SHA_1, CLIENT_FIRST, scram_step},
	{"OAUTHBEARER", PS_SERVES_TOKEN, PLAINTEXT | CLIENT_FIRST, oauthbearer_step},
	{"XOAUTH2", PS_SERVES_TOKEN, PLAINTEXT | CLIENT_FIRST, xoauth2_step},
	{"PLAIN", PS_SERVES_PASSWORD, PLAINTEXT | CLIENT_FIRST, plain_step},
	{"LOGIN", PS_SERVES_PASSWORD, PLAINTEXT, login_step},
};

static bool is_wanted(const struct ps_sasl_mechanism *mechanism, const struct ps_conf *conf)
{
	size_t n = conf ? ps_conf_list_size(conf, "sasl_mechanisms") : 0;

	for (size_t i = 0; i < n; i++)
		if (ps_strcasecmp(ps_conf_list_nth(conf, "sasl_mechanisms", i), mechanism->name) == 0)
			return true;
	return n == 0 && !(mechanism->flags & CERTIFIED);
}

static bool is_possible(const struct ps_sasl_mechanism *mechanism, const struct ps_sasl_terms *terms)
{
	if (mechanism->needs && !(mechanism->needs & terms->serves))
		return false;
	if ((mechanism->flags & BOUND) && !terms->is_tls)
		return false;
	return (terms->certificate_user || !(mechanism->flags & CERTIFIED)) && is_wanted(mechanism, terms->conf);
}

static bool is_private(const struct ps_sasl_mechanism *mechanism, const struct ps_sasl_terms *terms)
{
	return !(mechanism->flags & PLAINTEXT) || terms->plaintext_ok;
}

bool ps_sasl_is_known(const char *mechanism)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(mechanisms); i++)
		if (ps_strcasecmp(mechanisms[i].name, mechanism) == 0)
			return true;
	return false;
}

bool ps_sasl_is_bound(const char *mechanism)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(mechanisms); i++)
		if (ps_strcasecmp(mechanisms[i].name, mechanism) == 0)
			return mechanisms[i].flags & BOUND;
	return false;
}

void ps_sasl_put_names(const struct ps_sasl_terms *terms, struct ps_buf *out)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(mechanisms); i++) {
		if (!is_possible(&mechanisms[i], terms) || !is_private(&mechanisms[i], terms))
			continue;
		if (out->len > 0)
			ps_buf_char(out, ' ');
		ps_buf_str(out, mechanisms[i].name);
	}
}

int ps_sasl_start(struct ps_sasl *sasl, const char *mechanism, const struct ps_sasl_terms *terms,
		  const struct ps_bytes *bindings)
{
	const struct ps_sasl_mechanism *found = NULL;

	for (size_t i = 0; i < PS_ARRAY_LEN(mechanisms); i++)
		if (ps_strcasecmp(mechanisms[i].name, mechanism) == 0 && is_possible(&mechanisms[i], terms))
			found = &mechanisms[i];
	if (!found)
		return ps_fail(PS_E_NOTFOUND, "no mechanism \"%s\"", mechanism);
	if (!is_private(found, terms))
		return ps_fail(PS_E_ACCESS, "%s without TLS", found->name);
	*sasl = (struct ps_sasl){
		.mechanism = found,
		.authzid.limit = PS_USER_NAME_MAX,
		.authcid.limit = PS_USER_NAME_MAX,
		.password.limit = PS_PASSWORD_MAX,
		.token.limit = PS_ACCESS_TOKEN_MAX,
		.channel = {.is_tls = terms->is_tls, .plus = found->flags & BOUND},
	};
	if (found->flags & CERTIFIED)
		ps_buf_str(&sasl->authcid, terms->certificate_user);
	for (size_t i = 0; bindings && i < PS_BINDINGS; i++)
		sasl->channel.bindings[i] = bindings[i];
	return 0;
}

enum ps_sasl_result ps_sasl_step(struct ps_sasl *sasl, struct ps_bytes data)
{
	bool first = !sasl->begun;

	sasl->begun = true;
	if (!data.ptr && !first)
		return bad("no response");
	if (!data.ptr && (sasl->mechanism->flags & CLIENT_FIRST))
		return challenge(sasl, "");
	return sasl->mechanism->step(sasl, data);
}

const struct ps_scram_hash *ps_sasl_hash(const struct ps_sasl *sasl)
{
	return ps_scram_hash_find(sasl->mechanism->name);
}

void ps_sasl_set_secret(struct ps_sasl *sasl, const struct ps_scram_secret *secret, bool hopeless)
{
	sasl->state = CLIENT_FINAL_MESSAGE;
	sasl->scram.secret = *secret;
	sasl->scram.hopeless = hopeless;
	ps_buf_reset(&sasl->challenge);
	ps_scram_server_first(&sasl->scram, &sasl->challenge);
}

void ps_sasl_finish(struct ps_sasl *sasl)
{
	ps_buf_finish(&sasl->challenge);
	ps_buf_finish(&sasl->authzid);
	ps_buf_finish(&sasl->authcid);
	ps_buf_wipe(&sasl->password);
	ps_buf_wipe(&sasl->token);
	ps_scram_finish(&sasl->scram);
	sasl->mechanism = NULL;
}
