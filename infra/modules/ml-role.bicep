// A role of the least that is needed to score on batch endpoints, for companies to whom `AzureML Data Scientist` is
// too much. Deployed into the workspace's resource group. The actions are in ../ml-role.json, which the owners of the
// workspace can deploy by themselves.
//
// Down to `modules/read` they are Microsoft's list of what invoking a batch endpoint takes ("Authorization on batch endpoints").
// The rest is what this app does besides: look for jobs, poll them, cancel them. The list is not minimal; candidates to be left
// out, after a trial on a live workspace, are batchEndpoints/write, batchEndpoints/deployments/write, computes/listKeys/action,
// endpoints/pipelines/write (pipeline component deployments), environments/write and environments/build/action.

@description('What makes the role\'s name unique in the tenant.')
param suffix string

var definition = loadJsonContent('../ml-role.json')

resource role 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(resourceGroup().id, 'scorekeeper', suffix)
  properties: {
    roleName: '${definition.Name} ${suffix}'
    description: definition.Description
    type: 'CustomRole'
    assignableScopes: [resourceGroup().id]
    permissions: [
      {
        actions: definition.Actions
        notActions: definition.NotActions
      }
    ]
  }
}

@description('ARM id of the role definition.')
output roleDefinitionId string = role.id
