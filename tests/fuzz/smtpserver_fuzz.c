/* SPDX-License-Identifier: MIT */
/*
 * The whole dialogue of an SMTP server, with functions in the place of core: what the client sends comes in pieces, and what other
 * processes answer is chosen by the input, too. The order in which they are asked must be lawful, and all that is said be lines of
 * replies.
 */
#include <stdarg.h>
#include <stdlib.h>
#include "postern/error.h"
#include "postern/pool.h"
#include "postern/protocol.h"
#include "protocols/smtp/smtp.h"
#include "tests/fuzz/fuzz.h"

enum {
	CALLS_MAX = 200000, /* of run(): it must come to an end */
};

enum stage {
	NO_MAIL,
	ASKED_FROM,
	TAKING,
	ASKED_RCPT,
	ASKED_DATA,
	RECEIVING,
	ASKED_END,
};

/* What core would be; its functions are below. */
struct ps_session {
	void *state;
	struct ps_bytes sent; /* the rest of the input */
	size_t piece;
	struct ps_buf in, out;
	enum ps_mail_source kind;
	bool converts, tls, eof, timed_out, starting_tls;
	enum ps_auth_status auth;
	bool auth_asked;
	enum stage stage;
	unsigned accepted, replies; /* recipients; answers that are due */
	bool answered;              /* one was taken in this turn */
};

static void must(bool holds)
{
	if (!holds)
		abort();
}

/* A choice that the input makes, where others would answer. */
static unsigned choose(struct ps_session *s, unsigned count)
{
	unsigned choice;

	if (s->sent.len == 0)
		return 0;
	choice = s->sent.ptr[s->sent.len - 1] % count;
	s->sent.len--;
	return choice;
}

/* ---- postern/session.h ------------------------------------------------------------------------- */

struct ps_bytes ps_session_input(struct ps_session *s)
{
	return ps_buf_view(&s->in);
}

void ps_session_consume(struct ps_session *s, size_t n)
{
	must(n <= s->in.len);
	ps_buf_consume(&s->in, n);
}

bool ps_session_eof(const struct ps_session *s)
{
	return s->eof;
}

bool ps_session_timed_out(const struct ps_session *s)
{
	return s->timed_out;
}

bool ps_session_dead(const struct ps_session *s)
{
	(void)s;
	return false;
}

struct ps_buf *ps_session_output(struct ps_session *s)
{
	return &s->out;
}

void ps_session_printf(struct ps_session *s, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	ps_buf_vprintf(&s->out, fmt, ap);
	va_end(ap);
}

void *ps_session_state(struct ps_session *s)
{
	return s->state;
}

const char *ps_session_sid(const struct ps_session *s)
{
	(void)s;
	return "SID";
}

const char *ps_session_remote(const struct ps_session *s)
{
	(void)s;
	return "192.0.2.1:4711";
}

bool ps_session_is_tls(const struct ps_session *s)
{
	return s->tls;
}

bool ps_session_is_from(const struct ps_session *s, const char *setting)
{
	(void)setting;
	return s->piece % 2;
}

void ps_session_set_remote(struct ps_session *s, const char *remote)
{
	(void)s;
	must(strlen(remote) < 64);
}

/* A section and the session are the same here. */
const struct ps_conf *ps_session_conf(const struct ps_session *s)
{
	return (const struct ps_conf *)s;
}

const struct ps_conf *ps_session_core_conf(const struct ps_session *s)
{
	return (const struct ps_conf *)s;
}

bool ps_session_tls_offered(const struct ps_session *s)
{
	return !s->tls;
}

void ps_session_starttls(struct ps_session *s)
{
	must(s->in.len == 0 && !s->tls);
	s->starting_tls = true;
}

bool ps_session_plaintext_ok(const struct ps_session *s)
{
	return s->tls;
}

const char *ps_session_mechanisms(struct ps_session *s)
{
	return s->tls ? "PLAIN LOGIN" : "";
}

void ps_session_auth_start(struct ps_session *s, const char *mechanism, struct ps_bytes initial)
{
	(void)initial;
	must(strlen(mechanism) <= 20 && s->stage == NO_MAIL);
	s->auth = PS_AUTH_NONE;
	s->auth_asked = true;
}

