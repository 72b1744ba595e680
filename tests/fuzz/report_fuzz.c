/* SPDX-License-Identifier: MIT */
/* A report about any message, with any reply. The first octet says what the sender asked for; the text up to the first octet 0 is what a server
 * said, and the rest the message. What comes out must be mail that every server takes. And a record of the journal. */
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "core/delivery/report/report.h"
#include "core/delivery/trace/private.h"
#include "tests/fuzz/fuzz.h"

static void must(bool holds)
{
	if (!holds)
		abort();
}

static void check_lines(struct ps_bytes octets, bool ascii)
{
	size_t column = 0;

	for (size_t i = 0; i < octets.len; i++) {
		uint8_t c = octets.ptr[i];

		must(c != '\0' && c != '\n' && (c < 0x80 || !ascii));
		if (c == '\r') {
			must(i + 1 < octets.len && octets.ptr[i + 1] == '\n');
			i++;
			column = 0;
		} else {
			must(++column <= 998);
		}
	}
}

static void check_report(int file, uint64_t size, uint32_t options)
{
	uint8_t *octets = mmap(NULL, size, PROT_READ, MAP_PRIVATE, file, 0);

	must(octets != MAP_FAILED);
	check_lines(ps_bytes(octets, size), !(options & PS_MAIL_8BITMIME));
	munmap(octets, size);
}

static int report_on(const char *text, int file, size_t size, uint8_t wishes, int out)
{
	struct ps_report_recipient recipients[2] = {
		{.address = "bob@example.net", .code = 550, .enhanced = text, .text = text, .host = text},
		{.address = text, .orcpt = text, .action = (enum ps_report_action)(wishes >> 6)},
	};
	struct ps_report report = {
		.hostname = "mail.example.org",
		.id = "R",
		.reverse_path = "alice@example.org",
		.envid = text,
		.original_id = "Q",
		.options = wishes & (PS_MAIL_RET_FULL | PS_MAIL_SMTPUTF8),
		.file = file,
		.size = size,
		.returned_max = 100000,
		.recipients = recipients,
		.count = 2,
	};
	uint64_t written;
	uint32_t options;

	must(ps_report_write(&report, out, &written, &options) == 0);
	check_report(out, written, options);
	return 0;
}

static int check_key(void *arg, struct ps_bytes key)
{
	(void)arg;
	must(key.len > 1 && key.len <= TRACE_KEY_MAX);
	return 0;
}

static void read_record(struct ps_bytes octets)
{
	struct trace_record record;

	if (trace_unpack(octets, &record) < 0)
		return;
	must(trace_keys(&record, check_key, NULL) == 0);
	json_decref(trace_json(&record));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *nul = size > 1 ? memchr(data + 1, 0, size - 1) : NULL;
	int file, out;

	read_record(ps_bytes(data, size));
	if (!nul)
		return 0;
	file = memfd_create("message", MFD_CLOEXEC);
	out = memfd_create("report", MFD_CLOEXEC);
	must(file >= 0 && out >= 0);
	size -= (size_t)(nul + 1 - data);
	must(write(file, nul + 1, size) == (ssize_t)size);
	report_on((const char *)data + 1, file, size, data[0], out);
	close(file);
	close(out);
	return 0;
}
