// The system topic of a storage account. An account can have only one, in one place.

@description('Name of the topic.')
param name string

@description('Region of the account.')
param location string

@description('ARM id of the account.')
param accountResourceId string

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' = {
  name: name
  location: location
  // One topic serves every installation that watches the account: tags of one would be changed by the next deployment of another.
  tags: {
    'made-by': 'scorekeeper'
  }
  identity: {
    type: 'SystemAssigned'
  }
  properties: {
    source: accountResourceId
    topicType: 'Microsoft.Storage.StorageAccounts'
  }
}

@description('ARM id of the topic.')
output resourceId string = topic.id

@description('Object id of the topic\'s identity.')
output principalId string = topic.identity.principalId
