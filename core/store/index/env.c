/* SPDX-License-Identifier: MIT */
/*
 * Opening and closing, and the mark by which a crash of the machine is noticed.
 *
 * The mark is one line in the file `mark`: "postern-index 2 STATE BOOT DEATHS", STATE being `used` or `clean`.
 * All who have the index open hold a shared lock on that file, so who gets the exclusive one is alone: it may begin
 * the index anew when it opens, and it writes `clean` when it closes. DEATHS counts how often in a row the last user
 * went without closing: an index that kills its readers must not do so for ever. So after DEATHS_MAX of them it is read whole, and
 * trusted anew if it is sound; if even that is a death, the next begins it anew. A process that was killed from outside, however often,
 * costs nothing of it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>
#include "core/store/index/index_private.h"
#include "core/store/index/renew.h"
#include "postern/io.h"
#include "postern/log.h"

enum {
	FIRST_MAP = 16 << 20,
	MAX_READERS = 254,
	DEATHS_MAX = 16
};

#define MARK_FORMAT "postern-index 2 %-5s %-36s %3u\n"

/* Of what opens and closes. It is never held while waiting for a disk, since all users of the process meet here. */
static struct {
	pthread_mutex_t lock;
	pthread_cond_t over; /* a turn is */
	struct ps_index *open;
	struct turn *turns;
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER, .over = PTHREAD_COND_INITIALIZER};

static char boot_id[37];

/* Read when the library is loaded: a confined process cannot read it any more. Where it cannot be read at all, an
 * index that was not closed is always begun anew. */
__attribute__((constructor)) static void read_boot_id(void)
{
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? 0 : read(fd, boot_id, sizeof boot_id - 1);

	boot_id[n == (ssize_t)sizeof boot_id - 1 ? n : 0] = '\0';
	if (fd >= 0)
		close(fd);
}

int ps_index_failed(int rc, const char *what)
{
	return index_fail(rc, what);
}

int index_fail(int rc, const char *what)
{
	static const struct {
		int rc;
		enum ps_err code;
	} map[] = {
		{MDB_NOTFOUND, PS_E_NOTFOUND},        {MDB_MAP_FULL, PS_E_AGAIN},      {MDB_CORRUPTED, PS_E_CORRUPT},
		{MDB_PAGE_NOTFOUND, PS_E_CORRUPT},    {MDB_PANIC, PS_E_CORRUPT},       {MDB_INVALID, PS_E_CORRUPT},
		{MDB_VERSION_MISMATCH, PS_E_CORRUPT}, {MDB_BAD_TXN, PS_E_CORRUPT},     {MDB_INCOMPATIBLE, PS_E_CORRUPT},
		{MDB_BAD_VALSIZE, PS_E_CORRUPT},      {MDB_READERS_FULL, PS_E_SCARCE},
	};

	for (size_t i = 0; i < PS_ARRAY_LEN(map); i++)
		if (map[i].rc == rc)
			return ps_fail(map[i].code, "index: %s: %s", what, mdb_strerror(rc));
	if (rc < 0)
		return ps_fail(PS_E_STORAGE, "index: %s: %s", what, mdb_strerror(rc));
	errno = rc;
	return ps_fail_errno("index: %s", what);
}

static int write_mark(int fd, const char *state, unsigned deaths)
{
	char line[80];
	int len = snprintf(line, sizeof line, MARK_FORMAT, state, boot_id[0] ? boot_id : "unknown", deaths);
	int r = ps_io_pwrite_all(fd, ps_bytes(line, (size_t)len), 0);

	if (r < 0)
		return r;
	return ps_io.fdatasync(fd) < 0 ? ps_fail_errno("sync the index's mark") : 0;
}

/* Whether what lies there can be trusted, and how often it was left without closing. */
static bool mark_is_good(int fd, unsigned *ret_deaths)
{
	char line[80] = "", expected[80];
	ssize_t n = ps_io.pread(fd, line, sizeof line - 1, 0);
	unsigned deaths = 0;
	const char *tail = n > 4 ? line + n - 4 : "";

	*ret_deaths = 0;
	if (n <= 4 || sscanf(tail, "%3u", &deaths) != 1)
		return false;
	snprintf(expected, sizeof expected, MARK_FORMAT, "clean", boot_id, deaths);
	if (memcmp(line, expected, 22) == 0 && strlen(line) == strlen(expected))
		return true;
	snprintf(expected, sizeof expected, MARK_FORMAT, "used", boot_id, deaths);
	*ret_deaths = deaths + 1;
	return boot_id[0] && strcmp(line, expected) == 0 && *ret_deaths <= DEATHS_MAX;
}

