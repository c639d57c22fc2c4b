{
  _config+:: {
    // How `up` of Portledger and of the node exporter is told from that of others.
    portledgerSelector: 'job="portledger"',
    nodeSelector: 'job=~"node|node[-_]exporter"',

    // Where the house keeps docs/runbooks/, if it does: NAME.md is put behind it. Each exporter serves them too, which does
    // not help where it is down.
    runbookURL: null,

    dashboardUid: 'portledger',
    dashboardTags: ['portledger', 'security'],
  },
}
