/* SPDX-License-Identifier: MIT */
/* What is said of addresses, transports and the smarthost. */
#include <arpa/inet.h>
#include "core/config/conf.h"
#include "core/delivery/route/address.h"

static void check_address(const struct ps_conf *conf, const char *setting, struct conf_errors *errors)
{
	PS_CLEANUP(ps_pool_destroyp) struct ps_pool *pool = ps_pool_create("address check");
	const char *text = ps_conf_str(conf, setting);
	struct ps_mail_address address;

	if (text && (ps_mail_address_parse(ps_bytes_str(text), pool, &address) < 0 || address.literal))
		conf_error(errors, conf_line(conf, setting, PS_SET_STRING), "\"%s\" must be an address, not \"%s\"",
			   setting, text);
}

static bool is_domain(const char *name)
{
	struct ps_buf out = {.limit = PS_DOMAIN_MAX + 1};
	bool is = ps_domain_normalise(ps_bytes_str(name), &out) == 0 && name[0] != '[';

	ps_buf_finish(&out);
	return is;
}

static bool is_address(const char *host)
{
	uint8_t octets[16];

	return inet_pton(AF_INET, host, octets) == 1 || inet_pton(AF_INET6, host, octets) == 1;
}

static void check_host(const struct ps_conf *conf, const char *place, struct conf_errors *errors)
{
	const char *host = ps_conf_str(conf, "host");

	if (host && !is_address(host) && !is_domain(host))
		conf_error(errors, conf_line(conf, "host", PS_SET_STRING),
			   "\"host\" in %s must be a host's name or address, not \"%s\"", place, host);
}

/* Log-in wants the other side to be who it says, or at least nobody to listen. */
static void check_smarthost(const struct ps_conf *conf, struct conf_errors *errors)
{
	const char *tls = ps_conf_str(conf, "tls"), *file = ps_conf_str(conf, "password_file");
	bool user = ps_conf_str(conf, "user") != NULL;

	check_host(conf, "smarthost", errors);
	if (user && !ps_conf_str(conf, "host"))
		conf_error(errors, conf->line, "smarthost has a user but no host");
	if (user != (file != NULL))
		conf_error(errors, conf->line, "smarthost has a %s but no %s: both are needed to log in, or neither",
			   user ? "user" : "password_file", user ? "password_file" : "user");
	if (file && file[0] != '/')
		conf_error(errors, conf_line(conf, "password_file", PS_SET_STRING),
			   "\"password_file\" in smarthost must be an absolute path, not \"%s\"", file);
	if (user && (strcmp(tls, "none") == 0 || strcmp(tls, "opportunistic") == 0))
		conf_error(
			errors, conf_line(conf, "tls", PS_SET_CHOICE),
			"\"tls\" in smarthost must be required, verify or dane: the password would travel without it");
}

static void check_transport(const struct ps_config *config, size_t n, struct conf_errors *errors)
{
	const struct ps_conf *transport = ps_conf_section(config->root, "transport", n);
	const char *title = ps_conf_title(transport);
	bool all = strcmp(title, "*") == 0;

	check_host(transport, "transport", errors);
	if (!all && !is_domain(title + (title[0] == '.')))
		conf_error(errors, transport->line,
			   "transport \"%s\": expected a domain, \".domain\" for all that are below it, or \"*\"",
			   title);
	if (all && ps_conf_str(ps_conf_section(config->root, "smarthost", 0), "host"))
		conf_error(errors, transport->line,
			   "transport \"*\" and smarthost are both for all mail: expected one of them");
	for (size_t i = 0; i < n; i++)
		if (ps_strcasecmp(title, ps_conf_title(ps_conf_section(config->root, "transport", i))) == 0)
			conf_error(errors, transport->line, "transport \"%s\" is there twice", title);
}

/* Octets that an address may have without quotes, and that are none of a domain. */
static void check_separator(const struct ps_conf *root, struct conf_errors *errors)
{
	const char *separators = ps_conf_str(root, "subaddress_separator");

	if (separators[strspn(separators, "+-=#&_~^")] != '\0')
		conf_error(errors, conf_line(root, "subaddress_separator", PS_SET_STRING),
			   "\"subaddress_separator\" may hold + - = # & _ ~ ^, not \"%s\"", separators);
}

/* It stands in names of users, which are ASCII. */
static void check_default_domain(const struct ps_conf *root, struct conf_errors *errors)
{
	const char *name = ps_conf_str(root, "default_domain");
	int line = conf_line(root, "default_domain", PS_SET_STRING);
	struct ps_buf out = {.limit = PS_DOMAIN_MAX + 1};

	if (name && (ps_domain_normalise(ps_bytes_str(name), &out) < 0 || name[0] == '['))
		conf_error(errors, line, "\"default_domain\" must be a domain, not \"%s\"", name);
	else if (name && ps_strcasecmp(name, ps_buf_cstr(&out)) != 0)
		conf_error(errors, line, "\"default_domain\" must be written in ASCII: \"%s\"", ps_buf_cstr(&out));
	ps_buf_finish(&out);
}

void conf_check_routes(const struct ps_config *config, struct conf_errors *errors)
{
	check_default_domain(config->root, errors);
	check_separator(config->root, errors);
	check_address(config->root, "postmaster", errors);
	for (size_t i = 0; i < ps_conf_section_count(config->root, "domain"); i++) {
		check_address(ps_conf_section(config->root, "domain", i), "catch_all", errors);
		check_address(ps_conf_section(config->root, "domain", i), "postmaster", errors);
	}
	for (size_t i = 0; i < ps_conf_section_count(config->root, "transport"); i++)
		check_transport(config, i, errors);
	check_smarthost(ps_conf_section(config->root, "smarthost", 0), errors);
}
