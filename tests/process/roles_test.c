/* SPDX-License-Identifier: MIT */
/*
 * The roles auth and mail as processes of their own, with this test in the place of master and of a front that somebody
 * has taken over: whatever it sends, they survive, the channel is dropped, and others are served.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "auth/revoked.h"
#include "core/process/channel.h"
#include "core/process/signer.h"
#include "core/process/ticket.h"
#include "postern/session.h"
#include "tests/net/peer.h"
#include "tests/unit.h"

#define WAIT_MS 60000

static const struct ps_hash credential = {{1, 2}}; /* of the tickets */
static const struct ps_ticket_key key = {{7, 7, 7}}, other_key = {{7, 7, 8}};
static char dir[] = "/tmp/postern-roles-XXXXXX";

struct scene {
	uint32_t role;
	pid_t pid;
	int master, front; /* our ends */
	unsigned fronts;
	struct ps_inbox inbox;
};

static int text_fd(const char *text)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	return fd;
}

static void tell(struct scene *scene, uint32_t type, const void *message, int fd)
{
	ck_assert_ok(ps_wait_send(scene->master, type, message));
	if (fd >= 0)
		close(fd);
}

static void start_process(struct scene *scene)
{
	int fds[2];

	ck_assert_ok(ps_channel_pair(fds));
	scene->pid = fork();
	if (scene->pid == 0) {
		char program[] = "posternd", option[] = "--role", name[16];
		char *argv[] = {program, option, name, NULL};

		snprintf(name, sizeof name, "%s", ps_role_name(scene->role));
		if (dup2(fds[1], 3) != 3)
			_exit(127);
		fcntl(3, F_SETFD, 0);
		execv("./posternd", argv);
		_exit(127);
	}
	close(fds[1]);
	scene->master = fds[0];
}

static void tell_config(struct scene *scene)
{
	char text[512];
	struct ps_msg_config config = {
		.path = "test", .mail_uid = geteuid(), .mail_gid = getegid(), .fronts = 1, .mails = 1};

	snprintf(text, sizeof text,
		 "mail_root = \"%s\"\nrun_dir = \"%s\"\nbackend = \"memory\"\nmail_processes = 1\n"
		 "spool_dir = \"%s\"\nrelay { resolvers = { \"127.0.0.1:9\" } }\n"
		 "limits { connections = 500 auth_failures_per_minute = 100000 }\n",
		 dir, dir, dir);
	config.text = text_fd(text);
	tell(scene, PS_MSG_CONFIG, &config, config.text);
}

/* Another front, which is like the former one only in what it may do. */
static void new_front(struct scene *scene)
{
	struct ps_msg_peer peer = {.self = scene->role, .role = PS_ROLE_FRONT, .index = scene->fronts++ % 8};
	int fds[2];

	if (scene->front >= 0)
		close(scene->front);
	ck_assert_ok(ps_channel_pair(fds));
	peer.socket = fds[1];
	tell(scene, PS_MSG_PEER, &peer, fds[1]);
	scene->front = fds[0];
}

static void set_up(struct scene *scene, uint32_t role)
{
	struct ps_msg_ticket_key ticket_key = {.key = ps_bytes(key.octets, sizeof key.octets)};
	struct ps_msg_pass_key pass_key = {.key = ps_bytes(key.octets, sizeof key.octets)};
	struct ps_msg_secret users = {.kind = PS_SECRET_USERS, .path = "users"};
	struct ps_msg_start start = {};

	ck_assert_ptr_nonnull(mkdtemp(dir));
	scene->role = role;
	scene->front = -1;
	start_process(scene);
	tell_config(scene);
	if (role == PS_ROLE_RELAY)
		tell(scene, PS_MSG_PASS_KEY, &pass_key, -1);
	else
		tell(scene, PS_MSG_TICKET_KEY, &ticket_key, -1);
	if (role == PS_ROLE_AUTH) {
		users.file = text_fd("alice@example.test:{PLAIN}pass\n");
		tell(scene, PS_MSG_SECRET, &users, users.file);
	}
	new_front(scene);
	tell(scene, PS_MSG_START, &start, -1);
	ck_assert_ok(ps_wait_receive(scene->master, WAIT_MS, role, PS_ROLE_MASTER, PS_PHASE_STARTING, &scene->inbox));
	ck_assert_uint_eq(scene->inbox.row->type, PS_MSG_READY);
}

