/* SPDX-License-Identifier: MIT */
/*
 * core/process/control.h - asking the running server, for the command line.
 *
 * RUN_DIR/control is a stream socket for root and the user the server runs as. A request is a line of JSON, and so is
 * the answer:
 *   {"do": "ping"}           {"ok": true, "pid": 4711}
 *   {"do": "who"}            {"ok": true, "sessions": [{"sid", "user", "protocol", "remote", "tls", "age", "idle", "pid"}]}
 *   {"do": "kick", "user": "joe@example.org"}   ends sessions; also by "address" (or network), "protocol", "session" (its sid), or several of
 *                                               these together    {"ok": true, "ended": 3}
 *   {"do": "reload"}         as SIGHUP; an error names what is wrong with the configuration
 *   {"do": "stop"}           as SIGTERM
 *   {"do": "users-changed"}  auth reads the passwd-file again at once
 *   {"do": "user-forget", "user": "joe@example.org"}  what was remembered of what databases said of a user (without: of all) is forgotten
 *   {"do": "user", "name": "joe@example.org"}  what the server knows of a user (auth/entry_json.h), wherever it knows it from; null: nothing
 *   {"do": "trace", "what": "joe@example.org", "most": 20}   what became of messages (core/delivery/trace/trace.h)
 *   {"do": "queue", "what": "list"}   mail that waits (core/delivery/queue/queue.h)
 * A failure is {"ok": false, "error": "text"}. Ages are in seconds.
 */
#ifndef CORE_PROCESS_CONTROL_H
#define CORE_PROCESS_CONTROL_H

#include "postern/buf.h"

/* Asks `what` ("who") and appends the line of the answer. PS_E_NOTFOUND: no server runs there. PS_E_ACCESS: not for this
 * user. An answer with "ok": false is a success of this function. */
int ps_control_ask(const char *run_dir, const char *what, struct ps_buf *ret_answer);
/* The same with a whole request, one line of JSON without its line end. */
int ps_control_ask_line(const char *run_dir, const char *line, struct ps_buf *ret_answer);

#endif
