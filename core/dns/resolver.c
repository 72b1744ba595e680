/* SPDX-License-Identifier: MIT */
/*
 * Look-ups. One that has all its answers waits in the list `answered` for a timer of no length, so that nobody is called back from
 * within c-ares, or before his own call has returned.
 */
#include <stdlib.h>
#include "core/dns/channel.h"
#include "core/dns/lookup.h"
#include "core/event/loop.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/pool.h"

struct ps_resolver {
	struct ps_loop *loop;
	struct ps_resolver_options options;
	char *servers;
	/* c-ares takes one FORMERR of a server for a reason never to use EDNS again, and cuts what is longer than 512 octets from then on.
	 * So after an answer that cannot be read others are asked by a new channel, and the old one ends with its last question. */
	struct dns_channel *channel, *retired;
	struct ps_timer *timer;
	struct ps_lookup *asked, *answered, **last_answered;
	struct ps_lookup *finishing;
};

static void ask(struct dns_question *question);

static void unlink_lookup(struct ps_lookup *lookup)
{
	struct ps_resolver *resolver = lookup->resolver;

	if (resolver->last_answered == &lookup->next)
		resolver->last_answered = lookup->at;
	*lookup->at = lookup->next;
	if (lookup->next)
		lookup->next->at = lookup->at;
}

static void link_lookup(struct ps_lookup **at, struct ps_lookup *lookup)
{
	lookup->next = *at;
	lookup->at = at;
	if (*at)
		(*at)->at = &lookup->next;
	*at = lookup;
}

static void destroy_lookup(struct ps_lookup *lookup)
{
	unlink_lookup(lookup);
	ps_pool_destroy(lookup->pool);
	free(lookup);
}

static void settle(struct ps_lookup *lookup)
{
	struct ps_resolver *resolver = lookup->resolver;

	if (lookup->cancelled && lookup->asked == 0) {
		destroy_lookup(lookup);
	} else if (lookup->open == 0 && !lookup->cancelled) {
		unlink_lookup(lookup);
		link_lookup(resolver->last_answered, lookup);
		resolver->last_answered = &lookup->next;
		ps_timer_set(resolver->timer, 0, 0);
	}
}

static void close_question(struct dns_question *question, enum dns_status status)
{
	question->answer.status = status;
	if (status != DNS_OK) {
		question->answer.count = 0;
		question->answer.name = question->name;
	}
	question->lookup->open--;
	settle(question->lookup);
}

/* What its answer tells of a question. True: it is to be asked once more, by another name or unchecked. */
static bool go_on(struct dns_question *question, struct ps_bytes message)
{
	struct ps_lookup *lookup = question->lookup;
	struct ps_resolver *resolver = lookup->resolver;
	struct dns_answer *answer = &question->answer;
	int r = dns_answer_read(lookup->pool, message, question->name, question->type, answer);

	if (question->unchecked) {
		answer->status = r == 0 && answer->status != DNS_SERVFAIL ? DNS_BOGUS : DNS_SERVFAIL;
		return false;
	}
	if (r < 0) {
		ps_log(PS_LOG_WARNING, "dns_answer", "name", question->name, "error", ps_last_error(), NULL);
		answer->status = DNS_MALFORMED;
		if (!resolver->retired) {
			resolver->retired = resolver->channel;
			resolver->channel = NULL;
		}
		return false;
	}
	question->insecure |= !answer->secure;
	answer->secure = resolver->options.validating && !question->insecure;
	question->aliases += answer->aliases;
	if (answer->incomplete && question->aliases <= DNS_ALIASES_MAX && dns_is_hostname(answer->name)) {
		strcpy(question->name, answer->name); /* as long as a name can be */
		return true;
	}
	if (answer->incomplete)
		answer->status = dns_is_hostname(answer->name) ? DNS_MALFORMED : DNS_BADNAME;
	question->unchecked = answer->status == DNS_SERVFAIL && resolver->options.validating;
	return question->unchecked;
}

static void on_message(void *arg, enum dns_status status, struct ps_bytes message)
{
	struct dns_question *question = arg;
	struct ps_lookup *lookup = question->lookup;

	lookup->asked--;
	if (lookup->cancelled)
		settle(lookup);
	else if (status != DNS_OK)
		close_question(question, question->unchecked ? DNS_SERVFAIL : status);
	else if (go_on(question, message))
		ask(question);
	else
		close_question(question, question->answer.status);
}

