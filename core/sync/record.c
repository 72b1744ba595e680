/* SPDX-License-Identifier: MIT */
/*
 * What was reached, as lines of text with a checksum at the end:
 *
 *     postern-sync 1
 *     source NAME                                              for people; the file's name is made from it
 *     stores ID ID                                             of both INBOXes: what lies at an end may be another store by now
 *     state both|mirror done|running
 *     box ID ID VALIDITY VALIDITY MODSEQ MODSEQ QUIET QUIET NEXT NEXT ATTRIBUTES NAME     from, to; then its runs:
 *     run FROM TO COUNT
 *     end CRC
 *
 * A record that cannot be believed costs time and nothing else: both ends are then compared message by message.
 */
#include <errno.h>
#include <fcntl.h>
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/sync/sync_private.h"
#include "postern/io.h"

enum {
	RECORD_MAX = 256 << 20
};

/* ---- reading --------------------------------------------------------------------------------- */

static bool read_id(const char *hex, struct ps_id *ret_id)
{
	for (size_t i = 0; i < sizeof ret_id->octets; i++) {
		unsigned octet;

		if (sscanf(hex + 2 * i, "%2x", &octet) != 1)
			return false;
		ret_id->octets[i] = (uint8_t)octet;
	}
	return true;
}

static bool read_box(struct sync_record *record, const char *line)
{
	struct sync_last box = {0}, *last;
	char from[33], to[33];
	int at = 0;

	if (sscanf(line,
		   "%32s %32s %" SCNu32 " %" SCNu32 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu32
		   " %" SCNu32 " %" SCNu32 " %n",
		   from, to, &box.from_validity, &box.to_validity, &box.from_modseq, &box.to_modseq, &box.from_quiet,
		   &box.to_quiet, &box.from_next, &box.to_next, &box.attributes, &at) != 11 ||
	    at == 0 || !read_id(from, &box.from_id) || !read_id(to, &box.to_id))
		return false;
	last = sync_record_add(record, line + at);
	box.name = last->name;
	*last = box;
	return true;
}

static void add_run(struct sync_record *record, struct sync_last *last, struct sync_run run)
{
	last->runs = ps_pool_grow(record->pool, last->runs, last->run_count, &last->run_cap, sizeof *last->runs);
	last->runs[last->run_count++] = run;
}

static bool read_run(struct sync_record *record, const char *line)
{
	struct sync_run run;

	if (record->count == 0 || sscanf(line, "%" SCNu32 " %" SCNu32 " %" SCNu32, &run.from, &run.to, &run.count) != 3)
		return false;
	add_run(record, &record->boxes[record->count - 1], run);
	return true;
}

static bool read_state(struct sync_record *record, const char *line)
{
	char mode[8], state[8];

	if (sscanf(line, "%7s %7s", mode, state) != 2)
		return false;
	record->both = strcmp(mode, "both") == 0;
	record->running = strcmp(state, "running") == 0;
	return true;
}

/* The store of each end is known by its INBOX, which stays. */
static bool is_of(const char *line, const struct ps_id ids[2])
{
	struct ps_id from, to;
	char hex[2][33];

	return sscanf(line, "%32s %32s", hex[0], hex[1]) == 2 && read_id(hex[0], &from) && read_id(hex[1], &to) &&
	       sync_same_id(&from, &ids[0]) && sync_same_id(&to, &ids[1]);
}

static bool read_line(struct sync_record *record, const char *line, const struct ps_id ids[2])
{
	if (strncmp(line, "box ", 4) == 0)
		return read_box(record, line + 4);
	if (strncmp(line, "run ", 4) == 0)
		return read_run(record, line + 4);
	if (strncmp(line, "state ", 6) == 0)
		return read_state(record, line + 6);
	if (strncmp(line, "stores ", 7) == 0)
		return is_of(line + 7, ids);
	return strncmp(line, "source ", 7) == 0;
}

/* The text in front of the checksum, or NULL. */
static char *checked(struct ps_buf *file)
{
	char *text = (char *)(uintptr_t)ps_buf_cstr(file), *end = NULL;
	uint32_t crc;

	for (char *at = text; (at = strstr(at, "\nend ")); at++)
		end = at;
	if (!end || strncmp(text, "postern-sync 1\n", 15) != 0 || sscanf(end, "\nend %" SCNx32, &crc) != 1 ||
	    ps_crc32c(0, text, (size_t)(end + 1 - text)) != crc)
		return NULL;
	*end = '\0';
	return text + 15;
}

static void forget(struct sync_record *record)
{
	record->boxes = NULL;
	record->count = record->cap = 0;
	record->known = record->running = record->both = false;
}

static int load(struct sync_record *record, const struct ps_id ids[2])
{
	struct ps_buf file = {0};
	char *rest, *line;
	int r = ps_io_read_file(record->dir_fd, record->name, RECORD_MAX, &file);

	if (r == 0 && (rest = checked(&file))) {
		record->known = true;
		while (record->known && (line = strsep(&rest, "\n")))
			record->known = read_line(record, line, ids);
		if (!record->known)
			forget(record);
	}
	ps_buf_finish(&file);
	return r == PS_E_NOTFOUND ? 0 : r;
}

/* ---- opening --------------------------------------------------------------------------------- */

static int inbox_id(const struct ps_sync_end *end, struct ps_id *ret_id)
{
	struct ps_mailbox_info info;
	struct ps_mbox *mbox;
	struct ps_read *read;
	int r = sync_on(end)->mailbox_open(end->store, "INBOX", &mbox);

	if (r < 0)
		return r;
	if ((r = sync_on(end)->read_begin(end->store, &read)) == 0) {
		if ((r = sync_on(end)->info(read, mbox, &info)) == 0)
			*ret_id = info.id;
		sync_on(end)->read_end(read);
	}
	sync_on(end)->mailbox_close(mbox);
	return r;
}

