/* SPDX-License-Identifier: MIT */
/*
 * Steps, written down. Before a batch of several is begun, they are in postern-control/intent and synced, so that a crash cannot
 * tear them apart. Its first word says what it is worth:
 *   ARMED  the steps may have been begun: recovery completes them
 *   DONE   they are done and durable; this word itself perhaps is not, so whoever changes something next makes it so
 *   LOOSE  they are done, and settle() has still to make them durable: relaxed flags. On disk the record may be ARMED
 *   (else) nothing
 * In either of the first two the index may not know yet what the batch brought for it.
 * The checksum covers a record cut short: then its sync never returned, and no step was begun.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include "backends/maildir/maildir_private.h"
#include "postern/log.h"

enum {
	ARMED = 0x44524d41,
	DONE = 0x454e4f44,
	LOOSE = 0x534f4f4c,
	EMPTY = 0,
	INTENT_MAX = 1 << 28
};

struct intent_head {
	uint32_t state;
	uint32_t crc;
	uint64_t len;
};

/* ---- steps as octets ---------------------------------------------------------------------------- */

/*
 * The directories, then the steps: kind, directories by number, `from`, how many of its octets `to` begins with, the rest of `to`,
 * data. Names that change their flags differ in the last octets, so a record is little more than half as long for that.
 */
static void put_number(struct ps_buf *out, size_t n)
{
	uint32_t number = (uint32_t)n;

	ps_buf_append(out, &number, sizeof number);
}

static bool take_number(struct ps_bytes *in, uint32_t *ret_n)
{
	if (in->len < sizeof *ret_n)
		return false;
	memcpy(ret_n, in->ptr, sizeof *ret_n);
	*in = ps_bytes_skip(*in, sizeof *ret_n);
	return true;
}

static void put_text(struct ps_buf *out, struct ps_bytes text)
{
	put_number(out, text.len);
	ps_buf_bytes(out, text);
}

static bool take_text(struct ps_bytes *in, struct ps_bytes *ret_text)
{
	uint32_t len;

	if (!take_number(in, &len) || in->len < len)
		return false;
	*ret_text = ps_bytes(in->ptr, len);
	*in = ps_bytes_skip(*in, len);
	return true;
}

static size_t shared(struct ps_bytes a, struct ps_bytes b)
{
	size_t n = 0;

	while (n < a.len && n < b.len && a.ptr[n] == b.ptr[n])
		n++;
	return n;
}

static void put_step(struct ps_buf *out, const struct step *step)
{
	struct ps_bytes from = ps_bytes_str(step->from), to = ps_bytes_str(step->to);
	size_t same = shared(from, to);

	ps_buf_char(out, (char)step->kind);
	put_number(out, step->from_dir);
	put_number(out, step->to_dir);
	put_text(out, from);
	put_number(out, same);
	put_text(out, ps_bytes_skip(to, same));
	put_text(out, step->data);
}

void steps_put(struct ps_buf *out, const struct steps *steps)
{
	put_number(out, steps->dir_count);
	for (size_t i = 0; i < steps->dir_count; i++)
		put_text(out, ps_bytes_str(steps->dirs[i].path));
	for (size_t i = 0; i < steps->count; i++)
		put_step(out, &steps->steps[i]);
}

static const char *joined(struct ps_pool *pool, struct ps_bytes head, struct ps_bytes tail)
{
	char *text = ps_pool_alloc(pool, head.len + tail.len + 1);

	memcpy(text, head.ptr, head.len);
	memcpy(text + head.len, tail.ptr, tail.len);
	text[head.len + tail.len] = '\0';
	return text;
}

