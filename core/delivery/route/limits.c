/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <sys/queue.h>
#include "core/base/hash.h"
#include "core/delivery/route/limits.h"
#include "postern/log.h"
#include "postern/pool.h"

enum what {
	MESSAGES,
	RECIPIENTS,
};

/* What is limited: a row each. */
static const struct limit {
	const char *setting;
	enum what what;
	unsigned seconds;
	const char *refusal;
} table[] = {
	{"user_messages_per_hour", MESSAGES, 3600, "You have sent too many messages in an hour; try again later"},
	{"user_messages_per_day", MESSAGES, 86400, "You have sent too many messages in a day; try again later"},
	{"user_recipients_per_day", RECIPIENTS, 86400,
	 "You have sent to too many recipients in a day; try again later"},
};

#define LIMITS PS_ARRAY_LEN(table)

/* A window and the one before it. */
struct count {
	uint64_t window; /* its number since the clock's start */
	uint32_t now, before;
};

struct sender {
	LIST_ENTRY(sender) slot;
	TAILQ_ENTRY(sender) age; /* who sent last is at the end */
	struct ps_hash name;
	struct count counts[LIMITS];
	uint64_t told; /* the hour of the last line in the log, counted from 1 */
};

struct ps_limits {
	struct ps_hash_key key;
	uint64_t most[LIMITS]; /* 0: no limit */
	size_t users, users_max, slots;
	LIST_HEAD(slot, sender) * table;
	TAILQ_HEAD(, sender) ages;
};

void ps_limits_configure(struct ps_limits *limits, const struct ps_conf *root)
{
	for (size_t i = 0; i < LIMITS; i++)
		limits->most[i] = (uint64_t)ps_conf_int(ps_conf_section(root, "limits", 0), table[i].setting);
}

struct ps_limits *ps_limits_create(const struct ps_conf *root, size_t users_max)
{
	struct ps_limits *limits = ps_zalloc(sizeof *limits);

	ps_hash_key_init(&limits->key);
	limits->users_max = users_max;
	limits->slots = users_max < 1024 ? users_max : 1024;
	limits->table = ps_zalloc(limits->slots * sizeof *limits->table);
	TAILQ_INIT(&limits->ages);
	ps_limits_configure(limits, root);
	return limits;
}

static void forget(struct ps_limits *limits, struct sender *sender)
{
	LIST_REMOVE(sender, slot);
	TAILQ_REMOVE(&limits->ages, sender, age);
	limits->users--;
	free(sender);
}

void ps_limits_destroy(struct ps_limits *limits)
{
	struct sender *sender;

	if (!limits)
		return;
	while ((sender = TAILQ_FIRST(&limits->ages)))
		forget(limits, sender);
	free(limits->table);
	free(limits);
}

/* ---- senders --------------------------------------------------------------------------------- */

static struct sender *find(struct ps_limits *limits, const struct ps_hash *name)
{
	struct sender *sender;

	LIST_FOREACH(sender, &limits->table[name->h[0] % limits->slots], slot)
	if (ps_hash_eq(&sender->name, name))
		return sender;
	return NULL;
}

static struct sender *get(struct ps_limits *limits, const char *user)
{
	struct ps_hash name = ps_hash(&limits->key, ps_bytes_str(user));
	struct sender *sender = find(limits, &name);

	if (sender) {
		TAILQ_REMOVE(&limits->ages, sender, age);
	} else {
		if (limits->users == limits->users_max)
			forget(limits, TAILQ_FIRST(&limits->ages));
		sender = ps_zalloc(sizeof *sender);
		sender->name = name;
		LIST_INSERT_HEAD(&limits->table[name.h[0] % limits->slots], sender, slot);
		limits->users++;
	}
	TAILQ_INSERT_TAIL(&limits->ages, sender, age);
	return sender;
}

/* ---- counts ---------------------------------------------------------------------------------- */

static void move_on(struct count *count, uint64_t window)
{
	if (count->window == window)
		return;
	count->before = count->window + 1 == window ? count->now : 0;
	count->now = 0;
	count->window = window;
}

/* What counts of this window and the one before. */
static uint64_t used(const struct count *count, unsigned seconds, uint64_t now)
{
	uint64_t into = now % seconds;

	return count->now + count->before * (seconds - into) / seconds;
}

static unsigned asked(const struct limit *limit, unsigned messages, unsigned recipients)
{
	return limit->what == MESSAGES ? messages : recipients;
}

static void tell(struct sender *sender, const char *user, const struct limit *limit, uint64_t most, uint64_t now)
{
	uint64_t hour = now / 3600 + 1;

	if (sender->told == hour)
		return;
	sender->told = hour;
	ps_log(PS_LOG_WARNING, "submission_limit", "user", user, "limit", limit->setting, "most",
	       ps_num((long long)most), NULL);
}

const char *ps_limits_take(struct ps_limits *limits, const char *user, unsigned messages, unsigned recipients,
			   uint64_t now)
{
	struct sender *sender = get(limits, user);

	for (size_t i = 0; i < LIMITS; i++) {
		unsigned want = asked(&table[i], messages, recipients);

		move_on(&sender->counts[i], now / table[i].seconds);
		if (want && limits->most[i] &&
		    used(&sender->counts[i], table[i].seconds, now) + want > limits->most[i]) {
			tell(sender, user, &table[i], limits->most[i], now);
			return table[i].refusal;
		}
	}
	for (size_t i = 0; i < LIMITS; i++)
		sender->counts[i].now += asked(&table[i], messages, recipients);
	return NULL;
}

void ps_limits_give_back(struct ps_limits *limits, const char *user, unsigned messages, unsigned recipients,
			 uint64_t now)
{
	struct ps_hash name = ps_hash(&limits->key, ps_bytes_str(user));
	struct sender *sender = find(limits, &name);

	for (size_t i = 0; sender && i < LIMITS; i++) {
		struct count *count = &sender->counts[i];
		uint32_t back = asked(&table[i], messages, recipients);

		move_on(count, now / table[i].seconds);
		count->now -= back < count->now ? back : count->now;
	}
}