static void tear_down(struct scene *scene)
{
	struct ps_msg_stop stop = {};
	int status;

	tell(scene, PS_MSG_STOP, &stop, -1);
	ck_assert_int_eq(waitpid(scene->pid, &status, 0), scene->pid);
	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "it ended with status %d", status);
	close(scene->master);
	close(scene->front);
	unit_remove(dir);
}

/* ---- mail: hand-overs --------------------------------------------------------------------------------- */

static void seal_for(struct ps_buf *out, const char *sid, uint32_t mail, uint64_t now, const struct ps_ticket_key *with)
{
	struct ps_msg_ticket ticket = {.sid = sid,
				       .service = "imap",
				       .user = "alice@example.test",
				       .uid = geteuid(),
				       .gid = getegid(),
				       .home = dir,
				       .backend = "memory",
				       .root = dir,
				       .credential = ps_credential_octets(&credential),
				       .mail = mail};

	out->len = 0;
	ck_assert_ok(ps_ticket_seal(with, &ticket, now, out));
}

static void hand_over(struct scene *scene, struct ps_bytes ticket, const char *protocol, int fd, struct ps_bytes unread)
{
	struct ps_msg_hand_over message = {.ticket = ticket,
					   .protocol = protocol,
					   .sid = "S1",
					   .remote = "192.0.2.1:1",
					   .local = "192.0.2.2:143",
					   .is_tls = true,
					   .unread = unread,
					   .blob = ps_bytes_str("a1"),
					   .connection = fd};

	ck_assert_ok(ps_wait_send(scene->front, PS_MSG_HAND_OVER, &message));
	close(fd);
}

