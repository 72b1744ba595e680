/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <lmdb.h>
#include <sys/stat.h>
#include "core/store/index/room.h"
#include "postern/error.h"
#include "postern/io.h"

enum {
	PAGE = 4096,
	RESERVE_MAX = 16 << 20,
	RESERVE_PART = 16, /* of what is used */
};

static uint64_t reserve_for(uint64_t used, uint64_t least)
{
	uint64_t part = used / RESERVE_PART;

	return part < least ? least : part > RESERVE_MAX ? RESERVE_MAX : part;
}

static uint64_t end_of(struct ps_index *index)
{
	MDB_envinfo info;

	mdb_env_info(ps_index_env(index), &info);
	return (info.me_last_pgno + 1) * PAGE;
}

static uint64_t blocks_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

int index_room(struct ps_index *index, uint64_t octets, uint64_t least, uint64_t *allocated)
{
	uint64_t end = end_of(index), reserve = reserve_for(end, least), want = end + octets + reserve, from;
	int fd;

	if (*allocated >= want)
		return 0;
	mdb_env_get_fd(ps_index_env(index), &fd);
	from = *allocated ? *allocated : blocks_of(fd);
	/* What has blocks is not asked for again: tmpfs takes them away when it cannot give all that is asked for. */
	if (from < end)
		from = end;
	if (from < want) {
		want += reserve / 2; /* so that it need not be done each time */
		if (ps_io.allocate(fd, (off_t)from, (off_t)(want - from)) < 0)
			return errno == EOPNOTSUPP || errno == ENOSYS || errno == EINTR ? 0
											: ps_fail_errno("make room");
		from = want;
	}
	*allocated = from;
	return 0;
}

bool index_room_within(struct ps_index *index, uint64_t octets, uint64_t least)
{
	uint64_t end = end_of(index), blocks;
	int fd;

	mdb_env_get_fd(ps_index_env(index), &fd);
	blocks = blocks_of(fd);
	return ps_index_free_pages(index) * PAGE >= 2 * octets && blocks >= end &&
	       blocks - end >= reserve_for(end, least) / 2;
}
