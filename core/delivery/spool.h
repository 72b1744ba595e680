/* SPDX-License-Identifier: MIT */
/*
 * core/delivery/spool.h - files that messages are written to on their way in.
 */
#ifndef CORE_DELIVERY_SPOOL_H
#define CORE_DELIVERY_SPOOL_H

#include <stdint.h>

/* A nameless file in `dir`, for reading and writing: it is gone when nobody has it open. */
int ps_spool_open(const char *dir, int *ret_file);
/* Whether the file holds what it is said to hold. PS_E_INVALID. */
int ps_spool_check(int file, uint64_t size);

#endif
