# shellcheck shell=bash
# SPDX-License-Identifier: MIT
# contrib/setup.sh - what quickstart and check share: packages, steps with progress, a build. Sourced, not run.

# Where the sources are; set before sourcing.
: "${PS_SOURCE:?}"

say() { printf '%s\n' "$*"; }
die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# quoted WORD: the word as a shell would need it typed, in single quotes only where it must.
quoted() {
	case $1 in
	*[!A-Za-z0-9_./:@%+,=-]* | '') printf "'%s'" "${1//\'/\'\\\'\'}" ;;
	*) printf '%s' "$1" ;;
	esac
}

# The last line of a log, cut to fit behind a step's name.
last_line() { tail -c 400 "$1" 2>/dev/null | tr -d '\r' | tail -n 1 | tr -c '[:print:]\n' ' ' | cut -c 1-60; }

# step NAME LOG COMMAND...: runs the command with its output in LOG. On a terminal the line shows how far it is;
# otherwise there is one line per step. When it fails, the end of the log is shown.
step() {
	local name=$1 log=$2 started=$SECONDS pid status=0
	shift 2
	mkdir -p "$(dirname "$log")"
	"$@" >"$log" 2>&1 </dev/null &
	pid=$!
	if [ -t 1 ]; then
		while kill -0 "$pid" 2>/dev/null; do
			printf '\r\033[K%-28s %3d s  %s' "$name" $((SECONDS - started)) "$(last_line "$log")"
			sleep 0.5
		done
		printf '\r\033[K'
	else
		printf '%-28s ' "$name"
	fi
	wait "$pid" || status=$?
	[ -t 1 ] && printf '%-28s ' "$name"
	if [ "$status" -ne 0 ]; then
		printf 'failed\n'
		printf '%s\n' "--- end of $log" >&2
		tail -n 30 "$log" >&2
		printf '%s\n' "---" >&2
		return "$status"
	fi
	printf 'done (%d s)\n' $((SECONDS - started))
}

# packages KIND...: their names.
packages() {
	local kind name rest
	while read -r kind name rest; do
		case " $* " in *" $kind "*) printf '%s\n' "$name" ;; esac
	done <"$PS_SOURCE/contrib/packages"
	: "${rest:-}"
}

missing_packages() {
	local name
	command -v dpkg-query >/dev/null || return 0
	packages "$@" | while read -r name; do
		case $(dpkg-query -W -f '${db:Status-Abbrev}' "$name" 2>/dev/null) in
		?i*) ;;
		*) printf '%s ' "$name" ;;
		esac
	done
}

# install_packages LOG KIND...: installs what is missing, and asks for more rights only when something is.
install_packages() {
	local log=$1 missing as_root=()
	shift
	missing=$(missing_packages "$@")
	[ -n "$missing" ] || return 0
	if [ "$(id -u)" -ne 0 ]; then
		command -v sudo >/dev/null ||
			die "these Debian packages are missing, and there is no sudo; as root: apt-get install $missing"
		say "These Debian packages are missing and will be installed with sudo: $missing"
		sudo -v || die "without them it cannot go on; or, as root: apt-get install $missing"
		as_root=(sudo)
	fi
	as_root+=(env DEBIAN_FRONTEND=noninteractive LC_ALL=C)
	step "Reading package lists" "$log.update" "${as_root[@]}" apt-get -q update ||
		say "Package lists could not be renewed; trying with those that are there."
	# shellcheck disable=SC2086 # a list of names
	step "Installing packages" "$log" "${as_root[@]}" apt-get -q -y --no-install-recommends install $missing ||
		die "apt-get could not install: $missing"
}

# unpack_packages FOLDER: Debian packages that cannot be installed beside others, taken apart into FOLDER/NAME. Without
# one its tests are skipped.
unpack_packages() {
	local name
	command -v dpkg-deb >/dev/null || return 0
	for name in $(packages unpack); do
		[ -d "$1/$name" ] || step "Unpacking $name" "$1/$name.log" unpack_package "$1" "$name" ||
			say "Its tests will be skipped."
	done
}

unpack_package() { # FOLDER NAME
	local work=$1/$2.new
	rm -rf "$work" && mkdir -p "$work" &&
		env -C "$work" apt-get -q download "$2" &&
		dpkg-deb -x "$work/$2"_*.deb "$work/files" &&
		mv "$work/files" "$1/$2" && rm -rf "$work"
}

