/* SPDX-License-Identifier: MIT */
/*
 * What a mailbox holds already, so that an import can be repeated. No record is kept: a message is there if one with
 * its date, its size and its octets is. This holds on any backend, and after any crash.
 */
#include <stdlib.h>
#include "cli/import.h"

struct known {
	int64_t date;
	uint64_t size;
	uint32_t uid;
	bool used;
};

struct import_seen {
	struct ps_view *view;
	struct known *all; /* sorted */
	size_t count;
};

static int compare(const void *a, const void *b)
{
	const struct known *x = a, *y = b;

	if (x->date != y->date)
		return x->date < y->date ? -1 : 1;
	if (x->size != y->size)
		return x->size < y->size ? -1 : 1;
	return x->uid < y->uid ? -1 : x->uid > y->uid;
}

int import_seen_open(struct ps_user *user, const char *mailbox, struct import_seen **ret_seen)
{
	struct ps_view_status status;
	struct import_seen *seen;
	struct ps_view *view;
	int r = ps_view_open(user, mailbox, true, NULL, NULL, &view);

	if (r < 0)
		return r;
	seen = ps_zalloc(sizeof *seen);
	seen->view = view;
	ps_view_status(view, &status);
	seen->all = ps_malloc((status.messages + 1) * sizeof *seen->all);
	for (uint32_t seq = 1; seq <= status.messages; seq++) {
		const struct ps_row *row = ps_view_row(view, seq);

		seen->all[seen->count++] = (struct known){row->internal_date, row->size, row->uid, false};
	}
	qsort(seen->all, seen->count, sizeof *seen->all, compare);
	*ret_seen = seen;
	return 0;
}

static size_t lower_bound(const struct import_seen *seen, struct known key)
{
	size_t low = 0, high = seen->count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (compare(&seen->all[middle], &key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static int digest_of(struct import_seen *seen, uint32_t uid, uint8_t digest[32])
{
	struct ps_body body;
	struct import_text text;
	int r = ps_view_body(seen->view, uid, &body);

	if (r < 0)
		return r;
	text = (struct import_text){.body = body};
	r = import_text_digest(&text, digest);
	ps_view_body_close(seen->view, &body);
	return r;
}

int import_seen_match(struct import_seen *seen, int64_t date, const struct import_text *text)
{
	size_t at = lower_bound(seen, (struct known){.date = date, .size = text->size});
	uint8_t ours[32], theirs[32];
	bool have_ours = false;
	int r;

	for (; at < seen->count && seen->all[at].date == date && seen->all[at].size == text->size; at++) {
		struct known *known = &seen->all[at];

		if (known->used)
			continue;
		if (!have_ours && (r = import_text_digest(text, ours)) < 0)
			return r;
		have_ours = true;
		if (digest_of(seen, known->uid, theirs) == 0 && memcmp(ours, theirs, sizeof ours) == 0) {
			known->used = true;
			return 1;
		}
	}
	return 0;
}

void import_seen_close(struct import_seen *seen)
{
	if (!seen)
		return;
	ps_view_close(seen->view);
	ps_freep(&seen->all);
	free(seen);
}
