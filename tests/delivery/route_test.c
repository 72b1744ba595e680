/* SPDX-License-Identifier: MIT */
#include <stdio.h>
#include "tests/delivery/route_base.h"

static const char conf[] = "default_domain = example.org\n"
			   "postmaster = carol\n"
			   "domain \"B\xc3\xbc"
			   "cher.example\" { postmaster = anna }\n"
			   "domain all.example { catch_all = carol@example.org }\n"
			   "domain old.example { }\n"
			   "domain away.example { }\n";

static const char aliases[] = "sales@example.org    alice, bob@example.net\n"
			      "info                 sales, carol+info\n"
			      "copy                 copy, alice\n"
			      "alice                alice, alice@phone.example\n"
			      "lists                carol\n"
			      "lists+exact          alice@example.net\n"
			      "ring1                ring2\n"
			      "ring2                ring3, bob@example.net\n"
			      "ring3                ring1\n"
			      "\"with blank\"         carol\n"
			      "gr\xc3\xbc\xc3\x9f"
			      "e  carol\n"
			      "Strasse%x            carol\n"
			      "abroad               \"a b\"@B\xc3\xbc"
			      "cher.test\n"
			      "@old.example         @example.org\n"
			      "@away.example        @away.test\n";

static const char users[] = " alice@example.org carol@example.org copy@example.org a+b@example.org a@example.org "
			    "anna@xn--bcher-kva.example dave@old.example carol@all.example abuse@all.example ";

static const struct {
	const char *path, *result;
} ways[] = {
	/* users, in any spelling */
	{"carol@example.org", "user carol@example.org"},
	{"CAROL@Example.ORG", "user carol@example.org"},
	{"\"carol\"@example.org", "user carol@example.org"},
	{"nobody@example.org", "550 5.1.1"},
	{"anna@b\xc3\xbc"
	 "cher.example",
	 "user anna@xn--bcher-kva.example"},
	{"anna@XN--Bcher-KVA.example", "user anna@xn--bcher-kva.example"},
	{"anna@bu\xcc\x88"
	 "cher.example",
	 "user anna@xn--bcher-kva.example"},
	{"anna@b\xc3\x9c"
	 "CHER\xe3\x80\x82"
	 "example",
	 "user anna@xn--bcher-kva.example"},
	/* folders */
	{"carol+Work@example.org", "user carol@example.org/Work"},
	{"carol+a+b@example.org", "user carol@example.org/a+b"},
	{"carol+@example.org", "user carol@example.org"},
	{"a+b@example.org", "user a+b@example.org"},
	{"a+c@example.org", "user a@example.org/c"},
	{"+a@example.org", "550 5.1.1"},
	{"nobody+x@example.org", "550 5.1.1"},
	/* aliases */
	{"sales@example.org", "user alice@example.org, to alice@phone.example, to bob@example.net"},
	{"Sales+x@example.org", "user alice@example.org/x, to alice@phone.example, to bob@example.net"},
	{"info@example.org", "user alice@example.org, to alice@phone.example, to bob@example.net, user "
			     "carol@example.org/info"},
	{"copy@example.org", "user copy@example.org, user alice@example.org, to alice@phone.example"},
	{"alice+Big@example.org", "user alice@example.org/Big, to alice@phone.example"},
	{"lists+x@example.org", "user carol@example.org/x"},
	{"lists+EXACT@example.org", "to alice@example.net"},
	{"\"with blank\"@example.org", "user carol@example.org"},
	{"GRu\xcc\x88"
	 "sse@example.org",
	 "user carol@example.org"},
	{"strasse%x@example.org", "user carol@example.org"},
	{"abroad@example.org", "to \"a b\"@xn--bcher-kva.test"},
	{"ring1@example.org", "550 5.4.6, to bob@example.net"},
	/* domains */
	{"dave@old.example", "user dave@old.example"},
	{"carol@old.example", "user carol@example.org"},
	{"carol+x@old.example", "user carol@example.org/x"},
	{"sales@old.example", "user alice@example.org, to alice@phone.example, to bob@example.net"},
	{"nobody@old.example", "550 5.1.1"},
	{"joe.doe@away.example", "to joe.doe@away.test"},
	{"Joe+x@away.example", "to Joe+x@away.test"},
	{"nobody@all.example", "user carol@example.org"},
	{"carol@all.example", "user carol@all.example"},
	/* postmaster, and others of RFC 2142 */
	{"postmaster", "user carol@example.org"},
	{"POSTMASTER", "user carol@example.org"},
	{"postmaster@example.org", "user carol@example.org"},
	{"Abuse@example.org", "user carol@example.org"},
	{"abuse@b\xc3\xbc"
	 "cher.example",
	 "user anna@xn--bcher-kva.example"},
	{"postmaster@away.example", "user carol@example.org"},
	{"abuse@all.example", "user abuse@all.example"},
	{"mailer-daemon@mx.example.org", "user carol@example.org"},
	{"carol@mx.example.org", "550 5.7.1"},
};

