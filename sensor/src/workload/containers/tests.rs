use std::fs;
use std::path::Path;

use inventory::{Container, Runtime};
use tempfile::TempDir;

use super::{ContainerPath, Containers, Files};

const ID: &str = "3ad14510a622f1927615ace1175e51fd3acb6a8ae1c785161e0e274c3a13a31b";
const POD: &str = "8b4f3c5e-1111-2222-3333-444455556666";

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path.replace("ID", ID));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn named(root: &TempDir, runtime: Runtime) -> Container {
    let pod = (runtime != Runtime::Podman).then(|| POD.to_owned());
    let path = ContainerPath { runtime, id: ID.to_owned(), pod, below: None };
    Containers::default().name(&path, &Files::beneath(root.path()))
}

fn shown(container: &Container) -> [String; 3] {
    [&container.name, &container.image, &container.service]
        .map(|text| text.as_ref().map(ToString::to_string).unwrap_or_default())
}

#[test]
fn reads_dockers_state() {
    let root = tempfile::tempdir().unwrap();
    let state = r#"{"StreamConfig":{},"State":{"Running":true,"Pid":4711},"ID":"3ad1","Config":{"Hostname":"3ad1",
        "Image":"nginx:1.25","Labels":{"com.docker.compose.project":"shop","com.docker.compose.service":"web"}},
        "Image":"sha256:a8758716bb6aa4d90071160d27028fe4eaee7ce8166221a97d30440c8eac2be6","Name":"/shop-web-1"}"#;
    write(root.path(), "var/lib/docker/containers/ID/config.v2.json", state);
    assert_eq!(shown(&named(&root, Runtime::Docker)), ["shop-web-1", "nginx:1.25", "shop/web"]);
    let task = state
        .replace("shop-web-1", "shop_web.1.abc")
        .replace("compose.project\":\"shop", "swarm.service.name\":\"shop_web");
    write(root.path(), "var/lib/docker/containers/ID/config.v2.json", &task);
    assert_eq!(shown(&named(&root, Runtime::Docker)), ["shop_web", "nginx:1.25", "shop_web"]);
}

#[test]
fn reads_podmans_state() {
    let root = tempfile::tempdir().unwrap();
    // As Podman 4.3 wrote it for a container with an image's name put in.
    let state = format!(
        r#"[{{"id":"{ID}","names":["webtest"],"image":"","layer":"c50f","metadata":"{{\"image-name\":\"docker.io/library/nginx:1\",\"image-id\":\"\",\"name\":\"webtest\",\"created-at\":1795240370}}","created":"2026-11-21T05:52:50.512409139Z","flags":{{"MountLabel":"","ProcessLabel":""}}}}]"#
    );
    write(root.path(), "var/lib/containers/storage/overlay-containers/containers.json", &state);
    assert_eq!(shown(&named(&root, Runtime::Podman)), ["webtest", "docker.io/library/nginx:1", ""]);
}

#[test]
fn reads_what_kubernetes_runtimes_keep() {
    let root = tempfile::tempdir().unwrap();
    let task = r#"{"ociVersion":"1.1.0","annotations":{"io.kubernetes.cri.container-name":"nginx",
        "io.kubernetes.cri.container-type":"container","io.kubernetes.cri.image-name":"docker.io/library/nginx:1",
        "io.kubernetes.cri.sandbox-name":"web-7d4b9c6f5d-x2x9z","io.kubernetes.cri.sandbox-namespace":"shop"}}"#;
    write(root.path(), "run/containerd/io.containerd.runtime.v2.task/k8s.io/ID/config.json", task);
    let expected = ["shop/web/nginx", "docker.io/library/nginx:1", "shop/web"];
    assert_eq!(shown(&named(&root, Runtime::Containerd)), expected);

    let root = tempfile::tempdir().unwrap();
    let spec = r#"{"annotations":{"io.kubernetes.container.name":"nginx","io.kubernetes.pod.name":"web-x2x9z",
        "io.kubernetes.pod.namespace":"shop","io.kubernetes.cri-o.ImageName":"docker.io/library/nginx:1"}}"#;
    write(root.path(), "run/containers/storage/overlay-containers/ID/userdata/config.json", spec);
    assert_eq!(shown(&named(&root, Runtime::Crio)), expected);
    // The kubelet's cgroupfs driver does not say that it is CRI-O.
    assert_eq!(named(&root, Runtime::Containerd).runtime, Runtime::Crio);
}

#[test]
fn makes_do_with_the_names_of_logs() {
    let root = tempfile::tempdir().unwrap();
    write(root.path(), &format!("var/log/pods/shop_db-0_{POD}/postgres/0.log"), "");
    assert_eq!(shown(&named(&root, Runtime::Containerd)), ["shop/db-0/postgres", "", "shop/db-0"]);
    write(root.path(), &format!("var/log/pods/shop_db-0_{POD}/exporter/0.log"), "");
    assert_eq!(shown(&named(&root, Runtime::Containerd)), ["", "", "shop/db-0"]);
    write(root.path(), "var/log/containers/db-0_shop_exporter-ID.log", "");
    assert_eq!(shown(&named(&root, Runtime::Containerd)), ["shop/db-0/exporter", "", "shop/db-0"]);
}

#[test]
fn is_left_with_the_id_where_a_state_file_is_broken_or_huge() {
    let root = tempfile::tempdir().unwrap();
    assert_eq!(shown(&named(&root, Runtime::Docker)), ["", "", ""]);
    write(root.path(), "var/lib/docker/containers/ID/config.v2.json", "{\"Name\":");
    write(root.path(), "var/lib/containers/storage/overlay-containers/containers.json", "[{}]");
    for runtime in [Runtime::Docker, Runtime::Podman] {
        assert_eq!(shown(&named(&root, runtime)), ["", "", ""]);
    }
    let huge =
        fs::File::create(root.path().join(format!("var/lib/docker/containers/{ID}/config.v2.json"))).unwrap();
    huge.set_len((16 << 20) + 1).unwrap();
    assert_eq!(shown(&named(&root, Runtime::Docker)), ["", "", ""]);
}
