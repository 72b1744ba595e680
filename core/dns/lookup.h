/* SPDX-License-Identifier: MIT */
/*
 * core/dns/lookup.h - what look-ups of all kinds have in common: one question or two, then a function that makes a result of the
 * answers. For the files of this folder.
 */
#ifndef CORE_DNS_LOOKUP_H
#define CORE_DNS_LOOKUP_H

#include "core/dns/resolver.h"

struct dns_question {
	struct ps_lookup *lookup;
	char name[DNS_NAME_SIZE]; /* what is asked for now */
	uint16_t type;
	unsigned aliases; /* of answers before */
	bool insecure;    /* one of them was without AD */
	bool unchecked;   /* it failed once, and is asked with CD now, to learn why */
	struct dns_answer answer;
};

enum {
	QUESTIONS_MAX = 2
};

struct ps_lookup {
	struct ps_resolver *resolver;
	struct ps_pool *pool;
	struct ps_lookup *next,
		**at;   /* in the resolver's list of those that are asked, or of those that are answered */
	unsigned open;  /* questions without an answer */
	unsigned asked; /* of these, questions that a channel has */
	bool cancelled;
	struct dns_question questions[QUESTIONS_MAX];
	/* Calls `done` with what the answers say. */
	void (*finish)(struct ps_lookup *lookup);
	union {
		ps_answer_fn answer;
		ps_mx_fn mx;
		ps_addresses_fn addresses;
	} done;
	void *arg;
};

/* Asks for each of the types; ended by 0. `finish` and `done` are to be set by the caller, at once. */
struct ps_lookup *ps_lookup_begin(struct ps_resolver *resolver, const char *name, const uint16_t *types);

#endif
