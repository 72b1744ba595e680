/* SPDX-License-Identifier: MIT */
/* Opening a maildrop, closing it, and what QUIT does. */
#include <pthread.h>
#include <search.h>
#include <stdlib.h>
#include <time.h>
#include "postern/error.h"
#include "postern/log.h"
#include "protocols/pop3/pop3.h"

/* ---- who may open one ------------------------------------------------------------------------- */

/* A user's; all of a user's sessions are in one process. It stays when nobody has it open, for LOGIN-DELAY only. */
struct pop3_maildrop {
	char *user;
	unsigned sessions;
	bool was_opened;
	int64_t opened; /* seconds, CLOCK_MONOTONIC */
};

static pthread_mutex_t maildrops_lock = PTHREAD_MUTEX_INITIALIZER;
static void *maildrops;

static int compare(const void *a, const void *b)
{
	const struct pop3_maildrop *one = a, *other = b;

	return strcmp(one->user, other->user);
}

static struct pop3_maildrop *find_or_make(const char *user)
{
	struct pop3_maildrop wanted = {.user = (char *)user}, **found = tfind(&wanted, &maildrops, compare), *made;

	if (found)
		return *found;
	made = ps_zalloc(sizeof *made);
	made->user = ps_strdup(user);
	if (!tsearch(made, &maildrops, compare))
		abort(); /* as when there is no memory elsewhere */
	return made;
}

static void leave(struct pop3_maildrop *maildrop, bool keep)
{
	pthread_mutex_lock(&maildrops_lock);
	if (maildrop && --maildrop->sessions == 0 && !keep) {
		tdelete(maildrop, &maildrops, compare);
		free(maildrop->user);
		free(maildrop);
	}
	pthread_mutex_unlock(&maildrops_lock);
}

static int64_t now_seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

/* NULL, and the maildrop is entered. */
static const char *enter(struct pop3 *pop3, bool exclusive, int64_t delay)
{
	const char *refusal = NULL;
	struct pop3_maildrop *maildrop;
	int64_t now = now_seconds();

	pthread_mutex_lock(&maildrops_lock);
	maildrop = find_or_make(ps_session_user_name(pop3->session));
	if (exclusive && maildrop->sessions > 0)
		refusal = "[IN-USE] Another session has this maildrop open";
	else if (maildrop->was_opened && now - maildrop->opened < delay)
		refusal = "[LOGIN-DELAY] That was too soon after the last log-in";
	if (!refusal) {
		maildrop->sessions++;
		maildrop->was_opened = true;
		maildrop->opened = now;
		pop3->maildrop = maildrop;
	}
	pthread_mutex_unlock(&maildrops_lock);
	return refusal;
}

/* ---- the messages ----------------------------------------------------------------------------- */

static int open_view(struct pop3 *pop3)
{
	struct ps_view_status status;
	int r = ps_view_open(ps_session_user(pop3->session), "INBOX", false, NULL, NULL, &pop3->view);

	if (r < 0)
		return r;
	ps_view_status(pop3->view, &status);
	pop3->count = status.messages;
	pop3->uid_validity = status.uid_validity;
	pop3->marks = ps_zalloc(pop3->count + 1);
	return 0;
}

bool pop3_is_lasting(int r)
{
	return r == PS_E_ACCESS || r == PS_E_CORRUPT || r == PS_E_INVALID || r == PS_E_UNSUPPORTED;
}

const char *pop3_maildrop_open(struct pop3 *pop3)
{
	const struct ps_conf *conf = ps_session_conf(pop3->session);
	bool exclusive = strcmp(ps_conf_str(conf, "maildrop"), "exclusive") == 0;
	const char *refusal = enter(pop3, exclusive, ps_conf_int(conf, "login_delay"));
	int r;

	if (refusal)
		return refusal;
	pop3->uidl = pop3_uidl_find(ps_conf_str(conf, "uidl_format"));
	r = open_view(pop3);
	if (r == 0)
		return NULL;
	ps_log(PS_LOG_ERROR, "maildrop_failed", "sid", ps_session_sid(pop3->session), "msg", ps_last_error(), NULL);
	return pop3_is_lasting(r) ? "[SYS/PERM] The maildrop cannot be opened"
				  : "[SYS/TEMP] The maildrop cannot be opened now; try again later";
}

void pop3_maildrop_close(struct pop3 *pop3)
{
	if (pop3->view)
		ps_view_close(pop3->view);
	pop3->view = NULL;
	free(pop3->marks);
	pop3->marks = NULL;
	if (pop3->maildrop)
		leave(pop3->maildrop, ps_conf_int(ps_session_conf(pop3->session), "login_delay") > 0);
	pop3->maildrop = NULL;
}

/* ---- UPDATE, RFC 1939 section 6 ---------------------------------------------------------------- */

/* The UIDs of those with `mark` and no other of `without`. */
static struct ps_set marked(const struct pop3 *pop3, uint8_t mark, uint8_t without, struct ps_pool *pool)
{
	struct ps_ranges ranges = {0};

	for (uint32_t seq = 1; seq <= pop3->count; seq++) {
		uint32_t uid = ps_view_row(pop3->view, seq)->uid;

		if ((pop3->marks[seq - 1] & (mark | without)) == mark)
			ps_ranges_add(&ranges, (struct ps_range){uid, uid});
	}
	return ps_ranges_to_set(&ranges, pool);
}

static int mark_seen(struct pop3 *pop3, struct ps_pool *pool)
{
	struct ps_set read = marked(pop3, POP3_READ, POP3_DELETED, pool);
	struct ps_flag_change change = {
		.mode = PS_FLAGS_ADD,
		.flags = PS_FLAG_SEEN,
		.unchanged_since = UINT64_MAX,
	};
	struct ps_op_result result;

	if (read.count == 0 || !ps_conf_bool(ps_session_conf(pop3->session), "mark_seen"))
		return 0;
	return ps_view_change_flags(pop3->view, &read, &change, pool, &result);
}

int pop3_maildrop_update(struct pop3 *pop3)
{
	PS_CLEANUP(ps_pool_destroyp) struct ps_pool *pool = ps_pool_create("pop3 update");
	struct ps_set deleted = marked(pop3, POP3_DELETED, 0, pool);
	int r = deleted.count > 0 ? ps_view_remove(pop3->view, &deleted) : 0;

	if (r < 0)
		return r;
	/* Nobody loses mail by this: it is not worth an -ERR. */
	if (mark_seen(pop3, pool) < 0)
		ps_log(PS_LOG_WARNING, "mark_seen_failed", "sid", ps_session_sid(pop3->session), "msg", ps_last_error(),
		       NULL);
	return 0;
}
