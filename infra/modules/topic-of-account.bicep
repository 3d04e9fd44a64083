// Finds or makes the system topic of a storage account. Deployed into the account's resource group.

@description('Name of the storage account.')
param accountName string

@description('ARM id of the account\'s system topic, if it has one; empty: one is created.')
param existingTopicResourceId string

@description('What makes the name of a deployment that of one installation.')
param unique string

// The stand-in keeps the indexes below valid when nothing is given.
var parts = split(empty(existingTopicResourceId) ? '/subscriptions/-/resourceGroups/-/providers/-/-/-' : existingTopicResourceId, '/')

resource account 'Microsoft.Storage/storageAccounts@2025-06-01' existing = {
  name: accountName
}

// A module of its own, because a resource's location must be known when a deployment starts.
module created 'topic.bicep' = if (empty(existingTopicResourceId)) {
  name: 'topic-made-${accountName}-${unique}'
  params: {
    name: 'evgt-${accountName}'
    location: account.location
    accountResourceId: account.id
  }
}

resource given 'Microsoft.EventGrid/systemTopics@2025-02-15' existing = if (!empty(existingTopicResourceId)) {
  name: parts[8]
  scope: resourceGroup(parts[2], parts[4])
}

@description('ARM id of the topic.')
output resourceId string = empty(existingTopicResourceId) ? created!.outputs.resourceId : existingTopicResourceId

@description('Object id of the topic\'s identity.')
output principalId string = empty(existingTopicResourceId) ? created!.outputs.principalId : given!.identity.principalId
