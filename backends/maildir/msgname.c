/* SPDX-License-Identifier: MIT */
/*
 * The name is the record. A message that this server delivers is named
 *
 *   SEC.MusecPpidQn.host,S=disk-size,W=wire-size[,D=internal-date][,G=email-id],P=uidvalidity.uid[,T=token]:2,FLAGS
 *
 * SEC is the save date; D= stands where the internal date is another, G= where the email id is not the one that the
 * part before the first comma gives, T= where the message came with a token (tokens.c). Flags are those of Maildir, in ASCII order; keywords are the letters a..z.
 */
#include "config.h"

#include <gnutls/crypto.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "backends/maildir/maildir_private.h"

static const struct {
	char letter;
	uint32_t flag;
} flag_letters[] = {
	{'D', PS_FLAG_DRAFT}, {'F', PS_FLAG_FLAGGED}, {'R', PS_FLAG_ANSWERED},
	{'S', PS_FLAG_SEEN},  {'T', PS_FLAG_DELETED},
};

static bool parse_i64(struct ps_bytes text, int64_t *ret_n)
{
	bool negative = text.len > 0 && text.ptr[0] == '-';
	uint64_t n;

	if (ps_bytes_u64(negative ? ps_bytes_skip(text, 1) : text, &n) < 0 || n > INT64_MAX)
		return false;
	*ret_n = negative ? -(int64_t)n : (int64_t)n;
	return true;
}

static bool parse_id(struct ps_bytes text, struct ps_id *ret_id)
{
	struct ps_id id = {0};

	if (text.len != 2 * sizeof id.octets)
		return false;
	for (size_t i = 0; i < text.len; i++) {
		int c = ps_tolower(text.ptr[i]);
		int v = ps_isdigit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;

		if (v < 0)
			return false;
		id.octets[i / 2] = (uint8_t)(id.octets[i / 2] << 4 | v);
	}
	*ret_id = id;
	return true;
}

static bool parse_uid(struct ps_bytes text, uint32_t *ret_uid_validity, uint32_t *ret_uid)
{
	ptrdiff_t dot = ps_bytes_find(text, '.');
	uint32_t validity, uid;

	if (dot < 0 || ps_bytes_u32(ps_bytes(text.ptr, (size_t)dot), &validity) < 0 ||
	    ps_bytes_u32(ps_bytes_skip(text, (size_t)dot + 1), &uid) < 0 || uid == 0 || uid == UINT32_MAX)
		return false;
	*ret_uid_validity = validity;
	*ret_uid = uid;
	return true;
}

static void parse_key(struct ps_bytes key, struct msg_name *name)
{
	struct ps_bytes value;

	if (key.len < 2 || key.ptr[1] != '=')
		return;
	value = ps_bytes_skip(key, 2);
	switch (key.ptr[0]) {
	case 'S': name->has_disk = ps_bytes_u64(value, &name->disk) == 0; break;
	case 'W': name->has_wire = ps_bytes_u64(value, &name->wire) == 0; break;
	case 'D': name->has_date = parse_i64(value, &name->date); break;
	case 'G': name->has_email_id = parse_id(value, &name->email_id); break;
	case 'P': name->has_uid = parse_uid(value, &name->uid_validity, &name->uid); break;
	case 'T': name->has_token = token_parse(value, &name->token); break;
	default: break;
	}
}

static void parse_keys(struct ps_bytes keys, struct msg_name *name)
{
	while (keys.len > 0) {
		ptrdiff_t comma = ps_bytes_find(keys, ',');
		size_t len = comma < 0 ? keys.len : (size_t)comma;

		parse_key(ps_bytes(keys.ptr, len), name);
		keys = ps_bytes_skip(keys, comma < 0 ? len : len + 1);
	}
}

void msg_name_parse(struct ps_bytes text, struct msg_name *ret_name)
{
	struct msg_name name = {0};
	ptrdiff_t colon = ps_bytes_find(text, ':'), comma;
	size_t digits = 0;

	name.base = colon < 0 ? text : ps_bytes(text.ptr, (size_t)colon);
	name.info = ps_bytes("", 0);
	if (colon >= 0 && text.len - (size_t)colon >= 3 && memcmp(text.ptr + colon, ":2,", 3) == 0)
		name.info = ps_bytes_skip(text, (size_t)colon + 3);
	comma = ps_bytes_find(name.base, ',');
	name.unique = comma < 0 ? name.base : ps_bytes(name.base.ptr, (size_t)comma);
	if (comma >= 0)
		parse_keys(ps_bytes_skip(name.base, (size_t)comma + 1), &name);
	while (digits < name.unique.len && digits < 18 && ps_isdigit(name.unique.ptr[digits]))
		digits++;
	if (digits > 0)
		parse_i64(ps_bytes(name.unique.ptr, digits), &name.time);
	*ret_name = name;
}

uint32_t msg_name_flags(const struct msg_name *name, uint32_t *ret_letters)
{
	uint32_t flags = 0, letters = 0;

	for (size_t i = 0; i < name->info.len; i++) {
		uint8_t c = name->info.ptr[i];

		if (c == ',') /* what others put behind their own comma is not ours to read */
			break;
		if (c >= 'a' && c <= 'z')
			letters |= 1u << (c - 'a');
		for (size_t f = 0; f < PS_ARRAY_LEN(flag_letters); f++)
			if (flag_letters[f].letter == (char)c)
				flags |= flag_letters[f].flag;
	}
	*ret_letters = letters;
	return flags;
}

