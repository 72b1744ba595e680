/* SPDX-License-Identifier: MIT */
#include <time.h>
#include "protocols/imap/progress.h"

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t interval_ms(const struct imap *imap)
{
	return (uint64_t)ps_conf_int(ps_session_conf(imap->session), "progress_interval") * 1000;
}

bool imap_step_over(void *arg)
{
	struct imap_cmd *cmd = arg;
	struct ps_session *session = cmd->imap->session;

	return ps_session_dead(session) || ps_session_slice_over(session) || interval_ms(cmd->imap) == 0;
}

/* The first word is due an interval after the first step. */
static bool is_due(struct imap_cmd *cmd)
{
	uint64_t interval = interval_ms(cmd->imap), now = now_ms();
	bool due = cmd->progress_ms ? now >= cmd->progress_ms : interval == 0;

	if (due || !cmd->progress_ms)
		cmd->progress_ms = now + interval;
	return due;
}

void imap_put_progress(struct ps_buf *out, struct ps_bytes tag, uint32_t done, uint32_t total)
{
	if (done >= total)
		return;
	ps_buf_str(out, "* OK [INPROGRESS (");
	if (tag.len == 0 || ps_bytes_find(tag, ']') >= 0) {
		ps_buf_str(out, "NIL"); /* it would end the response code */
	} else {
		ps_buf_char(out, '"');
		ps_buf_bytes(out, tag);
		ps_buf_char(out, '"');
	}
	ps_buf_printf(out, " %u %u)] Still working\r\n", (unsigned)done, (unsigned)total);
}

enum imap_next imap_wait_step(struct imap_cmd *cmd, uint32_t done, uint32_t total)
{
	if (is_due(cmd))
		imap_put_progress(imap_output(cmd->imap), cmd->tag, done, total);
	if (!imap_should_yield(cmd))
		cmd->wait = (struct ps_wait){.what = PS_WAIT_TURN};
	return IMAP_WAIT;
}
