/* SPDX-License-Identifier: MIT */
/*
 * postern/io.h - the system calls that storage rests on, through one table.       [stable]
 *
 * What a backend acknowledges depends on these calls alone, so a test can put its own functions into the
 * table and make the n-th call fail, for every n. Each behaves as the system call of its name: -1 and errno.
 */
#ifndef POSTERN_IO_H
#define POSTERN_IO_H

#include <stdint.h>
#include <sys/types.h>
#include <time.h>
#include "postern/buf.h"

struct ps_io {
	/* Never leaves the directory and follows no symbolic link, in any component. O_CLOEXEC is added. */
	int (*open)(int dirfd, const char *path, int flags, mode_t mode);
	ssize_t (*pread)(int fd, void *data, size_t len, off_t offset);
	ssize_t (*write)(int fd, const void *data, size_t len);
	ssize_t (*pwrite)(int fd, const void *data, size_t len, off_t offset);
	int (*truncate)(int fd, off_t len);
	int (*fdatasync)(int fd);
	int (*fsync)(int fd);
	/* flags: RENAME_NOREPLACE or 0; also right where the file system has no renameat2(). */
	int (*rename)(int from_dir, const char *from, int to_dir, const char *to, unsigned flags);
	int (*link)(int from_dir, const char *from, int to_dir, const char *to);
	int (*unlink)(int dirfd, const char *name, int flags);
	int (*mkdir)(int dirfd, const char *name, mode_t mode);
	/* Names a file that is open, and may have no name yet. */
	int (*link_file)(int fd, int to_dir, const char *to);
	/* Blocks for a part of the file; its size stays. */
	int (*allocate)(int fd, off_t offset, off_t len);
};

/* The table in force. Tests change it before they start threads. */
extern struct ps_io ps_io;

/* All of the octets, however short each write is. */
int ps_io_write_all(int fd, struct ps_bytes octets);
int ps_io_pwrite_all(int fd, struct ps_bytes octets, off_t offset);
/* Appends what a file holds; PS_E_NOTFOUND, PS_E_LIMIT when it is larger than `max`, PS_E_CORRUPT when it is
 * no plain file. */
int ps_io_read_file(int dirfd, const char *name, size_t max, struct ps_buf *out);
/* Puts a file with these octets in the place of `name`, durable when it returns. The old one stays on failure. */
int ps_io_replace(int dirfd, const char *name, struct ps_bytes octets);
/* Makes the names in a directory durable. A failure is final: never ask the same descriptor again. */
int ps_io_sync_dir(int dirfd, const char *what);
/* A directory, readable so that it can be synced. */
int ps_io_open_dir(int dirfd, const char *path, int *ret_fd);
/* One that may be there already, with what is missing of its parents; each name is durable. `path` is absolute. */
int ps_io_make_dir(const char *path);

/* A new file for what is being staged, with a name that begins with `prefix` (at most 12 octets), opened for reading and
 * writing. */
#define PS_IO_NAME_SIZE 32
int ps_io_new_file(int dirfd, const char *prefix, char ret_name[PS_IO_NAME_SIZE], int *ret_fd);
/* Removes such files that crashed processes left; those of others who have the directory open stay: each must call this before
 * it makes any, and takes a shared lock by it, for as long as `dirfd` is open. Who is alone removes. */
int ps_io_sweep(int dirfd, const char *prefix);

/* Small files of fixed size (at most 64 octets) that must survive anything, in two copies with checksums. read():
 * PS_E_NOTFOUND when there is none, PS_E_CORRUPT when neither copy is whole; one that was shorter when it was written is filled with zeros.
 * write(): durable when it returns; makes the
 * file if it is missing, else writes in place, so that it needs no room on a full disk. */
int ps_state_read(int dirfd, const char *file, void *ret_state, size_t size);
int ps_state_write(int dirfd, const char *file, const void *state, size_t size);

/* Names of mailboxes as names of files: modified UTF-7 (RFC 3501 section 5.1.3) for what is not printable ASCII, and for each
 * octet of which `coded` says that it may not stand there. '/' becomes `separator`, which is encoded where a component has it.
 * decode() takes more than encode() gives: who needs one spelling only encodes again and compares. */
typedef bool (*ps_filename_coded_fn)(struct ps_bytes name, size_t at);
void ps_filename_encode(struct ps_bytes name, char separator, ps_filename_coded_fn coded, struct ps_buf *out);
bool ps_filename_decode(struct ps_bytes file, char separator, struct ps_buf *out);

/* CRC-32C (Castagnoli, RFC 3720 appendix B.4); start with 0, go on with what it returned. */
uint32_t ps_crc32c(uint32_t crc, const void *data, size_t len);

#endif
