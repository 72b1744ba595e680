/* SPDX-License-Identifier: MIT */
/*
 * The protocol auth: other servers ask whether who logs in with them is a user of ours. It is the one that Dovecot has for the
 * clients of its auth process, version 1.2, as Postfix and Exim speak it: lines of fields with tabs between them.
 *
 * On a connection there are as many exchanges at a time as the other server has clients that log in; they are told apart by the ids
 * that it gives them, and each is answered when its answer is there.
 */
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/random.h>
#include "postern/error.h"
#include "postern/log.h"
#include "postern/login.h"
#include "postern/plugin.h"
#include "postern/pool.h"
#include "postern/protocol.h"

enum {
	LINE_MAX_OCTETS = PS_LOGIN_LINE_MAX + 1024,
	OUTPUT_PIECE = 32 << 10,
	STEPS_MAX = 20,     /* in one turn, so that others have theirs */
	EXCHANGES_MAX = 64, /* at a time; Dovecot's own log-in processes have some dozens */
};

struct auth {
	struct ps_session *session;
	bool has_greeted;
	bool is_welcome;     /* has said its version */
	unsigned asked;      /* exchanges in which auth's answer is awaited */
	unsigned challenged; /* and the client's */
};

/* ---- what is said ------------------------------------------------------------------------------ */

/* Of a mechanism, for the administrator of the other server to choose by. */
static const char *parameter_of(struct ps_bytes mechanism)
{
	if (ps_bytes_eq_str(mechanism, "PLAIN") || ps_bytes_eq_str(mechanism, "LOGIN"))
		return "\tplaintext";
	return mechanism.len > 5 && memcmp(mechanism.ptr, "SCRAM", 5) == 0 ? "\tmutual-auth" : "";
}

/* "-PLUS" is not for others: they have the TLS connection that it is bound to. */
static bool is_bound(struct ps_bytes mechanism)
{
	return mechanism.len > 5 && memcmp(mechanism.ptr + mechanism.len - 5, "-PLUS", 5) == 0;
}

static void put_mechanisms(struct auth *auth)
{
	const char *names = ps_session_mechanisms(auth->session);

	for (size_t length; *names; names += length + (names[length] == ' ')) {
		struct ps_bytes name = ps_bytes(names, length = strcspn(names, " "));

		if (!is_bound(name))
			ps_session_printf(auth->session, "MECH\t%.*s%s\n", (int)length, names, parameter_of(name));
	}
}

static void greet(struct auth *auth)
{
	static unsigned connections;
	uint64_t cookie[2] = {0};

	if (getrandom(cookie, sizeof cookie, 0) < 0)
		cookie[0] = connections; /* nobody asks by it here */
	ps_session_printf(auth->session, "VERSION\t1\t2\n");
	put_mechanisms(auth);
	ps_session_printf(auth->session, "SPID\t1\nCUID\t%u\nCOOKIE\t%016" PRIx64 "%016" PRIx64 "\nDONE\n",
			  ++connections, cookie[0], cookie[1]);
	auth->has_greeted = true;
}

/* A value that may hold anything but is to stay one: what is no printable ASCII is left out. */
static void put_text(struct ps_buf *out, struct ps_bytes text)
{
	for (size_t i = 0; i < text.len; i++)
		if (text.ptr[i] >= ' ' && text.ptr[i] < 0x7f)
			ps_buf_char(out, (char)text.ptr[i]);
}

static const struct {
	enum ps_auth_status status;
	const char *fields;
} failures[] = {
	{PS_AUTH_TEMPFAIL, "\ttemp"},
	{PS_AUTH_REFUSED, "\tauthz"},
	{PS_AUTH_UNKNOWN_MECHANISM, "\treason=No such mechanism here"},
	{PS_AUTH_PRIVACY, "\treason=Not without TLS"},
	{PS_AUTH_MALFORMED, "\treason=The response is not base64"},
};

