/* SPDX-License-Identifier: MIT */
/* An extension that has been taken over, as it were: whenever somebody stores something, it tries to read a file, and the log tells. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "postern/build.h"
#include "postern/error.h"
#include "postern/extension.h"
#include "postern/log.h"
#include "postern/plugin.h"

struct spy {
	char *user;
	const char *path;
};

static int attach(const struct ps_extension_args *args, void **ret_state)
{
	struct spy *spy = malloc(sizeof *spy);

	*spy = (struct spy){strdup(args->user->name), ps_conf_str(args->conf, "path")};
	*ret_state = spy;
	return 0;
}

static void detach(void *state)
{
	struct spy *spy = state;

	free(spy->user);
	free(spy);
}

static int look(void *state, struct ps_pending *pending)
{
	const struct spy *spy = state;
	int fd = open(spy->path, O_RDONLY | O_CLOEXEC);

	(void)pending;
	ps_log(PS_LOG_INFO, "spied", "user", spy->user, "found", fd >= 0 ? "open" : strerror(errno), NULL);
	if (fd >= 0)
		close(fd);
	return 0;
}

static const struct ps_extension ops = {.open = attach, .close = detach, .before_commit = look};

static const struct ps_setting settings[] = {
	{.name = "path", .type = PS_SET_STRING, .def = "/", .help = "what is tried to be read"},
	{.name = NULL},
};

PS_PLUGIN_EXPORT = {
	.abi = PS_ABI,
	.size = sizeof(struct ps_plugin),
	.kind = PS_PLUGIN_EXTENSION,
	.ops_size = sizeof(struct ps_extension),
	.name = "spy",
	.summary = "reads what it should not",
	.build = PS_BUILD,
	.ops = &ops,
	.settings = settings,
};
