/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <sys/mman.h>
#include "core/base/sealed.h"
#include "postern/error.h"
#include "postern/io.h"
#include "postern/pool.h"

int ps_sealed_file(const char *name, struct ps_bytes octets, int *ret_file)
{
	PS_CLEANUP(ps_closep) int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int r;

	if (fd < 0)
		return ps_fail_errno("make a file in memory");
	if ((r = ps_io_write_all(fd, octets)) < 0)
		return r;
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) < 0)
		return ps_fail_errno("seal a file in memory");
	*ret_file = fd;
	fd = -1;
	return 0;
}
