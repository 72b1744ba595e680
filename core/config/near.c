/* SPDX-License-Identifier: MIT */
#include <string.h>
#include "core/config/near.h"
#include "postern/buf.h"

#define LONGEST 40

static unsigned least(unsigned a, unsigned b, unsigned c)
{
	unsigned ab = a < b ? a : b;

	return ab < c ? ab : c;
}

/* Levenshtein's distance, without ASCII case, where swapping two neighbours counts as one slip. */
static unsigned distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	unsigned rows[3][LONGEST + 1];
	unsigned *before = rows[0], *last = rows[1], *now = rows[2];

	for (size_t j = 0; j <= b_len; j++)
		last[j] = (unsigned)j;
	for (size_t i = 1; i <= a_len; i++) {
		unsigned *spare = before;

		now[0] = (unsigned)i;
		for (size_t j = 1; j <= b_len; j++) {
			int ca = ps_tolower(a[i - 1]), cb = ps_tolower(b[j - 1]);

			now[j] = least(last[j] + 1, now[j - 1] + 1, last[j - 1] + (ca != cb));
			if (i > 1 && j > 1 && ca == ps_tolower(b[j - 2]) && cb == ps_tolower(a[i - 2]))
				now[j] = least(now[j], before[j - 2] + 1, now[j]);
		}
		before = last;
		last = now;
		now = spare;
	}
	return last[b_len];
}

void ps_near_offer(struct ps_near *near, const char *candidate)
{
	size_t word_len = strlen(near->word), len = strlen(candidate);
	unsigned allowed = 1 + (unsigned)len / 4;
	unsigned d;

	if (word_len > LONGEST || len > LONGEST)
		return;
	d = distance(near->word, word_len, candidate, len);
	if (d > allowed || d >= len || (near->best && d >= near->distance))
		return;
	near->best = candidate;
	near->distance = d;
}