int index_mark_used(struct ps_index *index)
{
	unsigned deaths;
	int r;

	if (index->marked)
		return 0;
	mark_is_good(index->mark_fd, &deaths);
	if ((r = write_mark(index->mark_fd, "used", deaths > 0 ? deaths - 1 : 0)) < 0)
		return r;
	index->marked = true;
	return 0;
}

void ps_index_discard(const char *path)
{
	static const char *const files[] = {"data.mdb", "lock.mdb"};
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return;
	for (size_t i = 0; i < PS_ARRAY_LEN(files); i++)
		unlinkat(fd, files[i], 0);
	close(fd);
}

/* Names first: a clean mark beside a file that a power cut brought back, or without the one that it speaks of, would be trusted. */
static int mark_clean(int fd, const char *path)
{
	PS_CLEANUP(ps_closep) int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	int r = dir < 0 ? ps_fail_errno("open %s", path) : ps_io_sync_dir(dir, path);

	return r == 0 ? write_mark(fd, "clean", 0) : r;
}

/* Opens the mark with its shared lock; alone, decides whether the index is begun anew. */
static int open_mark(const char *path, int *ret_fd, bool *ret_suspect)
{
	char name[4096];
	unsigned deaths = 0;
	int fd, r = 0;

	snprintf(name, sizeof name, "%s/mark", path);
	fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return ps_fail_errno("open %s", name);
	if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
		if (!mark_is_good(fd, &deaths)) {
			ps_index_discard(path);
			deaths = 0;
			r = mark_clean(fd, path);
		} else if (deaths > 0) {
			r = write_mark(fd, "used", deaths);
		}
	}
	while (r == 0 && flock(fd, LOCK_SH) < 0)
		if (errno != EINTR)
			r = ps_fail_errno("lock %s", name);
	if (r < 0) {
		close(fd);
		return r;
	}
	*ret_fd = fd;
	*ret_suspect = deaths == DEATHS_MAX;
	return 0;
}

static int open_dbs_in(struct ps_index *index, const char *const *names, unsigned txn_flags, unsigned flags)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(index->env, NULL, txn_flags, &txn);

	for (size_t i = 0; rc == 0 && names[i]; i++)
		if ((rc = mdb_dbi_open(txn, names[i], flags, &index->dbi[i])) != 0)
			mdb_txn_abort(txn);
	return rc ? rc : mdb_txn_commit(txn);
}

/* Those that are there, without waiting for another process's writer. */
static int open_dbs(struct ps_index *index)
{
	const char *names[DB_COUNT + PS_INDEX_DATABASES + 1] = {"meta",   "boxes",       "names",    "keywords",
								"rows",   "changes",     "vanished", "cache",
								"tokens", "token_times", "graves",   "subscriptions"};
	int rc;

	if (!index->durable)
		names[DB_DISPOSABLE_COUNT] = NULL;
	for (size_t i = 0; index->databases[i]; i++)
		names[DB_COUNT + i] = index->databases[i];
	rc = open_dbs_in(index, names, MDB_RDONLY, 0);
	if (rc == MDB_NOTFOUND)
		rc = open_dbs_in(index, names, 0, MDB_CREATE);
	return rc ? index_fail(rc, "open databases") : 0;
}

static int64_t seconds_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

