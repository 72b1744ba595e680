/* SPDX-License-Identifier: MIT */
/*
 * derive_dump: reads names of files, one a line, and writes for each a line of JSON: what core derives from it. Strings
 * are octets, \u00XX for those that are not ASCII. For comparison with other programs: corpus_test.py.
 *
 * Each message is derived whole, in pieces of odd sizes and in CRLF form; a difference is told as "error".
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "postern/backend.h"
#include "postern/message.h"

static void print_text(struct ps_bytes text)
{
	putchar('"');
	for (size_t i = 0; i < text.len; i++) {
		if (text.ptr[i] < ' ' || text.ptr[i] > '~' || text.ptr[i] == '"' || text.ptr[i] == '\\')
			printf("\\u%04x", text.ptr[i]);
		else
			putchar(text.ptr[i]);
	}
	putchar('"');
}

static void print_member(const char *name, struct ps_bytes text)
{
	printf(", \"%s\": ", name);
	print_text(text);
}

static void print_span(const char *name, const struct ps_span *span)
{
	printf(", \"%s\": [%llu, %llu, %llu]", name, (unsigned long long)span->offset, (unsigned long long)span->length,
	       (unsigned long long)span->lines);
}

static void print_part(const uint32_t *part, size_t depth)
{
	printf("{\"part\": \"");
	for (size_t i = 0; i < depth; i++)
		printf("%s%u", i ? "." : "", part[i]);
	putchar('"');
}

struct leaves {
	const struct ps_cache *cache;
	bool any;
};

static int print_leaf(void *arg, const struct ps_part_info *info)
{
	struct leaves *l = arg;
	struct ps_span body, mime;

	if (ps_cache_section(l->cache, info->part, info->depth, PS_SECTION_ALL, &body) < 0 ||
	    ps_cache_section(l->cache, info->part, info->depth, PS_SECTION_MIME, &mime) < 0)
		return -1;
	fputs(l->any ? ", " : "", stdout);
	l->any = true;
	print_part(info->part, info->depth);
	print_member("type", ps_bytes_str(info->type));
	print_member("subtype", ps_bytes_str(info->subtype));
	print_member("charset", ps_bytes_str(info->charset ? info->charset : ""));
	print_member("encoding", ps_bytes_str(info->encoding));
	print_span("body", &body);
	print_span("mime", &mime);
	putchar('}');
	return 0;
}

static void feed_cut(struct ps_derive *d, struct ps_bytes text, size_t piece)
{
	while (text.len) {
		size_t n = piece < text.len ? piece : text.len;

		ps_derive_feed(d, ps_bytes(text.ptr, n));
		text = ps_bytes_skip(text, n);
	}
}

static const char *check_cut(struct ps_bytes text, struct ps_bytes want, size_t piece)
{
	struct ps_derive *d = ps_derive_create();
	struct ps_bytes got;
	uint64_t size;
	bool same;

	feed_cut(d, text, piece);
	ps_derive_finish(d, &size, &got);
	same = ps_bytes_eq(got, want);
	ps_derive_destroy(d);
	return same ? NULL : "in pieces the cache is another";
}

static int append(void *arg, struct ps_bytes octets)
{
	return ps_buf_bytes(arg, octets);
}

/* The CRLF form, read through the cache, is derived alike. */
static const char *check_wire(struct ps_bytes text, const struct ps_cache *cache, struct ps_buf *wire)
{
	struct ps_body body = {.data = text.ptr, .fd = -1, .length = text.len};
	struct ps_derive *d = ps_derive_create();
	const char *error = NULL;
	struct ps_bytes octets;
	struct ps_cache other;
	struct ps_span span;
	uint64_t size;

	if (ps_cache_section(cache, NULL, 0, PS_SECTION_ALL, &span) < 0 ||
	    ps_body_read(&body, &span, 0, UINT64_MAX, append, wire) < 0)
		error = "cannot be read";
	ps_derive_feed(d, ps_buf_view(wire));
	ps_derive_finish(d, &size, &octets);
	if (ps_cache_open(&other, octets) < 0)
		error = "the cache of the CRLF form is not sound";
	else if (size != span.length || size != wire->len)
		error = "the CRLF form has another size";
	else if (!ps_bytes_eq(ps_cache_envelope(cache), ps_cache_envelope(&other)) ||
		 !ps_bytes_eq(ps_cache_bodystructure(cache), ps_cache_bodystructure(&other)))
		error = "the CRLF form has another description";
	ps_derive_destroy(d);
	return error;
}

static void print_cache(const char *path, const struct ps_cache *cache, const char *error)
{
	struct ps_pool *pool = ps_pool_create("dump");
	struct leaves leaves = {.cache = cache};
	struct ps_buf body = {0};
	int64_t time;
	int zone;

	printf("{\"file\": ");
	print_text(ps_bytes_str(path));
	if (ps_cache_body(cache, &body) < 0)
		error = "no BODY";
	print_member("envelope", ps_cache_envelope(cache));
	print_member("bodystructure", ps_cache_bodystructure(cache));
	print_member("body", ps_buf_view(&body));
	if (ps_cache_date(cache, &time, &zone) == 0)
		printf(", \"date\": [%lld, %d]", (long long)time, zone);
	printf(", \"parts\": [");
	if (ps_cache_leaves(cache, pool, print_leaf, &leaves) < 0)
		error = "a leaf without section";
	printf("], \"cache\": %zu", cache->octets.len);
	if (error)
		print_member("error", ps_bytes_str(error));
	puts("}");
	ps_buf_finish(&body);
	ps_pool_destroy(pool);
}

static int dump(const char *path, struct ps_bytes text)
{
	static const size_t pieces[] = {1, 7, 77, 4096};
	struct ps_derive *d = ps_derive_create();
	struct ps_buf wire = {0};
	const char *error = NULL;
	struct ps_bytes octets;
	struct ps_cache cache;
	uint64_t size;

	ps_derive_feed(d, text);
	ps_derive_finish(d, &size, &octets);
	if (ps_cache_open(&cache, octets) < 0) {
		fprintf(stderr, "%s: %s\n", path, ps_last_error());
		return -1;
	}
	for (size_t i = 0; i < PS_ARRAY_LEN(pieces) && !error; i++)
		error = check_cut(text, octets, pieces[i]);
	if (!error)
		error = check_wire(text, &cache, &wire);
	print_cache(path, &cache, error);
	ps_buf_finish(&wire);
	ps_derive_destroy(d);
	return 0;
}

static int dump_file(const char *path)
{
	struct ps_buf text = {0};
	FILE *file = fopen(path, "rb");
	uint8_t piece[65536];
	size_t n;
	int r;

	if (!file) {
		perror(path);
		return -1;
	}
	while ((n = fread(piece, 1, sizeof piece, file)) > 0)
		ps_buf_append(&text, piece, n);
	fclose(file);
	r = dump(path, ps_buf_view(&text));
	ps_buf_finish(&text);
	return r;
}

int main(void)
{
	char *path = NULL;
	size_t cap = 0;
	ssize_t n;
	int r = 0;

	while (r == 0 && (n = getline(&path, &cap, stdin)) > 0) {
		if (path[n - 1] == '\n')
			path[n - 1] = '\0';
		r = dump_file(path);
	}
	free(path);
	return r == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
