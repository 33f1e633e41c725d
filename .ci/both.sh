#!/bin/sh
# The whole suite with the fast lane and with the kernel's pool, side by side: tests wait more than they
# work. With AGAIN=1 what failed is run once more, alone.
set -u
cd "$(dirname "$0")/.."
make setup || exit  # here: two at once would set up the same folder

with_pool() {
  CAUDEX_TEST_STATEMENTS=kernel make test ARGS="-o cache_dir=.pytest_cache/pool $*"
}
with_lane() {
  make test ARGS="$*"
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
with_pool "$@" >"$log" 2>&1 &
with_lane "$@"
lane=$?
wait $!
pool=$?
printf '\n=== the same with the pool\n'
cat "$log"
if [ "${AGAIN:-0}" = 1 ]; then
  if [ $lane != 0 ]; then with_lane --last-failed "$@"; lane=$?; fi
  if [ $pool != 0 ]; then with_pool --last-failed "$@"; pool=$?; fi
fi
[ $lane = 0 ] && [ $pool = 0 ]
