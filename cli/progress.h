/* SPDX-License-Identifier: MIT */
/*
 * cli/progress.h - how far a long command is, on stderr: a line that is rewritten on a terminal, else a line now
 * and then. What is over soon shows nothing.
 */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct cli_progress {
	const char *what; /* "messages" */
	uint64_t total;   /* 0: not known */
	uint64_t done;
	uint64_t started_ms, shown_ms;
	bool on_terminal, shown;
};

void cli_progress_start(struct cli_progress *progress, const char *what, uint64_t total);
void cli_progress_step(struct cli_progress *progress);
/* So many are done, of so many. */
void cli_progress_at(struct cli_progress *progress, uint64_t done, uint64_t total);
/* Ends the line on a terminal, so that other output begins on its own. Progress may go on after it. */
void cli_progress_break(struct cli_progress *progress);

#endif
