/* SPDX-License-Identifier: MIT */
#ifndef CORE_STORE_READER_H
#define CORE_STORE_READER_H

#include "core/store/view.h"

/* Feeds a body as it lies there; the caller destroys *ret_derive. */
int ps_derive_body(const struct ps_body *body, struct ps_derive **ret_derive, uint64_t *ret_size,
		   struct ps_bytes *ret_cache);

#endif
