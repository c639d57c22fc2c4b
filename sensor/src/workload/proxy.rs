use std::net::IpAddr;

use inventory::{Endpoint, Holder, Program, ProgramFile, Protocol, RawText};

/// What a docker-proxy forwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Published {
    /// Where the host listens.
    pub host: Endpoint,
    /// Where to, inside the container: never bound to a device.
    pub container: Endpoint,
}

/// Read from the arguments of a docker-proxy. Only root's is believed, and only where it is the host's own program.
pub(crate) fn published_by(holder: &Holder) -> Option<Published> {
    let is_proxy = |program: &Program| {
        program.file == ProgramFile::Host && program.path.as_bytes().ends_with(b"/docker-proxy")
    };
    if holder.uid != 0 || !holder.program.as_ref().is_some_and(is_proxy) {
        return None;
    }
    parse(&holder.arguments)
}

fn parse(arguments: &[RawText]) -> Option<Published> {
    let value = |option: &str| value_of(arguments, option);
    let protocol: Protocol = value("proto")?.parse().ok()?;
    let endpoint = |address: &str, port: &str| {
        let address: IpAddr = value(address)?.parse().ok()?;
        Some(Endpoint { protocol, address, port: value(port)?.parse().ok()?, device: None })
    };
    Some(Published {
        host: endpoint("host-ip", "host-port")?,
        container: endpoint("container-ip", "container-port")?,
    })
}

/// Go's flag package takes `-name value`, `-name=value` and both with two dashes.
fn value_of<'a>(arguments: &'a [RawText], option: &str) -> Option<&'a str> {
    let texts: Vec<&str> =
        arguments.iter().map(|argument| std::str::from_utf8(argument.as_bytes()).unwrap_or("")).collect();
    texts.iter().enumerate().find_map(|(at, text)| {
        let name = text.strip_prefix("--").or_else(|| text.strip_prefix('-'))?;
        match name.split_once('=') {
            Some((name, value)) => (name == option).then_some(value),
            None if name == option => texts.get(at + 1).copied(),
            None => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use inventory::{Holder, ProcessId, Program, ProgramFile, RawText, Workload};

    use super::published_by;

    fn proxy(line: &str) -> Holder {
        Holder {
            id: ProcessId { pid: 7, start_ticks: 1 },
            started_at: SystemTime::UNIX_EPOCH,
            program: Some(Program {
                path: RawText::from("/usr/bin/docker-proxy"),
                file: ProgramFile::Host,
                sha256: None,
            }),
            name: RawText::from("docker-proxy"),
            arguments: line.split(' ').map(RawText::from).collect(),
            uid: 0,
            workload: Workload::None,
            parents: Vec::new(),
        }
    }

    const LINE: &str = "/usr/bin/docker-proxy -proto tcp -host-ip 0.0.0.0 -host-port 8080 \
                        -container-ip 172.17.0.2 -container-port 80 -use-listen-fd";

    #[test]
    fn ties_the_port_of_the_host_to_that_of_the_container() {
        let published = published_by(&proxy(LINE)).unwrap();
        assert_eq!(published.host.to_string(), "tcp/0.0.0.0:8080");
        assert_eq!(published.container.to_string(), "tcp/172.17.0.2:80");
        let six =
            "docker-proxy --proto=udp --host-ip=:: --host-port=53 --container-ip=fd00::2 --container-port=53";
        assert_eq!(published_by(&proxy(six)).unwrap().host.to_string(), "udp/[::]:53");
    }

    #[test]
    fn believes_neither_another_user_nor_another_program() {
        let user = Holder { uid: 1000, ..proxy(LINE) };
        assert_eq!(published_by(&user), None);
        for (path, file) in [
            ("/usr/bin/docker-proxy", ProgramFile::Foreign),
            ("/usr/bin/docker-proxy", ProgramFile::Deleted { replaced: false }),
            ("/home/u/notdocker-proxy", ProgramFile::Host),
        ] {
            let mut holder = proxy(LINE);
            holder.program = Some(Program { path: RawText::from(path), file, sha256: None });
            assert_eq!(published_by(&holder), None, "{path} {file:?}");
        }
    }

    #[test]
    fn says_nothing_where_an_argument_is_missing_or_odd() {
        for line in ["docker-proxy", "docker-proxy -proto tcp -host-ip", &LINE.replace("8080", "80800")] {
            assert_eq!(published_by(&proxy(line)), None, "{line}");
        }
    }
}
