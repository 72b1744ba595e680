/* SPDX-License-Identifier: MIT */
/*
 * core/process/certificate.h - which certificates the configuration names, and whether a chain and a private key serve together.
 *
 * Each has a slot: 0 that of the section tls, and from 1 on those of sections domain that name one, in their order.
 */
#ifndef CORE_PROCESS_CERTIFICATE_H
#define CORE_PROCESS_CERTIFICATE_H

#include "postern/buf.h"
#include "postern/settings.h"

/* PEM octets. PS_E_INVALID, with what is wrong; an expired certificate is only logged. */
int ps_certificate_check(struct ps_bytes chain, struct ps_bytes key);
/* The same for two files. */
int ps_certificate_check_files(const char *chain_path, const char *key_path);

/* The section that names the certificate of a slot. NULL: there are not so many. */
const struct ps_conf *ps_certificate_section(const struct ps_conf *root, uint32_t slot);
/* For the log: "example.org"; NULL for slot 0. */
const char *ps_certificate_name(const struct ps_conf *root, uint32_t slot);

#endif
