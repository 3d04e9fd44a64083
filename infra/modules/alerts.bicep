// Alerts on the app's log. The heartbeat lives here, outside of the app: a dead app says nothing.
//
// Each query gives one row with `value`, also when there is nothing to count.

@description('Name of the app; begins the names of the alerts.')
param appName string

@description('Region.')
param location string

@description('Tags.')
param tags object

@description('ARM id of the Application Insights component.')
param applicationInsightsResourceId string

@description('Whether events come through a queue.')
param queueDelivery bool

@description('ARM ids of the action groups that are told.')
param actionGroupResourceIds string[]

@description('Where the runbook of an alert is; its name follows as an anchor. Empty: nowhere.')
param runbookUrl string

var records = loadTextContent('../queries/records.kql')

// `resolves`: whether the alert may say `resolved` when its query has nothing any more. What counts events may not: the event is not
// fixed by being older than the window, and of a message in the poison queue the ledger knows nothing. What asks for a state reads the newest record of a reconcile run, however old the state
// is that it tells of; `lookBack` is how old that record may be, the most that Azure Monitor allows: a dead app is the heartbeat's.
var always = [
  {
    name: 'heartbeat'
    resolves: true
    title: 'no reconcile run succeeded for 15 minutes'
    severity: 1
    query: loadTextContent('../queries/alert-heartbeat.kql')
    operator: 'LessThan'
    threshold: 1
    frequency: 'PT5M'
    window: 'PT15M'
    lookBack: ''
  }
  {
    name: 'not-taken'
    resolves: true
    title: 'deliveries were not taken into the ledger'
    severity: 1
    query: loadTextContent('../queries/alert-not-taken.kql')
    operator: 'GreaterThan'
    threshold: 5
    frequency: 'PT5M'
    window: 'PT15M'
    lookBack: ''
  }
  {
    name: 'failed'
    resolves: true
    title: 'scorings failed'
    severity: 2
    query: '${records}\n${loadTextContent('../queries/alert-failed.kql')}'
    operator: 'GreaterThan'
    threshold: 0
    frequency: 'PT30M'
    window: 'PT1H'
    lookBack: 'P2D'
  }
  {
    name: 'held'
    resolves: true
    title: 'scorings wait for a decision'
    severity: 2
    query: '${records}\n${loadTextContent('../queries/alert-held.kql')}'
    operator: 'GreaterThan'
    threshold: 0
    frequency: 'PT30M'
    window: 'PT1H'
    lookBack: 'P2D'
  }
  {
    name: 'stuck'
    resolves: true
    title: 'scorings are stuck'
    severity: 2
    query: '${records}\n${loadTextContent('../queries/alert-stuck.kql')}'
    operator: 'GreaterThan'
    threshold: 0
    frequency: 'PT30M'
    window: 'PT1H'
    lookBack: 'P2D'
  }
  {
    name: 'orphaned-jobs'
    resolves: true
    title: 'Azure ML made jobs that no scoring needs'
    severity: 3
    query: '${records}\n${loadTextContent('../queries/alert-orphaned-jobs.kql')}'
    operator: 'GreaterThan'
    threshold: 0
    frequency: 'PT30M'
    window: 'PT1H'
    lookBack: 'P2D'
  }
  {
    name: 'quarantined'
    resolves: true
    title: 'events could not be read'
    severity: 3
    query: '${records}\n${loadTextContent('../queries/alert-quarantined.kql')}'
    operator: 'GreaterThan'
    threshold: 0
    frequency: 'PT30M'
    window: 'PT1H'
    lookBack: 'P2D'
  }
  {
    name: 'unaccounted'
    resolves: true
    title: 'blob versions are unaccounted for'
    severity: 1
    query: '${records}\n${loadTextContent('../queries/alert-unaccounted.kql')}'
    operator: 'GreaterThan'
    threshold: 0
    frequency: 'PT30M'
    window: 'PT1H'
    lookBack: 'P2D'
  }
  {
    name: 'dead-letters'
    resolves: true
    title: 'dead letters could not be taken in'
    severity: 2
    query: '${records}\n${loadTextContent('../queries/alert-dead-letters.kql')}'
    operator: 'GreaterThan'
    threshold: 0
    frequency: 'PT30M'
    window: 'PT1H'
    lookBack: 'P2D'
  }
  {
    name: 'errors'
    resolves: true
    title: 'the handler reports errors'
    severity: 2
    query: '${records}\n${loadTextContent('../queries/alert-errors.kql')}'
    operator: 'GreaterThan'
    threshold: 5
    frequency: 'PT15M'
    window: 'PT30M'
    lookBack: ''
  }
]
var withQueue = [
  {
    name: 'poison'
    resolves: false
    title: 'events were moved to the poison queue'
    severity: 1
    query: loadTextContent('../queries/alert-poison.kql')
    operator: 'GreaterThan'
    threshold: 0
    frequency: 'PT15M'
    window: 'PT15M'
    lookBack: ''
  }
]
var alerts = concat(always, queueDelivery ? withQueue : [])

resource logAlerts 'Microsoft.Insights/scheduledQueryRules@2026-03-01' = [
  for alert in alerts: {
    name: '${appName}-${alert.name}'
    location: location
    tags: tags
    kind: 'LogAlert'
    properties: {
      displayName: '${appName}: ${alert.title}'
      description: empty(runbookUrl) ? 'Scorekeeper: ${alert.name}' : 'Runbook: ${runbookUrl}#${alert.name}'
      enabled: true
      severity: alert.severity
      autoMitigate: alert.resolves
      // On a new component the tables are not there yet.
      skipQueryValidation: true
      scopes: [applicationInsightsResourceId]
      evaluationFrequency: alert.frequency
      windowSize: alert.window
      overrideQueryTimeRange: empty(alert.lookBack) ? null : alert.lookBack
      criteria: {
        allOf: [
          {
            query: alert.query
            metricMeasureColumn: 'value'
            timeAggregation: 'Maximum'
            operator: alert.operator
            threshold: alert.threshold
            failingPeriods: {
              numberOfEvaluationPeriods: 1
              minFailingPeriodsToAlert: 1
            }
          }
        ]
      }
      actions: {
        actionGroups: actionGroupResourceIds
      }
    }
  }
]
