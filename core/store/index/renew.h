/* SPDX-License-Identifier: MIT */
/*
 * core/store/index/renew.h - memory that LMDB would keep: each page that a write ever needed at once stays allocated until the environment is
 * closed. That is some 100 KB for each store that clients wait in, for weeks, and hundreds of MB after one large batch.
 */
#ifndef CORE_STORE_INDEX_RENEW_H
#define CORE_STORE_INDEX_RENEW_H

enum {
	PS_RENEW_EVERY_MS = 2000, /* each process that has indexes calls it so often */
	PS_RENEW_SECONDS = 15,
};

/* Opens the environments anew that were written to and are used by nobody at this moment: those that nobody has written to since the last call, and those
 * that are open for `seconds`, or up to twice as long. For a process in which who asks for ps_index_env() has a transaction open. */
void ps_indexes_renew(unsigned seconds);

#endif
