/* SPDX-License-Identifier: MIT */
#include "protocols/imap/auth.h"
#include "protocols/imap/commands.h"

enum {
	RESPONSE_MAX = 12 << 10
}; /* as base64; Kerberos tickets are the longest */

struct exchange {
	bool our_turn; /* else a line of the client's is due */
};

static int decode(struct ps_bytes base64, struct ps_buf *out)
{
	out->limit = RESPONSE_MAX;
	return ps_base64_decode(out, base64);
}

static enum imap_next start(struct imap_cmd *cmd, struct ps_bytes mechanism, struct ps_bytes initial)
{
	struct exchange *exchange = PS_NEW(cmd->pool, struct exchange);
	struct ps_buf response = {0};
	bool given = initial.ptr != NULL;
	int r = 0;

	if (given && !ps_bytes_eq_str(initial, "=")) /* RFC 4959: "=" is an empty response */
		r = decode(initial, &response);
	if (r == 0) {
		ps_session_auth_start(
			cmd->imap->session, ps_pool_strndup(cmd->pool, (const char *)mechanism.ptr, mechanism.len),
			given ? ps_bytes(response.len ? (char *)response.ptr : "", response.len) : ps_bytes(NULL, 0));
		exchange->our_turn = true;
		cmd->state = exchange;
	}
	ps_buf_wipe(&response);
	return r < 0 ? imap_bad(cmd, "The initial response is not base64") : imap_wait_reply(cmd);
}

static enum imap_next take_response(struct imap_cmd *cmd, struct ps_bytes line)
{
	struct exchange *exchange = cmd->state;
	struct ps_buf response = {0};
	int r = decode(line, &response);

	if (r == 0) {
		exchange->our_turn = true;
		ps_session_auth_step(cmd->imap->session,
				     ps_bytes(response.len ? (char *)response.ptr : "", response.len));
	}
	ps_buf_wipe(&response);
	if (r == 0)
		return imap_wait_reply(cmd);
	ps_session_auth_cancel(cmd->imap->session);
	return imap_bad(cmd, "The response is not base64");
}

static enum imap_next read_response(struct imap_cmd *cmd)
{
	struct ps_bytes in = ps_session_input(cmd->imap->session), line;
	ptrdiff_t lf = ps_bytes_find(in, '\n');
	enum imap_next next;

	if (lf < 0 && in.len > RESPONSE_MAX) {
		ps_session_auth_cancel(cmd->imap->session);
		return imap_bye(cmd, "That response is far too long");
	}
	if (lf < 0)
		return imap_gave_up(cmd) ? IMAP_DONE : imap_wait_line(cmd, RESPONSE_MAX + 1);
	line = ps_bytes(in.ptr, (size_t)lf - (lf > 0 && in.ptr[lf - 1] == '\r'));
	if (ps_bytes_eq_str(line, "*")) {
		ps_session_auth_cancel(cmd->imap->session);
		next = imap_bad(cmd, "AUTHENTICATE was cancelled");
	} else {
		next = take_response(cmd, line);
	}
	ps_session_consume(cmd->imap->session, (size_t)lf + 1);
	return next;
}

static enum imap_next go_on(struct imap_cmd *cmd)
{
	struct exchange *exchange = cmd->state;
	struct ps_auth_reply reply;

	if (!exchange->our_turn)
		return read_response(cmd);
	reply = ps_session_auth_reply(cmd->imap->session);
	if (reply.status != PS_AUTH_CONTINUE)
		return imap_auth_outcome(cmd, reply);
	ps_buf_str(imap_output(cmd->imap), "+ ");
	ps_base64_encode(imap_output(cmd->imap), reply.data);
	ps_buf_str(imap_output(cmd->imap), "\r\n");
	exchange->our_turn = false;
	return read_response(cmd);
}

/* AUTHENTICATE (RFC 3501, 6.2.2; RFC 4959):  "AUTHENTICATE" SP auth-type [SP (base64 / "=")] */
static enum imap_next cmd_authenticate(struct imap_cmd *cmd)
{
	struct ps_bytes mechanism, initial = {NULL, 0};

	if (cmd->state)
		return go_on(cmd);
	if (imap_args_space(&cmd->args) < 0 || imap_args_atom(&cmd->args, &mechanism) < 0 || mechanism.len > 20)
		return imap_bad(cmd, "AUTHENTICATE takes the name of a mechanism");
	if (imap_args_take(&cmd->args, ' ')) {
		initial = imap_args_rest(&cmd->args);
		if (initial.len == 0)
			return imap_bad(cmd, "The initial response is missing");
	} else if (imap_args_end(&cmd->args) < 0) {
		return imap_bad(cmd, "AUTHENTICATE takes the name of a mechanism");
	}
	return start(cmd, mechanism, initial);
}

const struct imap_command imap_cmd_authenticate = {
	.name = "AUTHENTICATE",
	.states = IMAP_NOT_AUTHENTICATED,
	.run = cmd_authenticate,
};
