/* SPDX-License-Identifier: MIT */
/*
 * Memory that runs out, for a program that links tests/scarce.c: its malloc(), calloc() and realloc() are what every library
 * in the process calls, and fail when they are told to.
 */
#ifndef TESTS_SCARCE_H
#define TESTS_SCARCE_H

#include <stdbool.h>

/* Of the allocations that follow in this process, in any thread, the n-th fails (counted from 1; 0: none); `lasting`: and all
 * after it. */
void scarce_begin(unsigned n, bool lasting);
/* How many there were; from now on none fails. */
unsigned scarce_end(void);

#endif
