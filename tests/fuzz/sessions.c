/* SPDX-License-Identifier: MIT */
/* What is true, and what clients make of what they are told: nothing else than RFC 3501, 9051 and 7162 say. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "tests/fuzz/sessions.h"

const char *const box_names[NAMES] = {"INBOX", "A", "A/B", "C", "C/B"};
const char *const flag_names[FLAG_COUNT] = {"\\Deleted", "\\Seen", "\\Flagged", "\\Answered",
					    "\\Draft",   "work",   "play"};

/* ---- the truth ------------------------------------------------------------------------------------- */

struct mail *mail_find(struct box *box, uint32_t uid)
{
	for (unsigned i = 0; i < box->count; i++)
		if (box->mails[i].uid == uid)
			return &box->mails[i];
	return NULL;
}

void mail_add(struct box *box, unsigned flags, unsigned ident)
{
	must(box->count < MAILS_MAX);
	box->mails[box->count++] = (struct mail){.uid = box->next++, .flags = flags, .ident = ident};
}

void mail_remove(struct box *box, uint32_t uid)
{
	struct mail *mail = mail_find(box, uid);

	must(mail != NULL);
	memmove(mail, mail + 1, (size_t)(&box->mails[--box->count] - mail) * sizeof *mail);
}

void mail_octets(unsigned ident, struct ps_buf *out)
{
	ps_buf_printf(out, "Subject: m%u\r\nMessage-ID: <%u@example.test>\r\n\r\nbody of %u\r\n", ident, ident, ident);
}

struct box *box_make(struct world *world, unsigned name)
{
	struct box *box = &world->all[world->made++];

	must(world->made < BOXES_MAX && !world->named[name]);
	box->next = 1;
	world->named[name] = box;
	return box;
}

struct box *box_of_validity(struct world *world, uint32_t validity)
{
	for (unsigned i = 0; i < NAMES; i++)
		if (world->named[i] && world->named[i]->validity == validity)
			return world->named[i];
	return NULL;
}

void box_told(struct world *world, unsigned name, uint32_t validity)
{
	struct box *box = world->named[name];

	must(box && (box->validity == 0 || box->validity == validity));
	box->validity = validity;
	for (unsigned i = 0; i < world->pair_count; i++)
		if (world->pairs[i].name == name && world->pairs[i].validity == validity) {
			must(world->pairs[i].box == box);
			return;
		}
	if (world->pair_count == PS_ARRAY_LEN(world->pairs))
		return;
	world->pairs[world->pair_count].name = name;
	world->pairs[world->pair_count].validity = validity;
	world->pairs[world->pair_count++].box = box;
}

/* ---- what is told -------------------------------------------------------------------------------------- */

unsigned set_expand(const char *text, uint32_t *numbers, unsigned max)
{
	unsigned count = 0;

	while (ps_isdigit(*text)) {
		char *end;
		uint32_t first = (uint32_t)strtoul(text, &end, 10), last = first;

		if (*end == ':')
			last = (uint32_t)strtoul(end + 1, &end, 10);
		must(first > 0 && first <= last);
		for (; first <= last && count < max; first++)
			numbers[count++] = first;
		text = *end == ',' ? end + 1 : end;
	}
	return count;
}

static void take_exists(struct client *c, unsigned number)
{
	must(number >= c->view.count && number <= MAILS_MAX);
	while (c->view.count < number)
		c->view.rows[c->view.count++] = (struct known){0};
}

static void remove_row(struct client *c, unsigned at)
{
	memmove(&c->view.rows[at], &c->view.rows[at + 1], (c->view.count - at - 1) * sizeof c->view.rows[0]);
	c->view.count--;
}

/* One whose UID has not been told lies between those whose UIDs have. */
static void take_vanished(struct client *c, uint32_t uid)
{
	unsigned at = MAILS_MAX;

	for (unsigned i = 0; i < c->view.count; i++) {
		uint32_t here = c->view.rows[i].uid;

		if (here == uid || here == 0)
			at = here == uid || at == MAILS_MAX ? i : at;
		if (here >= uid)
			break;
		if (here != 0)
			at = MAILS_MAX;
	}
	must(at < MAILS_MAX);
	remove_row(c, at);
}

