/* SPDX-License-Identifier: MIT */
/* A PAM module for tests: the password is "pass"; games has expired. */
#include <security/pam_appl.h>
#include <security/pam_modules.h>
#include <security/pam_ext.h>
#include <string.h>

int pam_sm_authenticate(pam_handle_t *pam, int flags, int argc, const char **argv)
{
	const char *password = NULL;

	(void)flags;
	(void)argc;
	(void)argv;
	if (pam_get_authtok(pam, PAM_AUTHTOK, &password, NULL) != PAM_SUCCESS || !password)
		return PAM_AUTHINFO_UNAVAIL;
	return strcmp(password, "pass") == 0 ? PAM_SUCCESS : PAM_AUTH_ERR;
}

int pam_sm_setcred(pam_handle_t *pam, int flags, int argc, const char **argv)
{
	(void)pam;
	(void)flags;
	(void)argc;
	(void)argv;
	return PAM_SUCCESS;
}

int pam_sm_acct_mgmt(pam_handle_t *pam, int flags, int argc, const char **argv)
{
	const char *user = NULL;

	(void)flags;
	(void)argc;
	(void)argv;
	pam_get_item(pam, PAM_USER, (const void **)&user);
	return user && strcmp(user, "games") == 0 ? PAM_ACCT_EXPIRED : PAM_SUCCESS;
}
