# The recipes that people run are the ones that CI runs.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.PHONY: test lint bench vm fuzz deb package sbom reproducible peers format clippy object bpf rules mixin unit

# What the tests run against, and the program by which each is known to be there.
PEERS := ss:iproute2 promtool:prometheus prometheus-alertmanager:prometheus-alertmanager \
	prometheus-node-exporter:prometheus-node-exporter nginx:nginx-light curl:curl \
	redis-server:redis-server sshd:openssh-server podman:podman runc:runc busybox:busybox-static \
	python3:python3 setpriv:util-linux bpftool:bpftool ssh-keygen:openssh-client openssl:openssl \
	rsyslogd:rsyslog journalctl:systemd strace:strace slowhttptest:slowhttptest faketime:faketime jsonnet:jsonnet \
	Xvfb:xvfb dunst:dunst dbus-run-session:dbus-daemon dbus-send:dbus-bin \
	nagios4:nagios4-core nrpe:nagios-nrpe-server check_nrpe:nagios-nrpe-plugin pandora_agent:pandorafms-agent \
	centreon_plugins.pl:centreon-plugins
BENCH_PEERS := ss:iproute2 lsof:lsof netstat:net-tools
PACKAGE_PEERS := debootstrap:debootstrap systemd-nspawn:systemd-container
VM_PEERS := qemu-system-x86_64:qemu-system-x86 cpio:cpio busybox:busybox-static ss:iproute2 socat:socat jq:jq bpftool:bpftool

# Everything. Without root it runs what needs none; each test that is skipped names itself and why.
test: peers format clippy object rules unit

# Installs what is missing, as root only. Nothing is started by it where systemd does not run; where it runs, Debian
# starts what it installs: install the packages beforehand if that is not wanted.
peers:
	@$(call install,$(PEERS))

format:
	cargo fmt --all --check
	cargo fmt --manifest-path bench/Cargo.toml --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check

clippy:
	cargo clippy --workspace --all-targets --locked -- -D warnings

# The objects stand beside their sources, so that nobody needs clang to build. Other releases of clang give other bytes.
bpf:
	sensor/bpf/build.sh sensor/bpf

object:
	@if ! command -v clang >/dev/null; then echo "SKIP sensor/bpf: no clang (packages clang, llvm, libbpf-dev)"; \
	elif ! clang --version | grep -q "version $$(cat sensor/bpf/clang-version)"; then \
		echo "SKIP sensor/bpf: its objects were made by clang $$(cat sensor/bpf/clang-version)"; \
	elif ! [ -e /usr/include/bpf/bpf_helpers.h ]; then echo "SKIP sensor/bpf: no libbpf (package libbpf-dev)"; \
	else built=$$(mktemp -d); trap 'rm -r "$$built"' EXIT; sensor/bpf/build.sh "$$built"; \
		for object in sensor/bpf/*.bpf.o; do cmp "$$built/$${object##*/}" "$$object" || \
			{ echo "$$object is not what its source gives: make bpf"; exit 1; }; done; fi

