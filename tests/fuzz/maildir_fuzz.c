/* SPDX-License-Identifier: MIT */
/* Maildirs: names of messages and folders, files of Dovecot and Courier that are adopted, and our own files beside them. */
#include "tests/fuzz/folder.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	fuzz_folder(data, size);
	return 0;
}
