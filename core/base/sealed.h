/* SPDX-License-Identifier: MIT */
/*
 * core/base/sealed.h - octets for another process, in memory that nobody can change any more.
 */
#ifndef CORE_BASE_SEALED_H
#define CORE_BASE_SEALED_H

#include "postern/buf.h"

/* `name` shows in /proc only. */
int ps_sealed_file(const char *name, struct ps_bytes octets, int *ret_file);

#endif