void ps_session_auth_step(struct ps_session *s, struct ps_bytes response)
{
	(void)response;
	must(s->auth == PS_AUTH_CONTINUE);
	s->auth = PS_AUTH_NONE;
	s->auth_asked = true;
}

void ps_session_auth_cancel(struct ps_session *s)
{
	s->auth = PS_AUTH_NONE;
	s->auth_asked = false;
}

struct ps_auth_reply ps_session_auth_reply(struct ps_session *s)
{
	return (struct ps_auth_reply){.status = s->auth, .data = ps_bytes("data", 4)};
}

/* ---- postern/settings.h ------------------------------------------------------------------------ */

int64_t ps_conf_int(const struct ps_conf *conf, const char *name)
{
	static const struct {
		const char *name;
		int64_t value;
	} settings[] = {{"message_size", 4096}, {"recipients", 5}, {"received", 3},         {"errors", 50},
			{"data_timeout", 180},  {"data_rate", 0},  {"command_timeout", 300}};

	(void)conf;
	for (size_t i = 0; i < PS_ARRAY_LEN(settings); i++)
		if (strcmp(name, settings[i].name) == 0)
			return settings[i].value;
	abort();
}

const char *ps_conf_str(const struct ps_conf *conf, const char *name)
{
	const struct ps_session *s = (const struct ps_session *)conf;

	if (strcmp(name, "bare_line_ends") == 0)
		return s->converts ? "convert" : "refuse";
	return strcmp(name, "hostname") == 0 ? "mail.example.test" : "example.test";
}

bool ps_conf_bool(const struct ps_conf *conf, const char *name)
{
	(void)name;
	return ((const struct ps_session *)conf)->piece % 3 == 0;
}

const struct ps_conf *ps_conf_section(const struct ps_conf *conf, const char *name, size_t n)
{
	(void)name;
	must(n == 0);
	return conf;
}

/* ---- postern/envelope.h ------------------------------------------------------------------------ */

static void must_be_path(const char *path)
{
	for (; *path; path++)
		must((uint8_t)*path >= ' ' && *path != 0x7f);
}

static void ask(struct ps_session *s, enum stage before, enum stage after)
{
	must(s->stage == before && s->replies == 0);
	s->stage = after;
	s->replies = 1;
}

void ps_session_mail_from(struct ps_session *s, const struct ps_mail_sender *sender)
{
	must_be_path(sender->reverse_path);
	must(sender->helo[0] && sender->size <= 4096 && !(sender->options & PS_MAIL_BINARYMIME));
	must(sender->source != PS_MAIL_SUBMISSION || s->auth == PS_AUTH_OK);
	ask(s, NO_MAIL, ASKED_FROM);
}

void ps_session_mail_rcpt(struct ps_session *s, const struct ps_mail_recipient *recipient)
{
	must_be_path(recipient->forward_path);
	must(strchr(recipient->forward_path, '@') != NULL && s->accepted < 5);
	ask(s, TAKING, ASKED_RCPT);
}

void ps_session_mail_data(struct ps_session *s)
{
	must(s->accepted > 0);
	ask(s, TAKING, ASKED_DATA);
}

int ps_session_mail_write(struct ps_session *s, struct ps_bytes octets)
{
	must(s->stage == RECEIVING && octets.len > 0);
	return s->piece % 7 ? 0 : ps_fail(PS_E_FULL, "no room");
}

void ps_session_mail_end(struct ps_session *s)
{
	ask(s, RECEIVING, ASKED_END);
	if (s->kind == PS_MAIL_LMTP)
		s->replies = s->accepted;
}

void ps_session_mail_reset(struct ps_session *s)
{
	s->stage = NO_MAIL;
	s->accepted = s->replies = 0;
}

const char *ps_session_mail_id(const struct ps_session *s)
{
	return s->stage == NO_MAIL ? "" : "ID";
}

static struct ps_mail_reply refusal(struct ps_session *s, enum stage stage)
{
	s->stage = stage;
	return choose(s, 2) ? (struct ps_mail_reply){451, "4.3.0", "Not now"}
			    : (struct ps_mail_reply){550, "5.1.1", "No"};
}

