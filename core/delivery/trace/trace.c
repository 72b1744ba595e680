/* SPDX-License-Identifier: MIT */
/* The journal of this process: events are gathered here, and one thread writes and reads. */
#include <errno.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "core/delivery/trace/private.h"
#include "core/event/workers.h"
#include "core/message/msgid.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/message.h"

enum {
	WRITE_AFTER_MS = 250,  /* LMDB keeps pages for all that is written at once, some five for each event */
	WRITE_AT = 256 * 1024, /* octets gathered */
	REST_MS = 2000,
	GATHERED_MAX = 4096 * 1024, /* when the disk does not keep up: more is lost */
	HEADER_MAX = 64 * 1024,
};

/* What the thread is to write. */
struct job {
	struct ps_buf records;
	uint64_t oldest, octets;
};

static struct {
	struct job job; /* while `writing` the thread's */
	struct ps_loop *loop;
	struct ps_workers *workers; /* one thread */
	struct ps_timer *timer;
	struct trace_journal *journal;
	uint64_t seconds, octets;
	struct ps_buf gathered;
	bool writing, armed;
	bool failing; /* the thread's */
	uint64_t lost;
} this;

static uint64_t wall_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- writing --------------------------------------------------------------------------------- */

static void write_soon(void);

static void work_write(void *arg)
{
	struct job *job = arg;
	int r = trace_journal_add(this.journal, ps_buf_view(&job->records), job->oldest, job->octets);

	/* Then a part of what there is makes room; what is old goes with the next ones. */
	if (r == PS_E_FULL)
		r = trace_journal_add(this.journal, ps_bytes(NULL, 0), job->oldest, job->octets / 2);
	if (r < 0 && !this.failing)
		ps_log(PS_LOG_WARNING, "trace_not_written", "msg", ps_last_error(), NULL);
	this.failing = r < 0;
	ps_buf_finish(&job->records);
}

static void done_write(void *arg)
{
	(void)arg;
	this.writing = false;
	write_soon();
}

static void write_now(void)
{
	uint64_t now = wall_ms(), back = this.seconds * 1000;

	if (this.writing || this.gathered.len == 0)
		return;
	this.job = (struct job){.records = this.gathered, .oldest = now > back ? now - back : 0, .octets = this.octets};
	this.gathered = (struct ps_buf){0};
	this.writing = true;
	if (this.lost) {
		ps_log(PS_LOG_WARNING, "trace_lost", "events", ps_num((long long)this.lost), NULL);
		this.lost = 0;
	}
	ps_workers_run(this.workers, work_write, done_write, &this.job);
}

/* One thing at a time: what is gathered meanwhile goes together. */
static void write_soon(void)
{
	if (this.gathered.len >= WRITE_AT)
		write_now();
	if (this.gathered.len > 0 && !this.armed && !this.writing)
		ps_timer_set(this.timer, WRITE_AFTER_MS, 0);
	this.armed = this.armed || (this.gathered.len > 0 && !this.writing);
}

static void on_timer(void *arg)
{
	(void)arg;
	this.armed = false;
	write_now();
}

void ps_trace(const struct ps_trace_event *event)
{
	size_t start = this.gathered.len, len;

	if (!this.journal || !event->id)
		return;
	if (start > GATHERED_MAX) {
		this.lost++;
		return;
	}
	ps_buf_append(&this.gathered, "\0\0\0\0", 4);
	trace_pack(event, wall_ms(), &this.gathered);
	len = this.gathered.len - start - 4;
	for (unsigned i = 0; i < 4; i++)
		this.gathered.ptr[start + i] = (uint8_t)(len >> (8 * (3 - i)));
	write_soon();
}

/* ---- opening and closing --------------------------------------------------------------------- */

static void rest(void *arg)
{
	trace_journal_rest(arg);
}

void ps_trace_configure(uint64_t seconds, uint64_t octets)
{
	this.seconds = seconds;
	this.octets = octets;
}

int ps_trace_open(struct ps_loop *loop, const char *dir, uint64_t seconds, uint64_t octets)
{
	int r;

	this.loop = loop;
	ps_trace_configure(seconds, octets);
	if ((r = ps_timer_open(loop, on_timer, NULL, &this.timer)) == 0 &&
	    (r = ps_workers_create(loop, 1, &this.workers)) == 0)
		r = trace_journal_open(dir, octets, &this.journal);
	if (r == 0)
		r = ps_workers_tend(this.workers, REST_MS, rest, this.journal);
	if (r < 0)
		ps_trace_close();
	return r;
}

void ps_trace_close(void)
{
	uint64_t now = wall_ms(), back = this.seconds * 1000;

	if (this.workers)
		ps_workers_destroy(this.workers);
	if (this.journal && this.gathered.len > 0)
		trace_journal_add(this.journal, ps_buf_view(&this.gathered), now > back ? now - back : 0, this.octets);
	ps_timer_close(this.timer);
	trace_journal_close(this.journal);
	ps_buf_finish(&this.gathered);
	memset(&this, 0, sizeof this);
}

/* ---- asking ---------------------------------------------------------------------------------- */

struct question {
	char *request, *answer;
	void (*done)(void *arg, const char *answer);
	void *arg;
};

static void work_answer(void *arg)
{
	struct question *question = arg;

	question->answer = trace_answer(this.journal, question->request);
}

static void done_answer(void *arg)
{
	struct question *question = arg;

	question->done(question->arg, question->answer ? question->answer : "{\"ok\":false,\"error\":\"no memory\"}");
	free(question->answer);
	free(question->request);
	free(question);
}

void ps_trace_ask(const char *request, void (*done)(void *arg, const char *answer), void *arg)
{
	struct question *question;

	if (!this.journal) {
		done(arg, "{\"ok\":false,\"error\":\"no journal is kept: see relay { trace_time } and spool_dir\"}");
		return;
	}
	question = ps_zalloc(sizeof *question);
	question->request = ps_strdup(request);
	question->done = done;
	question->arg = arg;
	/* The thread does one after the other, so what was just said is in the answer. */
	write_now();
	ps_workers_run(this.workers, work_answer, done_answer, question);
}

/* ---- Message-ID ------------------------------------------------------------------------------ */

void ps_trace_message_id(int file, struct ps_buf *out)
{
	struct ps_buf header = {0}, id = {0};
	uint8_t *at = ps_buf_reserve(&header, HEADER_MAX);
	ssize_t n = at ? pread(file, at, HEADER_MAX, 0) : -1;
	struct ps_header_walk walk = {ps_bytes(at, n > 0 ? (size_t)n : 0)};
	struct ps_bytes name, value;

	while (id.len == 0 && ps_header_next(&walk, &name, &value))
		if (ps_bytes_caseeq_str(name, "Message-ID"))
			ps_msgid_next(&value, &id);
	ps_buf_bytes(out, ps_buf_view(&id));
	ps_buf_finish(&id);
	ps_buf_finish(&header);
}
