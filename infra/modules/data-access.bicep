// Who may read the blobs of one data account. Deployed into the account's resource group.
//
// A batch job runs as its invoker, which is the app. Where an input is a blob URL or lies on a datastore without stored
// credentials, the invoker's identity reads it and the cluster's identity mounts it: both need the role.

import { roles } from 'roles.bicep'

@description('Name of the storage account.')
param accountName string

@description('Object id of the app\'s identity.')
param principalId string

@description('Object ids of compute clusters\' identities.')
param computePrincipalIds string[]

resource account 'Microsoft.Storage/storageAccounts@2025-06-01' existing = {
  name: accountName
}

resource reading 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: account
  name: guid(account.id, principalId, roles.storageBlobDataReader)
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageBlobDataReader)
    description: 'Function app on watched and output accounts: a batch job reads its input as its invoker; and the app looks at outputs before it says scored'
  }
}

resource mounting 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for computePrincipalId in computePrincipalIds: {
    scope: account
    name: guid(account.id, computePrincipalId, roles.storageBlobDataReader)
    properties: {
      principalId: computePrincipalId
      principalType: 'ServicePrincipal'
      roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageBlobDataReader)
      description: 'Compute cluster on watched accounts: mounts the inputs of batch jobs'
    }
  }
]
