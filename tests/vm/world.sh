# shellcheck shell=dash
# The guest's listeners, and what asks for them.

# Every listener that lasts, by port: in the guest's own namespace, then in namespaces of their own.
export HERE="7001 7002 7003 7004 7005 7006 7007 7008 7009"
export ELSEWHERE="7010 7011"
export MPTCP=7012

make_world() {
    listen 7001 TCP4-LISTEN:7001,bind=127.0.0.1
    listen 7002 TCP4-LISTEN:7002
    listen 7003 'TCP6-LISTEN:7003,bind=[::1]'
    listen 7004 TCP6-LISTEN:7004,ipv6only=1
    listen 7005 TCP6-LISTEN:7005,ipv6only=0
    listen 7006 UDP4-RECV:7006
    listen 7007 'UDP6-RECV:7007,bind=[::1]'
    listen 7008 TCP4-LISTEN:7008,reuseport
    listen 7008 TCP4-LISTEN:7008,reuseport
    listen 7009 TCP4-LISTEN:7009,so-bindtodevice=lo
    listen 7010 TCP4-LISTEN:7010 unshare -n
    listen 7011 UDP4-RECV:7011 unshare -n
    # socat has no word for MPTCP: IPv4, protocol 262, and a port in network order before an address of zeros.
    listen "$MPTCP" "SOCKET-LISTEN:2:262:x$(printf %04x "$MPTCP")000000000000000000000000"
}

# listen PORT ADDRESS [WRAPPER...]: ADDRESS is socat's word for it. In the background; returns once the port is bound.
listen() {
    port=$1
    address=$2
    shift 2
    "$@" socat -u "$address" OPEN:/dev/null 2>>/tmp/socat.log &
    until_true bound $! "$port" || { echo "nothing listens on $port: $(cat /tmp/socat.log)"; return 1; }
}

# Asked of /proc, for ss would load the modules that the first check wants unloaded.
bound() {
    for table in tcp tcp6 udp udp6; do
        ! grep -q ":$(printf %04X "$2") " "/proc/$1/net/$table" 2>/dev/null || return 0
    done
    return 1
}

# until_true COMMAND...: tries it for a minute.
until_true() {
    tries=0
    until "$@"; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] || return 1
        usleep 200000
    done
}

# The inventory; the table of gaps that `list` also prints goes to its standard error.
json() {
    portledger list --format json 2>/dev/null
}

# rows FILTER: those listeners that jq's FILTER takes, as `protocol address port pid`, a row for each holder.
rows() {
    json | jq -r ".listeners[] | select($1) | \"\\(.protocol) \\(.address) \\(.port) \\(.holders[].pid // \"-\")\"" | sort -u
}

# ss's rows of its own namespace, in the same form.
ss_rows() {
    ss -tulpnH | awk '{
        port = $5; sub(/.*:/, "", port)
        address = $5; sub(/:[^:]*$/, "", address); sub(/%.*/, "", address); gsub(/[][]/, "", address)
        if (address == "*") address = "::"
        rest = $0; held = 0
        while (match(rest, /pid=[0-9]+/)) {
            print $1, address, port, substr(rest, RSTART + 4, RLENGTH - 4)
            rest = substr(rest, RSTART + RLENGTH); held = 1
        }
        if (!held) print $1, address, port, "-"
    }' | sort -u
}

# serve_up [THROUGH...]: the daemon, in the background until the check ends; returns once its first inventory has arrived.
serve_up() {
    "$@" portledger serve >/tmp/serve.log 2>&1 &
    serve=$!
    trap serve_down EXIT
    until_true serves_or_is_gone
    kill -0 "$serve"
}

serves_or_is_gone() {
    ! kill -0 "$serve" || metric '^portledger_listeners{.* [1-9]' >/dev/null
}

serve_down() {
    kill "$serve" || true
    wait "$serve" || true
    grep -v ' opened: ' /tmp/serve.log || true
}

# metric PATTERN: the lines of a fresh scrape.
metric() {
    wget -qO - http://127.0.0.1:10433/metrics 2>/dev/null | grep -E "$1"
}
