/* SPDX-License-Identifier: MIT */
#ifndef TESTS_CONFORMANCE_RUN_H
#define TESTS_CONFORMANCE_RUN_H

#include "tests/conformance/conform.h"

struct run {
	const char *group; /* NULL: all */
	const char *only;  /* a part of a case's name; NULL: all */
	const char *dir;   /* stores are made here */
	bool bail, keep;
	struct kit kit; /* what each case begins with */
	unsigned number, passed, failed, skipped;
};

/* Runs the cases that are wanted and prints TAP; the exit status. */
int run_cases(struct run *run);
int list_cases(void);
void remove_tree(const char *path);
/* Where this process tells from now on why it fails. */
void verdict_to(int fd);

#endif
