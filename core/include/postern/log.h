/* SPDX-License-Identifier: MIT */
/*
 * postern/log.h - one line per event, key=value.                              [stable]
 *
 *   2026-11-23T06:00:00.123Z level=info role=auth pid=12 event=login sid=5KQ2 user=alice@example.test
 *
 * Written with one write(2) to descriptor 2, safe from any thread. Values are quoted when they hold
 * blanks, quotes or control octets. Never put a password, a token or mail content in a value.
 */
#ifndef POSTERN_LOG_H
#define POSTERN_LOG_H

enum ps_log_level {
	PS_LOG_ERROR,
	PS_LOG_WARNING,
	PS_LOG_INFO,
	PS_LOG_DEBUG,
};

/* `event` is a fixed word with underscores. Then pairs "key", "value" (a NULL value leaves the pair
 * out), ended by NULL:
 *   ps_log(PS_LOG_INFO, "login", "sid", sid, "user", name, NULL);
 * ps_logf() is the same with "sid" (left out when NULL) and a printf text under the key "msg". */
void ps_log(enum ps_log_level level, const char *event, ...) __attribute__((sentinel));
void ps_logf(enum ps_log_level level, const char *event, const char *sid, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* A decimal number as text for ps_log(), in one of 16 rotating buffers of the thread. */
const char *ps_num(long long n);

/* Once at start; `role` is static. Lines above `level` are dropped. */
void ps_log_setup(const char *role, enum ps_log_level level);
void ps_log_set_level(enum ps_log_level level);

#endif
