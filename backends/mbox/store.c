/* SPDX-License-Identifier: MIT */
#include "config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "backends/mbox/mbox_private.h"
#include "postern/log.h"

enum {
	LOCK_TRIES = 6000,
	LOCK_WAIT_NS = 10 * 1000 * 1000,
	MODSEQ_PER_SECOND = 1000000,
	ASIDE_AGE = 36 * 3600
};

/* ---- the lock -------------------------------------------------------------------------------- */

static int file_lock(struct ps_store *store)
{
	struct timespec wait = {.tv_nsec = LOCK_WAIT_NS};

	for (int i = 0; i < LOCK_TRIES; i++) {
		if (flock(store->lock_fd, LOCK_EX | LOCK_NB) == 0)
			return 0;
		if (errno != EWOULDBLOCK && errno != EINTR)
			return ps_fail_errno("lock the store of %s", store->user);
		nanosleep(&wait, NULL);
	}
	return ps_fail(PS_E_BUSY, "the store of %s stays locked", store->user);
}

/* The first octet of the lock file says whether its holder is between files and index. It needs no sync: after a
 * crash of the machine the index is made again anyway. */
static int write_busy(struct ps_store *store, char busy)
{
	return pwrite(store->lock_fd, &busy, 1, 0) == 1 ? 0 : ps_fail_errno("write the lock file");
}

static bool is_busy(struct ps_store *store)
{
	char busy = '0';

	return pread(store->lock_fd, &busy, 1, 0) == 1 && busy == '1';
}

int store_unsettled(struct ps_store *store)
{
	return write_busy(store, '1');
}

void store_settled(struct ps_store *store)
{
	write_busy(store, '0');
}

/* ---- the index ------------------------------------------------------------------------------- */

struct ps_index *store_index(struct ps_store *store)
{
	struct ps_index *index;

	pthread_mutex_lock(&store->mutex);
	index = store->index ? ps_index_ref(store->index) : NULL;
	pthread_mutex_unlock(&store->mutex);
	return index;
}

static void set_index(struct ps_store *store, struct ps_index *index)
{
	struct ps_index *old;

	pthread_mutex_lock(&store->mutex);
	old = store->index;
	store->index = index;
	store->own_txn = ps_index_last_txn(index); /* what was seen before is another index's */
	store->foreign_gen++;
	pthread_mutex_unlock(&store->mutex);
	ps_index_close(old);
}

void store_drop_index(struct ps_store *store)
{
	ps_log(PS_LOG_WARNING, "index_dropped", "user", store->user, "error", ps_last_error(), NULL);
	ps_index_discard(store->index_path);
	pthread_mutex_lock(&store->mutex);
	store->foreign_gen++; /* what is read from it is not how it is: a sync is due */
	pthread_mutex_unlock(&store->mutex);
}

static bool index_is_there(struct ps_store *store)
{
	struct ps_index *index = store_index(store);
	bool there = index && ps_index_is_at(index, store->index_path);

	ps_index_close(index);
	return there;
}

static int start_modseq(struct ps_store *store)
{
	struct write w;
	int r = write_begin(store, &w);

	if (r < 0)
		return r;
	w.modseq = store->state.modseq_reserved;
	return write_commit(&w);
}

static int say_complete(struct ps_store *store)
{
	struct write w;
	int r = write_begin(store, &w);

	if (r < 0)
		return r;
	if ((r = ps_index_complete(w.txn)) < 0) {
		write_abort(&w);
		return r;
	}
	return write_commit(&w);
}

static int rebuild(struct ps_store *store)
{
	int r;

	if ((r = start_modseq(store)) < 0 || (r = tokens_load(store)) < 0 || (r = mailboxes_sync(store, true)) < 0)
		return r;
	return say_complete(store);
}

/* Opens the index and fills it if it is new. One left half-filled is begun anew. */
static int open_index(struct ps_store *store)
{
	struct ps_index *index;
	bool fresh;
	int r = ps_index_open(store->index_path, &index, &fresh);

	if (r == 0 && fresh) {
		ps_index_close(index);
		ps_index_discard(store->index_path);
		r = ps_index_open(store->index_path, &index, &fresh);
	}
	if (r < 0)
		return r;
	set_index(store, index);
	if (!fresh)
		return 0;
	if ((r = rebuild(store)) < 0)
		store_drop_index(store);
	return r;
}