START_TEST(an_address_leads_to)
{
	route_open(conf, aliases);
	ck_assert_str_eq(route_of(ways[_i].path, false, users), ways[_i].result);
	route_close();
}
END_TEST

/* Every way in which somebody who has not logged in has ever made a server send mail elsewhere. */
static const char *const relays[] = {
	"user@remote.test",
	"\"user\"@remote.test",
	"user@REMOTE.test",
	"user@remote.test.",
	"postmaster@remote.test",
	"user%remote.test@example.org",
	"user%remote.test@all.example",
	"user%remote.test@away.example",
	"user%remote.test@[127.0.0.1]",
	"\"user%remote.test\"@example.org",
	"\"user@remote.test\"@example.org",
	"\"user@remote.test\"@all.example",
	"\"user@remote.test\"@away.example",
	"\"user@remote.test\"",
	"user\\@remote.test@example.org",
	"\"user\\@remote.test\"@away.example",
	"\"\\\"user\\\"@remote.test\"@away.example",
	"user%remote.test",
	"user%remote.test%example.org",
	"user@remote.test%example.org",
	"user%example.org@remote.test",
	"user%remote.test@mx.example.org",
	"remote.test!user@example.org",
	"remote.test!user@away.example",
	"remote.test!user",
	"example.org!remote.test!user",
	"\"remote.test!user\"@all.example",
	"user@remote.test@example.org",
	"user@example.org@remote.test",
	"@example.org:user@remote.test",
	"@example.org,@remote.test:user@example.org",
	"@remote.test:user@example.org",
	"@example.org@user",
	"@example.org",
	"@remote.test",
	"user@",
	"\"\"@remote.test",
	"\"\"@away.example",
	"user",
	"",
	"@",
	"user@[192.0.2.1]",
	"user@[127.0.0.1]",
	"user@[IPv6:::1]",
	"postmaster@[127.0.0.1]",
	"user@127.0.0.1",
	"user@[example.org]",
	"user@sub.example.org",
	"user@example.org.remote.test",
	"user@notexample.org",
	"user@example.org remote.test",
	"user@example.org,user@remote.test",
	"user@(example.org)remote.test",
	"user(x)@remote.test",
	"user@\"example.org\"",
	"user@example.org\\",
	"user;relay@remote.test",
	"user@example\xef\xbc\xa0remote.test",
	"user@remote\xef\xbc\x8etest",
	"user\xef\xbc\xa0remote.test@away.example\r",
	"|user@remote.test",
	"user@example..org",
	"user@-example.org",
	"user@\xff.test",
	"us\377er@away.example",
	"us\ter@away.example",
	"user@mx.example.org",
};

START_TEST(nobody_gets_mail_through_to_elsewhere)
{
	const char *result;

	route_open(conf, aliases);
	result = route_of(relays[_i], false, users);
	ck_assert_msg(result[0] == '5' && strchr(result, ',') == NULL, "%s: %s", relays[_i], result);
	route_close();
}
END_TEST

static const struct {
	const char *path, *result;
} out[] = {
	{"Joe.Doe@Remote.Test", "to Joe.Doe@remote.test"},
	{"\"a b\"@remote.test", "to \"a b\"@remote.test"},
	{"j\xc3\xb6@b\xc3\xbc"
	 "cher.test",
	 "to j\xc3\xb6@xn--bcher-kva.test"},
	{"user%x@remote.test", "to user%x@remote.test"},
	{"user@[192.0.2.1]", "550 5.1.2"},
	{"user@mx.example.org", "550 5.1.2"},
	{"user@a@remote.test", "501 5.1.3"},
	{"user", "501 5.1.3"},
};

START_TEST(a_user_sends_to_elsewhere)
{
	route_open(conf, aliases);
	ck_assert_str_eq(route_of(out[_i].path, true, users), out[_i].result);
	route_close();
}
END_TEST

