/* SPDX-License-Identifier: MIT */
/* An mbox of several messages: which there are, and each of them alone. */
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cli/import.h"
#include "postern/io.h"
#include "postern/mboxfile.h"
#include "postern/message.h"

/* Letters of Status and X-Status as mutt and others write them. */
static const struct {
	const char *field;
	char letter;
	uint32_t flag;
} letters[] = {
	{"Status", 'R', PS_FLAG_SEEN},      {"X-Status", 'A', PS_FLAG_ANSWERED}, {"X-Status", 'F', PS_FLAG_FLAGGED},
	{"X-Status", 'D', PS_FLAG_DELETED}, {"X-Status", 'T', PS_FLAG_DRAFT},    {"Status", 'D', PS_FLAG_DELETED},
};

static void take_letters(struct import_message *message, struct ps_bytes name, struct ps_bytes value)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(letters); i++)
		if (ps_bytes_caseeq_str(name, letters[i].field) &&
		    ps_bytes_find(value, (uint8_t)letters[i].letter) >= 0)
			message->flags |= letters[i].flag;
}

static bool is_keyword_octet(uint8_t octet)
{
	return octet > ' ' && octet < 0x7f && !strchr("(){%*\"\\]", octet);
}

static void take_keywords(struct import_message *message, struct ps_bytes value, struct ps_pool *pool)
{
	while (value.len > 0) {
		size_t n = 0;

		while (n < value.len && is_keyword_octet(value.ptr[n]))
			n++;
		if (n > 0) {
			const char *word = ps_pool_strndup(pool, (const char *)value.ptr, n);

			message->keywords =
				message->keywords ? ps_pool_printf(pool, "%s %s", message->keywords, word) : word;
		}
		value = ps_bytes_skip(value, n < value.len ? n + 1 : n);
	}
}

/* What the program that kept it noted of the message. */
static int take_notes(struct ps_mboxfile *mbox, struct import_message *message, struct ps_pool *pool)
{
	struct ps_mboxfile_head head;
	struct ps_header_walk walk;
	struct ps_bytes name, value;
	int r = ps_mboxfile_head(mbox, message->start, &head);

	if (r < 0)
		return r;
	walk.rest = head.header;
	while (ps_header_next(&walk, &name, &value)) {
		take_letters(message, name, value);
		if (ps_bytes_caseeq_str(name, "X-Keywords"))
			take_keywords(message, value, pool);
	}
	return 0;
}

/* As a file of one message is told from one of several: a "From " line behind a blank one. */
static bool has_several(int fd)
{
	struct import_text text;
	char start[5];

	return pread(fd, start, sizeof start, 0) == (ssize_t)sizeof start && memcmp(start, "From ", 5) == 0 &&
	       import_text_open(fd, true, &text) == PS_E_INVALID;
}

static int each(struct ps_mboxfile *mbox, const struct import_message *file, struct ps_pool *pool,
		void (*found)(void *arg, const struct import_message *message), void *arg)
{
	struct ps_mboxfile_message next = {0};
	int r, count = 0;

	while ((r = ps_mboxfile_next(mbox, next.next, &next)) > 0) {
		struct import_message message = *file;

		count++;
		if (!found)
			continue;
		message.start = next.start;
		message.end = next.end;
		message.unquoted = next.unquoted;
		message.date = next.date;
		if ((r = take_notes(mbox, &message, pool)) < 0)
			return r;
		found(arg, &message);
	}
	return r < 0 ? r : count;
}

int import_mbox_each(int fd, const struct import_message *file, struct ps_pool *pool,
		     void (*found)(void *arg, const struct import_message *message), void *arg)
{
	struct ps_mboxfile *mbox;
	struct stat st;
	int r;

	if (!has_several(fd))
		return 0;
	if (fstat(fd, &st) < 0)
		return ps_fail_errno("reading it");
	mbox = ps_mboxfile_create(fd, (uint64_t)st.st_size);
	r = each(mbox, file, pool, found, arg);
	ps_mboxfile_destroy(mbox);
	return r == 1 ? 0 : r;
}

static int put(void *arg, struct ps_bytes octets)
{
	return ps_io_write_all(*(int *)arg, octets);
}

int import_mbox_extract(int fd, const struct import_message *message, uint64_t limit, int *ret_fd)
{
	struct ps_mboxfile_message place = {
		.start = message->start, .end = message->end, .unquoted = message->unquoted};
	PS_CLEANUP(ps_closep) int out = -1;
	struct ps_mboxfile *mbox;
	int r;

	if (message->end - message->start > limit)
		return ps_fail(PS_E_LIMIT, "it has %llu octets, and the setting message_size allows %llu",
			       (unsigned long long)(message->end - message->start), (unsigned long long)limit);
	out = memfd_create("message", MFD_CLOEXEC);
	if (out < 0)
		return ps_fail_errno("room for a message");
	mbox = ps_mboxfile_create(fd, message->end);
	r = ps_mboxfile_octets(mbox, &place, put, &out);
	ps_mboxfile_destroy(mbox);
	if (r < 0)
		return r;
	*ret_fd = out;
	out = -1;
	return 0;
}