static void put_failure(struct auth *auth, uint32_t id, struct ps_auth_reply reply)
{
	struct ps_buf *out = ps_session_output(auth->session);

	ps_buf_printf(out, "FAIL\t%" PRIu32, id);
	for (size_t i = 0; i < PS_ARRAY_LEN(failures); i++)
		if (failures[i].status == reply.status)
			ps_buf_str(out, failures[i].fields);
	if (reply.status == PS_AUTH_REFUSED && reply.data.len > 0) {
		ps_buf_str(out, "\treason=");
		put_text(out, reply.data);
	}
	ps_buf_char(out, '\n');
}

/* The exchange that is chosen is over, or goes on by the client's answer. */
static void take_reply(struct auth *auth, uint32_t id, struct ps_auth_reply reply)
{
	struct ps_buf *out = ps_session_output(auth->session);

	if (reply.status == PS_AUTH_CONTINUE) {
		ps_buf_printf(out, "CONT\t%" PRIu32 "\t", id);
		ps_base64_encode(out, reply.data);
		ps_buf_char(out, '\n');
		auth->challenged++;
		return;
	}
	if (reply.status == PS_AUTH_OK)
		ps_session_printf(auth->session, "OK\t%" PRIu32 "\tuser=%s\n", id, reply.user);
	else
		put_failure(auth, id, reply);
	ps_session_auth_cancel(auth->session); /* nobody has logged in here */
}

/* ---- what is asked ------------------------------------------------------------------------------ */

static struct ps_bytes take_field(struct ps_bytes *rest)
{
	ptrdiff_t tab = ps_bytes_find(*rest, '\t');
	struct ps_bytes field = ps_bytes(rest->ptr, tab < 0 ? rest->len : (size_t)tab);

	*rest = ps_bytes_skip(*rest, field.len + (tab >= 0));
	return field;
}

static bool take_prefix(struct ps_bytes *text, const char *prefix)
{
	size_t length = strlen(prefix);

	if (text->len < length || memcmp(text->ptr, prefix, length) != 0)
		return false;
	*text = ps_bytes_skip(*text, length);
	return true;
}

/* A client of the other server. */
struct asker {
	struct ps_bytes address, port;
	bool is_secured;
	struct ps_bytes response; /* base64; {NULL, 0}: none */
};

static struct asker read_parameters(struct ps_bytes rest)
{
	struct asker asker = {.response = {NULL, 0}};

	while (rest.len > 0) {
		struct ps_bytes field;

		if (take_prefix(&rest, "resp=")) { /* the last, whatever is in it */
			asker.response = rest;
			break;
		}
		field = take_field(&rest);
		if (take_prefix(&field, "rip="))
			asker.address = field;
		else if (take_prefix(&field, "rport="))
			asker.port = field;
		else if (ps_bytes_eq_str(field, "secured") || take_prefix(&field, "secured="))
			asker.is_secured = true;
	}
	return asker;
}

/* Who is asked for is throttled and, where a user may not log in from everywhere, judged by its own address, if we are told. */
static void speak_for(struct auth *auth, const struct asker *asker)
{
	char address[INET6_ADDRSTRLEN] = "", remote[INET6_ADDRSTRLEN + 16];
	struct in6_addr octets;
	uint32_t port = 0;

	if (asker->address.len < sizeof address)
		memcpy(address, asker->address.ptr ? (const char *)asker->address.ptr : "", asker->address.len);
	if (asker->port.len > 0 && (ps_bytes_u32(asker->port, &port) < 0 || port > 65535))
		port = 0;
	if (inet_pton(AF_INET, address, &octets) == 1)
		snprintf(remote, sizeof remote, "%s:%" PRIu32, address, port);
	else if (inet_pton(AF_INET6, address, &octets) == 1)
		snprintf(remote, sizeof remote, "[%s]:%" PRIu32, address, port);
	else
		snprintf(remote, sizeof remote, "%.40s", ps_session_remote(auth->session));
	ps_session_speak_for(auth->session, remote, asker->is_secured);
}

