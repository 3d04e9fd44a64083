// The event subscriptions of many rule sets at once, to look at their filters.

@description('Rule sets, each of which gives one subscription.')
param ruleSets object[]

module subscriptions '../../../infra/modules/subscription.bicep' = [
  for (set, index) in ruleSets: {
    name: 'set-${index}'
    params: {
      topicName: 'evgt-st'
      name: 'set-${index}'
      accountName: 'st'
      rules: {
        rules: set.rules
      }
      functionResourceId: resourceId('Microsoft.Web/sites/functions', 'f', 'BlobCreated')
      stateAccountResourceId: resourceId('Microsoft.Storage/storageAccounts', 'state')
      queueName: 'q'
      deadLetterContainer: 'd'
    }
  }
]