/* The other end of what is handed over. */
static int connection(int *ret_fd)
{
	struct timeval patience = {.tv_sec = WAIT_MS / 1000};
	int fds[2];

	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	setsockopt(fds[0], SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
	*ret_fd = fds[1];
	return fds[0];
}

static void check_refused(struct scene *scene, struct ps_bytes ticket, const char *protocol, const char *what)
{
	char octet;
	int fd, ours = connection(&fd);

	hand_over(scene, ticket, protocol, fd, ps_bytes("", 0));
	ck_assert_msg(recv(ours, &octet, 1, 0) == 0, "%s was taken", what);
	close(ours);
}

static void check_served(struct scene *scene, struct ps_bytes ticket)
{
	char text[200] = "";
	int fd, ours = connection(&fd);

	hand_over(scene, ticket, "imap", fd, ps_bytes("", 0));
	ck_assert_int_gt(recv(ours, text, sizeof text - 1, 0), 0);
	ck_assert_msg(strncmp(text, "a1 OK ", 6) == 0, "%s", text);
	close(ours);
}

static void check_right_one_is_served(struct scene *scene)
{
	struct ps_buf ticket = {0};

	seal_for(&ticket, "S1", 0, ps_monotonic_ms(), &key);
	check_served(scene, ps_buf_view(&ticket));
	ps_buf_finish(&ticket);
}

START_TEST(mail_takes_no_ticket_but_a_right_one_and_that_once)
{
	struct scene scene = {0};
	struct ps_buf ticket = {0};
	uint64_t now = ps_monotonic_ms();

	set_up(&scene, PS_ROLE_MAIL);
	check_refused(&scene, ps_bytes(NULL, 0), "imap", "no ticket");
	check_refused(&scene, ps_bytes("", 0), "imap", "an empty ticket");
	seal_for(&ticket, "S1", 0, now, &other_key);
	check_refused(&scene, ps_buf_view(&ticket), "imap", "a forged ticket");
	seal_for(&ticket, "S2", 0, now, &key);
	check_refused(&scene, ps_buf_view(&ticket), "imap", "a ticket of another session");
	seal_for(&ticket, "S1", 1, now, &key);
	check_refused(&scene, ps_buf_view(&ticket), "imap", "a ticket for another process");
	seal_for(&ticket, "S1", 0, now - PS_TICKET_LIFETIME_MS - 1, &key);
	check_refused(&scene, ps_buf_view(&ticket), "imap", "an old ticket");
	seal_for(&ticket, "S1", 0, now, &key);
	check_refused(&scene, ps_bytes(ticket.ptr, ticket.len - 1), "imap", "a ticket cut short");
	for (size_t at = 0; at < ticket.len; at += 7) {
		ticket.ptr[at] ^= 1;
		check_refused(&scene, ps_buf_view(&ticket), "imap", "a changed ticket");
		ticket.ptr[at] ^= 1;
	}
	seal_for(&ticket, "S1", 0, ps_monotonic_ms(), &key);
	check_served(&scene, ps_buf_view(&ticket));
	check_refused(&scene, ps_buf_view(&ticket), "imap", "a ticket a second time");
	check_right_one_is_served(&scene);
	ps_buf_finish(&ticket);
	tear_down(&scene);
}
END_TEST

/* What is behind it on the same channel is taken after it. */
static void tell_revoked(struct scene *scene, const struct ps_hash *which, uint64_t at)
{
	struct ps_msg_revoked message = {.user = "alice@example.test",
					 .at = at,
					 .credential = which ? ps_credential_octets(which) : ps_bytes(NULL, 0)};
	struct ps_msg_who who = {.request = 1};

	tell(scene, PS_MSG_REVOKED, &message, -1);
	tell(scene, PS_MSG_WHO, &who, -1);
	do
		ck_assert_ok(ps_wait_receive(scene->master, WAIT_MS, scene->role, PS_ROLE_MASTER, PS_PHASE_SERVING,
					     &scene->inbox));
	while (scene->inbox.row->type != PS_MSG_WHO_END);
}

START_TEST(mail_takes_no_ticket_from_before_a_revocation)
{
	static const struct ps_hash other = {{3, 4}};
	struct scene scene = {0};
	struct ps_buf ticket = {0};
	uint64_t now = ps_monotonic_ms();

	set_up(&scene, PS_ROLE_MAIL);
	seal_for(&ticket, "S1", 0, now, &key);
	tell_revoked(&scene, &other, now);
	check_served(&scene, ps_buf_view(&ticket));
	seal_for(&ticket, "S1", 0, now, &key);
	tell_revoked(&scene, _i ? &credential : NULL, now);
	check_refused(&scene, ps_buf_view(&ticket), "imap", "a ticket that was sealed before");
	seal_for(&ticket, "S1", 0, now + 1, &key);
	check_served(&scene, ps_buf_view(&ticket));
	ps_buf_finish(&ticket);
	tear_down(&scene);
}
END_TEST

static int odd_fd(int i)
{
	int fds[2];

	switch (i) {
	case 0: return open("/dev/null", O_RDWR);
	case 1: return open("/dev/zero", O_RDWR);
	case 2: return open("/etc/passwd", O_RDONLY);
	case 3: return open("/", O_RDONLY | O_DIRECTORY);
	case 4: return text_fd("a1 NOOP\r\n");
	case 5: ck_assert_int_eq(pipe(fds), 0); return fds[0];
	case 6: ck_assert_int_eq(pipe(fds), 0); return fds[1];
	case 7: return socket(AF_INET, SOCK_STREAM, 0);
	case 8: return socket(AF_UNIX, SOCK_DGRAM, 0);
	case 9: ck_assert_ok(ps_channel_pair(fds)); return fds[0];
	default: return -1;
	}
}

/* A true ticket; what it comes with is not what it should be. */
START_TEST(mail_survives_whatever_is_handed_over)
{
	struct scene scene = {0};
	struct ps_buf ticket = {0};
	static char much[65536];
	int fd, ours;

	set_up(&scene, PS_ROLE_MAIL);
	for (int i = 0; (fd = odd_fd(i)) >= 0; i++) {
		seal_for(&ticket, "S1", 0, ps_monotonic_ms(), &key);
		hand_over(&scene, ps_buf_view(&ticket), "imap", fd, ps_bytes_str("a2 NOOP\r\n"));
		check_right_one_is_served(&scene);
	}
	for (int octet = 0; octet < 256; octet += 51) {
		memset(much, octet, sizeof much);
		seal_for(&ticket, "S1", 0, ps_monotonic_ms(), &key);
		ours = connection(&fd);
		hand_over(&scene, ps_buf_view(&ticket), "imap", fd, ps_bytes(much, sizeof much));
		close(ours);
	}
	seal_for(&ticket, "S1", 0, ps_monotonic_ms(), &key);
	check_refused(&scene, ps_buf_view(&ticket), "nosuch", "another protocol");
	check_right_one_is_served(&scene);
	ps_buf_finish(&ticket);
	tear_down(&scene);
}
END_TEST

/* ---- auth: log-ins ------------------------------------------------------------------------------------ */

static uint32_t auth_status(struct scene *scene)
{
	ck_assert_ok(
		ps_wait_receive(scene->front, WAIT_MS, PS_ROLE_AUTH, PS_ROLE_FRONT, PS_PHASE_SERVING, &scene->inbox));
	if (scene->inbox.row->type != PS_MSG_AUTH_ANSWER) /* the first words of auth to each front */
		return auth_status(scene);
	ck_assert_uint_eq(scene->inbox.row->type, PS_MSG_AUTH_ANSWER);
	return scene->inbox.message.auth_answer.status;
}

static uint32_t start(struct scene *scene, uint64_t number, const char *mechanism, struct ps_bytes initial)
{
	struct ps_msg_auth_start message = {.number = number,
					    .sid = "S\n1",
					    .service = "imap",
					    .mechanism = mechanism,
					    .remote = "nowhere\nat all",
					    .local = "",
					    .plaintext_ok = true,
					    .initial = initial};

	ck_assert_ok(ps_wait_send(scene->front, PS_MSG_AUTH_START, &message));
	return auth_status(scene);
}

static void check_log_in(struct scene *scene)
{
	ck_assert_uint_eq(start(scene, 77, "PLAIN", ps_bytes("\0alice@example.test\0pass", 24)), PS_AUTH_OK);
	ck_assert_uint_gt(scene->inbox.message.auth_answer.ticket.len, 0);
}

START_TEST(auth_gives_tickets_for_passwords_only)
{
	static char much[PS_SASL_RESPONSE_MAX];
	struct ps_msg_auth_step step = {.number = 5, .response = ps_bytes_str("pass")};
	struct ps_msg_auth_cancel cancel = {.number = 6};
	struct scene scene = {0};

	set_up(&scene, PS_ROLE_AUTH);
	ck_assert_ok(ps_wait_send(scene.front, PS_MSG_AUTH_STEP, &step));
	ck_assert_uint_eq(auth_status(&scene), PS_AUTH_FAILED);
	ck_assert_ok(ps_wait_send(scene.front, PS_MSG_AUTH_CANCEL, &cancel));
	ck_assert_uint_eq(start(&scene, 1, "", ps_bytes(NULL, 0)), PS_AUTH_UNKNOWN_MECHANISM);
	ck_assert_uint_eq(start(&scene, 1, "PLAIN", ps_bytes(much, sizeof much)), PS_AUTH_FAILED);
	ck_assert_uint_eq(start(&scene, 1, "PLAIN", ps_bytes("\0alice@example.test\0Pass", 24)), PS_AUTH_FAILED);
	ck_assert_ptr_null(scene.inbox.message.auth_answer.ticket.ptr);
	check_log_in(&scene);
	tear_down(&scene);
}
END_TEST

START_TEST(auth_keeps_no_more_exchanges_than_there_may_be_connections)
{
	struct scene scene = {0};

	set_up(&scene, PS_ROLE_AUTH);
	for (uint64_t i = 0; i < 500; i++)
		ck_assert_uint_eq(start(&scene, i, "LOGIN", ps_bytes(NULL, 0)), PS_AUTH_CONTINUE);
	ck_assert_uint_eq(start(&scene, 500, "LOGIN", ps_bytes(NULL, 0)), PS_AUTH_TEMPFAIL);
	/* They go with the front that began them: another comes in its place. */
	scene.fronts = 0;
	new_front(&scene);
	check_log_in(&scene);
	tear_down(&scene);
}
END_TEST

/* ---- both: messages that break the rules -------------------------------------------------------------- */

static void send_raw(int fd, const void *octets, size_t len, bool with_fd)
{
	union {
		struct cmsghdr align;
		char octets[CMSG_SPACE(sizeof(int))];
	} control = {0};
	struct iovec iov = {(void *)octets, len};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

	if (with_fd) {
		msg.msg_control = control.octets;
		msg.msg_controllen = sizeof control.octets;
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.align), &fd, sizeof fd); /* its own channel's other end */
	}
	ck_assert_int_eq(sendmsg(fd, &msg, MSG_NOSIGNAL), (ssize_t)len);
}

