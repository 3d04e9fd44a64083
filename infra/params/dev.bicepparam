// A small environment: public endpoints, events pushed by Event Grid, one workspace, one account. infra/README.md,
// "Before you start", has the command for each value.
using '../main.bicep'

param environmentName = 'dev'

// What is scored, and where: dev.rules.json beside this file.
param rules = loadJsonContent('dev.rules.json')

// az storage account show --name UPLOADS --query id
param watchedAccounts = [
  {
    resourceId: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-data-dev/providers/Microsoft.Storage/storageAccounts/stuploadsdev'
    // az storage account show --name UPLOADS --query isHnsEnabled
    hierarchical: false
  }
]

// The account behind the datastore that outputs go to; by default the workspace's own:
// az ml workspace show --name WORKSPACE --resource-group ML_GROUP --query storage_account
param outputAccountResourceIds = [
  '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-ml-dev/providers/Microsoft.Storage/storageAccounts/stmlwdev'
]

// az ml workspace show --name WORKSPACE --resource-group ML_GROUP --query id
param workspaceResourceIds = [
  '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-ml-dev/providers/Microsoft.MachineLearningServices/workspaces/mlw-dev'
]

// Whom the jobs' cluster runs as, so that it can read the inputs: '…', …
// az ml compute show --name CLUSTER --workspace-name WORKSPACE --resource-group ML_GROUP --query identity
param dataAccess = {
  computePrincipalIds: []
}

param tags = {
  environment: 'dev'
}
