// A small environment: public endpoints, events pushed by Event Grid, one workspace, one account.
using '../main.bicep'

param environmentName = 'dev'

param rules = loadJsonContent('dev.rules.json')

param watchedAccounts = [
  {
    resourceId: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-data-dev/providers/Microsoft.Storage/storageAccounts/stuploadsdev'
  }
]

// The account behind the datastore that outputs go to; by default the workspace's own.
param outputAccountResourceIds = [
  '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-ml-dev/providers/Microsoft.Storage/storageAccounts/stmlwdev'
]

param workspaceResourceIds = [
  '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-ml-dev/providers/Microsoft.MachineLearningServices/workspaces/mlw-dev'
]

// az ml compute show --name CLUSTER --query identity.principal_id
param computePrincipalIds = []

param tags = {
  environment: 'dev'
}
