/* SPDX-License-Identifier: MIT */
/*
 * Forbidden acts, each tried from inside each role, by what the role itself confines itself with, and refused in the way that the
 * row says; before that tried unconfined and done, so that a refusal is the confinement's. As an ordinary user, and, when the test runs as root, as
 * master starts roles then, too.
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "config.h"
#include "core/config/config.h"
#include "core/process/confine.h"
#include "core/process/messages.h"
#include "core/process/plugins.h"
#include "postern/log.h"
#include "tests/process/acts.h"
#include "tests/unit.h"

enum {
	DONE = 10,
	REFUSED = 20,
	DIED = 25,
	FAILED = 30
};

/* Whom the test is when it confines itself. */
enum mode {
	ORDINARY, /* not root, or not any more */
	AS_ROOT   /* as master starts roles when it is root */
};

/* ---- trying ----------------------------------------------------------------------------------------- */

static const uint32_t roles[] = {PS_ROLE_FRONT, PS_ROLE_AUTH, PS_ROLE_MAIL, PS_ROLE_RELAY, PS_ROLE_USERDB};

enum {
	NOBODY = 65534
};

static void become_ordinary(void)
{
	if (geteuid() == 0 && (setgroups(0, NULL) < 0 || setgid(NOBODY) < 0 || setuid(NOBODY) < 0))
		_exit(FAILED);
}

static void confine_to(uint32_t role, enum mode mode, const struct ps_confine_user *user)
{
	struct ps_confine_args args = {.role = role, .empty = world.empty, .privileged = mode == AS_ROOT, .user = user};
	const struct ps_plugin *plugin;
	struct ps_config *config;
	char text[512];

	snprintf(
		text, sizeof text,
		"mail_root = \"%s\"\nspool_dir = \"%s\"\nuser_net = \"nobody\"\nuser_auth = \"nobody\"\n"
		"user_mail = \"nobody\"\nuser_relay = \"nobody\"\nuserdb a { driver = \"static\" user = \"nobody\" }\n",
		world.mail, world.spool);
	if (ps_plugin_load(STATIC_PLUGIN, &plugin) < 0 || ps_config_read("test", ps_bytes_str(text), NULL, &config) < 0)
		_exit(FAILED);
	args.conf = ps_config_root(config);
	if (mode == ORDINARY)
		become_ordinary();
	if (ps_confine(&args) < 0) {
		fprintf(stderr, "%s\n", ps_last_error());
		_exit(FAILED);
	}
}

static void confine(uint32_t role, enum mode mode)
{
	confine_to(role, mode, NULL);
}

static _Noreturn void do_act(int (*act)(void))
{
	int r = act();

	*world.word = errno;
	_exit(r == 0 ? DONE : REFUSED);
}

/* role 0: unconfined. What comes of it, and the errno of a refusal. */
static int try(int (*act)(void), uint32_t role, enum mode mode, int *ret_errno)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		if (role)
			confine(role, mode);
		do_act(act);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	*ret_errno = *world.word;
	if (WIFSIGNALED(status))
		return WTERMSIG(status) == SIGSYS ? DIED : FAILED;
	return WEXITSTATUS(status);
}

/* Where the call itself is refused it is EPERM; sanitizers are not ended, but get EACCES. */
static bool is_as_told(enum refusal told, int r, int error)
{
#ifdef PS_SANITIZER
	if (told == DEATH)
		return r == REFUSED && error == EACCES;
	return r == REFUSED && (told == EITHER || told == FILE_ || error == EPERM);
#else
	switch (told) {
	case DEATH: return r == DIED;
	case CALL: return r == REFUSED && error == EPERM;
	case FILE_: return r == REFUSED && (error == EPERM || error == EACCES || error == EXDEV);
	case EITHER: break;
	}
	return r == REFUSED || r == DIED;
#endif
}

static void check_act(size_t i, uint32_t role, enum mode mode)
{
	int r, error;

	make_world();
	r = try(acts[i].act, role, mode, &error);
	ck_assert_msg(is_as_told(acts[i].refusal, r, error), "%s, %s: %s: %d, %s", ps_role_name(role),
		      mode == AS_ROOT ? "started as root" : "ordinary", acts[i].name, r, strerror(error));
	drop_world();
}