# A folder for builds: below the sources if they can be written and have a name that make can live with, else in the
# user's cache, with a copy of the sources. Sets PS_TREE (sources to build from) and PS_BUILDS.
choose_tree() {
	local cache probe=$PS_SOURCE/build/.writable
	case $PS_SOURCE in
	*[!A-Za-z0-9_./+,=@-]*) ;;
	*)
		if [ ! -e "$PS_SOURCE/config.status" ] && mkdir -p "$PS_SOURCE/build" 2>/dev/null && { : >"$probe"; } 2>/dev/null &&
			[ -w "$PS_SOURCE" ] && { [ ! -e "$PS_SOURCE/configure" ] || [ -w "$PS_SOURCE/configure" ]; }; then
			rm -f "$probe"
			PS_TREE=$PS_SOURCE
			PS_BUILDS=$PS_SOURCE/build
			return 0
		fi
		;;
	esac
	cache=${XDG_CACHE_HOME:-${HOME:?}/.cache}/postern
	case $cache in *[!A-Za-z0-9_./+,=@-]*) cache=/var/tmp/postern-$(id -u) ;; esac
	(umask 077 && mkdir -p "$cache") || die "cannot make $cache"
	[ -O "$cache" ] || die "cannot build in $cache: it belongs to another user"
	cache=$cache/$(printf '%s' "$PS_SOURCE" | cksum | cut -d ' ' -f 1)
	say "The sources cannot be built where they are; using $cache"
	PS_TREE=$cache/source
	PS_BUILDS=$cache/build
	mkdir -p "$PS_BUILDS" || die "cannot make $cache"
	copy_sources "$PS_TREE" || die "cannot copy the sources to $PS_TREE"
}

# copy_sources TO: without what is made from them. Times are kept, so that make builds only what has changed.
copy_sources() {
	mkdir -p "$1" && tar -C "$PS_SOURCE" -cf - --exclude-vcs --exclude-from=- . <<-'LIST' | tar -C "$1" -xf - --no-same-owner
		./build*
		./demo
		./m4
		./autom4te.cache
		./aclocal.m4
		./configure
		./configure~
		./config.*
		./Makefile
		./Makefile.in
		./libtool
		./stamp-h1
		*.o
		*.lo
		*.la
		.libs
		.deps
		__pycache__
	LIST
}

# build_tree NAME [configure options and variables...]: configures, builds and installs below $PS_BUILDS/NAME/prefix.
build_tree() {
	local name=$1 dir=$PS_BUILDS/$1 wanted
	shift
	wanted="$PS_TREE $*"
	if [ -f "$dir/config.status" ] && [ "$(cat "$dir/.wanted" 2>/dev/null)" != "$wanted" ]; then
		rm -rf "$dir" # configured for another place or with other options
	fi
	mkdir -p "$dir"
	if [ ! -x "$PS_TREE/configure" ] || [ ! -f "$PS_TREE/Makefile.in" ]; then
		step "Preparing configure" "$dir/autoreconf.log" autoreconf -i "$PS_TREE" || return
	fi
	if [ ! -f "$dir/config.status" ]; then
		step "Configuring ($name)" "$dir/configure.log" \
			env -C "$dir" "$PS_TREE/configure" --prefix="$dir/prefix" "$@" || return
		printf '%s\n' "$wanted" >"$dir/.wanted"
	fi
	step "Building ($name)" "$dir/make.log" make -C "$dir" -j "$(nproc)" all || return
	if [ ! -f "$dir/.installed" ] || [ -n "$(changed_since_install "$dir")" ]; then
		step "Installing ($name)" "$dir/install.log" make -s -C "$dir" install || return
		: >"$dir/.installed"
	fi
}

changed_since_install() {
	find "$1" -path "$1/prefix" -prune -o -type f -newer "$1/.installed" ! -name '*.log' ! -name '*.trs' -print -quit
}

# The users that the roles run as when the server was started by root.
make_system_users() {
	local name
	for name in postern postern-auth postern-net postern-relay; do
		getent passwd "$name" >/dev/null ||
			useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$name" ||
			die "could not make the system user $name"
	done
}
