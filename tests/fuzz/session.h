/* SPDX-License-Identifier: MIT */
/*
 * A session for fuzz targets: core's own (core/net/session.h) without a connection. What its drivers would do, and what other
 * processes would answer, is here; settings are a table.
 */
#ifndef TESTS_FUZZ_SESSION_H
#define TESTS_FUZZ_SESSION_H

#include "core/net/session.h"
#include "postern/store.h"

enum {
	FUZZ_EXCHANGES = 65
}; /* one more than protocols/auth has */

struct fuzz_session {
	struct ps_session s;
	struct ps_user *user;  /* NULL: nobody has logged in */
	struct ps_buf said;    /* all that has been written */
	struct ps_bytes rolls; /* what chance decides is taken from its end; zeros when it is empty */
	bool tls_asked, handed_over, handed_back;
	struct fuzz_exchange {
		bool goes_on, asked, shown;
		uint32_t number;
		enum ps_auth_status status;
	} exchanges[FUZZ_EXCHANGES], *chosen; /* NULL: there is none by the number */
	uint32_t number;                      /* that was chosen last */
};

static inline void must(bool holds)
{
	if (!holds)
		abort();
}

/* `user`: for a mail half; NULL: for a front half. */
void fuzz_session_open(struct fuzz_session *f, const struct ps_half *half, struct ps_user *user);
void fuzz_session_close(struct fuzz_session *f);
/* Runs it until it wants more. False: it is over. */
bool fuzz_session_run(struct fuzz_session *f);
/* The octets come, and it runs. */
bool fuzz_session_feed(struct fuzz_session *f, struct ps_bytes octets);

/* A user with an empty store in memory, which goes with it. */
struct ps_user *fuzz_user_open(void);
void fuzz_user_close(struct ps_user *user);
void fuzz_append(struct ps_user *user, const char *mailbox, struct ps_bytes octets, uint32_t flags);

#endif
