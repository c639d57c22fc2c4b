use baseline::DriftKind;
use proptest::prelude::*;

use super::*;

/// Of a drift on this port. Its texts are of somebody's choice.
fn alert(drift: &str, port: &str, summary: &str, page: &str) -> Alert {
    Alert {
        drift: drift.to_owned(),
        host: "web-1".to_owned(),
        kind: DriftKind::Unapproved,
        severity: Severity::Warning,
        protocol: "tcp".to_owned(),
        address: "*".to_owned(),
        port: port.to_owned(),
        program: "/opt/nc".to_owned(),
        user: "root".to_owned(),
        workload: String::new(),
        netns: "host".to_owned(),
        reach: "public".to_owned(),
        team: String::new(),
        summary: summary.to_owned(),
        started_by: Some("bash 7".to_owned()),
        approval: None,
        differs: vec!["no approval covers it".to_owned()],
        first_seen: std::time::SystemTime::UNIX_EPOCH.into(),
        gone_since: Some(crate::fixtures::now().into()),
        remedy_by: None,
        page: page.to_owned(),
    }
}

proptest! {
    /// Whatever a file says.
    #[test]
    fn it_is_written_and_read_as_the_alert(
        drift in "(s1-)?[a1]{0,2}",
        port in "many|kernel|[0+]?[0-9]{0,6}",
        summary in "[:1é]{0,6}",
        page in "[as1/é-]{0,6}",
    ) {
        let alert = alert(&drift, &port, &summary, &page);
        let packed = InCommon::default().pack(alert.clone());
        prop_assert_eq!(packed.alert(), alert.clone());
        prop_assert_eq!(packed.summary(), summary);
        let written = serde_json::to_string(&alert).unwrap();
        prop_assert_eq!(serde_json::to_string(&packed).unwrap(), written.as_str());
        prop_assert_eq!(serde_json::from_str::<Packed>(&written).unwrap(), packed);
    }
}

#[test]
fn those_that_differ_in_port_alone_have_all_else_once() {
    let crowd = (8000..8020).map(|port| {
        let (id, summary) = (format!("s1-{port}"), format!("web-1: unapproved tcp/*:{port}, nc as root"));
        alert(&id, &port.to_string(), &summary, &format!("/drift/{id}"))
    });
    let mut in_common = InCommon::default();
    let packed: Vec<Packed> = crowd.clone().map(|alert| in_common.pack(alert)).collect();
    assert_eq!(in_common.0.len(), 1);
    assert!(packed.iter().zip(crowd).all(|(packed, alert)| packed.alert() == alert));
    let mut read: Packed = serde_json::from_str(&serde_json::to_string(&packed[0]).unwrap()).unwrap();
    in_common.share(&mut read);
    assert!(Arc::ptr_eq(&read.common, &packed[1].common));
}
