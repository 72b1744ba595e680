/* SPDX-License-Identifier: MIT */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include "postern/pool.h"
#include "protocols/smtp/address.h"
#include "protocols/smtp/commands.h"
#include "protocols/smtp/parameters.h"
#include "protocols/smtp/path.h"

/* What a proxy tells of its client. There is no RFC: Postfix's XCLIENT_README describes it. */
struct xclient {
	char address[INET6_ADDRSTRLEN]; /* "": not told */
	uint32_t port;
	char helo[SMTP_HELO_MAX + 1];
};

/* Nothing, for what the proxy does not know. */
static int decode(struct ps_bytes value, struct ps_buf *out)
{
	if (value.len == 0)
		return ps_fail(PS_E_SYNTAX, "XCLIENT: an attribute without a value");
	if (ps_bytes_caseeq_str(value, "[UNAVAILABLE]") || ps_bytes_caseeq_str(value, "[TEMPUNAVAIL]"))
		return 0;
	return smtp_xtext_decode(value, false, out);
}

static int take_address(void *arg, struct ps_bytes value)
{
	struct xclient *xclient = arg;
	struct ps_buf text = {0};
	char remote[SMTP_REMOTE_MAX];
	const char *address;
	int r = decode(value, &text);

	address = ps_buf_cstr(&text);
	if (text.len > 5 && ps_bytes_caseeq_str(ps_bytes(address, 5), "IPV6:"))
		address += 5;
	if (r == 0 && *address && (r = smtp_remote_make(address, 0, remote)) == 0)
		snprintf(xclient->address, sizeof xclient->address, "%s", address);
	ps_buf_finish(&text);
	return r;
}

static int take_port(void *arg, struct ps_bytes value)
{
	struct xclient *xclient = arg;
	struct ps_buf text = {0};
	int r = decode(value, &text);

	if (r == 0 && text.len > 0)
		r = ps_bytes_u32(ps_buf_view(&text), &xclient->port);
	if (r == 0 && xclient->port > UINT16_MAX)
		r = ps_fail(PS_E_SYNTAX, "XCLIENT: not a port");
	ps_buf_finish(&text);
	return r;
}

static int take_helo(void *arg, struct ps_bytes value)
{
	struct xclient *xclient = arg;
	struct ps_buf text = {0};
	int r = decode(value, &text);

	if (r == 0 && text.len > 0 && !smtp_is_name(ps_buf_view(&text)))
		r = ps_fail(PS_E_SYNTAX, "XCLIENT: not a name");
	if (r == 0)
		snprintf(xclient->helo, sizeof xclient->helo, "%s", ps_buf_cstr(&text));
	ps_buf_finish(&text);
	return r;
}

/* What changes nothing here: the client's name in DNS, and which protocol it spoke. */
static int take_other(void *arg, struct ps_bytes value)
{
	struct ps_buf text = {0};
	int r = decode(value, &text);

	(void)arg;
	ps_buf_finish(&text);
	return r;
}

static const struct smtp_parameter attributes[] = {
	{"NAME", take_other}, {"ADDR", take_address}, {"PORT", take_port}, {"PROTO", take_other}, {"HELO", take_helo},
};

/* It is as if the client had only just connected. */
static void begin_anew(struct smtp *smtp, const struct xclient *xclient)
{
	char remote[SMTP_REMOTE_MAX];

	smtp_forget(smtp);
	smtp->helo[0] = '\0';
	smtp->extended = false;
	smtp->greeted = false;
	memcpy(smtp->told_helo, xclient->helo, sizeof smtp->told_helo);
	if (xclient->address[0] && smtp_remote_make(xclient->address, xclient->port, remote) == 0)
		ps_session_set_remote(smtp->session, remote);
}

/* XCLIENT (Postfix's extension):  "XCLIENT" 1*(SP attribute "=" xtext) */
static enum smtp_next cmd_xclient(struct smtp_cmd *cmd)
{
	struct xclient xclient = {.port = 0};
	int r = smtp_read_parameters(cmd->argument, attributes, PS_ARRAY_LEN(attributes), &xclient);

	if (r < 0)
		return smtp_say(cmd->smtp, 501, "5.5.4", "An attribute is not as it should be");
	begin_anew(cmd->smtp, &xclient);
	return SMTP_NEXT;
}

static bool is_trusted(const struct smtp *smtp)
{
	return smtp->trusted;
}

const struct smtp_verb smtp_cmd_xclient = {
	.name = "XCLIENT",
	.run = cmd_xclient,
	.where = SMTP_EVERYWHERE,
	.flags = SMTP_NEEDS_ARGUMENT | SMTP_NO_MAIL | SMTP_NO_CHUNKS,
	.syntax = "XCLIENT attribute=value ...",
	.available = is_trusted,
};