/* Whether the channel is dropped, which master is then told. */
static bool is_dropped(struct scene *scene)
{
	struct pollfd polled = {.fd = scene->master, .events = POLLIN};
	const struct ps_msg_offence *offence = &scene->inbox.message.offence;

	if (poll(&polled, 1, WAIT_MS) != 1 ||
	    ps_wait_receive(scene->master, 0, scene->role, PS_ROLE_MASTER, PS_PHASE_SERVING, &scene->inbox) < 0)
		return false;
	return scene->inbox.row->type == PS_MSG_OFFENCE && offence->role == PS_ROLE_FRONT &&
	       offence->index == (scene->fronts - 1) % 8;
}

static const struct {
	size_t len;
	uint8_t fill;
	bool with_fd;
} shapes[] = {{3, 0, false}, {5, 0, false}, {64, 0xff, false}, {64, 0xff, true}, {PS_MESSAGE_MAX, 0x41, true}};

static void offend(struct scene *scene, uint32_t type)
{
	static uint8_t octets[PS_MESSAGE_MAX];

	for (size_t i = 0; i < PS_ARRAY_LEN(shapes); i++) {
		new_front(scene);
		memset(octets, shapes[i].fill, sizeof octets);
		memcpy(octets, &type, shapes[i].len < 4 ? shapes[i].len : 4);
		send_raw(scene->front, octets, shapes[i].len, shapes[i].with_fd);
		ck_assert_msg(is_dropped(scene), "type %u, %zu octets: not dropped", type, shapes[i].len);
	}
}

