/* SPDX-License-Identifier: MIT */
#include <limits.h>
#include <stdlib.h>
#include "core/config/config.h"
#include "core/process/plugins.h"
#include "core/store/location.h"
#include "core/store/mount.h"

struct ps_mount {
	struct ps_mount *next;
	char *name, *backend, *root;
	const struct ps_backend *ops;
	const struct ps_conf *backend_conf, *core_conf;
	pthread_mutex_t lock;  /* of: */
	struct ps_user *store; /* NULL: not needed yet */
};

/* ---- making and closing ---------------------------------------------------------------------- */

static void mount_destroy(struct ps_mount *mount)
{
	ps_user_close(mount->store);
	pthread_mutex_destroy(&mount->lock);
	free(mount->root);
	free(mount->backend);
	free(mount->name);
	free(mount);
}

/* Where a mount of the configuration lies for a user. */
static int place_of(const struct ps_conf *core_conf, const struct ps_conf *section, const char *user,
		    struct ps_buf *out_root)
{
	ps_buf_printf(out_root, "%s/", ps_conf_str(core_conf, "mail_root"));
	return ps_location_expand(ps_conf_str(section, "location"), user, NULL, out_root);
}

static int mount_create(const struct ps_user *user, const struct ps_conf *core_conf, const struct ps_conf *section,
			struct ps_mount **ret_mount)
{
	const char *backend = ps_conf_str(section, "backend");
	const struct ps_backend *ops = ps_backend_find(backend);
	struct ps_buf root = {.limit = PATH_MAX};
	struct ps_mount *mount;
	int r;

	if (!ops)
		return ps_fail(PS_E_NOTFOUND, "mount %s: no backend %s is loaded", ps_conf_title(section), backend);
	r = place_of(core_conf, section, user->name, &root);
	if (r == 0) {
		mount = ps_zalloc(sizeof *mount);
		mount->name = ps_strdup(ps_conf_title(section));
		mount->backend = ps_strdup(backend);
		mount->root = ps_strdup(ps_buf_cstr(&root));
		mount->ops = ops;
		mount->backend_conf = ps_conf_plugin(core_conf, "backend", backend);
		mount->core_conf = core_conf;
		pthread_mutex_init(&mount->lock, NULL);
		*ret_mount = mount;
	}
	ps_buf_finish(&root);
	return r;
}

int ps_mount_places(const struct ps_conf *core_conf, const char *user, struct ps_pool *pool,
		    struct ps_mount_place **ret_places, size_t *ret_count)
{
	size_t count = ps_conf_section_count(core_conf, "mount");
	struct ps_mount_place *places = PS_NEWV(pool, struct ps_mount_place, count);

	for (size_t i = 0; i < count; i++) {
		const struct ps_conf *section = ps_conf_section(core_conf, "mount", i);
		struct ps_buf root = {.limit = PATH_MAX};
		int r = place_of(core_conf, section, user, &root);

		places[i] = (struct ps_mount_place){.name = ps_conf_title(section),
						    .backend = ps_conf_str(section, "backend"),
						    .root = ps_pool_strdup(pool, ps_buf_cstr(&root))};
		ps_buf_finish(&root);
		if (r < 0)
			return r;
	}
	*ret_places = places;
	*ret_count = count;
	return 0;
}

int ps_mounts_create(struct ps_user *user, const struct ps_conf *core_conf)
{
	struct ps_mount **end = &user->mounts;
	size_t count = core_conf ? ps_conf_section_count(core_conf, "mount") : 0;

	for (size_t i = 0; i < count; i++) {
		int r = mount_create(user, core_conf, ps_conf_section(core_conf, "mount", i), end);

		if (r < 0)
			return r;
		end = &(*end)->next;
	}
	return 0;
}

void ps_mounts_destroy(struct ps_user *user)
{
	struct ps_mount *mount;

	while ((mount = user->mounts)) {
		user->mounts = mount->next;
		mount_destroy(mount);
	}
}

static int mount_open(struct ps_user *user, struct ps_mount *mount, struct ps_user **ret_store)
{
	struct ps_user_info info = {.name = user->name, .backend = mount->backend, .root = mount->root};
	int r = 0;

	pthread_mutex_lock(&mount->lock);
	if (!mount->store)
		r = ps_user_open_mounted(mount->ops, mount->backend_conf, mount->core_conf, &info, mount->name,
					 &mount->store);
	*ret_store = mount->store ? ps_user_now(mount->store) : NULL;
	pthread_mutex_unlock(&mount->lock);
	return r;
}

/* ---- names ----------------------------------------------------------------------------------- */

/* Where `name` goes on below `top`: at its end, at a slash, or NULL. */
static const char *below(const char *name, const char *top)
{
	size_t len = strlen(top);

	return strncmp(name, top, len) == 0 && (name[len] == '\0' || name[len] == '/') ? name + len : NULL;
}

int ps_mount_resolve(struct ps_user *user, const char *name, struct ps_user **ret_user, const char **ret_name)
{
	struct ps_mount *mount;
	const char *rest = NULL;

	user = ps_user_now(user);
	mount = user->mounts;
	while (mount && !(rest = below(name, mount->name)))
		mount = mount->next;
	if (!mount) {
		*ret_user = user;
		*ret_name = name;
		return 0;
	}
	/* Its INBOX has the mount's own name. */
	if (ps_strcasecmp(rest, "/INBOX") == 0)
		return ps_fail(PS_E_INVALID, "mailbox %s: this name is that of %s", name, mount->name);
	*ret_name = *rest ? rest + 1 : "INBOX";
	return mount_open(user, mount, ret_user);
}

bool ps_mount_is_at_or_below(const struct ps_user *user, const char *name)
{
	for (const struct ps_mount *mount = user->mounts; mount; mount = mount->next)
		if (below(mount->name, name))
			return true;
	return false;
}

const char *ps_mount_of(const struct ps_user *user, const char *name)
{
	for (const struct ps_mount *mount = user->mounts; mount; mount = mount->next)
		if (below(name, mount->name))
			return mount->name;
	return NULL;
}

int ps_mounts_each(struct ps_user *user, ps_mount_fn fn, void *arg)
{
	for (struct ps_mount *mount = user->mounts; mount; mount = mount->next) {
		struct ps_user *store;
		int r = mount_open(user, mount, &store);

		if (r < 0 || (r = fn(arg, mount->name, store)) != 0)
			return r;
	}
	return 0;
}

void ps_mount_put_name(const struct ps_user *user, const struct ps_user *mounted, const char *name, struct ps_buf *out)
{
	const struct ps_mount *mount = user->mounts;

	while (mount && (!mount->store || ps_user_now(mount->store) != mounted))
		mount = mount->next;
	if (!mount)
		ps_buf_str(out, name);
	else if (strcmp(name, "INBOX") == 0)
		ps_buf_str(out, mount->name);
	else
		ps_buf_printf(out, "%s/%s", mount->name, name);
}
