# Builds a program once and keeps it. The build scripts in the folders beside this
# file read it with "." and call build_once; it is no program of its own.
#
# They are in the folder of their go.mod then, and have set
#
#     what      what is built: "the control plane"
#     took      how long that takes, for those who wait: "about 8 minutes on 2 cores"
#     packages  how many packages that are
#     cache     the folder of all its builds
#     name      of this one, which depends on its sources
#
# and made the function compile, which builds into the folder $1 and prints every
# package that it has to compile on standard error (go build -v).

say() { echo "$*" >&2; }

fail() {
	say "$what: $*"
	exit 1
}

# elapsed prints the time since $1, in seconds since the epoch: 45s, 1m20s.
elapsed() {
	seconds=$(($(date +%s) - $1))
	if [ "$seconds" -lt 60 ]; then
		echo "${seconds}s"
	else
		printf '%dm%02ds\n' $((seconds / 60)) $((seconds % 60))
	fi
}

sum256() {
	if command -v sha256sum >/dev/null 2>&1; then sha256sum; else shasum -a 256; fi
}

# build_once prints the folder of the programs; with -n it builds nothing. The
# folder appears whole or not at all, and builds that run at once wait for each
# other.
build_once() {
	folder=$cache/$name
	if [ -d "$folder" ] || [ "${1:-}" = -n ]; then
		echo "$folder"
		exit
	fi
	command -v go >/dev/null 2>&1 || fail "go is not on the PATH; install it from https://go.dev/dl"
	mkdir -p "$cache"
	[ -w "$cache" ] || fail "can't write to $cache"

	# The lock is a link that names the process that holds it. Two that break a
	# stale lock at the same moment merely build twice.
	lock=$cache/$name.lock
	start=$(date +%s)
	turn=0
	until ln -s $$ "$lock" 2>/dev/null; do
		holder=$(readlink "$lock" || :)
		if [ -n "$holder" ] && ! kill -0 "$holder" 2>/dev/null; then
			rm -rf "$lock" "$cache/$name.$holder"
			continue
		fi
		[ $((turn % 10)) -ne 0 ] || say "waiting for $what that process $holder builds: $(elapsed "$start")"
		turn=$((turn + 1))
		sleep 1
	done

	work=$cache/$name.$$
	builder=
	cleanup() {
		trap - EXIT
		[ -z "$builder" ] || kill "$builder" 2>/dev/null || :
		rm -rf "$work"
		[ "$(readlink "$lock")" != $$ ] || rm -f "$lock"
	}
	trap cleanup EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM

	if [ -d "$folder" ]; then # another built it while we waited
		echo "$folder"
		exit
	fi

	mkdir "$work"
	start=$(date +%s)
	say "building $what (once, $took): fetching its modules"
	(compile "$work") 2>"$work/log" >&2 &
	builder=$!
	turn=0
	while kill -0 "$builder" 2>/dev/null; do
		sleep 1
		turn=$((turn + 1))
		[ $((turn % 10)) -eq 0 ] || continue
		compiled=$(grep -cv '^go: ' "$work/log" || :)
		say "building $what (once, $took): $(elapsed "$start"), $compiled of about $packages packages"
	done
	if ! wait "$builder"; then
		builder=
		grep -v '^[A-Za-z0-9./_-]*$\|^go: downloading' "$work/log" >&2 || :
		fail "the build failed after $(elapsed "$start"); the lines above say why"
	fi
	builder=

	rm "$work/log"
	[ -d "$folder" ] || mv "$work" "$folder"
	say "built $what in $(elapsed "$start")"
	echo "$folder"
}
