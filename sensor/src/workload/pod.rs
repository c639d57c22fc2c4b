use inventory::RawText;

/// The letters of which Kubernetes makes names at random: `SafeEncodeString` of k8s.io/apimachinery, without vowels so
/// that no words come out.
const RANDOM: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// A container as Kubernetes names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PodContainer<'a> {
    pub(super) namespace: &'a str,
    pub(super) pod: &'a str,
    pub(super) container: &'a str,
}

impl PodContainer<'_> {
    pub(super) fn stable_name(&self) -> RawText {
        let PodContainer { namespace, pod, container } = self;
        RawText::from(format!("{namespace}/{}/{container}", workload_of(pod)).as_str())
    }

    pub(super) fn service(&self) -> RawText {
        RawText::from(format!("{}/{}", self.namespace, workload_of(self.pod)).as_str())
    }
}

/// What made the pod: `web` of `web-7d4b9c6f5d-x2x9z` (Deployment), of `web-x2x9z` (DaemonSet, Job) and of
/// `web-28473920-x2x9z` (CronJob). A StatefulSet's `db-0` is a name that lasts.
fn workload_of(pod: &str) -> &str {
    let Some(made) = without_last(pod, |part| part.len() == 5 && is_random(part)) else { return pod };
    let is_template_hash = |part: &str| (8..=10).contains(&part.len()) && is_random(part);
    let is_minute = |part: &str| part.len() == 8 && part.bytes().all(|byte| byte.is_ascii_digit());
    without_last(made, |part| is_template_hash(part) || is_minute(part)).unwrap_or(made)
}

fn without_last(name: &str, is_added: impl Fn(&str) -> bool) -> Option<&str> {
    let (before, last) = name.rsplit_once('-')?;
    (!before.is_empty() && is_added(last)).then_some(before)
}

fn is_random(part: &str) -> bool {
    part.bytes().all(|byte| RANDOM.contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::{PodContainer, workload_of};

    #[test]
    fn cuts_off_what_is_made_at_random() {
        for (pod, workload) in [
            ("web-7d4b9c6f5d-x2x9z", "web"),
            ("web-x2x9z", "web"),
            ("backup-28473920-x2x9z", "backup"),
            ("db-0", "db-0"),
            ("my-http2-x2x9z", "my-http2"),
            ("node-exporter-prometheus", "node-exporter-prometheus"),
            ("kube-apiserver-node1", "kube-apiserver-node1"),
            ("x2x9z", "x2x9z"),
            ("-x2x9z", "-x2x9z"),
        ] {
            assert_eq!(workload_of(pod), workload, "{pod}");
        }
    }

    #[test]
    fn has_the_same_name_in_every_pod_of_a_deployment() {
        let names = ["web-7d4b9c6f5d-x2x9z", "web-6c8f7b9d54-q7w2k"]
            .map(|pod| PodContainer { namespace: "shop", pod, container: "nginx" }.stable_name());
        assert_eq!(names[0].escaped(), "shop/web/nginx");
        assert_eq!(names[0], names[1]);
    }
}
