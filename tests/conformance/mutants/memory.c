/* SPDX-License-Identifier: MIT */
/*
 * Mutants of the reference: what is told and what is done.
 */
#include <unistd.h>
#include "backends/memory/memory_private.h"
#include "tests/conformance/mutants/fault.h"
#include "tests/conformance/mutants/memory_mutants.h"

static const struct ps_backend *sound(void)
{
	return sound_plugin.ops;
}

/* ---- mailboxes ----------------------------------------------------------------------------- */

static void falsify(struct ps_mailbox_info *info)
{
	if (fault("uidnext") && info->uid_next > 1)
		info->uid_next--;
	if (fault("modseq"))
		info->highest_modseq = 1000;
	if (fault("count"))
		info->unseen = 0;
	if (fault("size") && info->size > 0)
		info->size--;
	if (fault("forgetful"))
		info->vanished_since = info->highest_modseq + 1;
}

static int mutant_info(struct ps_read *read, struct ps_mbox *mbox, struct ps_mailbox_info *ret_info)
{
	int r = sound()->info(read, mbox, ret_info);

	if (r == 0)
		falsify(ret_info);
	return r;
}

struct listing {
	ps_mailbox_fn fn;
	void *arg;
};

static int falsify_listed(void *arg, const struct ps_mailbox_info *info)
{
	struct listing *listing = arg;
	struct ps_mailbox_info false_info = *info;

	if (fault("subscribed") && !(info->attributes & PS_MBOX_EXISTS))
		return 0;
	if (fault("list-counts"))
		false_info.messages = 0;
	return listing->fn(listing->arg, &false_info);
}

static int mutant_list(struct ps_read *read, ps_mailbox_fn fn, void *arg)
{
	struct listing listing = {fn, arg};

	return sound()->list(read, falsify_listed, &listing);
}

/* ---- rows ---------------------------------------------------------------------------------- */

struct scanning {
	ps_row_fn fn;
	void *arg;
};

static int swallow(void *arg, const struct ps_row *row)
{
	struct scanning *scanning = arg;

	scanning->fn(scanning->arg, row);
	return 0;
}

static int mutant_scan(struct ps_read *read, struct ps_mbox *mbox, struct ps_range uids, uint64_t changed_since,
		       ps_row_fn fn, void *arg)
{
	struct scanning scanning = {fn, arg};

	if (fault("changed") && changed_since > 0)
		return 0;
	if (fault("changed-or-equal") && changed_since > 0)
		changed_since--;
	if (fault("range-end") && uids.last < UINT32_MAX)
		uids.last++;
	if (fault("swallow"))
		return sound()->scan(read, mbox, uids, changed_since, swallow, &scanning);
	if (fault("no-snapshot")) {
		struct version *old = read->version;

		read->version = version_get(mbox->mail);
		version_unref(old);
	}
	return sound()->scan(read, mbox, uids, changed_since, fn, arg);
}

struct vanishing {
	ps_range_fn fn;
	void *arg;
};

static int but_the_first(void *arg, struct ps_range uids)
{
	struct vanishing *v = arg;

	return uids.first == 1 ? 0 : v->fn(v->arg, uids);
}

static int mutant_vanished(struct ps_read *read, struct ps_mbox *mbox, uint64_t since, ps_range_fn fn, void *arg)
{
	struct vanishing v = {fn, arg};

	if (fault("vanished"))
		return 0;
	if (fault("vanished-first"))
		return sound()->vanished(read, mbox, since, but_the_first, &v);
	return sound()->vanished(read, mbox, fault("vanished-or-equal") && since > 0 ? since - 1 : since, fn, arg);
}

static int mutant_cache(struct ps_read *read, struct ps_mbox *mbox, uint32_t uid, struct ps_bytes *ret_cache)
{
	int r = sound()->cache(read, mbox, uid, ret_cache);

	if (r == 0 && fault("cache-cut") && ret_cache->len > 4096)
		ret_cache->len = 4096;
	return r;
}

/* ---- octets -------------------------------------------------------------------------------- */

static int mutant_body(struct ps_mbox *mbox, uint32_t uid, struct ps_body *ret_body)
{
	int r = sound()->body(mbox, uid, ret_body);

	if (r == PS_E_GONE && fault("gone-is-missing"))
		return ps_fail(PS_E_NOTFOUND, "UID %u is not there", uid);
	if (r == 0 && fault("octets") && ret_body->length > 0)
		ret_body->length--;
	if (r == 0 && fault("octets-64k") && ret_body->length > 65536)
		ret_body->length = 65536;
	return r;
}

static int mutant_stage_write(struct ps_staged *staged, struct ps_bytes octets)
{
	if (fault("nul-ends"))
		octets.len = strnlen((const char *)octets.ptr, octets.len);
	if (fault("cr-at-the-seam") && octets.len > 1 && octets.ptr[octets.len - 1] == '\r')
		octets.len--;
	return sound()->stage_write(staged, octets);
}

static int mutant_stage(struct ps_store *store, uint64_t size_hint, struct ps_staged **ret_staged)
{
	if (fault("hint") && size_hint > 65536)
		return ps_fail(PS_E_LIMIT, "a message of %llu octets", (unsigned long long)size_hint);
	return sound()->stage(store, size_hint, ret_staged);
}

/* ---- stores -------------------------------------------------------------------------------- */

static int mutant_open(const struct ps_store_args *args, struct ps_store **ret_store)
{
	struct ps_store_args other = *args;

	if (fault("always-makes"))
		other.create = true;
	if (fault("generation-unread"))
		other.generation = 0;
	return sound()->open(&other, ret_store);
}

static int mutant_sync(struct ps_store *store, struct ps_mbox *mbox)
{
	return fault("moved-sync") ? 0 : sound()->sync(store, mbox);
}

static int mutant_set_generation(struct ps_store *store, uint64_t generation)
{
	return fault("generation") ? 0 : sound()->set_generation(store, generation);
}

static struct ps_backend mutant;

__attribute__((constructor)) static void borrow(void)
{
	mutant = *sound();
	mutant.open = mutant_open;
	mutant.sync = mutant_sync;
	mutant.set_generation = mutant_set_generation;
	mutant.info = mutant_info;
	mutant.list = mutant_list;
	mutant.scan = mutant_scan;
	mutant.vanished = mutant_vanished;
	mutant.cache = mutant_cache;
	mutant.body = mutant_body;
	mutant.stage = mutant_stage;
	mutant.stage_write = mutant_stage_write;
	mutant.commit = mutant_commit;
}

MUTANT("mutant_memory", mutant)
