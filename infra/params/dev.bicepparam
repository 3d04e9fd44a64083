// A small environment: public endpoints, events pushed by Event Grid, one workspace, one account.
using '../main.bicep'

// What is yours. infra/look-up.sh puts it in here, and the rule's part into dev.rules.json.

// The storage account that is watched, and whether its namespace is hierarchical.
var uploads = '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-data-dev/providers/Microsoft.Storage/storageAccounts/stuploadsdev'
var hierarchical = false

// Its Event Grid system topic, if it has one: an account can have only one.
var topic = ''

// The workspace whose batch endpoint scores, and the account that outputs go to: by default the workspace's own.
var workspace = '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-ml-dev/providers/Microsoft.MachineLearningServices/workspaces/mlw-dev'
var outputs = '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-ml-dev/providers/Microsoft.Storage/storageAccounts/stmlwdev'

// Object id of the identity that the jobs' cluster runs as, so that it can read the inputs.
var cluster = ''

param environmentName = 'dev'

param rules = loadJsonContent('dev.rules.json')

param watchedAccounts = [
  {
    resourceId: uploads
    hierarchical: hierarchical
    systemTopicResourceId: empty(topic) ? null : topic
  }
]

param outputAccountResourceIds = [outputs]

param workspaceResourceIds = [workspace]

param dataAccess = {
  computePrincipalIds: empty(cluster) ? [] : [cluster]
}

param tags = {
  environment: 'dev'
}
