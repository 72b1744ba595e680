/* SPDX-License-Identifier: MIT */
/* From words to values, by the type of the row. */
#include <stdlib.h>
#include "auth/nets.h"
#include "core/config/conf.h"
#include "core/config/near.h"
#include "postern/log.h"

struct unit {
	const char *name;
	int64_t factor;
};

/* Largest first: the first that divides a number is the one it is printed in. "" ends a table. */
static const struct unit size_units[] = {
	{"T", INT64_C(1) << 40}, {"G", INT64_C(1) << 30}, {"M", INT64_C(1) << 20}, {"K", INT64_C(1) << 10}, {"", 1},
};
static const struct unit time_units[] = {
	{"w", 604800}, {"d", 86400}, {"h", 3600}, {"m", 60}, {"s", 1}, {"", 1},
};
static const struct unit no_units[] = {{"", 1}};

static const struct unit *units_of(enum ps_setting_type type)
{
	return type == PS_SET_SIZE ? size_units : type == PS_SET_TIME ? time_units : no_units;
}

static const struct {
	const char *word;
	bool value;
} truths[] = {
	{"yes", true}, {"no", false}, {"true", true}, {"false", false}, {"on", true}, {"off", false},
};

static bool parse_bool(const struct ps_setting *row, const char *text, struct conf_value *value, struct ps_buf *why)
{
	(void)row;
	for (size_t i = 0; i < PS_ARRAY_LEN(truths); i++)
		if (ps_strcasecmp(truths[i].word, text) == 0) {
			value->truth = truths[i].value;
			return true;
		}
	ps_buf_str(why, "must be yes or no");
	return false;
}

/* "12", "-1" or, with units, "100M". False if it is no number or does not fit. */
static bool parse_number(const char *text, const struct unit *units, int64_t *ret_number)
{
	bool negative = text[0] == '-';
	const char *digits = text + negative;
	size_t len = strspn(digits, "0123456789");
	uint64_t n;

	if (ps_bytes_u64(ps_bytes(digits, len), &n) < 0)
		return false;
	while (units->name[0] && ps_strcasecmp(units->name, digits + len) != 0)
		units++;
	if (!units->name[0] && digits[len])
		return false;
	if (n > (uint64_t)(INT64_MAX / units->factor))
		return false;
	*ret_number = (int64_t)n * units->factor * (negative ? -1 : 1);
	return true;
}

void conf_number_format(const struct ps_setting *row, int64_t number, struct ps_buf *out)
{
	const struct unit *unit = units_of(row->type);

	while (unit->name[0] && (number == 0 || number % unit->factor != 0))
		unit++;
	ps_buf_printf(out, "%lld%s", (long long)(number / unit->factor), unit->name);
}

static const char *number_kind(enum ps_setting_type type)
{
	switch (type) {
	case PS_SET_SIZE: return "a size such as 64K, 10M or 1G";
	case PS_SET_TIME: return "a time such as 30s, 5m or 2h";
	default: return "a whole number";
	}
}

static bool is_bounded(const struct ps_setting *row)
{
	return row->min != 0 || row->max != 0;
}

static bool parse_bounded(const struct ps_setting *row, const char *text, struct conf_value *value, struct ps_buf *why)
{
	int64_t n;

	if (parse_number(text, units_of(row->type), &n) && (!is_bounded(row) || (n >= row->min && n <= row->max))) {
		value->number = n;
		return true;
	}
	ps_buf_printf(why, "must be %s", number_kind(row->type));
	if (is_bounded(row)) {
		ps_buf_str(why, " from ");
		conf_number_format(row, row->min, why);
		ps_buf_str(why, " to ");
		conf_number_format(row, row->max, why);
	}
	return false;
}

static bool parse_choice(const struct ps_setting *row, const char *text, struct ps_pool *pool, struct conf_value *value,
			 struct ps_buf *why)
{
	char *words = ps_pool_strdup(pool, row->choices), *rest = NULL;
	struct ps_near near = {.word = text};

	ps_buf_str(why, "must be");
	for (char *word = strtok_r(words, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
		if (strcmp(word, text) == 0) {
			value->text = word;
			ps_buf_reset(why);
			return true;
		}
		ps_buf_printf(why, "%s \"%s\"", word == words ? "" : " or", word);
		ps_near_offer(&near, word);
	}
	if (near.best)
		ps_buf_printf(why, " (did you mean \"%s\"?)", near.best);
	return false;
}

bool conf_value_parse(const struct ps_setting *row, const char *text, struct ps_pool *pool, struct conf_value *value,
		      struct ps_buf *why)
{
	switch (row->type) {
	case PS_SET_BOOL: return parse_bool(row, text, value, why);
	case PS_SET_INT:
	case PS_SET_SIZE:
	case PS_SET_TIME: return parse_bounded(row, text, value, why);
	case PS_SET_CHOICE: return parse_choice(row, text, pool, value, why);
	case PS_SET_STRING: value->text = ps_pool_strdup(pool, text); return true;
	case PS_SET_LIST:
	case PS_SET_SECTION: break; /* read.c puts them together */
	}
	return false;
}

bool conf_word_is_right(const struct ps_setting *row, const char *word, struct ps_buf *why)
{
	int64_t n;

	if (row->choices && !ps_nets_valid(word))
		ps_buf_str(why, "takes addresses and networks such as 192.0.2.0/24");
	else if (is_bounded(row) && (!parse_number(word, no_units, &n) || n < row->min || n > row->max))
		ps_buf_printf(why, "takes whole numbers from %lld to %lld", (long long)row->min, (long long)row->max);
	return why->len == 0;
}

static void set_default_list(const char *words, struct ps_pool *pool, struct conf_value *value)
{
	char *copy = ps_pool_strdup(pool, words), *rest = NULL;
	size_t cap = 0;

	for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
		value->words = ps_pool_grow(pool, value->words, value->count, &cap, sizeof *value->words);
		value->words[value->count++] = word;
	}
}

static void set_default(struct ps_conf *conf, const struct ps_setting *row, struct ps_pool *pool,
			struct conf_value *value)
{
	struct ps_buf why = {0};

	if (row->type == PS_SET_SECTION && !row->titled) {
		value->sections = PS_NEW(pool, struct ps_conf *);
		value->sections[0] = conf_create(conf->config, row->section, row->name, NULL);
		value->count = 1;
	} else if (row->def && row->type == PS_SET_LIST) {
		set_default_list(row->def, pool, value);
	} else if (row->def && !conf_value_parse(row, row->def, pool, value, &why)) {
		ps_log(PS_LOG_ERROR, "bad_default", "setting", row->name, "default", row->def, "msg", ps_buf_cstr(&why),
		       NULL);
		abort();
	}
	ps_buf_finish(&why);
}

struct ps_conf *conf_create(struct ps_config *config, const struct ps_setting *schema, const char *name,
			    const char *title)
{
	static const struct ps_setting none[] = {{.name = NULL}};
	struct ps_conf *conf = PS_NEW(config->pool, struct ps_conf);
	size_t rows = 0;

	*conf = (struct ps_conf){.config = config, .schema = schema ? schema : none, .name = name};
	conf->title = ps_pool_strdup(config->pool, title);
	while (conf->schema[rows].name)
		rows++;
	conf->values = PS_NEWV(config->pool, struct conf_value, rows + 1);
	for (size_t i = 0; i < rows; i++)
		set_default(conf, &conf->schema[i], config->pool, &conf->values[i]);
	return conf;
}