static unsigned take_flags(const char *list)
{
	size_t len = strcspn(list, ")");
	unsigned flags = 0;

	for (unsigned i = 0; i < FLAG_COUNT; i++) {
		const char *at = memmem(list, len, flag_names[i], strlen(flag_names[i]));

		if (at)
			flags |= 1u << i;
	}
	return flags;
}

static void take_uid(struct client *c, unsigned at, uint32_t uid)
{
	struct known *row = &c->view.rows[at];

	must(uid > 0 && (row->uid == 0 || row->uid == uid));
	row->uid = uid;
	for (unsigned i = 0; i < c->view.count; i++)
		must(c->view.rows[i].uid == 0 || i == at || (c->view.rows[i].uid < uid) == (i < at));
}

static void take_body(struct client *c, const struct known *row, const char *octets, size_t len)
{
	struct mail *mail = row->uid && c->box ? mail_find(c->box, row->uid) : NULL;
	struct ps_buf whole = {0};

	if (mail) {
		mail_octets(mail->ident, &whole);
		must(ps_bytes_eq(ps_buf_view(&whole), ps_bytes(octets, len)));
	}
	ps_buf_finish(&whole);
}

static void take_fetch(struct client *c, unsigned number, const char *text)
{
	const char *uid = strstr(text, "UID "), *flags = strstr(text, "FLAGS ("), *body = strstr(text, "BODY[] {");
	struct known *row = &c->view.rows[number - 1];

	must(number >= 1 && number <= c->view.count);
	must(uid || c->fetches || !c->rev2);
	if (uid)
		take_uid(c, number - 1, (uint32_t)strtoul(uid + 4, NULL, 10));
	if (flags) {
		must(!c->rev2 || !strstr(flags, "\\Recent"));
		row->flags = take_flags(flags + 7);
		row->flags_known = true;
	}
	if (body)
		take_body(c, row, strchr(body, '\n') + 1, strtoul(body + 8, NULL, 10));
}

static void take_numbers(struct client *c, const char *text)
{
	for (; *text; text++)
		if (ps_isdigit(*text)) {
			must(c->found_count < MAILS_MAX);
			c->found[c->found_count++] = (uint32_t)strtoul(text, (char **)(uintptr_t)&text, 10);
			if (!*text)
				break;
		}
}

static unsigned long figure(const char *text, const char *name)
{
	const char *at = strstr(text, name);

	return at ? strtoul(at + strlen(name), NULL, 10) : 0;
}

static void take_status(struct client *c, const char *text)
{
	c->messages = (unsigned)figure(text, "MESSAGES ");
	c->unseen = (unsigned)figure(text, "UNSEEN ");
	c->uid_next = (uint32_t)figure(text, "UIDNEXT ");
	c->validity = (uint32_t)figure(text, "UIDVALIDITY ");
}

static void take_list(struct client *c, const char *text)
{
	const char *name = strstr(text, "\"/\" ");

	if (strstr(text, "\\NonExistent") || strstr(text, "\\Noselect") || !name)
		return;
	name += 4 + (name[4] == '"');
	for (unsigned i = 0; i < NAMES; i++)
		if (strcspn(name, "\"\r ") == strlen(box_names[i]) &&
		    strncmp(name, box_names[i], strlen(box_names[i])) == 0)
			c->listed |= 1u << i;
}

static void take_ok(struct client *c, const char *text)
{
	if (strncmp(text, "[UIDVALIDITY", 12) == 0)
		c->validity = (uint32_t)strtoul(text + 13, NULL, 10);
	else if (strncmp(text, "[UIDNEXT", 8) == 0)
		c->uid_next = (uint32_t)strtoul(text + 9, NULL, 10);
	else if (strncmp(text, "[HIGHESTMODSEQ", 14) == 0)
		c->modseq = strtoull(text + 15, NULL, 10);
	else if (strncmp(text, "[COPYUID", 8) == 0)
		snprintf(c->code, sizeof c->code, "%s", text + 1);
}

static void take_vanished_line(struct client *c, const char *text)
{
	uint32_t uids[MAILS_MAX];
	unsigned count;

	must(c->qresync);
	if (strncmp(text, "(EARLIER) ", 10) == 0) {
		c->earlier_count = set_expand(text + 10, c->earlier, MAILS_MAX);
		return;
	}
	must(c->may_expunge);
	count = set_expand(text, uids, MAILS_MAX);
	for (unsigned i = 0; i < count; i++)
		take_vanished(c, uids[i]);
}

