/* SPDX-License-Identifier: MIT */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "extensions/quota/quota.h"

enum {
	TOLD_MAX = 1024, /* users and levels that are remembered */
	AGAIN_SECONDS = 24 * 60 * 60,
};

/* Who goes up and down around a level is told once a day. A table of fixed size: who comes to another's place is told again sooner. */
static struct {
	pthread_mutex_t lock;
	struct {
		uint64_t key;
		time_t until;
	} told[TOLD_MAX];
} memory = {.lock = PTHREAD_MUTEX_INITIALIZER};

static uint64_t key_of(const char *user, unsigned level)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325) ^ level; /* FNV-1a */

	for (; *user; user++)
		hash = (hash ^ (uint8_t)*user) * UINT64_C(0x100000001b3);
	return hash;
}

static bool was_told(const char *user, unsigned level)
{
	uint64_t key = key_of(user, level);
	time_t now = time(NULL);
	bool told;

	pthread_mutex_lock(&memory.lock);
	told = memory.told[key % TOLD_MAX].key == key && memory.told[key % TOLD_MAX].until > now;
	if (!told) {
		memory.told[key % TOLD_MAX].key = key;
		memory.told[key % TOLD_MAX].until = now + AGAIN_SECONDS;
	}
	pthread_mutex_unlock(&memory.lock);
	return told;
}

/* amount >= percent % of limit, without overflow: limits are below 2^50. */
static bool reaches(uint64_t amount, uint64_t limit, unsigned percent)
{
	return amount >= (limit * percent + 99) / 100;
}

unsigned quota_level(const struct ps_conf *conf, uint64_t limit, uint64_t before, uint64_t after)
{
	unsigned highest = 0;

	for (size_t i = 0; conf && limit > 0 && i < ps_conf_list_size(conf, "warnings"); i++) {
		unsigned level = (unsigned)strtoul(ps_conf_list_nth(conf, "warnings", i), NULL, 10);

		if (level > highest && !reaches(before, limit, level) && reaches(after, limit, level))
			highest = level;
	}
	return highest;
}

/* "1.5 GiB" */
static void put_octets(uint64_t octets, char ret_text[32])
{
	static const char *const units[] = {"octets", "KiB", "MiB", "GiB", "TiB"};
	double n = (double)octets;
	size_t unit = 0;

	for (; n >= 1024 && unit + 1 < sizeof units / sizeof *units; unit++)
		n /= 1024;
	snprintf(ret_text, 32, unit ? "%.1f %s" : "%.0f %s", n, units[unit]);
}

static void tell(const char *user, unsigned level, const struct ps_usage *limit, const struct ps_usage *used)
{
	struct ps_buf text = {0};
	char subject[80], amount[32], most[32];

	snprintf(subject, sizeof subject, "Your mail takes %u %% of its room", level);
	ps_buf_printf(&text, "The mail of %s has reached %u %% of what it may take on this server.\n\n", user, level);
	if (limit->octets) {
		put_octets(used->octets, amount);
		put_octets(limit->octets, most);
		ps_buf_printf(&text, "    %s of %s\n", amount, most);
	}
	if (limit->messages)
		ps_buf_printf(&text, "    %llu of %llu messages\n", (unsigned long long)used->messages,
			      (unsigned long long)limit->messages);
	ps_buf_str(&text, "\nWhen there is no room left, new mail for you is refused. Deleting mail makes room, once\n"
			  "it is deleted from Trash, too.\n");
	ps_tell_user(user, subject, ps_buf_cstr(&text));
	ps_buf_finish(&text);
}

void quota_warn(const struct ps_conf *conf, const char *user, const struct ps_usage *limit,
		const struct ps_usage *before, const struct ps_usage *after)
{
	unsigned octets = quota_level(conf, limit->octets, before->octets, after->octets);
	unsigned messages = quota_level(conf, limit->messages, before->messages, after->messages);
	unsigned level = octets > messages ? octets : messages;

	if (level > 0 && !was_told(user, level))
		tell(user, level, limit, after);
}
