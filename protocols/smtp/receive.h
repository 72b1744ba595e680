/* SPDX-License-Identifier: MIT */
/*
 * protocols/smtp/receive.h - what DATA and BDAT share: the message comes, ends, and is answered.
 */
#ifndef PROTOCOLS_SMTP_RECEIVE_H
#define PROTOCOLS_SMTP_RECEIVE_H

#include "protocols/smtp/message.h"
#include "protocols/smtp/smtp.h"

/* After the 354: the message begins, with our trace field. */
void smtp_receive_begin(struct smtp *smtp, bool counted);
/* Waits for octets of it, in time and quick enough; `step` goes on. */
enum smtp_next smtp_receive_wait(struct smtp *smtp, enum smtp_next (*step)(struct smtp *smtp));
/* From now on the client's rate is measured. */
void smtp_receive_measure(struct smtp *smtp);
/* All has come: refuses the message, or asks that it be delivered. */
enum smtp_next smtp_receive_end(struct smtp *smtp);
/* An answer to the message: with LMTP one for each recipient (RFC 2033 section 4.2). */
enum smtp_next smtp_receive_refuse(struct smtp *smtp, const struct smtp_refusal *refusal, bool for_each);

#endif