/* {NULL, 0}: it is not base64. */
static struct ps_bytes decode(struct ps_bytes base64, struct ps_buf *octets)
{
	octets->limit = PS_LOGIN_LINE_MAX;
	if (!ps_bytes_eq_str(base64, "=") && ps_base64_decode(octets, base64) < 0)
		return ps_bytes(NULL, 0);
	return ps_bytes(octets->len > 0 ? (const char *)octets->ptr : "", octets->len);
}

static bool on_version(struct auth *auth, struct ps_bytes rest)
{
	auth->is_welcome = ps_bytes_eq_str(take_field(&rest), "1");
	return auth->is_welcome;
}

static bool on_cpid(struct auth *auth, struct ps_bytes rest)
{
	(void)rest;
	return auth->is_welcome;
}

/* AUTH id mechanism parameters... [resp=base64] */
static bool on_auth(struct auth *auth, struct ps_bytes rest)
{
	struct ps_bytes id = take_field(&rest), mechanism = take_field(&rest), initial = {NULL, 0};
	struct asker asker = read_parameters(rest);
	struct ps_buf octets = {0};
	char name[21] = "";
	uint32_t number;

	/* What was answered to one of two with the same id could be the other's. */
	if (!auth->is_welcome || ps_bytes_u32(id, &number) < 0 || ps_session_auth_choose(auth->session, number))
		return false;
	if (auth->challenged == EXCHANGES_MAX) {
		put_failure(auth, number, (struct ps_auth_reply){.status = PS_AUTH_TEMPFAIL});
		return true;
	}
	if (mechanism.len < sizeof name)
		memcpy(name, mechanism.ptr, mechanism.len);
	if (asker.response.ptr)
		initial = decode(asker.response, &octets);
	if (asker.response.ptr && !initial.ptr) {
		put_failure(auth, number, (struct ps_auth_reply){.status = PS_AUTH_MALFORMED});
	} else {
		auth->asked++;
		speak_for(auth, &asker);
		ps_session_auth_start(auth->session, name, initial);
	}
	ps_buf_wipe(&octets);
	return true;
}

/* Chooses the exchange, if there is one and it is the client's turn in it. */
static bool is_challenged(struct auth *auth, uint32_t id)
{
	return ps_session_auth_choose(auth->session, id) &&
	       ps_session_auth_reply(auth->session).status == PS_AUTH_CONTINUE;
}

/* CONT id base64. Of an exchange that is over, it came too late. */
static bool on_cont(struct auth *auth, struct ps_bytes rest)
{
	struct ps_bytes id = take_field(&rest), response;
	struct ps_buf octets = {0};
	uint32_t number;

	if (ps_bytes_u32(id, &number) < 0)
		return false;
	if (!is_challenged(auth, number))
		return true;
	auth->challenged--;
	response = decode(rest, &octets);
	if (response.ptr) {
		auth->asked++;
		ps_session_auth_step(auth->session, response);
	} else {
		take_reply(auth, number, (struct ps_auth_reply){.status = PS_AUTH_MALFORMED});
	}
	ps_buf_wipe(&octets);
	return true;
}

static bool on_cancel(struct auth *auth, struct ps_bytes rest)
{
	uint32_t number;

	if (ps_bytes_u32(take_field(&rest), &number) < 0)
		return false;
	if (!ps_session_auth_choose(auth->session, number))
		return true;
	--*(is_challenged(auth, number) ? &auth->challenged : &auth->asked);
	take_reply(auth, number, (struct ps_auth_reply){.status = PS_AUTH_CANCELLED});
	return true;
}

/* false: that is not the protocol. */
static const struct {
	const char *name;
	bool (*run)(struct auth *auth, struct ps_bytes rest);
} commands[] = {
	{"VERSION", on_version}, {"CPID", on_cpid}, {"AUTH", on_auth}, {"CONT", on_cont}, {"CANCEL", on_cancel},
};

static bool run_line(struct auth *auth, struct ps_bytes line)
{
	struct ps_bytes name = take_field(&line);

	for (size_t i = 0; i < PS_ARRAY_LEN(commands); i++)
		if (ps_bytes_eq_str(name, commands[i].name))
			return commands[i].run(auth, line);
	return auth->is_welcome; /* what later versions have more is passed over */
}

