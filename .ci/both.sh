#!/bin/sh
# The whole suite with the fast lane and with the kernel's pool, each in two halves, all side by side: tests
# wait more than they work. With AGAIN=1 what failed is run once more, alone.
set -u
cd "$(dirname "$0")/.."
waiting="tests/faults tests/kernel tests/conformance"
others=$(printf -- '--ignore=%s ' $waiting)
runs="lane-others lane-waiting pool-others pool-waiting"
given=$*

run() (
  name=$1
  shift
  case $name in pool-*) export CAUDEX_TEST_STATEMENTS=kernel ;; esac
  case $name in *-waiting) what=$waiting ;; *) what=$others ;; esac
  make test ARGS="-o cache_dir=.pytest_cache/$name $what $given $*"
)

logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
for name in $runs; do
  (run "$name" >"$logs/$name" 2>&1 || touch "$logs/$name.failed") &
done
wait
for name in $runs; do
  printf '\n=== %s\n' "$name"
  cat "$logs/$name"
done
status=0
for name in $runs; do
  [ -e "$logs/$name.failed" ] || continue
  if [ "${AGAIN:-0}" = 1 ]; then
    printf '\n=== %s: what failed, once more\n' "$name"
    run "$name" --last-failed || status=1
  else
    status=1
  fi
done
exit $status
