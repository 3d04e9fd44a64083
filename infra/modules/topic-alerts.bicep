// Alerts on what Event Grid itself counts: events that it could not deliver.

@description('Name of the app; begins the names of the alerts.')
param appName string

@description('Name of the watched account; part of the names of the alerts.')
param accountName string

@description('Tags.')
param tags object

@description('ARM id of the system topic.')
param topicResourceId string

@description('Names of the event subscriptions.')
param subscriptionNames string[]

@description('ARM ids of the action groups that are told.')
param actionGroupResourceIds string[]

@description('Where the runbook of an alert is; its name follows as an anchor. Empty: nowhere.')
param runbookUrl string

// `resolves`: whether the alert may say `resolved`. Events that were given up are not there again because time has passed.
var alerts = [
  {
    name: 'dead-lettered'
    resolves: false
    title: 'events were dead-lettered'
    metric: 'DeadLetteredCount'
    severity: 1
    threshold: 0
    window: 'PT15M'
  }
  {
    name: 'dropped'
    resolves: false
    title: 'events were lost'
    metric: 'DroppedEventCount'
    severity: 0
    threshold: 0
    window: 'PT15M'
  }
  {
    name: 'delivery-failing'
    resolves: true
    title: 'deliveries keep failing'
    metric: 'DeliveryAttemptFailCount'
    severity: 2
    threshold: 20
    window: 'PT30M'
  }
]

var actions = map(actionGroupResourceIds, id => {
  actionGroupId: id
})

resource metricAlerts 'Microsoft.Insights/metricAlerts@2026-01-01' = [
  for alert in alerts: {
    name: '${appName}-${accountName}-${alert.name}'
    location: 'global'
    tags: tags
    properties: {
      description: '${appName}, ${accountName}: ${alert.title}. ${empty(runbookUrl) ? 'Scorekeeper: ' : 'Runbook: ${runbookUrl}#'}${alert.name}'
      enabled: true
      severity: alert.severity
      autoMitigate: alert.resolves
      scopes: [topicResourceId]
      evaluationFrequency: 'PT5M'
      windowSize: alert.window
      criteria: {
        'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
        allOf: [
          {
            name: alert.name
            criterionType: 'StaticThresholdCriterion'
            metricNamespace: 'Microsoft.EventGrid/systemTopics'
            metricName: alert.metric
            timeAggregation: 'Total'
            operator: 'GreaterThan'
            threshold: alert.threshold
            dimensions: [
              {
                // Others may have subscriptions on the same topic.
                name: 'EventSubscriptionName'
                operator: 'Include'
                values: subscriptionNames
              }
            ]
          }
        ]
      }
      actions: actions
    }
  }
]
