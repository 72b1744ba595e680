/* SPDX-License-Identifier: MIT */
#include "core/delivery/client/caps.h"
#include "postern/pool.h"

static struct ps_bytes take_word(struct ps_bytes *rest, char separator)
{
	ptrdiff_t end = ps_bytes_find(*rest, (uint8_t)separator);
	struct ps_bytes word = ps_bytes(rest->ptr, end < 0 ? rest->len : (size_t)end);

	*rest = ps_bytes_skip(*rest, end < 0 ? rest->len : (size_t)end + 1);
	return word;
}

static void read_size(struct smtp_caps *caps, struct ps_bytes params)
{
	uint64_t size;

	if (ps_bytes_u64(take_word(&params, ' '), &size) == 0)
		caps->size_max = size;
}

static void read_auth(struct smtp_caps *caps, struct ps_bytes params)
{
	while (params.len > 0) {
		struct ps_bytes word = take_word(&params, ' ');

		if (ps_bytes_caseeq_str(word, "PLAIN"))
			caps->flags |= CAP_AUTH_PLAIN;
		if (ps_bytes_caseeq_str(word, "LOGIN"))
			caps->flags |= CAP_AUTH_LOGIN;
	}
}

static void read_limits(struct smtp_caps *caps, struct ps_bytes params)
{
	while (params.len > 0) {
		struct ps_bytes value = take_word(&params, ' '), name = take_word(&value, '=');

		if (ps_bytes_caseeq_str(name, "RCPTMAX"))
			ps_bytes_u32(value, &caps->rcpt_max);
		if (ps_bytes_caseeq_str(name, "MAILMAX"))
			ps_bytes_u32(value, &caps->mail_max);
	}
}

static const struct {
	const char *keyword;
	unsigned flag;
	void (*read)(struct smtp_caps *caps, struct ps_bytes params);
} keywords[] = {
	{"PIPELINING", CAP_PIPELINING, NULL},
	{"SIZE", CAP_SIZE, read_size},
	{"8BITMIME", CAP_8BITMIME, NULL},
	{"SMTPUTF8", CAP_SMTPUTF8, NULL},
	{"CHUNKING", CAP_CHUNKING, NULL},
	{"BINARYMIME", CAP_BINARYMIME, NULL},
	{"DSN", CAP_DSN, NULL},
	{"STARTTLS", CAP_STARTTLS, NULL},
	{"REQUIRETLS", CAP_REQUIRETLS, NULL},
	{"AUTH", 0, read_auth},
	{"LIMITS", 0, read_limits},
};

void smtp_caps_read(struct smtp_caps *ret_caps, struct ps_bytes lines)
{
	*ret_caps = (struct smtp_caps){0};
	take_word(&lines, '\n');
	while (lines.len > 0) {
		struct ps_bytes params = take_word(&lines, '\n'), keyword;

		while (params.len > 0 && params.ptr[params.len - 1] == ' ')
			params.len--;
		keyword = take_word(&params, ' ');
		for (size_t i = 0; i < PS_ARRAY_LEN(keywords); i++) {
			if (!ps_bytes_caseeq_str(keyword, keywords[i].keyword))
				continue;
			ret_caps->flags |= keywords[i].flag;
			if (keywords[i].read)
				keywords[i].read(ret_caps, params);
		}
	}
}
