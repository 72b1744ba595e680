/* SPDX-License-Identifier: MIT */
/* Enhanced status codes (RFC 3463 and the registry) for people. */
#include "core/delivery/report/private.h"
#include "postern/pool.h"

/* The subject and detail, or the subject alone for the rest of its kind. */
static const struct row {
	const char *code, *meaning;
} table[] = {
	{"1.1", "There is no mailbox with that name."},
	{"1.2", "There is no such domain, or it has no server for mail."},
	{"1.3", "The address is not written as an address must be."},
	{"1.6", "The mailbox has moved, and where to is not known."},
	{"1.8", "Your own address was not accepted: its domain is not known there."},
	{"1.10", "The domain takes no mail at all."},
	{"1.", "The address was not accepted."},
	{"2.1", "The mailbox is not in use, or takes no mail."},
	{"2.2", "The mailbox is full."},
	{"2.3", "The message is larger than the mailbox takes."},
	{"2.", "There is something the matter with the mailbox."},
	{"3.1", "The other server has no room for more mail."},
	{"3.4", "The message is larger than the other server takes."},
	{"3.", "There is something the matter with the other server."},
	{"4.1", "The other server did not answer."},
	{"4.2", "The connection to the other server broke off."},
	{"4.3", "Where the mail has to go could not be looked up."},
	{"4.4", "There is no way to send mail to that domain."},
	{"4.6", "The mail would have gone in circles."},
	{"4.7", "The time for trying was over."},
	{"4.", "The other server could not be reached."},
	{"5.3", "The message has too many recipients."},
	{"5.", "The servers did not understand each other."},
	{"6.7", "The other server does not take addresses with letters beyond ASCII."},
	{"6.", "The message has a form that the other server does not take."},
	{"7.4", "The message was to travel encrypted only, and it could not."},
	{"7.1", "The other server's rules do not let the message in."},
	{"7.30", "The message was to travel encrypted only, and it could not."},
	{"7.", "The other server's rules do not let the message in."},
};

/* "5.1.1": a digit of a class, and two numbers of up to three digits. */
bool report_enhanced_valid(const char *enhanced)
{
	size_t subject, detail;

	if (!enhanced || !strchr("245", enhanced[0]) || enhanced[0] == '\0' || enhanced[1] != '.')
		return false;
	subject = strspn(enhanced + 2, "0123456789");
	if (subject < 1 || subject > 3 || enhanced[2 + subject] != '.')
		return false;
	detail = strspn(enhanced + 3 + subject, "0123456789");
	return detail >= 1 && detail <= 3 && enhanced[3 + subject + detail] == '\0';
}

const char *report_explain(const char *enhanced)
{
	if (!report_enhanced_valid(enhanced))
		return NULL;
	for (size_t i = 0; i < PS_ARRAY_LEN(table); i++) {
		size_t len = strlen(table[i].code);
		bool kind = table[i].code[len - 1] == '.';

		if (kind ? strncmp(enhanced + 2, table[i].code, len) == 0 : strcmp(enhanced + 2, table[i].code) == 0)
			return table[i].meaning;
	}
	return NULL;
}
