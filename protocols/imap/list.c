/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include "protocols/imap/list.h"

struct gather {
	struct imap_list list;
	size_t cap;
	struct ps_pool *pool;
	bool subscribed;
};

static void add(struct gather *g, const char *name, size_t len, uint32_t attributes)
{
	struct imap_list *list = &g->list;

	list->entries = ps_pool_grow(g->pool, list->entries, list->count, &g->cap, sizeof *list->entries);
	list->entries[list->count++] = (struct imap_list_entry){
		.name = ps_pool_strndup(g->pool, name, len),
		.attributes = attributes,
	};
}

/* The name and all above it; what comes double is merged afterwards. */
static int on_mailbox(void *arg, const struct ps_mailbox_info *info)
{
	struct gather *g = arg;
	uint32_t wanted = g->subscribed ? PS_MBOX_SUBSCRIBED : PS_MBOX_EXISTS;

	if (!(info->attributes & wanted))
		return 0;
	add(g, info->name, strlen(info->name), info->attributes);
	for (const char *p = strchr(info->name, '/'); p; p = strchr(p + 1, '/'))
		add(g, info->name, (size_t)(p - info->name), 0);
	return 0;
}

/* '/' comes before all other characters, so that children follow their parent. */
static int by_tree(const void *a, const void *b)
{
	const unsigned char *x = (const void *)((const struct imap_list_entry *)a)->name;
	const unsigned char *y = (const void *)((const struct imap_list_entry *)b)->name;

	while (*x && *x == *y)
		x++, y++;
	return (*x == '/' ? 1 : *x ? *x + 1 : 0) - (*y == '/' ? 1 : *y ? *y + 1 : 0);
}

static void merge_doubles(struct imap_list *list)
{
	size_t kept = 0;

	for (size_t i = 0; i < list->count; i++) {
		if (kept > 0 && strcmp(list->entries[kept - 1].name, list->entries[i].name) == 0)
			list->entries[kept - 1].attributes |= list->entries[i].attributes;
		else
			list->entries[kept++] = list->entries[i];
	}
	list->count = kept;
}

static void note_children(struct imap_list *list)
{
	for (size_t i = 0; i + 1 < list->count; i++) {
		size_t len = strlen(list->entries[i].name);
		const char *next = list->entries[i + 1].name;

		list->entries[i].has_children = strncmp(next, list->entries[i].name, len) == 0 && next[len] == '/';
	}
}

int imap_list_read(struct imap_cmd *cmd, bool subscribed, struct imap_list *ret_list)
{
	struct gather g = {.pool = cmd->pool, .subscribed = subscribed};
	int r = ps_user_list(cmd->imap->user, on_mailbox, &g);

	if (r < 0)
		return r;
	if (g.list.count > 0)
		qsort(g.list.entries, g.list.count, sizeof *g.list.entries, by_tree);
	merge_doubles(&g.list);
	note_children(&g.list);
	*ret_list = g.list;
	return 0;
}

int imap_list_args(struct imap_cmd *cmd, const char **ret_pattern)
{
	struct ps_bytes reference, pattern;
	int r;

	if ((r = imap_args_space(&cmd->args)) < 0 || (r = imap_args_astring(&cmd->args, cmd->pool, &reference)) < 0 ||
	    (r = imap_args_space(&cmd->args)) < 0 || (r = imap_args_pattern(&cmd->args, cmd->pool, &pattern)) < 0 ||
	    (r = imap_args_end(&cmd->args)) < 0)
		return r;
	return imap_pattern_to_match(&cmd->imap->names, reference, pattern, cmd->pool, ret_pattern);
}

bool imap_list_matches(struct imap_cmd *cmd, const char *pattern, const char *name)
{
	return ps_mailbox_name_match(pattern, imap_name_to_match(&cmd->imap->names, name, cmd->pool));
}

static const struct {
	uint32_t attribute;
	const char *name;
} special_uses[] = {
	{PS_MBOX_ALL, "\\All"},         {PS_MBOX_ARCHIVE, "\\Archive"}, {PS_MBOX_DRAFTS, "\\Drafts"},
	{PS_MBOX_FLAGGED, "\\Flagged"}, {PS_MBOX_JUNK, "\\Junk"},       {PS_MBOX_SENT, "\\Sent"},
	{PS_MBOX_TRASH, "\\Trash"},
};

void imap_put_list(struct imap_cmd *cmd, const char *response, const struct imap_list_entry *entry, bool selectable)
{
	struct ps_buf *out = imap_output(cmd->imap);

	ps_buf_str(out, "* ");
	ps_buf_str(out, response);
	ps_buf_str(out, selectable ? " (" : " (\\Noselect ");
	ps_buf_str(out, entry->has_children ? "\\HasChildren" : "\\HasNoChildren");
	for (size_t i = 0; i < PS_ARRAY_LEN(special_uses); i++) {
		if (!(entry->attributes & special_uses[i].attribute))
			continue;
		ps_buf_char(out, ' ');
		ps_buf_str(out, special_uses[i].name);
	}
	ps_buf_str(out, ") \"");
	ps_buf_char(out, cmd->imap->names.separator);
	ps_buf_str(out, "\" ");
	imap_put_mailbox(cmd->imap, out, entry->name);
	ps_buf_str(out, "\r\n");
}
