/* SPDX-License-Identifier: MIT */
/*
 * Small files that must survive anything: two copies, each in a block of its own with a checksum, written one
 * after the other. A write cut short, or a flipped bit, leaves the other copy; and nothing was built yet on what only
 * one of them says.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include "postern/error.h"
#include "postern/io.h"
#include "postern/pool.h"

enum {
	COPY_SIZE = 512,
	PAYLOAD_MAX = 64
};

struct copy {
	char magic[8];
	uint32_t crc; /* of what follows */
	uint32_t size;
	uint64_t serial;
	uint8_t payload[PAYLOAD_MAX];
};

static const char magic[8] = "postern1";

static uint32_t copy_crc(const struct copy *copy)
{
	return ps_crc32c(0, &copy->size, sizeof *copy - offsetof(struct copy, size));
}

static bool copy_is_whole(const struct copy *copy, size_t size)
{
	return memcmp(copy->magic, magic, sizeof magic) == 0 && copy->crc == copy_crc(copy) && copy->size <= size;
}

/* The newest whole copy, or NULL. */
static const struct copy *choose(const struct copy copies[2], const bool whole[2])
{
	if (whole[0] && whole[1])
		return copies[0].serial >= copies[1].serial ? &copies[0] : &copies[1];
	return whole[0] ? &copies[0] : whole[1] ? &copies[1] : NULL;
}

static int read_copies(int fd, size_t size, struct copy *ret_copy)
{
	uint8_t blocks[COPY_SIZE + sizeof(struct copy)];
	ssize_t n = ps_io.pread(fd, blocks, sizeof blocks, 0);
	struct copy copies[2];
	bool whole[2];
	const struct copy *best;

	if (n < 0)
		return ps_fail_errno("read a state file");
	memset(blocks + n, 0, sizeof blocks - (size_t)n); /* what is not there is not whole */
	for (int i = 0; i < 2; i++) {
		memcpy(&copies[i], blocks + (size_t)i * COPY_SIZE, sizeof copies[i]);
		whole[i] = copy_is_whole(&copies[i], size);
	}
	if (!(best = choose(copies, whole)))
		return ps_fail(PS_E_CORRUPT, "both copies in a state file are damaged");
	*ret_copy = *best;
	return 0;
}

int ps_state_read(int dirfd, const char *file, void *ret_state, size_t size)
{
	PS_CLEANUP(ps_closep) int fd = ps_io.open(dirfd, file, O_RDONLY | O_NONBLOCK, 0);
	struct copy copy;
	int r;

	if (fd < 0)
		return ps_fail_errno("open %s", file);
	if ((r = read_copies(fd, size, &copy)) < 0)
		return r;
	memset(ret_state, 0, size);
	memcpy(ret_state, copy.payload, copy.size);
	return 0;
}

static int write_copies(int fd, struct copy *copy)
{
	uint8_t block[COPY_SIZE] = {0};
	int r;

	copy->crc = copy_crc(copy);
	memcpy(block, copy, sizeof *copy);
	for (int i = 0; i < 2; i++) {
		if ((r = ps_io_pwrite_all(fd, ps_bytes(block, sizeof block), (off_t)i * COPY_SIZE)) < 0)
			return r;
		if (ps_io.fdatasync(fd) < 0)
			return ps_fail_errno("sync a state file");
	}
	return 0;
}

static int make_file(int dirfd, const char *file, struct copy *copy)
{
	uint8_t blocks[2 * COPY_SIZE] = {0};

	copy->crc = copy_crc(copy);
	memcpy(blocks, copy, sizeof *copy);
	memcpy(blocks + COPY_SIZE, copy, sizeof *copy);
	return ps_io_replace(dirfd, file, ps_bytes(blocks, sizeof blocks));
}

int ps_state_write(int dirfd, const char *file, const void *state, size_t size)
{
	PS_CLEANUP(ps_closep) int fd = ps_io.open(dirfd, file, O_RDWR | O_NONBLOCK, 0);
	struct copy copy, old = {0};
	int r;

	memset(&copy, 0, sizeof copy);
	memcpy(copy.magic, magic, sizeof magic);
	memcpy(copy.payload, state, size);
	copy.size = (uint32_t)size;
	copy.serial = 1;
	if (fd < 0)
		return errno == ENOENT || errno == ELOOP ? make_file(dirfd, file, &copy)
							 : ps_fail_errno("open %s", file);
	if (read_copies(fd, size, &old) < 0)
		return make_file(dirfd, file, &copy);
	copy.serial = old.serial + 1;
	r = write_copies(fd, &copy);
	if (r < 0) /* nobody may read from memory what the disk perhaps never got */
		for (int i = 0; i < 2; i++)
			if (ps_io.pwrite(fd, &old, sizeof old, (off_t)i * COPY_SIZE) < 0)
				break;
	return r;
}
