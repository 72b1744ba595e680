/* SPDX-License-Identifier: MIT */
#include <stdarg.h>
#include <stdio.h>
#include <time.h>
#include "core/sync/sync_private.h"

#define SECOND INT64_C(1000000000)

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * SECOND + t.tv_nsec;
}

void sync_note(struct sync *s, const char *fmt, ...)
{
	char sentence[1200];
	va_list ap;

	if (!s->options->note)
		return;
	va_start(ap, fmt);
	vsnprintf(sentence, sizeof sentence, fmt, ap);
	va_end(ap);
	s->options->note(s->options->arg, sentence);
}

bool sync_stopped(struct sync *s)
{
	if (!s->totals->stopped && s->options->stop && s->options->stop(s->options->arg))
		s->totals->stopped = true;
	return s->totals->stopped;
}

int sync_checkpoint(struct sync *s)
{
	int64_t now = now_ns();

	if (now - s->saved_ns < SECOND)
		return 0;
	s->saved_ns = now;
	return sync_record_save(&s->record);
}

int sync_commit_one(const struct ps_sync_end *end, struct ps_batch *batch)
{
	int r;

	batch->results = PS_NEWV(batch->pool, struct ps_op_result, batch->count);
	r = sync_on(end)->commit(end->store, &batch, 1);
	return batch->err ? batch->err : r;
}

int ps_sync_run(const struct ps_sync_end *from, const struct ps_sync_end *to, const struct ps_sync_options *options,
		struct ps_sync_totals *ret_totals)
{
	static int (*const modes[])(struct sync * s) = {
		[PS_SYNC_MIRROR] = sync_mirror,
		[PS_SYNC_ADD] = sync_add,
		[PS_SYNC_LATE] = sync_add,
		[PS_SYNC_BOTH] = sync_both,
	};
	struct sync s = {.from = from, .to = to, .options = options, .totals = ret_totals};
	int r;

	*ret_totals = (struct ps_sync_totals){0};
	s.pool = ps_pool_create("sync");
	s.started_ns = s.saved_ns = now_ns();
	if ((r = sync_look(from, s.pool, &s.from_boxes)) == 0 && (r = sync_look(to, s.pool, &s.to_boxes)) == 0 &&
	    (r = sync_record_open(&s.record, from, to, options->mode == PS_SYNC_ADD ? NULL : options->record_dir)) == 0)
		r = modes[options->mode](&s);
	sync_record_close(&s.record);
	ps_pool_destroy(s.pool);
	return r;
}