/* One that is opened again is the same file. */
static int open_env(struct ps_index *index, size_t map)
{
	unsigned flags = MDB_NOTLS | (index->durable ? MDB_NOSUBDIR : MDB_NOSYNC | MDB_NORDAHEAD);
	struct stat st;
	int dead, rc, fd = -1;

	if ((rc = mdb_env_create(&index->env)) != 0)
		return index_fail(rc, "create");
	mdb_env_set_maxdbs(index->env, DB_COUNT + PS_INDEX_DATABASES);
	mdb_env_set_maxreaders(index->env, MAX_READERS);
	mdb_env_set_mapsize(index->env, map);
	rc = mdb_env_open(index->env, index->path, flags, 0600);
	if (rc == 0)
		rc = mdb_env_get_fd(index->env, &fd);
	if (rc == 0 && fstat(fd, &st) < 0)
		rc = errno;
	if (rc)
		return index_fail(rc, index->path);
	if (index->ino && (index->dev != st.st_dev || index->ino != st.st_ino))
		return ps_fail(PS_E_STORAGE, "index: %s is another file now", index->path);
	if (!index->ino) {
		index->dev = st.st_dev;
		index->ino = st.st_ino;
	}
	index->opened_at = seconds_now();
	index->writes_before = index->writes;
	mdb_reader_check(index->env, &dead);
	return 0;
}

static void close_env(struct ps_index *index)
{
	if (index->env)
		mdb_env_close(index->env);
	index->env = NULL;
}

int index_reopen_env(struct ps_index *index)
{
	MDB_envinfo info = {.me_mapsize = FIRST_MAP};
	int r;

	if (index->env)
		mdb_env_info(index->env, &info);
	close_env(index);
	if ((r = open_env(index, info.me_mapsize)) == 0)
		r = open_dbs(index);
	if (r < 0)
		close_env(index);
	return r;
}

static void index_free(struct ps_index *index)
{
	if (index->pid == getpid()) /* one from before a fork() is the parent's */
		close_env(index);
	if (index->mark_fd >= 0)
		close(index->mark_fd);
	pthread_mutex_destroy(&index->writer);
	pthread_mutex_destroy(&index->lock);
	pthread_cond_destroy(&index->idle);
	for (size_t i = 0; index->databases[i]; i++)
		free(index->databases[i]);
	free(index->path);
	free(index);
}

/* The mark counts this as a death, until it is survived. */
static int clear_of_suspicion(struct ps_index *index)
{
	struct ps_index_txn *txn;
	bool sound;
	int r = ps_index_read(index, &txn);

	if (r < 0)
		return r;
	sound = index_is_sound(txn);
	ps_index_end(txn);
	return sound ? write_mark(index->mark_fd, "used", 0) : ps_fail(PS_E_CORRUPT, "index: it is not sound");
}

static int open_disposable(struct ps_index *index)
{
	bool suspect;
	int r;

	if ((r = open_mark(index->path, &index->mark_fd, &suspect)) < 0 || (r = open_env(index, FIRST_MAP)) < 0 ||
	    (r = index_mark_used(index)) < 0 || (r = open_dbs(index)) < 0)
		return r;
	return suspect ? clear_of_suspicion(index) : 0;
}

static int open_durable(struct ps_index *index, const struct ps_index_how *how)
{
	int r;

	for (size_t i = 0; i < PS_INDEX_DATABASES && how->databases && how->databases[i]; i++)
		index->databases[i] = ps_strdup(how->databases[i]);
	r = open_env(index, how->map);
	return r == 0 ? open_dbs(index) : r;
}

/* how NULL: a disposable one. */
static int index_create(const char *path, const struct ps_index_how *how, struct ps_index **ret_index)
{
	struct ps_index *index = ps_zalloc(sizeof *index);
	int r;

	index->refs = 1;
	index->pid = getpid();
	index->path = ps_strdup(path);
	index->mark_fd = -1;
	index->durable = index->marked = how != NULL;
	pthread_mutex_init(&index->writer, NULL);
	pthread_mutex_init(&index->lock, NULL);
	pthread_cond_init(&index->idle, NULL);
	if ((r = how ? open_durable(index, how) : open_disposable(index)) < 0) {
		index_free(index);
		return r;
	}
	*ret_index = index;
	return 0;
}

static bool stat_data(const char *path, bool durable, struct stat *ret_st)
{
	char name[4096];

	snprintf(name, sizeof name, "%s%s", path, durable ? "" : "/data.mdb");
	return lstat(name, ret_st) == 0;
}

