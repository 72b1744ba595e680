/* SPDX-License-Identifier: MIT */
/*
 * The reference backend: the contract, with nothing else to think of. See memory.rst.
 */
#include <stdlib.h>
#include "backends/memory/memory_private.h"
#include "postern/plugin.h"

/* Mail lives as long as the process: who opens a user's store again finds it as it was. */
static struct {
	pthread_mutex_t lock;
	struct mail *mails;
} registry = {.lock = PTHREAD_MUTEX_INITIALIZER};

static struct mail *find_mail(const char *user)
{
	struct mail *mail = registry.mails;

	while (mail && strcmp(mail->user, user) != 0)
		mail = mail->next;
	return mail;
}

/* With INBOX, which every store has. */
static int mail_create(const char *user, struct mail **ret_mail)
{
	struct mail *mail = ps_zalloc(sizeof *mail);
	struct ps_op inbox = {.kind = PS_OP_CREATE, .name = "INBOX"};
	struct ps_op_result result = {0};
	struct ps_batch batch = {.ops = &inbox, .count = 1, .results = &result};

	mail->user = ps_strdup(user);
	mail->generation = 1;
	pthread_mutex_init(&mail->lock, NULL);
	pthread_mutex_init(&mail->commit_lock, NULL);
	mail->version = version_create();
	memory_apply(mail, &batch);
	mail->next = registry.mails;
	registry.mails = mail;
	*ret_mail = mail;
	return batch.err;
}

static void mail_destroy(struct mail *mail)
{
	for (struct token *token = mail->tokens; token; token = mail->tokens) {
		mail->tokens = token->next;
		free(token);
	}
	version_unref(mail->version);
	free(mail->user);
	free(mail);
}

void memory_forget(void)
{
	pthread_mutex_lock(&registry.lock);
	for (struct mail *mail = registry.mails; mail; mail = registry.mails) {
		registry.mails = mail->next;
		mail_destroy(mail);
	}
	pthread_mutex_unlock(&registry.lock);
}

static int get_mail(const struct ps_store_args *args, struct mail **ret_mail)
{
	struct mail *mail = find_mail(args->user);

	if (mail) {
		*ret_mail = mail;
		return 0;
	}
	if (args->generation > 1)
		return ps_fail(PS_E_MOVED, "user %s has no store in memory any more", args->user);
	if (!args->create)
		return ps_fail(PS_E_NOTFOUND, "user %s has no store in memory", args->user);
	return mail_create(args->user, ret_mail);
}

static int memory_open(const struct ps_store_args *args, struct ps_store **ret_store)
{
	struct mail *mail;
	uint64_t generation;
	int r;

	pthread_mutex_lock(&registry.lock);
	r = get_mail(args, &mail);
	pthread_mutex_unlock(&registry.lock);
	if (r < 0)
		return r;
	pthread_mutex_lock(&mail->commit_lock);
	generation = mail->generation;
	pthread_mutex_unlock(&mail->commit_lock);
	if (args->generation && args->generation != generation)
		return ps_fail(PS_E_MOVED, "the store of %s has generation %llu", args->user,
			       (unsigned long long)generation);
	*ret_store = ps_zalloc(sizeof **ret_store);
	**ret_store = (struct ps_store){.mail = mail, .generation = generation};
	return 0;
}

static void memory_close(struct ps_store *store)
{
	free(store);
}

/* ---- generations --------------------------------------------------------------------------- */

static int memory_generation(struct ps_store *store, uint64_t *ret_generation)
{
	pthread_mutex_lock(&store->mail->commit_lock);
	*ret_generation = store->mail->generation;
	pthread_mutex_unlock(&store->mail->commit_lock);
	return 0;
}

static int memory_set_generation(struct ps_store *store, uint64_t generation)
{
	struct mail *mail = store->mail;
	int r = 0;

	pthread_mutex_lock(&mail->commit_lock);
	if (store->generation != mail->generation)
		r = ps_fail(PS_E_MOVED, "the store of %s has another generation", mail->user);
	else if (generation <= mail->generation)
		r = ps_fail(PS_E_INVALID, "generation %llu is not above the present one",
			    (unsigned long long)generation);
	else
		store->generation = mail->generation = generation;
	pthread_mutex_unlock(&mail->commit_lock);
	return r;
}

/* ---- mailboxes ----------------------------------------------------------------------------- */

