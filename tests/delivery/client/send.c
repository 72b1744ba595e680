/* SPDX-License-Identifier: MIT */
/*
 * send - gives a message to the SMTP client and prints what came of it: a line of JSON for each message.
 *
 * Usage: send [NAME=VALUE...] RECIPIENT...
 *   file=PATH dns=SERVERS port=N ca=FILE tls=none|opportunistic|required|verify|dane host=HOST hostport=N user= password= from= envid= orcpt= helo=
 *   options=8bitmime,binarymime,smtputf8,requiretls,full,hdrs notify=N ms=TIME (all time limits) idle=TIME repeat=N (one after the other)
 *   nofile=1 (no descriptor is left for it) sts=FOLDER reports=FOLDER stsport=N at-once=N lmtp=1 loopback=0 validating=1 pause=MS (between repeats)
 */
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/delivery/client/client.h"
#include "core/dns/resolver.h"
#include "core/event/loop.h"
#include "postern/envelope.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/pool.h"

static struct ps_loop *loop;
static struct ps_sender *sender;
static struct ps_hop hop = {.tls = PS_HOP_TLS_OPPORTUNISTIC};
static struct ps_send message = {.reverse_path = "sender@home.test", .id = "test"};
static struct ps_send_recipient recipients[2000];
static unsigned repeat = 1, under_way, pause_ms;
static struct ps_timer *timer;

static const struct {
	const char *word;
	uint32_t option;
} option_words[] = {
	{"8bitmime", PS_MAIL_8BITMIME},     {"binarymime", PS_MAIL_BINARYMIME}, {"smtputf8", PS_MAIL_SMTPUTF8},
	{"requiretls", PS_MAIL_REQUIRETLS}, {"full", PS_MAIL_RET_FULL},         {"hdrs", PS_MAIL_RET_HDRS},
};

static const char *const tls_words[] = {"none", "opportunistic", "required", "verify", "dane"};
static const char *const outcomes[] = {"delivered", "deferred", "failed"};
static const char *const verdicts[] = {"good", "busy", "dead", "unknown"};

static void on_sent(void *arg, const struct ps_send_report *report);

static void again(void *arg)
{
	(void)arg;
	under_way++;
	ps_send(sender, &message, on_sent, NULL);
}

static void on_sent(void *arg, const struct ps_send_report *report)
{
	json_t *results = json_array(), *line;

	(void)arg;
	for (size_t i = 0; i < message.count; i++) {
		const struct ps_send_result *result = &report->results[i];

		json_array_append_new(results,
				      json_pack("{s:s, s:s, s:i, s:s, s:s, s:s?, s:b}", "to",
						message.recipients[i].address, "outcome", outcomes[result->outcome],
						"code", (int)result->code, "enhanced", result->enhanced, "text",
						result->text, "host", result->host, "dsn", result->relayed_dsn));
	}
	line = json_pack("{s:o, s:s, s:s?}", "results", results, "verdict", verdicts[report->verdict], "tls",
			 report->tls);
	json_dumpf(line, stdout, JSON_COMPACT);
	printf("\n");
	fflush(stdout);
	json_decref(line);
	under_way--;
	if (repeat > 1) {
		repeat--;
		ps_timer_set(timer, pause_ms, 0);
	} else if (under_way == 0) {
		ps_loop_stop(loop);
	}
}

static uint32_t read_options(const char *value)
{
	uint32_t options = 0;

	for (size_t i = 0; i < PS_ARRAY_LEN(option_words); i++)
		if (strstr(value, option_words[i].word))
			options |= option_words[i].option;
	return options;
}

static enum ps_hop_tls read_tls(const char *value)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(tls_words); i++)
		if (strcmp(value, tls_words[i]) == 0)
			return (enum ps_hop_tls)i;
	fprintf(stderr, "tls=%s\n", value);
	exit(2);
}

static void open_file(const char *path)
{
	struct stat st;

	message.file = open(path, O_RDONLY | O_CLOEXEC);
	if (message.file < 0 || fstat(message.file, &st) < 0) {
		perror(path);
		exit(2);
	}
	message.size = (uint64_t)st.st_size;
}

