{
  grafanaDashboards+:: {
    'portledger.json': (import 'portledger.json') {
      uid: $._config.dashboardUid,
      tags: $._config.dashboardTags,
    },
  },
}