START_TEST(a_forbidden_act_is_refused_to_each_role)
{
	bool is_root = geteuid() == 0;
	int error;

	if (acts[_i].unconfined == ALWAYS || (acts[_i].unconfined == ROOT && is_root)) {
		make_world();
		ck_assert_msg(try(acts[_i].act, 0, ORDINARY, &error) == DONE, "%s: not possible even unconfined: %s",
			      acts[_i].name, strerror(error));
		drop_world();
	}
	for (size_t r = 0; r < PS_ARRAY_LEN(roles); r++) {
		if (!(acts[_i].roles & roles[r]))
			continue;
		check_act((size_t)_i, roles[r], ORDINARY);
		if (is_root)
			check_act((size_t)_i, roles[r], AS_ROOT);
	}
}
END_TEST

START_TEST(what_a_role_needs_it_can_do)
{
	int error;

	for (size_t r = 0; r < PS_ARRAY_LEN(roles); r++) {
		for (enum mode mode = ORDINARY; mode <= (geteuid() == 0 ? AS_ROOT : ORDINARY); mode++) {
			int client = socket(AF_INET, SOCK_STREAM, 0);

			if (!(needs[_i].roles & roles[r]))
				continue;
			make_world();
			ck_assert_int_eq(connect(client, (struct sockaddr *)&world.address, sizeof world.address), 0);
			ck_assert_msg(try(needs[_i].act, roles[r], mode, &error) == DONE, "%s cannot %s: %s",
				      ps_role_name(roles[r]), needs[_i].name, strerror(error));
			close(client);
			drop_world();
		}
	}
}
END_TEST

/* ---- a mail process of one user ---------------------------------------------------------------------- */

/* In the mail root, where the world's message is another's. */
static const char *own(const char *name)
{
	static char path[160];

	snprintf(path, sizeof path, "%s/own%s", world.mail, name);
	return path;
}

static int reach(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC, 0600);

	return fd < 0 ? -1 : close(fd);
}

static int act_own(void)
{
	return reach(own("/new"), O_RDWR | O_CREAT);
}

static int act_others(void)
{
	return reach(world.file, O_RDONLY);
}

static int act_write_others(void)
{
	return reach(world.file, O_WRONLY);
}

static int act_look_around(void)
{
	return reach(world.mail, O_RDONLY | O_DIRECTORY);
}

static int act_beside(void)
{
	return reach(own("-beside"), O_RDWR | O_CREAT);
}

static int act_give_away(void)
{
	char to[128];

	snprintf(to, sizeof to, "%s/given", world.mail);
	return act_own() < 0 ? 0 : rename(own("/new"), to);
}

static int act_steal(void)
{
	return link(world.file, own("/stolen"));
}

static int act_replace(void)
{
	return unlink(world.file);
}

static const struct {
	const char *name;
	int (*act)(void);
	int expected;
} acts_of_user[] = {
	{"make a file of its own", act_own, DONE},
	{"read another's message", act_others, REFUSED},
	{"write to it", act_write_others, REFUSED},
	{"list the mail root", act_look_around, REFUSED},
	{"make a file beside its folder", act_beside, REFUSED},
	{"move a message out", act_give_away, REFUSED},
	{"link another's in", act_steal, REFUSED},
	{"remove another's", act_replace, REFUSED},
};

static int try_as_user(int (*act)(void), enum mode mode)
{
	const char *const roots[] = {own("")};
	struct ps_confine_user user = {NOBODY, NOBODY, roots, 1};
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		confine_to(PS_ROLE_MAIL, mode, &user);
		do_act(act);
	}
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : DIED;
}

START_TEST(a_users_process_reaches_its_users_mail_only)
{
	int error;

	for (enum mode mode = ORDINARY; mode <= (geteuid() == 0 ? AS_ROOT : ORDINARY); mode++) {
		int r;

		make_world();
		ck_assert_int_eq(mkdir(own(""), 0777), 0);
		r = try_as_user(acts_of_user[_i].act, mode);
		ck_assert_msg(r == acts_of_user[_i].expected, "%s: %d", acts_of_user[_i].name, r);
		drop_world();
	}
	/* Where users share it, all of this can be done. */
	make_world();
	ck_assert_int_eq(mkdir(own(""), 0777), 0);
	ck_assert_int_eq(try(acts_of_user[_i].act, PS_ROLE_MAIL, ORDINARY, &error), DONE);
	drop_world();
}
END_TEST

