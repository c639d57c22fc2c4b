use proptest::prelude::{Strategy, prop_assert, proptest};

use super::Redaction;

fn shown(redaction: &Redaction, arguments: &[&str]) -> Vec<String> {
    let arguments: Vec<&[u8]> = arguments.iter().map(|argument| argument.as_bytes()).collect();
    let shown = redaction.redact(&arguments);
    shown.into_iter().map(|argument| String::from_utf8(argument).unwrap()).collect()
}

#[test]
fn hides_secrets_and_nothing_else() {
    // Arguments are parted by `|`.
    let cases = [
        ("app|--password=hunter2|--port|80", "app|--password=[redacted]|--port|80"),
        ("app|--password|hunter2|--port|80", "app|--password|[redacted]|--port|80"),
        ("app|-password|hunter2", "app|-password|[redacted]"),
        ("app|--password-file=/etc/secret", "app|--password-file=/etc/secret"),
        ("app|--no-password|-v", "app|--no-password|-v"),
        ("app|--db.password=my secret", "app|--db.password=[redacted]"),
        (
            "java|-Djavax.net.ssl.keyStorePassword=x y|-jar|a.jar",
            "java|-Djavax.net.ssl.keyStorePassword=[redacted]|-jar|a.jar",
        ),
        ("env|TOKEN=abc|AWS_SECRET=def|PATH=/bin", "env|TOKEN=[redacted]|AWS_SECRET=[redacted]|PATH=/bin"),
        ("app|--api-key|abc", "app|--api-key|[redacted]"),
        ("app|--set=db.password=abc", "app|--set=db.password=[redacted]"),
        ("app|PASSWORD=", "app|PASSWORD="),
        ("app|{\"password\": \"a b\"}", "app|{\"password\":[redacted]"),
        ("curl|-H|Authorization: Bearer abc.def|http://h/", "curl|-H|Authorization:[redacted]|http://h/"),
        ("curl|-H|X-Api-Key: abc", "curl|-H|X-Api-Key:[redacted]"),
        ("curl|-H|Authorization:|Bearer|abc", "curl|-H|Authorization:|[redacted]|[redacted]"),
        ("curl|-u|bob:hunter2", "curl|-u|bob:[redacted]"),
        ("curl|-ubob:hunter2", "curl|-ubob:[redacted]"),
        ("curl|--user=bob:hunter2", "curl|--user=bob:[redacted]"),
        ("curl|--user-agent|x:y", "curl|--user-agent|x:y"),
        ("/usr/bin/mysqldump|-phunter2|-P3306|db", "/usr/bin/mysqldump|-p[redacted]|-P3306|db"),
        ("mysql|-p|db", "mysql|-p|db"),
        ("nginx|-p/etc/nginx", "nginx|-p/etc/nginx"),
        ("sshpass|-p|hunter2|ssh|h", "sshpass|-p|[redacted]|ssh|h"),
        ("redis-cli|-a|hunter2", "redis-cli|-a|[redacted]"),
        ("redis-server *:6379|--requirepass|hunter2", "redis-server *:6379|--requirepass|[redacted]"),
        ("app|postgres://u:p@h:5432/db?sslmode=off", "app|postgres://u:[redacted]@h:5432/db?sslmode=off"),
        (
            "app|--url=amqp://u:p/w@h/a,amqp://v:q@i",
            "app|--url=amqp://u:[redacted]@h/a,amqp://v:[redacted]@i",
        ),
        ("app|http://h:80/a@b", "app|http://h:80/a@b"),
        ("app|https://u:p://q@h/path", "app|https://u:[redacted]@h/path"),
        ("app|https://u:p@q://r@h/path", "app|https://u:[redacted]@h/path"),
        ("app|redis://h:1,redis://u:p@i:2", "app|redis://h:1,redis://u:[redacted]@i:2"),
        ("app|http://h/a:b@c", "app|http://h/a:b@c"),
        ("app|http://h/?token=abc", "app|http://h/?token=[redacted]"),
        ("sh|-c|mysql --password hunter2 -h x", "sh|-c|mysql --password [redacted]"),
        ("sh|-c|curl -H 'x: Bearer abc'", "sh|-c|curl -H 'x: Bearer [redacted]"),
        (
            "nginx: master process /usr/sbin/nginx -g daemon on;",
            "nginx: master process /usr/sbin/nginx -g daemon on;",
        ),
        ("app --password hunter2 --port 80", "app --password [redacted] --port 80"),
        ("app --password='a b' --port 80", "app --password=[redacted] --port 80"),
        (
            "app -H Authorization: Basic abc= --port 80",
            "app -H Authorization: [redacted] [redacted] --port 80",
        ),
        ("app  two  blanks ", "app  two  blanks "),
    ];
    for (line, expected) in cases {
        let arguments: Vec<&str> = line.split('|').collect();
        assert_eq!(shown(&Redaction::default(), &arguments).join("|"), expected);
    }
}

#[test]
fn follows_names_from_the_configuration() {
    let redaction = Redaction::with_names(["--pin", "VAULT_UNSEAL"]);
    let arguments = ["app", "--pin", "1234", "-pin=1", "vault.unseal=2", "--pink", "3"];
    let expected =
        ["app", "--pin", "[redacted]", "-pin=[redacted]", "vault.unseal=[redacted]", "--pink", "3"];
    assert_eq!(shown(&redaction, &arguments), expected);
}

/// How a secret may stand in a command line: `%` is where.
const FORMS: &[&[&str]] = &[
    &["app", "--password=%"],
    &["app", "--password", "%"],
    &["app", "DB_PASSWORD=%"],
    &["app", "x=1,client_secret=%"],
    &["app", "--pin", "%"],
    &["app", "-H", "authorization: bearer %"],
    &["app", "-H", "Authorization:", "Bearer", "%"],
    &["app", "https://user:%@host/path"],
    &["app", "--dsn=postgres://user:%@host:5432/db"],
    &["mysql", "-p%"],
    &["sshpass", "-p", "%"],
    &["curl", "--user", "bob:%"],
    &["sh", "-c", "exec app --token % --port 80"],
    &["app --port 80 --token %"],
    &["app --port 80 API_KEY=% --verbose"],
    &["app x://u:%@h --verbose"],
];

fn form() -> impl Strategy<Value = &'static [&'static str]> {
    proptest::sample::select(FORMS)
}

proptest! {
    #[test]
    fn never_shows_a_secret(form in form(), before in "[a-z]{0,5}", secret in "S3[A-Za-z0-9_.:/=@%~+-]{6,20}Z") {
        let redaction = Redaction::with_names(["--pin"]);
        let arguments: Vec<String> = form.iter().map(|argument| argument.replace('%', &secret)).collect();
        let mut arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        if arguments.len() > 1 {
            arguments.insert(1, &before);
        }
        let shown = shown(&redaction, &arguments).join(" ");
        prop_assert!(!shown.contains(&secret), "{shown}");
        // Neither a good part of it.
        prop_assert!(!shown.contains(&secret[..6]), "{shown}");
    }

    #[test]
    fn takes_any_bytes(arguments in proptest::collection::vec(proptest::collection::vec(0_u8.., 0..40), 0..6)) {
        let arguments: Vec<&[u8]> = arguments.iter().map(Vec::as_slice).collect();
        let shown = Redaction::default().redact(&arguments);
        prop_assert!(shown.len() == arguments.len());
    }
}
