/* SPDX-License-Identifier: MIT */
/*
 * core/base/crc32c.h - what ps_crc32c() (postern/io.h) is on a processor that has no instruction for it.
 */
#ifndef CORE_BASE_CRC32C_H
#define CORE_BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t ps_crc32c_by_table(uint32_t crc, const void *data, size_t len);

#endif
