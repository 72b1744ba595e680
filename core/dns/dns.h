/* SPDX-License-Identifier: MIT */
/*
 * core/dns/dns.h - names and answers of the DNS. No I/O: an answer is read out of octets that anybody may have made.
 */
#ifndef CORE_DNS_DNS_H
#define CORE_DNS_DNS_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include "postern/buf.h"

struct ps_pool;

enum dns_type {
	DNS_A = 1,
	DNS_CNAME = 5,
	DNS_MX = 15,
	DNS_TXT = 16,
	DNS_AAAA = 28,
	DNS_TLSA = 52,
};

/* Those before DNS_BOGUS are facts; the others may be different in a minute. */
enum dns_status {
	DNS_OK,
	DNS_NXDOMAIN,  /* there is no such name */
	DNS_NODATA,    /* there is, without records of this type */
	DNS_BADNAME,   /* this is not a domain name, or leads to what is none */
	DNS_BOGUS,     /* signed, and the signature is wrong, says a validating resolver */
	DNS_SERVFAIL,  /* the servers cannot or do not want to say */
	DNS_TIMEOUT,   /* none was reached */
	DNS_MALFORMED, /* what came is no answer, or its CNAMEs go round */
};

static inline bool dns_is_temporary(enum dns_status status)
{
	return status >= DNS_BOGUS;
}

/* "the name does not exist" and so on. Static. */
const char *dns_status_text(enum dns_status status);

enum {
	DNS_NAME_SIZE = 1025, /* 255 octets, each as \DDD */
	DNS_ALIASES_MAX = 8,  /* CNAMEs from the name that was asked for to its records */
	DNS_RECORDS_MAX = 512 /* more are left out */
};

struct dns_record {
	union {
		struct {
			uint16_t preference;
			const char *exchange; /* "": the root, RFC 7505 */
		} mx;
		struct in_addr a;
		struct in6_addr aaaa;
		struct {
			uint8_t usage, selector, matching;
			struct ps_bytes data;
		} tlsa;
		struct ps_bytes txt; /* its strings, joined */
	};
};

struct dns_answer {
	enum dns_status status;
	bool secure;      /* the AD bit: means nothing unless the resolver validates, and the way to it is safe */
	bool incomplete;  /* it ends with a CNAME: `name` is to be asked for */
	uint32_t ttl;     /* seconds, the least of all on the way; at most a day */
	unsigned aliases; /* CNAMEs on the way to `name` */
	const char *name; /* as in the records; octets other than letters, digits, - and _ as \DDD */
	struct dns_record *records;
	size_t count; /* 0 unless DNS_OK */
};

/* Reads the answer to a question for `name` and `type`; all that it points to is in the pool. PS_E_SYNTAX: it is none. */
int dns_answer_read(struct ps_pool *pool, struct ps_bytes message, const char *name, uint16_t type,
		    struct dns_answer *ret_answer);

/* Letters, digits, - and _ in labels that are not too long, the last one not a number (as that of an IPv4 address is). */
bool dns_is_hostname(const char *name);
/* The form that the DNS knows (A-labels, RFC 5890) of a domain in UTF-8, without a dot at its end. PS_E_INVALID: there is none. */
int dns_name_ascii(const char *name, char *ret_name, size_t size);

#endif
