/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include "core/delivery/route/private.h"
#include "postern/error.h"

int ps_route_create(const struct ps_conf *root, struct ps_route **ret_route)
{
	struct ps_route *route = ps_zalloc(sizeof *route);

	route->pool = ps_pool_create("route");
	route_domains_read(route, root);
	route_hops_read(route, root);
	*ret_route = route;
	return 0;
}

void ps_route_destroy(struct ps_route *route)
{
	if (!route)
		return;
	ps_buf_wipe(&route->password);
	ps_aliases_destroy(route->aliases);
	ps_pool_destroy(route->pool);
	free(route);
}

static bool is_local(void *arg, const char *domain)
{
	return route_domain_find(arg, domain) != NULL;
}

int ps_route_set_aliases(struct ps_route *route, struct ps_bytes text, const char *path, struct ps_buf *errors)
{
	struct ps_alias_rules rules = {
		.path = path,
		.default_domain = route->default_domain,
		.is_local = is_local,
		.arg = route,
	};
	size_t wrong = 0;

	if (text.len > PS_ALIAS_FILE_MAX)
		return ps_fail(PS_E_LIMIT, "%s: larger than %u octets", path, PS_ALIAS_FILE_MAX);
	ps_aliases_destroy(route->aliases);
	route->aliases = ps_aliases_parse(text, &rules, errors, &wrong);
	return wrong ? ps_fail(PS_E_SYNTAX, "%s: %zu errors", path, wrong) : 0;
}

int ps_route_set_password(struct ps_route *route, struct ps_bytes text)
{
	ptrdiff_t end = ps_bytes_find(text, '\n');

	if (end >= 0)
		text.len = (size_t)end;
	if (text.len && text.ptr[text.len - 1] == '\r')
		text.len--;
	if (text.len == 0 || text.len > 1024 || memchr(text.ptr, 0, text.len))
		return ps_fail(PS_E_INVALID, "the smarthost's password must be 1 to 1024 octets, without an octet 0");
	ps_buf_wipe(&route->password);
	ps_buf_bytes(&route->password, text);
	ps_buf_cstr(&route->password);
	return 0;
}

/* A circle shows as a target that is refused with 5.4.6; so does too long a chain. */
static const char *why_refused(struct ps_route *route, struct ps_pool *pool, const struct ps_alias *alias)
{
	struct ps_target *targets;
	size_t count;
	const char *at = strrchr(alias->key, '@');
	struct ps_buf path = {0};

	ps_mail_address_write(ps_pool_strndup(pool, alias->key, (size_t)(at - alias->key)), at + 1, &path);
	ps_route_expand(route, pool, ps_buf_cstr(&path), true, &targets, &count);
	ps_buf_finish(&path);
	for (size_t i = 0; i < count; i++)
		if (targets[i].kind == PS_TARGET_REFUSED && strcmp(targets[i].enhanced, "5.1.1") != 0)
			return targets[i].text;
	return NULL;
}

int ps_route_check_aliases(struct ps_route *route, const char *path, struct ps_buf *errors)
{
	PS_CLEANUP(ps_pool_destroyp) struct ps_pool *pool = ps_pool_create("alias check");
	const struct ps_alias *alias;
	size_t wrong = 0;

	for (size_t i = 0; (alias = ps_aliases_nth(route->aliases, i)); i++) {
		const char *why = alias->whole_domain || alias->broken ? NULL : why_refused(route, pool, alias);

		if (why) {
			wrong++;
			ps_buf_printf(errors, "%s:%u: %s: %s\n", path, alias->line, alias->key, why);
		}
		ps_pool_reset(pool);
	}
	return wrong ? ps_fail(PS_E_SYNTAX, "%s: %zu aliases that lead nowhere", path, wrong) : 0;
}
