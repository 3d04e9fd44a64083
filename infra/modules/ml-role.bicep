// A role of the least that is needed to score on batch endpoints, for companies to whom `AzureML Data Scientist` is
// too much. Deployed into the workspace's resource group. The actions are in ../ml-role.json, which the owners of the
// workspace can deploy by themselves; ../README.md says what each is for, and what was left out of Microsoft's list.

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
