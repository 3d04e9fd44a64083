// Who may read the blobs of one data account, or of the one container that the rules lie in; or write to a container that rules
// publish to, or in which groups are staged. Deployed into the account's resource group.
//
// A batch job runs as its invoker, which is the app. Where an input is a blob URL or lies on a datastore without stored
// credentials, the invoker's identity reads it and the cluster's identity mounts it: both need the role.

import { roles } from 'roles.bicep'
import { dataAccessOptions } from 'types.bicep'

@description('ARM id of the storage account, or of one container in it.')
param id string

@description('What the app does there: read, write what rules publish, or stage the members of groups, in a container that is made for that.')
@allowed(['read', 'published', 'staging'])
param use string

@description('Object id of the app\'s identity.')
param principalId string

@description('What the parameter file says of watched accounts; nothing for others.')
param options dataAccessOptions

@description('The rules that may watch the account.')
param rules object[]

@description('What makes a custom role\'s name unique in the tenant.')
param suffix string

// `/subscriptions/S/resourceGroups/G/providers/Microsoft.Storage/storageAccounts/NAME[/blobServices/default/containers/NAME]`
var parts = split(id, '/')
var isContainer = length(parts) > 9

// Rules that ask for index tags, of this account or of any.
var asking = filter(rules, rule => !empty(rule.match.?indexTags ?? {}) && (rule.match.?account ?? parts[8]) == parts[8])
var indexTags = !isContainer && (options.?indexTags ?? !empty(asking))

resource account 'Microsoft.Storage/storageAccounts@2025-06-01' existing = {
  name: parts[8]

  resource service 'blobServices' existing = {
    name: 'default'

    resource container 'containers' existing = {
      name: last(parts)
    }
  }
}

resource reading 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!isContainer) {
  scope: account
  name: guid(account.id, principalId, roles.storageBlobDataReader)
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageBlobDataReader)
    description: 'Function app on watched and output accounts: a batch job reads its input as its invoker; and the app looks at outputs before it says scored'
  }
}

resource staging 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-06-01' = if (use == 'staging') {
  parent: account::service
  name: last(parts)
  properties: {
    publicAccess: 'None'
  }
}

resource readingRules 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (isContainer && use == 'read') {
  scope: account::service::container
  name: guid(id, principalId, roles.storageBlobDataReader)
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageBlobDataReader)
    description: 'Function app on the container of the rules, where they lie in a blob: reads them'
  }
}

resource publishing 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (use == 'published') {
  scope: account::service::container
  name: guid(id, principalId, roles.storageBlobDataContributor)
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageBlobDataContributor)
    description: 'Function app on published containers: copies verified results to the paths that rules name'
  }
}

resource copying 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (use == 'staging') {
  scope: staging
  name: guid(id, principalId, roles.storageBlobDataContributor)
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles.storageBlobDataContributor)
    description: 'Function app on staging containers: copies the members of groups there, and removes the copies'
  }
}

resource mounting 'Microsoft.Authorization/roleAssignments@2022-04-01' = [
  for computePrincipalId in options.?computePrincipalIds ?? []: {
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

module tagsRole 'tags-role.bicep' = if (indexTags) {
  name: take('scorekeeper-tags-role-${suffix}', 64)
  params: {
    suffix: suffix
  }
}

resource readingTags 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (indexTags) {
  scope: account
  name: guid(account.id, principalId, 'scorekeeper index tags', suffix)
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: tagsRole!.outputs.roleDefinitionId
    description: 'Function app on watched accounts whose rules ask for index tags: reads them, with the action of tags-role.json alone (dataAccess.indexTags)'
  }
}
