/* SPDX-License-Identifier: MIT */
/*
 * core/process/master.h - shared by the files of the master process, included by nobody else.
 *
 * Master is root where the server was started as root, and reads nothing that a stranger has written: not the network, not
 * mail. It binds ports, opens secrets, starts and watches roles, and introduces them to each other.
 */
#ifndef CORE_PROCESS_MASTER_H
#define CORE_PROCESS_MASTER_H

#include <sys/stat.h>
#include <sys/types.h>
#include "core/config/config.h"
#include "core/event/loop.h"
#include "core/net/tls.h"
#include "core/process/channel.h"
#include "core/process/ticket.h"

enum child_state {
	CHILD_DOWN,
	CHILD_STARTING,
	CHILD_SERVING
};

struct child {
	struct master *master;
	uint32_t role;
	unsigned index;
	/* Of a user database; NULL: it is none, or the configuration has fewer now. */
	char *driver, *section;
	bool is_former; /* and it runs by what the configuration said before */
	enum child_state state;
	pid_t pid; /* 0: none */
	struct ps_channel *channel;
	enum ps_phase phase; /* of master, as this child's channel sees it */
	uint64_t started_ms;
	unsigned quick_deaths; /* in a row */
	uint64_t rest_ms;      /* after the last, before it is started again */
	uint64_t since_ms;     /* tickets from before may have been taken by one that died; 0: none was */
	int counts;            /* a front's table of connections (core/net/counts.h); -1: none */
	/* A mail process for one user at a time (users.c): */
	bool of_user;
	bool ending;       /* it was asked to */
	char *user, *root; /* NULL: nobody's now */
	uid_t uid;
	gid_t gid;
	uint64_t placed_ms;       /* when a ticket was last shown for it */
	uint64_t idle_ms;         /* when it last said that it has nothing to do */
	struct ps_timer *restart; /* or, while it is ending, how long it may take */
};

struct listener {
	char *name;
	char *place; /* "127.0.0.1 993", or the path of a local socket */
	int fd;
	bool wanted; /* while the configuration is compared */
};

struct secret {
	enum ps_secret_kind kind;
	uint32_t slot; /* of the certificate it belongs to (certificate.h); else 0 */
	char *path;
	struct stat seen;
};

struct master {
	struct ps_loop *loop;
	const char *config_path;
	struct ps_config *config;
	const struct ps_conf *conf; /* the root */
	struct ps_buf text;         /* the configuration as it was read: what the roles are sent */
	bool privileged;            /* started as root */
	bool ready, stopping, failed;
	uid_t mail_uid;
	gid_t mail_gid;
	struct ps_ticket_key ticket_key, pass_key;
	uint64_t counts_seed;
	struct child *children;
	size_t child_count;
	struct listener *listeners;
	size_t listener_count;
	struct secret *secrets; /* that are configured */
	size_t secret_count;
	uint8_t resumption_key[TLS_TICKET_KEY_SIZE];
	struct ps_timer *poll, *kill, *rekey;
	struct control *control;
	struct users *users; /* NULL: they share mail processes */
	struct {
		uint64_t round;
		unsigned missing; /* processes that have not told all */
	} roll;
	int pid_file, ready_pipe; /* -1: none */
	char *run_dir;
};

/* ---- master.c */
/* A bad configuration is logged and the old one stays: negative. */
int master_reload(struct master *master);
void master_stop(struct master *master);
void master_child_ready(struct master *master);
/* All children have ended after master_stop(). */
void master_children_gone(struct master *master);

/* ---- children.c */
int children_create(struct master *master);
int children_start(struct master *master);
/* Sends to all that run of the roles in the mask. Not for messages with descriptors. */
void children_send(struct master *master, uint32_t roles, uint32_t type, const void *message);
/* Asks all who have sessions; how many these are. */
unsigned children_ask_sessions(struct master *master, uint32_t type, const void *message);
void children_send_config(struct master *master);
void children_send_listener(struct master *master, const struct listener *listener, bool gone);
void children_send_secret(struct master *master, struct secret *secret);
void children_send_resumption_key(struct master *master);
void children_send_listeners(struct master *master, struct child *child);
bool children_all_serving(const struct master *master);
size_t children_running(const struct master *master);
void children_stop(struct master *master);
void children_kill(struct master *master);
/* After a reload: makes the processes of user databases what the configuration says. */
void children_configure_databases(struct master *master);
void children_destroy(struct master *master);

void child_send(struct child *child, uint32_t type, const void *message);
int child_start(struct child *child);
void child_end(struct child *child);

/* ---- users.c */
void users_create(struct master *master);
void users_destroy(struct master *master);
void users_revoke(struct master *master, const struct ps_msg_revoked *message);
/* Which is the process of the ticket's user? It is started if need be; the answer may come later. */
void users_place(struct child *asker, const struct ps_msg_place *question);
void users_idle(struct child *child, uint64_t for_ms);
/* A process of a user has ended: as asked, or of its own accord. */
void users_ended(struct child *child, bool asked);

/* ---- listeners.c */
/* Makes the listeners what the configuration says; tells the fronts. Those that cannot be bound are logged, and PS_E_ACCESS
 * or so is returned, the others stand. */
int listeners_apply(struct master *master);
void listeners_destroy(struct master *master);

/* ---- secrets.c */
void secrets_configure(struct master *master);
void secrets_destroy(struct master *master);
/* The role that reads it. */
uint32_t secret_reader(enum ps_secret_kind kind);
/* A new descriptor, or negative. */
int secret_open(struct secret *secret);
/* Sends their reader all of a kind. */
void secrets_send(struct master *master, enum ps_secret_kind kind);
/* Sends its reader what has changed since it was last sent. */
void secrets_poll(struct master *master);

/* ---- surroundings.c */
int surroundings_prepare(struct master *master); /* run_dir, its empty folder, mail_root */
int pid_file_take(struct master *master);
void pid_file_drop(struct master *master);
/* sd_notify(3), in a few lines: where systemd does not wait for us it does nothing. */
void notify(const char *state);

/* ---- roll.c */
void roll_call(struct master *master, uint64_t round);
/* False: it is of another request. */
bool roll_row(struct master *master, const struct ps_msg_who_row *row);
bool roll_end(struct master *master, const struct ps_msg_who_end *end);

/* ---- control.c */
int control_open(struct master *master);
void control_close(struct master *master);
void control_who_row(struct master *master, const struct child *child, const struct ps_msg_who_row *row);
void control_who_end(struct master *master, const struct ps_msg_who_end *end);
void control_kicked(struct master *master, const struct ps_msg_kicked *kicked);
void control_ask_answer(struct master *master, const struct ps_msg_ask_answer *answer);

#endif
