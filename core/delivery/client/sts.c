/* SPDX-License-Identifier: MIT */
/*
 * Policies of domains, in memory and on disk. An entry is busy while its TXT record or its policy is asked for; who asks meanwhile waits for
 * the same answer. A file of the folder is named for its domain: a line "id fetched", then the policy as it came.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "core/delivery/client/sts_fetch.h"
#include "core/dns/resolver.h"
#include "core/event/loop.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/pool.h"

enum {
	ENTRIES_MAX = 2000, /* in memory: at worst 16 KiB each */
	BUCKETS = 1024,
	CHECK_MS = 5 * 60 * 1000, /* what the DNS said is believed for so long; and what failed is not tried again */
	REFRESH_S = 24 * 3600,
	ROUND_MS = 3600 * 1000, /* from one round through the folder to the next */
	STEP_MS = 1000,         /* which is made in steps, so that nobody waits for it */
	STEP_FILES = 10,
};

struct sts_wait {
	struct sts_wait *next, **at;
	sts_fn fn;
	void *arg;
};

struct entry {
	struct entry *next;
	struct sts *sts;
	char domain[DNS_NAME_SIZE];
	char id[STS_ID_SIZE], new_id[STS_ID_SIZE];
	int64_t fetched;            /* wall clock */
	struct sts_policy *policy;  /* NULL: none */
	struct ps_buf text;         /* of it, for the disk */
	uint64_t checked;           /* the loop's clock; 0: never */
	struct sts_problem problem; /* kind NULL: none */
	struct ps_lookup *lookup;
	struct sts_fetch *fetch;
	struct sts_wait *waits;
};

struct sts {
	struct sts_options options;
	struct https *https;
	char *folder;
	DIR *round;             /* NULL: none is under way */
	struct ps_timer *timer; /* for its next step */
	struct entry *buckets[BUCKETS];
	size_t count;
};

/* ---- entries -------------------------------------------------------------------------------------- */

static size_t bucket_of(const char *domain)
{
	uint32_t hash = 2166136261u;

	for (; *domain; domain++)
		hash = (hash ^ (uint32_t)ps_tolower(*domain)) * 16777619u;
	return hash % BUCKETS;
}

static void entry_destroy(struct entry *entry)
{
	ps_lookup_cancel(entry->lookup);
	sts_fetch_cancel(entry->fetch);
	while (entry->waits) {
		struct sts_wait *wait = entry->waits;

		entry->waits = wait->next;
		free(wait);
	}
	ps_buf_finish(&entry->text);
	free(entry->policy);
	free(entry);
}

static bool is_busy(const struct entry *entry)
{
	return entry->lookup || entry->fetch || entry->waits;
}

/* Room for one more: what is idle in its bucket goes; it is on disk. */
static void make_room(struct sts *sts, size_t bucket)
{
	struct entry **at = &sts->buckets[bucket];

	while (*at && sts->count >= ENTRIES_MAX) {
		struct entry *entry = *at;

		if (is_busy(entry)) {
			at = &entry->next;
			continue;
		}
		*at = entry->next;
		sts->count--;
		entry_destroy(entry);
	}
}

static bool is_valid(const struct entry *entry)
{
	int64_t now = time(NULL);

	return entry->policy && now < entry->fetched + (int64_t)entry->policy->max_age;
}

/* Section 5.1: before its time is over, so that who interferes with a fetch must do so for long. */
static bool is_fresh(const struct entry *entry)
{
	int64_t half = (int64_t)entry->policy->max_age / 2;

	return time(NULL) < entry->fetched + (half < REFRESH_S ? half : REFRESH_S);
}

static void set_policy(struct entry *entry, const struct sts_policy *policy, const char *id, int64_t fetched,
		       struct ps_bytes text)
{
	if (!entry->policy)
		entry->policy = ps_malloc(sizeof *entry->policy);
	*entry->policy = *policy;
	snprintf(entry->id, sizeof entry->id, "%s", id);
	entry->fetched = fetched;
	ps_buf_reset(&entry->text);
	ps_buf_bytes(&entry->text, text);
}

/* ---- on disk -------------------------------------------------------------------------------------- */