static int open_lock(struct sync_record *record)
{
	char name[48];
	int fd;

	snprintf(name, sizeof name, "%s.lock", record->name);
	fd = ps_io.open(record->dir_fd, name, O_RDWR | O_CREAT, 0600);
	if (fd < 0)
		return ps_fail_errno("the record of this sync");
	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		close(fd);
		return errno == EWOULDBLOCK ? ps_fail(PS_E_BUSY, "a sync of these two is running already")
					    : ps_fail_errno("locking the record of this sync");
	}
	record->lock_fd = fd;
	return 0;
}

static int open_dir(struct sync_record *record, const char *path)
{
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return ps_fail_errno("making %s", path);
	record->dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return record->dir_fd < 0 ? ps_fail_errno("%s", path) : open_lock(record);
}

static void make_name(struct sync_record *record)
{
	struct ps_buf name = {0};
	uint8_t digest[32] = {0};

	gnutls_hash_fast(GNUTLS_DIG_SHA256, record->source, strlen(record->source), digest);
	ps_buf_str(&name, "sync-");
	ps_hex_encode(&name, ps_bytes(digest, 12));
	snprintf(record->name, sizeof record->name, "%s", ps_buf_cstr(&name));
	ps_buf_finish(&name);
}

int sync_record_open(struct sync_record *record, const struct ps_sync_end *from, const struct ps_sync_end *to,
		     const char *dir)
{
	struct ps_id ids[2];
	int r;

	*record = (struct sync_record){.owner = to, .dir_fd = -1, .lock_fd = -1, .source = from->name};
	record->pool = ps_pool_create("sync record");
	if (!dir)
		return 0;
	make_name(record);
	if ((r = inbox_id(from, &ids[0])) < 0 || (r = inbox_id(to, &ids[1])) < 0)
		return r;
	sync_on(to);
	if ((r = open_dir(record, dir)) < 0)
		return r;
	return load(record, ids);
}

void sync_record_close(struct sync_record *record)
{
	ps_closep(&record->lock_fd);
	ps_closep(&record->dir_fd);
	ps_pool_destroy(record->pool);
	*record = (struct sync_record){.dir_fd = -1, .lock_fd = -1};
}

/* ---- writing --------------------------------------------------------------------------------- */

static void write_id(struct ps_buf *out, const struct ps_id *id)
{
	ps_hex_encode(out, ps_bytes(id->octets, sizeof id->octets));
	ps_buf_char(out, ' ');
}

static void write_box(struct ps_buf *out, const struct sync_last *box)
{
	ps_buf_str(out, "box ");
	write_id(out, &box->from_id);
	write_id(out, &box->to_id);
	ps_buf_printf(out,
		      "%" PRIu32 " %" PRIu32 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu64 " %" PRIu32 " %" PRIu32
		      " %" PRIu32 " %s\n",
		      box->from_validity, box->to_validity, box->from_modseq, box->to_modseq, box->from_quiet,
		      box->to_quiet, box->from_next, box->to_next, box->attributes, box->name);
	for (size_t i = 0; i < box->run_count; i++)
		ps_buf_printf(out, "run %" PRIu32 " %" PRIu32 " %" PRIu32 "\n", box->runs[i].from, box->runs[i].to,
			      box->runs[i].count);
}

static void write_stores(const struct sync_record *record, struct ps_buf *out)
{
	const struct sync_last *inbox = sync_record_named(record, "INBOX");
	static const struct ps_id none;

	ps_buf_str(out, "stores ");
	write_id(out, inbox ? &inbox->from_id : &none);
	write_id(out, inbox ? &inbox->to_id : &none);
	ps_buf_char(out, '\n');
}

int sync_record_save(struct sync_record *record)
{
	struct ps_buf out = {0};
	int r;

	if (record->dir_fd < 0)
		return 0;
	ps_buf_printf(&out, "postern-sync 1\nsource %s\n", record->source);
	write_stores(record, &out);
	ps_buf_printf(&out, "state %s %s\n", record->both ? "both" : "mirror", record->running ? "running" : "done");
	for (size_t i = 0; i < record->count; i++)
		write_box(&out, &record->boxes[i]);
	ps_buf_printf(&out, "end %08" PRIx32 "\n", ps_crc32c(0, out.ptr, out.len));
	sync_on(record->owner);
	r = out.failed ? ps_fail(PS_E_LIMIT, "no memory for the record")
		       : ps_io_replace(record->dir_fd, record->name, ps_buf_view(&out));
	ps_buf_finish(&out);
	return r;
}

/* ---- in memory ------------------------------------------------------------------------------- */

struct sync_last *sync_record_find(const struct sync_record *record, const struct ps_id *from_id)
{
	for (size_t i = 0; i < record->count; i++)
		if ((record->boxes[i].attributes & PS_MBOX_EXISTS) && sync_same_id(&record->boxes[i].from_id, from_id))
			return &record->boxes[i];
	return NULL;
}

struct sync_last *sync_record_named(const struct sync_record *record, const char *name)
{
	for (size_t i = 0; i < record->count; i++)
		if (strcmp(record->boxes[i].name, name) == 0)
			return &record->boxes[i];
	return NULL;
}

struct sync_last *sync_record_add(struct sync_record *record, const char *name)
{
	record->boxes = ps_pool_grow(record->pool, record->boxes, record->count, &record->cap, sizeof *record->boxes);
	record->boxes[record->count] = (struct sync_last){.name = ps_pool_strdup(record->pool, name)};
	return &record->boxes[record->count++];
}

void sync_record_remove(struct sync_record *record, struct sync_last *last)
{
	*last = record->boxes[--record->count];
}
