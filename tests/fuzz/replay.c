/* SPDX-License-Identifier: MIT */
/* A fuzz target without a fuzzer: gives it each file named, once. Linked where libFuzzer is not. */
#include <stdio.h>
#include <stdlib.h>
#include "postern/buf.h"
#include "tests/fuzz/fuzz.h"

static int replay(const char *path)
{
	struct ps_buf input = {0};
	FILE *file = fopen(path, "rb");
	uint8_t piece[4096], *copy;
	size_t n;

	if (!file) {
		perror(path);
		return -1;
	}
	while ((n = fread(piece, 1, sizeof piece, file)) > 0)
		ps_buf_append(&input, piece, n);
	fclose(file);
	/* To the octet, so that a sanitizer sees what is read behind it. */
	copy = malloc(input.len ? input.len : 1);
	if (input.len)
		memcpy(copy, input.ptr, input.len);
	LLVMFuzzerTestOneInput(copy, input.len);
	free(copy);
	ps_buf_finish(&input);
	return 0;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++)
		if (replay(argv[i]) < 0)
			return EXIT_FAILURE;
	printf("%d inputs\n", argc - 1);
	return EXIT_SUCCESS;
}
