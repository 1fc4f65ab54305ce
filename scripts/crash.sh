#!/bin/sh
# Kills podsim before and after each action of a small pod's run, and a few times at random moments, and checks that
# `podsim clean` then leaves the machine as it was. It needs root and bin/ (`make build`), prints a line for each
# kill, and ends with 1 if anything was left.
#
# It works in a network namespace of its own, so that all links, chains and sysctls that it sees are its site's.
#
#	scripts/crash.sh [RANDOM_KILLS]
set -eu
[ "$(id -u)" = 0 ] || { echo "crash: needs root: sudo scripts/crash.sh" >&2; exit 1; }
[ -n "${CRASH_NETNS:-}" ] || CRASH_NETNS=1 exec unshare --net -- "$0" "$@"

cd "$(dirname "$0")/.."
kills=${1:-6}
bin=${PODSIM_BUNDLE:-$PWD/bin}
for p in podsim sidekick containerd; do
	[ -x "$bin/$p" ] || { echo "crash: no $bin/$p: make build" >&2; exit 1; }
done

tmp=$(mktemp -d /tmp/podsim-crash.XXXXXX)
state=$tmp/state
run=/run/ps-$(basename "$tmp" | cut -d. -f2)
podsim() { "$bin/podsim" --state-dir "$state" --run-dir "$run" --bundle "$bin" "$@"; }
finish() {
	podsim clean >/dev/null 2>&1 || true
	rm -rf "$tmp" "$run"
}
trap finish EXIT
trap 'exit 130' INT TERM

go build -o "$tmp/leaks" ./scripts/leaks
podsim image make podsim.local/sidekick:dev "$bin/sidekick" >/dev/null

cat >"$tmp/pod.yaml" <<'POD'
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {greeting: hello}
---
apiVersion: v1
kind: Pod
metadata: {name: crash}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 2
  initContainers:
    - name: proxy
      image: podsim.local/sidekick:dev
      imagePullPolicy: IfNotPresent
      restartPolicy: Always
      args: [proxy]
      startupProbe:
        httpGet: {path: /healthz/ready, port: 15021}
        periodSeconds: 1
    - name: init
      image: podsim.local/sidekick:dev
      imagePullPolicy: IfNotPresent
      args: [init, --write, /work/done=yes]
      volumeMounts: [{name: work, mountPath: /work}]
  containers:
    - name: main
      image: podsim.local/sidekick:dev
      imagePullPolicy: IfNotPresent
      args: [cat, /work/done, /settings/greeting]
      volumeMounts:
        - {name: work, mountPath: /work}
        - {name: settings, mountPath: /settings}
  volumes:
    - {name: work, emptyDir: {medium: Memory}}
    - {name: settings, configMap: {name: settings}}
POD

# Other podsim processes may be at work on this machine: of what is not the network's, only what bears this site's
# names counts. The bridge's is also that of its cgroups.
bridge=$(podsim doctor | sed -n 's/.* on \(podsim[^ ]*\)$/\1/p') || true
[ -n "$bridge" ] || { echo "crash: podsim doctor names no bridge" >&2; exit 1; }
listing() {
	"$tmp/leaks" --state "$state" --run "$run" >"$tmp/all"
	grep -e "$tmp" -e "$run" -e "$bridge" -e '^link ' -e '^nft ' -e '^sysctl ' "$tmp/all" || true
}

failed=0
n=0
# after_crash cleans and compares: after_crash WHAT CODE
after_crash() {
	podsim clean >"$tmp/clean" 2>&1 || { echo "$1: podsim clean failed:"; cat "$tmp/clean"; failed=$((failed + 1)); }
	listing >"$tmp/after"
	if diff "$tmp/before" "$tmp/after" >"$tmp/diff"; then
		echo "$1: exit code $2, $(grep -c '^cleaned' "$tmp/clean") run cleaned, nothing left"
	else
		echo "$1: exit code $2, LEFT BEHIND:"
		cat "$tmp/diff"
		failed=$((failed + 1))
	fi
	n=$((n + 1))
}

# One whole run first, so that what the site keeps is there.
podsim run --timeline "$tmp/timeline" "$tmp/pod.yaml" >"$tmp/out" 2>&1 || { echo "crash: the pod fails without a crash:"; cat "$tmp/out"; exit 1; }
: >"$tmp/live"
podsim run "$tmp/pod.yaml" >"$tmp/live" 2>&1 &
pid=$!
until grep -q 'proxy  started' "$tmp/live" || ! kill -0 "$pid" 2>/dev/null; do sleep 0.02; done
listing >"$tmp/during"
wait "$pid" || true
for kind in mount link nft cgroup process; do
	grep -q "^$kind " "$tmp/during" || { echo "crash: the listing shows no $kind of a pod that runs"; exit 1; }
done
podsim clean >/dev/null
listing >"$tmp/before"

last=$(sed -n 's/.*"action":{"id":\([0-9]*\).*/\1/p' "$tmp/timeline" | sort -n | tail -n 1)
killed=0
for when in before after; do
	action=0
	while :; do
		action=$((action + 1))
		code=0
		# Not by the function: whether that passes on the variable depends on the shell.
		PODSIM_TEST_CRASH=$when:$action "$bin/podsim" --state-dir "$state" --run-dir "$run" run "$tmp/pod.yaml" >"$tmp/out" 2>&1 || code=$?
		after_crash "$when action $action" "$code"
		case $code in
		# Not every action is for the machine to perform; and a run has more of them when a probe fails once more.
		0) [ "$action" -le "$last" ] || break ;;
		137) killed=$((killed + 1)) ;;
		*) echo "$when action $action: neither killed nor ended well:"; cat "$tmp/out"; failed=$((failed + 1)); break ;;
		esac
	done
done
[ "$killed" -gt "$last" ] || { echo "crash: killed only $killed times around $last actions"; failed=$((failed + 1)); }

# podsim killed from outside, at no action's edge.
i=0
while [ "$i" -lt "$kills" ]; do
	i=$((i + 1))
	ms=$(od -An -N2 -tu2 /dev/urandom | awk '{print $1 % 1200}')
	"$bin/podsim" --state-dir "$state" --run-dir "$run" run "$tmp/pod.yaml" >"$tmp/out" 2>&1 & # no function: $! is podsim
	pid=$!
	sleep "$(awk "BEGIN { print $ms / 1000 }")"
	kill -9 "$pid" 2>/dev/null || true
	code=0
	wait "$pid" 2>/dev/null || code=$?
	after_crash "killed after ${ms} ms" "$code"
done

echo "$n runs, $killed killed around $last actions, $failed leaks or failures"
[ "$failed" = 0 ]
