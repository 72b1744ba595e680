/* SPDX-License-Identifier: MIT */
#include "config.h"

#include "backends/lmdb/lmdb_private.h"

#ifdef HAVE_ZSTD
#include <zstd.h>

enum {
	LEVEL = 3
};

/* An eighth less, or reading is not worth the trouble. */
bool zstd_pack(struct ps_bytes in, uint8_t *out, size_t *ret_len)
{
	size_t n = ZSTD_compress(out, in.len - in.len / 8, in.ptr, in.len, LEVEL);

	if (ZSTD_isError(n))
		return false;
	*ret_len = n;
	return true;
}

int zstd_unpack(struct ps_bytes in, uint8_t *out, size_t len)
{
	size_t n = ZSTD_decompress(out, len, in.ptr, in.len);

	if (ZSTD_isError(n))
		return ps_fail(PS_E_CORRUPT, "a compressed chunk: %s", ZSTD_getErrorName(n));
	return n == len ? 0 : ps_fail(PS_E_CORRUPT, "a compressed chunk of %zu octets where %zu should be", n, len);
}
#else
bool zstd_pack(struct ps_bytes in, uint8_t *out, size_t *ret_len)
{
	(void)in;
	(void)out;
	(void)ret_len;
	return false;
}

int zstd_unpack(struct ps_bytes in, uint8_t *out, size_t len)
{
	(void)in;
	(void)out;
	(void)len;
	return ps_fail(PS_E_UNSUPPORTED, "the message is compressed, and this build has no libzstd");
}
#endif
