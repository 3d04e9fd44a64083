// Rules that the templates do not see, as they are in the package or in a blob: containers are named instead. Sign-in is offered and not asked for.
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

param dataAccess = {
  rulesContainerResourceId: '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-data/providers/Microsoft.Storage/storageAccounts/st/blobServices/default/containers/config'
  publishedContainerResourceIds: [
    '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-data/providers/Microsoft.Storage/storageAccounts/stresults/blobServices/default/containers/published'
    '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-data/providers/Microsoft.Storage/storageAccounts/stresults/blobServices/default/containers/others'
  ]
  indexTags: true
}

// Others let the app write there.
param existing = {
  roleAssignmentScopes: [
    '/subscriptions/00000000-0000-0000-0000-000000000000/resourceGroups/rg-data/providers/Microsoft.Storage/storageAccounts/stresults/blobServices/default/containers/others'
  ]
}

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
