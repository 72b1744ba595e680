/* SPDX-License-Identifier: MIT */
/* mbox files as all kinds of programs write them, and our own files beside them. */
#include "tests/fuzz/folder.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_folder(data, size);
	return 0;
}
