/* SPDX-License-Identifier: MIT */
#include "auth/entry_json.h"
#include "postern/error.h"

#define TEXT(key, member)                                                                                              \
	{                                                                                                              \
		key, offsetof(struct ps_user_entry, member), false                                                     \
	}
#define NEEDED(key, member)                                                                                            \
	{                                                                                                              \
		key, offsetof(struct ps_user_entry, member), true                                                      \
	}

static const struct text {
	const char *key;
	size_t at;
	bool needed;
} texts[] = {
	NEEDED("name", info.name),    NEEDED("home", info.home),   NEEDED("backend", info.backend),
	NEEDED("mail", info.root),    TEXT("fields", info.fields), TEXT("allow_nets", allow_nets),
	TEXT("protocols", protocols), TEXT("reason", reason),
};

static const char **text_of(const struct text *text, const struct ps_user_entry *entry)
{
	return (const char **)((char *)entry + text->at);
}

/* The database is counted from 1; 0 is the passwd-file. */
json_t *ps_entry_to_json(const struct ps_user_entry *entry)
{
	json_t *json =
		json_pack("{s:I, s:I, s:b, s:I, s:I}", "uid", (json_int_t)entry->info.uid, "gid",
			  (json_int_t)entry->info.gid, "nologin", entry->nologin, "sessions",
			  (json_int_t)entry->sessions, "database", (json_int_t)(entry->line ? 0 : entry->database + 1));

	for (size_t i = 0; i < PS_ARRAY_LEN(texts); i++)
		if (*text_of(&texts[i], entry))
			json_object_set_new(json, texts[i].key, json_string(*text_of(&texts[i], entry)));
	return json;
}

int ps_entry_from_json(const json_t *json, struct ps_pool *pool, struct ps_user_entry *ret_entry)
{
	struct ps_user_entry entry = {.nologin = json_is_true(json_object_get(json, "nologin"))};
	json_int_t database = json_integer_value(json_object_get(json, "database"));

	for (size_t i = 0; i < PS_ARRAY_LEN(texts); i++) {
		const char *value = json_string_value(json_object_get(json, texts[i].key));

		if (!value && texts[i].needed)
			return ps_fail(PS_E_INVALID, "what is said of the user has no \"%s\"", texts[i].key);
		*text_of(&texts[i], &entry) = ps_pool_strdup(pool, value);
	}
	entry.info.uid = (uid_t)json_integer_value(json_object_get(json, "uid"));
	entry.info.gid = (gid_t)json_integer_value(json_object_get(json, "gid"));
	entry.sessions = (uint32_t)json_integer_value(json_object_get(json, "sessions"));
	entry.line = database == 0;
	entry.database = database ? (unsigned)database - 1 : 0;
	*ret_entry = entry;
	return 0;
}
