/* SPDX-License-Identifier: MIT */
/*
 * core/process/role.h - what the roles have in common: their start, their channels, their end.
 */
#ifndef CORE_PROCESS_ROLE_H
#define CORE_PROCESS_ROLE_H

#include "core/config/config.h"
#include "core/event/loop.h"
#include "core/process/channel.h"
#include "postern/log.h"

#define PS_MASTER_FD 3 /* where a role finds its channel to master */

struct ps_role;

/* A role is a row of functions and two tables of handlers. All run on the loop. Handlers get the role as `arg`. */
struct ps_role_ops {
	uint32_t role;
	const struct ps_handler *from_master; /* beside those that role.c handles */
	const struct ps_handler *from_peers;
	/* Loads what cannot be reached later. May be NULL. */
	int (*load)(const struct ps_conf *conf);
	/* Confined, with a loop, before any peer is there. */
	int (*start)(struct ps_role *role);
	/* START has come; calls ps_role_ready() when it serves. */
	int (*serve)(struct ps_role *role);
	/* There is another configuration in role->conf. */
	void (*reconfigure)(struct ps_role *role);
	/* A channel came (after START: at once usable), or went. May be NULL. */
	void (*peer_came)(struct ps_role *role, struct ps_channel *channel);
	void (*peer_went)(struct ps_role *role, uint32_t peer, unsigned index);
	/* Takes a PEER for itself that is not for the loop (the signer's); true if it did. May be NULL. */
	bool (*take_peer)(struct ps_role *role, struct ps_msg_peer *peer);
	/* Ends its sessions, then calls ps_role_end(). */
	void (*stop)(struct ps_role *role);
};

#define PS_PEERS_MAX 4096 /* more than there are processes */

struct ps_role {
	const struct ps_role_ops *ops;
	struct ps_loop *loop;
	enum ps_phase phase;
	struct ps_msg_config about; /* path and text are not kept */
	struct ps_config *config;
	struct ps_buf text;         /* that it was read from */
	const struct ps_conf *conf; /* the root */
	struct ps_channel *master;
	struct ps_timer *trimming;
	struct ps_channel *peers[PS_PEERS_MAX]; /* NULL: free */
	size_t peer_count;                      /* those behind it are free */
	void *state;
};

/* One per file role_NAME.c. */
extern const struct ps_role_ops ps_role_front, ps_role_auth, ps_role_mail, ps_role_relay, ps_role_userdb;

/* Runs the role; does not return. Plugins are loaded already. */
_Noreturn void ps_role_run(const struct ps_role_ops *ops);
void ps_role_ready(struct ps_role *role);
_Noreturn void ps_role_end(struct ps_role *role, int status);
/* What the setting log_level says. */
enum ps_log_level ps_log_level_of(const struct ps_conf *conf);
/* NULL: it is not there just now. */
struct ps_channel *ps_role_peer(struct ps_role *role, uint32_t peer, unsigned index);
/* It is to be heard no more, until another comes in its place. */
void ps_role_drop_peer(struct ps_role *role, uint32_t peer, unsigned index);

#endif
