// What the mixin gives as it stands, which is what the files say, and what with another configuration.
local mixin = import '../mixin.libsonnet';
local other = mixin {
  _config+:: {
    portledgerSelector: 'job="ports"',
    nodeSelector: 'job="hosts"',
    runbookURL: 'https://wiki.example.org/runbooks/',
    dashboardUid: 'ports',
    dashboardTags: [],
  },
};
local files = {
  alerts: (import '../rules/drift.json').groups + (import '../rules/health.json').groups,
  rules: import '../rules/dashboards.json',
  dashboards: { 'portledger.json': import '../dashboards/portledger.json' },
};

assert mixin.prometheusAlerts.groups == files.alerts : 'other alerts than in the files';
assert mixin.prometheusRules == files.rules : 'other rules than in the files';
assert mixin.grafanaDashboards == files.dashboards : 'another dashboard than in the files';
assert [other.grafanaDashboards['portledger.json'][key] for key in ['uid', 'tags']] == ['ports', []];
other.prometheusAlerts
