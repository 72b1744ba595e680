/* SPDX-License-Identifier: MIT */
/* Certificates: that of the server, those of domains, those of clients. */
#include <string.h>
#include "core/config/conf.h"
#include "core/net/tls.h"

static void check_path(const struct ps_conf *section, const char *setting, const char *where,
		       struct conf_errors *errors)
{
	const char *path = ps_conf_str(section, setting);

	if (path && path[0] != '/')
		conf_error(errors, conf_line(section, setting, PS_SET_STRING),
			   "\"%s\" in %s must be an absolute path, not \"%s\"", setting, where, path);
}

/* The settings that tls and domain have alike. */
static void check_certificate(const struct ps_conf *section, const char *where, struct conf_errors *errors)
{
	static const char *const paths[] = {"certificate", "key", "ocsp_response"};
	bool certificate = ps_conf_str(section, "certificate"), key = ps_conf_str(section, "key");

	for (size_t i = 0; i < PS_ARRAY_LEN(paths); i++)
		check_path(section, paths[i], where, errors);
	if (certificate != key)
		conf_error(errors, section->line, "%s has a %s but no %s: both are needed, or neither", where,
			   certificate ? "certificate" : "key", certificate ? "key" : "certificate");
	if (ps_conf_str(section, "ocsp_response") && !certificate)
		conf_error(errors, conf_line(section, "ocsp_response", PS_SET_STRING),
			   "%s has an ocsp_response but no certificate", where);
}

/* True if one has. */
static bool check_domains(const struct ps_config *config, struct conf_errors *errors)
{
	size_t n = ps_conf_section_count(config->root, "domain"), count = 0;

	for (size_t i = 0; i < n; i++) {
		const struct ps_conf *domain = ps_conf_section(config->root, "domain", i);
		struct ps_buf where = {0};

		ps_buf_printf(&where, "domain \"%s\"", ps_conf_title(domain));
		check_certificate(domain, ps_buf_cstr(&where), errors);
		ps_buf_finish(&where);
		count += ps_conf_str(domain, "certificate") != NULL;
	}
	if (count >= PS_KEY_SLOTS)
		conf_error(errors, config->last_line, "%zu domains have a certificate: there may be %u", count,
			   PS_KEY_SLOTS - 1);
	return count > 0;
}

static void check_listener(const struct ps_conf *listener, bool has_certificate, bool has_authorities,
			   struct conf_errors *errors)
{
	const char *title = ps_conf_title(listener);
	bool speaks_tls = strcmp(ps_conf_str(listener, "tls"), "none") != 0;

	if (speaks_tls && !has_certificate)
		conf_error(errors, conf_line(listener, "tls", PS_SET_CHOICE),
			   "listener \"%s\" needs tls { certificate, key }; without TLS it must say: tls = none",
			   title);
	if (strcmp(ps_conf_str(listener, "client_certificate"), "none") == 0)
		return;
	if (!speaks_tls)
		conf_error(errors, conf_line(listener, "client_certificate", PS_SET_CHOICE),
			   "listener \"%s\" cannot ask for a client's certificate without TLS", title);
	if (!has_authorities)
		conf_error(errors, conf_line(listener, "client_certificate", PS_SET_CHOICE),
			   "listener \"%s\" asks for a client's certificate: that needs tls { client_authorities }",
			   title);
}

void conf_check_tls(const struct ps_config *config, struct conf_errors *errors)
{
	const struct ps_conf *tls = ps_conf_section(config->root, "tls", 0);
	size_t n = ps_conf_section_count(config->root, "listener");
	bool has_certificate = ps_conf_str(tls, "certificate") || ps_conf_str(tls, "key");

	check_certificate(tls, "tls", errors);
	check_path(tls, "client_authorities", "tls", errors);
	has_certificate |= check_domains(config, errors);
	for (size_t i = 0; i < n; i++)
		check_listener(ps_conf_section(config->root, "listener", i), has_certificate,
			       ps_conf_str(tls, "client_authorities"), errors);
}
