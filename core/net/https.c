/* SPDX-License-Identifier: MIT */
/*
 * libcurl's multi interface says which descriptors and which timer it waits for; these are the loop's. A descriptor that libcurl waits for is a
 * `line` here.
 */
#define CURL_DISABLE_TYPECHECK
#include <arpa/inet.h>
#include <curl/curl.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/queue.h>
#include "core/net/https.h"
#include "postern/error.h"
#include "postern/pool.h"

enum {
	HEAD_MAX = 16 * 1024,
	ADDRESSES_MAX = 4,
};

struct line {
	LIST_ENTRY(line) entry;
	struct https *https;
	curl_socket_t fd;
	struct ps_watch *watch;
};

struct https {
	struct ps_loop *loop;
	char *ca_file;
	CURLM *multi;
	struct ps_timer *timer;
	LIST_HEAD(, line) lines;
	LIST_HEAD(, https_get) gets;
};

struct https_get {
	LIST_ENTRY(https_get) entry;
	struct https *https;
	char *host;
	CURL *easy;
	struct curl_slist *addresses;
	size_t head;
	struct ps_buf body;
	bool too_long;
	char why[CURL_ERROR_SIZE];
	https_fn fn;
	void *arg;
};

/* ---- the library --------------------------------------------------------------------------------- */

#define FUNCTIONS(F)                                                                                                   \
	F(curl_global_init)                                                                                            \
	F(curl_version_info)                                                                                           \
	F(curl_easy_init)                                                                                              \
	F(curl_easy_setopt)                                                                                            \
	F(curl_easy_getinfo)                                                                                           \
	F(curl_easy_strerror)                                                                                          \
	F(curl_easy_cleanup)                                                                                           \
	F(curl_multi_init)                                                                                             \
	F(curl_multi_setopt)                                                                                           \
	F(curl_multi_assign)                                                                                           \
	F(curl_multi_add_handle)                                                                                       \
	F(curl_multi_remove_handle)                                                                                    \
	F(curl_multi_socket_action)                                                                                    \
	F(curl_multi_info_read)                                                                                        \
	F(curl_multi_cleanup)                                                                                          \
	F(curl_slist_append)                                                                                           \
	F(curl_slist_free_all)

#define MEMBER(name) __typeof__(&name) name;
static struct {
	FUNCTIONS(MEMBER)
} lib;

#define ROW(name) {#name, (void **)&lib.name},
static const struct {
	const char *name;
	void **function;
} rows[] = {FUNCTIONS(ROW)};

/* The number is that of the interface, which has not changed since 2006; the first is Debian's build with GnuTLS. */
static const char *const files[] = {"libcurl-gnutls.so.4", "libcurl.so.4"};

static bool has_https(void)
{
	const char *const *protocol = lib.curl_version_info(CURLVERSION_NOW)->protocols;

	while (*protocol && strcmp(*protocol, "https") != 0)
		protocol++;
	return *protocol;
}

/* It stays loaded: what it has begun cannot be ended in a process with threads. */
int https_load(void)
{
	static bool is_loaded;
	void *handle = NULL;

	if (is_loaded)
		return 0;
	for (size_t i = 0; i < PS_ARRAY_LEN(files) && !handle; i++)
		handle = dlopen(files[i], RTLD_NOW | RTLD_LOCAL);
	if (!handle)
		return ps_fail(PS_E_UNSUPPORTED, "libcurl: %s", dlerror());
	for (size_t i = 0; i < PS_ARRAY_LEN(rows); i++) {
		*rows[i].function = dlsym(handle, rows[i].name);
		if (!*rows[i].function)
			return ps_fail(PS_E_UNSUPPORTED, "libcurl: there is no %s", rows[i].name);
	}
	if (lib.curl_global_init(CURL_GLOBAL_ALL) != CURLE_OK || !has_https())
		return ps_fail(PS_E_UNSUPPORTED, "libcurl: it has no HTTPS");
	is_loaded = true;
	return 0;
}

/* ---- an end -------------------------------------------------------------------------------------- */

void https_cancel(struct https_get *get)
{
	if (!get)
		return;
	lib.curl_multi_remove_handle(get->https->multi, get->easy);
	lib.curl_easy_cleanup(get->easy);
	lib.curl_slist_free_all(get->addresses);
	LIST_REMOVE(get, entry);
	ps_buf_finish(&get->body);
	free(get->host);
	free(get);
}

