/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <gnutls/gnutls.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/config/conf.h"

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

int ps_config_check_files(const struct ps_config *config, struct ps_buf *errors)
{
	PS_CLEANUP(ps_pool_destroyp) struct ps_pool *pool = ps_pool_create("config check");
	struct conf_errors found = {.pool = pool, .path = config->path};
	const struct ps_conf *tls = ps_conf_section(config->root, "tls", 0);

	check_readable(config->root, "passwd_file", &found);
	check_readable(tls, "certificate", &found);
	check_readable(tls, "key", &found);
	check_mail_root(config->root, &found);
	check_priority(tls, &found);
	return conf_errors_tell(&found, errors);
}
