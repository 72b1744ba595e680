/* SPDX-License-Identifier: MIT */
/* Users in an LDAP directory: an entry is searched for, and the password checked by binding as it, or by ourselves if it can be read. */
#include <ldap.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include "postern/error.h"
#include "postern/pool.h"
#include "postern/userdb.h"

#define FILTER_MAX 4096

static const struct ps_setting settings[] = {
	{.name = "uri", .type = PS_SET_STRING, .help = "ldap://, ldaps:// or ldapi:// of the server; must be set"},
	{.name = "starttls", .type = PS_SET_BOOL, .def = "no", .help = "begin TLS on a connection by ldap://"},
	{.name = "ca_file",
	 .type = PS_SET_STRING,
	 .help = "certificates by which the server's is verified; without: libldap's"},
	{.name = "bind_dn", .type = PS_SET_STRING, .help = "as whom to search; anonymously if not set"},
	{.name = "bind_password", .type = PS_SET_STRING, .secret = true, .help = "the password of that"},
	{.name = "base", .type = PS_SET_STRING, .help = "where to search, with all below; must be set"},
	{.name = "filter",
	 .type = PS_SET_STRING,
	 .def = "(mail=%u)",
	 .help = "what the entry of a user fulfils; %u whole name, %n local part, %d domain"},
	{.name = "attributes",
	 .type = PS_SET_LIST,
	 .help = "fields and where they come from, as \"field=attribute\"; with a password it is compared, without: by "
		 "bind"},
	{.name = "network_timeout",
	 .type = PS_SET_TIME,
	 .def = "5s",
	 .min = 1,
	 .max = 300,
	 .help = "for a connection, and for each answer"},
	{.name = NULL},
};

struct directory {
	const struct ps_conf *conf;
	LDAP *ldap;
	char **attributes; /* of the directory, NULL-terminated */
};

static int fail(int code, const char *doing)
{
	return ps_fail(PS_E_STORAGE, "LDAP: %s: %s", doing, ldap_err2string(code));
}

/* ---- connections ------------------------------------------------------------------------------- */

static int set_options(LDAP *ldap, const struct ps_conf *conf)
{
	const int version = LDAP_VERSION3;
	const struct timeval time = {.tv_sec = ps_conf_int(conf, "network_timeout")};
	const char *ca_file = ps_conf_str(conf, "ca_file");
	const int demand = LDAP_OPT_X_TLS_DEMAND, new_context = 0;
	const struct {
		int option;
		const void *value;
	} options[] = {
		{LDAP_OPT_PROTOCOL_VERSION, &version},
		{LDAP_OPT_NETWORK_TIMEOUT, &time},
		{LDAP_OPT_TIMEOUT, &time},
		{LDAP_OPT_REFERRALS, LDAP_OPT_OFF},
		{LDAP_OPT_X_TLS_REQUIRE_CERT, &demand},
		{ca_file ? LDAP_OPT_X_TLS_CACERTFILE : 0, ca_file},
		{ca_file ? LDAP_OPT_X_TLS_NEWCTX : 0, &new_context},
	};

	for (size_t i = 0; i < PS_ARRAY_LEN(options); i++)
		if (options[i].option && ldap_set_option(ldap, options[i].option, options[i].value) != LDAP_OPT_SUCCESS)
			return ps_fail(PS_E_UNSUPPORTED, "LDAP: option %#x cannot be set", (unsigned)options[i].option);
	return 0;
}

static void disconnect(LDAP *ldap)
{
	if (ldap)
		ldap_unbind_ext_s(ldap, NULL, NULL);
}

static int connect_to(const struct ps_conf *conf, LDAP **ret_ldap)
{
	LDAP *ldap = NULL;
	int code = ldap_initialize(&ldap, ps_conf_str(conf, "uri")), r;

	if (code != LDAP_SUCCESS)
		return fail(code, "uri");
	r = set_options(ldap, conf);
	if (r == 0 && ps_conf_bool(conf, "starttls") && (code = ldap_start_tls_s(ldap, NULL, NULL)) != LDAP_SUCCESS)
		r = fail(code, "STARTTLS");
	if (r < 0)
		disconnect(ldap);
	else
		*ret_ldap = ldap;
	return r;
}