START_TEST(an_alias_tells_what_the_address_was)
{
	struct ps_target *targets;
	size_t count;

	route_open(conf, aliases);
	ps_route_expand(test_route, test_pool, "Lists+exact@example.org", false, &targets, &count);
	ck_assert(targets[0].by_alias);
	ck_assert_str_eq(targets[0].orcpt, "rfc822;Lists+exact@example.org");
	ck_assert_str_eq(targets[0].domain, "example.net");
	ck_assert(!targets[0].needs_smtputf8);
	ps_route_expand(test_route, test_pool,
			"gr\xc3\xbc\xc3\x9f"
			"e@example.org",
			false, &targets, &count);
	ck_assert_str_eq(targets[0].orcpt, "utf-8;gr\xc3\xbc\xc3\x9f"
					   "e@example.org");
	ps_route_expand(test_route, test_pool, "carol@example.org", false, &targets, &count);
	ck_assert(!targets[0].by_alias);
	ck_assert_ptr_null(targets[0].orcpt);
	ps_route_expand(test_route, test_pool, "j\xc3\xb6@remote.test", true, &targets, &count);
	ck_assert(targets[0].needs_smtputf8);
	route_close();
}
END_TEST

START_TEST(aliases_are_followed_so_deep_and_to_so_many)
{
	struct ps_buf file = {0}, errors = {0};

	for (int i = 0; i < 11; i++)
		ps_buf_printf(&file, "deep%d deep%d\n", i, i + 1);
	ps_buf_str(&file, "deep11 carol\nmany ");
	for (int i = 0; i < 1000; i++)
		ps_buf_printf(&file, "%sx%d@example.net", i ? "," : "", i);
	ps_buf_str(&file, "\ntoomany many, y@example.net\nwide0 carol\n");
	/* 2^9 ways to one user, and 10^10. */
	for (int i = 1; i < 10; i++)
		ps_buf_printf(&file, "wide%d wide%d, wide%d\n", i, i - 1, i - 1);
	ps_buf_str(&file, "bomb0 carol\n");
	for (int i = 1; i < 10; i++) {
		ps_buf_printf(&file, "bomb%d ", i);
		for (int j = 0; j < 10; j++)
			ps_buf_printf(&file, "%sbomb%d", j ? "," : "", i - 1);
		ps_buf_str(&file, "\n");
	}
	route_open(conf, ps_buf_cstr(&file));
	ck_assert_str_eq(route_of("deep2@example.org", false, users), "user carol@example.org");
	ck_assert_str_eq(route_of("deep1@example.org", false, users), "550 5.4.6");
	ck_assert_str_ne(route_of("many@example.org", false, users), "451 4.3.5");
	ck_assert_str_eq(route_of("toomany@example.org", false, users), "451 4.3.5");
	ck_assert_str_eq(route_of("wide9@example.org", false, users), "user carol@example.org");
	ck_assert_str_eq(route_of("bomb9@example.org", false, users), "451 4.3.5");
	ck_assert_int_eq(ps_route_check_aliases(test_route, "aliases", &errors), PS_E_SYNTAX);
	ck_assert_ptr_nonnull(strstr(ps_buf_cstr(&errors), "aliases:14: toomany@example.org: "));
	ck_assert_ptr_nonnull(strstr(ps_buf_cstr(&errors), "aliases:2: deep1@example.org: "));
	ck_assert_ptr_null(strstr(ps_buf_cstr(&errors), "deep2@"));
	ps_buf_finish(&errors);
	ps_buf_finish(&file);
	route_close();
}
END_TEST

START_TEST(domains_that_lead_in_a_circle_end)
{
	route_open("domain a.example { }\ndomain b.example { catch_all = x@a.example }\n", "@a.example @b.example\n");
	ck_assert_str_eq(route_of("joe@a.example", false, ""), "550 5.4.6");
	route_close();
}
END_TEST

START_TEST(other_separators_and_none)
{
	route_open("default_domain = example.org\nsubaddress_separator = \"-_\"\n", "al carol\n");
	ck_assert_str_eq(route_of("carol-x@example.org", false, users), "user carol@example.org/x");
	ck_assert_str_eq(route_of("al_x-y@example.org", false, users), "user carol@example.org/x-y");
	ck_assert_str_eq(route_of("carol+x@example.org", false, users), "550 5.1.1");
	route_close();
	route_open("default_domain = example.org\nsubaddress_separator = \"\"\n", NULL);
	ck_assert_str_eq(route_of("carol+x@example.org", false, users), "550 5.1.1");
	ck_assert_str_eq(route_of("postmaster", false, users), "550 5.1.1");
	route_close();
	route_open("", NULL);
	ck_assert_str_eq(route_of("postmaster", false, users), "501 5.1.3");
	route_close();
}
END_TEST

