/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include <stdlib.h>
#include "backends/memory/memory_private.h"
#include "core/store/user.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/plugin.h"
#include "tests/fuzz/session.h"

enum {
	RUNS_MAX = 100000, /* until it wants more: it must come to an end */
};

static struct fuzz_session *of(const struct ps_session *s)
{
	return (struct fuzz_session *)(uintptr_t)s;
}

static unsigned roll(struct fuzz_session *f, unsigned count)
{
	return f->rolls.len ? f->rolls.ptr[--f->rolls.len] % count : 0;
}

/* ---- settings ---------------------------------------------------------------------------------- */

static const struct {
	const char *name;
	int64_t number;
	const char *text;
} settings[] = {
	{"preauth_literal_size", 4096, NULL},
	{"command_size", 65536, NULL},
	{"idle_keepalive", 0, NULL},
	{"unauthenticate", 1, NULL},
	{"progress_interval", 60, NULL},
	{"compress", 0, NULL},
	{"compress_level", 6, NULL},
	{"literal", 0, "minus"},
	{"preauth_timeout", 60, NULL},
	{"session_timeout", 1800, NULL},
	{"message_size", 1 << 20, NULL},
	{"hostname", 0, "mail.example.test"},
	{"prefix", 0, ""},
	{"separator", 0, "/"},
	{"login_delay", 0, NULL},
	{"maildrop", 0, "shared"},
	{"uidl_format", 0, "dovecot"},
	{"mark_seen", 1, NULL},
	{"autologout", 600, NULL},
};

int64_t ps_conf_int(const struct ps_conf *conf, const char *name)
{
	(void)conf;
	for (size_t i = 0; i < PS_ARRAY_LEN(settings); i++)
		if (strcmp(name, settings[i].name) == 0)
			return settings[i].number;
	abort();
}

bool ps_conf_bool(const struct ps_conf *conf, const char *name)
{
	return ps_conf_int(conf, name) != 0;
}

const char *ps_conf_str(const struct ps_conf *conf, const char *name)
{
	(void)conf;
	for (size_t i = 0; i < PS_ARRAY_LEN(settings); i++)
		if (strcmp(name, settings[i].name) == 0)
			return settings[i].text;
	abort();
}

const struct ps_conf *ps_conf_section(const struct ps_conf *conf, const char *name, size_t n)
{
	(void)name;
	must(n == 0);
	return conf;
}

size_t ps_conf_list_size(const struct ps_conf *conf, const char *name)
{
	(void)conf;
	(void)name;
	return 1;
}

const char *ps_conf_list_nth(const struct ps_conf *conf, const char *name, size_t n)
{
	(void)conf;
	(void)name;
	must(n == 0);
	return "192.0.2.0/24";
}

/* ---- what the drivers do (postern/session.h) ------------------------------------------------------ */

void ps_session_wake(struct ps_session *s)
{
	atomic_store(&s->wake, true);
}

bool ps_session_is_back(const struct ps_session *s)
{
	(void)s;
	return false;
}

bool ps_session_tls_offered(const struct ps_session *s)
{
	return !s->is_tls;
}

void ps_session_starttls(struct ps_session *s)
{
	must(ps_session_input(s).len == 0 && !s->is_tls);
	of(s)->tls_asked = true;
}

bool ps_session_plaintext_ok(const struct ps_session *s)
{
	return s->is_tls;
}

const char *ps_session_mechanisms(struct ps_session *s)
{
	return s->is_tls ? "PLAIN LOGIN" : "";
}

bool ps_session_auth_choose(struct ps_session *s, uint32_t exchange)
{
	struct fuzz_session *f = of(s);

	f->number = exchange;
	f->chosen = NULL;
	for (unsigned i = 0; i < FUZZ_EXCHANGES; i++)
		if (f->exchanges[i].goes_on && f->exchanges[i].number == exchange)
			f->chosen = &f->exchanges[i];
	return f->chosen;
}

