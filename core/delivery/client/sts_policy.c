/* SPDX-License-Identifier: MIT */
#include "core/delivery/client/sts.h"
#include "core/dns/dns.h"
#include "postern/error.h"
#include "postern/pool.h"

enum {
	MAX_AGE_MOST = 31557600 /* section 3.2 */
};

static const char *const modes[] = {[STS_NONE] = "none", [STS_TESTING] = "testing", [STS_ENFORCE] = "enforce"};

static struct ps_bytes trim(struct ps_bytes text)
{
	while (text.len > 0 && (text.ptr[0] == ' ' || text.ptr[0] == '\t'))
		text = ps_bytes_skip(text, 1);
	while (text.len > 0 &&
	       (text.ptr[text.len - 1] == ' ' || text.ptr[text.len - 1] == '\t' || text.ptr[text.len - 1] == '\r'))
		text.len--;
	return text;
}

static struct ps_bytes take_until(struct ps_bytes *rest, uint8_t end)
{
	ptrdiff_t at = ps_bytes_find(*rest, end);
	struct ps_bytes taken = ps_bytes(rest->ptr, at < 0 ? rest->len : (size_t)at);

	*rest = ps_bytes_skip(*rest, at < 0 ? rest->len : (size_t)at + 1);
	return trim(taken);
}

static int add_mx(struct sts_policy *policy, struct ps_bytes name)
{
	char *to = policy->mx[policy->mx_count];
	const char *host = to;

	if (policy->mx_count == STS_MX_MAX || name.len == 0 || name.len >= sizeof policy->mx[0])
		return ps_fail(PS_E_SYNTAX, "MTA-STS: an mx too long, or one too many");
	memcpy(to, name.ptr, name.len);
	to[name.len] = '\0';
	if (to[name.len - 1] == '.')
		to[name.len - 1] = '\0';
	if (to[0] == '*' && to[1] == '.')
		host += 2;
	if (!dns_is_hostname(host))
		return ps_fail(PS_E_SYNTAX, "MTA-STS: an mx that is no name");
	policy->mx_count++;
	return 0;
}

static int read_mode(struct sts_policy *policy, struct ps_bytes value)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(modes); i++) {
		if (!ps_bytes_eq_str(value, modes[i]))
			continue;
		policy->mode = (enum sts_mode)i;
		return 0;
	}
	return ps_fail(PS_E_SYNTAX, "MTA-STS: unknown mode");
}

struct seen {
	bool version, mode, age;
};

/* Of a key that comes twice, all but `mx`, the first counts. */
static int read_pair(struct sts_policy *policy, struct seen *seen, struct ps_bytes key, struct ps_bytes value)
{
	int r = 0;

	if (ps_bytes_eq_str(key, "version") && !seen->version) {
		seen->version = true;
		r = ps_bytes_eq_str(value, "STSv1") ? 0 : ps_fail(PS_E_SYNTAX, "MTA-STS: unknown version");
	} else if (ps_bytes_eq_str(key, "mode") && !seen->mode) {
		seen->mode = true;
		r = read_mode(policy, value);
	} else if (ps_bytes_eq_str(key, "max_age") && !seen->age) {
		seen->age = true;
		r = ps_bytes_u64(value, &policy->max_age);
	} else if (ps_bytes_eq_str(key, "mx")) {
		r = add_mx(policy, value);
	}
	return r;
}

int sts_policy_read(struct ps_bytes text, struct sts_policy *ret_policy)
{
	struct sts_policy policy = {.mode = STS_NONE};
	struct seen seen = {0};

	while (text.len > 0) {
		struct ps_bytes value = take_until(&text, '\n'), key = take_until(&value, ':');
		int r = read_pair(&policy, &seen, key, trim(value));

		if (r < 0)
			return r;
	}
	if (!seen.version || !seen.mode || !seen.age || (policy.mode != STS_NONE && policy.mx_count == 0))
		return ps_fail(PS_E_SYNTAX, "MTA-STS: the policy is not whole");
	if (policy.max_age > MAX_AGE_MOST)
		policy.max_age = MAX_AGE_MOST;
	*ret_policy = policy;
	return 0;
}

int sts_record_read(struct ps_bytes text, char ret_id[STS_ID_SIZE])
{
	struct ps_bytes first = take_until(&text, ';');

	if (!ps_bytes_eq_str(first, "v=STSv1"))
		return ps_fail(PS_E_SYNTAX, "not a record of MTA-STS");
	while (text.len > 0) {
		struct ps_bytes value = take_until(&text, ';'), key = take_until(&value, '=');

		value = trim(value);
		if (!ps_bytes_eq_str(key, "id") || value.len == 0 || value.len >= STS_ID_SIZE)
			continue;
		for (size_t i = 0; i < value.len; i++)
			if (!ps_isalpha(value.ptr[i]) && !ps_isdigit(value.ptr[i]))
				return ps_fail(PS_E_SYNTAX, "MTA-STS: an id that is none");
		memcpy(ret_id, value.ptr, value.len);
		ret_id[value.len] = '\0';
		return 0;
	}
	return ps_fail(PS_E_SYNTAX, "MTA-STS: a record without id");
}

bool sts_policy_has(const struct sts_policy *policy, const char *host)
{
	const char *parent = strchr(host, '.');

	for (size_t i = 0; i < policy->mx_count; i++) {
		const char *mx = policy->mx[i];

		if (ps_strcasecmp(mx, host) == 0 || (mx[0] == '*' && parent && ps_strcasecmp(mx + 1, parent) == 0))
			return true;
	}
	return false;
}
