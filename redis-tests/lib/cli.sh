# Part cli: sessions of redis-cli, each a file redis-tests/cli/NAME.txt on a server of its own.
#
# A session is a list of blocks, an empty line between them:
#
#   shell lines, with the helpers below
#   ----
#   what they print, line for line; `~ REGEX` stands for one matching line, `.` for an empty line

# Helpers for the sessions: redis-cli with types shown, as raw text, and in RESP3.
cli() { redis-cli --no-raw -p "$PORT" "$@"; }
raw() { redis-cli -p "$PORT" "$@"; }
cli3() { redis-cli -3 --no-raw -p "$PORT" "$@"; }

# Sends $1 (printf escapes) over a plain socket and prints what comes back until the end of the
# stream or half a second of silence; \r is left out.
wire() {
    local line fd
    exec {fd}<>"/dev/tcp/127.0.0.1/$PORT"
    # shellcheck disable=SC2059  # the argument is a format, its escapes are the point
    printf "$1" >&"$fd"
    while IFS= read -r -t 0.5 -u "$fd" line; do printf '%s\n' "${line%$'\r'}"; done
    exec {fd}>&-
}

# Ends the session's server by signal $1 and starts it again with the same data and port.
again() {
    stop_server "$1" 2>/dev/null
    PORT_WANTED=$PORT start_server "$SESSION_DIR" "${SESSION_SETTINGS[@]}"
}

# Compares the output in file $1 with the expected lines in file $2.
cli_matches() {
    local -a got want
    local i
    mapfile -t got <"$1"
    mapfile -t want <"$2"
    [ "${#got[@]}" = "${#want[@]}" ] || return 1
    for i in "${!want[@]}"; do
        case ${want[i]} in
        '~ '*) [[ ${got[i]} =~ ^(${want[i]#\~ })$ ]] || return 1 ;;
        .) [ -z "${got[i]}" ] || return 1 ;;
        *) [ "${got[i]}" = "${want[i]}" ] || return 1 ;;
        esac
    done
}

# Runs one block; $1 names it, $2 are its shell lines, $3 what it should print.
cli_block() {
    printf '%s' "$3" >"$WORK/want"
    eval "$2" >"$WORK/got" 2>&1 </dev/null
    if cli_matches "$WORK/got" "$WORK/want"; then
        pass
    else
        fail "$1: ${2%$'\n'}"
        diff "$WORK/want" "$WORK/got" | sed 's/^/    /' | head -20
    fi
}

cli_session() {
    local file=$1 line lines='' want='' in_want='' number=0 start=0
    SESSION_DIR=$WORK/cli-$(basename "$file" .txt)
    SESSION_SETTINGS=(--appendonly yes --appendfsync always --enable-debug-command yes)
    start_server "$SESSION_DIR" "${SESSION_SETTINGS[@]}" || return
    while IFS= read -r line || [ -n "$line" ]; do
        number=$((number + 1))
        if [ -z "$line" ]; then
            if [ -n "$in_want" ]; then cli_block "$(basename "$file"):$start" "$lines" "$want"; fi
            lines='' want='' in_want=''
        elif [ "$line" = ---- ]; then
            in_want=yes
        elif [ -n "$in_want" ]; then
            want+=$line$'\n'
        elif [ "${line:0:1}" != '#' ]; then
            if [ -z "$lines" ]; then start=$number; fi
            lines+=$line$'\n'
        fi
    done < <(cat "$file" && echo)
    stop_server || fail "$(basename "$file"): the server ends with status $?"
}

part_cli() {
    local file
    for file in "$ROOT"/redis-tests/cli/*.txt; do cli_session "$file"; done
    part_end cli
}
