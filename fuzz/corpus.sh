#!/bin/sh
# Takes what run.sh found into the corpora: for each target the smallest set of inputs that reaches
# everything that was reached, at most 150 files of at most 4 KiB: corpus.sh [TARGET...]
set -eu
cd "$(dirname "$0")"
fuzz=$(./build.sh)
[ $# -gt 0 ] || set -- $(cut -d' ' -f1 work/names)
export ASAN_OPTIONS=detect_leaks=0
for name in "$@"; do
    rm -rf "work/merged/$name"
    mkdir -p "work/merged/$name" "work/corpus/$name" "corpus/$name"
    AIRLIFT_FUZZ_TARGET=$name "$fuzz" -merge=1 -max_len=4096 -timeout=10 "work/merged/$name" \
        "corpus/$name" "work/corpus/$name" >"work/$name.merge.log" 2>&1
    # Of more than 150, some of every length: short ones are quick, long ones reach far.
    rm -rf "corpus/$name"
    mkdir "corpus/$name"
    find "work/merged/$name" -type f -printf '%s %f\n' | sort -n | awk '
        { file[NR] = $2 }
        END { most = NR < 150 ? NR : 150
              for (n = 0; n < most; n++) print file[1 + int(n * (NR - 1) / (most > 1 ? most - 1 : 1))] }
    ' | while read -r file; do cp "work/merged/$name/$file" "corpus/$name/$file"; done
    printf '%-16s %4s files %8s bytes\n' "$name" "$(ls "corpus/$name" | wc -l)" \
        "$(cat "corpus/$name"/* | wc -c)"
done