/* `dirs`: what the record's numbers stand for here. */
static bool take_step(struct ps_bytes *in, struct steps *steps, const uint32_t *dirs, uint32_t dir_count)
{
	struct ps_bytes from, tail, data;
	struct ps_pool *pool = steps->pool;
	uint32_t from_dir, to_dir, same;
	uint8_t kind = in->ptr[0];
	struct step *step;

	*in = ps_bytes_skip(*in, 1);
	if (kind > STEP_BROUGHT || !take_number(in, &from_dir) || !take_number(in, &to_dir) || from_dir >= dir_count ||
	    to_dir >= dir_count || !take_text(in, &from) || !take_number(in, &same) || same > from.len ||
	    !take_text(in, &tail) || !take_text(in, &data))
		return false;
	step = steps_add(steps, kind, dirs[from_dir], NULL, dirs[to_dir], NULL);
	step->from = ps_pool_strndup(pool, (const char *)from.ptr, from.len);
	step->to = joined(pool, ps_bytes(from.ptr, same), tail);
	step->data = ps_bytes(ps_pool_memdup(pool, data.ptr, data.len), data.len);
	return true;
}

bool steps_take(struct ps_bytes text, struct steps *steps)
{
	uint32_t *dirs, count;
	struct ps_bytes path;

	/* Each has a length at least. */
	if (!take_number(&text, &count) || count > text.len / sizeof count)
		return false;
	dirs = ps_pool_alloc(steps->pool, (count + 1) * sizeof *dirs);
	for (uint32_t i = 0; i < count; i++) {
		if (!take_text(&text, &path))
			return false;
		dirs[i] = steps_dir(steps, ps_pool_strndup(steps->pool, (const char *)path.ptr, path.len), NULL,
				    PLACE_CUR);
	}
	while (text.len > 0)
		if (!take_step(&text, steps, dirs, count))
			return false;
	return true;
}

/* ---- the intent record ----------------------------------------------------------------------- */

static int open_intent(struct ps_store *store, int flags)
{
	return ps_io.open(store->cat.control_fd, "intent", O_RDWR | flags, 0600);
}

static int set_state(int fd, uint32_t state, bool durable)
{
	int r = ps_io_pwrite_all(fd, ps_bytes(&state, sizeof state), 0);

	if (r == 0 && durable && ps_io.fdatasync(fd) < 0)
		r = ps_fail_errno("sync the intent record");
	return r;
}

static int write_intent(const struct steps *steps, int fd)
{
	struct intent_head head = {.state = ARMED};
	struct ps_buf text = {0};
	int r;

	ps_buf_append(&text, &head, sizeof head);
	steps_put(&text, steps);
	if (text.failed || text.len > INTENT_MAX) {
		ps_buf_finish(&text);
		return ps_fail(PS_E_LIMIT, "a batch of %zu steps", steps->count);
	}
	head.len = text.len - sizeof head;
	head.crc = ps_crc32c(0, text.ptr + sizeof head, head.len);
	memcpy(text.ptr, &head, sizeof head);
	r = ps_io_pwrite_all(fd, ps_buf_view(&text), 0);
	if (r == 0 && !steps->relaxed && ps_io.fdatasync(fd) < 0)
		r = ps_fail_errno("sync the intent record");
	ps_buf_finish(&text);
	return r;
}

/* What is to be published or moved by several steps must be there after a crash for all of them. */
static int sync_sources(const struct steps *steps)
{
	struct ps_store *store = steps->store;
	int r = 0;

	for (size_t i = 0; i < steps->dir_count && r == 0; i++) {
		if (strcmp(steps->dirs[i].path, "tmp") == 0)
			r = ps_io_sync_dir(store->tmp_fd, "tmp");
		else if (strcmp(steps->dirs[i].path, ASIDE_PATH) == 0)
			r = ps_io_sync_dir(store->cat.aside_fd, "aside");
	}
	return r;
}

static bool only_unlinks(const struct steps *steps)
{
	for (size_t i = 0; i < steps->count; i++)
		if (steps->steps[i].kind != STEP_UNLINK && steps->steps[i].kind != STEP_BROUGHT)
			return false;
	return true;
}

/* A record of before is done with, on disk too: it would be done again on top of what is done now. */
static int retire(const struct steps *steps, int fd)
{
	uint32_t state = EMPTY;

	if (ps_io.pread(fd, &state, sizeof state, 0) < 0)
		return ps_fail_errno("read the intent record");
	return state == DONE || (state == LOOSE && !steps->relaxed) ? set_state(fd, EMPTY, true) : 0;
}

