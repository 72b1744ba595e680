/* SPDX-License-Identifier: MIT */
/*
 * Where a message's file is by now, when others have given it another name: readers move it from `new` to `cur` and change its
 * flags, isync and Dovecot extend its base.
 *
 * A name that is not there any more is looked for in a listing, which is sorted. Recovery looks for many, and lists each
 * directory once; who finds that a listed name has gone in turn lists again.
 */
#include "config.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include "backends/maildir/maildir_private.h"

struct name_list {
	struct ps_pool *pool;
	char **names; /* by their unique parts */
	size_t count, cap;
};

static struct msg_name parse(const char *text)
{
	struct msg_name name;

	msg_name_parse(ps_bytes_str(text), &name);
	return name;
}

static int compare_unique(struct ps_bytes a, struct ps_bytes b)
{
	int order = memcmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);

	return order ? order : (a.len > b.len) - (a.len < b.len);
}

static int by_unique(const void *a, const void *b)
{
	return compare_unique(parse(*(char *const *)a).unique, parse(*(char *const *)b).unique);
}

/* What others extended is known by P=. Of names that are not ours nothing but the base is believed. */
static bool is_same(const struct msg_name *a, const struct msg_name *b)
{
	return ps_bytes_eq(a->base, b->base) || (a->has_uid && b->has_uid && a->uid_validity == b->uid_validity &&
						 a->uid == b->uid && ps_bytes_eq(a->unique, b->unique));
}

void name_list_destroy(struct name_list *list)
{
	if (list)
		ps_pool_destroy(list->pool);
}

int name_list_create(int dirfd, struct name_list **ret_list)
{
	struct ps_pool *pool;
	struct name_list *list;
	struct dirent *entry;
	DIR *dir;
	int r = open_listing(dirfd, &dir);

	if (r < 0)
		return r;
	pool = ps_pool_create("names");
	list = ps_pool_zalloc(pool, sizeof *list);
	list->pool = pool;
	while ((errno = 0, entry = readdir(dir)) != NULL) {
		if (entry->d_name[0] == '.')
			continue;
		list->names = ps_pool_grow(pool, list->names, list->count, &list->cap, sizeof *list->names);
		list->names[list->count++] = ps_pool_strdup(pool, entry->d_name);
	}
	if (errno != 0)
		r = ps_fail_errno("list a directory");
	closedir(dir);
	if (r < 0) {
		name_list_destroy(list);
		return r;
	}
	if (list->count > 1)
		qsort(list->names, list->count, sizeof *list->names, by_unique);
	*ret_list = list;
	return 0;
}

bool name_list_find(const struct name_list *list, const char *text, char ret_name[NAME_SIZE])
{
	struct msg_name wanted = parse(text);
	size_t low = 0, high = list->count;

	while (low < high) { /* the first that is not before it */
		size_t mid = (low + high) / 2;

		if (compare_unique(parse(list->names[mid]).unique, wanted.unique) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	for (; low < list->count; low++) {
		struct msg_name name = parse(list->names[low]);

		if (compare_unique(name.unique, wanted.unique) != 0)
			return false;
		if (is_same(&name, &wanted)) {
			snprintf(ret_name, NAME_SIZE, "%s", list->names[low]);
			return true;
		}
	}
	return false;
}

int name_after(const char *from, const char *to, const char *now, char ret_name[NAME_SIZE])
{
	struct msg_name old = parse(from), wanted = parse(to), found = parse(now);
	uint32_t old_letters, letters, now_letters;
	uint32_t old_flags = msg_name_flags(&old, &old_letters), flags = msg_name_flags(&wanted, &letters);
	uint32_t now_flags = msg_name_flags(&found, &now_letters);

	/* Others' letters stay as they are, and a base as others extended it; a move brings its own. */
	if (is_same(&old, &wanted))
		wanted.base = found.base;
	wanted.info = found.info;
	return msg_name_with_flags(&wanted, (now_flags | (flags & ~old_flags)) & ~(old_flags & ~flags),
				   (now_letters | (letters & ~old_letters)) & ~(old_letters & ~letters), ret_name);
}
