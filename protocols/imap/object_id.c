/* SPDX-License-Identifier: MIT */
#include "protocols/imap/object_id.h"

void imap_put_object_id(struct ps_buf *out, char prefix, const struct ps_id *id)
{
	ps_buf_char(out, prefix);
	ps_hex_encode(out, ps_bytes(id->octets, sizeof id->octets));
}

/* Object ids are compared with their case, so upper-case digits are none. */
static int digit(int c)
{
	if (ps_isdigit(c))
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool imap_object_id_parse(struct ps_bytes text, char prefix, struct ps_id *ret_id)
{
	if (text.len != 1 + 2 * sizeof ret_id->octets || text.ptr[0] != (uint8_t)prefix)
		return false;
	for (size_t i = 0; i < sizeof ret_id->octets; i++) {
		int high = digit(text.ptr[1 + 2 * i]), low = digit(text.ptr[2 + 2 * i]);

		if (high < 0 || low < 0)
			return false;
		ret_id->octets[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}
