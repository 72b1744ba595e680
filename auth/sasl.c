/* SPDX-License-Identifier: MIT */
#include "auth/names.h"
#include "auth/passwords.h"
#include "auth/sasl.h"
#include "postern/error.h"
#include "postern/pool.h"

struct ps_sasl_mechanism {
	const char *name;
	bool plaintext; /* shows the password to whoever listens */
	enum ps_sasl_result (*step)(struct ps_sasl *sasl, struct ps_bytes data);
};

static enum ps_sasl_result bad(const char *what)
{
	ps_fail(PS_E_SYNTAX, "%s", what);
	return PS_SASL_BAD;
}

static enum ps_sasl_result challenge(struct ps_sasl *sasl, const char *text)
{
	sasl->challenge = ps_bytes_str(text);
	return PS_SASL_CHALLENGE;
}

static struct ps_bytes until_nul(struct ps_bytes *rest)
{
	ptrdiff_t nul = ps_bytes_find(*rest, '\0');
	struct ps_bytes field = nul < 0 ? *rest : ps_bytes(rest->ptr, (size_t)nul);

	*rest = ps_bytes_skip(*rest, field.len + (nul >= 0));
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
	if (!data.ptr && sasl->state++ == 0)
		return challenge(sasl, "");
	if (!data.ptr)
		return bad("no response");
	ps_buf_bytes(&sasl->authzid, until_nul(&data));
	ps_buf_bytes(&sasl->authcid, until_nul(&data));
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
	if (!data.ptr)
		return bad("no response");
	if (sasl->state == 1) {
		sasl->state = 2;
		ps_buf_bytes(&sasl->authcid, data);
		return challenge(sasl, "Password:");
	}
	ps_buf_bytes(&sasl->password, data);
	return check_password(sasl);
}

static const struct ps_sasl_mechanism mechanisms[] = {
	{"PLAIN", true, plain_step},
	{"LOGIN", true, login_step},
};

const char *ps_sasl_names(bool plaintext_ok)
{
	static char all[256], safe[256];
	char *names = plaintext_ok ? all : safe;

	if (*names)
		return names;
	for (size_t i = 0; i < PS_ARRAY_LEN(mechanisms); i++) {
		if (mechanisms[i].plaintext && !plaintext_ok)
			continue;
		if (*names)
			strcat(names, " ");
		strcat(names, mechanisms[i].name);
	}
	return names;
}

int ps_sasl_start(struct ps_sasl *sasl, const char *mechanism, bool plaintext_ok)
{
	const struct ps_sasl_mechanism *found = NULL;

	for (size_t i = 0; i < PS_ARRAY_LEN(mechanisms); i++)
		if (ps_strcasecmp(mechanisms[i].name, mechanism) == 0)
			found = &mechanisms[i];
	if (!found)
		return ps_fail(PS_E_NOTFOUND, "no mechanism \"%s\"", mechanism);
	if (found->plaintext && !plaintext_ok)
		return ps_fail(PS_E_ACCESS, "%s without TLS", found->name);
	*sasl = (struct ps_sasl){
		.mechanism = found,
		.authzid.limit = PS_USER_NAME_MAX,
		.authcid.limit = PS_USER_NAME_MAX,
		.password.limit = PS_PASSWORD_MAX,
	};
	return 0;
}

enum ps_sasl_result ps_sasl_step(struct ps_sasl *sasl, struct ps_bytes data)
{
	return sasl->mechanism->step(sasl, data);
}

void ps_sasl_finish(struct ps_sasl *sasl)
{
	ps_buf_finish(&sasl->authzid);
	ps_buf_finish(&sasl->authcid);
	ps_buf_wipe(&sasl->password);
	sasl->mechanism = NULL;
}
