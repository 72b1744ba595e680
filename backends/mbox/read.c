/* SPDX-License-Identifier: MIT */
/*
 * Reading: the index says what there is and where it lies in the mailbox's file. A descriptor of the file that the index speaks of is
 * kept open, so that one that takes the file's place disturbs nobody.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "backends/mbox/mbox_private.h"

enum {
	PIECE = 1 << 16,
	IN_MEMORY =
		1 << 20, /* of a message that must be converted to be read; a larger one goes to a file without name */
	TRIES = 50,
	WAIT_NS = 2 * 1000 * 1000
};

/* ---- where a message lies ------------------------------------------------------------------------ */

struct place {
	struct ps_index_box box;
	struct ps_row row;
	struct locator loc;
	char path[PATH_SIZE];
};

static int locate(struct ps_mbox *mbox, uint32_t uid, struct place *ret_place)
{
	struct ps_index *index = ps_catalogue_index(mbox->store);
	struct ps_index_txn *txn;
	struct ps_bytes octets;
	int r;

	if (!index)
		return ps_fail(PS_E_STORAGE, "the index is not there");
	if ((r = ps_index_read(index, &txn)) == 0) {
		r = ps_index_box(txn, mbox->key, &ret_place->box);
		if (r == 0)
			r = ps_index_row(txn, mbox->key, uid, &ret_place->row, &octets);
		if (r == 0)
			r = locator_decode(octets, &ret_place->loc);
		ps_index_end(txn);
	}
	ps_index_close(index);
	if (r == 0)
		r = path_of_name(mbox->store, ret_place->box.name, ret_place->path);
	return r == PS_E_NOTFOUND ? ps_fail(PS_E_GONE, "UID %u was expunged", uid) : r;
}

/* A descriptor of the folder's file for this reader alone. */
static int folder_dup(struct ps_folder *folder)
{
	int fd;

	pthread_mutex_lock(&folder->store->cat.mutex);
	fd = fcntl(folder->fd, F_DUPFD_CLOEXEC, 0);
	pthread_mutex_unlock(&folder->store->cat.mutex);
	return fd < 0 ? ps_fail_errno("open a mailbox's file again") : fd;
}

static bool is_the_file(int fd, const struct place *place)
{
	struct stat st;

	return fstat(fd, &st) == 0 && (uint64_t)st.st_ino == place->box.priv[BOX_INO] &&
	       (uint64_t)st.st_size >= locator_end(&place->loc) - 1;
}

