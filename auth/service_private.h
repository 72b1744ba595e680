/* SPDX-License-Identifier: MIT */
/*
 * auth/service_private.h - what service.c and exchange.c share: the service, and the exchanges that are under way in it.
 */
#ifndef AUTH_SERVICE_PRIVATE_H
#define AUTH_SERVICE_PRIVATE_H

#include "auth/apps.h"
#include "auth/databases.h"
#include "auth/revoked.h"
#include "auth/sasl.h"
#include "auth/service.h"
#include "auth/throttle.h"
#include "auth/tokens.h"
#include "auth/verified.h"
#include "core/event/workers.h"

#define PS_EXCHANGE_BUCKETS 1024u
#define PS_EXCHANGE_MS      (60u * 60 * 1000) /* longer than any takes: passwords wait for a worker, answers are held back */

struct ps_exchange;

struct ps_auth_service {
	struct ps_auth_service_args args;
	struct ps_workers *workers;
	struct ps_throttle *clients, *names;
	struct ps_databases *databases;
	struct ps_apps *apps;
	int app_uses; /* -1: not noted */
	struct ps_hash_key mark_key;
	struct ps_revoked *revoked;
	struct ps_verified *verified;
	uint64_t verified_ms, elsewhere_ms; /* 0: nothing is kept; of passwords that a database has checked */
	uint8_t salt_key[32];
	struct ps_token_keys *token_keys; /* NULL: there are none */
	struct ps_timer *forget;
	struct ps_exchange *buckets[PS_EXCHANGE_BUCKETS];
	unsigned count, count_max, checking;
};

/* Nobody is answered any more. */
void ps_exchanges_end(struct ps_auth_service *service);

#endif
