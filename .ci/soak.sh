#!/bin/sh
# For hours: the whole suite with both drivers, and beside it the interleaving test of the fast lane with a
# new seed and many more statements, so many times in a row. The first failure ends it.
set -u
cd "$(dirname "$0")/.."
rounds=${1:-10}

soak() {
  .venv/bin/python -m pytest --hypothesis-profile=soak --quiet "$@"
}

log=$(mktemp)
trap 'rm -f "$log"' EXIT
for round in $(seq "$rounds"); do
  soak -o cache_dir=.pytest_cache/soak tests/plugins/pipeline/test_interleaved.py >"$log" 2>&1 &
  sh .ci/both.sh
  suite=$?
  wait $!
  interleaved=$?
  printf '\n=== statements that interleave\n'
  cat "$log"
  [ $suite = 0 ] && [ $interleaved = 0 ] || exit 1
  printf '\n=== round %s of %s passed\n' "$round" "$rounds"
done
soak tests/plugins/apps tests/plugins/data tests/plugins/rbac