bool ps_index_is_at(const struct ps_index *index, const char *path)
{
	struct stat st;

	return stat_data(path, index->durable, &st) && st.st_dev == index->dev && st.st_ino == index->ino;
}

/* ---- the registry ------------------------------------------------------------------------------- */

/* Who opens or closes an index is alone with the folder that it lies in. So of two who open it the second finds it in the
 * registry, who opens one that is being closed comes after that, and who waits for one that could not be opened tries it anew. */
struct turn {
	struct turn *next;
	struct index_folder folder;
};

static bool is_taken(const struct index_folder *folder)
{
	for (const struct turn *turn = registry.turns; turn; turn = turn->next)
		if (turn->folder.dev == folder->dev && turn->folder.ino == folder->ino)
			return true;
	return false;
}

static void turn_begin(struct turn *turn, const struct index_folder *folder)
{
	turn->folder = *folder;
	pthread_mutex_lock(&registry.lock);
	while (is_taken(folder))
		pthread_cond_wait(&registry.over, &registry.lock);
	turn->next = registry.turns;
	registry.turns = turn;
	pthread_mutex_unlock(&registry.lock);
}

static void turn_end(struct turn *turn)
{
	struct turn **link = &registry.turns;

	pthread_mutex_lock(&registry.lock);
	while (*link != turn)
		link = &(*link)->next;
	*link = turn->next;
	pthread_cond_broadcast(&registry.over);
	pthread_mutex_unlock(&registry.lock);
}

/* A disposable index is a folder, made here if it is missing; a durable one lies in one. */
static int find_folder(const char *path, bool durable, struct index_folder *ret_folder)
{
	const char *slash = durable ? strrchr(path, '/') : NULL;
	char name[4096];
	struct stat st;

	if (!durable && mkdir(path, 0700) < 0 && errno != EEXIST)
		return ps_fail_errno("create %s", path);
	if (durable)
		snprintf(name, sizeof name, "%.*s", slash ? (int)(slash - path + 1) : 1, slash ? path : ".");
	if (stat(durable ? name : path, &st) < 0)
		return ps_fail_errno("open %s", path);
	*ret_folder = (struct index_folder){st.st_dev, st.st_ino};
	return 0;
}

/* LMDB allows one handle per environment in a process; one inherited by fork() is not ours. NULL: it is not open. */
static struct ps_index *ref_open(const char *path, bool durable)
{
	struct ps_index *index;
	struct stat st;

	if (!stat_data(path, durable, &st))
		return NULL;
	pthread_mutex_lock(&registry.lock);
	index = registry.open;
	while (index && !(index->dev == st.st_dev && index->ino == st.st_ino && index->pid == getpid()))
		index = index->next;
	if (index)
		index->refs++;
	pthread_mutex_unlock(&registry.lock);
	return index;
}

static void enter_open(struct ps_index *index)
{
	pthread_mutex_lock(&registry.lock);
	index->next = registry.open;
	registry.open = index;
	pthread_mutex_unlock(&registry.lock);
}

/* Gives a reference back. True: it was the last, and nobody finds the index any more. */
static bool leave_open(struct ps_index *index)
{
	struct ps_index **link = &registry.open;
	bool last;

	pthread_mutex_lock(&registry.lock);
	last = --index->refs == 0;
	if (last) {
		while (*link != index)
			link = &(*link)->next;
		*link = index->next;
	}
	pthread_mutex_unlock(&registry.lock);
	return last;
}

/* ---- opening and closing ------------------------------------------------------------------------ */

/* One that is damaged is; one that just now cannot be read is not known to be. */
static int is_fresh(struct ps_index *index, bool *ret_fresh)
{
	struct ps_index_txn *txn;
	uint64_t complete = 0;
	int r = ps_index_read(index, &txn);

	if (r == 0) {
		r = ps_index_number(txn, "complete", &complete);
		ps_index_end(txn);
	}
	*ret_fresh = complete != 1;
	return r == PS_E_CORRUPT ? 0 : r;
}

/* What cannot be opened is begun anew, once. */
static int create_or_anew(const char *path, struct ps_index **ret_index)
{
	int r = index_create(path, NULL, ret_index);

	if (r != PS_E_CORRUPT)
		return r;
	ps_log(PS_LOG_WARNING, "index_damaged", "path", path, "error", ps_last_error(), NULL);
	ps_index_discard(path);
	return index_create(path, NULL, ret_index);
}

