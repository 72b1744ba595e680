/* SPDX-License-Identifier: MIT */
/*
 * LMDB's calls, of which one fails: those of the program and of libpostern end here first, as the dynamic linker finds them before LMDB's own.
 * Included by one source of a test.
 */
#ifndef TESTS_LMDB_CALLS_H
#define TESTS_LMDB_CALLS_H

#include <dlfcn.h>
#include <errno.h>
#include <lmdb.h>
#include <stdatomic.h>
#include <stdbool.h>

static atomic_int lmdb_calls_left = -1; /* until one fails; below 0: none will */
static int lmdb_fault;

/* The n-th from now fails, 0 the next. */
static void lmdb_arm(int n, int fault)
{
	lmdb_calls_left = n;
	lmdb_fault = fault;
}

/* True: so many calls there were not. */
static bool lmdb_disarm(void)
{
	return atomic_exchange(&lmdb_calls_left, -1) >= 0;
}

static bool lmdb_fails(void)
{
	return lmdb_calls_left >= 0 && atomic_fetch_sub(&lmdb_calls_left, 1) == 0;
}

#define LMDB_REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int mdb_txn_begin(MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **txn)
{
	return lmdb_fails() ? lmdb_fault : LMDB_REAL(mdb_txn_begin)(env, parent, flags, txn);
}

/* As LMDB's own does, it ends the transaction in any case. */
int mdb_txn_commit(MDB_txn *txn)
{
	if (!lmdb_fails())
		return LMDB_REAL(mdb_txn_commit)(txn);
	mdb_txn_abort(txn);
	return lmdb_fault;
}

int mdb_get(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *data)
{
	return lmdb_fails() ? lmdb_fault : LMDB_REAL(mdb_get)(txn, dbi, key, data);
}

int mdb_put(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *data, unsigned flags)
{
	return lmdb_fails() ? lmdb_fault : LMDB_REAL(mdb_put)(txn, dbi, key, data, flags);
}

int mdb_del(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *data)
{
	return lmdb_fails() ? lmdb_fault : LMDB_REAL(mdb_del)(txn, dbi, key, data);
}

int mdb_cursor_open(MDB_txn *txn, MDB_dbi dbi, MDB_cursor **cursor)
{
	return lmdb_fails() ? lmdb_fault : LMDB_REAL(mdb_cursor_open)(txn, dbi, cursor);
}

int mdb_cursor_get(MDB_cursor *cursor, MDB_val *key, MDB_val *data, MDB_cursor_op op)
{
	return lmdb_fails() ? lmdb_fault : LMDB_REAL(mdb_cursor_get)(cursor, key, data, op);
}

int mdb_cursor_put(MDB_cursor *cursor, MDB_val *key, MDB_val *data, unsigned flags)
{
	return lmdb_fails() ? lmdb_fault : LMDB_REAL(mdb_cursor_put)(cursor, key, data, flags);
}

int mdb_cursor_del(MDB_cursor *cursor, unsigned flags)
{
	return lmdb_fails() ? lmdb_fault : LMDB_REAL(mdb_cursor_del)(cursor, flags);
}

int mdb_env_set_mapsize(MDB_env *env, size_t size)
{
	return lmdb_fails() ? lmdb_fault : LMDB_REAL(mdb_env_set_mapsize)(env, size);
}

#endif
