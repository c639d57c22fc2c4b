use std::collections::HashMap;

use inventory::{Container, RawText, Runtime};
use serde::Deserialize;

use super::cgroup::ContainerPath;
use super::files::Files;
use super::pod::PodContainer;

/// What a state file tells of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Names {
    name: Option<RawText>,
    image: Option<RawText>,
    service: Option<RawText>,
}

/// Names containers. Reads each state file once between two calls of [`Containers::forget`]: names can change.
#[derive(Debug, Default)]
pub(super) struct Containers {
    known: HashMap<String, (Runtime, Names)>,
    podman: Option<HashMap<String, Names>>,
}

impl Containers {
    pub(super) fn forget(&mut self) {
        *self = Containers::default();
    }

    pub(super) fn name(&mut self, path: &ContainerPath, files: &Files) -> Container {
        let id = path.id.clone();
        let (runtime, names) = match self.known.get(&id) {
            Some(known) => known.clone(),
            None => self.look_up(path, files),
        };
        self.known.insert(id.clone(), (runtime, names.clone()));
        Container { runtime, id, name: names.name, image: names.image, service: names.service }
    }

    fn look_up(&mut self, path: &ContainerPath, files: &Files) -> (Runtime, Names) {
        let id = &path.id;
        let found = match path.runtime {
            Runtime::Docker => docker(files, id),
            Runtime::Podman => self.podman(files).get(id).cloned(),
            Runtime::Crio => crio(files, id),
            Runtime::Containerd => containerd(files, id),
        };
        let found = found.map(|names| (path.runtime, names));
        // A pod's cgroup may not say which runtime made it.
        let of_pod = || {
            let by_other = || crio(files, id).map(|names| (Runtime::Crio, names));
            let by_docker = || docker(files, id).map(|names| (Runtime::Docker, names));
            let by_log = || Some((path.runtime, log_link(files, id)?));
            let by_folder = || Some((path.runtime, log_folder(files, path.pod.as_deref()?)?));
            by_other().or_else(by_docker).or_else(by_log).or_else(by_folder)
        };
        found.or_else(|| path.pod.as_ref().and_then(|_| of_pod())).unwrap_or((path.runtime, Names::default()))
    }