static const struct {
	const char *user, *address;
	bool own;
} own[] = {
	{"alice@example.org", "Alice@Example.org", true},
	{"alice@example.org", "alice+x@example.org", true},
	{"alice@example.org", "info@example.org", true},
	{"carol@example.org", "info@example.org", true},
	{"carol@example.org", "alice@example.org", false},
	{"carol@example.org", "nobody@all.example", false},
	{"carol@example.org", "dave@all.example", false},
	{"carol@example.org", "carol@remote.test", false},
	{"carol@example.org", "carol", false},
	{"carol@example.org", "", false},
	{"a+b@example.org", "a+b@example.org", true},
	{"a@example.org", "a+c@example.org", true},
};

START_TEST(the_addresses_of_a_user)
{
	route_open(conf, aliases);
	ck_assert_msg(ps_route_is_own(test_route, own[_i].user, own[_i].address) == own[_i].own, "%s as %s",
		      own[_i].user, own[_i].address);
	route_close();
}
END_TEST

/* ---- the next host ---- */

static const char transports[] = "default_domain = example.org\n"
				 "transport example.net { host = \"10.0.0.1\" }\n"
				 "transport .example.net { host = below.example port = 2525 tls = verify }\n"
				 "transport .deep.example.net { host = deep.example }\n"
				 "transport \"B\xc3\xbc"
				 "cher.test\" { tls = dane }\n"
				 "smarthost { host = smtp.isp.example user = me password_file = /p }\n";

static const struct {
	const char *domain, *key;
	enum ps_hop_tls tls;
	bool smarthost;
} hops[] = {
	{"example.net", "host:10.0.0.1:25", PS_HOP_TLS_OPPORTUNISTIC, false},
	{"Example.NET", "host:10.0.0.1:25", PS_HOP_TLS_OPPORTUNISTIC, false},
	{"a.example.net", "host:below.example:2525/verify", PS_HOP_TLS_VERIFY, false},
	{"a.b.example.net", "host:below.example:2525/verify", PS_HOP_TLS_VERIFY, false},
	{"a.deep.example.net", "host:deep.example:25", PS_HOP_TLS_OPPORTUNISTIC, false},
	{"deep.example.net", "host:below.example:2525/verify", PS_HOP_TLS_VERIFY, false},
	{"xn--bcher-kva.test", "mx:xn--bcher-kva.test", PS_HOP_TLS_DANE, false},
	{"notexample.net", "smarthost:smtp.isp.example:587", PS_HOP_TLS_VERIFY, true},
};

START_TEST(mail_for_a_domain_goes_to)
{
	struct ps_hop hop;

	route_open(transports, NULL);
	ck_assert_ok(ps_route_set_password(test_route, ps_bytes_str("secret word\r\nnot this\n")));
	ck_assert_ok(ps_route_hop(test_route, test_pool, hops[_i].domain, &hop));
	ck_assert_str_eq(hop.key, hops[_i].key);
	ck_assert_int_eq(hop.tls, hops[_i].tls);
	ck_assert_int_eq(hop.smarthost, hops[_i].smarthost);
	if (hop.smarthost) {
		ck_assert_str_eq(hop.user, "me");
		ck_assert_str_eq(hop.password, "secret word");
	} else {
		ck_assert_ptr_null(hop.user);
		ck_assert_ptr_null(hop.password);
	}
	route_close();
}
END_TEST

START_TEST(without_settings_the_mx_is_asked)
{
	struct ps_hop hop;

	route_open("", NULL);
	ck_assert_ok(ps_route_hop(test_route, test_pool, "Example.net", &hop));
	ck_assert_str_eq(hop.key, "mx:example.net");
	ck_assert_str_eq(hop.domain, "example.net");
	ck_assert_ptr_null(hop.host);
	ck_assert_uint_eq(hop.port, 25);
	ck_assert_int_eq(ps_route_hop(test_route, test_pool, "a b", &hop), PS_E_SYNTAX);
	ck_assert_int_eq(ps_route_set_password(test_route, ps_bytes_str("")), PS_E_INVALID);
	ck_assert_int_eq(ps_route_set_password(test_route, ps_bytes_str("\nx")), PS_E_INVALID);
	route_close();
	route_open("transport \"*\" { port = 2525 }\n", NULL);
	ck_assert_ok(ps_route_hop(test_route, test_pool, "example.net", &hop));
	ck_assert_str_eq(hop.key, "mx:example.net");
	ck_assert_uint_eq(hop.port, 2525);
	route_close();
}
END_TEST

