/* SPDX-License-Identifier: MIT */
/*
 * folder.h - a store of files that are anybody's: what other servers and programs left, and our own files, damaged.
 *
 * An input is text: a line "=== PATH" begins a file, which lasts up to the next such line; "=== PATH/" is a directory. The store is opened,
 * all of it looked at, a message appended, and it is opened again: what a client was told holds.
 */
#ifndef TESTS_FUZZ_FOLDER_H
#define TESTS_FUZZ_FOLDER_H

#include <stddef.h>
#include <stdint.h>

void fuzz_folder(const uint8_t *data, size_t size);

#endif
