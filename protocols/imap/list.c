/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include "protocols/imap/list.h"
#include "protocols/imap/special_use.h"

struct gather {
	struct imap_list list;
	size_t cap;
	struct ps_pool *pool;
	uint32_t wanted;
};

static void add(struct gather *g, const char *name, size_t len, uint32_t attributes, uint32_t below)
{
	struct imap_list *list = &g->list;

	list->entries = ps_pool_grow(g->pool, list->entries, list->count, &g->cap, sizeof *list->entries);
	list->entries[list->count++] = (struct imap_list_entry){
		.name = ps_pool_strndup(g->pool, name, len),
		.attributes = attributes,
		.below = below,
	};
}

/* The name and all above it; what comes double is merged afterwards. */
static int on_mailbox(void *arg, const struct ps_mailbox_info *info)
{
	struct gather *g = arg;

	if (!(info->attributes & g->wanted))
		return 0;
	add(g, info->name, strlen(info->name), info->attributes, 0);
	for (const char *p = strchr(info->name, '/'); p; p = strchr(p + 1, '/'))
		add(g, info->name, (size_t)(p - info->name), 0, info->attributes & g->wanted);
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
		if (kept > 0 && strcmp(list->entries[kept - 1].name, list->entries[i].name) == 0) {
			list->entries[kept - 1].attributes |= list->entries[i].attributes;
			list->entries[kept - 1].below |= list->entries[i].below;
		} else {
			list->entries[kept++] = list->entries[i];
		}
	}
	list->count = kept;
}

/* Under a prefix like "INBOX." all others show below INBOX. */
static bool inbox_is_above(const struct imap_names *names)
{
	return strncasecmp(names->prefix, "INBOX", 5) == 0 && names->prefix[5] == names->separator && !names->prefix[6];
}

static void put_inbox_above(struct imap_list *list)
{
	struct imap_list_entry *inbox = NULL;
	uint32_t others = 0;

	for (size_t i = 0; i < list->count; i++) {
		if (strcmp(list->entries[i].name, "INBOX") == 0)
			inbox = &list->entries[i];
		else
			others |= list->entries[i].attributes;
	}
	if (inbox)
		inbox->below |= others & (PS_MBOX_EXISTS | PS_MBOX_SUBSCRIBED);
}

int imap_list_read(struct imap_cmd *cmd, const char *top, uint32_t wanted, struct imap_list *ret_list)
{
	struct gather g = {.pool = cmd->pool, .wanted = wanted};
	bool inbox_above = inbox_is_above(&cmd->imap->names);
	int r;

	if (top && strcmp(top, "INBOX") == 0 && inbox_above)
		top = NULL;
	if ((r = ps_user_list_below(cmd->imap->user, top, on_mailbox, &g)) < 0)
		return r;
	if (g.list.count > 0)
		qsort(g.list.entries, g.list.count, sizeof *g.list.entries, by_tree);
	merge_doubles(&g.list);
	if (inbox_above)
		put_inbox_above(&g.list);
	*ret_list = g.list;
	return 0;
}

bool imap_list_matches(struct imap_cmd *cmd, const char *pattern, const char *name)
{
	return ps_mailbox_name_match(pattern, imap_name_to_match(&cmd->imap->names, name, cmd->pool));
}

void imap_put_list(struct imap_cmd *cmd, const char *response, const struct imap_list_entry *entry,
		   const char *attributes)
{
	struct ps_buf *out = imap_output(cmd->imap);

	ps_buf_str(out, "* ");
	ps_buf_str(out, response);
	ps_buf_str(out, " (");
	ps_buf_str(out, attributes);
	imap_put_special_uses(out, entry->attributes);
	ps_buf_str(out, ") \"");
	ps_buf_char(out, cmd->imap->names.separator);
	ps_buf_str(out, "\" ");
	imap_put_mailbox(cmd->imap, out, entry->name);
}

const char *imap_list_attributes(struct imap_cmd *cmd, const struct imap_list_entry *entry, const char *missing,
				 bool subscribed)
{
	return ps_pool_printf(cmd->pool, "%s%s%s", entry->attributes & PS_MBOX_EXISTS ? "" : missing,
			      subscribed && (entry->attributes & PS_MBOX_SUBSCRIBED) ? "\\Subscribed " : "",
			      entry->below & PS_MBOX_EXISTS ? "\\HasChildren" : "\\HasNoChildren");
}

int imap_put_list_of(struct imap_cmd *cmd, const char *name)
{
	struct imap_list_entry alone = {.name = name}, *entry = &alone;
	struct imap_list list;
	int r = imap_list_read(cmd, name, PS_MBOX_EXISTS, &list);

	if (r < 0)
		return r;
	for (size_t i = 0; i < list.count; i++)
		if (strcmp(list.entries[i].name, name) == 0)
			entry = &list.entries[i];
	imap_put_list(cmd, "LIST", entry, imap_list_attributes(cmd, entry, "\\NonExistent ", true));
	if (cmd->denormalised)
		imap_put_old_name(cmd);
	ps_buf_str(imap_output(cmd->imap), "\r\n");
	return 0;
}
