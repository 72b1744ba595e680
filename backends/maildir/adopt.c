/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "backends/maildir/adopt.h"
#include "postern/log.h"

enum {
	FILE_MAX = 1 << 28
};

/* Tried in this order: who moves from Courier to Dovecot leaves Courier's files behind. */
static const struct source {
	const char *name;
	int (*read)(struct adoption *adoption);
} sources[] = {
	{"dovecot", adopt_dovecot},
	{"courier", adopt_courier},
};

/* ---- files and lines ------------------------------------------------------------------------- */

int adopt_read(struct adoption *adoption, int dirfd, const char *file, struct ps_buf *out)
{
	struct stat st;
	int r;

	adoption->file = file;
	adoption->line = adoption->passed_over = adoption->first_passed_over = 0;
	if (fstatat(dirfd, file, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : ps_fail_errno("stat %s", file);
	if (!S_ISREG(st.st_mode) || st.st_size > FILE_MAX) {
		ps_log(PS_LOG_WARNING, "maildir_adoption_passed_over", "mailbox", adoption->mailbox, "file", file,
		       "reason", S_ISREG(st.st_mode) ? "too large" : "no plain file", NULL);
		return 0;
	}
	/* What may pass, or be put right (an I/O error, an owner), must not cost the UIDs: the store does not open. */
	r = ps_io_read_file(dirfd, file, FILE_MAX, out);
	return r == 0 ? 1 : r == PS_E_NOTFOUND ? 0 : r;
}

bool adopt_line(struct adoption *adoption, struct ps_bytes *text, struct ps_bytes *ret_line)
{
	ptrdiff_t end = ps_bytes_find(*text, '\n');
	size_t len = end < 0 ? text->len : (size_t)end;

	if (text->len == 0)
		return false;
	*ret_line = ps_bytes(text->ptr, len);
	*text = ps_bytes_skip(*text, end < 0 ? len : len + 1);
	adoption->line++;
	return true;
}

struct ps_bytes adopt_word(struct ps_bytes *line)
{
	ptrdiff_t blank = ps_bytes_find(*line, ' ');
	size_t len = blank < 0 ? line->len : (size_t)blank;
	struct ps_bytes word = ps_bytes(line->ptr, len);

	*line = ps_bytes_skip(*line, blank < 0 ? len : len + 1);
	return word;
}

void adopt_pass_over(struct adoption *adoption, const char *reason)
{
	if (adoption->passed_over++ > 0)
		return;
	adoption->first_passed_over = adoption->line;
	adoption->reason = reason;
}

void adopt_account(struct adoption *adoption)
{
	char line[24], count[24];

	if (adoption->passed_over == 0)
		return;
	snprintf(line, sizeof line, "%zu", adoption->first_passed_over);
	snprintf(count, sizeof count, "%zu", adoption->passed_over);
	ps_log(PS_LOG_WARNING, "maildir_adoption_passed_over", "mailbox", adoption->mailbox, "file", adoption->file,
	       "lines", count, "first_line", line, "reason", adoption->reason, NULL);
	adoption->passed_over = 0;
}

/* ---- lists of UIDs --------------------------------------------------------------------------- */

/* "1 UIDVALIDITY UIDNEXT", or "3 VUIDVALIDITY NUIDNEXT ..." in any order. */
static bool parse_header(struct adoption *adoption, struct ps_bytes line, bool version3)
{
	uint32_t validity = 0, next = 0;
	bool good;

	if (version3) {
		good = true;
		while (line.len > 0) {
			struct ps_bytes word = adopt_word(&line);

			if (word.len > 1 && word.ptr[0] == 'V')
				good = good && ps_bytes_u32(ps_bytes_skip(word, 1), &validity) == 0;
			else if (word.len > 1 && word.ptr[0] == 'N')
				good = good && ps_bytes_u32(ps_bytes_skip(word, 1), &next) == 0;
		}
	} else {
		good = ps_bytes_u32(adopt_word(&line), &validity) == 0 && ps_bytes_u32(adopt_word(&line), &next) == 0;
	}
	adoption->uid_validity = validity;
	adoption->uid_next = next;
	return good && validity > 0 && next > 0;
}

/* Behind the UID: the file's name; before it, in version 3, fields that begin with a letter, and a colon. */
static bool take_name(struct ps_bytes line, bool version3, struct ps_bytes *ret_base)
{
	ptrdiff_t colon;

	while (version3 && line.len > 0 && line.ptr[0] != ':')
		adopt_word(&line);
	if (version3 && line.len > 0)
		line = ps_bytes_skip(line, 1);
	colon = ps_bytes_find(line, ':');
	*ret_base = ps_bytes(line.ptr, colon < 0 ? line.len : (size_t)colon);
	return ret_base->len > 0 && ret_base->len < NAME_SIZE && ps_bytes_find(*ret_base, '/') < 0 &&
	       ps_bytes_find(*ret_base, '\0') < 0;
}

static void parse_records(struct adoption *adoption, struct ps_bytes text, bool version3)
{
	struct ps_bytes line, base;
	uint32_t uid, last = 0, highest = 0;

	while (adopt_line(adoption, &text, &line)) {
		if (ps_bytes_u32(adopt_word(&line), &uid) < 0 || uid == 0 || uid == UINT32_MAX) {
			adopt_pass_over(adoption, "no UID");
			continue;
		}
		if (uid > highest)
			highest = uid;
		if (!take_name(line, version3, &base)) {
			adopt_pass_over(adoption, "no file name");
		} else if (uid <= last) {
			adopt_pass_over(adoption, "the UID does not grow");
		} else {
			last = uid;
			uidlist_line_uid(&adoption->lines, base, uid, 0, 0);
			adoption->messages++;
		}
	}
	/* New messages are appended without a change of the header. */
	if (highest >= adoption->uid_next)
		adoption->uid_next = highest + 1;
}

int adopt_uid_list(struct adoption *adoption, const char *file, bool version3)
{
	struct ps_buf octets = {0};
	struct ps_bytes text, line, version;
	int r = adopt_read(adoption, adoption->dirfd, file, &octets);

	text = ps_buf_view(&octets);
	if (r == 1 && !adopt_line(adoption, &text, &line)) {
		r = 0; /* empty: made, and never filled */
	} else if (r == 1) {
		version = adopt_word(&line);
		version3 = version3 && ps_bytes_eq_str(version, "3");
		if ((version3 || ps_bytes_eq_str(version, "1")) && parse_header(adoption, line, version3)) {
			parse_records(adoption, text, version3);
		} else {
			adopt_pass_over(adoption, "no header of a list of UIDs");
			r = 0;
		}
		adopt_account(adoption);
	}
	ps_buf_finish(&octets);
	return r;
}

/* ---- keywords -------------------------------------------------------------------------------- */

/* An IMAP atom. */
static bool is_atom(struct ps_bytes name)
{
	for (size_t i = 0; i < name.len; i++)
		if (name.ptr[i] <= ' ' || name.ptr[i] >= 0x7f || strchr("(){%*\"\\]", name.ptr[i]))
			return false;
	return name.len > 0 && name.len <= 250;
}

int adopt_keyword(struct adoption *adoption, struct ps_bytes name, uint64_t taken)
{
	char copy[256] = "";
	int bit;

	if (!is_atom(name)) {
		adopt_pass_over(adoption, "no keyword");
		return -1;
	}
	memcpy(copy, name.ptr, name.len);
	bit = ps_keyword_table_find(&adoption->keywords, copy);
	if (bit < 0 && (bit = ps_keyword_table_add(&adoption->keywords, copy, taken)) < 0) {
		adopt_pass_over(adoption, "too many keywords");
		return -1;
	}
	return bit;
}

/* ---- a mailbox ------------------------------------------------------------------------------- */

/* A list with sizes was in use here: UIDs beyond those of the other server were told. Somebody took away our state. */
static int was_ours(int dirfd)
{
	struct uid_list list;
	int r = uidlist_read(dirfd, &list);

	if (r < 0)
		return r;
	for (size_t i = 0; i < list.slot_count && r == 0; i++)
		for (struct uid_record *rec = list.slots[i]; rec && r == 0; rec = rec->next)
			r = rec->has_uid && rec->wire > 0;
	uidlist_finish(&list);
	return r;
}

static int read_sources(struct adoption *adoption, const char **ret_source)
{
	int r = 0;

	for (size_t i = 0; i < PS_ARRAY_LEN(sources) && r == 0; i++) {
		r = sources[i].read(adoption);
		*ret_source = sources[i].name;
	}
	return r;
}

static int take_over(struct ps_catalogue_txn *w, struct adoption *adoption, struct mailbox_state *state)
{
	int r;

	if (adoption->lines.failed)
		return PS_E_LIMIT;
	if ((r = keywords_write(adoption->dirfd, &adoption->keywords)) < 0 ||
	    (r = uidlist_replace(adoption->dirfd, ps_buf_view(&adoption->lines))) < 0 ||
	    (r = ps_catalogue_uid_validity(w, adoption->uid_validity, &state->uid_validity)) < 0)
		return r;
	state->uid_reserved = adoption->uid_next;
	state->flags |= MAILBOX_ADOPTED;
	return 1;
}

static void log_adoption(const struct adoption *adoption, const char *source)
{
	char messages[24], validity[12], next[12];

	snprintf(messages, sizeof messages, "%zu", adoption->messages);
	snprintf(validity, sizeof validity, "%u", adoption->uid_validity);
	snprintf(next, sizeof next, "%u", adoption->uid_next);
	ps_log(PS_LOG_INFO, "maildir_adopted", "mailbox", adoption->mailbox, "from", source, "uidvalidity", validity,
	       "uidnext", next, "messages", messages, NULL);
}

int adopt_mailbox(struct ps_catalogue_txn *w, int dirfd, const char *mailbox, struct mailbox_state *state)
{
	struct adoption adoption = {.mailbox = mailbox, .dirfd = dirfd};
	const char *source = "";
	int r = read_sources(&adoption, &source);

	if (r == 1) {
		r = was_ours(dirfd);
		if (r == 1)
			ps_log(PS_LOG_WARNING, "maildir_state_lost", "mailbox", mailbox, NULL);
		r = r == 0 ? take_over(w, &adoption, state) : r < 0 ? r : 0;
	}
	if (r == 1)
		log_adoption(&adoption, source);
	ps_buf_finish(&adoption.lines);
	ps_keyword_table_finish(&adoption.keywords);
	return r;
}
