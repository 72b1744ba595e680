/* SPDX-License-Identifier: MIT */
/*
 * A store as a text: all that the contract lets one ask for, but what each store has of its own (UIDs, modseqs, save
 * dates, ids of mailboxes). Two stores that went through the same have the same text.
 */
#include "postern/io.h"
#include "tests/conformance/conform.h"

static void put_rows(struct kit *kit, struct ps_mbox *mbox, const struct picture *p, struct ps_buf *out)
{
	for (size_t i = 0; i < p->count; i++) {
		const struct ps_row *row = &p->rows[i];
		struct ps_bytes octets;

		must_ok(kit_body(kit, mbox, row->uid, &octets));
		must(octets.len == row->size, "UID %u: %zu octets, its size is %llu", row->uid, octets.len,
		     (unsigned long long)row->size);
		ps_buf_printf(out, "  flags 0x%x (%s) date %lld id %02x%02x, %zu octets %08x\n", row->flags,
			      picture_keywords(kit, p, row), (long long)row->internal_date, row->email_id.octets[0],
			      row->email_id.octets[15], octets.len, ps_crc32c(0, octets.ptr, octets.len));
	}
}

const char *kit_describe(struct kit *kit, struct ps_store *store)
{
	struct names names = kit_list(kit, store);
	struct ps_buf out = {0};
	const char *text;

	for (size_t i = 0; i < names.count; i++) {
		const struct ps_mailbox_info *info = &names.infos[i];
		struct picture p;
		struct ps_mbox *mbox;

		if (!info->attributes)
			continue; /* only the parent of others */
		ps_buf_printf(&out, "%s: attributes 0x%x\n", info->name, info->attributes);
		if (!(info->attributes & PS_MBOX_EXISTS))
			continue;
		must_ok(kit->ops->mailbox_open(store, info->name, &mbox));
		p = kit_picture(kit, store, mbox);
		put_rows(kit, mbox, &p, &out);
		kit->ops->mailbox_close(mbox);
	}
	text = ps_pool_strdup(kit->pool, ps_buf_cstr(&out));
	ps_buf_finish(&out);
	return text;
}
