/* SPDX-License-Identifier: MIT */
/*
 * From text to tree. libconfuse parses against option tables made from the schemas, in which every value is a
 * word with its line; what is wrong with a value is then found by ourselves, so that one reading tells of all.
 *
 * THREADS. libconfuse's scanner has global state: one reading at a time, under a lock.
 */
#include <confuse.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include "core/config/conf.h"
#include "core/config/near.h"
#include "core/config/schema.h"
#include "core/process/plugin_check.h"
#include "core/process/plugins.h"

#define UNKNOWN_MAX 50

struct word {
	const char *text;
	int line;
};

struct reader {
	struct conf_errors errors;
	struct ps_config *config;
	char *text;
	cfg_opt_t **seen; /* settings and untitled sections that were given a value */
	size_t seen_count, seen_cap;
	const char *unknown; /* name that ended the parse; NULL: it was something else */
	int unknown_line;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct reader *current; /* libconfuse's callbacks have no argument of ours */

const char *conf_kind_word(uint32_t kind)
{
	return ps_plugin_kind_word(kind);
}

bool conf_kind_loaded(uint32_t kind)
{
	for (size_t i = 0; ps_plugin_nth(i); i++)
		if (ps_plugin_nth(i)->kind == kind)
			return true;
	return false;
}

/* ---- what libconfuse calls ---- */

static const char *place_of(cfg_t *cfg)
{
	const char *name = cfg_name(cfg), *slash = strchr(name, '/');

	if (strcmp(name, "root") == 0)
		return "";
	if (!slash)
		return conf_place(current->errors.pool, name, cfg_title(cfg));
	return conf_place(current->errors.pool, ps_pool_strndup(current->errors.pool, name, (size_t)(slash - name)),
			  slash + 1);
}

static bool seen_before(cfg_opt_t *opt)
{
	struct reader *r = current;

	for (size_t i = r->seen_count; i > 0; i--)
		if (r->seen[i - 1] == opt)
			return true;
	r->seen = ps_pool_grow(r->errors.pool, r->seen, r->seen_count, &r->seen_cap, sizeof(cfg_opt_t *));
	r->seen[r->seen_count++] = opt;
	return false;
}

static int on_value(cfg_t *cfg, cfg_opt_t *opt, const char *text, void *ret_value)
{
	struct word *word = PS_NEW(current->errors.pool, struct word);

	if (!(opt->flags & CFGF_LIST) && seen_before(opt))
		conf_error(&current->errors, cfg->line, "\"%s\"%s is set a second time", opt->name, place_of(cfg));
	word->text = ps_pool_strdup(current->errors.pool, text);
	word->line = cfg->line;
	*(void **)ret_value = word;
	return 0;
}

static int on_section_end(cfg_t *cfg, cfg_opt_t *opt)
{
	const char *slash = strchr(opt->name, '/');

	if (seen_before(opt))
		conf_error(&current->errors, cfg->line, "the section \"%s\" that ends here is there a second time",
			   slash ? slash + 1 : opt->name);
	return 0;
}

static void tell_unknown(cfg_t *cfg, const char *name)
{
	struct reader *r = current;
	const char *slash = strchr(name, '/');
	struct ps_near near = {.word = name};
	char *hint = ps_pool_strdup(r->errors.pool, "");

	for (unsigned i = 0; i < cfg_num(cfg); i++)
		ps_near_offer(&near, cfg_opt_name(cfg_getnopt(cfg, i)));
	if (near.best && slash && strchr(near.best, '/'))
		near.best = strchr(near.best, '/') + 1;
	if (near.best)
		hint = ps_pool_printf(r->errors.pool, "; did you mean \"%s\"?", near.best);
	if (slash)
		conf_error(&r->errors, cfg->line, "no %.*s \"%s\" is installed%s", (int)(slash - name), name, slash + 1,
			   hint);
	else
		conf_error(&r->errors, cfg->line, "unknown setting \"%s\"%s%s", name, place_of(cfg), hint);
	r->unknown = ps_pool_strdup(r->errors.pool, name);
	r->unknown_line = cfg->line;
}

/* What libconfuse complains of, in our words; %s are its argument and the section. */
static const struct {
	const char *theirs, *ours;
} complaints[] = {
	{"missing equal sign after option", "expected = after \"%s\"%s"},
	{"missing title for section", "expected a title after \"%s\"%s, as in: %1$s \"title\" {"},
	{"missing opening brace for section", "expected { after \"%s\"%s"},
	{"found duplicate title", "a second section has the title \"%s\"%s"},
	{"attempt to append to non-list option", "\"%s\"%s takes one value: expected =, not +="},
	{"unexpected closing brace", "there is no section that this } could close"},
	{"invalid octal number", "\"%s\"%s is no octet: expected at most \\377"},
	{"bad escape sequence", "\"%s\"%s has no meaning in a string"},
	{"premature end of file", "the file ends within a setting or section"},
	{"unexpected token", "did not expect \"%s\" here%s: expected NAME = VALUE or NAME { ... }"},
};

static void on_error(cfg_t *cfg, const char *fmt, va_list ap)
{
	const char *argument = strstr(fmt, "%s") ? va_arg(ap, const char *) : "";
	const char *place = place_of(cfg);
	int last = current->config->last_line; /* libconfuse counts one more after the last line end */
	int line = cfg->line < last ? cfg->line : last;

	if (strncmp(fmt, "no such option", strlen("no such option")) == 0) {
		tell_unknown(cfg, argument);
		return;
	}
	for (size_t i = 0; i < PS_ARRAY_LEN(complaints); i++) {
		if (strncmp(fmt, complaints[i].theirs, strlen(complaints[i].theirs)) != 0)
			continue;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		conf_error(&current->errors, line, complaints[i].ours, argument, place);
#pragma GCC diagnostic pop
		return;
	}
	conf_error(&current->errors, line, "cannot be read: %s%s", argument, place);
}

/* ---- option tables ---- */

static size_t count_rows(const struct ps_setting *rows)
{
	size_t n = 0;

	while (rows && rows[n].name)
		n++;
	return n;
}

static cfg_opt_t *make_options(const struct ps_setting *rows, struct ps_pool *pool, size_t spare);

static void make_option(const struct ps_setting *row, struct ps_pool *pool, cfg_opt_t *opt)
{
	cfg_opt_t scalar = CFG_PTR_CB(row->name, NULL, CFGF_NODEFAULT, on_value, NULL);
	cfg_opt_t list = CFG_PTR_LIST_CB(row->name, NULL, CFGF_NODEFAULT, on_value, NULL);

	if (row->type == PS_SET_SECTION) {
		const struct ps_setting *rows =
			row->section == ps_userdb_settings ? conf_userdb_rows(pool) : row->section;
		cfg_opt_t section = CFG_SEC(row->name, make_options(rows, pool, 0), CFGF_NODEFAULT);

		if (row->titled)
			section.flags = CFGF_MULTI | CFGF_TITLE | CFGF_NO_TITLE_DUPES;
		else
			section.validcb = on_section_end;
		*opt = section;
	} else {
		*opt = row->type == PS_SET_LIST ? list : scalar;
	}
}

static cfg_opt_t *make_options(const struct ps_setting *rows, struct ps_pool *pool, size_t spare)
{
	size_t n = count_rows(rows);
	cfg_opt_t *opts = PS_NEWV(pool, cfg_opt_t, n + spare + 1);
	cfg_opt_t end = CFG_END();

	for (size_t i = 0; i < n; i++)
		make_option(&rows[i], pool, &opts[i]);
	for (size_t i = n; i <= n + spare; i++)
		opts[i] = end;
	return opts;
}

static const char *plugin_option(const struct ps_plugin *plugin, struct ps_pool *pool)
{
	return ps_pool_printf(pool, "%s/%s", conf_kind_word(plugin->kind), plugin->name);
}

static cfg_opt_t *make_root(struct ps_pool *pool)
{
	size_t n = count_rows(ps_core_settings), plugins = 0;
	const struct ps_plugin *plugin;
	cfg_opt_t *opts;

	while (ps_plugin_nth(plugins))
		plugins++;
	opts = make_options(ps_core_settings, pool, plugins);
	for (size_t i = 0; (plugin = ps_plugin_nth(i)); i++) {
		struct ps_setting row = {.type = PS_SET_SECTION, .section = plugin->settings};

		if (!conf_kind_has_section(plugin->kind))
			continue;
		row.name = plugin_option(plugin, pool);
		make_option(&row, pool, &opts[n++]);
	}
	return opts;
}

/* ---- from libconfuse's tree to ours ---- */

static void take_section(struct reader *r, cfg_t *cfg, struct ps_conf *conf);

/* The settings of `userdb NAME { driver = "..." }` are its driver's: those of another are not lawful in it. */
static const struct ps_setting *userdb_schema(struct reader *r, cfg_t *cfg)
{
	const struct word *driver = cfg_size(cfg, "driver") ? cfg_getnptr(cfg, "driver", 0) : NULL;
	const struct ps_setting *schema =
		conf_userdb_schema(&r->errors, driver ? driver->line : cfg->line, cfg_title(cfg),
				   driver ? driver->text : NULL, r->config->pool);

	for (unsigned i = 0; i < cfg_num(cfg); i++) {
		cfg_opt_t *opt = cfg_getnopt(cfg, i);
		const struct word *word = cfg_opt_size(opt) ? cfg_opt_getnptr(opt, 0) : NULL;
		const struct ps_setting *row = schema;

		while (row->name && strcmp(row->name, opt->name) != 0)
			row++;
		if (!row->name && word && driver)
			conf_error(&r->errors, word->line, "the driver \"%s\" has no setting \"%s\"", driver->text,
				   opt->name);
	}
	return schema;
}

static void take_sections(struct reader *r, cfg_opt_t *opt, const struct ps_setting *row, struct conf_value *value)
{
	struct ps_pool *pool = r->config->pool;
	size_t n = cfg_opt_size(opt);

	if (n == 0)
		return;
	value->sections = PS_NEWV(pool, struct ps_conf *, n);
	for (value->count = 0; value->count < n; value->count++) {
		cfg_t *cfg = cfg_opt_getnsec(opt, (unsigned)value->count);
		const struct ps_setting *schema =
			row->section == ps_userdb_settings ? userdb_schema(r, cfg) : row->section;
		struct ps_conf *conf = conf_create(r->config, schema, row->name, row->titled ? cfg_title(cfg) : NULL);

		conf->line = cfg->line;
		value->sections[value->count] = conf;
		value->line = cfg->line;
		take_section(r, cfg, conf);
	}
}

static void tell_value(struct reader *r, const struct ps_setting *row, const struct ps_conf *conf,
		       const struct word *word, struct ps_buf *why)
{
	conf_error(&r->errors, word->line, "\"%s\"%s %s, not \"%s\"", row->name,
		   conf_place(r->errors.pool, conf->name, conf->title), ps_buf_cstr(why), word->text);
}

static void take_list(struct reader *r, cfg_opt_t *opt, const struct ps_setting *row, const struct ps_conf *conf,
		      struct conf_value *value)
{
	struct ps_buf why = {.limit = 400};
	size_t n = cfg_opt_size(opt);

