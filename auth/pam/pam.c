/* SPDX-License-Identifier: MIT */
/* Users whose passwords PAM checks. */
#include <errno.h>
#include <pwd.h>
#include <security/pam_appl.h>
#include <stdlib.h>
#include "postern/error.h"
#include "postern/pool.h"
#include "postern/userdb.h"

#define ENTRY_MAX 16384

static const struct ps_setting settings[] = {
	{.name = "service",
	 .type = PS_SET_STRING,
	 .def = "postern",
	 .help = "PAM service: a file in its configuration"},
	{.name = "folder", .type = PS_SET_STRING, .help = "where that is; without: /etc/pam.d"},
	{.name = "users",
	 .type = PS_SET_CHOICE,
	 .def = "system",
	 .choices = "system any",
	 .help = "who is a user: the system's, or whoever PAM lets in"},
	{.name = "strip_domain",
	 .type = PS_SET_BOOL,
	 .def = "yes",
	 .help = "whether PAM and the system see the local part only"},
	{.name = NULL},
};

/* The handle is the section itself: a conversation with PAM has no longer life than a question. */
static int modules_open(const struct ps_conf *conf, void **ret_db)
{
	*ret_db = (void *)conf;
	return 0;
}

static void modules_close(void *db)
{
	(void)db;
}

static char *name_for(const struct ps_conf *conf, const char *name)
{
	char *copy = ps_strdup(name);

	if (ps_conf_bool(conf, "strip_domain"))
		copy[strcspn(copy, "@")] = '\0';
	return copy;
}

static int modules_find(void *db, const char *name, const struct ps_userdb_fields *fields)
{
	const struct ps_conf *conf = db;
	PS_CLEANUP(ps_freep) char *local = name_for(conf, name), *octets = NULL;
	struct passwd entry, *found = NULL;
	int code;

	if (strcmp(ps_conf_str(conf, "users"), "any") == 0)
		return 0;
	octets = ps_malloc(ENTRY_MAX);
	code = getpwnam_r(local, &entry, octets, ENTRY_MAX, &found);
	if (found) {
		fields->put(fields->arg, "home", ps_bytes_str(entry.pw_dir));
		return 0;
	}
	if (code == 0 || code == ENOENT || code == ESRCH)
		return ps_fail(PS_E_NOTFOUND, "no user %s", name);
	return ps_fail(PS_E_STORAGE, "user %s: %s", name, strerror(code));
}

/* ---- passwords --------------------------------------------------------------------------------- */

static void drop_replies(struct pam_response *replies, int count)
{
	for (int i = 0; i < count; i++) {
		if (replies[i].resp)
			explicit_bzero(replies[i].resp, strlen(replies[i].resp));
		free(replies[i].resp);
	}
	free(replies);
}

/* A module that asks for anything but the password gets no answer. PAM frees the replies. */
static int converse(int count, const struct pam_message **messages, struct pam_response **ret_replies, void *arg)
{
	const struct ps_bytes *password = arg;
	struct pam_response *replies;

	if (count <= 0 || count > PAM_MAX_NUM_MSG)
		return PAM_CONV_ERR;
	replies = ps_zalloc(sizeof *replies * (size_t)count);
	for (int i = 0; i < count; i++) {
		switch (messages[i]->msg_style) {
		case PAM_PROMPT_ECHO_OFF: replies[i].resp = strndup((const char *)password->ptr, password->len); break;
		case PAM_ERROR_MSG:
		case PAM_TEXT_INFO: break;
		default: drop_replies(replies, i); return PAM_CONV_ERR;
		}
	}
	*ret_replies = replies;
	return PAM_SUCCESS;
}

/* Auth delays by itself, without keeping a thread. */
static void no_delay(int code, unsigned microseconds, void *arg)
{
	(void)code;
	(void)microseconds;
	(void)arg;
}

static int judge(int code, const char *what)
{
	switch (code) {
	case PAM_SUCCESS: return 0;
	case PAM_AUTH_ERR:
	case PAM_USER_UNKNOWN:
	case PAM_PERM_DENIED:
	case PAM_MAXTRIES:
	case PAM_CRED_INSUFFICIENT:
	case PAM_ACCT_EXPIRED:
	case PAM_NEW_AUTHTOK_REQD: return ps_fail(PS_E_AUTH, "PAM: %s", what);
	default: return ps_fail(PS_E_STORAGE, "PAM: %s", what);
	}
}

static int ask_modules(pam_handle_t *pam, const struct ps_userdb_login *login)
{
	PS_CLEANUP(ps_freep) char *host = ps_strdup(login->remote);
	char *colon = strrchr(host, ':');
	void (*const delay)(int code, unsigned microseconds, void *arg) = no_delay;
	int code;

	if (colon)
		*colon = '\0';
	pam_set_item(pam, PAM_RHOST, host);
	pam_set_item(pam, PAM_FAIL_DELAY, (const void *)delay);
	code = pam_authenticate(pam, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK);
	return code == PAM_SUCCESS ? pam_acct_mgmt(pam, PAM_SILENT | PAM_DISALLOW_NULL_AUTHTOK) : code;
}

static int modules_verify(void *db, const struct ps_userdb_login *login)
{
	const struct ps_conf *conf = db;
	const char *service = ps_conf_str(conf, "service"), *folder = ps_conf_str(conf, "folder");
	PS_CLEANUP(ps_freep) char *local = name_for(conf, login->name);
	struct ps_bytes password = login->password;
	const struct pam_conv conv = {converse, &password};
	pam_handle_t *pam = NULL;
	int code = folder ? pam_start_confdir(service, local, &conv, folder, &pam)
			  : pam_start(service, local, &conv, &pam);
	int r;

	if (code != PAM_SUCCESS || !pam)
		return ps_fail(PS_E_STORAGE, "PAM: service %s cannot be used", service);
	code = ask_modules(pam, login);
	r = judge(code, pam_strerror(pam, code));
	pam_end(pam, code);
	return r;
}

static const struct ps_userdb_place places[] = {
	{.setting = "folder"},       {.path = "/etc/pam.d"},  {.path = "/etc/pam.conf"},  {.path = "/etc/security"},
	{.path = "/etc/login.defs"}, {.path = "/etc/shadow"}, {NULL, NULL, false, false},
};

static const struct ps_userdb ops = {
	.open = modules_open,
	.close = modules_close,
	.find = modules_find,
	.verify = modules_verify,
	.places = places,
	.connects = true,
	.as_root = true,
};

PS_PLUGIN_EXPORT = {
	.abi = PS_ABI,
	.size = sizeof(struct ps_plugin),
	.kind = PS_PLUGIN_USERDB,
	.ops_size = sizeof(struct ps_userdb),
	.name = "pam",
	.summary = "users whose passwords PAM checks",
	.ops = &ops,
	.settings = settings,
};
