/* SPDX-License-Identifier: MIT */
/* Master's listening sockets, and what a reload changes of them. */
#include <arpa/inet.h>
#include <errno.h>
#include <grp.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include "core/process/master.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/pool.h"

#define BACKLOG 1024

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static socklen_t address_of(const struct ps_conf *conf, union address *ret_address)
{
	const char *text = ps_conf_str(conf, "address");
	in_port_t port = htons((uint16_t)ps_conf_int(conf, "port"));

	memset(ret_address, 0, sizeof *ret_address);
	if (inet_pton(AF_INET, text, &ret_address->v4.sin_addr) == 1) {
		ret_address->v4.sin_family = AF_INET;
		ret_address->v4.sin_port = port;
		return sizeof ret_address->v4;
	}
	if (inet_pton(AF_INET6, text, &ret_address->v6.sin6_addr) == 1) {
		ret_address->v6.sin6_family = AF_INET6;
		ret_address->v6.sin6_port = port;
		return sizeof ret_address->v6;
	}
	return 0;
}

static int bind_address(const struct ps_conf *conf, int *ret_fd)
{
	PS_CLEANUP(ps_closep) int fd = -1;
	union address address;
	socklen_t len = address_of(conf, &address);
	const char *name = ps_conf_title(conf), *text = ps_conf_str(conf, "address");
	long long port = ps_conf_int(conf, "port");
	int yes = 1;

	if (!len)
		return ps_fail(PS_E_INVALID, "listener \"%s\": \"%s\" is no address", name, text);
	fd = socket(address.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return ps_fail_errno("listener \"%s\": socket", name);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
	if (bind(fd, &address.any, len) < 0 || listen(fd, BACKLOG) < 0)
		return ps_fail_errno("listener \"%s\": %s port %lld", name, text, port);
	*ret_fd = fd;
	fd = -1;
	return 0;
}

/* A socket that nobody listens on was left by a server that did not end by itself. Anything else stays, and bind() fails. */
static void remove_stale(const struct sockaddr_un *address)
{
	PS_CLEANUP(ps_closep) int fd = -1;
	struct stat st;

	if (lstat(address->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof *address) < 0 && errno == ECONNREFUSED)
		unlink(address->sun_path);
}

/* Nobody may connect before it is known who may. */
static int open_to_group(const struct ps_conf *conf, const char *path)
{
	const char *group = ps_conf_str(conf, "group");
	const struct group *entry = group ? getgrnam(group) : NULL;

	if (!group)
		return 0;
	if (!entry)
		return ps_fail(PS_E_NOTFOUND, "listener \"%s\": there is no system group \"%s\"", ps_conf_title(conf),
			       group);
	if (chown(path, (uid_t)-1, entry->gr_gid) < 0 || chmod(path, 0660) < 0)
		return ps_fail_errno("listener \"%s\": give %s to the group %s", ps_conf_title(conf), path, group);
	return 0;
}

static int bind_private(int fd, const struct sockaddr_un *address)
{
	mode_t before = umask(0177);
	int r = bind(fd, (const struct sockaddr *)address, sizeof *address);

	umask(before);
	return r;
}

static int set_path(const struct ps_conf *conf, const char *suffix, struct sockaddr_un *ret_address)
{
	int n;

	*ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
	n = snprintf(ret_address->sun_path, sizeof ret_address->sun_path, "%s%s", ps_conf_str(conf, "path"), suffix);
	if (n < 0 || (size_t)n >= sizeof ret_address->sun_path)
		return ps_fail(PS_E_LIMIT, "listener \"%s\": the path is too long", ps_conf_title(conf));
	return 0;
}

/* Under a name that nobody looks for, until it accepts: who sees the socket can connect to it. */
static int publish(const struct ps_conf *conf, int fd, const char *made, const char *path)
{
	int r = open_to_group(conf, made);

	if (r == 0 && (listen(fd, BACKLOG) < 0 || link(made, path) < 0))
		r = ps_fail_errno("listener \"%s\": %s", ps_conf_title(conf), path);
	unlink(made);
	return r;
}

static int bind_path(const struct ps_conf *conf, int *ret_fd)
{
	PS_CLEANUP(ps_closep) int fd = -1;
	struct sockaddr_un address, made;
	int r;

	if ((r = set_path(conf, "", &address)) < 0 || (r = set_path(conf, ".new", &made)) < 0)
		return r;
	remove_stale(&address);
	remove_stale(&made);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || bind_private(fd, &made) < 0)
		return ps_fail_errno("listener \"%s\": %s", ps_conf_title(conf), made.sun_path);
	if ((r = publish(conf, fd, made.sun_path, address.sun_path)) < 0)
		return r;
	*ret_fd = fd;
	fd = -1;
	return 0;
}