void store_renew_index(struct ps_store *store)
{
	store_drop_index(store);
	if (open_index(store) < 0)
		ps_log(PS_LOG_WARNING, "index_not_made", "user", store->user, "error", ps_last_error(), NULL);
}

int store_grow_index(struct ps_store *store)
{
	struct ps_index *index = store_index(store);
	int r = index ? ps_index_grow(index) : ps_fail(PS_E_STORAGE, "the index is not there");

	ps_index_close(index);
	return r;
}

/* ---- what outlives it ------------------------------------------------------------------------ */

static uint64_t index_number(struct ps_store *store, const char *name)
{
	struct ps_index *index = store_index(store);
	struct ps_index_txn *txn;
	uint64_t n = 0;

	if (index && ps_index_read(index, &txn) == 0) {
		n = ps_index_number(txn, name);
		ps_index_end(txn);
	}
	ps_index_close(index);
	return n;
}

/* A store that had a state and lost it goes on above all it can have told: a modseq from the clock. */
static int make_state(struct ps_store *store, bool lost)
{
	struct store_state state = {.uid_validity_high = (uint32_t)time_now()};

	if (lost) {
		ps_log(PS_LOG_WARNING, "mbox_state_lost", "user", store->user, NULL);
		state.modseq_reserved = (uint64_t)time_now() * MODSEQ_PER_SECOND;
		if (index_number(store, "modseq") > state.modseq_reserved)
			state.modseq_reserved = index_number(store, "modseq") + MODSEQ_PER_SECOND;
		state.generation = index_number(store, "generation");
	}
	store->state = state;
	return ps_state_write(store->control_fd, "state", &state, sizeof state);
}

static int read_state(struct ps_store *store)
{
	int r = ps_state_read(store->control_fd, "state", &store->state, sizeof store->state);
	struct stat st;

	if (r == PS_E_CORRUPT)
		return make_state(store, true);
	if (r == PS_E_NOTFOUND)
		return make_state(store, fstatat(store->control_fd, "journal", &st, AT_SYMLINK_NOFOLLOW) == 0 &&
						 store->had_journal);
	return r;
}

/* Makes files and index agree after somebody died between them. */
static int recover(struct ps_store *store)
{
	int r = journal_recover(store);

	if (r == 0 && !index_is_there(store))
		r = open_index(store);
	if (r == 0)
		r = tokens_load(store);
	if (r == 0)
		r = mailboxes_sync(store, false);
	if (r == 0)
		r = scan_changed(store);
	if (r == 0) {
		store->journal_pending = false;
		store_settled(store);
	}
	return r;
}

static uint64_t generation_of(const struct store_state *state)
{
	return state->generation ? state->generation : 1;
}

/* Who is shut out changes nothing, not even to recover. */
static int check_generation(const struct ps_store *store)
{
	if (store->generation == 0 || store->generation == generation_of(&store->state))
		return 0;
	return ps_fail(PS_E_MOVED, "the store of %s has generation %llu, not %llu", store->user,
		       (unsigned long long)generation_of(&store->state), (unsigned long long)store->generation);
}

static int prepare(struct ps_store *store)
{
	int r = read_state(store);

	if (r < 0 || (r = check_generation(store)) < 0)
		return r;
	if (is_busy(store) || store->journal_pending) {
		r = recover(store);
	} else if (!index_is_there(store)) {
		/* The machine may have gone down with a journal on disk. */
		r = journal_recover(store);
		if (r == 0)
			r = open_index(store);
	}
	ps_buf_finish(&store->brought);
	if (r != PS_E_CORRUPT)
		return r;
	store_drop_index(store);
	return open_index(store);
}

int store_lock(struct ps_store *store)
{
	int r;

	pthread_mutex_lock(&store->writer);
	r = file_lock(store);
	if (r == 0) {
		r = prepare(store);
		if (r < 0) {
			unlock_files(store);
			flock(store->lock_fd, LOCK_UN);
		}
	}
	if (r < 0)
		pthread_mutex_unlock(&store->writer);
	return r;
}

