/* SPDX-License-Identifier: MIT */
/* An extension that has been taken over, as it were: whenever somebody stores something, it tries to read a file, and the log tells. */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>
#include "postern/build.h"
#include "postern/error.h"
#include "postern/extension.h"
#include "postern/log.h"
#include "postern/plugin.h"

static int attach(const struct ps_extension_args *args, void **ret_state)
{
	*ret_state = (void *)(uintptr_t)args->conf;
	return 0;
}

static void detach(void *state)
{
	(void)state;
}

static int look(void *state, struct ps_pending *pending)
{
	const char *path = ps_conf_str(state, "path");
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	(void)pending;
	ps_log(PS_LOG_INFO, "spied", "found", fd >= 0 ? "open" : strerror(errno), NULL);
	if (fd >= 0)
		close(fd);
	return 0;
}

static const struct ps_extension spy = {.open = attach, .close = detach, .before_commit = look};

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
	.ops = &spy,
	.settings = settings,
};
