/* SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <gnutls/abstract.h>
#include <gnutls/gnutls.h>
#include <gnutls/x509.h>
#include <time.h>
#include <unistd.h>
#include "auth/passwdfile.h"
#include "core/process/certificate.h"
#include "postern/error.h"
#include "postern/log.h"
#include "postern/pool.h"

#define CHAIN_MAX 16

static gnutls_datum_t datum(struct ps_bytes octets)
{
	return (gnutls_datum_t){(unsigned char *)octets.ptr, (unsigned)octets.len};
}

static int fail(const char *what, int r)
{
	return ps_fail(PS_E_INVALID, "%s: %s", what, gnutls_strerror(r));
}

static int key_id_of_key(struct ps_bytes pem, uint8_t id[32])
{
	gnutls_datum_t data = datum(pem);
	gnutls_privkey_t key = NULL;
	gnutls_pubkey_t public = NULL;
	size_t size = 32;
	int r;

	if ((r = gnutls_privkey_init(&key)) == 0 && (r = gnutls_pubkey_init(&public)) == 0 &&
	    (r = gnutls_privkey_import_x509_raw(key, &data, GNUTLS_X509_FMT_PEM, NULL, 0)) == 0 &&
	    (r = gnutls_pubkey_import_privkey(public, key, 0, 0)) == 0)
		r = gnutls_pubkey_get_key_id(public, GNUTLS_KEYID_USE_SHA256, id, &size);
	gnutls_pubkey_deinit(public);
	gnutls_privkey_deinit(key);
	return r;
}

static void warn_of_time(gnutls_x509_crt_t certificate)
{
	time_t now = time(NULL);

	if (gnutls_x509_crt_get_expiration_time(certificate) < now)
		ps_log(PS_LOG_WARNING, "certificate_expired", NULL);
	else if (gnutls_x509_crt_get_activation_time(certificate) > now)
		ps_log(PS_LOG_WARNING, "certificate_not_yet_valid", NULL);
}

/* The first certificate of the chain is the server's own. */
static int key_id_of_chain(struct ps_bytes pem, uint8_t id[32])
{
	gnutls_datum_t data = datum(pem);
	gnutls_x509_crt_t chain[CHAIN_MAX];
	unsigned count = CHAIN_MAX;
	size_t size = 32;
	int r = gnutls_x509_crt_list_import(chain, &count, &data, GNUTLS_X509_FMT_PEM,
					    GNUTLS_X509_CRT_LIST_IMPORT_FAIL_IF_EXCEED);

	if (r < 0)
		return r;
	r = count ? gnutls_x509_crt_get_key_id(chain[0], GNUTLS_KEYID_USE_SHA256, id, &size)
		  : GNUTLS_E_NO_CERTIFICATE_FOUND;
	if (r == 0)
		warn_of_time(chain[0]);
	for (unsigned i = 0; i < count; i++)
		gnutls_x509_crt_deinit(chain[i]);
	return r;
}

int ps_certificate_check(struct ps_bytes chain, struct ps_bytes key)
{
	uint8_t of_key[32], of_chain[32];
	int r;

	if ((r = key_id_of_chain(chain, of_chain)) < 0)
		return fail("certificate", r);
	if ((r = key_id_of_key(key, of_key)) < 0)
		return fail("private key", r);
	if (memcmp(of_key, of_chain, sizeof of_key) != 0)
		return ps_fail(PS_E_INVALID, "the private key is not the certificate's");
	return 0;
}

static int read_file(const char *path, struct ps_buf *out)
{
	PS_CLEANUP(ps_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? ps_fail_errno("open %s", path) : ps_passwd_read_fd(fd, path, out);
}

int ps_certificate_check_files(const char *chain_path, const char *key_path)
{
	struct ps_buf chain = {0}, key = {0};
	int r;

	if ((r = read_file(chain_path, &chain)) == 0 && (r = read_file(key_path, &key)) == 0) {
		r = ps_certificate_check(ps_buf_view(&chain), ps_buf_view(&key));
		if (r < 0)
			r = ps_fail(r, "%s, %s: %s", chain_path, key_path, ps_last_error());
	}
	ps_buf_finish(&chain);
	ps_buf_wipe(&key);
	return r;
}

const struct ps_conf *ps_certificate_section(const struct ps_conf *root, uint32_t slot)
{
	size_t n = ps_conf_section_count(root, "domain");

	if (slot == 0)
		return ps_conf_section(root, "tls", 0);
	for (size_t i = 0; i < n; i++) {
		const struct ps_conf *domain = ps_conf_section(root, "domain", i);

		if (ps_conf_str(domain, "certificate") && --slot == 0)
			return domain;
	}
	return NULL;
}

const char *ps_certificate_name(const struct ps_conf *root, uint32_t slot)
{
	const struct ps_conf *section = slot ? ps_certificate_section(root, slot) : NULL;

	return section ? ps_conf_title(section) : NULL;
}