static int error_of(const struct https_get *get, CURLcode code)
{
	if (get->too_long)
		return ps_fail(PS_E_LIMIT, "%s: too long", get->host);
	if (code == CURLE_OK)
		return 0;
	return ps_fail(code == CURLE_PEER_FAILED_VERIFICATION ? PS_E_ACCESS : PS_E_CLOSED, "%s: %s", get->host,
		       get->why[0] ? get->why : lib.curl_easy_strerror(code));
}

static void end(struct https_get *get, CURLcode code)
{
	struct https_answer answer = {.body = ps_buf_view(&get->body)};
	char *type = NULL;
	long status = 0;
	int error;

	lib.curl_easy_getinfo(get->easy, CURLINFO_RESPONSE_CODE, &status);
	lib.curl_easy_getinfo(get->easy, CURLINFO_CONTENT_TYPE, &type);
	answer.status = (unsigned)status;
	answer.type = type;
	error = error_of(get, code);
	get->fn(get->arg, error, error == 0 ? &answer : NULL);
	https_cancel(get);
}

static void collect(struct https *https)
{
	CURLMsg *message;
	int left;

	while ((message = lib.curl_multi_info_read(https->multi, &left))) {
		struct https_get *get = NULL;

		if (message->msg != CURLMSG_DONE)
			continue;
		lib.curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&get);
		end(get, message->data.result);
	}
}

/* ---- what libcurl waits for ------------------------------------------------------------------------ */

static void act(struct https *https, curl_socket_t fd, int events)
{
	int running;

	lib.curl_multi_socket_action(https->multi, fd, events, &running);
	collect(https);
}

static void on_ready(void *arg, unsigned events)
{
	const struct line *line = arg;

	act(line->https, line->fd,
	    (events & PS_READABLE ? CURL_CSELECT_IN : 0) | (events & PS_WRITABLE ? CURL_CSELECT_OUT : 0) |
		    (events & PS_HANGUP ? CURL_CSELECT_ERR : 0));
}

static void on_timer(void *arg)
{
	act(arg, CURL_SOCKET_TIMEOUT, 0);
}

static void line_destroy(struct line *line)
{
	if (!line)
		return;
	ps_watch_close(line->watch);
	LIST_REMOVE(line, entry);
	free(line);
}

static struct line *line_create(struct https *https, curl_socket_t fd)
{
	struct line *line = ps_malloc(sizeof *line);

	*line = (struct line){.https = https, .fd = fd};
	LIST_INSERT_HEAD(&https->lines, line, entry);
	if (ps_watch_open(https->loop, fd, on_ready, line, &line->watch) == 0)
		return line;
	line_destroy(line);
	return NULL;
}

static int watch(CURL *easy, curl_socket_t fd, int what, void *arg, void *line_of_fd)
{
	struct line *line = line_of_fd;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		line_destroy(line);
		return 0;
	}
	if (!line && !(line = line_create(arg, fd)))
		return -1;
	lib.curl_multi_assign(line->https->multi, fd, line);
	ps_watch_set(line->watch, (what & CURL_POLL_IN ? PS_READABLE : 0u) | (what & CURL_POLL_OUT ? PS_WRITABLE : 0u));
	return 0;
}

static int set_timer(CURLM *multi, long ms, void *arg)
{
	struct https *https = arg;

	(void)multi;
	if (ms < 0)
		ps_timer_stop(https->timer);
	else
		ps_timer_set(https->timer, (uint64_t)ms, 0);
	return 0;
}

/* ---- a get --------------------------------------------------------------------------------------- */

static size_t on_head(char *octets, size_t size, size_t count, void *arg)
{
	struct https_get *get = arg;

	(void)octets;
	get->head += size * count;
	get->too_long |= get->head > HEAD_MAX;
	return get->too_long ? 0 : size * count;
}

static size_t on_body(char *octets, size_t size, size_t count, void *arg)
{
	struct https_get *get = arg;

	get->too_long |= ps_buf_bytes(&get->body, ps_bytes(octets, size * count)) < 0;
	return get->too_long ? 0 : size * count;
}

/* "host:443:192.0.2.1,[2001:db8::1]": libcurl asks nobody then. The '+' has it forget them again. */
static void set_addresses(struct https_get *get, const struct https_request *request)
{
	PS_CLEANUP(ps_buf_finish) struct ps_buf text = {0};

	ps_buf_printf(&text, "+%s:%u:", request->host, request->port);
	for (size_t i = 0; i < request->count && i < ADDRESSES_MAX; i++) {
		const struct sockaddr_storage *address = &request->addresses[i];
		char name[INET6_ADDRSTRLEN] = "";

		if (address->ss_family == AF_INET6)
			inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)address)->sin6_addr, name, sizeof name);
		else
			inet_ntop(AF_INET, &((const struct sockaddr_in *)address)->sin_addr, name, sizeof name);
		ps_buf_printf(&text, address->ss_family == AF_INET6 ? "%s[%s]" : "%s%s", i ? "," : "", name);
	}
	get->addresses = lib.curl_slist_append(NULL, ps_buf_cstr(&text));
}

