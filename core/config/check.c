/* SPDX-License-Identifier: MIT */
/* What a row of the schema cannot say: how settings belong together. */
#include <arpa/inet.h>
#include <sys/un.h>
#include "auth/databases.h"
#include "auth/sasl.h"
#include "core/config/conf.h"
#include "core/config/near.h"
#include "core/delivery/route/address.h"
#include "core/process/plugins.h"
#include "postern/store.h"

typedef void (*check_fn)(const struct ps_config *config, struct conf_errors *errors);

int conf_line(const struct ps_conf *conf, const char *name, enum ps_setting_type type)
{
	int line = conf_value(conf, name, type)->line;

	return line ? line : conf->line ? conf->line : conf->config->last_line;
}

static void check_absolute(const struct ps_config *config, struct conf_errors *errors)
{
	static const char *const paths[] = {"mail_root",         "run_dir",    "passwd_file",
					    "app_password_file", "alias_file", "spool_dir"};

	for (size_t i = 0; i < PS_ARRAY_LEN(paths); i++) {
		const char *path = ps_conf_str(config->root, paths[i]);

		if (path && path[0] != '/')
			conf_error(errors, conf_line(config->root, paths[i], PS_SET_STRING),
				   "\"%s\" must be an absolute path, not \"%s\"", paths[i], path);
	}
}

static void check_mail_root(const struct ps_config *config, struct conf_errors *errors)
{
	if (!ps_conf_str(config->root, "mail_root"))
		conf_error(errors, config->last_line, "\"mail_root\" is not set: expected the folder for all mail");
}

/* %u or %n must be there, or all users would share one store. */
static void check_location(const struct ps_conf *conf, const char *setting, struct conf_errors *errors)
{
	const char *location = ps_conf_str(conf, setting);
	int line = conf_line(conf, setting, PS_SET_STRING);
	bool own = false;

	for (const char *at = strchr(location, '%'); at; at = strchr(at + 2, '%')) {
		if (!at[1] || !strchr("und%", at[1])) {
			conf_error(errors, line, "\"%s\" may hold %%u, %%n, %%d and %%%%, not \"%.2s\"", setting, at);
			return;
		}
		own = own || at[1] == 'u' || at[1] == 'n';
	}
	if (!own)
		conf_error(errors, line, "\"%s\" must hold %%u or %%n: a place for each user", setting);
	if (location[0] == '/' || strstr(location, ".."))
		conf_error(errors, line, "\"%s\" must be below mail_root: no leading / and no ..", setting);
}

static void check_mail_location(const struct ps_config *config, struct conf_errors *errors)
{
	check_location(config->root, "mail_location", errors);
}

static void tell_no_plugin(struct conf_errors *errors, int line, enum ps_plugin_kind kind, const char *name)
{
	struct ps_near near = {.word = name};
	struct ps_buf hint = {.limit = 200};
	const struct ps_plugin *plugin;

	for (size_t i = 0; (plugin = ps_plugin_nth(i)); i++)
		if (plugin->kind == kind)
			ps_near_offer(&near, plugin->name);
	if (near.best)
		ps_buf_printf(&hint, "; did you mean \"%s\"?", near.best);
	conf_error(errors, line, "no %s \"%s\" is installed%s", conf_kind_word(kind), name, ps_buf_cstr(&hint));
	ps_buf_finish(&hint);
}

/* A role without any plugin of the kind cannot tell; master has. */
static void check_plugin(struct conf_errors *errors, int line, enum ps_plugin_kind kind, const char *name)
{
	if (conf_kind_loaded(kind) && !ps_plugin_find(kind, name))
		tell_no_plugin(errors, line, kind, name);
}

static void check_backend(const struct ps_config *config, struct conf_errors *errors)
{
	check_plugin(errors, conf_line(config->root, "backend", PS_SET_STRING), PS_PLUGIN_BACKEND,
		     ps_conf_str(config->root, "backend"));
}

