#!/bin/sh
# unpack.sh CACHE PROGRAM PACKAGE...
# Prints "changed" or "unchanged", then the path of PROGRAM: the one on PATH, else that of Debian packages
# which are unpacked into CACHE without root.
# Packages are fetched by apt itself, which checks their signatures. Nothing of the system is changed.
set -eu
cache=$1 program=$2
shift 2
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
if found=$(command -v -- "$program"); then
    printf 'unchanged\n%s\n' "$found"
    exit
fi
. /etc/os-release
target="$cache/$ID-${VERSION_ID:-sid}-$(dpkg --print-architecture)/$(printf '%s_' "$@")"

find_program() {
    for folder in usr/bin usr/sbin bin sbin usr/local/bin; do
        [ ! -x "$target/$folder/$program" ] || { echo "$target/$folder/$program"; return; }
    done
    echo "The packages $* hold no program $program." >&2
    return 1
}

if [ -d "$target" ]; then
    echo unchanged
    find_program "$@"
    exit
fi

mkdir -p "${target%/*}"
work=$(mktemp -d "${target%/*}/.unpack.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
mkdir "$work/packages" "$work/tree"
cd "$work/packages"
# The lists of the system first: they are there on most machines and cost nothing.
if ! apt-get -qq -o APT::Sandbox::User=root download "$@" >"$work/log" 2>&1; then
    private="-o APT::Sandbox::User=root -o Dir::State::Lists=$cache/apt/lists -o Dir::Cache=$cache/apt/cache"
    mkdir -p "$cache/apt/lists/partial" "$cache/apt/cache/archives/partial"
    # One source that does not answer makes this fail; whether ours are there is seen by the download.
    # shellcheck disable=SC2086  # words on purpose; the path has no blanks
    apt-get -qq $private update >>"$work/log" 2>&1 || :
    # shellcheck disable=SC2086
    apt-get -qq $private download "$@" >>"$work/log" 2>&1 || {
        echo "apt could not fetch $*. Install $program on this machine, or give it a way to its package mirror." >&2
        tail -n 5 "$work/log" >&2
        exit 1
    }
fi
for package in *.deb; do
    dpkg-deb -x "$package" "$work/tree"
done
# Whoever renames first wins; both trees are the same.
mv -T "$work/tree" "$target" 2>/dev/null || [ -d "$target" ]
echo changed
find_program "$@"
