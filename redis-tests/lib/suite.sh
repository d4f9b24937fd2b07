# Fetches Redis's own Tcl test suite and prepares a copy of it for an external server.
#
# Debian's source package `redis` 7.0 carries the suite. A private apt configuration with source
# entries enabled is made from the machine's own sources, so neither the system's apt lists nor its
# sources change. Everything lands in $CACHE/suite, outside of the repository.
#
# Sourced by redis-tests/run; uses CACHE, say, leave_out.

# Writes the machine's Debian or Ubuntu sources to $1, as source-package entries.
suite_sources() {
    local file
    : >"$1/sources.list"
    mkdir -p "$1/sources.list.d"
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
        [ -f "$file" ] || continue
        sed -nE '/(debian|ubuntu)/ s/^deb(-src)?[[:space:]]/deb-src /p' "$file" >>"$1/sources.list"
    done
    for file in /etc/apt/sources.list.d/*.sources; do
        [ -f "$file" ] || continue
        grep -Eq '^URIs:.*/(debian|debian-security|ubuntu)/?$' "$file" || continue
        sed -E 's/^Types:.*/Types: deb-src/' "$file" >"$1/sources.list.d/$(basename "$file")"
    done
    sort -u -o "$1/sources.list" "$1/sources.list"
}

# Downloads and unpacks the source package once; prints nothing, fails when it cannot be had.
suite_fetch() {
    local apt="$CACHE/apt" out="$CACHE/suite"
    [ -f "$out/.unpacked" ] && return 0
    rm -rf "$apt" "$out" "$out.tmp"
    mkdir -p "$apt/state/lists/partial" "$apt/cache/archives/partial" "$out.tmp"
    suite_sources "$apt"
    local options=(
        -o "Dir::Etc::SourceList=$apt/sources.list" -o "Dir::Etc::SourceParts=$apt/sources.list.d"
        -o "Dir::State=$apt/state" -o "Dir::State::status=/var/lib/dpkg/status"
        -o "Dir::Cache=$apt/cache" -o "APT::Sandbox::User=$(id -un)"
        -o "Acquire::Languages=none" -o "APT::Update::Post-Invoke-Success="
    )
    apt-get "${options[@]}" -qq update || return 1
    local version
    version=$(apt-cache "${options[@]}" showsrc redis 2>/dev/null |
        sed -nE 's/^Version: (.*:7\.0\..*)$/\1/p' | sort -V | tail -1)
    [ -n "$version" ] || { say "no source package redis 7.0 in this machine's sources"; return 1; }
    (cd "$out.tmp" && apt-get "${options[@]}" -qq source --download-only "redis=$version") || return 1
    mkdir "$out.tmp/redis"
    tar -xf "$out.tmp"/redis_*.orig.tar.gz -C "$out.tmp/redis" --strip-components=1 || return 1
    rm -rf "$out"
    mv "$out.tmp" "$out"
    touch "$out/.unpacked"
}
