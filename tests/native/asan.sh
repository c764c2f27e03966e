#!/bin/sh
# Runs the native tests with every C source under AddressSanitizer and UndefinedBehaviorSanitizer.
# usage: tests/native/asan.sh [PYTHON] [pytest arguments, by default tests/native tests/sim]
# Builds in a copy, so the normal extension stays as it is.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
python=${1:-python}
[ $# -gt 0 ] && shift
case $python in
/*) ;;
*/*) python=$PWD/$python ;; # it runs from another folder
esac
[ $# -gt 0 ] || set -- tests/native tests/sim
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
for folder in native core sim strategies adapters daemon config docs tests; do
    [ -d "$root/$folder" ] && cp -r "$root/$folder" "$copy/"
done
cp "$root/pyproject.toml" "$copy/"
rm -f "$copy"/native/_native.*
cd "$copy"
TRADINGD_SANITIZE=1 "$python" native/extension_build.py >build.log 2>&1 || { cat build.log; exit 1; }
# Python itself is not instrumented: the runtime has to come first, and its own allocator would hide overflows of our buffers.
LD_PRELOAD=$(gcc -print-file-name=libasan.so):$(gcc -print-file-name=libstdc++.so) \
    PYTHONMALLOC=malloc ASAN_OPTIONS=detect_leaks=0:abort_on_error=0 UBSAN_OPTIONS=print_stacktrace=1 \
    "$python" -m pytest -x "$@"
