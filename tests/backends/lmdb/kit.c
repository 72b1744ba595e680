/* SPDX-License-Identifier: MIT */
#include "tests/backends/lmdb/kit.h"

#include <signal.h>
#include <stdarg.h>
#include <sys/wait.h>

struct kit kit;

void kit_open(void)
{
	struct ps_store_args args = {.user = "alice", .root = kit.root, .create = true};

	ck_assert_ok(be->open(&args, &kit.store));
	ck_assert_ok(be->mailbox_open(kit.store, "INBOX", &kit.inbox));
}

void kit_close(void)
{
	if (!kit.store)
		return;
	be->mailbox_close(kit.inbox);
	be->close(kit.store);
	kit.store = NULL;
}

void kit_again(void)
{
	kit_close();
	kit_open();
}

void kit_setup(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(kit.root, sizeof kit.root, "%s/postern-lmdb-XXXXXX", tmp ? tmp : "/tmp");
	ck_assert_ptr_nonnull(mkdtemp(kit.root));
	kit.pool = ps_pool_create("test");
	kit_open();
}

void kit_shell(const char *fmt, ...)
{
	char command[1024], whole[1400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(command, sizeof command, fmt, ap);
	va_end(ap);
	snprintf(whole, sizeof whole, "cd %s && %s", kit.root, command);
	ck_assert_msg(system(whole) == 0, "%s", command);
}

void kit_teardown(void)
{
	kit_close();
	ps_pool_destroy(kit.pool);
	unit_remove(kit.root);
}

/* ---- messages ---------------------------------------------------------------------------------- */

struct ps_bytes kit_octets(size_t len, unsigned seed)
{
	uint8_t *octets = ps_pool_alloc(kit.pool, len);
	uint32_t z = seed * 2654435761u + 1;

	for (size_t i = 0; i < len; i++) {
		z ^= z << 13;
		z ^= z >> 17;
		z ^= z << 5;
		octets[i] = (uint8_t)(z >> 8);
	}
	return ps_bytes(octets, len);
}

struct ps_bytes kit_text(size_t len)
{
	uint8_t *octets = ps_pool_alloc(kit.pool, len);

	for (size_t i = 0; i < len; i++)
		octets[i] = (uint8_t) "Line after line of mail.\r\n"[i % 26];
	return ps_bytes(octets, len);
}

int kit_stage(struct ps_bytes octets, struct ps_staged **ret_staged)
{
	struct ps_staged *staged;
	int r = be->stage(kit.store, 0, &staged);

	if (r < 0)
		return r;
	/* In pieces that do not fit anything. */
	for (size_t at = 0; r == 0 && at < octets.len; at += 50021) {
		struct ps_bytes piece = ps_bytes_skip(octets, at);

		r = be->stage_write(staged, ps_bytes(piece.ptr, piece.len < 50021 ? piece.len : 50021));
	}
	if (r == 0)
		r = be->stage_finish(staged);
	if (r < 0)
		be->stage_drop(staged);
	else
		*ret_staged = staged;
	return r;
}

int kit_do(const struct ps_op *op, struct ps_op_result *ret_result)
{
	struct ps_op_result result = {0};
	struct ps_batch batch = {.ops = op, .count = 1, .pool = kit.pool, .results = &result};
	struct ps_batch *batches[] = {&batch};
	int r = be->commit(kit.store, batches, 1);

	ck_assert(r == 0 || r == batch.err); /* 0 does not say that it was applied */
	if (ret_result)
		*ret_result = result;
	return batch.err;
}

int kit_try_append(struct ps_bytes octets)
{
	struct ps_op op = {.kind = PS_OP_APPEND, .mbox = kit.inbox, .internal_date = 1};
	int r = kit_stage(octets, &op.staged);

	return r == 0 ? kit_do(&op, NULL) : r;
}

uint32_t kit_append(struct ps_bytes octets)
{
	struct ps_op op = {.kind = PS_OP_APPEND, .mbox = kit.inbox, .internal_date = 1};
	struct ps_op_result result;

	ck_assert_ok(kit_stage(octets, &op.staged));
	ck_assert_ok(kit_do(&op, &result));
	return result.new_uids[0].first;
}

void kit_expunge(uint32_t first, uint32_t last)
{
	struct ps_range range = {first, last};

	ck_assert_ok(kit_do(&(struct ps_op){.kind = PS_OP_EXPUNGE, .mbox = kit.inbox, .uids = &range, .uid_count = 1},
			    NULL));
}

void kit_nudge(void)
{
	ck_assert_ok(kit_do(&(struct ps_op){.kind = PS_OP_ATTRIBUTES, .name = "INBOX"}, NULL));
}

void kit_body_must_be(uint32_t uid, struct ps_bytes octets)
{
	struct ps_bytes piece;
	struct ps_body body;

	ck_assert_ok(be->body(kit.inbox, uid, &body));
	ck_assert_uint_eq(body.length, octets.len);
	for (uint64_t at = 0; at < body.length; at += piece.len) {
		ck_assert_ok(body.read(&body, at, &piece));
		ck_assert_uint_gt(piece.len, 0);
		ck_assert_mem_eq(piece.ptr, octets.ptr + at, piece.len);
	}
	be->body_close(&body);
}

uint32_t kit_messages(void)
{
	struct ps_mailbox_info info;
	struct ps_read *read;

	ck_assert_ok(be->read_begin(kit.store, &read));
	ck_assert_ok(be->info(read, kit.inbox, &info));
	be->read_end(read);
	return info.messages;
}

uint64_t kit_entries(const char *database)
{
	struct ps_index *index = ps_ledger_index(kit.store->ledger, NULL);
	struct ps_index_txn *txn;
	MDB_stat stat;
	MDB_dbi dbi;

	ck_assert_ok(ps_index_read(index, &txn));
	ck_assert_int_eq(mdb_dbi_open(ps_index_lmdb(txn), database, 0, &dbi), 0);
	ck_assert_int_eq(mdb_stat(ps_index_lmdb(txn), dbi, &stat), 0);
	ps_index_end(txn);
	ps_index_close(index);
	return stat.ms_entries;
}

/* ---- check --------------------------------------------------------------------------------------- */

static char first_fault[1024];

static void count_fault(void *arg, const char *sentence)
{
	if ((*(unsigned *)arg)++ == 0)
		snprintf(first_fault, sizeof first_fault, "%s", sentence);
}

unsigned kit_faults(const char **ret_first)
{
	unsigned faults = 0;

	*first_fault = '\0';
	ck_assert_ok(be->check(kit.store, count_fault, &faults));
	if (ret_first)
		*ret_first = first_fault;
	return faults;
}

void kit_sound(void)
{
	const char *first;

	ck_assert_msg(kit_faults(&first) == 0, "%s", first);
}

/* ---- processes ------------------------------------------------------------------------------------- */

static _Noreturn void child(void (*work)(void), int go, int done)
{
	char c;

	kit_open();
	do {
		work();
		if (write(done, "d", 1) != 1)
			_exit(EXIT_FAILURE);
	} while (read(go, &c, 1) == 1);
	kit_close();
	_exit(EXIT_SUCCESS);
}

static void wait_done(const struct kit_process *process)
{
	char c;

	ck_assert_msg(read(process->done, &c, 1) == 1, "the other process has failed");
}

/* A store is not carried over fork(): ours is closed meanwhile. */
struct kit_process kit_start(void (*work)(void))
{
	struct kit_process process;
	int go[2], done[2];

	kit_close();
	ck_assert_int_eq(pipe(go), 0);
	ck_assert_int_eq(pipe(done), 0);
	process = (struct kit_process){.pid = fork(), .go = go[1], .done = done[0]};
	ck_assert_int_ge(process.pid, 0);
	if (process.pid == 0) {
		close(go[1]);
		close(done[0]);
		child(work, go[0], done[1]);
	}
	close(go[0]);
	close(done[1]);
	wait_done(&process);
	kit_open();
	return process;
}

void kit_more(struct kit_process *process)
{
	ck_assert_int_eq(write(process->go, "g", 1), 1);
	wait_done(process);
}

static int end(struct kit_process *process)
{
	int status;

	close(process->go);
	ck_assert_int_eq(waitpid(process->pid, &status, 0), process->pid);
	close(process->done);
	return status;
}

void kit_kill(struct kit_process *process)
{
	kill(process->pid, SIGKILL);
	end(process);
}

void kit_end(struct kit_process *process)
{
	int status = end(process);

	ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the other process ended with 0x%x", status);
}