/* The file that the index speaks of: the one we have open, or the one another process put in its place. */
static int open_file(struct ps_mbox *mbox, const struct place *place, int *ret_fd)
{
	int fd = folder_dup(mbox->folder), mine;

	if (fd >= 0 && !is_the_file(fd, place)) {
		close(fd);
		fd = ps_io.open(mbox->store->cat.root_fd, place->path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
		if (fd < 0)
			return ps_fail_errno("open %s", place->path);
		if (!is_the_file(fd, place)) {
			close(fd);
			return 0;
		}
		if ((mine = fcntl(fd, F_DUPFD_CLOEXEC, 0)) >= 0)
			folder_replaced(mbox->folder, mine);
	}
	if (fd < 0)
		return fd;
	*ret_fd = fd;
	return 1;
}

/* Whether the message is there: others may have written the file anew in place. */
static bool is_there(int fd, struct ps_mbox *mbox, const struct place *place)
{
	PS_CLEANUP(ps_freep) uint8_t *head = ps_malloc(place->loc.head + 1);
	struct fields fields;

	(void)mbox;
	if (place->loc.head < place->loc.from ||
	    ps_io.pread(fd, head, place->loc.head, (off_t)place->loc.at) != (ssize_t)place->loc.head)
		return false;
	fields_parse(ps_bytes(head + place->loc.from, place->loc.head - place->loc.from), &place->box.id, &fields);
	return fields.mark.ours && fields.mark.uid == place->row.uid &&
	       memcmp(&fields.mark.email_id, &place->row.email_id, sizeof fields.mark.email_id) == 0;
}

/* ---- bodies ---------------------------------------------------------------------------------------- */

struct conversion {
	struct ps_store *store;
	struct ps_buf buf;
	int fd; /* -1: all of it is in the buffer */
	uint64_t length;
};

/* What is too long for memory. Where there is no room for that, memory must do. */
static int spill(struct conversion *c)
{
	int r = 0;

	if (c->fd < 0 && c->buf.len >= IN_MEMORY)
		c->fd = ps_io.open(c->store->cat.aside_fd, ".", O_TMPFILE | O_RDWR, 0600);
	if (c->fd < 0)
		return 0;
	r = ps_io_write_all(c->fd, ps_buf_view(&c->buf));
	ps_buf_reset(&c->buf);
	return r;
}

static int convert(struct conversion *c, int fd, const struct locator *loc)
{
	PS_CLEANUP(ps_freep) uint8_t *piece = ps_malloc(PIECE);
	uint64_t at = loc->at + loc->head, end = at + loc->length;
	struct restore restore;
	size_t before;
	int r = 0;

	restore_init(&restore, loc->form);
	while (at < end && r == 0) {
		ssize_t n = ps_io.pread(fd, piece, end - at < PIECE ? (size_t)(end - at) : PIECE, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		before = c->buf.len;
		r = n < 0    ? ps_fail_errno("read a mailbox")
		    : n == 0 ? ps_fail(PS_E_STORAGE, "a mailbox is shorter than it was")
			     : restore_feed(&restore, ps_bytes(piece, (size_t)n), &c->buf);
		c->length += c->buf.len - before;
		at += n > 0 ? (uint64_t)n : 0;
		if (r == 0)
			r = spill(c);
	}
	before = c->buf.len;
	if (restore_finish(&restore, &c->buf) < 0 && r == 0)
		r = PS_E_LIMIT;
	c->length += c->buf.len - before;
	return r == 0 ? spill(c) : r;
}

static int converted(struct ps_mbox *mbox, int fd, const struct locator *loc, struct ps_body *ret_body)
{
	struct conversion c = {.store = mbox->store, .fd = -1};
	int r = convert(&c, fd, loc);

	if (r < 0) {
		ps_buf_finish(&c.buf);
		ps_closep(&c.fd);
		return r;
	}
	if (c.fd < 0)
		ps_buf_reserve(&c.buf, 1); /* data is never NULL */
	*ret_body = (struct ps_body){.data = c.fd < 0 ? c.buf.ptr : NULL,
				     .fd = c.fd,
				     .length = c.length,
				     .wire_form = (loc->form & FORM_WIRE) != 0,
				     .priv = c.buf.ptr};
	return 0;
}

static int open_body(struct ps_mbox *mbox, int fd, const struct locator *loc, struct ps_body *ret_body)
{
	int r;

	if (loc->form & (FORM_QUOTED | FORM_ESCAPED)) {
		r = converted(mbox, fd, loc, ret_body);
		close(fd);
		return r;
	}
	*ret_body = (struct ps_body){.fd = fd,
				     .offset = loc->at + loc->head,
				     .length = loc->length,
				     .wire_form = (loc->form & FORM_WIRE) != 0};
	return 0;
}

/* Others changed the file: what they did must be known first. Whoever follows the mailbox is told at the next stale(). */
static int take_in(struct ps_mbox *mbox)
{
	int r = ps_catalogue_sync(mbox->store, mbox);

	ps_catalogue_foreign(mbox->store);
	return r;
}

int mbox_body(struct ps_mbox *mbox, uint32_t uid, struct ps_body *ret_body)
{
	struct place place;
	int fd, r;

	/* A commit that is under way has replaced the file, and is about to say so. */
	for (int i = 0; i < TRIES; i++) {
		if ((r = locate(mbox, uid, &place)) < 0)
			return r;
		r = open_file(mbox, &place, &fd);
		if (r == 1) {
			if (is_there(fd, mbox, &place))
				return open_body(mbox, fd, &place.loc, ret_body);
			close(fd);
		}
		if (r < 0 && r != PS_E_NOTFOUND)
			return r;
		if (i + 2 == TRIES && (r = take_in(mbox)) < 0)
			return r;
		nanosleep(&(struct timespec){.tv_nsec = WAIT_NS}, NULL);
	}
	return ps_fail(PS_E_GONE, "UID %u is not in the file any more", uid);
}

void mbox_body_close(struct ps_body *body)
{
	ps_closep(&body->fd);
	free(body->priv);
	body->fd = -1;
	body->priv = NULL;
}
