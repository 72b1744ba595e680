/* SPDX-License-Identifier: MIT */
/* posternd, the daemon: master, or, when it executes itself as such, a role. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "config.h"
#include "core/process/master_run.h"
#include "core/process/plugins.h"
#include "core/process/role.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/pool.h"

static const struct ps_role_ops *const roles[] = {&ps_role_front, &ps_role_auth, &ps_role_mail, &ps_role_relay,
						  &ps_role_userdb};

enum {
	OPT_ROLE = 256,
	OPT_DRIVER,
	OPT_HELP,
	OPT_VERSION
};

static const struct option options[] = {
	{"config", required_argument, NULL, 'c'},
	{"foreground", no_argument, NULL, 'f'},
	{"driver", required_argument, NULL, OPT_DRIVER}, /* master's own use */
	{"role", required_argument, NULL, OPT_ROLE},     /* the same; the last */
	{"help", no_argument, NULL, OPT_HELP},
	{"version", no_argument, NULL, OPT_VERSION},
	{NULL, 0, NULL, 0},
};

static const char usage[] = "Usage: posternd [--config FILE] [--foreground]\n"
			    "The Postern mail server.\n\n"
			    "  -c, --config FILE  configuration (" PS_SYSCONFDIR "/postern/postern.conf)\n"
			    "  -f, --foreground   do not go to the background\n"
			    "      --help         this text\n"
			    "      --version      the version\n\n"
			    "The log goes to standard error. SIGHUP reads the configuration again, SIGTERM stops.\n";

static void load_plugins(void)
{
	ps_plugins_load_all(NULL, PS_PLUGIN_BACKEND);
	ps_plugins_load_all(NULL, PS_PLUGIN_PROTOCOL);
	ps_plugins_load_all(NULL, PS_PLUGIN_EXTENSION);
}

/* The libraries of a database are nobody's but its own process's; master knows all drivers, for their settings. */
static int run_role(const char *name, const char *driver)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(roles); i++) {
		if (strcmp(ps_role_name(roles[i]->role), name) != 0)
			continue;
		ps_log_setup(ps_role_name(roles[i]->role), PS_LOG_INFO);
		load_plugins();
		if (driver && ps_plugins_load_named(NULL, PS_PLUGIN_USERDB, driver) < 0)
			ps_log(PS_LOG_ERROR, "plugin_missing", "msg", ps_last_error(), NULL);
		ps_role_run(roles[i]);
	}
	fprintf(stderr, "posternd: no role \"%s\"\n", name);
	return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
	const char *config = PS_SYSCONFDIR "/postern/postern.conf";
	const char *driver = NULL;
	bool foreground = false;
	int c;

	while ((c = getopt_long(argc, argv, "c:f", options, NULL)) != -1) {
		switch (c) {
		case 'c': config = optarg; break;
		case 'f': foreground = true; break;
		case OPT_DRIVER: driver = optarg; break;
		case OPT_ROLE: return run_role(optarg, driver);
		case OPT_HELP: fputs(usage, stdout); return EXIT_SUCCESS;
		case OPT_VERSION: puts("posternd " PACKAGE_VERSION); return EXIT_SUCCESS;
		default: fputs("Try: posternd --help\n", stderr); return 2;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "posternd: what is \"%s\"? Try: posternd --help\n", argv[optind]);
		return 2;
	}
	ps_log_setup("master", PS_LOG_INFO);
	load_plugins();
	ps_plugins_load_all(NULL, PS_PLUGIN_USERDB);
	return ps_master_run(config, foreground);
}
