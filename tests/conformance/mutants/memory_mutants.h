/* SPDX-License-Identifier: MIT */
#ifndef TESTS_CONFORMANCE_MUTANTS_MEMORY_MUTANTS_H
#define TESTS_CONFORMANCE_MUTANTS_MEMORY_MUTANTS_H

#include "postern/backend.h"

int mutant_commit(struct ps_store *store, struct ps_batch *const *batches, size_t count);

#endif
