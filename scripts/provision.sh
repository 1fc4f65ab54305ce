#!/bin/sh
# Install what it takes to build and run podsim on a clean Debian or Ubuntu, and nothing else: gcc, make, git and Go.
#
#     sudo scripts/provision.sh
#
# Go: podsim's go.mod names a version. Any go from 1.21 on fetches exactly that one by itself, as a module from the
# Go module proxy, checked against the checksum database. So a Debian package of 1.21 or later will do; where the release
# has none (Debian 12 has 1.19) it comes from the release's backports. The script may be run again at any time: it
# installs only what is missing.
set -eu

say() { printf 'provision: %s\n' "$*"; }
die() { printf 'provision: %s\n' "$*" >&2; exit 1; }

[ "$(id -u)" = 0 ] || die "run me as root: sudo $0"
[ -r /etc/os-release ] || die "this is no Debian or Ubuntu; install gcc, make, git and Go 1.21 or later by hand"
# shellcheck source=/dev/null
. /etc/os-release
command -v apt-get >/dev/null || die "$PRETTY_NAME has no apt-get; install gcc, make, git and Go 1.21 or later by hand"

export DEBIAN_FRONTEND=noninteractive
updated=
# install PACKAGE...: install them without what they merely recommend.
install() {
	if [ -z "$updated" ]; then
		say "apt-get update"
		apt-get update -qq
		updated=yes
	fi
	say "apt-get install $*"
	apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

missing=
command -v gcc >/dev/null || missing="$missing gcc libc6-dev"
command -v make >/dev/null || missing="$missing make"
command -v git >/dev/null || missing="$missing git"
# The Go module proxy is spoken to over https.
[ -e /etc/ssl/certs/ca-certificates.crt ] || missing="$missing ca-certificates"
# shellcheck disable=SC2086 # a list of words
[ -z "$missing" ] || install $missing

# minor GO: the N of a go command's version 1.N; 0 if there is no such command.
minor() {
	version=$(GOTOOLCHAIN=local "$1" version 2>/dev/null) || version="go version go1.0"
	printf '%s\n' "$version" | sed -E 's/^go version go1\.([0-9]+).*/\1/'
}

# The oldest go that knows how to fetch a newer one.
oldest=21

# candidate: the version that apt would install of golang-go, as the N of 1.N; 0 if there is none.
candidate() {
	apt-cache policy golang-go | sed -nE 's/^  Candidate: 2:1\.([0-9]+).*/\1/p' | grep . || echo 0
}

# backports: add the release's backports, where Debian keeps newer packages for it.
backports() {
	[ "$ID" = debian ] || die "$PRETTY_NAME has no Go 1.$oldest or later; install it from https://go.dev/dl and run me again"
	suite=$VERSION_CODENAME-backports
	if ! apt-cache policy | grep -q "n=$suite"; then
		say "add $suite to apt's sources, in /etc/apt/sources.list.d/podsim-backports.list"
		mirror=$(apt-cache policy | sed -nE "s@^ *[0-9]+ (https?://[^ ]+) $VERSION_CODENAME/main .*@\1@p" | head -n 1)
		echo "deb ${mirror:-http://deb.debian.org/debian} $suite main" >/etc/apt/sources.list.d/podsim-backports.list
		updated=
	fi
	install -t "$suite" golang-go
}

if [ "$(minor go)" -lt "$oldest" ]; then
	if [ -z "$updated" ]; then
		say "apt-get update"
		apt-get update -qq
		updated=yes
	fi
	if [ "$(candidate)" -ge "$oldest" ]; then
		install golang-go
	else
		backports
	fi
fi
[ "$(minor go)" -ge "$oldest" ] || die "go is still $(go version 2>&1); is another one first in PATH?"

# Debian's go must be allowed to fetch the version that go.mod names; its default forbids it on some releases.
if [ "$(cd / && go env GOTOOLCHAIN)" = local ]; then
	say "let go fetch the version that go.mod names: GOTOOLCHAIN=auto in /etc/environment and in root's go env"
	grep -q '^GOTOOLCHAIN=' /etc/environment 2>/dev/null || echo 'GOTOOLCHAIN=auto' >>/etc/environment
	go env -w GOTOOLCHAIN=auto
fi

# Fetch it now, so that the first build does not have to.
root=$(cd "$(dirname "$0")/.." && pwd)
if [ -r "$root/go.mod" ]; then
	want=$(sed -nE 's/^go ([0-9.]+)$/\1/p' "$root/go.mod")
	have=$(cd "$root" && go env GOVERSION) || die "go could not fetch version $want; is the Go module proxy ($(go env GOPROXY)) reachable?"
	say "go.mod wants go $want; using $have"
fi
say "ready: make build"