static void ask(struct dns_question *question)
{
	struct ps_lookup *lookup = question->lookup;
	struct ps_resolver *resolver = lookup->resolver;

	if (!resolver->channel && dns_channel_create(resolver->loop, &resolver->options, &resolver->channel) < 0) {
		ps_log(PS_LOG_ERROR, "dns", "error", ps_last_error(), NULL);
		close_question(question, DNS_TIMEOUT);
		return;
	}
	lookup->asked++;
	dns_channel_ask(resolver->channel, question->name, question->type, question->unchecked, on_message, question);
}

struct ps_lookup *ps_lookup_begin(struct ps_resolver *resolver, const char *name, const uint16_t *types)
{
	struct ps_lookup *lookup = ps_zalloc(sizeof *lookup);
	char ascii[DNS_NAME_SIZE] = "";
	int r = dns_name_ascii(name, ascii, sizeof ascii);

	lookup->resolver = resolver;
	lookup->pool = ps_pool_create("dns");
	link_lookup(&resolver->asked, lookup);
	/* All are counted before the first is asked, as an answer may come at once. */
	while (types[lookup->open])
		lookup->open++;
	for (size_t i = 0; types[i]; i++) {
		struct dns_question *question = &lookup->questions[i];

		question->lookup = lookup;
		question->type = types[i];
		strcpy(question->name, ascii);
		if (r < 0)
			close_question(question, DNS_BADNAME);
		else
			ask(question);
	}
	return lookup;
}

void ps_lookup_cancel(struct ps_lookup *lookup)
{
	/* The one that is calling its function is freed when that returns. */
	if (!lookup || lookup == lookup->resolver->finishing)
		return;
	lookup->cancelled = true;
	if (lookup->asked == 0)
		destroy_lookup(lookup);
}

static void end_retired(struct ps_resolver *resolver)
{
	if (!resolver->retired || !dns_channel_is_idle(resolver->retired))
		return;
	dns_channel_destroy(resolver->retired);
	resolver->retired = NULL;
}

static void finish_answered(void *arg)
{
	struct ps_resolver *resolver = arg;
	struct ps_lookup *lookup;

	while ((lookup = resolver->answered)) {
		resolver->finishing = lookup;
		lookup->finish(lookup);
		resolver->finishing = NULL;
		destroy_lookup(lookup);
	}
	end_retired(resolver);
}

int ps_resolver_create(struct ps_loop *loop, const struct ps_resolver_options *options,
		       struct ps_resolver **ret_resolver)
{
	struct ps_resolver *resolver = ps_zalloc(sizeof *resolver);
	int r;

	resolver->loop = loop;
	resolver->options = *options;
	if (options->servers)
		resolver->options.servers = resolver->servers = ps_strdup(options->servers);
	resolver->last_answered = &resolver->answered;
	if ((r = ps_timer_open(loop, finish_answered, resolver, &resolver->timer)) < 0 ||
	    (r = dns_channel_create(loop, &resolver->options, &resolver->channel)) < 0) {
		ps_resolver_destroy(resolver);
		return r;
	}
	/* A channel of later finds them even where no file can be opened any more. */
	if (!options->servers)
		resolver->options.servers = resolver->servers = dns_channel_servers(resolver->channel);
	*ret_resolver = resolver;
	return 0;
}

void ps_resolver_destroy(struct ps_resolver *resolver)
{
	if (!resolver)
		return;
	for (struct ps_lookup *lookup = resolver->asked; lookup; lookup = lookup->next)
		lookup->cancelled = true;
	/* Ending a channel answers what it was asked, and a cancelled look-up goes with its last answer. */
	dns_channel_destroy(resolver->retired);
	dns_channel_destroy(resolver->channel);
	while (resolver->answered)
		destroy_lookup(resolver->answered);
	ps_timer_close(resolver->timer);
	free(resolver->servers);
	free(resolver);
}

static void finish_query(struct ps_lookup *lookup)
{
	lookup->done.answer(lookup->arg, &lookup->questions[0].answer);
}

struct ps_lookup *ps_resolver_query(struct ps_resolver *resolver, const char *name, enum dns_type type,
				    ps_answer_fn done, void *arg)
{
	const uint16_t types[] = {(uint16_t)type, 0};
	struct ps_lookup *lookup = ps_lookup_begin(resolver, name, types);

	lookup->finish = finish_query;
	lookup->done.answer = done;
	lookup->arg = arg;
	return lookup;
}
