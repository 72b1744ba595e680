/* SPDX-License-Identifier: MIT */
#include <stdlib.h>
#include "postern/error.h"
#include "postern/message.h"
#include "postern/pool.h"
#include "protocols/smtp/header.h"
#include "protocols/smtp/lines.h"
#include "protocols/smtp/message.h"

enum {
	PIECE = 16 << 10, /* octets worked on at a time */
};

struct smtp_message {
	struct smtp_message_args args;
	struct smtp_lines lines;
	struct smtp_header header;
	struct ps_unbinary *unbinary;
	struct ps_buf out;
	uint64_t octets; /* of the message itself, so far */
	const struct smtp_refusal *refusal;
};

static const struct smtp_refusal too_large = {552, "5.3.4", "The message is too large", "too large"},
				 bare_line_end = {554, "5.6.0", "A line of the message does not end with CR LF",
						  "bare CR or LF"},
				 has_nul = {554, "5.6.0", "NUL is not allowed in a message", "NUL"},
				 loop = {554, "5.4.6", "The message goes round in circles: too many Received fields",
					 "loop"},
				 bad_from = {554, "5.6.0", "The From field must be there once, with an address in it",
					     "From"};

static char *copy(const char *text)
{
	return text ? ps_strdup(text) : NULL;
}

static int write_on(void *arg, struct ps_bytes octets)
{
	struct smtp_message *message = arg;

	/* What will be refused need not be kept. */
	return message->refusal ? 0 : message->args.write(message->args.arg, octets);
}

static void pass_on(struct smtp_message *message)
{
	smtp_header_take(&message->header, ps_buf_view(&message->out));
	ps_buf_reset(&message->out);
}

static int take_lines(void *arg, struct ps_bytes octets)
{
	struct smtp_message *message = arg;

	smtp_lines_take(&message->lines, octets, &message->out);
	pass_on(message);
	return 0;
}

struct smtp_message *smtp_message_create(const struct smtp_message_args *args)
{
	struct smtp_message *message = ps_zalloc(sizeof *message);

	message->args = *args;
	message->args.reverse_path = copy(args->reverse_path);
	message->args.date = copy(args->date);
	message->args.message_id = copy(args->message_id);
	message->lines = (struct smtp_lines){.counted = args->counted, .convert = args->convert};
	message->header = (struct smtp_header){
		.write = write_on,
		.arg = message,
		.submission = args->submission,
		.reverse_path = message->args.reverse_path,
		.date = message->args.date,
		.message_id = message->args.message_id,
	};
	if (args->binary)
		message->unbinary = ps_unbinary_create(take_lines, message);
	return message;
}

void smtp_message_destroy(struct smtp_message *message)
{
	if (!message)
		return;
	free((char *)message->args.reverse_path);
	free((char *)message->args.date);
	free((char *)message->args.message_id);
	ps_unbinary_destroy(message->unbinary);
	smtp_header_finish(&message->header);
	ps_buf_finish(&message->out);
	free(message);
}

static void refuse(struct smtp_message *message, const struct smtp_refusal *refusal)
{
	if (!message->refusal)
		message->refusal = refusal;
}

static void look(struct smtp_message *message)
{
	if (message->octets > message->args.size_limit && message->args.size_limit > 0)
		refuse(message, &too_large);
	if (message->lines.bare && !message->args.convert)
		refuse(message, &bare_line_end);
	if (message->lines.has_nul)
		refuse(message, &has_nul);
	if (message->header.received > message->args.received_limit)
		refuse(message, &loop);
}

size_t smtp_message_take(struct smtp_message *message, struct ps_bytes octets)
{
	size_t taken = 0;

	while (taken < octets.len && !smtp_message_has_ended(message)) {
		struct ps_bytes piece = ps_bytes_skip(octets, taken);
		size_t n = piece.len;

		if (piece.len > PIECE)
			n = piece.len = PIECE;
		if (message->unbinary)
			ps_unbinary_feed(message->unbinary, piece);
		else
			n = smtp_lines_take(&message->lines, piece, &message->out);
		message->octets += message->unbinary ? n : message->out.len;
		pass_on(message);
		taken += n;
		look(message);
	}
	return taken;
}

bool smtp_message_has_ended(const struct smtp_message *message)
{
	return message->lines.state == LINES_END;
}

const struct smtp_refusal *smtp_message_finish(struct smtp_message *message)
{
	if (message->unbinary)
		ps_unbinary_finish(message->unbinary);
	if (message->args.counted)
		smtp_lines_finish(&message->lines, &message->out);
	pass_on(message);
	smtp_header_end(&message->header);
	look(message);
	if (message->args.submission && !smtp_header_from_is_well_formed(&message->header))
		refuse(message, &bad_from);
	ps_buf_finish(&message->out);
	return message->refusal;
}

const struct smtp_refusal *smtp_message_refusal(const struct smtp_message *message)
{
	return message->refusal;
}

uint64_t smtp_message_octets(const struct smtp_message *message)
{
	return message->octets;
}
