/* SPDX-License-Identifier: MIT */
/*
 * What Dovecot keeps in a mailbox: dovecot-uidlist, in the form of Courier's list (version 1) or its own (3), and
 * dovecot-keywords, the meaning of the letters a to z in file names, "NUMBER NAME" a line. The letters are ours, too, so
 * no file is renamed. Its subscriptions are read as they are, by mailboxes.c.
 */
#include "config.h"

#include "backends/maildir/adopt.h"

enum {
	LETTERS = 26
};

static int read_keywords(struct adoption *adoption)
{
	struct ps_buf octets = {0};
	struct ps_bytes text, line;
	uint32_t number;
	int r = adopt_read(adoption, adoption->dirfd, "dovecot-keywords", &octets);

	text = ps_buf_view(&octets);
	while (r == 1 && adopt_line(adoption, &text, &line)) {
		if (ps_bytes_u32(adopt_word(&line), &number) < 0 || number >= LETTERS)
			adopt_pass_over(adoption, "no letter's number");
		else
			adopt_keyword(adoption, line, ~(UINT64_C(1) << number));
	}
	adopt_account(adoption);
	ps_buf_finish(&octets);
	return r < 0 ? r : 0;
}

int adopt_dovecot(struct adoption *adoption)
{
	int r = adopt_uid_list(adoption, "dovecot-uidlist", true), keywords;

	if (r != 1)
		return r;
	keywords = read_keywords(adoption);
	return keywords < 0 ? keywords : 1;
}
