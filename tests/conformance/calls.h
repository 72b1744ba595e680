/* SPDX-License-Identifier: MIT */
/*
 * Storage calls of a process, watched: the system calls that change files or make changes durable, whoever makes them.
 * Before each of them the watcher may look at the disk, let the call fail, hold it up, or kill the process. It is seccomp
 * that stops the process and tells, so this works on any backend and for any user.
 */
#ifndef TESTS_CONFORMANCE_CALLS_H
#define TESTS_CONFORMANCE_CALLS_H

#include <sys/types.h>
#include "tests/conformance/conform.h"

enum call_kind {
	CALL_WRITE, /* of octets into a file below the root */
	CALL_SYNC,  /* of a file or directory */
	CALL_SYNC_ALL,
	CALL_SIZE,   /* a file is cut, or room is reserved */
	CALL_CREATE, /* open() of what may have to be made */
	CALL_MAKE,   /* mkdir, link, symlink */
	CALL_RENAME,
	CALL_REMOVE, /* unlink, rmdir */
};

struct call {
	pid_t pid;
	const char *name;
	enum call_kind kind;
	int fd;          /* WRITE, SYNC, SIZE; else -1 */
	char path[4096]; /* as far as it can be told; else "" */
	char to[4096];   /* the new one, of rename and link */
	uint64_t args[6];
	bool needs_room; /* it could fail on a full disk */
	bool held;       /* it was held up before */
};

/* What becomes of it: an errno that it fails with, or one of these. */
enum {
	CALL_GO = 0,
	CALL_KILL = -1, /* the process is killed before the call */
	CALL_HOLD = -2, /* it is asked again a little later; other threads go on */
	CALL_HALF = -3, /* a WRITE writes half of its octets, and says so */
};
typedef int (*call_fn)(void *arg, const struct call *call);

/*
 * Runs work() in a process of its own, which begins with nothing open, and asks `fn` at each storage call below
 * kit->root. Returns as waitpid() does. work() tells its verdict by returning, or by must().
 */
int calls_watch(struct kit *kit, void (*work)(struct kit *kit, void *arg), void *work_arg, call_fn fn, void *fn_arg);
/* The same, when only work()'s own must() counts. */
void calls_watch_ok(struct kit *kit, void (*work)(struct kit *kit, void *arg), void *work_arg, call_fn fn,
		    void *fn_arg);
/* Whether this system lets processes be watched so. */
bool calls_possible(void);

/* A descriptor of the process, opened once more; -1. And where its next write() goes. */
int call_open_fd(const struct call *call);
uint64_t call_offset(const struct call *call);
uint64_t call_length(const struct call *call); /* octets of a WRITE */
/* A number of the line "NAME:" in /proc/PID/fdinfo/FD. */
uint64_t call_fdinfo(const struct call *call, const char *name, int base);

/* Memory that both processes see; for what work() tells the watcher. Zeroed. */
void *calls_shared(size_t size);

#endif