static int open_or_ref(const char *path, const struct ps_index_how *how, struct ps_index **ret_index)
{
	struct index_folder folder;
	struct ps_index *index;
	struct turn turn;
	int r = find_folder(path, how != NULL, &folder);

	if (r < 0)
		return r;
	turn_begin(&turn, &folder);
	index = ref_open(path, how != NULL);
	if (!index && (r = how ? index_create(path, how, &index) : create_or_anew(path, &index)) == 0) {
		index->folder = folder;
		enter_open(index);
	}
	turn_end(&turn);
	if (r == 0)
		*ret_index = index;
	return r;
}

int ps_index_open(const char *path, struct ps_index **ret_index, bool *ret_fresh)
{
	struct ps_index *index;
	int r = open_or_ref(path, NULL, &index);

	if (r < 0)
		return r;
	if ((r = is_fresh(index, ret_fresh)) < 0)
		ps_index_close(index);
	else
		*ret_index = index;
	return r;
}

int ps_index_open_durable(const char *file, const struct ps_index_how *how, struct ps_index **ret_index)
{
	return open_or_ref(file, how, ret_index);
}

struct ps_index *ps_index_ref(struct ps_index *index)
{
	index->refs++; /* the caller has one, so that it cannot go away meanwhile */
	return index;
}

/* Gives a reference back without the lock, unless it is the last. */
static bool drop_one_of_many(struct ps_index *index)
{
	unsigned refs = index->refs;

	while (refs > 1)
		if (atomic_compare_exchange_weak(&index->refs, &refs, refs - 1))
			return true;
	return false;
}

/* The last user of all syncs and says so. */
static void close_clean(struct ps_index *index)
{
	if (index->durable || !index->marked || index->pid != getpid() || !index->env ||
	    flock(index->mark_fd, LOCK_EX | LOCK_NB) < 0)
		return;
	if (mdb_env_sync(index->env, 1) == 0)
		mark_clean(index->mark_fd, index->path);
}

void ps_index_close(struct ps_index *index)
{
	struct turn turn;

	if (!index || drop_one_of_many(index))
		return;
	turn_begin(&turn, &index->folder);
	if (leave_open(index)) {
		close_clean(index);
		index_free(index);
	}
	turn_end(&turn);
}

/* ---- environments that are opened anew --------------------------------------------------------- */

/* With the writer's mutex and the lock. Not all that were opened together are due together. What is not where it was stays as it is. */
static bool is_due(const struct ps_index *index, unsigned seconds)
{
	bool quiet = index->writes == index->writes_seen;

	return index->env && index->txns == 0 && index->writes != index->writes_before &&
	       (quiet || seconds_now() - index->opened_at >= seconds + (int64_t)(index->ino % (seconds + 1))) &&
	       ps_index_is_at(index, index->path);
}

static void renew(struct ps_index *index, unsigned seconds)
{
	if (index->pid != getpid() || pthread_mutex_trylock(&index->writer) != 0)
		return;
	pthread_mutex_lock(&index->lock);
	if (is_due(index, seconds))
		index_reopen_env(index); /* if that fails, the next transaction tries it again, and says why */
	index->writes_seen = index->writes;
	pthread_mutex_unlock(&index->lock);
	pthread_mutex_unlock(&index->writer);
}

/* Holds it, so that it stays in the registry, and lets go the one before. */
static struct ps_index *next_index(struct ps_index *before)
{
	struct ps_index *index;

	pthread_mutex_lock(&registry.lock);
	index = before ? before->next : registry.open;
	if (index)
		index->refs++;
	pthread_mutex_unlock(&registry.lock);
	ps_index_close(before);
	return index;
}

void ps_indexes_renew(unsigned seconds)
{
	for (struct ps_index *index = next_index(NULL); index; index = next_index(index))
		renew(index, seconds);
}

unsigned ps_index_database(const struct ps_index *index, size_t n)
{
	return index->dbi[DB_COUNT + n];
}

struct MDB_env *ps_index_env(struct ps_index *index)
{
	return index->env;
}