/* Which of 'A'..'Z' the name has that are no flags of ours. */
static uint32_t foreign_flags(const struct msg_name *name)
{
	uint32_t mask = 0;

	for (size_t i = 0; i < name->info.len && name->info.ptr[i] != ','; i++)
		if (name->info.ptr[i] >= 'A' && name->info.ptr[i] <= 'Z')
			mask |= 1u << (name->info.ptr[i] - 'A');
	for (size_t f = 0; f < PS_ARRAY_LEN(flag_letters); f++)
		mask &= ~(1u << (flag_letters[f].letter - 'A'));
	return mask;
}

static size_t put_info(char *to, uint32_t flags, uint32_t others, uint32_t letters)
{
	size_t len = 0;

	for (size_t f = 0; f < PS_ARRAY_LEN(flag_letters); f++)
		if (flags & flag_letters[f].flag)
			others |= 1u << (flag_letters[f].letter - 'A');
	memcpy(to, ":2,", 3);
	len = 3;
	for (int i = 0; i < 26; i++)
		if (others & 1u << i)
			to[len++] = (char)('A' + i);
	for (int i = 0; i < 26; i++)
		if (letters & 1u << i)
			to[len++] = (char)('a' + i);
	to[len] = '\0';
	return len;
}

enum {
	INFO_SIZE = 3 + 26 + 26 + 1
};

static int join_name(struct ps_bytes base, const char *info, size_t info_len, char ret_name[NAME_SIZE])
{
	if (base.len + info_len >= NAME_SIZE)
		return ps_fail(PS_E_LIMIT, "a file name of more than %d octets", NAME_SIZE - 1);
	memcpy(ret_name, base.ptr, base.len);
	memcpy(ret_name + base.len, info, info_len + 1);
	return 0;
}

int msg_name_with_flags(const struct msg_name *name, uint32_t flags, uint32_t letters, char ret_name[NAME_SIZE])
{
	char info[INFO_SIZE];
	size_t len = put_info(info, flags, foreign_flags(name), letters);

	return join_name(name->base, info, len, ret_name);
}

static struct ps_id hash_id(struct ps_bytes unique)
{
	uint8_t digest[32] = {0};
	struct ps_id id;

	gnutls_hash_fast(GNUTLS_DIG_SHA256, unique.ptr, unique.len, digest);
	memcpy(id.octets, digest, sizeof id.octets);
	return id;
}

struct ps_id msg_name_email_id(const struct msg_name *name)
{
	return name->has_email_id ? name->email_id : hash_id(name->unique);
}

void unique_name(const char *host, int64_t sec, char ret_name[NAME_SIZE])
{
	static atomic_ullong serial;
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	snprintf(ret_name, NAME_SIZE, "%lld.M%ldP%ldQ%llu.%s", (long long)sec, now.tv_nsec / 1000, (long)getpid(),
		 (unsigned long long)atomic_fetch_add(&serial, 1), host);
}

int msg_name_build(const char *host, const struct msg_facts *facts, char ret_name[NAME_SIZE],
		   struct ps_id *ret_email_id)
{
	static const struct ps_id none;
	struct ps_buf base = {.limit = NAME_SIZE};
	int64_t sec = facts->save_date > 0 ? facts->save_date : 0;
	char unique[NAME_SIZE], info[INFO_SIZE];
	struct ps_id id;
	size_t len;
	int r;

	unique_name(host, sec, unique);
	ps_buf_printf(&base, "%s,S=%llu,W=%llu", unique, (unsigned long long)facts->disk_size,
		      (unsigned long long)facts->wire_size);
	if (facts->internal_date != sec)
		ps_buf_printf(&base, ",D=%lld", (long long)facts->internal_date);
	if (memcmp(&facts->email_id, &none, sizeof none) == 0) {
		id = hash_id(ps_bytes_str(unique));
	} else {
		id = facts->email_id;
		ps_buf_str(&base, ",G=");
		ps_hex_encode(&base, ps_bytes(id.octets, sizeof id.octets));
	}
	ps_buf_printf(&base, ",P=%u.%u", facts->uid_validity, facts->uid);
	if (facts->token) {
		ps_buf_str(&base, ",T=");
		ps_hex_encode(&base, ps_bytes(facts->token->octets, sizeof facts->token->octets));
	}
	len = put_info(info, facts->flags, 0, facts->letters);
	r = base.failed ? ps_fail(PS_E_LIMIT, "a file name that is too long")
			: join_name(ps_buf_view(&base), info, len, ret_name);
	ps_buf_finish(&base);
	if (r == 0)
		*ret_email_id = id;
	return r;
}

int where_decode(struct ps_bytes locator, struct msg_where *ret_where)
{
	struct msg_where where;

	if (locator.len < 2 || locator.len > NAME_SIZE || (locator.ptr[0] != PLACE_CUR && locator.ptr[0] != PLACE_NEW))
		return ps_fail(PS_E_CORRUPT, "index: a locator that is none");
	where.place = (enum place)locator.ptr[0];
	memcpy(where.name, locator.ptr + 1, locator.len - 1);
	where.name[locator.len - 1] = '\0';
	*ret_where = where;
	return 0;
}

struct ps_bytes where_encode(const struct msg_where *where, uint8_t buf[NAME_SIZE + 1])
{
	size_t len = strlen(where->name);

	buf[0] = (uint8_t)where->place;
	memcpy(buf + 1, where->name, len);
	return ps_bytes(buf, len + 1);
}