static struct fuzz_exchange *find_answered(struct fuzz_session *f)
{
	for (unsigned i = 0; i < FUZZ_EXCHANGES; i++)
		if (f->exchanges[i].goes_on && !f->exchanges[i].asked && !f->exchanges[i].shown)
			return &f->exchanges[i];
	return NULL;
}

bool ps_session_auth_choose_answered(struct ps_session *s, uint32_t *ret_exchange)
{
	struct fuzz_exchange *answered = find_answered(of(s));

	if (!answered)
		return false;
	answered->shown = true;
	*ret_exchange = answered->number;
	return ps_session_auth_choose(s, answered->number);
}

static void ask(struct fuzz_exchange *exchange)
{
	exchange->status = PS_AUTH_NONE;
	exchange->asked = true;
	exchange->shown = false;
}

void ps_session_auth_start(struct ps_session *s, const char *mechanism, struct ps_bytes initial)
{
	struct fuzz_exchange *exchange = of(s)->chosen ? of(s)->chosen : of(s)->exchanges;

	(void)initial;
	must(strlen(mechanism) <= 20);
	while (exchange != of(s)->chosen && exchange->goes_on)
		must(++exchange < of(s)->exchanges + FUZZ_EXCHANGES);
	*exchange = (struct fuzz_exchange){.goes_on = true, .number = of(s)->number};
	of(s)->chosen = exchange;
	ask(exchange);
}

void ps_session_auth_step(struct ps_session *s, struct ps_bytes response)
{
	(void)response;
	must(of(s)->chosen && of(s)->chosen->status == PS_AUTH_CONTINUE);
	ask(of(s)->chosen);
}

void ps_session_auth_cancel(struct ps_session *s)
{
	if (of(s)->chosen)
		of(s)->chosen->goes_on = false;
	of(s)->chosen = NULL;
}

struct ps_auth_reply ps_session_auth_reply(struct ps_session *s)
{
	return (struct ps_auth_reply){
		.status = of(s)->chosen ? of(s)->chosen->status : PS_AUTH_NONE,
		.data = ps_bytes("data", 4),
		.user = "alice",
	};
}

void ps_session_speak_for(struct ps_session *s, const char *remote, bool is_secured)
{
	(void)s;
	(void)is_secured;
	must(strlen(remote) < 64);
}

void ps_session_hand_over(struct ps_session *s, struct ps_bytes blob)
{
	must(ps_session_auth_reply(s).status == PS_AUTH_OK && blob.len <= 1024);
	of(s)->handed_over = true;
}

int ps_session_hand_back(struct ps_session *s)
{
	of(s)->handed_back = true;
	return 0;
}

struct ps_user *ps_session_user(struct ps_session *s)
{
	return of(s)->user;
}

const char *ps_session_user_name(const struct ps_session *s)
{
	return of(s)->user->name;
}

struct ps_bytes ps_session_blob(const struct ps_session *s)
{
	(void)s;
	return ps_bytes("tag", 3);
}

/* With FUZZ_TRACE in the environment all that is said is shown: what an input does can be read. */
static void trace(const struct ps_session *s, char mark, struct ps_bytes octets)
{
	if (octets.len > 0 && getenv("FUZZ_TRACE"))
		fprintf(stderr, "%p %c %.*s\n", (const void *)s, mark, (int)octets.len, (const char *)octets.ptr);
}

static int flush(struct ps_session *s)
{
	trace(s, '<', ps_buf_view(&s->out.tail));
	must(!s->out.first); /* no file is sent by the backends that are used here */
	ps_buf_bytes(&of(s)->said, ps_buf_view(&s->out.tail));
	ps_buf_reset(&s->out.tail);
	return 0;
}

/* ---- the session ------------------------------------------------------------------------------- */

void fuzz_session_open(struct fuzz_session *f, const struct ps_half *half, struct ps_user *user)
{
	static const struct session_driver driver = {.flush = flush};
	static const struct ps_protocol protocol = {.service = "fuzz"};
	const struct session_args args = {.driver = &driver,
					  .protocol = &protocol,
					  .half = half,
					  .sid = "SID",
					  .remote = "192.0.2.1:4711",
					  .local = "x"};

	ps_log_set_level(PS_LOG_ERROR);
	*f = (struct fuzz_session){.user = user};
	session_init(&f->s, &args);
	f->s.slice_end = UINT64_MAX;
	must(!half->open || half->open(&f->s) == 0);
}