/* ---- what the kernel says of a confined process ------------------------------------------------------ */

static long value_of(pid_t pid, const char *name, int base)
{
	char path[64], line[256];
	long value = -1;
	FILE *file;

	snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
	file = fopen(path, "r");
	ck_assert_ptr_nonnull(file);
	while (fgets(line, sizeof line, file))
		if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':')
			value = strtol(line + strlen(name) + 1, NULL, base);
	fclose(file);
	return value;
}

static pid_t start_confined(uint32_t role, enum mode mode)
{
	int ready[2];
	char octet;
	pid_t pid;

	ck_assert_int_eq(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		close(ready[0]);
		confine(role, mode);
		if (write(ready[1], "", 1) != 1)
			_exit(FAILED);
		for (;;)
			pause();
	}
	close(ready[1]);
	ck_assert_int_eq(read(ready[0], &octet, 1), 1);
	close(ready[0]);
	return pid;
}

/* What is weaker for an ordinary user: one uid for all roles, and no root directory of their own. */
START_TEST(a_role_has_no_capabilities_and_its_own_user)
{
	uint32_t role = roles[_i];
	enum mode last = geteuid() == 0 ? AS_ROOT : ORDINARY;
	bool empty = role & (PS_ROLE_FRONT | PS_ROLE_AUTH);

	for (enum mode mode = ORDINARY; mode <= last; mode++) {
		char path[64], root[256] = "";
		pid_t pid;

		make_world();
		pid = start_confined(role, mode);
		ck_assert_int_eq(value_of(pid, "CapEff", 16), 0);
		ck_assert_int_eq(value_of(pid, "CapPrm", 16), 0);
		ck_assert_int_eq(value_of(pid, "NoNewPrivs", 10), 1);
		ck_assert_int_eq(value_of(pid, "Seccomp", 10), 2);
		if (last == AS_ROOT)
			ck_assert_int_eq(value_of(pid, "Uid", 10), NOBODY);
		if (mode == AS_ROOT)
			ck_assert_int_eq(value_of(pid, "CapBnd", 16), 0);
		snprintf(path, sizeof path, "/proc/%d/root", (int)pid);
		if (last == AS_ROOT) { /* a process that cannot be dumped shows this to root only */
			ck_assert_int_gt(readlink(path, root, sizeof root - 1), 0);
			ck_assert_str_eq(root, mode == AS_ROOT && empty ? world.empty : "/");
		}
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		drop_world();
	}
}
END_TEST

/* docs/security.md tells who may do what; this is what makes it true. */
START_TEST(the_manual_tells_the_table)
{
	static char page[65536];
	const char *srcdir = getenv("srcdir");
	struct ps_buf table = {0};
	char path[4096];
	FILE *file;

	snprintf(path, sizeof path, "%s/docs/security.md", srcdir ? srcdir : ".");
	file = fopen(path, "r");
	ck_assert_msg(file != NULL, "%s cannot be read", path);
	page[fread(page, 1, sizeof page - 1, file)] = '\0';
	fclose(file);
	ps_confine_describe(&table);
	if (!strstr(page, ps_buf_cstr(&table)))
		fprintf(stderr, "%s", ps_buf_cstr(&table));
	ck_assert_msg(strstr(page, ps_buf_cstr(&table)) != NULL, "%s should say what was printed", path);
	ps_buf_finish(&table);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("confine");
	TCase *tc = tcase_create("confine");

	ps_log_set_level(PS_LOG_WARNING);
	tcase_add_loop_test(tc, a_forbidden_act_is_refused_to_each_role, 0, act_count);
	tcase_add_loop_test(tc, what_a_role_needs_it_can_do, 0, need_count);
	tcase_add_loop_test(tc, a_users_process_reaches_its_users_mail_only, 0, PS_ARRAY_LEN(acts_of_user));
	tcase_add_loop_test(tc, a_role_has_no_capabilities_and_its_own_user, 0, PS_ARRAY_LEN(roles));
	tcase_add_test(tc, the_manual_tells_the_table);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
