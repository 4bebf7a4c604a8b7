#!/bin/sh
# environment.sh VERB FOLDER REQUIREMENTS PYTHON [CACHE UV]
# A Python environment in FOLDER with exactly what REQUIREMENTS lists (versions and hashes). Prints "changed" or
# "unchanged". VERB: make, or look (only says what make would do). With UV, wheels stay in CACHE for the next machine.
set -eu
export NO_COLOR=1
verb=$1 folder=$2 requirements=$3 python=$4 cache=${5:-} uv=${6:-}
wish="$(sha256sum <"$requirements" 2>/dev/null || echo none) $python"
if [ "$(cat "$folder/.complete" 2>/dev/null || :)" = "$wish" ]; then
    echo unchanged
    exit
fi
[ "$verb" = make ] || { echo changed; exit; }
rm -f "$folder/.complete"
if [ -n "$uv" ]; then
    # The certificates that this machine trusts, like apt; the second name is that of older versions.
    export UV_SYSTEM_CERTS=1 UV_NATIVE_TLS=1
    export UV_CACHE_DIR="$cache/uv" UV_PYTHON_DOWNLOADS=never UV_NO_PROGRESS=1
    "$uv" venv -q --clear --python "$python" "$folder"
    "$uv" pip install -q --python "$folder/bin/python" --require-hashes --no-deps --only-binary :all: -r "$requirements"
else
    "$python" -m venv --clear "$folder"
    "$folder/bin/python" -m pip -q --disable-pip-version-check --no-input --retries 2 install \
        --require-hashes --no-deps --only-binary :all: -r "$requirements"
fi
echo "$wish" >"$folder/.complete"
echo changed
