/* SPDX-License-Identifier: MIT */
/* What a server says to the SMTP client, as one reply after the other; the first also as one to EHLO. The first octet says where it is cut. */
#include <stdlib.h>
#include "core/delivery/client/caps.h"
#include "core/delivery/client/reply.h"
#include "tests/fuzz/fuzz.h"

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void look_at(const struct smtp_reply *reply)
{
	struct smtp_caps caps;

	must(reply->code >= 200 && reply->code <= 599);
	must(reply->text.len <= REPLY_TEXT_MAX && reply->lines.len <= (size_t)REPLY_LINES_MAX * REPLY_LINE_MAX);
	for (size_t i = 0; i < reply->text.len; i++)
		must(reply->text.ptr[i] >= ' ' && reply->text.ptr[i] < 0x7f);
	must(smtp_reply_enhanced(reply)[0] == (char)('0' + reply->code / 100) || reply->code / 100 == 3);
	smtp_caps_read(&caps, ps_buf_view(&reply->lines));
}

/* Returns how many replies there were, and the sum of their codes. */
static unsigned long talk(struct ps_bytes in, size_t piece)
{
	struct smtp_reply reply;
	unsigned long sum = 0;
	int r = 0;

	smtp_reply_init(&reply);
	while (in.len > 0 && r >= 0) {
		struct ps_bytes some = ps_bytes(in.ptr, in.len < piece ? in.len : piece);

		in = ps_bytes_skip(in, some.len);
		while ((r = smtp_reply_feed(&reply, &some)) > 0) {
			look_at(&reply);
			sum = sum * 31 + reply.code;
		}
	}
	smtp_reply_finish(&reply);
	return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 1) {
		struct ps_bytes in = ps_bytes(data + 1, size - 1);

		must(talk(in, in.len) == talk(in, 1u + data[0]));
	}
	return 0;
}
