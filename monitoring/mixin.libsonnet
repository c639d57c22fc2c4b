// For houses that put their monitoring together from mixins (https://monitoring.mixins.dev). The rules are those of rules/*.yml
// and the dashboard is that of dashboards/portledger.json, which everybody else takes as they are: what is read and tested
// there is imported here, and only what config.libsonnet says differs.
//
// rules/*.json are the same rules again, made by `make mixin`: std.parseYaml of jsonnet 0.18, which Debian has, fails at
// whatever has a backslash or more than one line. Never edit them.
(import 'config.libsonnet') +
(import 'alerts/alerts.libsonnet') +
(import 'rules/rules.libsonnet') +
(import 'dashboards/dashboards.libsonnet')
