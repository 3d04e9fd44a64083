// The app's rights on a machine learning workspace. Deployed into the workspace's resource group.

import { roles } from 'roles.bicep'

@description('Name of the workspace.')
param workspaceName string

@description('Which role: `dataScientist` or `custom`.')
@allowed(['dataScientist', 'custom'])
param access string

@description('What makes a custom role\'s name unique in the tenant.')
param suffix string

@description('Object id of the app\'s identity.')
param principalId string

resource workspace 'Microsoft.MachineLearningServices/workspaces@2025-12-01' existing = {
  name: workspaceName
}

module role 'ml-role.bicep' = if (access == 'custom') {
  name: take('scorekeeper-role-${suffix}', 64)
  params: {
    suffix: suffix
  }
}

resource builtIn 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (access == 'dataScientist') {
  scope: workspace
  name: guid(workspace.id, principalId, roles.azureMLDataScientist)
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.azureMLDataScientist)
    description: 'Function app on the workspaces of the rules: invokes batch endpoints; looks for, polls and cancels their jobs; finds datastores (mlAccess: dataScientist)'
  }
}

resource custom 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (access == 'custom') {
  scope: workspace
  name: guid(workspace.id, principalId, 'scorekeeper', suffix)
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: role!.outputs.roleDefinitionId
    description: 'Function app on the workspaces of the rules: the same with the actions of ml-role.json alone, which read no key and no secret (mlAccess: custom)'
  }
}
