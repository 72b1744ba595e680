/* SPDX-License-Identifier: MIT */
/*
 * cli/ends.h - places that hold mail, as the command line names them: a user, or BACKEND:PATH.
 */
#ifndef CLI_ENDS_H
#define CLI_ENDS_H

#include "cli/cli.h"
#include "postern/sync.h"

struct cli_end {
	struct ps_sync_end end;
	struct ps_store_args args; /* root: where it lies */
	bool is_user;
	bool exists; /* where it is not there, something is wrong */
	const char *backend;
};
/* Finds out what the text means; opens nothing. Negative: told already. */
int cli_end_find(struct cli *cli, const char *text, struct cli_end *ret_end);
/* `create`: make it if it is not there. */
int cli_end_open(struct cli_end *end, bool create);
/* PS_E_UNSUPPORTED: a store was opened there and left nothing on disk: it lives in this process, and would end with it. */
int cli_check_keeps(const char *backend, const char *root);
void cli_end_close(struct cli_end *end);

/*
 * What is mounted below a mailbox name of an end (`mount` in the configuration) is a store, and so an end, of its own. A user's lie
 * where the configuration says; those of BACKEND:PATH are copies of such, in PATH/postern-control/mounts.
 */
struct cli_mount {
	const char *name;
	struct cli_end end;
};
/* Those that there are. Negative: told. */
int cli_end_mounts(struct cli *cli, const struct cli_end *end, struct cli_mount **ret_mounts, size_t *ret_count);
/* The one with this name; at a path there is none that cannot be made. PS_E_NOTFOUND; negative: told. */
int cli_end_mount(struct cli *cli, const struct cli_end *end, const char *name, struct cli_end *ret_mount);

#endif
