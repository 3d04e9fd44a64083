// A role that reads index tags: of the built-in ones only `Storage Blob Data Owner` does, which writes and deletes too. Deployed into
// the account's resource group. The action is in ../tags-role.json, which the owners of the account can deploy by themselves.

@description('What makes the role\'s name unique in the tenant.')
param suffix string

var definition = loadJsonContent('../tags-role.json')

resource role 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(resourceGroup().id, 'scorekeeper index tags', suffix)
  properties: {
    roleName: '${definition.Name} ${suffix}'
    description: definition.Description
    type: 'CustomRole'
    assignableScopes: [resourceGroup().id]
    permissions: [
      {
        actions: definition.Actions
        dataActions: definition.DataActions
      }
    ]
  }
}

@description('ARM id of the role definition.')
output roleDefinitionId string = role.id
