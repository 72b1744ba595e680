/* SPDX-License-Identifier: MIT */
/* What commands say and ask. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>
#include "auth/passwords.h"
#include "cli/cli.h"

int cli_print_json(json_t *json)
{
	int r = json ? json_dumpf(json, stdout, JSON_INDENT(2)) : -1;

	putchar('\n');
	json_decref(json);
	if (r < 0) {
		cli_error("the answer cannot be written as JSON");
		return CLI_FAILED;
	}
	return CLI_OK;
}

/* With `signals`, those it does not hold can end the wait for an octet, and no other moment of the program. */
static int read_line(int fd, size_t limit, const sigset_t *signals, struct ps_buf *out)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};
	ssize_t n = 0;
	char c;

	for (;;) {
		if (signals && ppoll(&ready, 1, NULL, signals) < 0)
			return ps_fail_errno("waiting for a line");
		n = read(fd, &c, 1);
		if (n != 1 || c == '\n')
			break;
		if (out->len == limit)
			return ps_fail(PS_E_LIMIT, "the line is longer than %zu octets", limit);
		ps_buf_char(out, c);
	}
	if (n < 0)
		return ps_fail_errno("reading a line");
	if (n == 0 && out->len == 0)
		return ps_fail(PS_E_CLOSED, "nothing was given");
	if (out->len > 0 && out->ptr[out->len - 1] == '\r')
		out->len--;
	return 0;
}

int cli_read_line(int fd, size_t limit, struct ps_buf *out)
{
	return read_line(fd, limit, NULL, out);
}

static const int ending_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

/* What ends a program is kept waiting while the terminal does not echo; `action` is what it would do. */
struct signals {
	sigset_t before;
	struct sigaction action[PS_ARRAY_LEN(ending_signals)];
};

static volatile sig_atomic_t interrupted_by;

static void on_signal(int signum)
{
	interrupted_by = signum;
}

static void hold_signals(struct signals *signals)
{
	struct sigaction action = {.sa_handler = on_signal};
	sigset_t held;

	interrupted_by = 0;
	sigemptyset(&held);
	for (size_t i = 0; i < PS_ARRAY_LEN(ending_signals); i++) {
		sigaddset(&held, ending_signals[i]);
		sigaction(ending_signals[i], &action, &signals->action[i]);
	}
	sigprocmask(SIG_BLOCK, &held, &signals->before);
}

static void release_signals(const struct signals *signals)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(ending_signals); i++)
		sigaction(ending_signals[i], &signals->action[i], NULL);
	sigprocmask(SIG_SETMASK, &signals->before, NULL);
	if (interrupted_by)
		raise(interrupted_by);
}

/* Leaves the terminal as it was before, also when a signal ends the program. */
static int ask_hidden(int tty, const char *prompt, struct ps_buf *out)
{
	struct termios before, hidden;
	struct signals signals;
	int r;

	if (tcgetattr(tty, &before) < 0)
		return ps_fail_errno("the terminal");
	hidden = before;
	hidden.c_lflag &= ~(tcflag_t)ECHO;
	hold_signals(&signals);
	if (tcsetattr(tty, TCSAFLUSH, &hidden) < 0) {
		r = ps_fail_errno("the terminal");
	} else {
		dprintf(tty, "%s: ", prompt);
		r = read_line(tty, PS_PASSWORD_MAX, &signals.before, out);
		tcsetattr(tty, TCSAFLUSH, &before);
		dprintf(tty, "\n");
	}
	release_signals(&signals);
	return r;
}

static int ask_twice(int tty, const char *user, struct ps_buf *out)
{
	struct ps_buf again = {0};
	char prompt[300];
	int r;

	snprintf(prompt, sizeof prompt, "New password for %s", user);
	r = ask_hidden(tty, prompt, out);
	if (r == 0)
		r = ask_hidden(tty, "The same again", &again);
	if (r == 0 && !ps_bytes_eq(ps_buf_view(out), ps_buf_view(&again)))
		r = ps_fail(PS_E_INVALID, "the two passwords differ; nothing was changed");
	ps_buf_wipe(&again);
	return r;
}

int cli_get_password(struct cli *cli, const char *user, struct ps_buf *ret_password)
{
	PS_CLEANUP(ps_closep) int tty = -1;

	/* The buffer must not grow: a copy left behind in freed memory would hold the password. */
	ps_buf_reserve(ret_password, PS_PASSWORD_MAX + 1);
	if (cli->option[CLI_OPT_PASSWORD_STDIN])
		return cli_read_line(STDIN_FILENO, PS_PASSWORD_MAX, ret_password);
	tty = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
	if (tty < 0)
		return ps_fail(PS_E_UNSUPPORTED, "there is no terminal to ask for the password; use --password-stdin");
	return ask_twice(tty, user, ret_password);
}

bool cli_confirm(const char *question)
{
	struct ps_buf answer = {0};
	bool yes;

	if (!isatty(STDIN_FILENO)) {
		cli_error("%s: there is nobody to ask; --yes answers yes", question);
		return false;
	}
	printf("%s [y/N] ", question);
	fflush(stdout);
	yes = cli_read_line(STDIN_FILENO, 20, &answer) == 0 &&
	      (ps_strcasecmp(ps_buf_cstr(&answer), "y") == 0 || ps_strcasecmp(ps_buf_cstr(&answer), "yes") == 0);
	ps_buf_finish(&answer);
	return yes;
}

int cli_width(const char *text, int width)
{
	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) == 0x80;
	return width;
}

const char *cli_octets(uint64_t n)
{
	static const char *const units[] = {"B", "KB", "MB", "GB", "TB", "PB"};
	static char texts[4][24];
	static unsigned next;
	char *text = texts[next++ % 4];
	double value = (double)n;
	size_t unit = 0;

	while (value >= 1000 && unit + 1 < PS_ARRAY_LEN(units)) {
		value /= 1000;
		unit++;
	}
	snprintf(text, sizeof texts[0], unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
	return text;
}

void cli_put_safe(const char *text, struct ps_buf *out)
{
	for (; *text; text++) {
		uint8_t c = (uint8_t)*text, next = (uint8_t)text[1];

		if (c < ' ' || c == 0x7f)
			ps_buf_char(out, ' ');
		else if (c == 0xc2 && next >= 0x80 && next < 0xa0)
			text++; /* the control characters beyond ASCII */
		else
			ps_buf_char(out, (char)c);
	}
}

const char *cli_age(long long seconds)
{
	static const struct {
		long long seconds;
		const char *name;
	} units[] = {{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}};
	static char texts[4][32];
	static unsigned next;
	char *text = texts[next++ % 4];
	size_t unit = 0;

	while (unit + 1 < PS_ARRAY_LEN(units) && seconds < units[unit].seconds)
		unit++;
	snprintf(text, sizeof texts[0], "%lld %s", seconds / units[unit].seconds, units[unit].name);
	return text;
}