void store_unlock(struct ps_store *store)
{
	unlock_files(store);
	flock(store->lock_fd, LOCK_UN);
	pthread_mutex_unlock(&store->writer);
}

/* ---- generations ----------------------------------------------------------------------------- */

int mbox_generation(struct ps_store *store, uint64_t *ret_generation)
{
	struct store_state state;
	int r = ps_state_read(store->control_fd, "state", &state, sizeof state);

	if (r == 0)
		*ret_generation = generation_of(&state);
	return r;
}

/* For the day when the state file is lost. */
static void note_generation(struct ps_store *store, uint64_t generation)
{
	struct write w;

	if (write_begin(store, &w) < 0)
		return;
	if (ps_index_number_put(w.txn, "generation", generation) < 0)
		write_abort(&w);
	else
		write_commit(&w);
}

static int set_generation(struct ps_store *store, uint64_t generation)
{
	struct store_state state = store->state;
	int r;

	if (generation <= generation_of(&state))
		return ps_fail(PS_E_INVALID, "generation %llu is not above the present one",
			       (unsigned long long)generation);
	state.generation = generation;
	if ((r = ps_state_write(store->control_fd, "state", &state, sizeof state)) < 0)
		return r;
	store->state = state;
	store->generation = generation;
	note_generation(store, generation);
	return 0;
}

int mbox_set_generation(struct ps_store *store, uint64_t generation)
{
	int r = store_lock(store);

	if (r < 0)
		return r;
	r = set_generation(store, generation);
	store_unlock(store);
	return r;
}

/* ---- open and close -------------------------------------------------------------------------- */

static int make_parents(char *path)
{
	for (char *at = strchr(path + 1, '/'); at; at = strchr(at + 1, '/')) {
		*at = '\0';
		if (mkdir(path, 0700) < 0 && errno != EEXIST) {
			int r = ps_fail_errno("create %s", path);

			*at = '/';
			return r;
		}
		*at = '/';
	}
	return 0;
}

