/* SPDX-License-Identifier: MIT */
/* Dates as mail has them (RFC 5322 sections 3.3 and 4.3) and as IMAP has them (RFC 3501 section 9).
 */
#include "core/message/lex.h"
#include "postern/message.h"

static const char months[12][4] = {
	"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
};

/* As written: the fields are checked when they are put together. */
struct calendar {
	int64_t year;
	int month, day, hour, minute, second; /* month 0..11 */
	int zone;                             /* minutes east */
};

static bool is_leap(int64_t year)
{
	return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int days_in_month(int64_t year, int month)
{
	static const int days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	return month == 1 && is_leap(year) ? 29 : days[month];
}

/* Days from 1970-01-01 to the first of January, for years from 1 on. */
static int64_t days_to_year(int64_t year)
{
	int64_t y = year - 1;

	return y * 365 + y / 4 - y / 100 + y / 400 - 719162;
}

static int to_time(const struct calendar *c, int64_t *ret_time)
{
	int64_t days;

	if (c->year < 1 || c->year > 9999 || c->month < 0 || c->month > 11 || c->day < 1 ||
	    c->day > days_in_month(c->year, c->month) || c->hour > 23 || c->minute > 59 || c->second > 60)
		return ps_fail(PS_E_SYNTAX, "there is no such date");
	days = days_to_year(c->year) + c->day - 1;
	for (int m = 0; m < c->month; m++)
		days += days_in_month(c->year, m);
	*ret_time = ((days * 24 + c->hour) * 60 + c->minute - c->zone) * 60 + c->second;
	return 0;
}

/*
 * Without a loop over years: they are counted from March on, so that leap days are at their ends, and in eras of 400 of
 * them, 146,097 days, which are all alike. As in Hinnant's civil_from_days(). For years from 1 on.
 */
static void from_time(int64_t time, struct calendar *ret)
{
	int64_t days = time / 86400, rest = time % 86400;
	unsigned since, era, day, year, month;

	if (rest < 0) {
		rest += 86400;
		days--;
	}
	since = (unsigned)(days + 719468); /* the first of March of the year 0 */
	era = since / 146097;
	day = since % 146097;
	year = (day - day / 1460 + day / 36524 - day / 146096) / 365;
	day -= 365 * year + year / 4 - year / 100;
	month = (5 * day + 2) / 153; /* March is 0 */
	*ret = (struct calendar){
		.year = (int64_t)(era * 400 + year + (month >= 10)),
		.month = (int)(month >= 10 ? month - 10 : month + 2),
		.day = (int)(day - (153 * month + 2) / 5 + 1),
		.hour = (int)(rest / 3600),
		.minute = (int)(rest / 60 % 60),
		.second = (int)(rest % 60),
	};
}

/* Digits ahead, min to max of them; a value that long never overflows (max <= 9). -1 when they are
 * not there. */
static int take_number(struct lex *lex, int min, int max, int *ret_digits)
{
	int n = 0, digits = 0;

	while (digits < max && ps_isdigit(lex_peek(lex))) {
		n = n * 10 + (*lex->at++ - '0');
		digits++;
	}
	if (ret_digits)
		*ret_digits = digits;
	return digits < min || ps_isdigit(lex_peek(lex)) ? -1 : n;
}

static int take_month(struct lex *lex)
{
	size_t left = (size_t)(lex->end - lex->at);

	for (int m = 0; left >= 3 && m < 12; m++) {
		if (!ps_bytes_caseeq_str(ps_bytes(lex->at, 3), months[m]))
			continue;
		while (ps_isalpha(lex_peek(lex))) /* "September" */
			lex->at++;
		lex_take(lex, '.');
		return m;
	}
	return -1;
}

/* ---- RFC 5322, leniently ------------------------------------------------------------------- */

static void skip_letters(struct lex *lex)
{
	while (ps_isalpha(lex_peek(lex)))
		lex->at++;
}

/* Blanks, comments, and the commas and hyphens that some put between. */
static void skip_between(struct lex *lex)
{
	do
		lex_skip_cfws(lex, NULL);
	while (lex_take(lex, ',') || lex_take(lex, '-') || lex_take(lex, '.'));
}

/* Two digits are 1950 to 2049, three count from 1900: RFC 5322 section 4.3. */
static int64_t take_year(struct lex *lex)
{
	int digits, year = take_number(lex, 2, 4, &digits);

	if (year < 0)
		return -1;
	if (digits == 3 || (digits == 2 && year >= 50))
		return 1900 + year;
	return digits == 2 ? 2000 + year : year;
}

static int take_clock(struct lex *lex, struct calendar *c)
{
	c->hour = take_number(lex, 1, 2, NULL);
	lex_skip_cfws(lex, NULL);
	if (c->hour < 0 || (!lex_take(lex, ':') && !lex_take(lex, '.')))
		return PS_E_SYNTAX;
	lex_skip_cfws(lex, NULL);
	c->minute = take_number(lex, 1, 2, NULL);
	if (c->minute < 0)
		return PS_E_SYNTAX;
	lex_skip_cfws(lex, NULL);
	if (lex_take(lex, ':') || lex_take(lex, '.')) {
		lex_skip_cfws(lex, NULL);
		c->second = take_number(lex, 1, 2, NULL);
	}
	return c->second < 0 ? PS_E_SYNTAX : 0;
}

/* RFC 5322 section 4.3; letters that are not known there are as good as "-0000". */
static int named_zone(struct ps_bytes name)
{
	static const struct {
		const char *name;
		int minutes;
	} zones[] = {
		{"EDT", -240}, {"EST", -300}, {"CDT", -300}, {"CST", -360}, {"MDT", -360}, {"MST", -420}, {"PDT", -420},
		{"PST", -480}, {"CET", 60},   {"CEST", 120}, {"MET", 60},   {"MEST", 120}, {"BST", 60},   {"JST", 540},
	};

	for (size_t i = 0; i < PS_ARRAY_LEN(zones); i++)
		if (ps_bytes_caseeq_str(name, zones[i].name))
			return zones[i].minutes;
	return 0;
}

/* A missing zone reads as UTC, a missing sign as plus. */
static int take_zone(struct lex *lex)
{
	const uint8_t *start;
	bool west;
	int zone;

	lex_skip_cfws(lex, NULL);
	west = lex_peek(lex) == '-';
	if (lex_take(lex, west ? '-' : '+') || ps_isdigit(lex_peek(lex))) {
		zone = take_number(lex, 4, 4, NULL);
		if (zone < 0 || zone % 100 > 59)
			return 0;
		zone = zone / 100 * 60 + zone % 100;
		return west ? -zone : zone;
	}
	start = lex->at;
	skip_letters(lex);
	return named_zone(ps_bytes(start, (size_t)(lex->at - start)));
}

/* "Thu Nov 23 06:00:00 [zone] 2026" and "23 Nov 2026 06:00:00 zone", the name of the day with or
 * without comma. */
int ps_date_parse(struct ps_bytes text, int64_t *ret_time, int *ret_zone)
{
	struct lex lex = lex_start(text);
	struct calendar c = {0};
	bool day_first;

	skip_between(&lex);
	c.month = take_month(&lex);
	if (c.month < 0) {
		skip_letters(&lex);
		skip_between(&lex);
		c.month = take_month(&lex);
	}
	day_first = c.month < 0;
	skip_between(&lex);
	c.day = take_number(&lex, 1, 2, NULL);
	skip_between(&lex);
	if (day_first) {
		c.month = take_month(&lex);
		skip_between(&lex);
		c.year = take_year(&lex);
		skip_between(&lex);
	}
	if (c.month < 0 || c.day < 0 || (day_first && c.year < 0))
		return ps_fail(PS_E_SYNTAX, "not a date");
	if (!lex_done(&lex) && take_clock(&lex, &c) < 0)
		return ps_fail(PS_E_SYNTAX, "not a time of day");
	lex_skip_cfws(&lex, NULL);
	if (!day_first && ps_isdigit(lex_peek(&lex)))
		c.year = take_year(&lex);
	c.zone = take_zone(&lex);
	skip_between(&lex);
	if (!day_first && ps_isdigit(lex_peek(&lex)))
		c.year = take_year(&lex);
	if (to_time(&c, ret_time) < 0)
		return PS_E_SYNTAX;
	*ret_zone = c.zone;
	return 0;
}

/* ---- IMAP, to the letter ------------------------------------------------------------------- */

/* "1-Feb-1994" and, where a date-time has it, " 1-Feb-1994". */
static int take_imap_day(struct lex *lex, bool fixed, struct calendar *ret)
{
	*ret = (struct calendar){0};
	if (fixed && lex_take(lex, ' '))
		ret->day = take_number(lex, 1, 1, NULL);
	else
		ret->day = take_number(lex, fixed ? 2 : 1, 2, NULL);
	if (ret->day < 0 || !lex_take(lex, '-'))
		return PS_E_SYNTAX;
	ret->month = take_month(lex);
	if (ret->month < 0 || lex->at[-4] != '-' || !lex_take(lex, '-'))
		return PS_E_SYNTAX;
	ret->year = take_number(lex, 4, 4, NULL);
	return ret->year < 0 ? PS_E_SYNTAX : 0;
}

static int take_imap_clock(struct lex *lex, struct calendar *c)
{
	int zone;
	bool west;

	c->hour = lex_take(lex, ' ') ? take_number(lex, 2, 2, NULL) : -1;
	c->minute = lex_take(lex, ':') ? take_number(lex, 2, 2, NULL) : -1;
	c->second = lex_take(lex, ':') ? take_number(lex, 2, 2, NULL) : -1;
	if (c->hour < 0 || c->minute < 0 || c->second < 0 || !lex_take(lex, ' '))
		return PS_E_SYNTAX;
	west = lex_peek(lex) == '-';
	if (!west && lex_peek(lex) != '+')
		return PS_E_SYNTAX;
	lex->at++;
	zone = take_number(lex, 4, 4, NULL);
	if (zone < 0 || zone % 100 > 59)
		return PS_E_SYNTAX;
	zone = zone / 100 * 60 + zone % 100;
	c->zone = west ? -zone : zone;
	return 0;
}

int ps_imap_date_parse(struct ps_bytes text, int64_t *ret_time)
{
	struct lex lex = lex_start(text);
	struct calendar c;

	if (take_imap_day(&lex, true, &c) < 0 || take_imap_clock(&lex, &c) < 0 || !lex_done(&lex))
		return ps_fail(PS_E_SYNTAX, "not a date-time");
	return to_time(&c, ret_time);
}

int ps_imap_day_parse(struct ps_bytes text, int64_t *ret_time)
{
	struct lex lex = lex_start(text);
	struct calendar c;

	if (take_imap_day(&lex, false, &c) < 0 || !lex_done(&lex))
		return ps_fail(PS_E_SYNTAX, "not a date");
	return to_time(&c, ret_time);
}

static void put_digits(char *at, int width, unsigned n)
{
	for (int i = width; i-- > 0; n /= 10)
		at[i] = (char)('0' + n % 10);
}

/* By hand: a FETCH of dates takes three times as long with printf(). */
void ps_imap_date_format(struct ps_buf *out, int64_t time)
{
	const int64_t first = INT64_C(-62135596800), last = INT64_C(253402300799); /* years 1 to 9999 */
	char text[] = "dd-mon-year hh:mm:ss +0000";
	struct calendar c;

	from_time(time < first ? first : time > last ? last : time, &c);
	put_digits(text, 2, (unsigned)c.day);
	if (text[0] == '0')
		text[0] = ' ';
	memcpy(text + 3, months[c.month], 3);
	put_digits(text + 7, 4, (unsigned)c.year);
	put_digits(text + 12, 2, (unsigned)c.hour);
	put_digits(text + 15, 2, (unsigned)c.minute);
	put_digits(text + 18, 2, (unsigned)c.second);
	ps_buf_append(out, text, sizeof text - 1);
}
