/* SPDX-License-Identifier: MIT */
#include "core/base/hash.h"
#include <endian.h>
#include "core/base/crc32c.h"
#include "postern/io.h"
#include "tests/unit.h"

/* The key 00 01 ... 0f and the input 00 01 ..., of the lengths 0 to 8, as the authors of SipHash publish them. */
static const uint8_t known[][16] = {
	{0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02, 0x93},
	{0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44, 0x34, 0x76, 0x59, 0x11, 0x9b, 0x22, 0xfc, 0x45},
};

START_TEST(the_published_values_come_out)
{
	struct ps_hash_key key = {{UINT64_C(0x0706050403020100), UINT64_C(0x0f0e0d0c0b0a0908)}};
	uint8_t in[16];
	struct ps_hash hash;

	for (size_t i = 0; i < sizeof in; i++)
		in[i] = (uint8_t)i;
	hash = ps_hash(&key, ps_bytes(in, (size_t)_i));
	hash.h[0] = htole64(hash.h[0]);
	hash.h[1] = htole64(hash.h[1]);
	ck_assert_mem_eq(&hash, known[_i], 16);
}
END_TEST

START_TEST(each_length_and_key_has_its_own)
{
	struct ps_hash_key key, other;
	struct ps_hash seen[40];
	uint8_t in[40] = {0};

	ps_hash_key_init(&key);
	ps_hash_key_init(&other);
	for (size_t i = 0; i < 40; i++) {
		struct ps_hash elsewhere = ps_hash(&other, ps_bytes(in, i));

		seen[i] = ps_hash(&key, ps_bytes(in, i));
		ck_assert(!ps_hash_eq(&seen[i], &elsewhere));
		for (size_t n = 0; n < i; n++)
			ck_assert(!ps_hash_eq(&seen[i], &seen[n]));
	}
}
END_TEST

START_TEST(crc_is_castagnolis)
{
	uint8_t zeros[32] = {0};

	/* RFC 3720 appendix B.4 */
	ck_assert_uint_eq(ps_crc32c(0, zeros, sizeof zeros), 0x8a9136aa);
	ck_assert_uint_eq(ps_crc32c(0, "123456789", 9), 0xe3069283);
	ck_assert_uint_eq(ps_crc32c(ps_crc32c(0, "1234", 4), "56789", 5), 0xe3069283);
}
END_TEST

/* Files go from one machine to another. */
START_TEST(all_processors_have_the_same_crc)
{
	uint8_t octets[100];

	for (size_t i = 0; i < sizeof octets; i++)
		octets[i] = (uint8_t)(i * 37 + 11);
	for (size_t from = 0; from < 8; from++)
		for (size_t len = 0; len <= sizeof octets - from; len++)
			ck_assert_uint_eq(ps_crc32c_by_table(7, octets + from, len), ps_crc32c(7, octets + from, len));
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("hash");
	TCase *tc = tcase_create("hash");

	tcase_add_loop_test(tc, the_published_values_come_out, 0, PS_ARRAY_LEN(known));
	tcase_add_test(tc, each_length_and_key_has_its_own);
	tcase_add_test(tc, crc_is_castagnolis);
	tcase_add_test(tc, all_processors_have_the_same_crc);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
