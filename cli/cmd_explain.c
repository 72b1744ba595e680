/* SPDX-License-Identifier: MIT */
/* postern smtp explain: where mail to an address would go, and why. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>
#include "auth/passwdfile.h"
#include "cli/cli.h"
#include "core/delivery/client/client.h"
#include "core/delivery/route/route.h"
#include "core/dns/resolver.h"
#include "core/event/loop.h"

enum {
	DEPTH_MAX = 4 /* of what is tried instead of an unknown user */
};

struct explain {
	struct cli *cli;
	struct ps_loop *loop;
	struct ps_resolver *resolver;
	struct ps_sender *sender;
	struct ps_route *route;
	json_t *story; /* of the target under way */
	json_t *targets;
};

/* ---- what is asked -------------------------------------------------------------------------------- */

static void on_story(void *arg, json_t *story)
{
	struct explain *explain = arg;

	explain->story = story;
	ps_loop_stop(explain->loop);
}

static json_t *explain_remote(struct explain *explain, const struct ps_target *target)
{
	struct ps_hop hop;

	if (ps_route_hop(explain->route, explain->cli->pool, target->domain, &hop) < 0)
		return json_pack("{s:s, s:s}", "outcome", "failed", "text", ps_last_error());
	ps_explain(explain->sender, &hop, target->address, 0, on_story, explain);
	ps_loop_run(explain->loop);
	json_object_update_new(explain->story, json_pack("{s:s, s:s, s:b, s:b}", "kind", "remote", "domain", hop.domain,
							 "smarthost", (int)hop.smarthost, "log_in", hop.user != NULL));
	if (hop.host)
		json_object_set_new(explain->story, "next_hop",
				    json_pack("{s:s, s:i}", "host", hop.host, "port", hop.port));
	return explain->story;
}

static json_t *explain_refused(const struct ps_target *target)
{
	return json_pack("{s:s, s:s, s:i, s:s, s:s}", "kind", "refused", "outcome",
			 target->code >= 500 ? "failed" : "deferred", "code", (int)target->code, "enhanced",
			 target->enhanced, "text", target->text);
}

static json_t *explain_local(const struct ps_target *target)
{
	return json_pack("{s:s, s:s, s:s, s:s?}", "kind", "local", "outcome", "stored", "user", target->user, "mailbox",
			 target->detail);
}

static void explain_targets(struct explain *explain, const struct ps_target *targets, size_t count, int depth);

/* Of an unknown user, what the route has instead: NULL, it is told. */
static json_t *explain_user(struct explain *explain, const struct ps_target *target, int depth)
{
	struct ps_user_entry entry;
	struct ps_target *others;
	size_t count;
	int r = depth < DEPTH_MAX ? cli_look_up(explain->cli, target->user, &entry) : 0;

	if (r == 0)
		return explain_local(target);
	if (r != PS_E_NOTFOUND)
		return json_pack("{s:s, s:s, s:s, s:s}", "kind", "local", "user", target->user, "outcome", "deferred",
				 "text", ps_last_error());
	ps_route_otherwise(explain->route, explain->cli->pool, target, &others, &count);
	explain_targets(explain, others, count, depth + 1);
	return NULL;
}

static void explain_targets(struct explain *explain, const struct ps_target *targets, size_t count, int depth)
{
	for (size_t i = 0; i < count; i++) {
		const struct ps_target *target = &targets[i];
		json_t *story = target->kind == PS_TARGET_REMOTE  ? explain_remote(explain, target)
				: target->kind == PS_TARGET_LOCAL ? explain_user(explain, target, depth)
								  : explain_refused(target);

		if (!story)
			continue;
		json_object_set_new(story, "address", json_string(target->address));
		json_object_set_new(story, "by_alias", json_boolean(target->by_alias));
		json_array_append_new(explain->targets, story);
	}
}

/* ---- what it is told as ---------------------------------------------------------------------------- */

static const char *text_of(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "";
}

