#!/usr/bin/env bash
# Formats Go and C sources in place; with --check only says which files would change, and fails.
set -euo pipefail
cd "$(dirname "$0")/.."

# sources lists the files of these kinds that are there, committed or not.
sources() {
    git ls-files -co --exclude-standard -- "$@" | while IFS= read -r file; do
        [ ! -f "$file" ] || echo "$file"
    done
}
mapfile -t go_files < <(sources '*.go')
mapfile -t c_files < <(sources '*.c' '*.h' '*.cpp')

if [ "${1:-}" != --check ]; then
    gofmt -w "${go_files[@]}"
    clang-format -i "${c_files[@]}"
    exit
fi
status=0
unformatted=$(gofmt -l "${go_files[@]}")
if [ -n "$unformatted" ]; then
    printf 'format: %s\n' $unformatted >&2
    status=1
fi
for file in "${c_files[@]}"; do
    if ! clang-format "$file" | cmp -s "$file" -; then
        echo "format: $file" >&2
        status=1
    fi
done
[ $status = 0 ] || echo "format: run scripts/format.sh" >&2
exit $status
