/* SPDX-License-Identifier: MIT */
/*
 * Some IMAP sessions of one user, and a model beside them (sessions.h) that knows what is true after each command, and what each client may
 * and must be told. The input is a list of steps of four octets: what, who, and two arguments. A command may come in two halves, with
 * others' commands between them.
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include "protocols/imap/imap.h"
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/sessions.h"

enum {
	STEP = 4,
	STEPS_MAX = 300,
};

struct actor;

/* A command: begin() writes it and says whether there is one; end() does what it has done, and compares. */
struct act {
	bool (*begin)(struct actor *actor);
	void (*end)(struct actor *actor);
	bool keeps_numbers; /* it may not tell of expunged messages */
	bool leaves;        /* it tells nothing of the mailbox */
};

struct actor {
	struct client c;
	const struct act *act; /* under way; NULL: none is */
	struct ps_buf text;    /* of the command */
	size_t sent;
	bool halves; /* the next one comes in two */
	unsigned a, b;
	/* What it is about. */
	bool by_uid, silent, all_fail;
	unsigned chosen_count;
	uint32_t chosen[MAILS_MAX];
	struct box *target; /* when it began */
	unsigned ident;
	struct rows before;
};

static struct world world;
static struct actor actors[CLIENTS];

static void say(struct actor *actor, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(struct actor *actor, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	ps_buf_vprintf(&actor->text, format, ap);
	va_end(ap);
}

/* ---- one command ---------------------------------------------------------------------------------------- */

static void forget_answers(struct client *c)
{
	c->status = 0;
	c->code[0] = '\0';
	c->found_count = c->earlier_count = c->listed = 0;
	c->validity = c->uid_next = 0;
	c->modseq = 0;
}

static void feed(struct actor *actor, size_t octets)
{
	fuzz_session_feed(&actor->c.f, ps_bytes(actor->text.ptr + actor->sent, octets));
	actor->sent += octets;
}

/* What the client asks by itself, so that it knows what it has been told of. */
static void ask(struct actor *actor, const char *text)
{
	struct client *c = &actor->c;

	forget_answers(c);
	fuzz_session_feed(&c->f, ps_bytes_str(text));
	client_take(c);
	must(c->status == 'O' || c->status == 'N');
}

static void learn(struct actor *actor)
{
	struct client *c = &actor->c;

	for (unsigned i = 0; i < c->view.count; i++)
		if (c->view.rows[i].uid == 0 || !c->view.rows[i].flags_known) {
			c->may_expunge = false;
			c->fetches = true;
			ask(actor, "t FETCH 1:* (UID FLAGS)\r\n");
			client_check(c, false);
			return;
		}
}

static void open_session(struct actor *actor)
{
	struct client *c = &actor->c;

	c->closed = c->qresync = c->rev2 = c->idle = false;
	c->box = NULL;
	c->view.count = 0;
	fuzz_session_open(&c->f, &imap_mail_half, world.user);
	ps_buf_reset(&c->f.s.out.tail); /* the answer to a LOGIN that never was */
	actor->act = NULL;
}

static void close_session(struct actor *actor)
{
	fuzz_session_close(&actor->c.f);
	ps_buf_reset(&actor->text);
	actor->act = NULL;
}

static void finish_command(struct actor *actor)
{
	const struct act *act = actor->act;
	struct client *c = &actor->c;

	actor->act = NULL;
	forget_answers(c);
	c->may_expunge = !act->keeps_numbers || actor->by_uid;
	feed(actor, actor->text.len - actor->sent);
	ps_buf_reset(&actor->text);
	act->end(actor);
	if (c->closed) {
		must(c->box && c->box->gone);
		close_session(actor);
		open_session(actor);
		return;
	}
	must(c->status != 0 && c->status != 'B');
	if (act->leaves)
		return;
	client_check(c, c->may_expunge);
	if (c->box && !c->box->gone)
		learn(actor);
}

static void begin_command(struct actor *actor, const struct act *act, unsigned a, unsigned b)
{
	ps_buf_reset(&actor->text);
	actor->sent = 0;
	actor->a = a;
	actor->b = b;
	actor->by_uid = actor->silent = actor->all_fail = false;
	actor->chosen_count = 0;
	actor->target = NULL;
	actor->before = actor->c.view;
	actor->c.fetches = false;
	if (!act->begin(actor))
		return;
	say(actor, "\r\n");
	actor->act = act;
	if (!actor->halves) {
		finish_command(actor);
		return;
	}
	actor->halves = false;
	feed(actor, actor->c.idle ? strlen("t IDLE\r\n") : actor->text.len / 2);
	if (!actor->c.idle && actor->c.f.said.len > 0) /* it is refused before all of it has come */
		finish_command(actor);
}

/* ---- choosing ------------------------------------------------------------------------------------------- */

/* Up to eight messages in a row, by number or by UID. */
static bool choose(struct actor *actor, const char *verb)
{
	const struct rows *view = &actor->c.view;
	unsigned first, last;

	if (!actor->c.box || view->count == 0)
		return false;
	first = actor->a % view->count;
	last = first + (actor->a >> 5);
	last = last < view->count ? last : view->count - 1;
	actor->by_uid = actor->b & 128;
	say(actor, "t %s%s ", actor->by_uid ? "UID " : "", verb);
	if (actor->by_uid)
		say(actor, "%" PRIu32 ":%" PRIu32, view->rows[first].uid, view->rows[last].uid);
	else
		say(actor, "%u:%u", first + 1, last + 1);
	for (unsigned i = first; i <= last; i++)
		actor->chosen[actor->chosen_count++] = view->rows[i].uid;
	return true;
}

static bool any_gone(const struct actor *actor)
{
	for (unsigned i = 0; i < actor->chosen_count; i++)
		if (!mail_find(actor->c.box, actor->chosen[i]))
			return true;
	return false;
}

static void say_flags(struct actor *actor, unsigned flags)
{
	const char *blank = "";

	say(actor, "(");
	for (unsigned i = 0; i < FLAG_COUNT; i++)
		if (flags & 1u << i) {
			say(actor, "%s%s", blank, flag_names[i]);
			blank = " ";
		}
	say(actor, ")");
}

static bool is_dead(const struct client *c)
{
	return c->box && c->box->gone;
}

/* ---- the commands ------------------------------------------------------------------------------------------ */

static bool select_begin(struct actor *actor)
{
	unsigned name = actor->a % NAMES;
	struct client *c = &actor->c;

	actor->target = world.named[name];
	say(actor, "t %s \"%s\"", actor->b & 1 ? "EXAMINE" : "SELECT", box_names[name]);
	if (c->qresync && c->remembered[name].modseq && actor->b & 2) {
		say(actor, " (QRESYNC (%" PRIu32 " %" PRIu64 "))", c->remembered[name].validity,
		    c->remembered[name].modseq);
		actor->all_fail = true; /* resumes */
	}
	return true;
}

static int by_uid(const void *a, const void *b)
{
	const struct known *first = a, *second = b;

	return first->uid < second->uid ? -1 : first->uid > second->uid;
}

/* What it remembers, less what vanished, and what it was told: that is all. */
static void resume(struct client *c, const struct rows *before)
{
	struct rows known = {0};

	for (unsigned i = 0; i < before->count; i++) {
		bool there = true;

		for (unsigned n = 0; n < c->earlier_count; n++)
			there &= c->earlier[n] != before->rows[i].uid;
		for (unsigned n = 0; n < c->view.count; n++)
			there &= c->view.rows[n].uid != before->rows[i].uid;
		if (there)
			known.rows[known.count++] = before->rows[i];
	}
	for (unsigned i = 0; i < c->view.count; i++)
		if (c->view.rows[i].uid)
			known.rows[known.count++] = c->view.rows[i];
	qsort(known.rows, known.count, sizeof known.rows[0], by_uid);
	must(known.count == c->view.count);
	for (unsigned i = 0; i < known.count; i++)
		must(c->view.rows[i].uid == 0 || c->view.rows[i].uid == known.rows[i].uid);
	c->view = known;
}

static void select_end(struct actor *actor)
{
	unsigned name = actor->a % NAMES;
	struct client *c = &actor->c;

	c->view.count = 0;
	c->may_expunge = false;
	client_take(c);
	c->box = NULL;
	must((c->status == 'O') == (world.named[name] != NULL));
	if (c->status != 'O')
		return;
	c->box = world.named[name];
	c->read_only = actor->b & 1;
	box_told(&world, name, c->validity);
	must(c->uid_next == c->box->next && c->view.count == c->box->count && c->modseq > 0);
	if (actor->all_fail && c->remembered[name].validity == c->validity)
		resume(c, &c->remembered[name].rows);
	client_check(c, true);
	c->remembered[name].validity = c->validity;
	c->remembered[name].modseq = c->modseq;
	learn(actor);
	client_check(c, true);
	c->remembered[name].rows = c->view;
	c->status = 'O';
}

static bool noop_begin(struct actor *actor)
{
	say(actor, "t %s", actor->c.box && actor->a & 1 ? "CHECK" : "NOOP");
	return true;
}

static void take_end(struct actor *actor)
{
	client_take(&actor->c);
}

static bool append_begin(struct actor *actor)
{
	unsigned name = actor->a % NAMES;
	struct ps_buf octets = {0};

	actor->target = world.named[name];
	if (actor->target && actor->target->count >= MAILS_MANY)
		return false;
	actor->ident = ++world.idents;
	mail_octets(actor->ident, &octets);
	say(actor, "t APPEND \"%s\" ", box_names[name]);
	say_flags(actor, actor->b & 127);
	say(actor, " {%zu+}\r\n%s", octets.len, ps_buf_cstr(&octets));
	ps_buf_finish(&octets);
	return true;
}

static void append_end(struct actor *actor)
{
	struct box *named = world.named[actor->a % NAMES], *begun = actor->target, *box = named;
	struct client *c = &actor->c;
	unsigned validity, uid;

	client_take(c);
	if (sscanf(c->code, "APPENDUID %u %u", &validity, &uid) != 2) {
		must(c->closed || c->status == 'N');
		must(!named || named != begun || is_dead(c));
		return;
	}
	/* It may have been renamed meanwhile, and another have its name. */
	if (begun && !begun->gone && (!named || (named->validity && named->validity != validity)))
		box = begun;
	must(c->status == 'O' && box && (box->validity == 0 || box->validity == validity) && uid == box->next);
	mail_add(box, actor->b & 127, actor->ident);
}

static bool store_begin(struct actor *actor)
{
	static const char *const modes[] = {"", "+", "-"};

	actor->silent = actor->b & 64;
	if (!choose(actor, "STORE"))
		return false;
	if ((actor->b & 56) == 56) {
		actor->all_fail = actor->b & 1; /* all were changed since */
		say(actor, " (UNCHANGEDSINCE %s)", actor->all_fail ? "0" : "9000000000000000000");
	}
	say(actor, " %sFLAGS%s ", modes[actor->b % 3], actor->silent ? ".SILENT" : "");
	say_flags(actor, 1u << (actor->b >> 2) % FLAG_COUNT);
	return true;
}

static unsigned changed(const struct actor *actor, unsigned flags)
{
	unsigned flag = 1u << (actor->b >> 2) % FLAG_COUNT;

	return actor->b % 3 == 0 ? flag : actor->b % 3 == 1 ? flags | flag : flags & ~flag;
}

static void store_end(struct actor *actor)
{
	struct client *c = &actor->c;
	bool lost = !actor->by_uid && any_gone(actor);

	for (unsigned i = 0; i < actor->chosen_count && !c->read_only && !actor->all_fail && !is_dead(c); i++) {
		struct mail *mail = mail_find(c->box, actor->chosen[i]);

		if (mail)
			mail->flags = changed(actor, mail->flags);
		for (unsigned n = 0; n < c->view.count && actor->silent && !lost; n++)
			if (c->view.rows[n].uid == actor->chosen[i])
				c->view.rows[n].flags = changed(actor, c->view.rows[n].flags);
	}
	client_take(c);
	must(is_dead(c) || (c->status == 'O') == (!c->read_only && !lost));
}

/* Those with \Deleted that it knows of; of these, the chosen ones. */
static void expunge(struct actor *actor, bool chosen)
{
	struct client *c = &actor->c;

	for (unsigned i = 0; i < actor->before.count && !c->read_only && !is_dead(c); i++) {
		uint32_t uid = actor->before.rows[i].uid;
		struct mail *mail = mail_find(c->box, uid);
		bool asked = !chosen;

		for (unsigned n = 0; n < actor->chosen_count; n++)
			asked |= actor->chosen[n] == uid;
		if (mail && asked && mail->flags & FLAG_DELETED)
			mail_remove(c->box, uid);
	}
}

static bool expunge_begin(struct actor *actor)
{
	actor->b |= 128;
	if (actor->a & 1)
		return choose(actor, "EXPUNGE");
	say(actor, "t EXPUNGE");
	return actor->c.box != NULL;
}

static void expunge_end(struct actor *actor)
{
	expunge(actor, actor->chosen_count > 0);
	client_take(&actor->c);
	must(is_dead(&actor->c) || (actor->c.status == 'O') == !actor->c.read_only);
}

static bool close_begin(struct actor *actor)
{
	say(actor, "t %s", actor->a & 1 ? "CLOSE" : "UNSELECT");
	return actor->c.box != NULL;
}

static void close_end(struct actor *actor)
{
	struct client *c = &actor->c;

	if (actor->a & 1)
		expunge(actor, false);
	client_take(c);
	must(c->status == 'O' || is_dead(c));
	if (c->status == 'O')
		c->box = NULL;
}

static bool copy_begin(struct actor *actor)
{
	struct box *to = world.named[actor->b % NAMES];

	if (to && to->count >= MAILS_MANY)
		return false;
	if (!choose(actor, actor->b & 64 ? "MOVE" : "COPY"))
		return false;
	say(actor, " \"%s\"", box_names[actor->b % NAMES]);
	return true;
}

/* "COPYUID 38505 304,319:320 3956:3958" */
static void check_copyuid(struct actor *actor, const struct box *to, unsigned count, const uint32_t *uids)
{
	uint32_t told[2][MAILS_MAX];
	unsigned validity;
	char sets[2][256];

	if (count == 0)
		return;
	must(sscanf(actor->c.code, "COPYUID %u %255s %255[0-9:,]", &validity, sets[0], sets[1]) == 3);
	must(to->validity == 0 || to->validity == validity);
	for (int i = 0; i < 2; i++)
		must(set_expand(sets[i], told[i], MAILS_MAX) == count);
	for (unsigned i = 0; i < count; i++)
		must(told[0][i] == uids[i] && told[1][i] == to->next - count + i);
}

static void copy_end(struct actor *actor)
{
	struct box *to = world.named[actor->b % NAMES];
	struct client *c = &actor->c;
	bool moves = actor->b & 64, good = to && !is_dead(c) && !(moves && c->read_only);
	uint32_t uids[MAILS_MAX];
	unsigned count = 0;

	for (unsigned i = 0; i < actor->chosen_count && good; i++) {
		struct mail *mail = mail_find(c->box, actor->chosen[i]);

		if (!mail)
			continue;
		uids[count++] = mail->uid;
		mail_add(to, mail->flags, mail->ident);
		if (moves)
			mail_remove(c->box, actor->chosen[i]);
	}
	client_take(c);
	must(is_dead(c) || (c->status == 'O') == good);
	if (good)
		check_copyuid(actor, to, count, uids);
}

static bool fetch_begin(struct actor *actor)
{
	static const char *const items[] = {"(UID FLAGS)", "(UID BODY.PEEK[])", "(UID BODY[])", "FLAGS",
					    "(UID MODSEQ)"};

	actor->c.fetches = true;
	if (!choose(actor, "FETCH"))
		return false;
	say(actor, " %s", items[actor->b % PS_ARRAY_LEN(items)]);
	return true;
}

/* To a client that was told \Seen, reading changes nothing, though another has taken it away meanwhile: as if it had read before. */
static bool was_seen(const struct actor *actor, uint32_t uid)
{
	for (unsigned i = 0; i < actor->before.count; i++)
		if (actor->before.rows[i].uid == uid)
			return actor->before.rows[i].flags & FLAG_SEEN;
	return false;
}

static void fetch_end(struct actor *actor)
{
	struct client *c = &actor->c;
	bool sees = actor->b % 5 == 2 && !c->read_only && !is_dead(c);

	for (unsigned i = 0; i < actor->chosen_count && sees; i++) {
		struct mail *mail = mail_find(c->box, actor->chosen[i]);

		if (mail && !was_seen(actor, mail->uid))
			mail->flags |= FLAG_SEEN;
	}
	client_take(c);
	must(is_dead(c) || c->status == 'O' || any_gone(actor));
}

static bool search_begin(struct actor *actor)
{
	static const char *const verbs[] = {"SEARCH", "SORT (SUBJECT) UTF-8", "THREAD REFS UTF-8"};
	static const char *const keys[FLAG_COUNT] = {"DELETED", "SEEN",         "FLAGGED",     "ANSWERED",
						     "DRAFT",   "KEYWORD work", "KEYWORD play"};

	actor->by_uid = actor->b & 128;
	say(actor, "t %s%s %s", actor->by_uid ? "UID " : "", verbs[actor->b % 3], keys[actor->a % FLAG_COUNT]);
	return actor->c.box != NULL;
}

/* Others' changes that it was not told of may count already or not. */
static void search_end(struct actor *actor)
{
	unsigned flag = 1u << actor->a % FLAG_COUNT;
	struct client *c = &actor->c;

	client_take(c);
	if (c->status != 'O' || is_dead(c))
		return;
	for (unsigned i = 0; i < actor->before.count; i++) {
		const struct known *row = &actor->before.rows[i];
		const struct mail *mail = mail_find(c->box, row->uid);
		bool hit = false;

		for (unsigned n = 0; n < c->found_count; n++)
			hit |= c->found[n] == (actor->by_uid ? row->uid : i + 1);
		must(!mail || !hit || (mail->flags | row->flags) & flag);
		must(!mail || hit || !(mail->flags & row->flags & flag));
	}
}

static bool idle_begin(struct actor *actor)
{
	say(actor, "t IDLE\r\nDONE");
	actor->c.idle = true;
	return true;
}

static bool create_begin(struct actor *actor)
{
	say(actor, "t CREATE \"%s\"", box_names[actor->a % NAMES]);
	return world.made + CLIENTS < BOXES_MAX;
}

static void create_end(struct actor *actor)
{
	unsigned name = actor->a % NAMES;
	struct client *c = &actor->c;
	bool good = !world.named[name];

	if (good)
		box_make(&world, name);
	client_take(c);
	must(c->closed || (c->status == 'O') == good);
}

static bool delete_begin(struct actor *actor)
{
	say(actor, "t DELETE \"%s\"", box_names[actor->a % NAMES]);
	return true;
}

static void delete_end(struct actor *actor)
{
	unsigned name = actor->a % NAMES;
	struct client *c = &actor->c;
	struct box *box = world.named[name];

	if (box && name != 0) {
		box->gone = true;
		world.named[name] = NULL;
	}
	client_take(c);
	must(c->closed || (c->status == 'O') == (box && name != 0));
	if (box && box == c->box && !c->closed && name != 0)
		c->box = NULL; /* it is not selected any more */
}

/* Where a name comes to lie; NAMES: it stays; -1: outside of the names there are here. */
static int renamed(unsigned name, unsigned from, unsigned to)
{
	size_t len = strlen(box_names[from]);
	char new_name[64];

	if (strncmp(box_names[name], box_names[from], len) != 0 ||
	    (box_names[name][len] && box_names[name][len] != '/'))
		return NAMES;
	snprintf(new_name, sizeof new_name, "%s%s", box_names[to], box_names[name] + len);
	for (int i = 0; i < NAMES; i++)
		if (strcmp(new_name, box_names[i]) == 0)
			return i;
	return -1;
}

static bool rename_begin(struct actor *actor)
{
	unsigned from = actor->a % NAMES, to = actor->b % NAMES;

	for (unsigned i = 0; i < NAMES; i++)
		if (renamed(i, from, to) < 0)
			return false;
	say(actor, "t RENAME \"%s\" \"%s\"", box_names[from], box_names[to]);
	return world.made + CLIENTS < BOXES_MAX;
}

static bool rename_all(unsigned from, unsigned to)
{
	struct box *moved[NAMES] = {0};
	unsigned count = 0;

	if (world.named[to] || from == to)
		return false;
	for (unsigned i = 0; i < NAMES; i++) {
		int at = renamed(i, from, to);

		if (at == NAMES || !world.named[i])
			continue;
		if (world.named[at])
			return false;
		moved[at] = world.named[i];
		count++;
	}
	for (unsigned i = 0; i < NAMES && count > 0; i++)
		if (renamed(i, from, to) < NAMES)
			world.named[i] = NULL;
	for (unsigned i = 0; i < NAMES; i++)
		if (moved[i])
			world.named[i] = moved[i];
	return count > 0;
}

/* Its messages go, and it stays; RFC 9051 section 6.3.6. */
static bool rename_inbox(unsigned to)
{
	struct box *inbox = world.named[0], *box;

	if (world.named[to])
		return false;
	box = box_make(&world, to);
	for (unsigned i = 0; i < inbox->count; i++)
		mail_add(box, inbox->mails[i].flags, inbox->mails[i].ident);
	inbox->count = 0;
	return true;
}

static void rename_end(struct actor *actor)
{
	unsigned from = actor->a % NAMES, to = actor->b % NAMES;
	bool good = from == 0 ? rename_inbox(to) : rename_all(from, to);

	client_take(&actor->c);
	must(actor->c.closed || (actor->c.status == 'O') == good);
}

static bool status_begin(struct actor *actor)
{
	say(actor, "t STATUS \"%s\" (MESSAGES UIDNEXT UIDVALIDITY UNSEEN)", box_names[actor->a % NAMES]);
	return true;
}

static void status_end(struct actor *actor)
{
	const struct box *box = world.named[actor->a % NAMES];
	struct client *c = &actor->c;
	unsigned unseen = 0;

	client_take(c);
	must(c->closed || (c->status == 'O') == (box != NULL));
	if (c->status != 'O' || !box)
		return;
	for (unsigned i = 0; i < box->count; i++)
		unseen += !(box->mails[i].flags & FLAG_SEEN);
	box_told(&world, actor->a % NAMES, c->validity);
	must(c->messages == box->count && c->uid_next == box->next && c->unseen == unseen);
}

static bool list_begin(struct actor *actor)
{
	say(actor, "t LIST \"\" *");
	return true;
}

static void list_end(struct actor *actor)
{
	struct client *c = &actor->c;

	client_take(c);
	for (unsigned i = 0; i < NAMES && c->status == 'O'; i++)
		must((bool)(c->listed & 1u << i) == (world.named[i] != NULL));
}

static bool enable_begin(struct actor *actor)
{
	static const char *const what[] = {"QRESYNC", "IMAP4rev2", "QRESYNC IMAP4rev2", "CONDSTORE"};

	say(actor, "t ENABLE %s", what[actor->a % PS_ARRAY_LEN(what)]);
	return true;
}

static void logout(struct actor *actor)
{
	close_session(actor);
	open_session(actor);
}

enum {
	SELECT,
	IDLE = 12
};

static const struct act acts[] = {
	[SELECT] = {.begin = select_begin, .end = select_end, .leaves = true},
	{.begin = noop_begin, .end = take_end},
	{.begin = append_begin, .end = append_end},
	{.begin = append_begin, .end = append_end},
	{.begin = store_begin, .end = store_end, .keeps_numbers = true},
	{.begin = store_begin, .end = store_end, .keeps_numbers = true},
	{.begin = expunge_begin, .end = expunge_end},
	{.begin = close_begin, .end = close_end, .leaves = true},
	{.begin = copy_begin, .end = copy_end},
	{.begin = copy_begin, .end = copy_end},
	{.begin = fetch_begin, .end = fetch_end, .keeps_numbers = true},
	{.begin = search_begin, .end = search_end, .keeps_numbers = true},
	[IDLE] = {.begin = idle_begin, .end = take_end},
	{.begin = create_begin, .end = create_end},
	{.begin = delete_begin, .end = delete_end},
	{.begin = rename_begin, .end = rename_end},
	{.begin = status_begin, .end = status_end},
	{.begin = list_begin, .end = list_end},
	{.begin = enable_begin, .end = take_end},
};

/* ---- the driver --------------------------------------------------------------------------------------------- */

/* Who idles hears of it at once. */
static void tell_idlers(void)
{
	for (size_t i = 0; i < CLIENTS; i++) {
		struct actor *actor = &actors[i];
		struct client *c = &actor->c;

		if (!actor->act || !c->idle)
			continue;
		c->may_expunge = true;
		fuzz_session_run(&c->f);
		client_take(c);
		if (c->closed) {
			must(is_dead(c));
			logout(actor);
			continue;
		}
		client_check(c, true);
	}
}

static void begin_idle(struct actor *actor)
{
	actor->halves = true;
	actor->by_uid = false;
	actor->c.may_expunge = true;
	begin_command(actor, &acts[IDLE], 0, 0);
}

static void step(const uint8_t *octets)
{
	struct actor *actor = &actors[octets[1] % CLIENTS];
	unsigned what = octets[0] % (PS_ARRAY_LEN(acts) + 2);

	if (actor->act) {
		actor->c.idle = false;
		finish_command(actor);
	} else if (what == PS_ARRAY_LEN(acts)) {
		logout(actor);
	} else if (what == IDLE) {
		begin_idle(actor);
	} else if (what > PS_ARRAY_LEN(acts)) {
		actor->halves = true;
	} else {
		begin_command(actor, &acts[what], octets[2], octets[3]);
	}
	tell_idlers();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	memset(&world, 0, sizeof world);
	memset(actors, 0, sizeof actors);
	world.user = fuzz_user_open();
	box_make(&world, 0);
	for (size_t i = 0; i < CLIENTS; i++) {
		actors[i].c.world = &world;
		open_session(&actors[i]);
		begin_command(&actors[i], &acts[SELECT], 0, 0);
	}
	for (size_t i = 0; i + STEP <= size && i < STEPS_MAX * STEP; i += STEP)
		step(data + i);
	for (size_t i = 0; i < CLIENTS; i++) {
		close_session(&actors[i]);
		ps_buf_finish(&actors[i].text);
	}
	fuzz_user_close(world.user);
	return 0;
}