static int memory_mailbox_open(struct ps_store *store, const char *name, struct ps_mbox **ret_mbox)
{
	struct version *version = version_get(store->mail);
	ptrdiff_t at = version_find_name(version, name);
	int r = 0;

	if (at >= 0) {
		*ret_mbox = ps_zalloc(sizeof **ret_mbox);
		(*ret_mbox)->mail = store->mail;
		(*ret_mbox)->id = version->boxes[at]->id;
	} else {
		r = ps_fail(PS_E_NOTFOUND, "mailbox %s does not exist", name);
	}
	version_unref(version);
	return r;
}

static void memory_mailbox_close(struct ps_mbox *mbox)
{
	free(mbox);
}

/* Nobody else can reach what is in our memory. */
static int memory_stale(struct ps_store *store, struct ps_mbox *mbox)
{
	(void)store;
	(void)mbox;
	return 0;
}

static int memory_sync(struct ps_store *store, struct ps_mbox *mbox)
{
	int r = 0;

	(void)mbox;
	pthread_mutex_lock(&store->mail->commit_lock);
	if (store->generation != store->mail->generation)
		r = ps_fail(PS_E_MOVED, "the store of %s has another generation", store->mail->user);
	pthread_mutex_unlock(&store->mail->commit_lock);
	return r;
}

/* ---- reading ------------------------------------------------------------------------------- */

static int memory_read_begin(struct ps_store *store, struct ps_read **ret_read)
{
	struct ps_read *read = ps_zalloc(sizeof *read);

	read->version = version_get(store->mail);
	*ret_read = read;
	return 0;
}

static void memory_read_end(struct ps_read *read)
{
	version_unref(read->version);
	free(read);
}

static int read_box(const struct ps_read *read, const struct ps_mbox *mbox, const struct box **ret_box)
{
	ptrdiff_t at = version_find_id(read->version, &mbox->id);

	if (at < 0)
		return ps_fail(PS_E_GONE, "the mailbox was deleted");
	*ret_box = read->version->boxes[at];
	return 0;
}

static struct ps_mailbox_info box_info(const struct version *version, const struct box *box)
{
	return (struct ps_mailbox_info){
		.name = box->name,
		.id = box->id,
		.attributes = PS_MBOX_EXISTS | box->special_uses |
			      (version_is_subscribed(version, box->name) ? PS_MBOX_SUBSCRIBED : 0),
		.uid_validity = box->uid_validity,
		.uid_next = box->uid_next,
		.highest_modseq = box->highest_modseq,
		.vanished_since = box->vanished_since,
		.messages = (uint32_t)box->row_count,
		.unseen = box->unseen,
		.deleted = box->deleted,
		.size = box->size,
	};
}

static int memory_list(struct ps_read *read, ps_mailbox_fn fn, void *arg)
{
	const struct version *version = read->version;
	int r = 0;

	for (size_t i = 0; i < version->box_count && r == 0; i++) {
		struct ps_mailbox_info info = box_info(version, version->boxes[i]);

		r = fn(arg, &info);
	}
	for (size_t i = 0; i < version->subscribed_count && r == 0; i++) {
		struct ps_mailbox_info info = {.name = version->subscribed[i], .attributes = PS_MBOX_SUBSCRIBED};

		if (version_find_name(version, info.name) < 0)
			r = fn(arg, &info);
	}
	return r;
}

static int memory_info(struct ps_read *read, struct ps_mbox *mbox, struct ps_mailbox_info *ret_info)
{
	const struct box *box;
	int r = read_box(read, mbox, &box);

	if (r == 0)
		*ret_info = box_info(read->version, box);
	return r;
}

static int memory_keywords(struct ps_read *read, struct ps_mbox *mbox, const char *const **ret_names, size_t *ret_count)
{
	const struct box *box;
	int r = read_box(read, mbox, &box);

	if (r == 0) {
		*ret_names = (const char *const *)box->keywords;
		*ret_count = box->keyword_count;
	}
	return r;
}

static int memory_scan(struct ps_read *read, struct ps_mbox *mbox, struct ps_range uids, uint64_t changed_since,
		       ps_row_fn fn, void *arg)
{
	const struct box *box;
	int r = read_box(read, mbox, &box);

	for (size_t i = 0; r == 0 && i < box->row_count; i++) {
		const struct ps_row *row = &box->rows[i].row;

		if (row->uid >= uids.first && row->uid <= uids.last && row->modseq > changed_since)
			r = fn(arg, row);
	}
	return r;
}

static int memory_vanished(struct ps_read *read, struct ps_mbox *mbox, uint64_t since, ps_range_fn fn, void *arg)
{
	const struct box *box;
	int r = read_box(read, mbox, &box);

	/* In the order they went, so the newest are at the end. */
	for (size_t i = r == 0 ? box->gone_count : 0; r == 0 && i > 0 && box->gone[i - 1].modseq > since; i--)
		r = fn(arg, (struct ps_range){box->gone[i - 1].uid, box->gone[i - 1].uid});
	return r;
}

