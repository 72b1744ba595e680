/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <sys/stat.h>
#include "core/delivery/spool.h"
#include "postern/error.h"

int ps_spool_open(const char *dir, int *ret_file)
{
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0)
		return ps_fail_errno("open a file in spool_dir %s", dir);
	*ret_file = fd;
	return 0;
}

int ps_spool_check(int file, uint64_t size)
{
	struct stat st;

	if (fstat(file, &st) < 0)
		return ps_fail_errno("fstat");
	if ((uint64_t)st.st_size != size)
		return ps_fail(PS_E_INVALID, "the file has %lld octets, not %llu", (long long)st.st_size,
			       (unsigned long long)size);
	return 0;
}
