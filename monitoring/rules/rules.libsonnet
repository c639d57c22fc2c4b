{
  prometheusRules+:: {
    groups+: (import 'dashboards.json').groups,
  },
}