/* An option that is not known is one that this libcurl was built without. */
static int set_options(struct https_get *get, const struct https_request *request, const char *url)
{
	CURL *easy = get->easy;

	if (lib.curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "https") != CURLE_OK ||
	    lib.curl_easy_setopt(easy, CURLOPT_URL, url) != CURLE_OK ||
	    lib.curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 1L) != CURLE_OK ||
	    lib.curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 2L) != CURLE_OK ||
	    lib.curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) != CURLE_OK ||
	    lib.curl_easy_setopt(easy, CURLOPT_RESOLVE, get->addresses) != CURLE_OK ||
	    lib.curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L) != CURLE_OK ||
	    lib.curl_easy_setopt(easy, CURLOPT_PROXY, "") != CURLE_OK)
		return ps_fail(PS_E_UNSUPPORTED, "libcurl: it lacks an option");
	if (get->https->ca_file)
		lib.curl_easy_setopt(easy, CURLOPT_CAINFO, get->https->ca_file);
	lib.curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	lib.curl_easy_setopt(easy, CURLOPT_USERAGENT, "Postern");
	lib.curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	lib.curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
	lib.curl_easy_setopt(easy, CURLOPT_SSL_SESSIONID_CACHE, 0L);
	lib.curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
	lib.curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_head);
	lib.curl_easy_setopt(easy, CURLOPT_HEADERDATA, get);
	lib.curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	lib.curl_easy_setopt(easy, CURLOPT_WRITEDATA, get);
	lib.curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, get->why);
	lib.curl_easy_setopt(easy, CURLOPT_PRIVATE, get);
	return 0;
}

int https_get(struct https *https, const struct https_request *request, https_fn fn, void *arg,
	      struct https_get **ret_get)
{
	struct https_get *get = ps_zalloc(sizeof *get);
	PS_CLEANUP(ps_buf_finish) struct ps_buf url = {0};
	int r;

	get->https = https;
	get->host = ps_strdup(request->host);
	get->body.limit = request->limit;
	get->fn = fn;
	get->arg = arg;
	get->easy = lib.curl_easy_init();
	if (!get->easy)
		abort(); /* memory: as ps_malloc() */
	LIST_INSERT_HEAD(&https->gets, get, entry);
	set_addresses(get, request);
	ps_buf_printf(&url, "https://%s:%u%s", request->host, request->port, request->path);
	r = set_options(get, request, ps_buf_cstr(&url));
	if (r == 0 && lib.curl_multi_add_handle(https->multi, get->easy) != CURLM_OK)
		r = ps_fail(PS_E_INTERNAL, "libcurl does not begin");
	if (r < 0)
		https_cancel(get);
	else
		*ret_get = get;
	return r;
}

/* ---- the whole ----------------------------------------------------------------------------------- */

int https_create(struct ps_loop *loop, const char *ca_file, struct https **ret_https)
{
	struct https *https;
	int r = https_load();

	if (r < 0)
		return r;
	https = ps_zalloc(sizeof *https);
	https->loop = loop;
	https->ca_file = ca_file ? ps_strdup(ca_file) : NULL;
	https->multi = lib.curl_multi_init();
	if (!https->multi || ps_timer_open(loop, on_timer, https, &https->timer) < 0)
		abort(); /* memory: as ps_malloc() */
	lib.curl_multi_setopt(https->multi, CURLMOPT_SOCKETFUNCTION, watch);
	lib.curl_multi_setopt(https->multi, CURLMOPT_SOCKETDATA, https);
	lib.curl_multi_setopt(https->multi, CURLMOPT_TIMERFUNCTION, set_timer);
	lib.curl_multi_setopt(https->multi, CURLMOPT_TIMERDATA, https);
	*ret_https = https;
	return 0;
}

void https_destroy(struct https *https)
{
	if (!https)
		return;
	while (!LIST_EMPTY(&https->gets))
		https_cancel(LIST_FIRST(&https->gets));
	lib.curl_multi_cleanup(https->multi);
	while (!LIST_EMPTY(&https->lines))
		line_destroy(LIST_FIRST(&https->lines));
	ps_timer_close(https->timer);
	free(https->ca_file);
	free(https);
}
