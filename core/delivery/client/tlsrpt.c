/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "core/delivery/client/tlsrpt.h"
#include "core/event/loop.h"
#include "postern/buf.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/pool.h"

enum {
	DOMAINS_MAX = 10000, /* of a day; more are counted as one, "others" */
	SAVE_MS = 10 * 1000,
	KEEP_S = 30 * 86400,
	DAY_SIZE = sizeof "2026-11-23",
};

struct tlsrpt {
	char *folder;
	char day[DAY_SIZE];
	json_t *domains;
	struct ps_timer *timer; /* set: something is to be saved */
	bool dirty;
};

static void name_day(time_t when, char day[DAY_SIZE])
{
	struct tm tm;

	gmtime_r(&when, &tm);
	if (strftime(day, DAY_SIZE, "%Y-%m-%d", &tm) == 0)
		day[0] = '\0';
}

static char *path_of(const struct tlsrpt *report, const char *day, const char *after)
{
	struct ps_buf path = {0};
	char *text;

	ps_buf_printf(&path, "%s/tls-report-%s.json%s", report->folder, day, after);
	text = ps_strdup(ps_buf_cstr(&path));
	ps_buf_finish(&path);
	return text;
}

static void save(struct tlsrpt *report)
{
	PS_CLEANUP(ps_freep) char *path = path_of(report, report->day, "");
	PS_CLEANUP(ps_freep) char *aside = path_of(report, report->day, ".new");

	report->dirty = false;
	if (json_dump_file(report->domains, aside, JSON_INDENT(1) | JSON_SORT_KEYS) < 0 || rename(aside, path) < 0)
		ps_log(PS_LOG_WARNING, "tls_report", "file", path, "msg", strerror(errno), NULL);
}

static void on_save(void *arg)
{
	struct tlsrpt *report = arg;

	if (report->dirty)
		save(report);
}

/* The day that is now: what was counted of it before, and nothing of the one a month ago. */
static void turn_to(struct tlsrpt *report, const char *day)
{
	PS_CLEANUP(ps_freep) char *path = path_of(report, day, "");
	PS_CLEANUP(ps_freep) char *old = NULL;
	char month_ago[DAY_SIZE];

	if (report->dirty)
		save(report);
	json_decref(report->domains);
	report->domains = json_load_file(path, 0, NULL);
	if (!json_is_object(report->domains)) {
		json_decref(report->domains);
		report->domains = json_object();
	}
	memcpy(report->day, day, DAY_SIZE);
	name_day(time(NULL) - KEEP_S, month_ago);
	old = path_of(report, month_ago, "");
	unlink(old);
}

struct tlsrpt *tlsrpt_create(struct ps_loop *loop, const char *folder)
{
	struct tlsrpt *report;

	if (mkdir(folder, 0700) < 0 && errno != EEXIST) {
		ps_log(PS_LOG_WARNING, "tls_report", "folder", folder, "msg", strerror(errno), NULL);
		return NULL;
	}
	report = ps_zalloc(sizeof *report);
	report->folder = ps_strdup(folder);
	if (ps_timer_open(loop, on_save, report, &report->timer) < 0)
		abort(); /* memory: as ps_malloc() */
	return report;
}

void tlsrpt_destroy(struct tlsrpt *report)
{
	if (!report)
		return;
	if (report->dirty)
		save(report);
	ps_timer_close(report->timer);
	json_decref(report->domains);
	free(report->folder);
	free(report);
}

static json_t *member(json_t *object, const char *name)
{
	json_t *found = json_object_get(object, name);

	if (json_is_object(found))
		return found;
	json_object_set_new(object, name, json_object());
	return json_object_get(object, name);
}

static void add_one(json_t *object, const char *name)
{
	json_object_set_new(object, name, json_integer(json_integer_value(json_object_get(object, name)) + 1));
}

void tlsrpt_count(struct tlsrpt *report, const char *domain, const char *policy, const char *failure)
{
	char day[DAY_SIZE];
	json_t *entry;

	if (!report)
		return;
	name_day(time(NULL), day);
	if (strcmp(day, report->day) != 0)
		turn_to(report, day);
	if (json_object_size(report->domains) >= DOMAINS_MAX && !json_object_get(report->domains, domain))
		domain = "others";
	entry = member(report->domains, domain);
	if (!entry)
		return; /* the name is not UTF-8 */
	json_object_set_new(entry, "policy-type", json_string(policy));
	if (failure)
		add_one(member(entry, "failed"), failure);
	else
		add_one(entry, "successful");
	if (!report->dirty)
		ps_timer_set(report->timer, SAVE_MS, 0);
	report->dirty = true;
}

/* ---- told ------------------------------------------------------------------------------------------ */

static bool is_day(const char *text)
{
	return strlen(text) == DAY_SIZE - 1 && strspn(text, "0123456789-") == DAY_SIZE - 1;
}

/* Of now: what is in memory; of a day before, its file. NULL: there is nothing. */
static json_t *domains_of(const struct tlsrpt *report, const char *day)
{
	PS_CLEANUP(ps_freep) char *path = NULL;

	if (strcmp(day, report->day) == 0)
		return json_incref(report->domains);
	path = path_of(report, day, "");
	return json_load_file(path, 0, NULL);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void fill_page(json_t *domains, const char *after, size_t most, json_t *page)
{
	size_t count = json_object_size(domains), n = 0, told = 0;
	PS_CLEANUP(ps_freep) const char **names = ps_malloc((count + 1) * sizeof *names);
	json_t *rows = json_object_get(page, "rows"), *entry, *row;
	const char *name;

	json_object_foreach(domains, name, entry) names[n++] = name;
	qsort(names, n, sizeof *names, by_text);
	for (size_t i = 0; i < n && told <= most; i++) {
		if (after && strcmp(names[i], after) <= 0)
			continue;
		if (told++ == most) {
			json_object_set_new(page, "next", json_string(names[i - 1]));
			return;
		}
		row = json_pack("{s:s}", "domain", names[i]);
		json_object_update(row, json_object_get(domains, names[i]));
		json_array_append_new(rows, row);
	}
}

int tlsrpt_page(struct tlsrpt *report, const char *day, const char *after, size_t most, json_t **ret_page)
{
	char today[DAY_SIZE];
	json_t *domains, *page;

	name_day(time(NULL), today);
	if (day && !is_day(day))
		return ps_fail(PS_E_INVALID, "not a day such as %s", today);
	if (!day)
		day = today;
	domains = domains_of(report, day);
	page = json_pack("{s:b, s:s, s:[]}", "ok", 1, "day", day, "rows");
	fill_page(domains, after, most, page);
	json_decref(domains);
	*ret_page = page;
	return 0;
}
