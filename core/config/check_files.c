/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <gnutls/gnutls.h>
#include <sys/stat.h>
#include <unistd.h>
#include "auth/passwdfile.h"
#include "core/config/conf.h"
#include "core/delivery/route/route.h"

static void check_readable(const struct ps_conf *conf, const char *name, struct conf_errors *errors)
{
	const struct conf_value *value = conf_value(conf, name, PS_SET_STRING);
	struct stat st;

	if (!value->text)
		return;
	if (access(value->text, R_OK) < 0)
		conf_error(errors, value->line, "\"%s\": cannot read %s: %s", name, value->text, strerror(errno));
	else if (stat(value->text, &st) == 0 && S_ISDIR(st.st_mode))
		conf_error(errors, value->line, "\"%s\": %s is a folder; expected a file", name, value->text);
}

/* It may be absent: master makes it. */
static void check_mail_root(const struct ps_conf *root, struct conf_errors *errors)
{
	const struct conf_value *value = conf_value(root, "mail_root", PS_SET_STRING);
	struct stat st;

	if (stat(value->text, &st) < 0) {
		if (errno != ENOENT)
			conf_error(errors, value->line, "\"mail_root\": %s: %s", value->text, strerror(errno));
	} else if (!S_ISDIR(st.st_mode)) {
		conf_error(errors, value->line, "\"mail_root\": %s is not a folder", value->text);
	}
}

static void check_certificate(const struct ps_conf *section, struct conf_errors *errors)
{
	check_readable(section, "certificate", errors);
	check_readable(section, "key", errors);
	check_readable(section, "ocsp_response", errors);
}

static void check_priority(const struct ps_conf *tls, struct conf_errors *errors)
{
	const struct conf_value *value = conf_value(tls, "priority", PS_SET_STRING);
	gnutls_priority_t priority;
	const char *rest = "";
	int r = gnutls_priority_init(&priority, value->text, &rest);

	if (r < 0)
		conf_error(errors, value->line, "\"priority\" in tls: %s at \"%s\"", gnutls_strerror(r), rest);
	else
		gnutls_priority_deinit(priority);
}

static void tell_lines(const char *lines, int line, struct conf_errors *errors)
{
	while (*lines) {
		size_t len = strcspn(lines, "\n");

		conf_error(errors, line, "\"alias_file\": %.*s", (int)len, lines);
		lines += len + (lines[len] == '\n');
	}
}

static int read_file(const char *path, struct ps_buf *out)
{
	PS_CLEANUP(ps_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	return fd < 0 ? ps_fail_errno("open %s", path) : ps_passwd_read_fd(fd, path, out);
}

/* Each line of it, and whether they lead in circles. */
static void check_alias_file(const struct ps_conf *root, struct conf_errors *errors)
{
	const struct conf_value *value = conf_value(root, "alias_file", PS_SET_STRING);
	struct ps_buf text = {0}, wrong = {.limit = 65536};
	struct ps_route *route;
	int r;

	if (!value->text || access(value->text, R_OK) < 0 || ps_route_create(root, &route) < 0)
		return;
	r = read_file(value->text, &text);
	if (r < 0 || (r = ps_route_set_aliases(route, ps_buf_view(&text), value->text, &wrong)) == PS_E_LIMIT)
		conf_error(errors, value->line, "\"alias_file\": %s", ps_last_error());
	else
		ps_route_check_aliases(route, value->text, &wrong);
	tell_lines(ps_buf_cstr(&wrong), value->line, errors);
	ps_route_destroy(route);
	ps_buf_finish(&text);
	ps_buf_finish(&wrong);
}

int ps_config_check_files(const struct ps_config *config, struct ps_buf *errors)
{
	PS_CLEANUP(ps_pool_destroyp) struct ps_pool *pool = ps_pool_create("config check");
	struct conf_errors found = {.pool = pool, .path = config->path};
	const struct ps_conf *tls = ps_conf_section(config->root, "tls", 0);

	check_readable(config->root, "passwd_file", &found);
	check_readable(config->root, "alias_file", &found);
	check_alias_file(config->root, &found);
	check_readable(ps_conf_section(config->root, "smarthost", 0), "password_file", &found);
	check_readable(ps_conf_section(config->root, "oauth", 0), "jwks", &found);
	check_certificate(tls, &found);
	check_readable(tls, "client_authorities", &found);
	for (size_t i = 0; i < ps_conf_section_count(config->root, "domain"); i++)
		check_certificate(ps_conf_section(config->root, "domain", i), &found);
	check_mail_root(config->root, &found);
	check_priority(tls, &found);
	return conf_errors_tell(&found, errors);
}
