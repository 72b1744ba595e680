/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "core/process/landlock.h"
#include "postern/error.h"
#include "postern/pool.h"

/* The kernel's headers may be older than the kernel, so its interface is spelt out here. */
#ifndef SYS_landlock_create_ruleset
#define SYS_landlock_create_ruleset 444
#define SYS_landlock_add_rule       445
#define SYS_landlock_restrict_self  446
#endif

struct ruleset {
	uint64_t fs, net, scoped;
};

struct __attribute__((packed)) path_beneath {
	uint64_t allowed;
	int32_t parent_fd;
};

enum {
	CREATE_VERSION = 1,
	RULE_PATH_BENEATH = 1,

	FS_EXECUTE = 1 << 0,
	FS_WRITE_FILE = 1 << 1,
	FS_READ_FILE = 1 << 2,
	FS_READ_DIR = 1 << 3,
	FS_REMOVE_DIR = 1 << 4,
	FS_REMOVE_FILE = 1 << 5,
	FS_MAKE_CHAR = 1 << 6,
	FS_MAKE_DIR = 1 << 7,
	FS_MAKE_REG = 1 << 8,
	FS_MAKE_SOCK = 1 << 9,
	FS_MAKE_FIFO = 1 << 10,
	FS_MAKE_BLOCK = 1 << 11,
	FS_MAKE_SYM = 1 << 12,
	FS_REFER = 1 << 13,
	FS_TRUNCATE = 1 << 14,
	FS_IOCTL_DEV = 1 << 15,
	FS_ABI_1 = FS_REFER - 1,

	NET_BIND_TCP = 1,
	NET_CONNECT_TCP = 2,

	SCOPE_ABSTRACT_UNIX = 1,
	SCOPE_SIGNAL = 2,
};

/* clang-format off */
/* What each ABI added. */
static const struct {
	int abi;
	struct ruleset adds;
	size_t size; /* of the struct that this ABI takes */
} abis[] = {
	{1, {FS_ABI_1,     0,                              0                                 }, 8 },
	{2, {FS_REFER,     0,                              0                                 }, 8 },
	{3, {FS_TRUNCATE,  0,                              0                                 }, 8 },
	{4, {0,            NET_BIND_TCP | NET_CONNECT_TCP, 0                                 }, 16},
	{5, {FS_IOCTL_DEV, 0,                              0                                 }, 16},
	{6, {0,            0,                              SCOPE_ABSTRACT_UNIX | SCOPE_SIGNAL}, 24},
};

static const struct {
	uint64_t folder, file;
} rights[] = {
	[PS_LANDLOCK_READ] = {FS_READ_FILE | FS_READ_DIR, FS_READ_FILE},
	[PS_LANDLOCK_WRITE] = {FS_READ_FILE | FS_READ_DIR | FS_WRITE_FILE | FS_TRUNCATE | FS_REMOVE_DIR | FS_REMOVE_FILE |
                                       FS_MAKE_DIR | FS_MAKE_REG | FS_REFER,
                               FS_READ_FILE | FS_WRITE_FILE | FS_TRUNCATE},
};
/* clang-format on */

int ps_landlock_abi(void)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_VERSION);

	return abi > 0 ? (int)abi : 0;
}

static int add_rule(int ruleset, const struct ps_landlock_rule *rule, uint64_t handled)
{
	PS_CLEANUP(ps_closep) int fd = open(rule->path, O_PATH | O_CLOEXEC);
	struct path_beneath beneath = {.parent_fd = fd};
	struct stat st;

	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0 || fstat(fd, &st) < 0)
		return ps_fail_errno("Landlock: open %s", rule->path);
	beneath.allowed = handled & (S_ISDIR(st.st_mode) ? rights[rule->right].folder : rights[rule->right].file);
	if (syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &beneath, 0) < 0)
		return ps_fail_errno("Landlock: rule for %s", rule->path);
	return 0;
}

static bool needs_refer(const struct ps_landlock_rule *rules, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (rules[i].right == PS_LANDLOCK_WRITE)
			return true;
	return false;
}

int ps_landlock_confine(const struct ps_landlock_rule *rules, size_t count, bool connects)
{
	int abi = ps_landlock_abi(), r = 0;
	PS_CLEANUP(ps_closep) int ruleset = -1;
	struct ruleset handled = {0};
	size_t size = 0;

	if (abi < (needs_refer(rules, count) ? 2 : 1))
		return ps_fail(PS_E_UNSUPPORTED, "this kernel's Landlock ABI is %d", abi);
	for (size_t i = 0; i < PS_ARRAY_LEN(abis) && abis[i].abi <= abi; i++) {
		handled.fs |= abis[i].adds.fs;
		handled.net |= abis[i].adds.net;
		handled.scoped |= abis[i].adds.scoped;
		size = abis[i].size;
	}
	if (connects)
		handled.net &= ~(uint64_t)NET_CONNECT_TCP;
	ruleset = (int)syscall(SYS_landlock_create_ruleset, &handled, size, 0);
	if (ruleset < 0)
		return ps_fail_errno("Landlock: ruleset");
	for (size_t i = 0; i < count && r == 0; i++)
		r = add_rule(ruleset, &rules[i], handled.fs);
	if (r == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		r = ps_fail_errno("Landlock: restrict");
	return r;
}