static void check_domain_name(const struct ps_config *config, size_t n, struct conf_errors *errors)
{
	const struct ps_conf *domain = ps_conf_section(config->root, "domain", n);
	const char *name = ps_conf_title(domain);

	if (!*name || strpbrk(name, "@/ \t"))
		conf_error(errors, domain->line, "\"%s\" is no name of a domain", name);
	for (size_t i = 0; i < n; i++)
		if (ps_domain_same(name, ps_conf_title(ps_conf_section(config->root, "domain", i))))
			conf_error(errors, domain->line, "domain \"%s\" is there twice", name);
}

static void check_domains(const struct ps_config *config, struct conf_errors *errors)
{
	for (size_t i = 0; i < ps_conf_section_count(config->root, "domain"); i++) {
		const struct ps_conf *domain = ps_conf_section(config->root, "domain", i);

		check_domain_name(config, i, errors);
		if (ps_conf_str(domain, "mail_location"))
			check_location(domain, "mail_location", errors);
		if (ps_conf_str(domain, "backend"))
			check_plugin(errors, conf_line(domain, "backend", PS_SET_STRING), PS_PLUGIN_BACKEND,
				     ps_conf_str(domain, "backend"));
	}
}

/* Two places for a user's mail must not be one, nor one within the other. */
static bool locations_overlap(const char *a, const char *b)
{
	size_t len_a = strlen(a), len_b = strlen(b), len = len_a < len_b ? len_a : len_b;
	const char *longer = len_a < len_b ? b : a;

	return strncmp(a, b, len) == 0 && (longer[len] == '\0' || longer[len] == '/');
}

static void check_mount_place(const struct ps_config *config, size_t n, struct conf_errors *errors)
{
	const struct ps_conf *mount = ps_conf_section(config->root, "mount", n);
	const char *location = ps_conf_str(mount, "location"), *title = ps_conf_title(mount);
	int line = conf_line(mount, "location", PS_SET_STRING);

	check_location(mount, "location", errors);
	if (locations_overlap(location, ps_conf_str(config->root, "mail_location")))
		conf_error(errors, line, "mount \"%s\" lies where \"mail_location\" is", title);
	for (size_t i = 0; i < n; i++) {
		const struct ps_conf *other = ps_conf_section(config->root, "mount", i);
		const char *there = ps_conf_str(other, "location");

		if (there && locations_overlap(location, there))
			conf_error(errors, line, "mount \"%s\" lies where mount \"%s\" is", title,
				   ps_conf_title(other));
		if (locations_overlap(title, ps_conf_title(other)))
			conf_error(errors, mount->line, "mount \"%s\" is within mount \"%s\", or it in that", title,
				   ps_conf_title(other));
	}
}

static void check_mount_name(const struct ps_conf *mount, struct conf_errors *errors)
{
	const char *name = ps_conf_title(mount);

	if (ps_mailbox_name_check(name) < 0)
		conf_error(errors, mount->line, "mount \"%s\" cannot be: %s", name, ps_last_error());
	else if (ps_strcasecmp(name, "INBOX") == 0 || strncmp(name, "INBOX/", 6) == 0)
		conf_error(errors, mount->line, "mount \"%s\": INBOX and what is below it is in the user's own store",
			   name);
}

static void check_mounts(const struct ps_config *config, struct conf_errors *errors)
{
	for (size_t i = 0; i < ps_conf_section_count(config->root, "mount"); i++) {
		const struct ps_conf *mount = ps_conf_section(config->root, "mount", i);
		const char *backend = ps_conf_str(mount, "backend");

		check_mount_name(mount, errors);
		if (backend)
			check_plugin(errors, conf_line(mount, "backend", PS_SET_STRING), PS_PLUGIN_BACKEND, backend);
		else
			conf_error(errors, mount->line, "mount \"%s\" has no backend", ps_conf_title(mount));
		if (ps_conf_str(mount, "location"))
			check_mount_place(config, i, errors);
		else
			conf_error(errors, mount->line, "mount \"%s\" has no location", ps_conf_title(mount));
	}
}