static void tell_words(const char *before, const json_t *list)
{
	const json_t *word;
	size_t i;

	json_array_foreach((json_t *)(uintptr_t)list, i, word)
		printf("%s%s", i ? " " : before, json_string_value(word));
}

static const struct {
	const char *word, *text;
} tls_texts[] = {
	{"none", "never, as the configuration says"},
	{"opportunistic", "when it is offered, whatever the certificate; else in the clear"},
	{"required", "required, whatever the certificate"},
	{"verified", "required, with a valid certificate of the host's name"},
	{"dane", "required, with a certificate that the TLSA records vouch for"},
};

static void tell_tls(const json_t *host)
{
	const json_t *tlsa = json_object_get(host, "tlsa");

	if (tlsa) {
		printf("      TLSA: %s%s", text_of(tlsa, "status"),
		       json_is_true(json_object_get(tlsa, "secure")) ? ", signed" : "");
		tell_words(": ", json_object_get(tlsa, "records"));
		printf("\n");
	}
	for (size_t i = 0; i < PS_ARRAY_LEN(tls_texts); i++)
		if (strcmp(text_of(host, "tls"), tls_texts[i].word) == 0)
			printf("      TLS: %s\n", tls_texts[i].text);
}

static void tell_host(const json_t *host)
{
	printf("    %d %s", (int)json_integer_value(json_object_get(host, "preference")), text_of(host, "host"));
	if (json_object_get(host, "port"))
		printf(", port %d", (int)json_integer_value(json_object_get(host, "port")));
	tell_words(": ", json_object_get(host, "addresses"));
	printf("\n");
	tell_tls(host);
	if (json_object_get(host, "problem"))
		printf("      not tried: %s %s\n", text_of(host, "enhanced"), text_of(host, "problem"));
}

static void tell_mx(const json_t *story)
{
	const json_t *mx = json_object_get(story, "mx"), *sts = json_object_get(story, "mta_sts");

	if (!mx)
		return;
	printf("    MX: %s%s%s\n", text_of(mx, "status"),
	       json_is_true(json_object_get(mx, "implicit")) ? "; none, so the domain itself" : "",
	       json_is_true(json_object_get(mx, "secure")) ? "; signed" : "; not signed");
	if (sts) {
		printf("    MTA-STS: %s", text_of(sts, "mode"));
		tell_words(", hosts ", json_object_get(sts, "mx"));
		printf("\n");
	}
	if (json_object_get(story, "mta_sts_problem"))
		printf("    MTA-STS: %s\n", text_of(story, "mta_sts_problem"));
}

static void tell_remote(const json_t *story)
{
	const json_t *hop = json_object_get(story, "next_hop"), *host;
	size_t i;

	if (hop)
		printf("    next hop: %s, port %d, by the %s%s\n", text_of(hop, "host"),
		       (int)json_integer_value(json_object_get(hop, "port")),
		       json_is_true(json_object_get(story, "smarthost")) ? "smarthost" : "transport",
		       json_is_true(json_object_get(story, "log_in")) ? ", with log-in" : "");
	else
		printf("    next hop: by the MX of %s\n", text_of(story, "domain"));
	tell_mx(story);
	json_array_foreach(json_object_get(story, "hosts"), i, host) tell_host(host);
}

static const struct {
	const char *word, *text;
} outcomes[] = {
	{"sent", "would be sent to the first of these hosts that takes it"},
	{"stored", "would be stored"},
	{"deferred", "would wait and be tried again"},
	{"failed", "would be refused"},
};

static void tell_target(const json_t *story)
{
	const char *kind = text_of(story, "kind");

	printf("  %s%s\n", text_of(story, "address"),
	       json_is_true(json_object_get(story, "by_alias")) ? " (by an alias)" : "");
	if (strcmp(kind, "remote") == 0)
		tell_remote(story);
	if (strcmp(kind, "local") == 0)
		printf("    user %s, mailbox %s\n", text_of(story, "user"),
		       json_is_string(json_object_get(story, "mailbox")) ? text_of(story, "mailbox") : "INBOX");
	for (size_t i = 0; i < PS_ARRAY_LEN(outcomes); i++)
		if (strcmp(text_of(story, "outcome"), outcomes[i].word) == 0)
			printf("    %s", outcomes[i].text);
	if (json_object_get(story, "text"))
		printf(": %s %s", text_of(story, "enhanced"), text_of(story, "text"));
	printf("\n");
}

