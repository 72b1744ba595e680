/* SPDX-License-Identifier: MIT */
/* From an address to those who get its mail. The order is told in route.h. */
#include "auth/names.h"
#include "core/delivery/route/private.h"

#define WORK_MAX (10 * PS_ALIAS_TARGETS) /* addresses looked at, for those that dwindle to few */

struct expansion {
	struct ps_route *route;
	struct ps_pool *pool;
	const char *original; /* the path that all of it comes from */
	bool relay;
	size_t work;
	bool too_many;
	struct ps_target *targets;
	size_t count, cap;
};

/* An alias that is being followed, and those that led to it. */
struct link {
	const struct ps_alias *alias;
	const struct link *up;
};

/* An address on its way: `detail` is the folder that it has from the address that led here, or NULL. */
struct step_args {
	struct ps_mail_address name;
	const char *detail;
	unsigned depth;
	const struct link *up;
};

static void expand(struct expansion *x, const struct step_args *args);

/* ---- results --------------------------------------------------------------------------------- */

static const struct refusal {
	unsigned code;
	const char *enhanced, *text;
} syntax = {501, "5.1.3", "That is not an address"}, literal = {550, "5.1.2", "Mail is not sent to address literals"},
  no_relay = {550, "5.7.1", "This server does not relay to there"},
  not_a_domain = {550, "5.1.2", "That is this host, and no domain for mail"},
  unknown = {550, "5.1.1", "No such user here"},
  circle = {550, "5.4.6", "The aliases of this address lead in a circle"},
  too_many = {451, "4.3.5", "The aliases of this address lead to too many"},
  broken = {451, "4.3.5", "The alias of this address cannot be read; try again later"};

