/* SPDX-License-Identifier: MIT */
/* What the server says it can, and when. Announced is only what is whole. */
#include "postern/login.h"
#include "protocols/imap/imap.h"

static bool literal_plus(const struct imap *imap)
{
	return imap->literal_plus;
}

static bool literal_minus(const struct imap *imap)
{
	return !imap->literal_plus;
}

static bool tls_offered(const struct imap *imap)
{
	return ps_session_tls_offered(imap->session);
}

static bool no_plaintext(const struct imap *imap)
{
	return !ps_login_takes_passwords(imap->session);
}

static bool compress(const struct imap *imap)
{
	return ps_conf_bool(ps_session_conf(imap->session), "compress") && !ps_session_is_compressed(imap->session);
}

static bool goes_back(const struct imap *imap)
{
	return ps_conf_bool(ps_session_conf(imap->session), "unauthenticate");
}

static bool has_quotas(const struct imap *imap)
{
	(void)imap;
	return ps_quota_offered();
}

static bool sets_quotas(const struct imap *imap)
{
	return ps_quota_offered() && ps_session_is_admin(imap->session);
}

enum {
	BEFORE_LOGIN = 1,
	AFTER_LOGIN = 2,
	ALWAYS = 3
};

static const struct {
	const char *name;
	unsigned when;
	bool (*offered)(const struct imap *imap); /* NULL: yes */
} capabilities[] = {
	{"IMAP4rev1", ALWAYS, NULL},
	{"IMAP4rev2", ALWAYS, NULL},        /* RFC 9051: by ENABLE */
	{"LITERAL+", ALWAYS, literal_plus}, /* RFC 7888: never both */
	{"LITERAL-", ALWAYS, literal_minus},
	{"SASL-IR", BEFORE_LOGIN, NULL}, /* RFC 4959 */
	{"STARTTLS", BEFORE_LOGIN, tls_offered},
	{"LOGINDISABLED", BEFORE_LOGIN, no_plaintext},
	{"ID", ALWAYS, NULL},                         /* RFC 2971 */
	{"ENABLE", ALWAYS, NULL},                     /* RFC 5161 */
	{"IDLE", ALWAYS, NULL},                       /* RFC 2177 */
	{"NAMESPACE", AFTER_LOGIN, NULL},             /* RFC 2342 */
	{"CHILDREN", AFTER_LOGIN, NULL},              /* RFC 3348 */
	{"UNSELECT", AFTER_LOGIN, NULL},              /* RFC 3691 */
	{"UIDPLUS", AFTER_LOGIN, NULL},               /* RFC 4315 */
	{"MOVE", AFTER_LOGIN, NULL},                  /* RFC 6851 */
	{"SPECIAL-USE", AFTER_LOGIN, NULL},           /* RFC 6154 */
	{"CREATE-SPECIAL-USE", AFTER_LOGIN, NULL},    /* RFC 6154 */
	{"LIST-EXTENDED", AFTER_LOGIN, NULL},         /* RFC 5258 */
	{"LIST-STATUS", AFTER_LOGIN, NULL},           /* RFC 5819 */
	{"MULTIAPPEND", AFTER_LOGIN, NULL},           /* RFC 3502 */
	{"REPLACE", AFTER_LOGIN, NULL},               /* RFC 8508 */
	{"INPROGRESS", AFTER_LOGIN, NULL},            /* RFC 9585 */
	{"PREVIEW", AFTER_LOGIN, NULL},               /* RFC 8970 */
	{"BINARY", AFTER_LOGIN, NULL},                /* RFC 3516 */
	{"UTF8=ACCEPT", AFTER_LOGIN, NULL},           /* RFC 9755 */
	{"OBJECTID", AFTER_LOGIN, NULL},              /* RFC 8474 */
	{"SAVEDATE", AFTER_LOGIN, NULL},              /* RFC 8514 */
	{"ESORT", AFTER_LOGIN, NULL},                 /* RFC 5267 */
	{"SORT", AFTER_LOGIN, NULL},                  /* RFC 5256 */
	{"SORT=DISPLAY", AFTER_LOGIN, NULL},          /* RFC 5957 */
	{"I18NLEVEL=1", AFTER_LOGIN, NULL},           /* RFC 5255: i;unicode-casemap */
	{"THREAD=ORDEREDSUBJECT", AFTER_LOGIN, NULL}, /* RFC 5256 */
	{"THREAD=REFERENCES", AFTER_LOGIN, NULL},     /* RFC 5256 */
	{"THREAD=REFS", AFTER_LOGIN, NULL},           /* draft-ietf-morg-inthread */
	{"STATUS=SIZE", AFTER_LOGIN, NULL},           /* RFC 8438 */
	{"CONDSTORE", AFTER_LOGIN, NULL},             /* RFC 7162 */
	{"QRESYNC", AFTER_LOGIN, NULL},               /* RFC 7162 */
	{"ESEARCH", AFTER_LOGIN, NULL},               /* RFC 4731 */
	{"SEARCHRES", AFTER_LOGIN, NULL},             /* RFC 5182 */
	{"PARTIAL", AFTER_LOGIN, NULL},               /* RFC 9394 */
	{"COMPRESS=DEFLATE", AFTER_LOGIN, compress},  /* RFC 4978 */
	{"UNAUTHENTICATE", AFTER_LOGIN, goes_back},   /* RFC 8437 */
	{"WITHIN", AFTER_LOGIN, NULL},                /* RFC 5032 */
	{"QUOTA", AFTER_LOGIN, has_quotas},           /* RFC 9208 */
	{"QUOTA=RES-STORAGE", AFTER_LOGIN, has_quotas},
	{"QUOTA=RES-MESSAGE", AFTER_LOGIN, has_quotas},
	{"QUOTASET", AFTER_LOGIN, sets_quotas},
};

