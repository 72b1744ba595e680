/* SPDX-License-Identifier: MIT */
/*
 * CRLF to LF, as long as LF to CRLF is the way back. It is not for a bare LF, nor for a CR that stands before a CRLF: on
 * disk that would look like a message that was kept as it is.
 */
#include <string.h>
#include "postern/message.h"

static int put(struct ps_line_ends *ends, const void *octets, size_t len)
{
	return ends->put(ends->arg, ps_bytes(octets, len));
}

static int keep_as_they_are(struct ps_line_ends *ends, const char *line_end)
{
	int r;

	ends->as_they_are = true;
	r = ends->expand(ends->arg);
	return r == 0 ? put(ends, line_end, strlen(line_end)) : r;
}

/* What follows a CR. Returns how many octets it took. */
static int take_after_cr(struct ps_line_ends *ends, uint8_t octet, size_t *ret_taken)
{
	ends->after_cr = false;
	*ret_taken = octet == '\n';
	if (octet != '\n') {
		ends->bare_cr = true;
		return put(ends, "\r", 1);
	}
	return ends->bare_cr ? keep_as_they_are(ends, "\r\n") : put(ends, "\n", 1);
}

static int take_special(struct ps_line_ends *ends, uint8_t octet, size_t *ret_taken)
{
	if (ends->after_cr)
		return take_after_cr(ends, octet, ret_taken);
	*ret_taken = 1;
	if (octet == '\n')
		return keep_as_they_are(ends, "\n");
	ends->after_cr = true;
	return 0;
}

static size_t plain_length(struct ps_bytes octets)
{
	const uint8_t *lf = memchr(octets.ptr, '\n', octets.len);
	size_t len = lf ? (size_t)(lf - octets.ptr) : octets.len;
	const uint8_t *cr = memchr(octets.ptr, '\r', len);

	return cr ? (size_t)(cr - octets.ptr) : len;
}

int ps_line_ends_feed(struct ps_line_ends *ends, struct ps_bytes octets)
{
	int r = 0;

	while (octets.len > 0 && r == 0 && !ends->as_they_are) {
		size_t taken;

		if (ends->after_cr || octets.ptr[0] == '\r' || octets.ptr[0] == '\n') {
			r = take_special(ends, octets.ptr[0], &taken);
		} else {
			taken = plain_length(octets);
			ends->bare_cr = false;
			r = put(ends, octets.ptr, taken);
		}
		octets = ps_bytes_skip(octets, taken);
	}
	return octets.len > 0 && r == 0 ? ends->put(ends->arg, octets) : r;
}

int ps_line_ends_finish(struct ps_line_ends *ends)
{
	bool waits = ends->after_cr;

	ends->after_cr = false;
	return waits ? put(ends, "\r", 1) : 0;
}