/* ---- the command ------------------------------------------------------------------------------------ */

static int read_aliases(struct explain *explain, const struct ps_conf *root)
{
	const char *path = ps_conf_str(root, "alias_file");
	PS_CLEANUP(ps_buf_finish) struct ps_buf text = {.limit = 64 << 20}, errors = {0};
	PS_CLEANUP(ps_closep) int file = -1;
	uint8_t *room;
	ssize_t n;

	if (!path)
		return 0;
	file = open(path, O_RDONLY | O_CLOEXEC);
	if (file < 0)
		return ps_fail_errno("%s", path);
	while ((room = ps_buf_reserve(&text, 65536)) && (n = read(file, room, 65536)) > 0)
		text.len += (size_t)n;
	if (ps_route_set_aliases(explain->route, ps_buf_view(&text), path, &errors) < 0)
		cli_error("%s", ps_buf_cstr(&errors));
	return 0;
}

static int begin(struct explain *explain, const struct ps_conf *root)
{
	const struct ps_conf *conf = ps_conf_section(root, "relay", 0);
	PS_CLEANUP(ps_buf_finish) struct ps_buf servers = {0};
	struct ps_resolver_options dns = {.validating = ps_conf_bool(conf, "resolvers_validate")};
	struct ps_sender_options sender = {
		.hostname = ps_conf_str(root, "hostname"),
		.ca_file = ps_conf_str(conf, "ca_file"),
		.allow_loopback = ps_conf_bool(conf, "allow_loopback"),
		.mx_port = (uint16_t)ps_conf_int(conf, "mx_port"),
		.mta_sts = ps_conf_bool(conf, "mta_sts"),
	};
	int r;

	for (size_t i = 0; i < ps_conf_list_size(conf, "resolvers"); i++)
		ps_buf_printf(&servers, "%s%s", i ? "," : "", ps_conf_list_nth(conf, "resolvers", i));
	dns.servers = servers.len > 0 ? ps_buf_cstr(&servers) : NULL;
	if ((r = ps_route_create(root, &explain->route)) < 0 || (r = read_aliases(explain, root)) < 0 ||
	    (r = ps_loop_create(&explain->loop)) < 0 ||
	    (r = ps_resolver_create(explain->loop, &dns, &explain->resolver)) < 0)
		return r;
	sender.resolver = explain->resolver;
	return ps_sender_create(explain->loop, &sender, &explain->sender);
}

static void end(struct explain *explain)
{
	ps_sender_destroy(explain->sender);
	ps_resolver_destroy(explain->resolver);
	ps_loop_destroy(explain->loop);
	ps_route_destroy(explain->route);
}

static int tell(struct cli *cli, json_t *targets)
{
	json_t *story;
	size_t i;

	if (cli_json(cli))
		return cli_print_json(json_pack("{s:s, s:o}", "address", cli->args[0], "targets", targets));
	json_array_foreach(targets, i, story) tell_target(story);
	json_decref(targets);
	return CLI_OK;
}

int cli_smtp_explain(struct cli *cli)
{
	struct explain explain = {.cli = cli, .targets = json_array()};
	struct ps_target *targets;
	size_t count;
	int r;

	if (cli_load(cli) < 0)
		return CLI_FAILED;
	r = begin(&explain, ps_config_root(cli->config));
	if (r == 0) {
		ps_route_expand(explain.route, cli->pool, cli->args[0], true, &targets, &count);
		explain_targets(&explain, targets, count, 0);
	}
	end(&explain);
	if (r < 0) {
		json_decref(explain.targets);
		return cli_failed();
	}
	return tell(cli, explain.targets);
}
