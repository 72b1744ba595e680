/* SPDX-License-Identifier: MIT */
/* Access tokens of an issuer who is asked by HTTPS: for its keys, or for each token. */
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>
#include "auth/oauth/oauth.h"
#include "postern/build.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/pool.h"
#include "postern/userdb.h"

enum {
	USER_MAX = 255,
};

static const struct ps_setting settings[] = {
	{.name = "jwks",
	 .type = PS_SET_STRING,
	 .help = "URL (https) of the keys (JWKS) that access tokens are signed with; this or introspection must be "
		 "set"},
	{.name = "introspection",
	 .type = PS_SET_STRING,
	 .help = "URL (https) where is asked whether a token holds (RFC 7662)"},
	{.name = "client_id", .type = PS_SET_STRING, .help = "as whom to ask there; needed with introspection"},
	{.name = "client_secret", .type = PS_SET_STRING, .secret = true, .help = "the password of that"},
	{.name = "issuer", .type = PS_SET_STRING, .help = "who makes the tokens, their claim iss; needed with jwks"},
	{.name = "audience",
	 .type = PS_SET_STRING,
	 .help = "for whom they are, among their claim aud; needed with jwks"},
	{.name = "scope",
	 .type = PS_SET_STRING,
	 .help = "what must be among their claim scope, or scp; without: nothing"},
	{.name = "user_claim",
	 .type = PS_SET_STRING,
	 .def = "email",
	 .help = "the claim that is the user's name; an address must not be called unverified"},
	{.name = "cache_time",
	 .type = PS_SET_TIME,
	 .def = "60s",
	 .min = 0,
	 .max = 3600,
	 .help = "how long the answer for a token is kept, if the token holds so long; 0: it is asked for each log-in"},
	{.name = "refresh_pause",
	 .type = PS_SET_TIME,
	 .def = "30s",
	 .min = 0,
	 .max = 3600,
	 .help = "between two fetches of the keys, however many tokens come that are signed with others"},
	{.name = "timeout", .type = PS_SET_TIME, .def = "5s", .min = 1, .max = 300, .help = "for each request"},
	{.name = "ca_file",
	 .type = PS_SET_STRING,
	 .help = "certificates by which the issuer's is verified; the system's if not set"},
	{.name = NULL},
};

static int check_settings(const struct ps_conf *conf)
{
	const char *jwks = ps_conf_str(conf, "jwks"), *introspection = ps_conf_str(conf, "introspection");
	const char *url = jwks ? jwks : introspection;

	if (!url || (jwks && introspection))
		return ps_fail(PS_E_INVALID, "oauth: \"jwks\" or \"introspection\" must be set, and not both");
	if (strncmp(url, "https://", 8) != 0)
		return ps_fail(PS_E_INVALID, "oauth: \"%s\" does not begin with https://", url);
	if (jwks && (!ps_conf_str(conf, "issuer") || !ps_conf_str(conf, "audience")))
		return ps_fail(PS_E_INVALID, "oauth has jwks: it needs issuer and audience, too");
	if (introspection && (!ps_conf_str(conf, "client_id") || !ps_conf_str(conf, "client_secret")))
		return ps_fail(PS_E_INVALID, "oauth has introspection: it needs client_id and client_secret, too");
	return 0;
}

static void oauth_close(void *db)
{
	struct oauth *oauth = db;

	web_close(oauth);
	free(oauth);
}

static int oauth_open(const struct ps_conf *conf, void **ret_db)
{
	struct oauth *oauth = ps_zalloc(sizeof *oauth);
	int r;

	oauth->conf = conf;
	if ((r = check_settings(conf)) < 0 || (r = web_open(oauth)) < 0)
		oauth_close(oauth);
	else
		*ret_db = oauth;
	return r;
}

static int oauth_find(void *db, const char *name, const struct ps_userdb_fields *fields)
{
	(void)db;
	(void)fields;
	return ps_fail(PS_E_NOTFOUND, "no user %s: it knows tokens", name);
}

static void tell(const struct ps_token_holder *holder, const struct ps_userdb_fields *fields)
{
	char expires[24];

	fields->put(fields->arg, "user", ps_buf_view(&holder->user));
	if (holder->expires > 0) {
		snprintf(expires, sizeof expires, "%" PRId64, holder->expires);
		fields->put(fields->arg, "expires", ps_bytes_str(expires));
	}
}

static int oauth_token(void *db, struct ps_bytes token, const struct ps_userdb_fields *fields)
{
	struct oauth *oauth = db;
	struct ps_token_holder holder = {.user.limit = USER_MAX};
	bool by_keys = ps_conf_str(oauth->conf, "jwks");
	int r = by_keys ? keys_check(oauth, token, time(NULL), &holder) : said_check(oauth, token, time(NULL), &holder);

	if (r == 0)
		tell(&holder, fields);
	else if (r == PS_E_AUTH)
		ps_log(PS_LOG_INFO, "token_refused", "msg", ps_last_error(), NULL);
	ps_buf_finish(&holder.user);
	return r;
}

static const struct ps_userdb_place places[] = {
	{.setting = "ca_file"},
	{NULL, NULL, false, false},
};

static const struct ps_userdb ops = {
	.open = oauth_open,
	.close = oauth_close,
	.find = oauth_find,
	.token = oauth_token,
	.places = places,
	.connects = true,
};

PS_PLUGIN_EXPORT = {
	.abi = PS_ABI,
	.size = sizeof(struct ps_plugin),
	.kind = PS_PLUGIN_USERDB,
	.ops_size = sizeof(struct ps_userdb),
	.name = "oauth",
	.summary = "access tokens of an issuer who is asked by HTTPS",
	.build = PS_BUILD,
	.ops = &ops,
	.settings = settings,
};