static int memory_cache(struct ps_read *read, struct ps_mbox *mbox, uint32_t uid, struct ps_bytes *ret_cache)
{
	const struct row *row = NULL;
	const struct box *box;
	int r = read_box(read, mbox, &box);

	if (r < 0)
		return r;
	row = box_find(box, uid);
	if (!row)
		return ps_fail(PS_E_NOTFOUND, "no message with UID %u", uid);
	pthread_mutex_lock(&row->message->lock);
	if (row->message->cache)
		*ret_cache = ps_bytes(row->message->cache, row->message->cache_len);
	else
		r = ps_fail(PS_E_NOTFOUND, "UID %u has no cache", uid);
	pthread_mutex_unlock(&row->message->lock);
	return r;
}

/* ---- bodies and staging -------------------------------------------------------------------- */

static int get_message(struct ps_mbox *mbox, uint32_t uid, struct message **ret_message)
{
	struct version *version = version_get(mbox->mail);
	ptrdiff_t at = version_find_id(version, &mbox->id);
	const struct row *row = at >= 0 ? box_find(version->boxes[at], uid) : NULL;

	if (row)
		*ret_message = message_ref(row->message);
	version_unref(version);
	return row ? 0 : ps_fail(PS_E_GONE, "UID %u was expunged", uid);
}

static int memory_cache_put(struct ps_mbox *mbox, uint32_t uid, struct ps_bytes cache)
{
	struct message *message;
	int r = get_message(mbox, uid, &message);

	if (r < 0)
		return r;
	pthread_mutex_lock(&message->lock);
	if (!message->cache) { /* somebody may be reading one that is there */
		message->cache = memcpy(ps_malloc(cache.len), cache.ptr, cache.len);
		message->cache_len = cache.len;
	}
	pthread_mutex_unlock(&message->lock);
	message_unref(message);
	return 0;
}

static int memory_body(struct ps_mbox *mbox, uint32_t uid, struct ps_body *ret_body)
{
	struct message *message;
	int r = get_message(mbox, uid, &message);

	if (r < 0)
		return r;
	*ret_body = (struct ps_body){
		.data = message->octets ? message->octets : (const uint8_t *)"",
		.fd = -1,
		.length = message->len,
		.wire_form = true,
		.priv = message,
	};
	return 0;
}

static void memory_body_close(struct ps_body *body)
{
	message_unref(body->priv);
	*body = (struct ps_body){.fd = -1};
}

static int memory_stage(struct ps_store *store, uint64_t size_hint, struct ps_staged **ret_staged)
{
	(void)store;
	(void)size_hint;
	*ret_staged = ps_zalloc(sizeof **ret_staged);
	return 0;
}

static int memory_stage_write(struct ps_staged *staged, struct ps_bytes octets)
{
	if (ps_buf_bytes(&staged->octets, octets) < 0)
		return ps_fail(PS_E_FULL, "no memory for a message");
	return 0;
}

static int memory_stage_finish(struct ps_staged *staged)
{
	(void)staged;
	return 0;
}

static void memory_stage_drop(struct ps_staged *staged)
{
	if (!staged)
		return;
	ps_buf_finish(&staged->octets);
	free(staged);
}

static const struct ps_backend memory_backend = {
	.open = memory_open,
	.close = memory_close,
	.mailbox_open = memory_mailbox_open,
	.mailbox_close = memory_mailbox_close,
	.stale = memory_stale,
	.sync = memory_sync,
	.read_begin = memory_read_begin,
	.read_end = memory_read_end,
	.list = memory_list,
	.info = memory_info,
	.keywords = memory_keywords,
	.scan = memory_scan,
	.vanished = memory_vanished,
	.cache = memory_cache,
	.cache_put = memory_cache_put,
	.body = memory_body,
	.body_close = memory_body_close,
	.stage = memory_stage,
	.stage_write = memory_stage_write,
	.stage_finish = memory_stage_finish,
	.stage_drop = memory_stage_drop,
	.commit = memory_commit,
	.generation = memory_generation,
	.set_generation = memory_set_generation,
};

PS_PLUGIN_EXPORT = {
	.abi = PS_ABI,
	.size = sizeof(struct ps_plugin),
	.kind = PS_PLUGIN_BACKEND,
	.ops_size = sizeof(struct ps_backend),
	.name = "memory",
	.summary = "keeps mail in memory; the reference backend, for tests and trials",
	.ops = &memory_backend,
};