struct ps_mail_reply ps_session_mail_reply(struct ps_session *s)
{
	bool good = choose(s, 4) > 0;

	if (s->replies == 0 || s->answered)
		return (struct ps_mail_reply){.code = 0};
	s->replies--;
	s->answered = choose(s, 2); /* others come later */
	switch (s->stage) {
	case ASKED_FROM:
		if (!good)
			return refusal(s, NO_MAIL);
		s->stage = TAKING;
		break;
	case ASKED_RCPT:
		if (!good)
			return refusal(s, TAKING);
		s->stage = TAKING;
		s->accepted++;
		break;
	case ASKED_DATA:
		if (!good)
			return refusal(s, TAKING);
		s->stage = RECEIVING;
		return (struct ps_mail_reply){354, "", "Go ahead"};
	case ASKED_END:
		if (!good)
			return refusal(s, ASKED_END);
		break;
	case NO_MAIL:
	case TAKING:
	case RECEIVING: abort();
	}
	return (struct ps_mail_reply){250, "2.0.0", "OK"};
}

/* ---- the driver ------------------------------------------------------------------------------ */

/* Each line of a reply: three digits, a blank or a hyphen, text, CR LF. */
static void check_output(struct ps_session *s)
{
	struct ps_bytes out = ps_buf_view(&s->out);

	while (out.len > 0) {
		ptrdiff_t lf = ps_bytes_find(out, '\n');

		must(lf >= 5 && out.ptr[lf - 1] == '\r');
		must(out.ptr[0] >= '2' && out.ptr[0] <= '5' && ps_isdigit(out.ptr[1]) && ps_isdigit(out.ptr[2]));
		must(out.ptr[3] == ' ' || out.ptr[3] == '-');
		for (ptrdiff_t i = 0; i < lf - 1; i++)
			must(out.ptr[i] >= ' ' && out.ptr[i] != 0x7f);
		out = ps_bytes_skip(out, (size_t)lf + 1);
	}
	ps_buf_reset(&s->out);
}

/* Makes what is waited for true. */
static void fulfil(struct ps_session *s, const struct ps_wait *wait)
{
	size_t n = s->sent.len < s->piece ? s->sent.len : s->piece;

	s->answered = false;
	if (wait->what == PS_WAIT_REPLY && s->starting_tls) {
		s->starting_tls = false;
		s->tls = true;
	} else if (wait->what == PS_WAIT_REPLY && s->auth_asked) {
		s->auth_asked = false;
		s->auth = PS_AUTH_CONTINUE + (enum ps_auth_status)choose(s, 7);
	} else if (wait->what == PS_WAIT_LINE || wait->what == PS_WAIT_INPUT) {
		s->eof = s->sent.len == 0;
		ps_buf_append(&s->in, s->sent.ptr, n);
		s->sent = ps_bytes_skip(s->sent, n);
	} else {
		must(wait->what != PS_WAIT_REPLY || s->replies > 0);
	}
}

static void talk(struct ps_session *s, const struct ps_half *half)
{
	s->state = calloc(1, half->state_size);
	must(half->open(s) == 0);
	for (unsigned calls = 0;; calls++) {
		struct ps_wait wait = half->run(s);

		must(calls < CALLS_MAX);
		check_output(s);
		if (wait.what == PS_WAIT_CLOSE)
			break;
		must(wait.what != PS_WAIT_GONE && !s->timed_out);
		fulfil(s, &wait);
	}
	half->close(s);
	free(s->state);
	ps_buf_finish(&s->in);
	ps_buf_finish(&s->out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct ps_half *const halves[] = {&smtp_mx_half, &smtp_submission_half, &smtp_lmtp_half};
	static const enum ps_mail_source kinds[] = {PS_MAIL_MX, PS_MAIL_SUBMISSION, PS_MAIL_LMTP};
	unsigned which;

	if (size < 2)
		return 0;
	which = data[0] % 3;
	talk(&(struct ps_session){.sent = ps_bytes(data + 2, size - 2),
				  .piece = data[1] ? data[1] : 1,
				  .kind = kinds[which],
				  .converts = data[0] & 128,
				  .tls = data[0] & 64},
	     halves[which]);
	return 0;
}
