#!/bin/sh
# unpack.sh CACHE PROGRAM PACKAGE...
# Prints "changed" or "unchanged", then the path of PROGRAM: the one on PATH, else that of Debian packages
# which are unpacked into CACHE without root.
# Packages are fetched by apt itself, which checks their signatures. Nothing of the system is changed.
# Where the packages hold libraries, the path is that of a starter in CACHE that says so to the program (ld.so(8)).
set -eu
cache=$1 program=$2
shift 2
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
if found=$(command -v -- "$program"); then
    printf 'unchanged\n%s\n' "$found"
    exit
fi
. /etc/os-release
name=$(printf '%s_' "$@")
[ ${#name} -le 200 ] || name=$(printf %s "$name" | sha256sum | cut -c -40)
target="$cache/$ID-${VERSION_ID:-sid}-$(dpkg --print-architecture)/$name"

# The program's path in the packages. A link to what another package has leads nowhere here.
find_program() {
    for folder in usr/bin usr/sbin bin sbin usr/local/bin usr/games; do
        found="$target/$folder/$program"
        [ ! -x "$found" ] || return 0
        [ ! -L "$found" ] || {
            link=$(readlink "$found")
            echo "$folder/$program links to $link, which these packages lack; add the package that has it." >&2
            return 1
        }
    done
    echo "The packages $* hold no program $program." >&2
    return 1
}

# Where the packages hold libraries, colon-separated. Those for newer processors are found by the loader itself.
find_libraries() {
    find "$target" -path '*/glibc-hwcaps' -prune -o -name 'lib*.so*' ! -type d -printf '%h\n' | sort -u | paste -sd: -
}

# Names all libraries at once that the program would miss. A script has none.
check_libraries() {
    missing=$(LD_LIBRARY_PATH="$libraries" ldd "$found" 2>/dev/null |
        sed -n 's/^[[:space:]]*\(.*\) => not found.*/\1/p' | paste -sd' ' -)
    [ -z "$missing" ] || {
        echo "$program needs $missing. This machine and the packages $* lack that; add the packages that have it." >&2
        return 1
    }
}

# A script that tells the program where its libraries are, and becomes it.
write_starter() {
    starter="$target/.starters/$program"
    text="#!/bin/sh
export LD_LIBRARY_PATH='$libraries'\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}
exec '$found' \"\$@\""
    [ "$(cat "$starter" 2>/dev/null || :)" != "$text" ] || return 0
    mkdir -p "$target/.starters"
    new=$(mktemp "$target/.starters/.new.XXXXXX")
    printf '%s\n' "$text" >"$new"
    chmod 0755 "$new"
    mv "$new" "$starter"
}

tell_program() {
    find_program "$@"
    libraries=$(find_libraries)
    check_libraries "$@"
    [ -z "$libraries" ] || { write_starter; found=$starter; }
    printf '%s\n%s\n' "$said" "$found"
}

said=unchanged
if [ -d "$target" ]; then
    tell_program "$@"
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
said=changed
tell_program "$@"