static void take_number(struct client *c, const char *text)
{
	char *what;
	unsigned number = (unsigned)strtoul(text, &what, 10);

	if (strncmp(what, " EXISTS", 7) == 0) {
		take_exists(c, number);
	} else if (strncmp(what, " RECENT", 7) == 0) {
		must(!c->rev2 && number <= c->view.count);
	} else if (strncmp(what, " EXPUNGE", 8) == 0) {
		must(c->may_expunge && !c->qresync && number >= 1 && number <= c->view.count);
		remove_row(c, number - 1);
	} else {
		must(strncmp(what, " FETCH (", 8) == 0);
		take_fetch(c, number, what);
	}
}

static void take_enabled(struct client *c, const char *text)
{
	c->qresync |= strstr(text, "QRESYNC") != NULL;
	c->rev2 |= strstr(text, "IMAP4rev2") != NULL;
}

static void take_esearch(struct client *c, const char *text)
{
	const char *all = strstr(text, " ALL ");

	if (all)
		c->found_count = set_expand(all + 5, c->found, MAILS_MAX);
}

/* Nothing but its tagged answer, or the end, is expected behind it. */
static void take_bye(struct client *c, const char *text)
{
	(void)text;
	c->closed = true;
}

static void take_nothing(struct client *c, const char *text)
{
	(void)c;
	(void)text;
}

static const struct {
	const char *begin;
	void (*take)(struct client *c, const char *text);
} responses[] = {
	{"* OK ", take_ok},
	{"* VANISHED ", take_vanished_line},
	{"* SEARCH", take_numbers},
	{"* SORT", take_numbers},
	{"* THREAD", take_numbers},
	{"* ESEARCH", take_esearch},
	{"* STATUS ", take_status},
	{"* LIST ", take_list},
	{"* ENABLED", take_enabled},
	{"* BYE", take_bye},
	{"* FLAGS ", take_nothing},
	{"+ ", take_nothing},
	{"* CAPABILITY", take_nothing},
};

static void take_tagged(struct client *c, const char *text)
{
	must(c->status == 0 && text[0] == 't' && text[1] == ' ');
	c->status = text[2];
	must(c->status == 'O' || c->status == 'N' || c->status == 'B');
	if (strchr(text, '[') && !c->code[0])
		snprintf(c->code, sizeof c->code, "%.*s", (int)strcspn(strchr(text, '[') + 1, "]"),
			 strchr(text, '[') + 1);
}

static void take_response(struct client *c, const char *text)
{
	if (strncmp(text, "* ", 2) == 0 && ps_isdigit(text[2])) {
		take_number(c, text + 2);
		return;
	}
	for (size_t i = 0; i < PS_ARRAY_LEN(responses); i++)
		if (strncmp(text, responses[i].begin, strlen(responses[i].begin)) == 0) {
			responses[i].take(c, text + strlen(responses[i].begin));
			return;
		}
	take_tagged(c, text);
}

/* With its literals. */
static size_t response_length(const char *text)
{
	size_t len = 0;

	for (;;) {
		const char *line = text + len, *end = strstr(line, "\r\n"), *brace;

		must(end != NULL);
		len += (size_t)(end + 2 - line);
		brace = end;
		if (end == line || *--brace != '}')
			return len;
		while (brace > line && *brace != '{')
			brace--;
		len += strtoul(brace + 1, NULL, 10);
	}
}

void client_take(struct client *c)
{
	const char *all = ps_buf_cstr(&c->f.said);

	must(strlen(all) == c->f.said.len);
	while (*all) {
		size_t len = response_length(all);
		char *text = strndup(all, len);

		take_response(c, text);
		free(text);
		all += len;
	}
	ps_buf_reset(&c->f.said);
}

/* ---- both beside each other ------------------------------------------------------------------------------ */

void client_check(struct client *c, bool whole)
{
	unsigned next = 0;

	if (!c->box || c->box->gone || c->closed)
		return;
	for (unsigned i = 0; i < c->view.count; i++) {
		const struct known *row = &c->view.rows[i];
		const struct mail *mail = next < c->box->count ? &c->box->mails[next] : NULL;

		if (mail && (row->uid == mail->uid || row->uid == 0)) {
			must(!row->flags_known || row->flags == mail->flags);
			next++;
		} else {
			must(!whole && row->uid > 0 && !mail_find(c->box, row->uid));
		}
	}
	must(next == c->box->count);
}
