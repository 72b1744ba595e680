/* SPDX-License-Identifier: MIT */
/* All commands; each is in the file of its name. */
#include "protocols/imap/commands.h"

static const struct imap_command *const commands[] = {
	&imap_cmd_append,   &imap_cmd_authenticate, &imap_cmd_capability,   &imap_cmd_check,
	&imap_cmd_close,    &imap_cmd_compress,     &imap_cmd_copy,         &imap_cmd_create,
	&imap_cmd_delete,   &imap_cmd_enable,       &imap_cmd_examine,      &imap_cmd_expunge,
	&imap_cmd_fetch,    &imap_cmd_getquota,     &imap_cmd_getquotaroot, &imap_cmd_id,
	&imap_cmd_idle,     &imap_cmd_list,         &imap_cmd_login,        &imap_cmd_logout,
	&imap_cmd_lsub,     &imap_cmd_move,         &imap_cmd_namespace,    &imap_cmd_noop,
	&imap_cmd_rename,   &imap_cmd_replace,      &imap_cmd_search,       &imap_cmd_select,
	&imap_cmd_setquota, &imap_cmd_sort,         &imap_cmd_starttls,     &imap_cmd_status,
	&imap_cmd_store,    &imap_cmd_subscribe,    &imap_cmd_thread,       &imap_cmd_unauthenticate,
	&imap_cmd_unselect, &imap_cmd_unsubscribe,
};

const struct imap_command *imap_command_find(struct ps_bytes name)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(commands); i++)
		if (ps_bytes_caseeq_str(name, commands[i]->name))
			return commands[i];
	return NULL;
}