/* Relay takes mail from a front that is in order. */
static void check_mail_from(struct scene *scene)
{
	const struct ps_msg_mail_from from = {
		.number = 1, .turn = 1, .sid = "S1", .reverse_path = "joe@example.com", .helo = "x", .remote = "x"};

	ck_assert_ok(ps_wait_send(scene->front, PS_MSG_MAIL_FROM, &from));
	ck_assert_ok(
		ps_wait_receive(scene->front, WAIT_MS, PS_ROLE_RELAY, PS_ROLE_FRONT, PS_PHASE_SERVING, &scene->inbox));
	ck_assert_uint_eq(scene->inbox.row->type, PS_MSG_MAIL_REPLY);
	ck_assert_uint_eq(scene->inbox.message.mail_reply.code, 250);
}

START_TEST(a_front_that_breaks_the_rules_is_dropped_and_told_of)
{
	static const uint32_t roles[] = {PS_ROLE_AUTH, PS_ROLE_MAIL, PS_ROLE_RELAY};
	struct scene scene = {0};

	set_up(&scene, roles[_i]);
	for (uint32_t type = 0; type <= PS_MSG_COUNT; type++)
		offend(&scene, type);
	new_front(&scene);
	if (roles[_i] == PS_ROLE_AUTH)
		check_log_in(&scene);
	else if (roles[_i] == PS_ROLE_RELAY)
		check_mail_from(&scene);
	else
		check_right_one_is_served(&scene);
	tear_down(&scene);
}
END_TEST

