// Production: two accounts, two endpoints, a role of the least that is needed, a log workspace and an action group that
// exist, zone-redundant state that cannot be deleted by mistake.
using '../main.bicep'

param environmentName = 'prod'

param rules = loadJsonContent('prod.rules.json')

param watchedAccounts = [
  {
    resourceId: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-data-prod/providers/Microsoft.Storage/storageAccounts/stuploadsprod'
  }
  {
    resourceId: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-data-prod/providers/Microsoft.Storage/storageAccounts/stimagesprod'
    // Somebody else has made a topic for this account, and an account has only one.
    systemTopicResourceId: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-data-prod/providers/Microsoft.EventGrid/systemTopics/evgt-images'
  }
]

param outputAccountResourceIds = [
  '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-ml-prod/providers/Microsoft.Storage/storageAccounts/stmlwprod'
]

param workspaceResourceIds = [
  '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-ml-prod/providers/Microsoft.MachineLearningServices/workspaces/mlw-prod'
]

param mlAccess = 'custom'

param dataAccess = {
  computePrincipalIds: [
    '00000000-0000-0000-0000-000000000000'
  ]
}

param existing = {
  logAnalyticsResourceId: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-monitoring/providers/Microsoft.OperationalInsights/workspaces/log-central'
}

param monitoring = {
  actionGroupResourceIds: [
    '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-monitoring/providers/Microsoft.Insights/actionGroups/ag-on-call'
  ]
}

param state = {
  sku: 'Standard_ZRS'
  lock: true
}

param app = {
  // One warm instance for the function that Event Grid calls: no delivery waits for a cold start. It is billed all the time.
  alwaysReady: [
    {
      name: 'http'
      instanceCount: 1
    }
  ]
  settings: {
    SCOREKEEPER_RETENTION: 'P90D'
  }
}

param tags = {
  environment: 'prod'
  'cost-center': '4711'
}
