/* SPDX-License-Identifier: MIT */
/*
 * The record is text with a checksum at its end, replaced as a whole:
 *
 *     postern-place 1
 *     now BACKEND NAME GENERATION
 *     target|before|purged BACKEND NAME GENERATION      those that there are
 *     paused                                            or not
 *     moved TIME                                        if there is a former place
 *     end CRC
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "core/store/place.h"
#include "postern/io.h"

#define CONTROL PS_PLACE_CONTROL
#define RECORD  "place"
#define LOCK    "place.lock"

enum {
	RECORD_MAX = 4096,
	WAIT_MS = 30000,
	LOOK_EVERY_MS = 5
};

static const struct {
	const char *word;
	size_t at;
} stores[] = {
	{"now", offsetof(struct ps_place_record, now)},
	{"target", offsetof(struct ps_place_record, target)},
	{"before", offsetof(struct ps_place_record, before)},
	{"purged", offsetof(struct ps_place_record, purged)},
};

static struct ps_place_store *store_of(struct ps_place_record *record, size_t n)
{
	return (struct ps_place_store *)((char *)record + stores[n].at);
}

/* ---- folders --------------------------------------------------------------------------------- */

/* PS_E_NOTFOUND: there is none. */
static int open_root(const struct ps_user_info *info, int *ret_fd)
{
	if (!info->root || !*info->root)
		return ps_fail(PS_E_NOTFOUND, "user %s has no mail location", info->name);
	*ret_fd = open(info->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return *ret_fd < 0 ? ps_fail_errno("%s", info->root) : 0;
}

/* PS_E_NOTFOUND: there is none, or no mail location at all. */
static int open_control(const struct ps_user_info *info, int *ret_fd)
{
	PS_CLEANUP(ps_closep) int root = -1;
	int fd, r = open_root(info, &root);

	if (r < 0)
		return r;
	fd = ps_io.open(root, CONTROL, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return ps_fail_errno("%s/" CONTROL, info->root);
	*ret_fd = fd;
	return 0;
}

static int make_control(const struct ps_user_info *info, int *ret_fd)
{
	PS_CLEANUP(ps_closep) int root = open(info->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (root < 0)
		return ps_fail_errno("%s", info->root);
	if (ps_io.mkdir(root, CONTROL, 0700) < 0 && errno != EEXIST)
		return ps_fail_errno("making %s/" CONTROL, info->root);
	if ((r = ps_io_sync_dir(root, info->root)) < 0)
		return r;
	return open_control(info, ret_fd);
}

const char *ps_place_root(const struct ps_user_info *info, const char *name, struct ps_pool *pool)
{
	if (strcmp(name, ".") == 0)
		return info->root;
	return ps_pool_printf(pool, "%s/" CONTROL "/places/%s", info->root, name);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* It becomes part of a path. */
static bool is_name(const char *name)
{
	return strcmp(name, ".") == 0 || (*name != '.' && !strchr(name, '/'));
}

static bool read_store(const char *line, struct ps_pool *pool, struct ps_place_store *store)
{
	char backend[64], name[64];

	if (sscanf(line, " %63s %63s %" SCNu64, backend, name, &store->generation) != 3 || !is_name(name))
		return false;
	store->backend = ps_pool_strdup(pool, backend);
	store->name = ps_pool_strdup(pool, name);
	return true;
}

static bool read_line(const char *line, struct ps_pool *pool, struct ps_place_record *record)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(stores); i++) {
		size_t len = strlen(stores[i].word);

		if (strncmp(line, stores[i].word, len) == 0 && line[len] == ' ')
			return read_store(line + len, pool, store_of(record, i));
	}
	if (strcmp(line, "paused") == 0) {
		record->paused = true;
		return true;
	}
	return sscanf(line, "moved %" SCNd64, &record->moved) == 1;
}

static bool parse(struct ps_buf *file, struct ps_pool *pool, struct ps_place_record *record)
{
	static const char first[] = "postern-place 1\n";
	char *text = (char *)(uintptr_t)ps_buf_cstr(file), *end = strstr(text, "\nend "), *line;
	uint32_t crc;

	if (!end || strncmp(text, first, sizeof first - 1) != 0 || sscanf(end, "\nend %" SCNx32, &crc) != 1 ||
	    ps_crc32c(0, text, (size_t)(end + 1 - text)) != crc)
		return false;
	*end = '\0';
	text += sizeof first - 1;
	while ((line = strsep(&text, "\n")))
		if (!read_line(line, pool, record))
			return false;
	return record->now.backend != NULL;
}

static int read_at(int root, const struct ps_user_info *info, struct ps_pool *pool, struct ps_place_record *ret_record)
{
	struct ps_place_record record = {.paused = false};
	struct ps_buf file = {0};
	int r = ps_io_read_file(root, CONTROL "/" RECORD, RECORD_MAX, &file);

	/* To guess would be to show somebody half of their mail. */
	if (r == 0 && !parse(&file, pool, &record))
		r = ps_fail(PS_E_CORRUPT, "%s/" CONTROL "/" RECORD " is damaged", info->root);
	ps_buf_finish(&file);
	if (r == 0)
		*ret_record = record;
	return r;
}

/* Each time that somebody logs in, or mail comes: the folder in between is not opened for it. */
static int read_with(const struct ps_user_info *info, struct ps_pool *pool, int *ret_root,
		     struct ps_place_record *ret_record)
{
	int r = open_root(info, ret_root);

	if (r == 0)
		r = read_at(*ret_root, info, pool, ret_record);
	if (r == PS_E_NOTFOUND) {
		*ret_record = (struct ps_place_record){.now = {.backend = info->backend, .name = "."}};
		r = 0;
	}
	return r;
}

int ps_place_read(const struct ps_user_info *info, struct ps_pool *pool, struct ps_place_record *ret_record)
{
	PS_CLEANUP(ps_closep) int root = -1;

	return read_with(info, pool, &root, ret_record);
}

/* ---- finding --------------------------------------------------------------------------------- */

static bool is_locked(int root)
{
	PS_CLEANUP(ps_closep) int fd = ps_io.open(root, CONTROL "/" LOCK, O_RDWR, 0);

	return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

static void rest(void)
{
	const struct timespec t = {.tv_nsec = LOOK_EVERY_MS * 1000000L};

	nanosleep(&t, NULL);
}

int ps_place_find(const struct ps_conf *core_conf, const struct ps_user_info *info, struct ps_pool *pool,
		  struct ps_place *ret_place)
{
	(void)core_conf;
	for (int waited = 0; waited < WAIT_MS; waited += LOOK_EVERY_MS) {
		PS_CLEANUP(ps_closep) int root = -1;
		struct ps_place_record record;
		int r = read_with(info, pool, &root, &record);

		if (r < 0)
			return r;
		if (!record.paused || !is_locked(root)) {
			*ret_place = (struct ps_place){
				.backend = record.now.backend,
				.root = info->root ? ps_place_root(info, record.now.name, pool) : NULL,
				.generation = record.paused ? 0 : record.now.generation,
				.exists = strcmp(record.now.name, ".") != 0,
			};
			return 0;
		}
		rest();
	}
	return ps_fail(PS_E_BUSY, "the mail of %s is being moved", info->name);
}

/* ---- for who moves mail ------------------------------------------------------------------------ */

int ps_place_write(const struct ps_user_info *info, const struct ps_place_record *record)
{
	PS_CLEANUP(ps_closep) int control = -1;
	struct ps_place_record copy = *record;
	struct ps_buf out = {0};
	int r = make_control(info, &control);

	if (r < 0)
		return r;
	ps_buf_str(&out, "postern-place 1\n");
	for (size_t i = 0; i < PS_ARRAY_LEN(stores); i++) {
		const struct ps_place_store *store = store_of(&copy, i);

		if (store->backend)
			ps_buf_printf(&out, "%s %s %s %" PRIu64 "\n", stores[i].word, store->backend, store->name,
				      store->generation);
	}
	if (record->paused)
		ps_buf_str(&out, "paused\n");
	if (record->before.backend)
		ps_buf_printf(&out, "moved %" PRId64 "\n", record->moved);
	ps_buf_printf(&out, "end %08" PRIx32 "\n", ps_crc32c(0, out.ptr, out.len));
	r = ps_io_replace(control, RECORD, ps_buf_view(&out));
	ps_buf_finish(&out);
	return r;
}

int ps_place_lock(const struct ps_user_info *info, int *ret_fd)
{
	PS_CLEANUP(ps_closep) int control = -1;
	int r = make_control(info, &control), fd;

	if (r < 0)
		return r;
	fd = ps_io.open(control, LOCK, O_RDWR | O_CREAT, 0600);
	if (fd < 0)
		return ps_fail_errno("%s/" CONTROL "/" LOCK, info->root);
	/* Who looks whether it is held holds it for a moment. */
	for (int tries = 0; flock(fd, LOCK_EX | LOCK_NB) < 0; tries++) {
		if (errno != EWOULDBLOCK || tries == 200) {
			close(fd);
			return ps_fail(PS_E_BUSY, "somebody is moving the mail of %s already", info->name);
		}
		rest();
	}
	*ret_fd = fd;
	return 0;
}
