/* SPDX-License-Identifier: MIT */
/*
 * What operations on messages do to files: steps, which are not done yet.
 */
#include "config.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "backends/maildir/maildir_private.h"

static struct edit *edit_of(struct ps_edit *edit)
{
	return (struct edit *)edit;
}

int plan_edit(struct ps_plan *plan, uint64_t key, struct ps_edit **ret_edit)
{
	struct edit *edit;
	int r = write_edit(plan->t, key, &edit);

	if (r == 0)
		*ret_edit = &edit->e;
	return r;
}

uint64_t plan_letters_taken(const struct ps_edit *edit)
{
	return edit->box.priv[BOX_LETTERS] & LETTERS_MASK;
}

/* The steps' directory for a mailbox's cur or new, or for the mailbox itself (place 0). */
static uint32_t dir_for(struct plan *plan, const struct edit *edit, enum place place)
{
	const char *part = place == PLACE_CUR ? "cur" : place == PLACE_NEW ? "new" : "";
	char dir[NAME_SIZE] = ".";
	const char *path;

	dir_of_name(plan->w.store->tree, edit->e.box.name, dir);
	if (!*part)
		path = ps_pool_strdup(plan->p.pool, dir);
	else if (strcmp(dir, ".") == 0)
		path = part;
	else
		path = ps_pool_printf(plan->p.pool, "%s/%s", dir, part);
	return steps_dir(&plan->steps, path, *part ? edit->folder : NULL, place);
}

static uint32_t tmp_dir(struct plan *plan)
{
	return steps_dir(&plan->steps, "tmp", NULL, PLACE_CUR);
}

/* What letters cannot say goes into the UID list, with the batch. */
static void note_keywords(struct plan *plan, const struct edit *edit, const char *file, uint64_t keywords,
			  uint64_t old_keywords)
{
	uint32_t dir = dir_for(plan, edit, 0);
	struct ps_buf line = {0}, old = {0};
	struct msg_name name;
	struct step *step;

	msg_name_parse(ps_bytes_str(file), &name);
	uidlist_line_keywords(&line, name.base, keywords & ~LETTERS_MASK);
	uidlist_line_keywords(&old, name.base, old_keywords & ~LETTERS_MASK);
	step = steps_add(&plan->steps, STEP_LINES, dir, NULL, dir, NULL);
	step->data = ps_bytes(ps_pool_memdup(plan->p.pool, line.ptr, line.len), line.len);
	step->old = ps_bytes(ps_pool_memdup(plan->p.pool, old.ptr, old.len), old.len);
	ps_buf_finish(&line);
	ps_buf_finish(&old);
}

static int put_row(struct plan *plan, struct ps_edit *edit, const struct ps_row *row, const struct msg_where *where)
{
	uint8_t locator[NAME_SIZE + 1];

	return ps_plan_put_row(&plan->p, edit, row, where_encode(where, locator));
}

/* ---- new messages ---------------------------------------------------------------------------- */

/* The name and the row of one that is new. The caller adds the step that brings its file there. */
static int put_new(struct plan *plan, struct ps_edit *edit, struct msg_facts *facts, struct ps_row *row,
		   struct msg_where *ret_where)
{
	int r;

	facts->flags = row->flags;
	facts->wire_size = row->size;
	facts->internal_date = row->internal_date;
	facts->save_date = row->save_date;
	facts->email_id = row->email_id;
	facts->uid_validity = edit->box.uid_validity;
	facts->uid = row->uid;
	facts->letters = (uint32_t)(row->keywords & LETTERS_MASK);
	ret_where->place = PLACE_CUR;
	if ((r = msg_name_build(plan->w.store->host, facts, ret_where->name, &row->email_id)) < 0)
		return r;
	if (row->keywords & ~LETTERS_MASK)
		note_keywords(plan, edit_of(edit), ret_where->name, row->keywords, 0);
	return put_row(plan, edit, row, ret_where);
}

/* What others see as the time of arrival; ours is in the name. Of mail that comes in, what the file has is right. The confined
 * process may set it of an open file only. */
static void set_time(int dirfd, const char *name, int64_t date)
{
	struct timespec times[2] = {{.tv_sec = date}, {.tv_sec = date}};
	PS_CLEANUP(ps_closep) int fd = -1;

	if (llabs(ps_catalogue_now() - date) <= 2)
		return;
	fd = ps_io.open(dirfd, name, O_RDONLY | O_NONBLOCK, 0);
	if (fd >= 0)
		futimens(fd, times);
}

