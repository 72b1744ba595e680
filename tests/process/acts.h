/* SPDX-License-Identifier: MIT */
/*
 * What a role that was taken over might try, what it needs, and what lies around for it to act on.
 */
#ifndef TESTS_PROCESS_ACTS_H
#define TESTS_PROCESS_ACTS_H

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/un.h>

/* What the acts act on; made before confinement. */
struct world {
	char dir[64], mail[80], spool[80], outside[80], empty[80], file[96], secret[96], link[96];
	int listener; /* a TCP socket that somebody could connect to */
	struct sockaddr_in address;
	int unix_listener;
	struct sockaddr_un unix_address;
	int *word; /* in shared memory: read from afar, and the errno of the last act */
};
extern struct world world;
void make_world(void);
void drop_world(void);

/* `unconfined` says whether the act can be done without confinement: always, only by root, or not to be relied on (it
 * depends on how this machine's kernel was built). */
enum unconfined {
	ALWAYS,
	ROOT,
	PERHAPS
};

/* How: the process is ended; the call is not in the role's list; the call is, and the kernel does not let it reach that file; or, depending on
 * which of several calls is tried first, one of these. */
enum refusal {
	DEATH,
	CALL,
	FILE_,
	EITHER
};

/* 0 where it was done, -1 where it was refused. */
struct act {
	const char *name;
	int (*act)(void);
	uint32_t roles;
	enum unconfined unconfined;
	enum refusal refusal;
};
extern const struct act acts[];
extern const size_t act_count;

struct need {
	const char *name;
	int (*act)(void);
	uint32_t roles;
};
extern const struct need needs[];
extern const size_t need_count;

#endif