void fuzz_session_close(struct fuzz_session *f)
{
	if (f->s.half->close)
		f->s.half->close(&f->s);
	session_finish(&f->s);
	ps_buf_finish(&f->said);
}

/* One of the exchanges in which an answer is awaited. */
static struct fuzz_exchange *find_asked(struct fuzz_session *f)
{
	struct fuzz_exchange *asked[FUZZ_EXCHANGES];
	unsigned count = 0;

	for (unsigned i = 0; i < FUZZ_EXCHANGES; i++)
		if (f->exchanges[i].goes_on && f->exchanges[i].asked)
			asked[count++] = &f->exchanges[i];
	return count > 0 ? asked[roll(f, count)] : NULL;
}

/* What others would answer now. */
static bool answer(struct fuzz_session *f)
{
	struct fuzz_exchange *exchange = find_asked(f);
	bool is_answer = f->tls_asked || exchange;

	if (f->tls_asked)
		f->s.is_tls = true;
	if (exchange) {
		exchange->asked = false;
		exchange->status = PS_AUTH_CONTINUE + (enum ps_auth_status)roll(f, 7);
	}
	f->tls_asked = false;
	return is_answer;
}

/* It waits for something else, and is told all the same. */
static bool is_told(struct fuzz_session *f)
{
	if (f->s.wait.wakeable && !f->user && roll(f, 2))
		answer(f);
	return f->s.wait.wakeable && find_answered(f);
}

bool fuzz_session_run(struct fuzz_session *f)
{
	for (unsigned runs = 0;; runs++) {
		enum ps_wait_for what = f->s.wait.what;

		must(runs < RUNS_MAX);
		if (what == PS_WAIT_CLOSE || what == PS_WAIT_GONE)
			return false;
		if (what == PS_WAIT_REPLY) {
			must(answer(f));
		} else if (!is_told(f) && !session_ready(&f->s)) {
			return true;
		}
		session_run(&f->s, 1);
		flush(&f->s);
	}
}

bool fuzz_session_feed(struct fuzz_session *f, struct ps_bytes octets)
{
	bool goes_on = fuzz_session_run(f);

	while (goes_on && octets.len > 0) {
		size_t room = session_room(&f->s), n = octets.len < room ? octets.len : room;

		must(n > 0);
		trace(&f->s, '>', ps_bytes(octets.ptr, n));
		session_feed(&f->s, ps_bytes(octets.ptr, n));
		octets = ps_bytes_skip(octets, n);
		goes_on = fuzz_session_run(f);
	}
	return goes_on;
}

/* ---- users --------------------------------------------------------------------------------------- */

struct ps_user *fuzz_user_open(void)
{
	extern const struct ps_plugin postern_plugin;
	struct ps_user_info info = {.name = "alice", .backend = postern_plugin.name, .root = "/nowhere"};
	struct ps_user *user;

	must(ps_user_open_with(postern_plugin.ops, NULL, NULL, &info, &user) == 0);
	return user;
}

void fuzz_user_close(struct ps_user *user)
{
	ps_user_close(user);
	ps_users_close_kept(true);
	memory_forget();
}

void fuzz_append(struct ps_user *user, const char *mailbox, struct ps_bytes octets, uint32_t flags)
{
	struct ps_append_message message = {.flags = flags, .internal_date = 1000000000};
	struct ps_pool *pool = ps_pool_create("fuzz");
	struct ps_op_result result;
	struct ps_append *append;

	must(ps_append_open(user, mailbox, &append) == 0);
	must(ps_append_begin(append, &message) == 0 && ps_append_write(append, octets) == 0);
	must(ps_append_end(append) == 0 && ps_append_commit(append, pool, &result) == 0);
	ps_append_close(append);
	ps_pool_destroy(pool);
}