static int bind_as(LDAP *ldap, const char *dn, struct ps_bytes password)
{
	PS_CLEANUP(ps_freep) char *copy = ps_malloc(password.len + 1);
	struct berval credentials = {password.len, copy};
	int code;

	memcpy(copy, password.len ? (const char *)password.ptr : "", password.len);
	copy[password.len] = '\0';
	code = ldap_sasl_bind_s(ldap, dn, LDAP_SASL_SIMPLE, &credentials, NULL, NULL, NULL);
	explicit_bzero(copy, password.len);
	return code;
}

/* ---- searching --------------------------------------------------------------------------------- */

/* RFC 4515 section 3 */
static void put_escaped(struct ps_buf *out, const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (ps_isalpha(text[i]) || ps_isdigit(text[i]) || strchr(".-_@+=", text[i]))
			ps_buf_char(out, text[i]);
		else
			ps_buf_printf(out, "\\%02x", (unsigned char)text[i]);
	}
}

static void make_filter(const char *pattern, const char *name, struct ps_buf *out)
{
	size_t local = strcspn(name, "@");
	const char *domain = name[local] ? name + local + 1 : "";

	for (const char *at = pattern; *at; at++) {
		if (at[0] != '%' || !at[1]) {
			ps_buf_char(out, *at);
			continue;
		}
		switch (*++at) {
		case 'u': put_escaped(out, name, strlen(name)); break;
		case 'n': put_escaped(out, name, local); break;
		case 'd': put_escaped(out, domain, strlen(domain)); break;
		default: ps_buf_char(out, *at);
		}
	}
}

/* The one entry. The result is the caller's to free, whatever is returned. */
static int search(struct directory *dir, const char *name, LDAPMessage **ret_result, LDAPMessage **ret_entry)
{
	struct ps_buf filter = {.limit = FILTER_MAX};
	int code, count;

	make_filter(ps_conf_str(dir->conf, "filter"), name, &filter);
	code = ldap_search_ext_s(dir->ldap, ps_conf_str(dir->conf, "base"), LDAP_SCOPE_SUBTREE, ps_buf_cstr(&filter),
				 dir->attributes, 0, NULL, NULL, NULL, 2, ret_result);
	ps_buf_finish(&filter);
	if (code != LDAP_SUCCESS && code != LDAP_SIZELIMIT_EXCEEDED)
		return fail(code, "search");
	count = ldap_count_entries(dir->ldap, *ret_result);
	if (count == 0)
		return ps_fail(PS_E_NOTFOUND, "no user %s", name);
	if (count != 1)
		return ps_fail(PS_E_INVALID, "LDAP: more than one entry for user %s", name);
	*ret_entry = ldap_first_entry(dir->ldap, *ret_result);
	return 0;
}

static void put_entry(struct directory *dir, LDAPMessage *entry, const struct ps_userdb_fields *fields)
{
	for (size_t i = 0; dir->attributes[i] && i < ps_conf_list_size(dir->conf, "attributes"); i++) {
		const char *row = ps_conf_list_nth(dir->conf, "attributes", i);
		struct berval **values = ldap_get_values_len(dir->ldap, entry, dir->attributes[i]);
		PS_CLEANUP(ps_freep) char *field = ps_strdup(row);

		field[strcspn(field, "=")] = '\0';
		if (values && values[0])
			fields->put(fields->arg, field, ps_bytes(values[0]->bv_val, values[0]->bv_len));
		ldap_value_free_len(values);
	}
}

static int directory_find(void *arg, const char *name, const struct ps_userdb_fields *fields)
{
	struct directory *dir = arg;
	LDAPMessage *result = NULL, *entry;
	int r = search(dir, name, &result, &entry);

	if (r == 0)
		put_entry(dir, entry, fields);
	ldap_msgfree(result);
	return r;
}

/* ---- passwords --------------------------------------------------------------------------------- */

/* On a connection of its own, so that searches stay those of bind_dn. A bind without a password would be one without a name, and succeed (RFC
 * 4513 section 5.1.2). */
static int try_bind(const struct directory *dir, const char *dn, struct ps_bytes password)
{
	LDAP *ldap;
	int r = connect_to(dir->conf, &ldap), code;

	if (r < 0)
		return r;
	code = password.len ? bind_as(ldap, dn, password) : LDAP_INVALID_CREDENTIALS;
	disconnect(ldap);
	if (code == LDAP_SUCCESS)
		return 0;
	if (code == LDAP_INVALID_CREDENTIALS || code == LDAP_INAPPROPRIATE_AUTH || code == LDAP_NO_SUCH_OBJECT)
		return ps_fail(PS_E_AUTH, "LDAP: %s", ldap_err2string(code));
	return fail(code, "bind");
}

