// What no environment of infra/params/ takes: the longest names, addresses that alone may call, mail, two workspaces, a given
// topic with queue delivery, private endpoints without DNS zones, a rule that publishes, and settings that try to replace the
// templates' own.
using '../../../infra/main.bicep'

param workload = 'ab'

param environmentName = 'eu-dev'

param names = {
  functionApp: 'ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff'
}

param rules = {
  rules: [
    {
      id: 'first'
      match: {
        account: 'sssssssssssssssssssssssa'
        container: 'aaa'
        indexTags: { hold: false }
      }
      endpoint: {
        uri: 'https://e.westeurope.inference.ml.azure.com/jobs'
      }
    }
    {
      id: 'all'
      match: {
        container: 'ccc'
        prefix: 'uploads/'
      }
      endpoint: {
        uri: 'https://e.westeurope.inference.ml.azure.com/jobs'
        workspace: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-ml/providers/Microsoft.MachineLearningServices/workspaces/wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwa'
      }
      outputs: {
        score: {
          type: 'UriFile'
          uri: 'azureml://datastores/workspaceblobstore/paths/{scoring.id}/{attempt}/predictions.csv'
          publish: { uri: 'azureml://datastores/results/paths/latest/{blob.path}' }
        }
      }
    }
  ]
}

// The container of the datastore `results`, in an account of its own.
param dataAccess = {
  publishedContainerResourceIds: [
    '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/RG-DATA/providers/Microsoft.Storage/storageAccounts/sssssssssssssssssssssssd/blobServices/default/containers/published'
  ]
}

param watchedAccounts = [
  {
    resourceId: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-data/providers/Microsoft.Storage/storageAccounts/SSSSSSSSSSSSSSSSSSSSSSSa'
  }
  {
    resourceId: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-data/providers/Microsoft.Storage/storageAccounts/sssssssssssssssssssssssb'
    systemTopicResourceId: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-topics/providers/Microsoft.EventGrid/systemTopics/evgt-given'
  }
]

param outputAccountResourceIds = [
  '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-data/providers/Microsoft.Storage/storageAccounts/sssssssssssssssssssssssc'
]

param workspaceResourceIds = [
  '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-ml/providers/Microsoft.MachineLearningServices/workspaces/wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwa'
  '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-ml/providers/Microsoft.MachineLearningServices/workspaces/wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwb'
]

// Written in another case than above.
param existing = {
  roleAssignmentScopes: [
    '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/RG-DATA/providers/Microsoft.Storage/storageAccounts/sssssssssssssssssssssssc'
    '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/RG-ML/providers/Microsoft.MachineLearningServices/workspaces/wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwb'
  ]
}

param delivery = {
  mode: 'storageQueue'
}

param app = {
  settings: {
    SCOREKEEPER_TASK_HUB: 'Other'
    scorekeeper_Rules: 'Other'
    SCOREKEEPER_LOG_FORMAT: 'json'
  }
  disabledFunctions: ['Reconcile']
  http: true
  page: true
  concurrency: 16
  zoneRedundant: true
  alwaysReady: [
    {
      name: 'http'
      instanceCount: 2
    }
  ]
  authentication: {
    clientId: '00000000-0000-0000-0000-000000000000'
    issuer: 'https://login.microsoftonline.com/00000000-0000-0000-0000-000000000000/v2.0'
  }
}

param monitoring = {
  alertEmails: ['ops@example.com']
  runbookUrl: 'https://example.com/infra'
  platformLogs: true
}

param network = {
  integrationSubnetResourceId: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-network/providers/Microsoft.Network/virtualNetworks/vnet/subnets/functions'
  privateEndpointSubnetResourceId: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-network/providers/Microsoft.Network/virtualNetworks/vnet/subnets/endpoints'
  allowedIpRanges: ['203.0.113.0/24']
}