/* What ENABLE can switch on (RFC 5161): the name, and its bit in imap->enabled. Ended by NULL. */
static const struct {
	const char *name;
	unsigned bit;
} extensions[] = {
	{"CONDSTORE", IMAP_CONDSTORE},
	{"QRESYNC", IMAP_QRESYNC | IMAP_CONDSTORE},
	{"UTF8=ACCEPT", IMAP_UTF8},
	{"IMAP4rev2", IMAP_REV2},
	{NULL, 0},
};

static void put_mechanisms(struct imap *imap, struct ps_buf *out)
{
	const char *names = ps_session_mechanisms(imap->session);

	for (size_t len; names && *names; names += len) {
		len = strcspn(names, " ");
		if (len > 0) {
			ps_buf_str(out, " AUTH=");
			ps_buf_append(out, names, len);
		}
		len += strspn(names + len, " ");
	}
}

void imap_put_capabilities(struct imap *imap, struct ps_buf *out)
{
	unsigned when = imap->user ? AFTER_LOGIN : BEFORE_LOGIN;

	ps_buf_str(out, "CAPABILITY");
	for (size_t i = 0; i < PS_ARRAY_LEN(capabilities); i++) {
		if (!(capabilities[i].when & when) || (capabilities[i].offered && !capabilities[i].offered(imap)))
			continue;
		ps_buf_char(out, ' ');
		ps_buf_str(out, capabilities[i].name);
	}
	if (when == BEFORE_LOGIN) {
		put_mechanisms(imap, out);
		return;
	}
	ps_buf_str(out, " APPENDLIMIT="); /* RFC 7889: the same for all mailboxes */
	ps_buf_u64(out, imap_append_limit(imap));
}

const char *imap_enable(struct imap *imap, struct ps_bytes name)
{
	for (size_t i = 0; extensions[i].name; i++) {
		if (ps_bytes_caseeq_str(name, extensions[i].name)) {
			imap->enabled |= extensions[i].bit;
			imap->names.utf8 = imap->enabled & (IMAP_UTF8 | IMAP_REV2);
			return extensions[i].name;
		}
	}
	return NULL;
}