static bool same_text(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static bool is_known(const struct expansion *x, const struct ps_target *target)
{
	for (size_t i = 0; i < x->count; i++) {
		const struct ps_target *other = &x->targets[i];

		if (other->kind == target->kind && same_text(other->user, target->user) &&
		    same_text(other->detail, target->detail) &&
		    (target->kind == PS_TARGET_LOCAL || strcmp(other->address, target->address) == 0))
			return true;
	}
	return false;
}

static bool is_ascii(const char *text)
{
	for (; *text; text++)
		if ((uint8_t)*text >= 0x80)
			return false;
	return true;
}

static const char *spell(struct ps_pool *pool, const struct ps_mail_address *name)
{
	struct ps_buf out = {0};
	const char *text;

	ps_mail_address_write(name->local, name->domain, &out);
	text = ps_pool_strdup(pool, ps_buf_cstr(&out));
	ps_buf_finish(&out);
	return text;
}

static void add(struct expansion *x, const struct step_args *args, struct ps_target target)
{
	target.by_alias = args->depth > 0;
	target.address = spell(x->pool, &args->name);
	if (target.by_alias)
		target.orcpt =
			ps_pool_printf(x->pool, "%s;%s", is_ascii(x->original) ? "rfc822" : "utf-8", x->original);
	if (is_known(x, &target))
		return;
	if (x->count == PS_ALIAS_TARGETS) {
		x->too_many = true;
		return;
	}
	x->targets = ps_pool_grow(x->pool, x->targets, x->count, &x->cap, sizeof target);
	x->targets[x->count++] = target;
}

static void refuse(struct expansion *x, const struct step_args *args, const struct refusal *why)
{
	add(x, args,
	    (struct ps_target){
		    .kind = PS_TARGET_REFUSED, .code = why->code, .enhanced = why->enhanced, .text = why->text});
}

/* All that was found is dropped for one refusal. */
static void refuse_all(struct expansion *x, const char *path, const struct refusal *why)
{
	struct ps_target *target = PS_NEW(x->pool, struct ps_target);

	*target = (struct ps_target){
		.kind = PS_TARGET_REFUSED,
		.address = ps_pool_strdup(x->pool, path),
		.code = why->code,
		.enhanced = why->enhanced,
		.text = why->text,
	};
	x->targets = target;
	x->count = 1;
}

/* ---- aliases --------------------------------------------------------------------------------- */

static void follow(struct expansion *x, const struct step_args *args, const struct ps_alias *alias, const char *detail)
{
	struct link link = {alias, args->up};

	if (alias->broken)
		refuse(x, args, &broken);
	for (size_t i = 0; i < alias->count && !alias->broken; i++) {
		const struct ps_alias_target *target = &alias->targets[i];
		bool keeps = !target->local;

		/* With the local part goes the folder that is still in it. */
		expand(x, &(struct step_args){
				  .name = {.local = keeps ? args->name.local : target->local, .domain = target->domain},
				  .detail = keeps ? args->detail : detail,
				  .depth = args->depth + 1,
				  .up = &link,
			  });
	}
}

enum seen {
	NOT_SEEN,
	SEEN_JUST_NOW,
	SEEN_BEFORE,
};

static enum seen is_followed(const struct link *up, const struct ps_alias *alias)
{
	if (up && up->alias == alias)
		return SEEN_JUST_NOW;
	for (; up; up = up->up)
		if (up->alias == alias)
			return SEEN_BEFORE;
	return NOT_SEEN;
}

/* The user part of user+folder; NULL: it is none. */
static const char *base_of(const struct expansion *x, const char *local, const char **ret_detail)
{
	size_t len = strcspn(local, x->route->separators);

	if (len == 0 || local[len] == '\0')
		return NULL;
	if (local[len + 1] != '\0')
		*ret_detail = ps_pool_strdup(x->pool, local + len + 1);
	return ps_pool_strndup(x->pool, local, len);
}

static const struct ps_alias *find_alias(struct expansion *x, const struct step_args *args, const char **detail)
{
	const char *own = *detail, *base;
	const struct ps_alias *alias =
		ps_aliases_find(x->route->aliases, ps_mail_address_key(args->name.local, args->name.domain, x->pool));

	if (alias || !(base = base_of(x, args->name.local, &own)))
		return alias;
	alias = ps_aliases_find(x->route->aliases, ps_mail_address_key(base, args->name.domain, x->pool));
	if (alias)
		*detail = own;
	return alias;
}

/* ---- steps: each says whether it found something --------------------------------------------- */

enum {
	STEP_USER,
	STEP_BASE,
	STEP_ROLE,
	STEP_DOMAIN,
	STEPS,
};

/* A name that no user can have is not asked for. */
static bool add_user(struct expansion *x, const struct step_args *args, const char *local, const char *detail,
		     unsigned step)
{
	struct ps_buf user = {0};
	const char *name = ps_mail_address_key(local, args->name.domain, x->pool);
	bool lawful = ps_user_name_normalise(ps_bytes_str(name), NULL, &user) == 0;

	ps_buf_finish(&user);
	if (!lawful)
		return false;
	add(x, args,
	    (struct ps_target){
		    .kind = PS_TARGET_LOCAL,
		    .user = name,
		    .detail = detail,
		    .rest = {.name = args->name,
			     .step = step + 1,
			     .depth = args->depth,
			     .original = x->original,
			     .detail = args->detail},
	    });
	return true;
}

static bool step_user(struct expansion *x, const struct step_args *args)
{
	return add_user(x, args, args->name.local, args->detail, STEP_USER);
}

static bool step_base(struct expansion *x, const struct step_args *args)
{
	const char *detail = args->detail, *base = base_of(x, args->name.local, &detail);

	return base && add_user(x, args, base, detail, STEP_BASE);
}

static bool is_role(const char *local)
{
	static const char *const roles[] = {"postmaster", "abuse", "mailer-daemon"};

	for (size_t i = 0; i < PS_ARRAY_LEN(roles); i++)
		if (ps_strcasecmp(local, roles[i]) == 0)
			return true;
	return false;
}

/* Goes on with an address of the settings, to which `domain` is added if it has none. */
static bool follow_setting(struct expansion *x, const struct step_args *args, const char *path, const char *domain)
{
	struct step_args next = {.detail = args->detail, .depth = args->depth + 1, .up = args->up};

	if (!path || ps_mail_address_parse(ps_bytes_str(path), x->pool, &next.name) < 0)
		return false;
	if (!next.name.domain)
		next.name.domain = domain ? domain : args->name.domain;
	expand(x, &next);
	return true;
}

static bool step_role(struct expansion *x, const struct step_args *args)
{
	const struct route_domain *domain = route_domain_find(x->route, args->name.domain);

	if (!is_role(args->name.local))
		return false;
	if (domain && domain->postmaster)
		return follow_setting(x, args, domain->postmaster, domain->name);
	return follow_setting(x, args, x->route->postmaster, x->route->default_domain);
}

static bool step_domain(struct expansion *x, const struct step_args *args)
{
	const struct route_domain *domain = route_domain_find(x->route, args->name.domain);
	const struct ps_alias *alias =
		ps_aliases_find(x->route->aliases, ps_mail_address_key("", args->name.domain, x->pool));

	if (strpbrk(args->name.local, "%!@"))
		return false;
	if (!alias)
		return domain && follow_setting(x, args, domain->catch_all, domain->name);
	follow(x, args, alias, args->detail);
	return true;
}

static bool (*const steps[STEPS])(struct expansion *x, const struct step_args *args) = {
	[STEP_USER] = step_user,
	[STEP_BASE] = step_base,
	[STEP_ROLE] = step_role,
	[STEP_DOMAIN] = step_domain,
};

static void take_steps(struct expansion *x, const struct step_args *args, unsigned step)
{
	for (; step < STEPS; step++)
		if (steps[step](x, args))
			return;
	refuse(x, args, &unknown);
}

/* ---- an address ------------------------------------------------------------------------------ */

static void expand_foreign(struct expansion *x, const struct step_args *args)
{
	if (args->name.literal)
		refuse(x, args, &literal);
	else if (same_text(args->name.domain, x->route->hostname)) {
		if (!step_role(x, args))
			refuse(x, args, x->relay ? &not_a_domain : &no_relay);
	} else if (!x->relay && args->depth == 0)
		refuse(x, args, &no_relay);
	else
		add(x, args,
		    (struct ps_target){
			    .kind = PS_TARGET_REMOTE,
			    .domain = args->name.domain,
			    .needs_smtputf8 = !is_ascii(args->name.local),
		    });
}

static void expand_local(struct expansion *x, const struct step_args *args)
{
	const char *detail = args->detail;
	const struct ps_alias *alias = find_alias(x, args, &detail);
	enum seen seen = alias ? is_followed(args->up, alias) : NOT_SEEN;

	if (seen == SEEN_BEFORE)
		refuse(x, args, &circle);
	else if (alias && seen == NOT_SEEN)
		follow(x, args, alias, detail);
	else
		take_steps(x, args, STEP_USER);
}

static void expand(struct expansion *x, const struct step_args *args)
{
	if (++x->work > WORK_MAX) {
		x->too_many = true;
		return;
	}
	if (args->depth > PS_ALIAS_DEPTH)
		refuse(x, args, &circle);
	else if (route_domain_find(x->route, args->name.domain))
		expand_local(x, args);
	else
		expand_foreign(x, args);
}

/* RFC 5321 section 4.5.1: "postmaster" needs no domain. */
static bool complete(struct ps_route *route, struct ps_mail_address *name)
{
	if (name->domain)
		return true;
	if (ps_strcasecmp(name->local, "postmaster") != 0)
		return false;
	if (route->default_domain)
		name->domain = route->default_domain;
	else if (route->domain_count > 0)
		name->domain = route->domains[0].name;
	return name->domain != NULL;
}

static void finish(struct expansion *x, struct ps_target **ret_targets, size_t *ret_count)
{
	if (x->too_many)
		refuse_all(x, x->original, &too_many);
	*ret_targets = x->targets;
	*ret_count = x->count;
}

void ps_route_expand(struct ps_route *route, struct ps_pool *pool, const char *forward_path, bool relay,
		     struct ps_target **ret_targets, size_t *ret_count)
{
	struct expansion x = {.route = route, .pool = pool, .relay = relay};
	struct step_args args = {0};

	x.original = ps_pool_strdup(pool, forward_path);
	if (ps_mail_address_parse(ps_bytes_str(forward_path), pool, &args.name) < 0 || !complete(route, &args.name))
		refuse_all(&x, forward_path, &syntax);
	else
		expand(&x, &args);
	finish(&x, ret_targets, ret_count);
}

void ps_route_otherwise(struct ps_route *route, struct ps_pool *pool, const struct ps_target *target,
			struct ps_target **ret_targets, size_t *ret_count)
{
	struct expansion x = {.route = route, .pool = pool, .original = target->rest.original};

	take_steps(&x,
		   &(struct step_args){
			   .name = target->rest.name, .detail = target->rest.detail, .depth = target->rest.depth},
		   target->rest.step);
	finish(&x, ret_targets, ret_count);
}

/* By its own name, or by the part before the folder. */
static bool is_for(struct expansion *x, const struct ps_target *target, const char *user)
{
	const char *detail, *base;

	if (target->kind != PS_TARGET_LOCAL)
		return false;
	if (strcmp(target->user, user) == 0)
		return true;
	base = base_of(x, target->rest.name.local, &detail);
	return base && strcmp(ps_mail_address_key(base, target->rest.name.domain, x->pool), user) == 0;
}

bool ps_route_is_own(struct ps_route *route, const char *user, const char *address)
{
	PS_CLEANUP(ps_pool_destroyp) struct ps_pool *pool = ps_pool_create("own address");
	struct expansion x = {.route = route, .pool = pool};
	struct ps_target *targets;
	size_t count;

	ps_route_expand(route, pool, address, false, &targets, &count);
	for (size_t i = 0; i < count; i++)
		if (is_for(&x, &targets[i], user))
			return true;
	return false;
}
