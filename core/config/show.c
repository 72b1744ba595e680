/* SPDX-License-Identifier: MIT */
/* Settings as a file that reads back the same. */
#include "core/config/conf.h"

struct shower {
	struct ps_buf *out;
	unsigned how;
};

static void put_string(struct ps_buf *out, const char *text)
{
	ps_buf_char(out, '"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\' || *text == '$')
			ps_buf_char(out, '\\');
		if ((unsigned char)*text < ' ' || *text == 0x7f)
			ps_buf_printf(out, "\\x%02x", (unsigned char)*text);
		else
			ps_buf_char(out, *text);
	}
	ps_buf_char(out, '"');
}

static void put_list(struct ps_buf *out, const struct conf_value *value)
{
	ps_buf_char(out, '{');
	for (size_t i = 0; i < value->count; i++) {
		ps_buf_str(out, i ? ", " : " ");
		put_string(out, value->words[i]);
	}
	ps_buf_str(out, value->count ? " }" : "}");
}

static void put_value(struct ps_buf *out, const struct ps_setting *row, const struct conf_value *value)
{
	switch (row->type) {
	case PS_SET_BOOL: ps_buf_str(out, value->truth ? "yes" : "no"); break;
	case PS_SET_INT:
	case PS_SET_SIZE:
	case PS_SET_TIME: conf_number_format(row, value->number, out); break;
	case PS_SET_STRING:
	case PS_SET_CHOICE: put_string(out, value->text); break;
	case PS_SET_LIST: put_list(out, value); break;
	case PS_SET_SECTION: break;
	}
}

/* A string without a value, a number out of its bounds: not set, and must be set or is not needed. */
static bool has_value(const struct ps_setting *row, const struct conf_value *value)
{
	if (value->line > 0 || row->def)
		return true;
	return row->type == PS_SET_STRING && value->text;
}

const struct conf_value *conf_value_shown(const struct ps_setting *row, const struct conf_value *value, unsigned how)
{
	static const char *words[] = {"(hidden)"};
	static const struct conf_value hidden = {.text = "(hidden)", .words = words, .count = 1};

	if (!row->secret || (how & PS_SHOW_SECRETS) || (!value->text && value->count == 0))
		return value;
	return &hidden;
}

static void put_setting(const struct shower *sh, const struct ps_setting *row, const struct conf_value *value,
			const char *indent)
{
	if (value->line == 0 && !(sh->how & PS_SHOW_ALL))
		return;
	if ((sh->how & PS_SHOW_ALL) && row->help)
		ps_buf_printf(sh->out, "%s# %s\n", indent, row->help);
	if (!has_value(row, value)) {
		ps_buf_printf(sh->out, "%s# %s is not set\n", indent, row->name);
		return;
	}
	ps_buf_printf(sh->out, "%s%s = ", indent, row->name);
	put_value(sh->out, row, conf_value_shown(row, value, sh->how));
	ps_buf_char(sh->out, '\n');
}

static void put_settings(const struct shower *sh, const struct ps_conf *conf, const char *indent);

static void put_section(const struct shower *sh, const struct ps_conf *conf, const char *indent)
{
	if (conf->line == 0 && !(sh->how & PS_SHOW_ALL))
		return;
	ps_buf_printf(sh->out, "%s%s ", indent, conf->name);
	if (conf->title) {
		put_string(sh->out, conf->title);
		ps_buf_char(sh->out, ' ');
	}
	ps_buf_str(sh->out, "{\n");
	put_settings(sh, conf, indent[0] ? "\t\t" : "\t");
	ps_buf_printf(sh->out, "%s}\n", indent);
}

static void put_settings(const struct shower *sh, const struct ps_conf *conf, const char *indent)
{
	for (size_t i = 0; conf->schema[i].name; i++)
		if (conf->schema[i].type != PS_SET_SECTION)
			put_setting(sh, &conf->schema[i], &conf->values[i], indent);
	for (size_t i = 0; conf->schema[i].name; i++)
		for (size_t n = 0; conf->schema[i].type == PS_SET_SECTION && n < conf->values[i].count; n++)
			put_section(sh, conf->values[i].sections[n], indent);
}

int ps_config_show(const struct ps_config *config, unsigned how, struct ps_buf *out)
{
	struct shower sh = {out, how};

	put_settings(&sh, config->root, "");
	for (struct ps_conf **plugin = config->plugins; *plugin; plugin++)
		if (how & PS_SHOW_ALL ? (*plugin)->schema[0].name != NULL : (*plugin)->line > 0)
			put_section(&sh, *plugin, "");
	return out->failed ? ps_fail(PS_E_LIMIT, "the configuration is too large to show") : 0;
}
