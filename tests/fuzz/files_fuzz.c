/* SPDX-License-Identifier: MIT */
/* Files that administrators and their tools write, and what proxies and compressing clients send: one parser each, by the first octet. */
#include <stdlib.h>
#include "auth/apps.h"
#include "auth/nets.h"
#include "auth/passwdfile.h"
#include "auth/scram.h"
#include "auth/tokens.h"
#include "core/config/config.h"
#include "core/net/compress.h"
#include "core/net/proxy.h"
#include "postern/error.h"
#include "postern/log.h"
#include "tests/fuzz/fuzz.h"

static void must(bool holds)
{
	if (!holds)
		abort();
}

/* What is in force, written as a file, is in force again. */
static void read_config(struct ps_bytes text)
{
	struct ps_buf errors = {0}, shown = {0}, again = {0};
	struct ps_config *config, *same;

	if (ps_config_read("fuzz.conf", text, &errors, &config) == 0) {
		must(ps_config_show(config, false, &shown) == 0);
		must(ps_config_read("again.conf", ps_buf_view(&shown), NULL, &same) == 0);
		must(ps_config_show(same, false, &again) == 0);
		must(ps_bytes_eq(ps_buf_view(&shown), ps_buf_view(&again)));
		ps_config_destroy(same);
		ps_config_destroy(config);
	} else {
		must(errors.len > 0);
	}
	ps_buf_finish(&errors);
	ps_buf_finish(&shown);
	ps_buf_finish(&again);
}

static void read_passwd(struct ps_bytes text)
{
	struct ps_user_defaults defaults = {.default_domain = "example.test",
					    .mail_root = "/srv/mail",
					    .mail_location = "%d/%n",
					    .backend = "maildir",
					    .uid = 1000,
					    .gid = 1000};
	struct ps_passwd_file *file;

	if (ps_passwd_file_parse(text, "passwd", &defaults, &file) < 0)
		return;
	for (size_t i = 0; i < ps_passwd_file_count(file); i++) {
		const struct ps_user_entry *entry = ps_passwd_file_nth(file, i);

		must(ps_passwd_file_find(file, entry->info.name) != NULL);
		must(strncmp(entry->info.root, "/srv/mail/", 10) == 0 && !strstr(entry->info.root, "/../"));
		must(entry->info.uid == 1000);
	}
	ps_passwd_file_serves(file);
	ps_passwd_file_stand_in(file);
	ps_passwd_file_destroy(file);
}

static void read_apps(struct ps_bytes text)
{
	struct ps_apps *apps = ps_apps_parse(text, "apps");
	const struct ps_app *app;

	for (size_t i = 0; (app = ps_apps_nth(apps, i)); i++) {
		must(ps_apps_by_id(apps, app->id) != NULL);
		ps_app_refuses(app, "imap", "192.0.2.1:1", 1);
		ps_app_last_use(text, app->id);
	}
	ps_apps_destroy(apps);
}

static void read_keys(struct ps_bytes text)
{
	struct ps_token_keys *keys;

	if (ps_token_keys_parse(text, "jwks", &keys) == 0)
		ps_token_keys_destroy(keys);
}

static void read_secret(struct ps_bytes text)
{
	const struct ps_scram_hash *hash = ps_scram_hash_find("SCRAM-SHA-256");
	struct ps_scram_secret secret, again;
	struct ps_buf out = {0};

	if (ps_scram_secret_parse(hash, text, &secret) < 0)
		return;
	must(secret.iterations <= PS_SCRAM_ITERATIONS_MAX && secret.salt_len <= PS_SCRAM_SALT_MAX);
	ps_scram_secret_format(&secret, &out);
	must(ps_scram_secret_parse(hash, ps_buf_view(&out), &again) == 0);
	must(ps_scram_secret_same(&secret, &again));
	ps_buf_finish(&out);
}

static void read_nets(struct ps_bytes text)
{
	char *nets = strndup((const char *)text.ptr, text.len);

	if (ps_nets_valid(nets))
		must(!ps_nets_contain(nets, "unix"));
	ps_nets_contain(nets, "[2001:db8::1]:1");
	ps_nets_contain("192.0.2.0/24 2001:db8::/32", nets);
	free(nets);
}

/* In pieces it is the same, and never longer than what there is. */
static void read_proxy(struct ps_bytes octets)
{
	struct proxy_header header;
	size_t length = 0, at;
	int r = proxy_read(octets, &header, &length);

	must(r != 0 || (length > 0 && length <= octets.len && length <= PROXY_HEADER_MAX));
	for (size_t n = 0; r == 0 && n < length; n += 1 + length / 16)
		must(proxy_read(ps_bytes(octets.ptr, n), &header, &at) == PS_E_AGAIN);
}

static void read_deflated(struct ps_bytes octets)
{
	struct inflater *inflater = inflater_create();
	uint8_t out[4096];
	size_t total = 0;
	ssize_t n;

	if (inflater_put(inflater, octets) == 0)
		while (total < 1 << 20 && (n = inflater_take(inflater, out, sizeof out)) > 0)
			total += (size_t)n;
	inflater_destroy(inflater);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const readers[])(struct ps_bytes) = {read_config, read_passwd, read_apps,  read_keys,
							   read_secret, read_nets,   read_proxy, read_deflated};

	ps_log_set_level(PS_LOG_ERROR);
	if (size > 1)
		readers[data[0] % PS_ARRAY_LEN(readers)](ps_bytes(data + 1, size - 1));
	return 0;
}
