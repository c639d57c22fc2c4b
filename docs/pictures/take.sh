#!/usr/bin/env bash
# Takes the pictures beside it, from a real run: a host of its own with a listener that nobody approved, a real Alertmanager that
# sends mail, a real desktop, a real Nagios. As root; it wants what apt has as prometheus-alertmanager, xvfb, dunst, dbus,
# imagemagick, nagios4, chromium.
#
#   docs/pictures/take.sh target/release/portledger
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
if [ -z "${INSIDE:-}" ]; then
    portledger=$(realpath "${1:?which portledger}")
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    # Everything that is started in it ends with it.
    INSIDE=$work PORTLEDGER=$portledger unshare --mount --uts --net --pid --fork --kill-child --mount-proc "${BASH_SOURCE[0]}"
    cp "$work"/*.png "$here"
    exit
fi
cd "$INSIDE"
chmod 755 .

export PATH=/usr/sbin:/usr/bin:/sbin:/bin
hostname web-17
mount -t tmpfs none /opt
chmod 755 /opt
cp "$PORTLEDGER" /opt/portledger
PORTLEDGER=/opt/portledger
ip link set lo up
ip link add eth0 type veth peer name wire0
ip link set wire0 up
ip address add 203.0.113.10/24 dev eth0
ip link set eth0 up
mount -t tmpfs none /run
mkdir -p state home
chown 65534:65534 home

until_there() { # what, command: at most a minute
    for _ in $(seq 600); do if eval "$2" >/dev/null 2>&1; then return; fi; sleep 0.1; done
    echo "not within a minute: $1" >&2
    exit 1
}
shoot() { # size, page, picture
    HOME=$PWD/home chromium --headless --no-sandbox --disable-gpu --hide-scrollbars --window-size="$1" \
        --screenshot="$PWD/$3.png" "$2" >>chromium.log 2>&1
}

# The host, and what it approved.
cat >portledger.toml <<'TOML'
host = "web-17"
alerting = "post"
[[alertmanager]]
name = "alertmanager"
url = "http://127.0.0.1:9093"
TOML
flags=(--config portledger.toml --baseline baseline.toml --state state)
# Mail, as a phone shows it: what Alertmanager sends by the template that comes with it.
cat >mail.py <<'PYTHON'
import email, email.policy, socketserver
class Mail(socketserver.StreamRequestHandler):
    def handle(self):
        say = lambda line: self.wfile.write(line + b"\r\n")
        say(b"220 mail")
        for line in self.rfile:
            if line.strip().upper() == b"DATA":
                say(b"354 go on")
                whole = b"".join(iter(self.rfile.readline, b".\r\n"))
                message = email.message_from_bytes(whole, policy=email.policy.default)
                body = message.get_body(("html",)).get_content()
                open("mail.html", "w").write(f"<h3>{message['subject']}</h3>" + body)
            if line.strip().upper() == b"QUIT":
                say(b"221 bye")
                return
            say(b"250 ok")
socketserver.TCPServer.allow_reuse_address = True
socketserver.TCPServer(("127.0.0.1", 2525), Mail).serve_forever()
PYTHON
python3 mail.py &
cat >alertmanager.yml <<'YAML'
global: {smtp_smarthost: "127.0.0.1:2525", smtp_from: alerts@example.org, smtp_require_tls: false, smtp_hello: mail}
route: {receiver: on-call, group_by: [alertname, drift], group_wait: 1s}
receivers:
  - name: on-call
    email_configs: [{to: on-call@example.org, headers: {Subject: '{{ .CommonAnnotations.summary }}'}}]
YAML
prometheus-alertmanager --config.file=alertmanager.yml --storage.path=am --web.listen-address=127.0.0.1:9093 \
    --cluster.listen-address= >alertmanager.log 2>&1 &
until_there Alertmanager "curl -fs 127.0.0.1:9093/-/ready"

"$PORTLEDGER" serve "${flags[@]}" --web.listen-address 127.0.0.1:10433 \
    --web.external-url http://127.0.0.1:10433 >serve.log 2>&1 &
until_there "the daemon" "curl -fs 127.0.0.1:10433/-/ready"
# A desktop.
Xvfb :7 -screen 0 640x400x24 -nolisten tcp >xvfb.log 2>&1 &
export DISPLAY=:7
cat >dunstrc <<'DUNST'
[global]
font = DejaVu Sans 11
width = (520, 600)
offset = 20x20
notification_limit = 5
padding = 12
frame_width = 2
DUNST
until_there "a display" "xdpyinfo"
dbus-daemon --session --print-address=3 --fork 3>bus
export DBUS_SESSION_BUS_ADDRESS=$(cat bus)
dunst -conf dunstrc >dunst.log 2>&1 &
until_there dunst "dunstctl count"
"$PORTLEDGER" notify >notify.log 2>&1 &

# Nagios.
mkdir -p nagios
chown 65534:65534 nagios
cat >nagios/nagios.cfg <<CFG
log_file=$PWD/nagios/nagios.log
cfg_file=$PWD/nagios/objects.cfg
object_cache_file=$PWD/nagios/objects.cache
precached_object_file=$PWD/nagios/objects.precache
status_file=$PWD/nagios/status.dat
status_update_interval=1
check_external_commands=0
command_file=$PWD/nagios/nagios.cmd
lock_file=$PWD/nagios/nagios.pid
query_socket=$PWD/nagios/nagios.qh
temp_file=$PWD/nagios/nagios.tmp
temp_path=$PWD/nagios
check_result_path=$PWD/nagios
state_retention_file=$PWD/nagios/retention.dat
log_archive_path=$PWD/nagios
use_syslog=0
interval_length=1
check_for_updates=0
enable_notifications=0
execute_host_checks=0
CFG
cat >nagios/objects.cfg <<CFG
define contact {
 contact_name nagiosadmin
 host_notifications_enabled 0
 service_notifications_enabled 0
 host_notification_period always
 service_notification_period always
 host_notification_commands portledger
 service_notification_commands portledger
}
define timeperiod {
 timeperiod_name always
 alias always
 sunday 00:00-24:00
 monday 00:00-24:00
 tuesday 00:00-24:00
 wednesday 00:00-24:00
 thursday 00:00-24:00
 friday 00:00-24:00
 saturday 00:00-24:00
}
define command {
 command_name portledger
 command_line $PORTLEDGER check
}
define host {
 host_name web-17
 address 127.0.0.1
 max_check_attempts 1
 check_period always
 contacts nagiosadmin
 notification_period always
 check_command portledger
}
define service {
 host_name web-17
 service_description Listeners
 check_command portledger
 contacts nagiosadmin
 notification_period always
 max_check_attempts 1
 check_interval 1
 retry_interval 1
 check_period always
}
CFG
setpriv --reuid 65534 --regid 65534 --clear-groups -- nagios4 nagios/nagios.cfg >nagios.log 2>&1 &
cat >cgi.cfg <<CFG
main_config_file=$PWD/nagios/nagios.cfg
physical_html_path=/usr/share/nagios4/htdocs
url_html_path=/
use_authentication=0
CFG

# What listens by now is approved.
setpriv --reuid www-data --regid www-data --clear-groups -- \
    sh -c 'cd /; exec busybox httpd -f -p 0.0.0.0:8000' >/dev/null 2>&1 &
until_there "a web server" "curl -s 127.0.0.1:8000"
"$PORTLEDGER" learn "${flags[@]}" >/dev/null 2>&1
ssh-keygen -q -t ed25519 -N '' -C alice -f key
echo "alice@example.org namespaces=\"approval@portledger\" $(cat key.pub)" >allowed_signers
"$PORTLEDGER" approve $(grep -B9 8000 baseline.toml | sed -n 's/^id = "\(.*\)"/\1/p' | tail -n 1) \
    --reason "pages of the intranet" --ticket OPS-17 --key key "${flags[@]}" >approve.log 2>&1 || cat approve.log
until_there "no drift" "$PORTLEDGER check --socket /run/portledger/api.sock"

# A web server's user starts what nobody approved.
setpriv --reuid www-data --regid www-data --clear-groups -- \
    bash -c 'cd /; /usr/bin/python3 -m http.server 8443 --bind 0.0.0.0 >/dev/null 2>&1; :' &
until_there "drift" "! $PORTLEDGER check --socket /run/portledger/api.sock"
drift=$(curl -s 127.0.0.1:10433/api/v1/drift | python3 -c 'import json,sys; print(json.load(sys.stdin)["drifts"][0]["id"])')

until_there mail "test -s mail.html"
sed -i '1i <meta name="viewport" content="width=device-width"><style>body{font-family:sans-serif}</style>' mail.html
shoot 412,1000 "file://$PWD/mail.html" alert-on-a-phone
shoot 412,1100 "http://127.0.0.1:10433/drift/$drift" page-of-a-drift
until_there "a notification" "dunstctl count displayed | grep -q 1"
sleep 1
import -window root desktop.png
until_there Nagios "grep -q 'plugin_output=.*CRITICAL' nagios/status.dat"
mkdir -p html
ln -s /usr/share/nagios4/htdocs/images /etc/nagios4/stylesheets html/
NAGIOS_CGI_CONFIG=$PWD/cgi.cfg REQUEST_METHOD=GET REMOTE_USER=nagiosadmin \
    QUERY_STRING='type=2&host=web-17&service=Listeners' /usr/lib/cgi-bin/nagios4/extinfo.cgi | sed '1,/^\r*$/d' >html/extinfo.html
(cd html && exec python3 -m http.server 8080 --bind 127.0.0.1 >/dev/null 2>&1) &
until_there "its page" "curl -fs 127.0.0.1:8080/extinfo.html"
shoot 1000,700 http://127.0.0.1:8080/extinfo.html nagios
if "$PORTLEDGER" report --help >/dev/null 2>&1; then
    "$PORTLEDGER" report "${flags[@]}" --format html >report.html || true
    shoot 900,1100 "file://$PWD/report.html" report
fi
ls -la ./*.png