/* Takes as long as for somebody. */
static int refuse_nobody(const struct directory *dir, const struct ps_userdb_login *login)
{
	PS_CLEANUP(ps_freep) char *dn = NULL;
	int r = asprintf(&dn, "cn=nobody,%s", ps_conf_str(dir->conf, "base"));

	if (r < 0)
		return ps_fail(PS_E_LIMIT, "no memory");
	r = try_bind(dir, dn, login->password);
	return r < 0 && r != PS_E_AUTH ? r : ps_fail(PS_E_AUTH, "no user %s", login->name);
}

static int directory_verify(void *arg, const struct ps_userdb_login *login)
{
	struct directory *dir = arg;
	LDAPMessage *result = NULL, *entry;
	int r = search(dir, login->name, &result, &entry);
	char *dn = r == 0 ? ldap_get_dn(dir->ldap, entry) : NULL;

	if (r == 0)
		r = dn ? try_bind(dir, dn, login->password) : ps_fail(PS_E_STORAGE, "LDAP: an entry without a name");
	ldap_memfree(dn);
	ldap_msgfree(result);
	return r == PS_E_NOTFOUND ? refuse_nobody(dir, login) : r;
}

/* ---- the driver -------------------------------------------------------------------------------- */

static void directory_close(void *arg)
{
	struct directory *dir = arg;

	disconnect(dir->ldap);
	for (size_t i = 0; dir->attributes && dir->attributes[i]; i++)
		free(dir->attributes[i]);
	free(dir->attributes);
	free(dir);
}

/* Without any it is asked for none: all would be sent else. */
static int name_attributes(struct directory *dir)
{
	size_t count = ps_conf_list_size(dir->conf, "attributes");

	dir->attributes = ps_zalloc(sizeof *dir->attributes * (count + 2));
	for (size_t i = 0; i < count; i++) {
		const char *row = ps_conf_list_nth(dir->conf, "attributes", i), *sign = strchr(row, '=');

		if (!sign || !sign[1])
			return ps_fail(PS_E_INVALID, "attributes: \"%s\" is not field=attribute", row);
		dir->attributes[i] = ps_strdup(sign + 1);
	}
	if (count == 0)
		dir->attributes[0] = ps_strdup(LDAP_NO_ATTRS);
	return 0;
}

static int begin(struct directory *dir)
{
	const char *dn = ps_conf_str(dir->conf, "bind_dn"), *password = ps_conf_str(dir->conf, "bind_password");
	int r, code;

	if (!ps_conf_str(dir->conf, "uri") || !ps_conf_str(dir->conf, "base"))
		return ps_fail(PS_E_INVALID, "ldap: \"uri\" and \"base\" must be set");
	if ((r = name_attributes(dir)) < 0 || (r = connect_to(dir->conf, &dir->ldap)) < 0)
		return r;
	code = bind_as(dir->ldap, dn ? dn : "", ps_bytes_str(dn && password ? password : ""));
	return code == LDAP_SUCCESS ? 0 : fail(code, "bind");
}

static int directory_open(const struct ps_conf *conf, void **ret_db)
{
	struct directory *dir = ps_zalloc(sizeof *dir);
	int r;

	dir->conf = conf;
	r = begin(dir);
	if (r < 0)
		directory_close(dir);
	else
		*ret_db = dir;
	return r;
}

static const struct ps_userdb_place places[] = {
	{.setting = "ca_file"},
	{.path = "/etc/ldap"},
	{NULL, NULL, false, false},
};

static const struct ps_userdb ops = {
	.open = directory_open,
	.close = directory_close,
	.find = directory_find,
	.verify = directory_verify,
	.places = places,
	.connects = true,
};

PS_PLUGIN_EXPORT = {
	.abi = PS_ABI,
	.size = sizeof(struct ps_plugin),
	.kind = PS_PLUGIN_USERDB,
	.ops_size = sizeof(struct ps_userdb),
	.name = "ldap",
	.summary = "users in an LDAP directory",
	.ops = &ops,
	.settings = settings,
};
