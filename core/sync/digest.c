/* SPDX-License-Identifier: MIT */
#include <gnutls/crypto.h>
#include <gnutls/gnutls.h>
#include <stdlib.h>
#include "core/sync/sync_private.h"

enum {
	LONG = 32 /* octets of SHA-256 */
};

/* ---- what is digested, as text ----------------------------------------------------------------- */

static void put_id(struct ps_buf *out, const struct ps_id *id)
{
	ps_hex_encode(out, ps_bytes(id->octets, sizeof id->octets));
	ps_buf_char(out, ' ');
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The order of a mailbox's table is the backend's own; case does not count. */
static void put_flags(struct ps_buf *out, const struct sync_view *view, const struct ps_row *row)
{
	PS_CLEANUP(ps_pool_destroyp) struct ps_pool *pool = ps_pool_create("keywords");
	char *names[PS_KEYWORDS_MAX];
	size_t n = 0;

	for (size_t i = 0; i < view->keyword_count; i++) {
		if (!(row->keywords & (UINT64_C(1) << i)))
			continue;
		names[n] = ps_pool_strdup(pool, view->keywords[i]);
		for (char *c = names[n]; *c; c++)
			*c = (char)ps_tolower(*c);
		n++;
	}
	if (n > 0)
		qsort(names, n, sizeof *names, by_text);
	ps_buf_printf(out, "flags %u", row->flags);
	for (size_t i = 0; i < n; i++)
		ps_buf_printf(out, " %s", names[i]);
}

static void put_box(struct ps_buf *out, const char *name, const struct ps_mailbox_info *info)
{
	ps_buf_printf(out, "mailbox %s\n", name);
	put_id(out, &info->id);
	ps_buf_printf(out, "%u %u %u %u\n",
		      info->attributes & (PS_MBOX_EXISTS | PS_MBOX_SUBSCRIBED | PS_MBOX_SPECIAL_USES),
		      info->uid_validity, info->uid_next, info->messages);
}

/* ---- octets ---------------------------------------------------------------------------------- */

struct octets {
	gnutls_hash_hd_t hash;
	uint64_t count;
};

static int hash_octets(void *arg, struct ps_bytes octets)
{
	struct octets *o = arg;

	gnutls_hash(o->hash, octets.ptr, octets.len);
	o->count += octets.len;
	return 0;
}

static int hash_body(const struct ps_sync_end *end, struct ps_mbox *mbox, uint32_t uid, uint8_t digest[LONG],
		     uint64_t *ret_count)
{
	struct octets o = {.count = 0};
	struct ps_body body;
	int r = sync_on(end)->body(mbox, uid, &body);

	if (r < 0)
		return r;
	if (gnutls_hash_init(&o.hash, GNUTLS_DIG_SHA256) < 0) {
		sync_on(end)->body_close(&body);
		return ps_fail(PS_E_INTERNAL, "SHA-256 is not available");
	}
	r = sync_body_each(end, &body, hash_octets, &o);
	gnutls_hash_deinit(o.hash, digest);
	*ret_count = o.count;
	sync_on(end)->body_close(&body);
	return r;
}

/* ---- sums ------------------------------------------------------------------------------------ */

/* Of one mailbox, or of all. `mail` is a sum, so that the order does not count. */
struct sums {
	gnutls_hash_hd_t content, modseqs;
	uint8_t mail[LONG];
	uint64_t messages, octets;
};

static int sums_init(struct sums *sums)
{
	*sums = (struct sums){0};
	if (gnutls_hash_init(&sums->content, GNUTLS_DIG_SHA256) < 0)
		return ps_fail(PS_E_INTERNAL, "SHA-256 is not available");
	if (gnutls_hash_init(&sums->modseqs, GNUTLS_DIG_SHA256) < 0) {
		gnutls_hash_deinit(sums->content, NULL);
		return ps_fail(PS_E_INTERNAL, "SHA-256 is not available");
	}
	return 0;
}

static void sums_finish(struct sums *sums, struct ps_sync_digest *ret_digest)
{
	gnutls_hash_deinit(sums->content, ret_digest->content);
	gnutls_hash_deinit(sums->modseqs, ret_digest->modseqs);
	memcpy(ret_digest->mail, sums->mail, LONG);
	ret_digest->messages = sums->messages;
	ret_digest->octets = sums->octets;
}

static void add_to_mail(uint8_t mail[LONG], struct ps_bytes text)
{
	uint8_t digest[LONG];
	unsigned carry = 0;

	gnutls_hash_fast(GNUTLS_DIG_SHA256, text.ptr, text.len, digest);
	for (int i = LONG - 1; i >= 0; i--) {
		carry += (unsigned)mail[i] + digest[i];
		mail[i] = (uint8_t)carry;
		carry >>= 8;
	}
}

static void add_text(struct sums *sums, struct ps_buf *text)
{
	gnutls_hash(sums->content, text->ptr, text->len);
	ps_buf_reset(text);
}

/* A message that is expunged while we look is not there: the digest of an end in use tells little anyway. */
static int add_row(const struct ps_sync_end *end, struct ps_mbox *mbox, const char *name, const struct sync_view *view,
		   const struct ps_row *row, struct sums *sums, struct ps_buf *text)
{
	uint8_t octets[LONG];
	uint64_t count;
	int r = hash_body(end, mbox, row->uid, octets, &count);

	if (r < 0)
		return r == PS_E_GONE ? 0 : r;
	ps_buf_reset(text);
	put_flags(text, view, row);
	ps_buf_printf(text, " date %lld size %llu/%llu octets ", (long long)row->internal_date,
		      (unsigned long long)row->size, (unsigned long long)count);
	ps_hex_encode(text, ps_bytes(octets, LONG));
	ps_buf_printf(text, " in %s ", name);
	put_id(text, &row->email_id);
	add_to_mail(sums->mail, ps_buf_view(text));
	ps_buf_printf(text, " saved %lld uid %u\n", (long long)row->save_date, row->uid);
	add_text(sums, text);
	ps_buf_printf(text, "%s %u %llu\n", name, row->uid, (unsigned long long)row->modseq);
	gnutls_hash(sums->modseqs, text->ptr, text->len);
	ps_buf_reset(text);
	sums->messages++;
	sums->octets += count;
	return 0;
}

static int add_rows(const struct ps_sync_end *end, const struct ps_mailbox_info *info, struct sums *sums,
		    struct ps_buf *text)
{
	struct sync_view view;
	struct ps_mbox *mbox;
	int r = sync_mailbox_open(end, info, &mbox);

	if (r < 0)
		return r;
	if ((r = sync_view_open(end, mbox, 0, 0, &view)) == 0) {
		for (size_t i = 0; i < view.rows.count && r == 0; i++)
			r = add_row(end, mbox, info->name, &view, &view.rows.ptr[i], sums, text);
		sync_view_close(&view);
	}
	sync_mailbox_close(end, mbox);
	return r;
}

static int digest_box(const struct ps_sync_end *end, const struct ps_mailbox_info *info,
		      struct ps_sync_digest *ret_digest)
{
	struct ps_buf text = {0};
	struct sums sums;
	int r = sums_init(&sums);

	if (r < 0)
		return r;
	put_box(&text, info->name, info);
	add_text(&sums, &text);
	if (sync_exists(info))
		r = add_rows(end, info, &sums, &text);
	sums_finish(&sums, ret_digest);
	ps_buf_finish(&text);
	return r;
}

static void add_digest(struct sums *all, const struct ps_sync_digest *one)
{
	gnutls_hash(all->content, one->content, LONG);
	gnutls_hash(all->modseqs, one->modseqs, LONG);
	add_to_mail(all->mail, ps_bytes(one->mail, LONG));
	all->messages += one->messages;
	all->octets += one->octets;
}

int ps_sync_digest(const struct ps_sync_end *end,
		   void (*each)(void *arg, const char *mailbox, const struct ps_sync_digest *digest), void *arg,
		   struct ps_sync_digest *ret_digest)
{
	PS_CLEANUP(ps_pool_destroyp) struct ps_pool *pool = ps_pool_create("sync digest");
	struct sync_boxes boxes;
	struct sums all;
	int r = sync_look(end, pool, &boxes);

	if (r < 0 || (r = sums_init(&all)) < 0)
		return r;
	for (size_t i = 0; i < boxes.count && r == 0; i++) {
		struct ps_sync_digest one;

		r = digest_box(end, &boxes.ptr[i], &one);
		if (r == 0)
			add_digest(&all, &one);
		if (r == 0 && each)
			each(arg, boxes.ptr[i].name, &one);
	}
	sums_finish(&all, ret_digest);
	return r;
}
