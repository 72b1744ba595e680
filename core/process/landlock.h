/* SPDX-License-Identifier: MIT */
/*
 * core/process/landlock.h - Landlock by its system calls; the kernel is asked at run time what it can.
 */
#ifndef CORE_PROCESS_LANDLOCK_H
#define CORE_PROCESS_LANDLOCK_H

#include <stdbool.h>
#include <stddef.h>

enum ps_landlock_right {
	PS_LANDLOCK_READ,  /* files and folders */
	PS_LANDLOCK_WRITE, /* that, and making, changing, renaming, removing plain files and folders */
};

struct ps_landlock_rule {
	const char *path; /* it and all below; one that does not exist is passed over */
	enum ps_landlock_right right;
};

/* 0: this kernel has none. */
int ps_landlock_abi(void);

/* From now on this thread and all it starts reach nothing but `rules`; no TCP bind, and unless it `connects` no connect (ABI 4), no signals to
 * and no abstract sockets of others (ABI 6). PR_SET_NO_NEW_PRIVS must be set. PS_E_UNSUPPORTED: the kernel's ABI is too old;
 * writing rules need 2, as in 1 no file can be renamed into another folder. */
int ps_landlock_confine(const struct ps_landlock_rule *rules, size_t count, bool connects);

#endif
