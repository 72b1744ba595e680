/* SPDX-License-Identifier: MIT */
/*
 * progress.h - commands that work for long, in steps, and tell their client so: INPROGRESS (RFC 9585).
 */
#ifndef PROTOCOLS_IMAP_PROGRESS_H
#define PROTOCOLS_IMAP_PROGRESS_H

#include "protocols/imap/imap.h"

/* What ps_search_step() and its like ask, with the command: whether it is time to stop for now. */
bool imap_step_over(void *cmd);
/* To be returned by run() after a step: `done` of `total` are behind us. Never in the middle of a response. */
enum imap_next imap_wait_step(struct imap_cmd *cmd, uint32_t done, uint32_t total);
/* "* OK [INPROGRESS ("a1" 175 1000)] Still working", with its line end; nothing when all is done. */
void imap_put_progress(struct ps_buf *out, struct ps_bytes tag, uint32_t done, uint32_t total);

#endif