/* ---- the session --------------------------------------------------------------------------------- */

static const struct ps_wait wait_close = {.what = PS_WAIT_CLOSE};

/* What to wait for where no whole line is there; what was asked is answered before the end. */
static struct ps_wait wait_for_line(const struct auth *auth)
{
	if (!ps_session_eof(auth->session))
		return (struct ps_wait){.what = PS_WAIT_LINE, .n = LINE_MAX_OCTETS + 1, .wakeable = true};
	return auth->asked > 0 ? (struct ps_wait){.what = PS_WAIT_REPLY} : wait_close;
}

/* The line leaves the input when it is done with. */
static bool read_line(struct auth *auth, struct ps_wait *ret_wait)
{
	struct ps_bytes in = ps_session_input(auth->session);
	ptrdiff_t lf = ps_bytes_find(in, '\n');

	if (lf < 0 && in.len <= LINE_MAX_OCTETS) {
		*ret_wait = wait_for_line(auth);
		return false;
	}
	if (lf < 0 || lf > LINE_MAX_OCTETS || !run_line(auth, ps_bytes(in.ptr, (size_t)lf))) {
		ps_log(PS_LOG_WARNING, "auth_protocol", "sid", ps_session_sid(auth->session), "msg",
		       "the other server does not speak the protocol", NULL);
		*ret_wait = wait_close;
		return false;
	}
	ps_session_consume(auth->session, (size_t)lf + 1);
	return true;
}

static struct ps_wait run(struct ps_session *s)
{
	struct auth *auth = ps_session_state(s);
	struct ps_wait wait;
	uint32_t id;

	if (!auth->has_greeted)
		greet(auth);
	for (unsigned steps = 0; steps < STEPS_MAX && !ps_session_dead(s); steps++) {
		if (ps_session_output(s)->len > OUTPUT_PIECE)
			return (struct ps_wait){.what = PS_WAIT_DRAIN};
		if (ps_session_auth_choose_answered(s, &id)) {
			auth->asked--;
			take_reply(auth, id, ps_session_auth_reply(s));
		} else if (auth->asked > 0 && auth->asked + auth->challenged >= EXCHANGES_MAX) {
			return (struct ps_wait){.what = PS_WAIT_REPLY};
		} else if (!read_line(auth, &wait)) {
			return wait;
		}
	}
	return (struct ps_wait){.what = ps_session_dead(s) ? PS_WAIT_CLOSE : PS_WAIT_TURN};
}

static int open_session(struct ps_session *s)
{
	struct auth *auth = ps_session_state(s);

	auth->session = s;
	ps_session_set_input_limit(s, LINE_MAX_OCTETS + 1024);
	if (strcmp(ps_session_local(s), "unix") != 0 && !ps_session_is_from(s, "clients")) {
		ps_log(PS_LOG_WARNING, "auth_refused", "sid", ps_session_sid(s), "remote", ps_session_remote(s), "msg",
		       "not one of the clients", NULL);
		return PS_E_ACCESS;
	}
	ps_session_speak_for(s, ps_session_remote(s), true);
	return 0;
}

static const struct ps_half half = {.state_size = sizeof(struct auth), .open = open_session, .run = run};

static const struct ps_setting settings[] = {
	{.name = "clients",
	 .type = PS_SET_LIST,
	 .def = "127.0.0.0/8 ::1",
	 .choices = PS_NETWORKS,
	 .help = "networks of the servers that may ask, where they come by TCP"},
	{.name = NULL},
};

static const struct ps_protocol protocol = {
	.service = "auth",
	.gss_service = "smtp",
	.front = &half,
};

PS_PLUGIN_EXPORT = {
	.abi = PS_ABI,
	.size = sizeof(struct ps_plugin),
	.kind = PS_PLUGIN_PROTOCOL,
	.ops_size = sizeof(struct ps_protocol),
	.name = "auth",
	.summary = "log-ins at other servers, by Dovecot's auth protocol (Postfix, Exim)",
	.build = PS_BUILD,
	.ops = &protocol,
	.settings = settings,
};