int plan_append(struct ps_plan *base, struct ps_edit *edit, const struct ps_op *op, struct ps_row *row)
{
	struct plan *plan = plan_of(base);
	struct msg_facts facts = {.disk_size = op->staged->disk_size, .token = op == plan->named ? &plan->token : NULL};
	struct msg_where where;
	int r;

	edit_of(edit)->copied = op->uid != 0;
	if ((r = put_new(plan, edit, &facts, row, &where)) < 0)
		return r;
	set_time(plan->w.store->tmp_fd, op->staged->name, op->internal_date);
	steps_add(&plan->steps, STEP_RENAME, tmp_dir(plan), op->staged->name, dir_for(plan, edit_of(edit), PLACE_CUR),
		  where.name);
	return 0;
}

/* 0 for a file that is not there: the step will find out. */
static uint64_t disk_size(const struct ps_folder *folder, const struct msg_where *where)
{
	struct msg_name name;
	struct stat st;

	msg_name_parse(ps_bytes_str(where->name), &name);
	if (name.has_disk)
		return name.disk;
	return fstatat(folder_fd(folder, where->place), where->name, &st, AT_SYMLINK_NOFOLLOW) == 0
		       ? (uint64_t)st.st_size
		       : 0;
}

int plan_copy(struct ps_plan *base, struct ps_edit *from, struct ps_edit *to, const struct ps_picked *old,
	      struct ps_row *row, bool move)
{
	struct plan *plan = plan_of(base);
	struct msg_where where, was;
	struct msg_facts facts = {0};
	int r = where_decode(old->locator, &was);

	if (r < 0)
		return r;
	facts.disk_size = disk_size(edit_of(from)->folder, &was);
	edit_of(to)->copied = false;
	if ((r = put_new(plan, to, &facts, row, &where)) < 0)
		return r;
	steps_add(&plan->steps, move ? STEP_RENAME : STEP_LINK, dir_for(plan, edit_of(from), was.place), was.name,
		  dir_for(plan, edit_of(to), PLACE_CUR), where.name);
	return 0;
}

/* ---- those that are there --------------------------------------------------------------------- */

int plan_change(struct ps_plan *base, struct ps_edit *edit, const struct ps_picked *old, const struct ps_row *row)
{
	struct plan *plan = plan_of(base);
	uint64_t unknown_letters = ~ps_keyword_table_known(&edit->keywords) & LETTERS_MASK;
	struct msg_where where = {.place = PLACE_CUR}, was;
	uint32_t from, to = dir_for(plan, edit_of(edit), PLACE_CUR), letters;
	struct msg_name name;
	int r = where_decode(old->locator, &was);

	if (r < 0)
		return r;
	from = dir_for(plan, edit_of(edit), was.place);
	msg_name_parse(ps_bytes_str(was.name), &name);
	msg_name_flags(&name, &letters);
	letters = (uint32_t)((letters & unknown_letters) | (row->keywords & LETTERS_MASK));
	if ((r = msg_name_with_flags(&name, row->flags, letters, where.name)) < 0)
		return r;
	/* One that takes back what is not in the name yet changes no name, and is a step all the same. */
	if (plan->later || from != to || strcmp(where.name, was.name) != 0)
		later_mark(&plan->steps, steps_add(&plan->steps, STEP_RENAME, from, was.name, to, where.name),
			   edit->box.key, row->uid);
	if ((row->keywords ^ old->row.keywords) & ~LETTERS_MASK)
		note_keywords(plan, edit_of(edit), where.name, row->keywords, old->row.keywords);
	return put_row(plan, edit, row, plan->later ? &was : &where);
}

int plan_remove(struct ps_plan *base, struct ps_edit *edit, const struct ps_picked *old)
{
	struct plan *plan = plan_of(base);
	struct msg_where was;
	uint32_t dir;
	int r = where_decode(old->locator, &was);

	if (r < 0)
		return r;
	dir = dir_for(plan, edit_of(edit), was.place);
	steps_add(&plan->steps, STEP_UNLINK, dir, was.name, dir, NULL);
	return 0;
}