static void load(struct entry *entry)
{
	PS_CLEANUP(ps_buf_finish) struct ps_buf path = {0}, octets = {.limit = STS_TEXT_MAX + 100};
	PS_CLEANUP(ps_closep) int file = -1;
	struct sts_policy *policy;
	struct ps_bytes text;
	long long fetched;
	char id[STS_ID_SIZE];
	ssize_t n;

	ps_buf_printf(&path, "%s/%s", entry->sts->folder, entry->domain);
	file = open(ps_buf_cstr(&path), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (file < 0 || !ps_buf_reserve(&octets, STS_TEXT_MAX) || (n = read(file, octets.ptr, STS_TEXT_MAX)) <= 0)
		return;
	octets.len = (size_t)n;
	if (sscanf(ps_buf_cstr(&octets), "%32[A-Za-z0-9] %lld\n", id, &fetched) != 2)
		return;
	text = ps_bytes_skip(ps_buf_view(&octets), (size_t)ps_bytes_find(ps_buf_view(&octets), '\n') + 1);
	policy = ps_malloc(sizeof *policy);
	/* What is of the future was fetched before the clock was set. */
	if (sts_policy_read(text, policy) == 0)
		set_policy(entry, policy, id, fetched < time(NULL) ? fetched : time(NULL), text);
	free(policy);
}

/* It can be had again, so it is not synced; the new name comes when the file is whole. */
static int write_file(const struct entry *entry, const char *path, const char *aside)
{
	PS_CLEANUP(ps_closep) int file = open(aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	char head[100];
	int len = snprintf(head, sizeof head, "%s %lld\n", entry->id, (long long)entry->fetched);

	if (file < 0 || write(file, head, (size_t)len) != len ||
	    write(file, entry->text.ptr, entry->text.len) != (ssize_t)entry->text.len || rename(aside, path) < 0)
		return ps_fail_errno("%s", path);
	return 0;
}

static void save(const struct entry *entry)
{
	PS_CLEANUP(ps_buf_finish) struct ps_buf path = {0}, aside = {0};

	if (!entry->sts->folder)
		return;
	ps_buf_printf(&path, "%s/%s", entry->sts->folder, entry->domain);
	ps_buf_printf(&aside, "%s/.%s", entry->sts->folder, entry->domain);
	if (write_file(entry, ps_buf_cstr(&path), ps_buf_cstr(&aside)) < 0)
		ps_log(PS_LOG_WARNING, "mta_sts_save", "domain", entry->domain, "msg", ps_last_error(), NULL);
}

/* ---- asking --------------------------------------------------------------------------------------- */

static const struct sts_policy *answer_of(const struct entry *entry)
{
	return is_valid(entry) && entry->policy->mode != STS_NONE ? entry->policy : NULL;
}

static const struct sts_problem *problem_of(const struct entry *entry)
{
	return entry->problem.kind ? &entry->problem : NULL;
}

static void answer(struct entry *entry)
{
	entry->checked = ps_loop_now(entry->sts->options.loop) + 1;
	while (entry->waits) {
		struct sts_wait *wait = entry->waits;

		entry->waits = wait->next;
		if (entry->waits)
			entry->waits->at = &entry->waits;
		wait->fn(wait->arg, answer_of(entry), problem_of(entry));
		free(wait);
	}
}

static void note_problem(struct entry *entry, int error)
{
	entry->problem.kind = error == PS_E_ACCESS   ? "sts-webpki-invalid"
			      : error == PS_E_SYNTAX ? "sts-policy-invalid"
						     : "sts-policy-fetch-error";
	snprintf(entry->problem.text, sizeof entry->problem.text, "%s", ps_last_error());
	ps_log(PS_LOG_INFO, "mta_sts_fetch", "domain", entry->domain, "msg", entry->problem.text, NULL);
}

static void on_fetched(void *arg, int error, struct ps_bytes text)
{
	struct entry *entry = arg;
	struct sts_policy *policy = ps_malloc(sizeof *policy);

	entry->fetch = NULL;
	if (error == 0)
		error = sts_policy_read(text, policy);
	if (error == 0) {
		set_policy(entry, policy, entry->new_id, time(NULL), text);
		save(entry);
	} else {
		note_problem(entry, error);
	}
	free(policy);
	answer(entry);
}

/* Section 3.1: one record of this kind, or none. */
static bool find_id(const struct dns_answer *found, char ret_id[STS_ID_SIZE])
{
	size_t count = 0;

	for (size_t i = 0; i < found->count; i++) {
		struct ps_bytes text = found->records[i].txt;

		count += text.len >= 8 && memcmp(text.ptr, "v=STSv1;", 8) == 0;
		if (sts_record_read(text, ret_id) < 0)
			continue;
	}
	return count == 1 && ret_id[0];
}

static void on_record(void *arg, const struct dns_answer *found)
{
	struct entry *entry = arg;
	bool known;

	entry->lookup = NULL;
	entry->new_id[0] = '\0';
	entry->problem.kind = NULL;
	/* No record, or no answer: a policy of before goes on (section 5.1). */
	if (!find_id(found, entry->new_id)) {
		answer(entry);
		return;
	}
	known = is_valid(entry) && strcmp(entry->id, entry->new_id) == 0;
	if (!known || !is_fresh(entry))
		entry->fetch =
			sts_fetch_begin(entry->sts->https, &entry->sts->options, entry->domain, on_fetched, entry);
	if (known)
		answer(entry);
}

static struct entry *find_entry(struct sts *sts, const char *domain)
{
	size_t bucket = bucket_of(domain);
	struct entry *entry = sts->buckets[bucket];

	while (entry && ps_strcasecmp(entry->domain, domain) != 0)
		entry = entry->next;
	if (entry)
		return entry;
	make_room(sts, bucket);
	entry = ps_zalloc(sizeof *entry);
	entry->sts = sts;
	for (size_t i = 0; domain[i] && i + 1 < sizeof entry->domain; i++)
		entry->domain[i] = (char)ps_tolower(domain[i]);
	entry->next = sts->buckets[bucket];
	sts->buckets[bucket] = entry;
	sts->count++;
	if (sts->folder)
		load(entry);
	return entry;
}

static void begin(struct entry *entry)
{
	char record[DNS_NAME_SIZE + 16];

	if (entry->lookup || entry->fetch)
		return;
	snprintf(record, sizeof record, "_mta-sts.%s", entry->domain);
	entry->lookup = ps_resolver_query(entry->sts->options.resolver, record, DNS_TXT, on_record, entry);
}

struct sts_wait *sts_ask(struct sts *sts, const char *domain, sts_fn fn, void *arg)
{
	char name[DNS_NAME_SIZE];
	struct entry *entry;
	struct sts_wait *wait;

	if (dns_name_ascii(domain, name, sizeof name) < 0) {
		fn(arg, NULL, NULL);
		return NULL;
	}
	entry = find_entry(sts, name);
	if (entry->checked && ps_loop_now(sts->options.loop) < entry->checked + CHECK_MS &&
	    !(entry->fetch && !is_valid(entry))) {
		fn(arg, answer_of(entry), problem_of(entry));
		return NULL;
	}
	wait = ps_malloc(sizeof *wait);
	*wait = (struct sts_wait){.next = entry->waits, .at = &entry->waits, .fn = fn, .arg = arg};
	if (wait->next)
		wait->next->at = &wait->next;
	entry->waits = wait;
	begin(entry);
	return wait;
}

void sts_cancel(struct sts_wait *wait)
{
	if (!wait)
		return;
	*wait->at = wait->next;
	if (wait->next)
		wait->next->at = wait->at;
	free(wait);
}

/* ---- round the folder ------------------------------------------------------------------------------- */

/* What is no policy, or none any more, goes; what is getting old is fetched anew. */
static void look_after(struct sts *sts, const char *name)
{
	char domain[DNS_NAME_SIZE];
	struct entry *entry = NULL;

	if (dns_name_ascii(name, domain, sizeof domain) == 0 && strcmp(domain, name) == 0)
		entry = find_entry(sts, domain);
	if (!entry || !is_valid(entry))
		unlinkat(dirfd(sts->round), name, 0);
	else if (!is_fresh(entry))
		begin(entry);
}

static void on_step(void *arg)
{
	struct sts *sts = arg;
	const struct dirent *file = NULL;

	if (!sts->round)
		sts->round = opendir(sts->folder);
	for (unsigned n = 0; n < STEP_FILES && sts->round && (file = readdir(sts->round)); n++)
		if (strcmp(file->d_name, ".") != 0 && strcmp(file->d_name, "..") != 0)
			look_after(sts, file->d_name);
	if (!file && sts->round) {
		closedir(sts->round);
		sts->round = NULL;
	}
	ps_timer_set(sts->timer, file ? STEP_MS : ROUND_MS, 0);
}

/* ---- the whole --------------------------------------------------------------------------------------- */

static void open_folder(struct sts *sts)
{
	sts->folder = ps_strdup(sts->options.folder);
	if (mkdir(sts->folder, 0700) < 0 && errno != EEXIST)
		ps_log(PS_LOG_WARNING, "mta_sts_folder", "folder", sts->folder, "msg", strerror(errno), NULL);
	if (ps_timer_open(sts->options.loop, on_step, sts, &sts->timer) < 0)
		abort(); /* memory: as ps_malloc() */
	ps_timer_set(sts->timer, 0, 0);
}

int sts_create(const struct sts_options *options, struct sts **ret_sts)
{
	struct https *https;
	struct sts *sts;
	int r = https_create(options->loop, options->ca_file, &https);

	if (r < 0)
		return r;
	sts = ps_zalloc(sizeof *sts);
	sts->options = *options;
	sts->https = https;
	if (options->folder)
		open_folder(sts);
	*ret_sts = sts;
	return 0;
}

void sts_destroy(struct sts *sts)
{
	if (!sts)
		return;
	for (size_t i = 0; i < BUCKETS; i++)
		while (sts->buckets[i]) {
			struct entry *entry = sts->buckets[i];

			sts->buckets[i] = entry->next;
			entry_destroy(entry);
		}
	https_destroy(sts->https);
	ps_timer_close(sts->timer);
	if (sts->round)
		closedir(sts->round);
	free(sts->folder);
	free(sts);
}