static int open_root(struct ps_store *store, bool create)
{
	int r;

	if (create) {
		if ((r = make_parents(store->root)) < 0)
			return r;
		if (mkdir(store->root, 0700) < 0 && errno != EEXIST)
			return ps_fail_errno("create %s", store->root);
	}
	store->root_fd = open(store->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return store->root_fd < 0 ? ps_fail_errno("open %s", store->root) : 0;
}

static int open_or_make(int dirfd, const char *name, int *ret_fd)
{
	if (ps_io.mkdir(dirfd, name, 0700) == 0) {
		int r = ps_io_sync_dir(dirfd, name);

		if (r < 0)
			return r;
	} else if (errno != EEXIST) {
		return ps_fail_errno("create %s", name);
	}
	return ps_io_open_dir(dirfd, name, ret_fd);
}

static int open_dirs(struct ps_store *store)
{
	struct stat st;
	int r = open_or_make(store->root_fd, CONTROL_DIR, &store->control_fd);

	if (r == 0)
		r = open_or_make(store->control_fd, "aside", &store->aside_fd);
	if (r < 0)
		return r;
	store->lock_fd = ps_io.open(store->control_fd, "lock", O_RDWR | O_CREAT, 0600);
	if (store->lock_fd < 0)
		return ps_fail_errno("open the lock file");
	store->had_journal = fstatat(store->control_fd, "journal", &st, AT_SYMLINK_NOFOLLOW) == 0;
	return journal_open(store);
}

static const char *setting(const struct ps_store_args *args, const char *name, const char *def)
{
	const char *value = args->conf ? ps_conf_str(args->conf, name) : NULL;

	return value ? value : def;
}

static struct ps_store *store_create(const struct ps_store_args *args)
{
	struct ps_store *store = ps_zalloc(sizeof *store);
	const char *locks = setting(args, "locks", "both");
	size_t size = strlen(args->root) + sizeof INDEX_DIR + 1;

	store->user = ps_strdup(args->user);
	store->root = ps_strdup(args->root);
	store->inbox = ps_strdup(setting(args, "inbox", "INBOX"));
	store->index_path = ps_malloc(size);
	snprintf(store->index_path, size, "%s/%s", args->root, INDEX_DIR);
	store->sbd = strcmp(setting(args, "layout", "sbd"), "sbd") == 0;
	store->dot_locks = strcmp(locks, "both") == 0 || strcmp(locks, "dotlock") == 0;
	store->fcntl_locks = strcmp(locks, "both") == 0 || strcmp(locks, "fcntl") == 0;
	store->lock_timeout = args->conf ? ps_conf_int(args->conf, "lock_timeout") : 30;
	store->stale_lock = args->conf ? ps_conf_int(args->conf, "stale_lock") : 300;
	store->root_fd = store->control_fd = store->aside_fd = store->lock_fd = -1;
	store->journal_fd = store->tokens_fd = -1;
	pthread_mutex_init(&store->writer, NULL);
	pthread_mutex_init(&store->mutex, NULL);
	return store;
}

/* A path below the root, of plain components. */
static bool is_lawful_inbox(const char *path)
{
	return *path && *path != '/' && strlen(path) < 512 && strstr(path, "..") == NULL &&
	       strstr(path, "//") == NULL && path[strlen(path) - 1] != '/' &&
	       strncmp(path, CONTROL_DIR, sizeof CONTROL_DIR - 1) != 0 &&
	       strncmp(path, INDEX_DIR, sizeof INDEX_DIR - 1) != 0;
}

/* What lies aside and is old is left over; messages may be staged there by other processes now. */
static void clean_aside(struct ps_store *store)
{
	struct dirent *entry;
	struct stat st;
	DIR *dir;
	int fd;

	if (ps_io_open_dir(store->aside_fd, ".", &fd) < 0)
		return;
	if (!(dir = fdopendir(fd))) {
		close(fd);
		return;
	}
	while ((entry = readdir(dir)) != NULL)
		if (fstatat(store->aside_fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
		    (entry->d_name[0] != 's' || st.st_mtime < time_now() - ASIDE_AGE))
			ps_io.unlink(store->aside_fd, entry->d_name, 0);
	closedir(dir);
}

static int open_locked(struct ps_store *store)
{
	int r = mailboxes_stale(store) ? mailboxes_sync(store, false) : 0;

	if (!store->journal_pending)
		clean_aside(store);
	if (r == 0)
		r = tokens_tidy(store);
	return ps_no_room(r) ? 0 : r;
}

int store_open(const struct ps_store_args *args, struct ps_store **ret_store)
{
	struct ps_store *store;
	int r;

	if (args->root[0] != '/')
		return ps_fail(PS_E_INVALID, "the mail location of %s is not absolute", args->user);
	store = store_create(args);
	if (!is_lawful_inbox(store->inbox)) {
		store_close(store);
		return ps_fail(PS_E_INVALID, "inbox is no path below the mail location");
	}
	store->generation = args->generation;
	/* A store with a later generation is not made but found. */
	r = open_root(store, args->create && args->generation <= 1);
	if (r == PS_E_NOTFOUND && args->generation > 1)
		r = ps_fail(PS_E_MOVED, "the store of %s is not at %s", args->user, args->root);
	if (r == 0)
		r = open_dirs(store);
	if (r == 0)
		r = store_lock(store);
	if (r == 0) {
		store->generation = generation_of(&store->state);
		r = open_locked(store);
		store_unlock(store);
	}
	if (r < 0) {
		store_close(store);
		return r;
	}
	*ret_store = store;
	return 0;
}

void store_close(struct ps_store *store)
{
	int *fds[] = {&store->root_fd, &store->control_fd, &store->aside_fd,
		      &store->lock_fd, &store->journal_fd, &store->tokens_fd};

	if (*store->dot_name)
		ps_io.unlink(store->aside_fd, store->dot_name, 0);
	ps_index_close(store->index);
	for (size_t i = 0; i < PS_ARRAY_LEN(fds); i++)
		ps_closep(fds[i]);
	pthread_mutex_destroy(&store->writer);
	pthread_mutex_destroy(&store->mutex);
	free(store->user);
	free(store->root);
	free(store->inbox);
	free(store->index_path);
	free(store);
}