static char *place_of(const struct ps_conf *conf)
{
	const char *path = ps_conf_str(conf, "path");
	struct ps_buf place = {0};
	char *copy;

	if (path)
		return ps_strdup(path);
	ps_buf_printf(&place, "%s %lld", ps_conf_str(conf, "address"), (long long)ps_conf_int(conf, "port"));
	copy = ps_strdup(ps_buf_cstr(&place));
	ps_buf_finish(&place);
	return copy;
}

static struct listener *find(struct master *master, const char *name, const char *place)
{
	for (size_t i = 0; i < master->listener_count; i++)
		if (strcmp(master->listeners[i].name, name) == 0 && strcmp(master->listeners[i].place, place) == 0)
			return &master->listeners[i];
	return NULL;
}

static void finish(struct listener *listener)
{
	ps_closep(&listener->fd);
	if (listener->place[0] == '/')
		unlink(listener->place);
	free(listener->name);
	free(listener->place);
}

/* Before others are bound: a listener may take over another's place under a new name. */
static void drop_unwanted(struct master *master)
{
	size_t kept = 0;

	for (size_t i = 0; i < master->listener_count; i++) {
		struct listener *listener = &master->listeners[i];

		/* The fronts are told even of those that stay, as their settings may be others. */
		children_send_listener(master, listener, true);
		if (listener->wanted) {
			children_send_listener(master, listener, false);
			master->listeners[kept++] = *listener;
			continue;
		}
		ps_log(PS_LOG_INFO, "listener_closed", "name", listener->name, "place", listener->place, NULL);
		finish(listener);
	}
	master->listener_count = kept;
}

static int add(struct master *master, const struct ps_conf *conf)
{
	PS_CLEANUP(ps_freep) char *place = place_of(conf);
	struct listener listener = {.wanted = true};
	int r;

	if (find(master, ps_conf_title(conf), place))
		return 0;
	r = ps_conf_str(conf, "path") ? bind_path(conf, &listener.fd) : bind_address(conf, &listener.fd);
	if (r < 0) {
		ps_log(PS_LOG_ERROR, "listener_failed", "msg", ps_last_error(), NULL);
		return r;
	}
	listener.name = ps_strdup(ps_conf_title(conf));
	listener.place = ps_strdup(place);
	master->listeners = ps_realloc(master->listeners, (master->listener_count + 1) * sizeof listener);
	master->listeners[master->listener_count++] = listener;
	children_send_listener(master, &listener, false);
	ps_log(PS_LOG_INFO, "listener", "name", listener.name, "protocol", ps_conf_str(conf, "protocol"), "place",
	       place, "tls", ps_conf_str(conf, "tls"), NULL);
	return 0;
}

int listeners_apply(struct master *master)
{
	size_t n = ps_conf_section_count(master->conf, "listener");
	int r = 0;

	for (size_t i = 0; i < master->listener_count; i++)
		master->listeners[i].wanted = false;
	for (size_t i = 0; i < n; i++) {
		const struct ps_conf *conf = ps_conf_section(master->conf, "listener", i);
		PS_CLEANUP(ps_freep) char *place = place_of(conf);
		struct listener *listener = find(master, ps_conf_title(conf), place);

		if (listener)
			listener->wanted = true;
	}
	drop_unwanted(master);
	for (size_t i = 0; i < n; i++) {
		int added = add(master, ps_conf_section(master->conf, "listener", i));

		r = r < 0 ? r : added;
	}
	return r;
}

void listeners_destroy(struct master *master)
{
	for (size_t i = 0; i < master->listener_count; i++)
		finish(&master->listeners[i]);
	free(master->listeners);
}
