// Rules that the templates do not see, as they are in the package: containers are named instead. Sign-in is offered and not asked for.
using '../../../infra/main.bicep'

param environmentName = 'packaged'

param rules = {
  rules: []
}

param watchedAccounts = [
  {
    resourceId: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-data/providers/Microsoft.Storage/storageAccounts/st'
    containers: ['claims', 'images']
  }
]

param workspaceResourceIds = [
  '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-ml/providers/Microsoft.MachineLearningServices/workspaces/w'
]

param delivery = {
  mode: 'storageQueue'
}

param app = {
  authentication: {
    clientId: '00000000-0000-0000-0000-000000000000'
    issuer: 'https://login.microsoftonline.com/00000000-0000-0000-0000-000000000000/v2.0'
    required: false
  }
}
