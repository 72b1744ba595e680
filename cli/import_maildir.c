/* SPDX-License-Identifier: MIT */
/* What Maildir names tell: https://cr.yp.to/proto/maildir.html, and the folders and keywords others added. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "cli/import.h"

static const struct {
	char letter;
	uint32_t flag;
} flag_letters[] = {
	{'S', PS_FLAG_SEEN},    {'R', PS_FLAG_ANSWERED}, {'F', PS_FLAG_FLAGGED},
	{'T', PS_FLAG_DELETED}, {'D', PS_FLAG_DRAFT},
};

/* Lines "0 name", for the letter a. */
void import_keywords_read(int folder_fd, struct ps_pool *pool, struct import_keywords *ret_keywords)
{
	int fd = openat(folder_fd, "dovecot-keywords", O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
	char line[512];
	unsigned n;

	*ret_keywords = (struct import_keywords){0};
	if (!file) {
		if (fd >= 0)
			close(fd);
		return;
	}
	while (fgets(line, sizeof line, file)) {
		char *end, *name;

		n = (unsigned)strtoul(line, &end, 10);
		name = end + strspn(end, " ");
		name[strcspn(name, " \r\n")] = '\0';
		if (end > line && n < 26 && *name)
			ret_keywords->names[n] = ps_pool_strdup(pool, name);
	}
	fclose(file);
}

static void add_keyword(struct import_message *message, struct ps_pool *pool, const char *name)
{
	if (name)
		message->keywords = message->keywords ? ps_pool_printf(pool, "%s %s", message->keywords, name) : name;
}

static void take_letter(char letter, const struct import_keywords *keywords, struct ps_pool *pool,
			struct import_message *message)
{
	for (size_t i = 0; i < PS_ARRAY_LEN(flag_letters); i++)
		if (flag_letters[i].letter == letter)
			message->flags |= flag_letters[i].flag;
	if (letter == 'P')
		add_keyword(message, pool, "$Forwarded");
	if (letter >= 'a' && letter <= 'z')
		add_keyword(message, pool, keywords->names[letter - 'a']);
}

void import_maildir_name(const char *name, int64_t mtime, const struct import_keywords *keywords, struct ps_pool *pool,
			 struct import_message *message)
{
	enum {
		YEAR_1990 = 631152000
	};
	const char *info = strstr(name, ":2,");
	size_t digits = strspn(name, "0123456789");
	uint64_t stamp;

	message->date = mtime;
	if (name[digits] == '.' && ps_bytes_u64(ps_bytes(name, digits), &stamp) == 0 && stamp > YEAR_1990 &&
	    stamp < (uint64_t)mtime)
		message->date = (int64_t)stamp;
	for (info = info ? info + 3 : ""; *info; info++)
		take_letter(*info, keywords, pool, message);
}

/* Modified UTF-7 where it is that; else as it is. */
static void decode(const char *component, struct ps_buf *out)
{
	if (ps_mutf7_decode(ps_bytes_str(component), out) < 0) {
		ps_buf_reset(out);
		ps_buf_str(out, component);
	}
}

const char *import_mailbox_name(const char *parent, const char *component, bool maildir_plus, struct ps_pool *pool)
{
	struct ps_buf name = {0};
	const char *result = NULL;

	if (strcmp(parent, "INBOX") != 0)
		ps_buf_printf(&name, "%s/", parent);
	if (maildir_plus) {
		struct ps_buf decoded = {0};

		component = ps_pool_strdup(pool, component + 1);
		for (char *dot = strchr(component, '.'); dot; dot = strchr(dot, '.'))
			*dot = '/';
		decode(component, &decoded);
		ps_buf_bytes(&name, ps_buf_view(&decoded));
		ps_buf_finish(&decoded);
	} else {
		ps_buf_str(&name, component);
	}
	if (ps_mailbox_name_normalise(ps_buf_view(&name), pool, &result) < 0)
		cli_error("the folder \"%s\" cannot be a mailbox: %s", component, ps_last_error());
	ps_buf_finish(&name);
	return result;
}