static void take_descriptors(void)
{
	struct rlimit limit;
	int next = dup(STDOUT_FILENO);

	getrlimit(RLIMIT_NOFILE, &limit);
	limit.rlim_cur = (rlim_t)next;
	close(next);
	setrlimit(RLIMIT_NOFILE, &limit);
}

int main(int argc, char **argv)
{
	struct ps_resolver_options dns = {.servers = "127.0.0.1:5", .timeout_ms = 1500, .tries = 2};
	struct ps_sender_options options = {.hostname = "home.test", .allow_loopback = true};
	unsigned ms = 2000, at_once = 1, idle = 0;
	bool no_descriptors = false;
	uint32_t notify = 0;
	const char *orcpt = NULL;
	struct ps_resolver *resolver;

	for (int i = 1; i < argc; i++) {
		char *value = strchr(argv[i], '=');
		const char *name = argv[i];

		if (!value) {
			recipients[message.count++] = (struct ps_send_recipient){argv[i], notify, orcpt};
			continue;
		}
		*value++ = '\0';
#define TAKE(word, what)                                                                                               \
	if (strcmp(name, word) == 0) {                                                                                 \
		what;                                                                                                  \
		continue;                                                                                              \
	}
		TAKE("file", open_file(value))
		TAKE("dns", dns.servers = value)
		TAKE("sts", (options.sts_folder = value, options.mta_sts = true))
		TAKE("reports", options.report_folder = value)
		TAKE("stsport", options.sts_port = (uint16_t)atoi(value))
		TAKE("validating", dns.validating = atoi(value))
		TAKE("port", options.mx_port = (uint16_t)atoi(value))
		TAKE("ca", options.ca_file = value)
		TAKE("helo", options.hostname = value)
		TAKE("loopback", options.allow_loopback = atoi(value))
		TAKE("tls", hop.tls = read_tls(value))
		TAKE("host", hop.host = value)
		TAKE("hostport", hop.port = (uint16_t)atoi(value))
		TAKE("user", hop.user = value)
		TAKE("password", hop.password = value)
		TAKE("lmtp", message.lmtp = atoi(value))
		TAKE("from", message.reverse_path = value)
		TAKE("envid", message.envid = value)
		TAKE("orcpt", orcpt = value)
		TAKE("notify", notify = (uint32_t)atoi(value))
		TAKE("options", message.options = read_options(value))
		TAKE("ms", ms = (unsigned)atoi(value))
		TAKE("idle", idle = (unsigned)atoi(value))
		TAKE("repeat", repeat = (unsigned)atoi(value))
		TAKE("pause", pause_ms = (unsigned)atoi(value))
		TAKE("nofile", no_descriptors = atoi(value))
		TAKE("at-once", at_once = (unsigned)atoi(value))
		fprintf(stderr, "unknown: %s\n", name);
		return 2;
	}
	ps_log_setup("send", PS_LOG_INFO);
	message.hop = &hop;
	message.recipients = recipients;
	hop.domain = strrchr(recipients[0].address, '@') ? strrchr(recipients[0].address, '@') + 1 : "";
	snprintf(hop.key, sizeof hop.key, "mx:%s", hop.domain);
	options.times = (struct ps_sender_times){ms, ms, ms, ms, ms, ms, ms, ms, idle ? idle : ms};
	if (ps_loop_create(&loop) < 0 || ps_resolver_create(loop, &dns, &resolver) < 0 ||
	    ps_timer_open(loop, again, NULL, &timer) < 0) {
		fprintf(stderr, "%s\n", ps_last_error());
		return 1;
	}
	options.resolver = resolver;
	if (ps_sender_create(loop, &options, &sender) < 0) {
		fprintf(stderr, "%s\n", ps_last_error());
		return 1;
	}
	if (no_descriptors)
		take_descriptors();
	for (; at_once > 0; at_once--)
		again(NULL);
	ps_loop_run(loop);
	ps_sender_destroy(sender);
	ps_resolver_destroy(resolver);
	ps_timer_close(timer);
	ps_loop_destroy(loop);
	return 0;
}