static bool same_place(const struct ps_conf *a, const struct ps_conf *b)
{
	const char *path = ps_conf_str(a, "path"), *other = ps_conf_str(b, "path");

	if (path || other)
		return path && other && strcmp(path, other) == 0;
	return ps_conf_int(a, "port") == ps_conf_int(b, "port") &&
	       strcmp(ps_conf_str(a, "address"), ps_conf_str(b, "address")) == 0;
}

/* A local socket: its path must fit into its address. */
static void check_path(const struct ps_conf *listener, struct conf_errors *errors)
{
	const char *path = ps_conf_str(listener, "path"), *title = ps_conf_title(listener);

	if (path[0] != '/' || strlen(path) >= sizeof((struct sockaddr_un *)NULL)->sun_path)
		conf_error(errors, conf_line(listener, "path", PS_SET_STRING),
			   "\"path\" in listener \"%s\" must be an absolute path of at most %zu octets", title,
			   sizeof((struct sockaddr_un *)NULL)->sun_path - 1);
	if (ps_conf_int(listener, "port") != 0)
		conf_error(errors, conf_line(listener, "port", PS_SET_INT),
			   "listener \"%s\" has a path and a port: one place only", title);
}

static void check_listener(const struct ps_conf *listener, struct conf_errors *errors)
{
	const char *address = ps_conf_str(listener, "address"), *title = ps_conf_title(listener);
	struct in6_addr octets;

	check_plugin(errors, conf_line(listener, "protocol", PS_SET_STRING), PS_PLUGIN_PROTOCOL,
		     ps_conf_str(listener, "protocol"));
	if (inet_pton(AF_INET, address, &octets) != 1 && inet_pton(AF_INET6, address, &octets) != 1)
		conf_error(errors, conf_line(listener, "address", PS_SET_STRING),
			   "\"address\" in listener \"%s\" must be an IPv4 or IPv6 address, not "
			   "\"%s\"",
			   title, address);
	if (ps_conf_str(listener, "path"))
		check_path(listener, errors);
	else if (ps_conf_int(listener, "port") == 0)
		conf_error(errors, listener->line, "listener \"%s\" has no port", title);
}

static int place_line(const struct ps_conf *listener)
{
	return ps_conf_str(listener, "path") ? conf_line(listener, "path", PS_SET_STRING)
					     : conf_line(listener, "port", PS_SET_INT);
}

static void check_listeners(const struct ps_config *config, struct conf_errors *errors)
{
	size_t n = ps_conf_section_count(config->root, "listener");

	for (size_t i = 0; i < n; i++) {
		const struct ps_conf *listener = ps_conf_section(config->root, "listener", i);

		check_listener(listener, errors);
		for (size_t j = 0; j < i; j++) {
			const struct ps_conf *other = ps_conf_section(config->root, "listener", j);

			if (same_place(listener, other))
				conf_error(errors, place_line(listener),
					   "listener \"%s\" has the %s of listener \"%s\"", ps_conf_title(listener),
					   ps_conf_str(listener, "path") ? "path" : "address and port",
					   ps_conf_title(other));
		}
	}
}

static void check_mechanisms(const struct ps_config *config, struct conf_errors *errors)
{
	for (size_t i = 0; i < ps_conf_list_size(config->root, "sasl_mechanisms"); i++)
		if (!ps_sasl_is_known(ps_conf_list_nth(config->root, "sasl_mechanisms", i)))
			conf_error(errors, conf_line(config->root, "sasl_mechanisms", PS_SET_LIST),
				   "\"sasl_mechanisms\": there is no mechanism \"%s\" here",
				   ps_conf_list_nth(config->root, "sasl_mechanisms", i));
}

