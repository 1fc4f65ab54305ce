#!/usr/bin/env bash
# Puts a static busybox at a path: this machine's, if it has one, or that of Debian's package busybox-static, which is
# fetched and unpacked, not installed.
set -euo pipefail
to=${1:?usage: busybox.sh PATH}

for one in "$(command -v busybox || true)" /bin/busybox; do
	if [ -x "$one" ] && ! ldd "$one" >/dev/null 2>&1; then
		cp "$one" "$to"
		exit
	fi
done

command -v apt-get >/dev/null || {
	echo "busybox.sh: there is no static busybox: install your system's package of it (often busybox-static)" >&2
	exit 1
}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
options=(-qq -o APT::Sandbox::User=root -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20 -o Acquire::Retries=1)
fetch() { (cd "$dir" && apt-get "${options[@]}" download busybox-static); }
fetch || { apt-get "${options[@]}" update && fetch; }
dpkg -x "$dir"/busybox-static_*.deb "$dir"
mv "$dir"/bin/busybox "$to"