/* ---- the signer --------------------------------------------------------------------------------------- */

static void make_key(struct ps_signer *signer, gnutls_pk_algorithm_t algorithm, unsigned bits)
{
	gnutls_x509_privkey_t x509;
	gnutls_datum_t pem;

	ck_tls(gnutls_x509_privkey_init(&x509));
	ck_tls(gnutls_x509_privkey_generate(x509, algorithm, bits, 0));
	ck_tls(gnutls_x509_privkey_export2_pkcs8(x509, GNUTLS_X509_FMT_PEM, NULL, GNUTLS_PKCS_PLAIN, &pem));
	ps_signer_set_key(signer, 1, ps_bytes(pem.data, pem.size));
	gnutls_free(pem.data);
	gnutls_x509_privkey_deinit(x509);
}

static const struct {
	gnutls_pk_algorithm_t algorithm;
	unsigned bits;
} kinds[] = {{GNUTLS_PK_RSA, 2048},
	     {GNUTLS_PK_ECDSA, GNUTLS_CURVE_TO_BITS(GNUTLS_ECC_CURVE_SECP256R1)},
	     {GNUTLS_PK_EDDSA_ED25519, 256}};

START_TEST(the_signer_answers_whatever_is_asked)
{
	static const size_t lengths[] = {0, 1, 20, 32, 48, 51, 64, 83, 300, 32768};
	static uint8_t data[32768];
	static struct ps_signer *signer; /* is never destroyed */
	static struct ps_inbox inbox;
	struct ps_msg_sign ask = {.key = 1};
	unsigned made = 0;
	int fds[2];

	signer = ps_signer_create();
	make_key(signer, kinds[_i].algorithm, kinds[_i].bits);
	ck_assert_ok(ps_channel_pair(fds));
	ck_assert_ok(ps_signer_serve(signer, fds[1], 0));
	for (unsigned n = 0; n < 64 * PS_ARRAY_LEN(lengths) * 2; n++) {
		ask.number++;
		ask.is_hash = n & 1;
		ask.algorithm = n / 2 % 64;
		ask.data = ps_bytes(data, lengths[n / 128]);
		ck_assert_ok(ps_wait_send(fds[0], PS_MSG_SIGN, &ask));
		ck_assert_ok(ps_wait_receive(fds[0], WAIT_MS, PS_ROLE_SIGNER, PS_ROLE_FRONT, PS_PHASE_SERVING, &inbox));
		ck_assert_uint_eq(inbox.message.signature.number, ask.number);
		made += inbox.message.signature.signature.len > 0;
	}
	ck_assert_uint_gt(made, 0);
	ask.key = 2; /* there is no such key */
	ck_assert_ok(ps_wait_send(fds[0], PS_MSG_SIGN, &ask));
	ck_assert_ok(ps_wait_receive(fds[0], WAIT_MS, PS_ROLE_SIGNER, PS_ROLE_FRONT, PS_PHASE_SERVING, &inbox));
	ck_assert_ptr_null(inbox.message.signature.signature.ptr);
	close(fds[0]);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("roles");
	TCase *tc = tcase_create("roles");

	setenv("POSTERN_PLUGINDIR", ".", 1);
	tcase_add_test(tc, mail_takes_no_ticket_but_a_right_one_and_that_once);
	tcase_add_loop_test(tc, mail_takes_no_ticket_from_before_a_revocation, 0, 2);
	tcase_add_test(tc, mail_survives_whatever_is_handed_over);
	tcase_add_test(tc, auth_gives_tickets_for_passwords_only);
	tcase_add_test(tc, auth_keeps_no_more_exchanges_than_there_may_be_connections);
	tcase_add_loop_test(tc, a_front_that_breaks_the_rules_is_dropped_and_told_of, 0, 3);
	tcase_add_loop_test(tc, the_signer_answers_whatever_is_asked, 0, PS_ARRAY_LEN(kinds));
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
