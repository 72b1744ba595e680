/* SPDX-License-Identifier: MIT */
/*
 * core/store/mount.h - mailboxes of a user that lie in a second store.
 *
 * `mount "Archive" { backend, location }` puts a store of its own below a name: what is "Archive/2024" to clients is "2024" there,
 * and "Archive" is its INBOX, so it always exists. A mounted store is opened when it is first needed, as a ps_user that has no
 * mounts, and closed with the user's own.
 */
#ifndef CORE_STORE_MOUNT_H
#define CORE_STORE_MOUNT_H

#include "core/store/user.h"

struct ps_mount;

/* What the configuration mounts for this user; opens nothing. */
int ps_mounts_create(struct ps_user *user, const struct ps_conf *core_conf);
void ps_mounts_destroy(struct ps_user *user);

/* The same for who uses the stores by themselves. The texts are the configuration's and the pool's. */
struct ps_mount_place {
	const char *name, *backend, *root;
};
int ps_mount_places(const struct ps_conf *core_conf, const char *user, struct ps_pool *pool,
		    struct ps_mount_place **ret_places, size_t *ret_count);

/* The store that a mailbox's name belongs to, and its name there. Opens a mounted one; it stays open as long as `user`. PS_E_INVALID:
 * a name that no mailbox there can have. */
int ps_mount_resolve(struct ps_user *user, const char *name, struct ps_user **ret_user, const char **ret_name);
/* Whether another store is at or below the name, so that it cannot be renamed. */
bool ps_mount_is_at_or_below(const struct ps_user *user, const char *name);
/* The mount that the name is, or is below; NULL: the user's own store. */
const char *ps_mount_of(const struct ps_user *user, const char *name);

/* Each mount, opened: its name to clients, and the store. */
typedef int (*ps_mount_fn)(void *arg, const char *name, struct ps_user *mounted);
int ps_mounts_each(struct ps_user *user, ps_mount_fn fn, void *arg);
/* The name to clients of a mailbox in `mounted`, which may be `user` itself. */
void ps_mount_put_name(const struct ps_user *user, const struct ps_user *mounted, const char *name, struct ps_buf *out);

#endif
