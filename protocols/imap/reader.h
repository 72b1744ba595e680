/* SPDX-License-Identifier: MIT */
/*
 * reader.h - gathers one command from what a client sends, and decides about literals.
 *
 * Pure: octets in, verdicts out; the caller sends what has to be sent. It stops after one command.
 */
#ifndef PROTOCOLS_IMAP_READER_H
#define PROTOCOLS_IMAP_READER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "postern/buf.h"
#include "protocols/imap/args.h"

/* Dropping more than this for a client is no service to it. */
enum {
	IMAP_DROP_MAX = 64 << 20
};

struct imap_reader_limits {
	size_t command;           /* octets of a command, its literals included */
	size_t literal;           /* octets of one literal */
	size_t non_synchronising; /* octets of one {n+}, RFC 7888; SIZE_MAX for LITERAL+ */
};

struct imap_reader {
	struct imap_reader_limits limits;
	/* Whether the command that begins so takes the literal that comes next by itself; may be NULL. */
	bool (*streams)(void *arg, struct ps_bytes before);
	void *arg;
	/* The command: without its last line end, literals with their "{n}" CRLF in front. */
	struct ps_buf text;
	/* The literal that a verdict is about. */
	struct imap_literal literal;
	/* Private. */
	enum {
		IMAP_AT_LINE,
		IMAP_IN_LITERAL,
		IMAP_SKIP_LITERAL,
		IMAP_SKIP_LINE
	} at;
	uint64_t left;    /* octets of the literal still to come */
	uint64_t dropped; /* of the line that is dropped */
};

enum imap_read {
	IMAP_READ_MORE,     /* everything useful was taken; more must come: imap_reader_wants() */
	IMAP_READ_COMMAND,  /* `text` is a whole command */
	IMAP_READ_CONTINUE, /* send a continuation request, then feed on */
	IMAP_READ_STREAM,   /* `text` is a command up to `literal`, which the command takes itself; nothing was sent */
	IMAP_READ_TOO_BIG,  /* NO: the literal is over a limit. What the client sends of it will be dropped */
	IMAP_READ_TOO_LONG, /* BAD: the command is over its limit; its line will be dropped */
	IMAP_READ_NUL,      /* BAD: it has a NUL; its line will be dropped */
	IMAP_READ_HOPELESS, /* BYE: so much would have to be dropped that closing is kinder */
};

void imap_reader_init(struct imap_reader *reader, const struct imap_reader_limits *limits);
void imap_reader_finish(struct imap_reader *reader);
/* Takes from `in`; *ret_used says how much, and is to be consumed whatever the verdict. */
enum imap_read imap_reader_feed(struct imap_reader *reader, struct ps_bytes in, size_t *ret_used);
/* After a command was dealt with: forgets it, gives its memory back. What is to be dropped stays so. */
void imap_reader_reset(struct imap_reader *reader);
/* The command does not want what is left of its literal: drop `octets` and the line behind it. */
void imap_reader_skip(struct imap_reader *reader, uint64_t octets);
/* After IMAP_READ_MORE: 0, a line must come; else so many octets are wanted. */
size_t imap_reader_wants(const struct imap_reader *reader);

#endif
