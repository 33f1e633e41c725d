#!/bin/sh
# The whole suite with the fast lane and with the kernel's pool, each in two parts, all side by side:
# tests wait more than they work. With AGAIN=1 what failed is run once more, alone. Arguments are
# pytest's; as they may name tests, each suite is one part then.
set -u
cd "$(dirname "$0")/.."
make setup || exit  # here: several at once would set up the same folder

processes="tests/faults tests/kernel tests/plugins/workers"  # they take as long as all others

suite() {  # NAME ARGUMENTS...: one part, with a cache of its own, which tells what failed
  name=$1 provider=${1%-*}
  shift
  case $name in
    *-processes) set -- "$processes" "$@" ;;
    *-others) for folder in $processes; do set -- "--ignore=$folder" "$@"; done ;;
  esac
  if [ "$provider" = pool ]; then export CAUDEX_TEST_STATEMENTS=kernel; fi
  make test ARGS="-o cache_dir=.pytest_cache/$name $*"
}

parts="pool-all lane-all"
if [ $# = 0 ]; then
  parts="lane-others pool-processes pool-others lane-processes"
fi
shown=${parts##* }  # its output is seen as it comes
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
for part in $parts; do
  if [ "$part" = "$shown" ]; then
    (suite "$part" "$@")
    echo $? >"$logs/$part.status"
  else
    { (suite "$part" "$@") >"$logs/$part" 2>&1; echo $? >"$logs/$part.status"; } &
  fi
done
wait
for part in $parts; do
  if [ "$part" != "$shown" ]; then printf '\n=== %s\n' "$part"; cat "$logs/$part"; fi
done

failed=0
for part in $parts; do
  [ "$(cat "$logs/$part.status")" = 0 ] && continue
  if [ "${AGAIN:-0}" = 1 ]; then
    printf '\n=== %s: what failed, once more\n' "$part"
    (suite "$part" --last-failed "$@") || failed=1
  else
    failed=1
  fi
done
exit $failed