static int record(const struct steps *steps, int fd)
{
	int r = steps->relaxed ? retire(steps, fd) : sync_sources(steps);

	if (r == 0)
		r = write_intent(steps, fd);
	return r < 0 || steps->relaxed ? r : ps_io_sync_dir(steps->store->cat.control_fd, "the intent record");
}

int intent_arm(struct steps *steps, bool atomic, int *ret_fd)
{
	PS_CLEANUP(ps_closep) int fd = open_intent(steps->store, O_CREAT);
	int r;

	if (fd < 0)
		return ps_fail_errno("open the intent record");
	if (!atomic || steps->count < 2)
		return retire(steps, fd);
	if ((r = record(steps, fd)) == 0) {
		*ret_fd = fd;
		fd = -1;
		return 0;
	}
	set_state(fd, EMPTY, false);
	/* No room for the record: removing mail makes some. A crash then leaves a part of these removals done. */
	return ps_no_room(r) && only_unlinks(steps) ? 0 : r;
}

void intent_done(int fd)
{
	set_state(fd, DONE, false);
}

void intent_loose(int fd)
{
	set_state(fd, LOOSE, false);
}

int intent_drop(int fd)
{
	return set_state(fd, EMPTY, true);
}

int intent_retire(const struct steps *steps)
{
	PS_CLEANUP(ps_closep) int fd = open_intent(steps->store, 0);

	if (fd < 0)
		return errno == ENOENT ? 0 : ps_fail_errno("open the intent record");
	return retire(steps, fd);
}

/* ---- recovery -------------------------------------------------------------------------------- */

/* The state of a record that is whole; else EMPTY. */
static uint32_t parse_intent(struct ps_bytes text, struct steps *steps)
{
	struct intent_head head;

	if (text.len < sizeof head)
		return EMPTY;
	memcpy(&head, text.ptr, sizeof head);
	text = ps_bytes_skip(text, sizeof head);
	if ((head.state != ARMED && head.state != DONE) || head.len > text.len ||
	    head.crc != ps_crc32c(0, text.ptr, head.len))
		return EMPTY;
	text.len = head.len;
	return steps_take(text, steps) ? head.state : EMPTY;
}

/* For scans: the modseqs of a batch that is done on disk, but of which the index may not know. */
static void take_brought(const struct steps *steps)
{
	struct ps_buf *brought = &steps->store->cat.brought;

	ps_buf_finish(brought);
	for (size_t i = 0; i < steps->count; i++)
		if (steps->steps[i].kind == STEP_BROUGHT)
			ps_buf_bytes(brought, steps->steps[i].data);
}

int steps_recover(struct ps_store *store)
{
	struct ps_pool *pool = ps_pool_create("recover");
	struct ps_buf text = {0};
	struct steps steps;
	uint32_t state = EMPTY;
	int r = ps_io_read_file(store->cat.control_fd, "intent", INTENT_MAX + sizeof(struct intent_head), &text);

	steps_init(&steps, store, pool);
	steps.recovering = true;
	if (r == 0) {
		state = parse_intent(ps_buf_view(&text), &steps);
		take_brought(&steps);
	}
	if (state == ARMED) {
		ps_log(PS_LOG_INFO, "maildir_batch_completed", "user", store->cat.user, "steps",
		       ps_num((long long)steps.count), NULL);
		r = steps_redo(&steps);
	}
	steps_finish(&steps);
	ps_buf_finish(&text);
	ps_pool_destroy(pool);
	if (r < 0 && r != PS_E_NOTFOUND)
		return r;
	return state == ARMED;
}

static int forget(struct ps_store *store, bool only_loose)
{
	PS_CLEANUP(ps_closep) int fd = open_intent(store, 0);
	uint32_t state = EMPTY;

	if (fd < 0)
		return errno == ENOENT ? 0 : ps_fail_errno("open the intent record");
	if (ps_io.pread(fd, &state, sizeof state, 0) < 0)
		return ps_fail_errno("read the intent record");
	return state == EMPTY || (only_loose && state != LOOSE) ? 0 : set_state(fd, EMPTY, true);
}

int steps_recovered(struct ps_store *store)
{
	ps_buf_finish(&store->cat.brought);
	return forget(store, false);
}

int steps_forget_loose(struct ps_store *store)
{
	return forget(store, true);
}