/* A token for somebody else must not let anybody in here. */
static void check_oauth(const struct ps_config *config, struct conf_errors *errors)
{
	const struct ps_conf *oauth = ps_conf_section(config->root, "oauth", 0);

	if (ps_conf_str(oauth, "jwks") && (!ps_conf_str(oauth, "issuer") || !ps_conf_str(oauth, "audience")))
		conf_error(errors, conf_line(oauth, "jwks", PS_SET_STRING),
			   "oauth has jwks: it needs issuer and audience, too");
}

/* It is said to clients, in protocols of lines. */
static void check_hostname(const struct ps_config *config, struct conf_errors *errors)
{
	const char *name = ps_conf_str(config->root, "hostname");
	size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.");

	if (len == 0 || len > 253 || name[len] != '\0')
		conf_error(errors, conf_line(config->root, "hostname", PS_SET_STRING),
			   "\"hostname\" must be a name of letters, digits, '-' and '.', not \"%s\"", name);
}

static void check_namespace(const struct ps_config *config, struct conf_errors *errors)
{
	const struct ps_conf *name_space = ps_conf_section(config->root, "namespace", 0);
	const char *prefix = ps_conf_str(name_space, "prefix"), *separator = ps_conf_str(name_space, "separator");
	size_t len = strlen(prefix);

	if (len > 0 && prefix[len - 1] != separator[0])
		conf_error(errors, conf_line(name_space, "prefix", PS_SET_STRING),
			   "\"prefix\" in namespace must end with the separator \"%s\", or be empty", separator);
}

/* Core makes the final check when it creates the mailbox; this finds what would fail there for every user. */
static void check_mailbox_name(const struct ps_conf *mailbox, struct conf_errors *errors)
{
	const char *name = ps_conf_title(mailbox);

	if (ps_strcasecmp(name, "INBOX") == 0 && strcmp(ps_conf_str(mailbox, "special_use"), "none") != 0)
		conf_error(errors, conf_line(mailbox, "special_use", PS_SET_CHOICE), "INBOX has no special use");
	else if (ps_mailbox_name_check(name) < 0)
		conf_error(errors, mailbox->line, "mailbox \"%s\" cannot be: %s", name, ps_last_error());
}

static void check_mailboxes(const struct ps_config *config, struct conf_errors *errors)
{
	size_t n = ps_conf_section_count(config->root, "mailbox");

	for (size_t i = 0; i < n; i++) {
		const struct ps_conf *mailbox = ps_conf_section(config->root, "mailbox", i);
		const char *use = ps_conf_str(mailbox, "special_use");

		check_mailbox_name(mailbox, errors);
		for (size_t j = 0; j < i && strcmp(use, "none") != 0; j++) {
			const struct ps_conf *other = ps_conf_section(config->root, "mailbox", j);

			if (strcmp(use, ps_conf_str(other, "special_use")) == 0)
				conf_error(errors, conf_line(mailbox, "special_use", PS_SET_CHOICE),
					   "mailbox \"%s\" has the special use of mailbox \"%s\": "
					   "expected one for each",
					   ps_conf_title(mailbox), ps_conf_title(other));
		}
	}
}

static void check_databases(const struct ps_config *config, struct conf_errors *errors)
{
	if (ps_conf_section_count(config->root, "userdb") > PS_DATABASES_MAX)
		conf_error(errors, ps_conf_section(config->root, "userdb", PS_DATABASES_MAX)->line,
			   "there may be at most %d sections userdb", PS_DATABASES_MAX);
}

static const check_fn checks[] = {
	check_hostname,      check_mechanisms, check_oauth,     check_absolute,  check_mail_root,
	check_mail_location, check_backend,    check_listeners, conf_check_tls,  check_namespace,
	check_mailboxes,     check_domains,    check_mounts,    check_databases, conf_check_routes,
};

void conf_check(const struct ps_config *config, struct conf_errors *errors)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(checks); i++)
		checks[i](config, errors);
}
