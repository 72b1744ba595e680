/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <time.h>
#include <unistd.h>
#include "cli/progress.h"

enum {
	QUIET_MS = 1000,
	TERMINAL_MS = 200,
	LOG_MS = 10000
};

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

void cli_progress_start(struct cli_progress *progress, const char *what, uint64_t total)
{
	uint64_t now = now_ms();

	*progress = (struct cli_progress){
		.what = what, .total = total, .started_ms = now, .shown_ms = now, .on_terminal = isatty(STDERR_FILENO)};
}

static void show(const struct cli_progress *p, uint64_t now)
{
	double seconds = (double)(now - p->started_ms) / 1000;
	double rate = (double)p->done / seconds;

	fprintf(stderr, "%s%llu", p->on_terminal ? "\r" : "", (unsigned long long)p->done);
	if (p->total > 0)
		fprintf(stderr, " of %llu", (unsigned long long)p->total);
	fprintf(stderr, " %s, %.0f/s", p->what, rate);
	if (p->total > 0 && rate > 0)
		fprintf(stderr, ", %llu %%, %.0f s left", (unsigned long long)(p->done * 100 / p->total),
			(double)(p->total - p->done) / rate);
	fputs(p->on_terminal ? "\033[K" : "\n", stderr);
	fflush(stderr);
}

void cli_progress_step(struct cli_progress *progress)
{
	cli_progress_at(progress, progress->done + 1, progress->total);
}

void cli_progress_at(struct cli_progress *progress, uint64_t done, uint64_t total)
{
	uint64_t now = now_ms();
	uint64_t every = progress->on_terminal ? TERMINAL_MS : LOG_MS;

	progress->done = done;
	progress->total = total;
	if (progress->done == progress->total && progress->shown)
		every = 0;
	if (now - progress->started_ms < QUIET_MS || now - progress->shown_ms < every)
		return;
	show(progress, now);
	progress->shown_ms = now;
	progress->shown = true;
}

void cli_progress_break(struct cli_progress *progress)
{
	if (progress->shown && progress->on_terminal)
		fputc('\n', stderr);
	progress->shown = false;
}