    fn podman(&mut self, files: &Files) -> &HashMap<String, Names> {
        self.podman.get_or_insert_with(|| podman(files))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerState {
    name: String,
    #[serde(default)]
    config: DockerConfig,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerConfig {
    #[serde(default)]
    image: Option<String>,
    #[serde(default)]
    labels: Option<HashMap<String, String>>,
}

fn docker(files: &Files, id: &str) -> Option<Names> {
    docker_names(&files.read(&format!("var/lib/docker/containers/{id}/config.v2.json"))?)
}

fn docker_names(state: &[u8]) -> Option<Names> {
    let DockerState { name, config } = serde_json::from_slice(state).ok()?;
    let labels = config.labels.unwrap_or_default();
    if let Some(container) = pod_container(&labels, KUBELET) {
        return Some(Names::of_pod(&container, config.image.as_deref()));
    }
    // A task of a swarm has a name of its own each time.
    let task_of = labels.get("com.docker.swarm.service.name");
    let compose = labels.get("com.docker.compose.project").zip(labels.get("com.docker.compose.service"));
    let compose = compose.map(|(project, service)| format!("{project}/{service}"));
    let name = task_of.map_or(name.trim_start_matches('/'), String::as_str);
    Some(Names {
        name: text(Some(name)),
        image: text(config.image.as_deref()),
        service: text(compose.as_deref().or(task_of.map(String::as_str))),
    })
}

#[derive(Deserialize)]
struct PodmanContainer {
    id: String,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    metadata: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct PodmanMetadata {
    #[serde(default)]
    image_name: String,
}

/// All of root's, by their ids, out of the store that containers/storage keeps for each driver.
fn podman(files: &Files) -> HashMap<String, Names> {
    const STORE: &str = "var/lib/containers/storage";
    const LISTS: &[&str] = &["containers.json", "volatile-containers.json"];
    let mut all = HashMap::new();
    for driver in files.names(STORE).iter().filter_map(|name| std::str::from_utf8(name).ok()) {
        for list in LISTS.iter().filter(|_| driver.ends_with("-containers")) {
            let Some(list) = files.read(&format!("{STORE}/{driver}/{list}")) else { continue };
            all.extend(podman_list(&list));
        }
    }
    all
}

fn podman_list(list: &[u8]) -> impl Iterator<Item = (String, Names)> {
    let list: Vec<PodmanContainer> = serde_json::from_slice(list).unwrap_or_default();
    list.into_iter().map(podman_names)
}

fn podman_names(container: PodmanContainer) -> (String, Names) {
    let metadata: PodmanMetadata = serde_json::from_str(&container.metadata).unwrap_or_default();
    let name = text(container.names.first().map(String::as_str));
    (container.id, Names { name, image: text(Some(&metadata.image_name)), service: None })
}

#[derive(Default, Deserialize)]
struct RuntimeSpec {
    #[serde(default)]
    annotations: HashMap<String, String>,
}

/// Which annotations name the namespace, the pod and the container.
type PodKeys = [&'static str; 3];
const KUBELET: PodKeys =
    ["io.kubernetes.pod.namespace", "io.kubernetes.pod.name", "io.kubernetes.container.name"];
const CONTAINERD: PodKeys = [
    "io.kubernetes.cri.sandbox-namespace",
    "io.kubernetes.cri.sandbox-name",
    "io.kubernetes.cri.container-name",
];

fn containerd(files: &Files, id: &str) -> Option<Names> {
    const TASKS: &str = "run/containerd/io.containerd.runtime.v2.task";
    let namespaces = files.names(TASKS);
    let read = |namespace: &Vec<u8>| {
        let namespace = std::str::from_utf8(namespace).ok()?;
        files.read(&format!("{TASKS}/{namespace}/{id}/config.json"))
    };
    containerd_names(&namespaces.iter().find_map(read)?)
}

fn containerd_names(spec: &[u8]) -> Option<Names> {
    let spec: RuntimeSpec = serde_json::from_slice(spec).ok()?;
    let annotation = |key: &str| spec.annotations.get(key).map(String::as_str);
    let image = annotation("io.kubernetes.cri.image-name");
    if let Some(container) = pod_container(&spec.annotations, CONTAINERD) {
        return Some(Names::of_pod(&container, image));
    }
    let compose = annotation("com.docker.compose.project").zip(annotation("com.docker.compose.service"));
    let service = compose.map(|(project, service)| format!("{project}/{service}"));
    Some(Names {
        name: text(annotation("nerdctl/name")),
        image: text(image),
        service: text(service.as_deref()),
    })
}

fn crio(files: &Files, id: &str) -> Option<Names> {
    crio_names(&files.read(&format!("run/containers/storage/overlay-containers/{id}/userdata/config.json"))?)
}

fn crio_names(spec: &[u8]) -> Option<Names> {
    let spec: RuntimeSpec = serde_json::from_slice(spec).ok()?;
    let container = pod_container(&spec.annotations, KUBELET)?;
    Some(Names::of_pod(&container, spec.annotations.get("io.kubernetes.cri-o.ImageName").map(String::as_str)))
}

fn pod_container(annotations: &HashMap<String, String>, keys: PodKeys) -> Option<PodContainer<'_>> {
    let [namespace, pod, container] = keys.map(|key| annotations.get(key).map(String::as_str));
    Some(PodContainer { namespace: namespace?, pod: pod?, container: container? })
}

/// /var/log/containers/POD_NAMESPACE_CONTAINER-ID.log, a link that the kubelet makes.
fn log_link(files: &Files, id: &str) -> Option<Names> {
    let ending = format!("-{id}.log");
    let names = files.names("var/log/containers");
    let link = names.iter().find_map(|name| std::str::from_utf8(name).ok()?.strip_suffix(&ending))?;
    let mut parts = link.splitn(3, '_');
    let (pod, namespace, container) = (parts.next()?, parts.next()?, parts.next()?);
    Some(Names::of_pod(&PodContainer { namespace, pod, container }, None))
}

/// /var/log/pods/NAMESPACE_POD_UID/CONTAINER, which names the container only where it is alone in its pod.
fn log_folder(files: &Files, uid: &str) -> Option<Names> {
    let ending = format!("_{uid}");
    let names = files.names("var/log/pods");
    let (folder, pod) = names.iter().find_map(|name| {
        let name = std::str::from_utf8(name).ok()?;
        Some((name, name.strip_suffix(&ending)?))
    })?;
    let (namespace, pod) = pod.split_once('_')?;
    let containers = files.names(&format!("var/log/pods/{folder}"));
    let container = match containers.as_slice() {
        [alone] => std::str::from_utf8(alone).ok(),
        _ => None,
    };
    let named = PodContainer { namespace, pod, container: container.unwrap_or_default() };
    Some(Names { name: container.map(|_| named.stable_name()), image: None, service: Some(named.service()) })
}

impl Names {
    fn of_pod(container: &PodContainer<'_>, image: Option<&str>) -> Self {
        Names { name: Some(container.stable_name()), image: text(image), service: Some(container.service()) }
    }
}

fn text(found: Option<&str>) -> Option<RawText> {
    found.filter(|text| !text.is_empty()).map(RawText::from)
}

/// A state file of each runtime. A name that is told is not empty, and no longer than what tells it.
#[cfg(any(test, fuzzing))]
pub(super) fn fuzzed(bytes: &[u8]) {
    let one = [docker_names(bytes), containerd_names(bytes), crio_names(bytes)].into_iter().flatten();
    for Names { name, image, service } in one.chain(podman_list(bytes).map(|(_, names)| names)) {
        for text in [name, image, service].into_iter().flatten() {
            assert!(!text.is_empty() && text.as_bytes().len() <= bytes.len());
        }
    }
}

#[cfg(test)]
mod tests;
