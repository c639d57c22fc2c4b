local defaults = (import '../config.libsonnet')._config;

// Groups stay whole: the rules that remember stand before the alerts that read them.
local groups =
  (import '../rules/drift.json').groups +
  (import '../rules/health.json').groups;

{
  local config = $._config,
  local selected(expr) = std.strReplace(
    std.strReplace(expr, defaults.portledgerSelector, config.portledgerSelector),
    defaults.nodeSelector,
    config.nodeSelector
  ),
  local rule(of) = of {
    expr: selected(super.expr),
    [if 'annotations' in of && config.runbookURL != null then 'annotations']+: {
      runbook_url: config.runbookURL + of.alert + '.md',
    },
  },

  prometheusAlerts+:: {
    groups+: [group { rules: std.map(rule, super.rules) } for group in groups],
  },
}
