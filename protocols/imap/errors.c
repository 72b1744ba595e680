/* SPDX-License-Identifier: MIT */
/* What a client is told of a failure: the one place where a ps_err becomes a response code (RFC 5530). */
#include <stdio.h>
#include <sys/random.h>
#include "postern/error.h"
#include "postern/log.h"
#include "protocols/imap/imap.h"

static const struct row {
	int err;
	const char *code;
	const char *text; /* NULL: an internal error, told by a reference to the log */
} rows[] = {
	{PS_E_NOTFOUND, "NONEXISTENT", "There is no such mailbox"},
	{PS_E_EXISTS, "ALREADYEXISTS", "There is a mailbox of that name already"},
	{PS_E_GONE, "EXPUNGEISSUED", "Some of it was removed by another session"},
	{PS_E_INVALID, "CANNOT", "That is not possible"},
	{PS_E_LIMIT, "LIMIT", "That is beyond a limit of this server"},
	{PS_E_FULL, "UNAVAILABLE", "There is no room left; deleting still works"},
	{PS_E_QUOTA, "OVERQUOTA", "The quota is used up; deleting still works"},
	{PS_E_BUSY, "INUSE", "The mailbox is in use; try again"},
	{PS_E_ACCESS, "NOPERM", "Permission denied"},
	{PS_E_UNSUPPORTED, "CANNOT", "The storage of this mailbox cannot do that"},
	{PS_E_CORRUPT, "CORRUPTION", NULL},
	{PS_E_STORAGE, "UNAVAILABLE", NULL},
	{PS_E_MOVED, "UNAVAILABLE", "The mail store is being moved; try again"},
	{PS_E_CONFLICT, "UNAVAILABLE", "The mailbox changed meanwhile; try again"},
	{PS_E_SCARCE, "UNAVAILABLE", "The server has too much to do; try again"},
	{PS_E_AGAIN, "INUSE", "The mailbox is in use; try again"},
};

static const struct row other = {PS_E_INTERNAL, "SERVERBUG", NULL};

static const struct row *find(int err)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(rows); i++)
		if (rows[i].err == err)
			return &rows[i];
	return &other;
}

static const char *with_reference(struct imap_cmd *cmd, int err)
{
	uint32_t number = 0;
	char reference[9];

	(void)!getrandom(&number, sizeof number, GRND_NONBLOCK);
	snprintf(reference, sizeof reference, "%08X", number);
	ps_log(PS_LOG_ERROR, "internal_error", "sid", ps_session_sid(cmd->imap->session), "reference", reference,
	       "command", cmd->command->name, "code", ps_err_name(err), "msg", ps_last_error(), NULL);
	return ps_pool_printf(cmd->pool, "Internal error, reference %s", reference);
}

enum imap_next imap_no_err(struct imap_cmd *cmd, int err)
{
	const struct row *row = find(err);
	const char *text = row->text;

	if (!text)
		text = with_reference(cmd, err);
	else if (ps_no_room(err))
		ps_logf(PS_LOG_WARNING, "storage_full", ps_session_sid(cmd->imap->session), "%s", ps_last_error());
	return imap_no(cmd, row->code, text);
}

enum imap_next imap_no_target(struct imap_cmd *cmd, int err)
{
	if (err == PS_E_NOTFOUND)
		return imap_no(cmd, "TRYCREATE", "There is no such mailbox");
	return imap_no_err(cmd, err);
}

enum imap_next imap_refuse(struct imap_cmd *cmd, int err, const char *usage)
{
	return err == PS_E_SYNTAX ? imap_bad(cmd, usage) : imap_no_err(cmd, err);
}