	if (n == 0 && !(opt->flags & CFGF_MODIFIED))
		return;
	value->words = PS_NEWV(r->config->pool, const char *, n);
	value->line = r->config->last_line; /* of an empty list nothing tells the line */
	for (value->count = 0; value->count < n; value->count++) {
		const struct word *word = cfg_opt_getnptr(opt, (unsigned)value->count);

		value->words[value->count] = ps_pool_strdup(r->config->pool, word->text);
		if (value->count == 0)
			value->line = word->line;
		ps_buf_reset(&why);
		if (!conf_word_is_right(row, word->text, &why))
			tell_value(r, row, conf, word, &why);
	}
	ps_buf_finish(&why);
}

static void take_scalar(struct reader *r, cfg_opt_t *opt, const struct ps_setting *row, const struct ps_conf *conf,
			struct conf_value *value)
{
	const struct word *word = cfg_opt_size(opt) > 0 ? cfg_opt_getnptr(opt, 0) : NULL;
	struct ps_buf why = {.limit = 400};

	if (!word)
		return;
	value->line = word->line;
	if (!conf_value_parse(row, word->text, r->config->pool, value, &why))
		tell_value(r, row, conf, word, &why);
	ps_buf_finish(&why);
}

static void take_section(struct reader *r, cfg_t *cfg, struct ps_conf *conf)
{
	int first = INT_MAX;

	for (size_t i = 0; conf->schema[i].name; i++) {
		const struct ps_setting *row = &conf->schema[i];
		struct conf_value *value = &conf->values[i];
		cfg_opt_t *opt = cfg_getopt(cfg, row->name);

		if (row->type == PS_SET_SECTION)
			take_sections(r, opt, row, value);
		else if (row->type == PS_SET_LIST)
			take_list(r, opt, row, conf, value);
		else
			take_scalar(r, opt, row, conf, value);
		if (value->line > 0 && value->line < first)
			first = value->line;
	}
	if (first < INT_MAX)
		conf->line = first;
}

static void take_plugins(struct reader *r, cfg_t *cfg)
{
	struct ps_pool *pool = r->config->pool;
	const struct ps_plugin *plugin;
	size_t n = 0;

	while (ps_plugin_nth(n))
		n++;
	r->config->plugins = PS_NEWV(pool, struct ps_conf *, n + 1);
	n = 0;
	for (size_t i = 0; (plugin = ps_plugin_nth(i)); i++) {
		struct ps_conf *conf;
		cfg_opt_t *opt;

		if (!conf_kind_has_section(plugin->kind))
			continue;
		conf = conf_create(r->config, plugin->settings, conf_kind_word(plugin->kind), plugin->name);
		opt = cfg_getopt(cfg, plugin_option(plugin, r->errors.pool));
		r->config->plugins[n++] = conf;
		if (cfg_opt_size(opt) == 0)
			continue;
		conf->line = cfg_opt_getnsec(opt, 0)->line;
		take_section(r, cfg_opt_getnsec(opt, 0), conf);
	}
}

/* The system's name is a default that only the running system knows. */
static void set_hostname(struct ps_config *config)
{
	struct conf_value *value = (struct conf_value *)conf_value(config->root, "hostname", PS_SET_STRING);
	char name[HOST_NAME_MAX + 1] = "";

	if (value->line > 0)
		return;
	if (gethostname(name, sizeof name - 1) < 0 || !name[0])
		strcpy(name, "localhost");
	value->text = ps_pool_strdup(config->pool, name);
}

/* ---- reading ---- */

/* 1: parsed. 0: an unknown setting was blanked, try again. -1: there is no going on. */
static int parse_once(struct reader *r, cfg_opt_t *opts)
{
	cfg_t *cfg = cfg_init(opts, CFGF_NONE);
	int result = -1;

	r->unknown = NULL;
	r->seen_count = 0;
	cfg_set_error_function(cfg, on_error);
	if (cfg_parse_buf(cfg, r->text) == CFG_SUCCESS) {
		r->config->root = conf_create(r->config, ps_core_settings, NULL, NULL);
		take_section(r, cfg, r->config->root);
		take_plugins(r, cfg);
		set_hostname(r->config);
		result = 1;
	} else if (r->unknown && conf_text_remove(r->text, r->unknown_line, r->unknown)) {
		result = 0;
	}
	cfg_free(cfg);
	return result;
}

static void parse(struct reader *r)
{
	cfg_opt_t *opts = make_root(r->errors.pool);
	int result = 0;

	pthread_mutex_lock(&lock);
	current = r;
	for (int tries = 0; result == 0 && tries < UNKNOWN_MAX; tries++)
		result = parse_once(r, opts);
	current = NULL;
	pthread_mutex_unlock(&lock);
	if (result != 1 && r->errors.count == 0)
		conf_error(&r->errors, r->config->last_line, "cannot be read");
}

static int count_lines(struct ps_bytes text)
{
	int lines = 1;

	for (size_t i = 0; i + 1 < text.len; i++)
		lines += text.ptr[i] == '\n';
	return lines;
}

static int read_text(struct ps_config *config, struct ps_bytes text, struct ps_buf *errors)
{
	PS_CLEANUP(ps_pool_destroyp) struct ps_pool *pool = ps_pool_create("config");
	struct reader r = {.errors = {.pool = pool, .path = config->path}, .config = config};

	config->last_line = count_lines(text);
	r.text = conf_text_prepare(&r.errors, text, pool);
	if (r.text)
		parse(&r);
	if (r.errors.count == 0)
		conf_check(config, &r.errors);
	return conf_errors_tell(&r.errors, errors);
}

static int load(const char *path, struct ps_buf *text)
{
	PS_CLEANUP(ps_closep) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return ps_fail_errno("%s", path);
	if (S_ISDIR(st.st_mode))
		return ps_fail(PS_E_INVALID, "%s: is a folder; expected a configuration file", path);
	do {
		uint8_t *to = ps_buf_reserve(text, 16384);

		if (!to)
			return ps_fail(PS_E_LIMIT, "%s: too large for a configuration file", path);
		n = read(fd, to, 16384);
		if (n < 0)
			return ps_fail_errno("%s", path);
		text->len += (size_t)n;
	} while (n > 0);
	return 0;
}

int ps_config_read(const char *path, struct ps_bytes text, struct ps_buf *errors, struct ps_config **ret_config)
{
	struct ps_buf file = {.limit = 1 << 20};
	struct ps_pool *pool = ps_pool_create("config tree");
	struct ps_config *config = PS_NEW(pool, struct ps_config);
	int r = text.ptr ? 0 : load(path, &file);

	config->pool = pool;
	config->path = ps_pool_strdup(pool, path);
	if (r < 0 && errors)
		ps_buf_printf(errors, "%s\n", ps_last_error());
	if (r == 0)
		r = read_text(config, text.ptr ? text : ps_bytes(file.ptr ? (void *)file.ptr : "", file.len), errors);
	ps_buf_finish(&file);
	if (r < 0) {
		ps_config_destroy(config);
		return r;
	}
	*ret_config = config;
	return 0;
}
