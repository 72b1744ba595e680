/* SPDX-License-Identifier: MIT */
/* Addresses of strangers, and an alias file. The first octet tells which. */
#include <stdlib.h>
#include "core/delivery/route/aliases.h"
#include "tests/fuzz/fuzz.h"

static void must(bool holds)
{
	if (!holds)
		abort();
}

/* What was read and is written reads the same. */
static void read_address(struct ps_bytes path)
{
	struct ps_pool *pool = ps_pool_create("fuzz");
	struct ps_mail_address first, again;
	struct ps_buf out = {0};

	if (ps_mail_address_parse(path, pool, &first) == 0) {
		must(!first.domain || !strpbrk(first.domain, "@%! \"\\,"));
		ps_mail_address_write(first.local, first.domain, &out);
		must(ps_mail_address_parse(ps_buf_view(&out), pool, &again) == 0);
		must(strcmp(first.local, again.local) == 0 && !first.domain == !again.domain);
		must(!first.domain || strcmp(first.domain, again.domain) == 0);
		must(strlen(ps_mail_address_key(first.local, "example.org", pool)) >= strlen("x@example.org"));
	}
	ps_buf_finish(&out);
	ps_pool_destroy(pool);
}

static bool is_ours(void *arg, const char *domain)
{
	(void)arg;
	return strcmp(domain, "x.test") != 0;
}

static void read_aliases(struct ps_bytes text)
{
	struct ps_alias_rules rules = {.path = "f", .default_domain = "example.org", .is_local = is_ours};
	struct ps_buf errors = {.limit = 65536};
	const struct ps_alias *alias;
	size_t wrong = 0;
	struct ps_aliases *aliases = ps_aliases_parse(text, &rules, &errors, &wrong);

	for (size_t i = 0; (alias = ps_aliases_nth(aliases, i)); i++) {
		must(ps_aliases_find(aliases, alias->key) == alias);
		must(alias->broken ? wrong > 0 : alias->count > 0);
		for (size_t j = 0; j < alias->count; j++)
			must(alias->targets[j].domain && (alias->targets[j].local || alias->whole_domain));
	}
	ps_aliases_destroy(aliases);
	ps_buf_finish(&errors);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size)
		(data[0] % 2 ? read_aliases : read_address)(ps_bytes(data + 1, size - 1));
	return 0;
}
