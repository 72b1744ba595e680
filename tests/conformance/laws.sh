# shellcheck shell=sh
# SPDX-License-Identifier: MIT
# tests/conformance/laws.sh - the kit on a backend that was just built, in the build folder. Sourced.

# Its processes do not look for leaks: they are many, and LeakSanitizer's own tracer crashes in one of some thousands of those
# that have started and ended threads. Unit tests of the backends do.
ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0
export ASAN_OPTIONS
set -f # patterns are the kit's

# The law of the full disk is for where we may mount a small file system.
laws() { # OPTION... BACKEND
	dir=$(mktemp -d) || exit 1
	trap 'rm -rf "$dir"' EXIT
	# sh -c 'script' FOLDER COMMAND...: the folder is $0
	small='mount -t tmpfs -o size=6m none "$0" && exec "$@" --small="$0"'
	if unshare --user --map-root-user --mount sh -c "$small" "$dir" true 2>/dev/null; then
		unshare --user --map-root-user --mount sh -c "$small" "$dir" ./postern-conform "$@"
	else
		./postern-conform "$@"
	fi
}
