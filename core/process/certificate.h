/* SPDX-License-Identifier: MIT */
/*
 * core/process/certificate.h - whether a certificate chain and a private key serve together.
 */
#ifndef CORE_PROCESS_CERTIFICATE_H
#define CORE_PROCESS_CERTIFICATE_H

#include "postern/buf.h"

/* PEM octets. PS_E_INVALID, with what is wrong; an expired certificate is only logged. */
int ps_certificate_check(struct ps_bytes chain, struct ps_bytes key);
/* The same for two files. */
int ps_certificate_check_files(const char *chain_path, const char *key_path);

#endif