rules:
	@if command -v promtool >/dev/null; then \
		promtool check rules monitoring/rules/*.yml && \
		promtool test rules monitoring/tests/*.yml && \
		monitoring/tests/fleet.sh; \
	else echo "SKIP rules: no promtool (package prometheus)"; fi
	@if command -v amtool >/dev/null; then amtool check-config monitoring/alertmanager.yml; \
	else echo "SKIP alertmanager.yml: no amtool (package prometheus-alertmanager)"; fi
	@if command -v jsonnet >/dev/null && command -v promtool >/dev/null; then monitoring/tests/mixin.sh; \
	else echo "SKIP mixin: no jsonnet or promtool (packages jsonnet, prometheus)"; fi
	@monitoring/tests/dashboard.sh

# The rules as JSON, for the mixin, stand beside the rules, so that nobody needs PyYAML (package python3-yaml) to use it.
mixin:
	monitoring/rules/json.sh monitoring/rules

# A skipped test prints a line that begins with SKIP; they are gathered at the end, where they are seen.
unit:
	@log=$$(mktemp); trap 'rm -f "$$log"' EXIT; \
	cargo test --workspace --locked -- --show-output 2>&1 | tee "$$log"; \
	skipped=$$(grep -aoE 'SKIP [^:]+: .*' "$$log" | sort -u || true); \
	if [ -n "$$skipped" ]; then printf '\nSkipped:\n%s\n' "$$skipped"; fi

# Licences, bans and sources need nothing but the lock file; the advisories need their database from the network.
lint: format clippy
	@command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
	cargo deny --locked check licenses bans sources
	@if cargo deny fetch db >/dev/null 2>&1; then cargo deny --locked check advisories; \
	else echo "SKIP advisories: the advisory database cannot be fetched from here"; fi

# BENCH=NAME measures something else, BENCH="--fds 500000" changes the load; see bench/README.md.
bench:
	@$(call install,$(BENCH_PEERS))
	cargo build --release --locked
	cargo build --release --locked --manifest-path bench/Cargo.toml
	cargo run --release --locked --quiet --manifest-path bench/Cargo.toml --bin compare -- \
		--portledger "$${CARGO_TARGET_DIR:-target}/release/portledger" $(BENCH)

# FUZZ="sensor_netlink baseline_files" names the targets, FUZZ_SECONDS how long each of them runs; see docs/fuzzing.md.
fuzz:
	@if ! cargo +nightly --version >/dev/null 2>&1; then \
		echo "SKIP fuzz: no nightly toolchain (rustup toolchain install nightly)"; \
	elif ! command -v cargo-fuzz >/dev/null; then \
		echo "SKIP fuzz: no cargo-fuzz (cargo install --locked cargo-fuzz)"; \
	else for target in $${FUZZ:-$$(cargo +nightly fuzz list)}; do \
		mkdir -p fuzz/found/$$target; \
		nice cargo +nightly fuzz run --sanitizer none $$target $(CURDIR)/fuzz/found/$$target $(CURDIR)/fuzz/corpus/$$target -- \
			-max_total_time=$${FUZZ_SECONDS:-60} -max_len=16384 -timeout=10 -rss_limit_mb=1024 -malloc_limit_mb=256 \
			-print_final_stats=1 </dev/null; \
	done; fi

# KERNELS="linux-image-amd64" names the kernels, PORTLEDGER=FILE a binary that is built already; see tests/vm/README.md.
vm:
	@$(call install,$(VM_PEERS))
	@if [ -z "$${PORTLEDGER:-}" ]; then cargo build --release --locked; fi
	@tests/vm/run.sh $(KERNELS)

# The Debian package, in target/debian.
deb:
	@command -v cargo-deb >/dev/null || cargo install --locked cargo-deb
	packaging/release.sh
	cargo deb --no-build --locked

# Installed, upgraded and removed where systemd runs: in a container of its own; see tests/package/README.md.
package: deb
	@$(call install,$(PACKAGE_PEERS))
	@tests/package/run.sh "$$(ls -t "$${CARGO_TARGET_DIR:-target}"/debian/portledger_*.deb | head -n 1)"

# What the binary is made of, as CycloneDX: target/portledger.cdx.json.
sbom:
	@command -v cargo-cyclonedx >/dev/null || cargo install --locked cargo-cyclonedx
	cargo cyclonedx --quiet --format json --describe binaries --no-build-deps --target x86_64-unknown-linux-gnu
	@mkdir -p "$${CARGO_TARGET_DIR:-target}"
	mv portledger_bin.cdx.json "$${CARGO_TARGET_DIR:-target}/portledger.cdx.json"

# Two builds of the same sources are the same bytes.
reproducible:
	packaging/reproducible.sh

define install
missing=(); for peer in $(1); do \
	PATH=$$PATH:/usr/sbin:/sbin:/usr/lib/nagios/plugins command -v $${peer%%:*} >/dev/null || missing+=($${peer##*:}); done; \
if [ $${#missing[@]} -eq 0 ]; then :; \
elif [ $$(id -u) -ne 0 ]; then echo "Not root, so not installed: $${missing[*]}"; \
else export DEBIAN_FRONTEND=noninteractive; apt-get update -qq && \
	apt-get install -y -qq --no-install-recommends "$${missing[@]}" </dev/null; fi
endef