/* ---- what the configuration may not say ---- */

static const struct {
	const char *text, *error; /* `text` is line 2 */
} wrong[] = {
	{"default_domain = \"a b\"", "t.conf:2: \"default_domain\" must be a domain, not \"a b\""},
	{"default_domain = \"b\xc3\xbc"
	 "cher.example\"",
	 "t.conf:2: \"default_domain\" must be written in ASCII: \"xn--bcher-kva.example\""},
	{"domain \"b\xc3\xbc"
	 "cher.example\" { }\ndomain XN--bcher-kva.example { }",
	 "t.conf:3: domain \"XN--bcher-kva.example\" is there twice"},
	{"postmaster = \"a b\"", "t.conf:2: \"postmaster\" must be an address, not \"a b\""},
	{"domain a.example { catch_all = \"x@[10.0.0.1]\" }", "t.conf:2: \"catch_all\" must be an address"},
	{"subaddress_separator = \".\"", "t.conf:2: \"subaddress_separator\" may hold"},
	{"transport \"a b\" { }", "t.conf:2: transport \"a b\": expected a domain"},
	{"transport a.test { host = \"[10.0.0.1]\" }", "t.conf:2: \"host\" in transport must be"},
	{"transport a.test { }\ntransport A.test { }", "t.conf:3: transport \"A.test\" is there twice"},
	{"transport \"*\" { host = a.test }\nsmarthost { host = b.test }", "t.conf:2: transport \"*\" and smarthost"},
	{"smarthost { user = x password_file = /x }", "t.conf:2: smarthost has a user but no host"},
	{"smarthost { host = a.test user = x }", "t.conf:2: smarthost has a user but no password_file"},
	{"smarthost { host = a.test password_file = /x }", "t.conf:2: smarthost has a password_file but no user"},
	{"smarthost { host = a.test user = x password_file = x }",
	 "t.conf:2: \"password_file\" in smarthost must be an"},
	{"smarthost { host = a.test user = x password_file = /x tls = opportunistic }",
	 "t.conf:2: \"tls\" in smarthost must be required"},
	{"alias_file = aliases", "t.conf:2: \"alias_file\" must be an absolute path"},
};

START_TEST(what_cannot_be_is_told)
{
	struct ps_config *config;
	struct ps_buf text = {0};

	ps_buf_printf(&text, "mail_root = /m\n%s\n", wrong[_i].text);
	ck_assert_int_eq(ps_config_read("t.conf", ps_buf_view(&text), NULL, &config), PS_E_SYNTAX);
	ck_assert_msg(strncmp(ps_last_error(), wrong[_i].error, strlen(wrong[_i].error)) == 0, "%s", ps_last_error());
	ps_buf_finish(&text);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("route");
	TCase *tc = tcase_create("addresses"), *hop = tcase_create("hops");

	tcase_add_loop_test(tc, an_address_leads_to, 0, PS_ARRAY_LEN(ways));
	tcase_add_loop_test(tc, nobody_gets_mail_through_to_elsewhere, 0, PS_ARRAY_LEN(relays));
	tcase_add_loop_test(tc, a_user_sends_to_elsewhere, 0, PS_ARRAY_LEN(out));
	tcase_add_test(tc, an_alias_tells_what_the_address_was);
	tcase_add_test(tc, aliases_are_followed_so_deep_and_to_so_many);
	tcase_add_test(tc, domains_that_lead_in_a_circle_end);
	tcase_add_test(tc, other_separators_and_none);
	tcase_add_loop_test(tc, the_addresses_of_a_user, 0, PS_ARRAY_LEN(own));
	suite_add_tcase(suite, tc);
	tcase_add_loop_test(hop, mail_for_a_domain_goes_to, 0, PS_ARRAY_LEN(hops));
	tcase_add_test(hop, without_settings_the_mx_is_asked);
	tcase_add_loop_test(hop, what_cannot_be_is_told, 0, PS_ARRAY_LEN(wrong));
	suite_add_tcase(suite, hop);
	return unit_main(suite);
}
