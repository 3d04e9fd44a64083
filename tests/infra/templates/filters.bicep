// The event subscriptions of many rule sets at once, to look at their filters.

@description('Rule sets, each of which gives one subscription of each kind.')
param ruleSets object[]

@description('What the subscription is for, and of what account.')
var kinds = [
  {
    name: 'flat'
    renames: false
  }
  {
    name: 'lake'
    renames: false
  }
  {
    name: 'renames'
    renames: true
  }
]
var all = flatten(map(ruleSets, (set, index) => map(kinds, kind => union(kind, { set: set, index: index }))))

module subscriptions '../../../infra/modules/subscription.bicep' = [
  for one in all: {
    name: 'set-${one.index}-${one.name}'
    params: {
      topicName: 'evgt-stg'
      name: 'set-${one.index}-${one.name}'
      accountName: 'stg'
      rules: {
        rules: one.set.rules
      }
      containers: []
      renames: one.renames
      functionResourceId: resourceId('Microsoft.Web/sites/functions', 'f', 'BlobCreated')
      maxEventsPerBatch: 50
      preferredBatchSizeInKilobytes: 256
      stateAccountResourceId: resourceId('Microsoft.Storage/storageAccounts', 'state')
      queueName: 'q'
      deadLetterContainer: 'd'
      platformLogs: ''
    }
  }
]
