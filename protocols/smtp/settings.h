/* SPDX-License-Identifier: MIT */
/* The settings that smtp, submission and lmtp all have: rows for their schemas. */
#ifndef PROTOCOLS_SMTP_SETTINGS_H
#define PROTOCOLS_SMTP_SETTINGS_H

#include "postern/settings.h"

/* clang-format off */
#define SMTP_COMMON_SETTINGS(errors)                                                                                   \
	{.name = "bare_line_ends",                                                                                     \
	 .type = PS_SET_CHOICE,                                                                                        \
	 .def = "refuse",                                                                                              \
	 .choices = "refuse convert",                                                                                  \
	 .help = "a CR or LF by itself: the message is refused, or it becomes CR LF; it never ends a message"},        \
	{.name = "recipients",                                                                                         \
	 .type = PS_SET_INT,                                                                                           \
	 .def = "1000",                                                                                                \
	 .min = 100,                                                                                                   \
	 .max = 1000,                                                                                                  \
	 .help = "recipients of a message"},                                                                           \
	{.name = "received",                                                                                           \
	 .type = PS_SET_INT,                                                                                           \
	 .def = "50",                                                                                                  \
	 .min = 10,                                                                                                    \
	 .max = 1000,                                                                                                  \
	 .help = "Received fields of a message; one with more goes round in circles, and is refused"},                 \
	{.name = "errors",                                                                                             \
	 .type = PS_SET_INT,                                                                                           \
	 .def = errors,                                                                                                  \
	 .min = 1,                                                                                                     \
	 .max = 100000,                                                                                                \
	 .help = "commands that may be refused before the connection is closed"},                                      \
	{.name = "command_timeout",                                                                                    \
	 .type = PS_SET_TIME,                                                                                          \
	 .def = "5m",                                                                                                  \
	 .min = 1,                                                                                                     \
	 .max = 86400,                                                                                                 \
	 .help = "how long a client may be silent between commands"},                                                  \
	{.name = "data_timeout",                                                                                       \
	 .type = PS_SET_TIME,                                                                                          \
	 .def = "3m",                                                                                                  \
	 .min = 1,                                                                                                     \
	 .max = 86400,                                                                                                 \
	 .help = "how long it may be silent within a message"},                                                        \
	{.name = "xclient",                                                                                            \
	 .type = PS_SET_LIST,                                                                                          \
	 .choices = PS_NETWORKS,                                                                                       \
	 .help = "addresses and networks of proxies that may say, by XCLIENT, who the client is"},                    \
	{.name = "data_rate",                                                                                          \
	 .type = PS_SET_SIZE,                                                                                          \
	 .def = "100",                                                                                                 \
	 .min = 0,                                                                                                     \
	 .max = 1 << 30,                                                                                               \
	 .help = "octets a second that a message must come with, once it takes longer than that; 0: no matter"}
/* clang-format on */

#endif
