/* SPDX-License-Identifier: MIT */
#include <time.h>
#include "protocols/imap/commands.h"

enum {
	LINE_MAX_IDLE = 1024
};

struct idle {
	uint64_t ends_ms; /* when the client would be logged out */
	uint32_t keepalive_ms;
};

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

/* Returns to the driver until there is a line, news, or the time to say that we are still there. */
static enum imap_next wait(struct imap_cmd *cmd)
{
	struct idle *idle = cmd->state;
	uint64_t now = now_ms(), left = idle->ends_ms > now ? idle->ends_ms - now : 1;

	imap_wait_line(cmd, LINE_MAX_IDLE);
	cmd->wait.wakeable = true;
	cmd->wait.timeout_ms = idle->keepalive_ms && idle->keepalive_ms < left ? idle->keepalive_ms : (uint32_t)left;
	return IMAP_WAIT;
}

static enum imap_next end(struct imap_cmd *cmd, struct ps_bytes in, size_t lf)
{
	struct ps_bytes line = ps_bytes(in.ptr, lf - (lf > 0 && in.ptr[lf - 1] == '\r'));
	bool done = ps_bytes_caseeq_str(line, "DONE");

	ps_session_consume(cmd->imap->session, lf + 1);
	return done ? imap_ok(cmd, "IDLE completed") : imap_bad(cmd, "IDLE is ended by DONE");
}

static enum imap_next go_on(struct imap_cmd *cmd)
{
	struct ps_session *s = cmd->imap->session;
	struct idle *idle = cmd->state;
	struct ps_bytes in = ps_session_input(s);
	ptrdiff_t lf = ps_bytes_find(in, '\n');

	if (lf >= 0)
		return end(cmd, in, (size_t)lf);
	if (in.len >= LINE_MAX_IDLE)
		return imap_bye(cmd, "IDLE is ended by DONE");
	if (ps_session_dead(s) || ps_session_eof(s) || now_ms() >= idle->ends_ms)
		return imap_gave_up(cmd) ? IMAP_DONE : imap_bye(cmd, "Autologout; IDLE for too long");
	if (ps_session_woken(s) && cmd->imap->view)
		imap_sync(cmd, PS_SYNC_EXPUNGE | PS_SYNC_LOOK);
	else if (ps_session_timed_out(s))
		ps_buf_str(imap_output(cmd->imap), "* OK Still here\r\n");
	return cmd->imap->closing ? IMAP_DONE : wait(cmd);
}

/* IDLE (RFC 2177) */
static enum imap_next cmd_idle(struct imap_cmd *cmd)
{
	struct imap *imap = cmd->imap;
	struct idle *idle;

	if (cmd->state)
		return go_on(cmd);
	if (imap_args_end(&cmd->args) < 0)
		return imap_bad(cmd, "IDLE takes no arguments");
	idle = cmd->state = PS_NEW(cmd->pool, struct idle);
	idle->ends_ms = now_ms() + imap->timeout_ms;
	idle->keepalive_ms = (uint32_t)ps_conf_int(ps_session_conf(imap->session), "idle_keepalive") * 1000;
	ps_buf_str(imap_output(imap), "+ Idling\r\n");
	if (imap->view)
		imap_sync(cmd, PS_SYNC_EXPUNGE | PS_SYNC_LOOK);
	return go_on(cmd);
}

const struct imap_command imap_cmd_idle = {
	.name = "IDLE",
	.states = IMAP_LOGGED_IN,
	.flags = IMAP_LOOKS,
	.run = cmd_idle,
};
