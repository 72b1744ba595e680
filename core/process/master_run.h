/* SPDX-License-Identifier: MIT */
/*
 * core/process/master_run.h - the master process as the program starts it.
 */
#ifndef CORE_PROCESS_MASTER_RUN_H
#define CORE_PROCESS_MASTER_RUN_H

#include <stdbool.h>

/* Runs the server until it is stopped; what hinders it from starting is logged (event=start_failed). Plugins are
 * loaded already. Returns the exit status. */
int ps_master_run(const char *config_path, bool foreground);

#endif
