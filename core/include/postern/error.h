/* SPDX-License-Identifier: MIT */
/*
 * postern/error.h - one code to act on, one sentence to read.               [stable]
 *
 * A function that can fail returns 0 (or a count) on success and a negative ps_err on failure.
 * The function that meets the error describes it with ps_fail(); those above it pass the code on;
 * one place at the protocol's edge turns it into an answer. The sentence may name files and users,
 * so it goes to the log and never to a client.
 */
#ifndef POSTERN_ERROR_H
#define POSTERN_ERROR_H

#include <stdbool.h>

enum ps_err {
	PS_OK = 0,
	PS_E_INTERNAL = -1,     /* a bug, or a failure with nothing to act on: log it */
	PS_E_STORAGE = -2,      /* reading or writing failed (EIO and the like); nothing was acknowledged */
	PS_E_NOTFOUND = -3,     /* no such mailbox, user, file, setting */
	PS_E_EXISTS = -4,       /* the name is taken */
	PS_E_GONE = -5,         /* the message was expunged, or the mailbox deleted, meanwhile */
	PS_E_INVALID = -6,      /* the caller's argument is not lawful: a bad name, a bad number */
	PS_E_LIMIT = -7,        /* larger, deeper or more than a limit allows */
	PS_E_FULL = -8,         /* the file system has no room: ENOSPC */
	PS_E_QUOTA = -9,        /* a quota is used up: EDQUOT, or one of our own */
	PS_E_BUSY = -10,        /* a lock was not had in time; trying again may work */
	PS_E_ACCESS = -11,      /* rights do not allow it */
	PS_E_UNSUPPORTED = -12, /* this backend, build or machine cannot */
	PS_E_CORRUPT = -13,     /* what was read cannot be right */
	PS_E_MOVED = -14,       /* the store has another generation; open it again */
	PS_E_CONFLICT = -15,    /* a condition of the batch did not hold */
	PS_E_AGAIN = -16,       /* would block */
	PS_E_CLOSED = -17,      /* the other side has gone */
	PS_E_SYNTAX = -18,      /* what was parsed is not of the grammar */
	PS_E_AUTH = -19,        /* the credentials are not right */
	PS_E_SCARCE = -20,      /* no descriptor or memory is left just now; trying again may work */
};

/* Remembers the sentence (this thread's last one, at most 511 octets) and returns `code`. */
int ps_fail(enum ps_err code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* The same for a failed system call: maps errno (ENOSPC: FULL; EDQUOT: QUOTA; ENOENT: NOTFOUND; EEXIST:
 * EXISTS; EACCES, EPERM: ACCESS; EAGAIN: AGAIN; ENOMEM, EMFILE, ENFILE: SCARCE; else STORAGE) and
 * appends ": " and its text. */
int ps_fail_errno(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Lets the compiler see that a failure is negative, and so that outputs are set where `r < 0` was ruled out. */
static inline int ps_negative(int code)
{
	return code < 0 ? code : PS_E_INTERNAL;
}
#define ps_fail(...)       ps_negative(ps_fail(__VA_ARGS__))
#define ps_fail_errno(...) ps_negative(ps_fail_errno(__VA_ARGS__))

/* This thread's last sentence; never NULL. Valid until the next ps_fail() of the thread. */
const char *ps_last_error(void);

/* Nothing more can be stored until something is removed. */
static inline bool ps_no_room(int code)
{
	return code == PS_E_FULL || code == PS_E_QUOTA;
}

/* "PS_E_FULL" and so on, for logs and tests. Static. */
const char *ps_err_name(int code);

#endif
