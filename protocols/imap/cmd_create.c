/* SPDX-License-Identifier: MIT */
#include "postern/error.h"
#include "protocols/imap/commands.h"
#include "protocols/imap/list.h"
#include "protocols/imap/object_id.h"
#include "protocols/imap/special_use.h"

/* "(USE (\Drafts))", RFC 6154 section 3 */
static int parse_parameters(struct imap_args *args, uint32_t *special_use)
{
	int r;

	if (imap_args_done(args))
		return 0;
	if (imap_args_space(args) < 0 || !imap_args_take(args, '('))
		return ps_fail(PS_E_SYNTAX, "CREATE: a list of parameters it should be");
	if (!imap_args_take_word(args, "USE") || imap_args_space(args) < 0)
		return ps_fail(PS_E_SYNTAX, "CREATE: no such parameter");
	r = imap_special_uses_parse(args, special_use);
	/* What is not of the grammar comes before what is not possible. */
	if (r != PS_E_SYNTAX && (!imap_args_take(args, ')') || !imap_args_done(args)))
		r = ps_fail(PS_E_SYNTAX, "CREATE: one parameter it should be");
	return r;
}

/* The mailbox is made, whether or not its name and id can be told. */
static enum imap_next answer(struct imap_cmd *cmd, const char *name)
{
	struct ps_mailbox_info info;
	struct ps_buf id = {0};
	const char *code;

	if (cmd->denormalised)
		imap_put_list_of(cmd, name);
	if (ps_user_status(cmd->imap->user, name, &info) < 0)
		return imap_ok(cmd, "CREATE completed");
	imap_put_object_id(&id, IMAP_MAILBOX_ID, &info.id);
	code = ps_pool_printf(cmd->pool, "MAILBOXID (%s)", ps_buf_cstr(&id));
	ps_buf_finish(&id);
	return imap_ok_code(cmd, code, "CREATE completed");
}

/* CREATE (RFC 3501, 6.3.3; RFC 6154):  "CREATE" SP mailbox [SP "(USE (" [use *(SP use)] "))"] */
static enum imap_next cmd_create(struct imap_cmd *cmd)
{
	uint32_t special_use = 0;
	const char *name;
	int r;

	if ((r = imap_args_space(&cmd->args)) == 0 && (r = imap_mailbox_arg(cmd, &name)) == 0)
		r = parse_parameters(&cmd->args, &special_use);
	if (r == PS_E_UNSUPPORTED)
		return imap_no(cmd, "USEATTR", "A mailbox cannot get that special use");
	if (r < 0)
		return imap_refuse(cmd, r, "CREATE takes a mailbox name, perhaps with a special use");
	r = ps_user_create(cmd->imap->user, name, special_use);
	return r < 0 ? imap_no_err(cmd, r) : answer(cmd, name);
}

const struct imap_command imap_cmd_create = {
	.name = "CREATE",
	.states = IMAP_LOGGED_IN,
	.run = cmd_create,
};
